"""Recordings: a round trip, one-line complaints, forgiveness for a line cut short."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from premortem.model import Reading
from premortem.recording import BadRecording, by_tick, decode, encode, header, parse

READING = Reading("postgres", "db", 12.5, {"db.up": 1.0}, ({"pid": 7},), "53300 too many")


def test_round_trip() -> None:
    assert decode(encode(READING)) == READING


def test_values_that_are_not_numbers_are_left_out() -> None:
    line = '{"at": 1, "values": {"a": "x", "b": true, "c": null, "d": 2}}'
    assert decode(line).values == {"d": 2.0}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "empty"),
        (["{}"], "line 1: not a premortem recording"),
        (["nonsense"], "line 1: not a premortem recording"),
        ([header(), '{"at": "noon"}', header()], "line 2: 'at' must be seconds"),
        ([header(), '{"at": 1, "values": [1]}', header()], "line 2: 'values' must be an object"),
        ([header(), '{"at": 1', '{"at": 2}'], "line 2: not JSON"),
        ([header(), "[1]", '{"at": 2}'], "line 2: expected an object"),
    ],
)
def test_a_bad_recording_gets_one_line(lines: list[str], words: str) -> None:
    with pytest.raises(BadRecording, match=words):
        list(parse(lines))


def test_a_last_line_cut_short_is_forgiven() -> None:
    found = list(parse([header(), encode(READING), '{"source": "po']))
    assert found == [READING]


def test_ticks_pass_silence_on() -> None:
    readings = [Reading("a", "", 0.5), Reading("a", "", 1.2), Reading("a", "", 4.9)]
    ticks = list(by_tick(readings))
    assert [(end, len(batch)) for end, batch in ticks] == [
        (1.5, 2),
        (2.5, 0),
        (3.5, 0),
        (4.5, 0),
        (5.5, 1),
    ]


def test_a_gap_of_years_is_skipped() -> None:
    ticks = list(by_tick([Reading("a", "", 0.0), Reading("a", "", 1e9)]))
    assert len(ticks) < 70


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_every_reading_is_in_exactly_one_tick(moments: list[float]) -> None:
    readings = [Reading("a", "", at) for at in moments]
    found = [r for _, batch in by_tick(readings) for r in batch]
    assert sorted(r.at for r in found) == sorted(moments)


def test_the_header_says_what_it_is() -> None:
    assert json.loads(header(0.5)) == {"premortem_recording": 1, "interval_s": 0.5}
