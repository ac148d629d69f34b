from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from premortem.load.stats import NAMES_MAX, OTHER, Histogram, Tally, bucket, merged, middle_us

LATENCIES = st.lists(st.integers(0, 120_000_000), min_size=1, max_size=200)


def filled(values_us: list[int]) -> Histogram:
    histogram = Histogram()
    for value_us in values_us:
        histogram.record(value_us)
    return histogram


def counts(histogram: Histogram) -> dict[int, int]:
    return dict(histogram.counts)


@given(st.integers(0, 2**40))
def test_the_middle_of_a_bucket_is_within_a_quarter_percent(value_us: int) -> None:
    assert abs(middle_us(bucket(value_us)) - value_us) <= value_us * 0.0025
    assert bucket(round(middle_us(bucket(value_us)))) == bucket(value_us)


@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_buckets_keep_the_order(one: int, other: int) -> None:
    assert (bucket(one) <= bucket(other)) or one > other


@given(LATENCIES)
def test_recording_uses_the_documented_bucket(values_us: list[int]) -> None:
    assert sorted(counts(filled(values_us))) == sorted({bucket(v) for v in values_us})


@given(LATENCIES, st.sampled_from([50, 90, 95, 99, 99.9, 100]))
def test_percentiles_are_those_of_the_sorted_values(values_us: list[int], percent: float) -> None:
    exact = sorted(values_us)[max(1, math.ceil(len(values_us) * percent / 100)) - 1]
    assert filled(values_us).percentile_ms(percent) * 1000 == pytest.approx(exact, rel=0.0025)


@given(LATENCIES, LATENCIES)
def test_merging_is_the_same_as_recording_all_in_one(one: list[int], other: list[int]) -> None:
    both = filled(one)
    both.add(filled(other))
    whole = filled(one + other)
    assert counts(both) == counts(whole)


@given(LATENCIES)
def test_export_and_load_are_inverse(values_us: list[int]) -> None:
    histogram = filled(values_us)
    again = Histogram.load(json.loads(json.dumps(histogram.export())))
    assert counts(again) == counts(histogram)
    assert again.summary() == histogram.summary()


def test_an_empty_histogram_has_no_percentile() -> None:
    assert math.isnan(Histogram().percentile_ms(99))
    assert Histogram().summary()["p99"] is None


def test_above_ratio_counts_what_is_beyond_the_limit() -> None:
    assert filled([1_000, 2_000, 400_000, 500_000]).above_ratio(300.0) == 0.5


def test_hdr_histogram_reads_the_export() -> None:
    hdrh = pytest.importorskip("hdrh.histogram")
    ours = filled([1_000 * n for n in range(1, 1001)])
    theirs = hdrh.HdrHistogram(1, 3_600_000_000, 3)
    for value_us, count in ours.values_us():
        theirs.record_value(value_us, count)
    assert theirs.get_total_count() == 1000
    assert theirs.get_value_at_percentile(99) / 1000 == pytest.approx(990, rel=0.005)


def test_request_names_are_bounded() -> None:
    tally = Tally()
    for number in range(NAMES_MAX + 50):
        tally.name(f"/product/{number}").record(1)
    assert len(tally.names) == NAMES_MAX + 1
    assert tally.names[OTHER].total == 50


def tally_of(second: int, latency_us: int, first_failed_s: float | None) -> Tally:
    tally = Tally(first_failed_s=first_failed_s)
    row = tally.at_second(second)
    row.served, row.attempts, row.cpu_ratio = 2, 3, 0.5
    row.names["a"].record(latency_us)
    tally.close(row)
    arrived = tally.of_arrival(second)
    arrived.offered, arrived.served = 3, 2
    tally.lag.record(5)
    tally.errors["timeout"] += 1
    return tally


def test_processes_merge_second_by_second() -> None:
    whole = merged([tally_of(0, 100, None), tally_of(0, 300, 1.5), tally_of(2, 200, 0.5)])
    assert [whole.seconds[s].served for s in (0, 2)] == [4, 2]
    assert whole.total("offered") == 9
    assert whole.total("attempts") == 9
    assert whole.names["a"].total == whole.lag.total == 3
    assert whole.errors == {"timeout": 3}
    assert whole.first_failed_s == 0.5
    assert whole.seconds[0].line()["p99_ms"] == 0.3


def test_a_row_without_answers_has_no_latency() -> None:
    assert Tally().at_second(4).line()["p50_ms"] is None
