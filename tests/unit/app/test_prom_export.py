"""Prometheus' answers as readings: ours by name, theirs by a mapping; and their files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from premortem.app.assemble import new_pipeline
from premortem.app.diagnose import replay_readings, summary
from premortem.app.prom_export import (
    held,
    looks_like_export,
    matrix,
    our_readings,
    readings,
    their_readings,
)
from premortem.app.recorded import instant, read_mapping, recorded
from premortem.model import Reading
from premortem.recording import BadRecording, header
from premortem.sources._declared import declared_metrics
from premortem.sources._expression import parse

DECLARED = [m.name for m in declared_metrics()]
WHERE = {"site": "shop", "source": "postgres", "target": "db"}


def series(name: str, *points: tuple[float, str], **labels: str) -> dict[str, object]:
    return {"metric": {"__name__": name, **labels}, "values": [list(p) for p in points]}


def answer(*result: dict[str, object]) -> str:
    return json.dumps(
        {"status": "success", "data": {"resultType": "matrix", "result": list(result)}}
    )


OURS = answer(
    series("premortem_db_wait_cpu", (10.5, "8"), (11.5, "9"), **WHERE),
    series("premortem_db_cores", (10.5, "2"), **WHERE),
    series("premortem_reading", (10.5, "1"), (11.5, "1"), **WHERE),
    series("premortem_reading", (12.5, "0"), error="refused", **WHERE),
    series("premortem_some_other", (10.5, "2"), **WHERE),
    series("node_load1", (10.5, "2"), instance="a"),
)


def test_our_readings_come_back_as_they_were() -> None:
    assert our_readings(matrix(OURS), DECLARED) == [
        Reading("postgres", "db", 10.5, {"db.wait.cpu": 8.0, "db.cores": 2.0}),
        Reading("postgres", "db", 11.5, {"db.wait.cpu": 9.0}),
        Reading("postgres", "db", 12.5, error="refused"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(json.loads(OURS)["data"]),
        json.dumps(json.loads(OURS)["data"]["result"]),
    ],
    ids=["data alone", "result alone"],
)
def test_a_part_of_the_answer_will_do(text: str) -> None:
    assert looks_like_export(text)
    assert matrix(text) == matrix(OURS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "neither a recording nor JSON"),
        ('{"status": "error", "error": "too many points"}', "too many points"),
        ('{"data": {"resultType": "vector", "result": []}}', "holds a vector"),
        ('{"data": 3}', 'no "data"'),
        ("3", 'no "data"'),
        ('{"result": [3]}', "series 0: expected"),
        ('{"result": [{"metric": {}, "values": [["x", "y"]]}]}', "series 0: expected"),
        ('{"result": [{"metric": [], "values": []}]}', "series 0: expected"),
    ],
)
def test_another_answer_is_one_line(text: str, words: str) -> None:
    with pytest.raises(BadRecording, match=words):
        matrix(text)


def test_nothing_known_says_what_is_there_and_what_to_do() -> None:
    with pytest.raises(BadRecording, match=r"it has: node_load1.*--map node_exporter"):
        readings(matrix(answer(series("node_load1", (1.0, "1")))), DECLARED)


# -- theirs

COUNTERS = [
    series("ops", (0.0, "0"), (1.0, "10"), (2.0, "30"), (3.0, "5"), instance="a"),
    series("ops", (1.0, "7"), (2.0, "8"), instance="b"),
]


def test_theirs_are_worked_out_instant_by_instant_and_instance_by_instance() -> None:
    mapping = {"web.requests_per_s": parse("rate(ops)"), "web.in_flight": parse("ops / 2")}
    found = their_readings(matrix(answer(*COUNTERS)), mapping)
    assert [(r.target, r.at, r.values) for r in found] == [
        ("a", 0.0, {"web.in_flight": 0.0}),
        ("a", 1.0, {"web.requests_per_s": 10.0, "web.in_flight": 5.0}),
        ("a", 2.0, {"web.requests_per_s": 20.0, "web.in_flight": 15.0}),
        ("a", 3.0, {"web.in_flight": 2.5}),  # the counter was reset
        ("b", 1.0, {"web.in_flight": 3.5}),
        ("b", 2.0, {"web.requests_per_s": 1.0, "web.in_flight": 4.0}),
    ]


def test_coarse_samples_are_held_until_the_next_but_not_over_a_gap() -> None:
    coarse = [Reading("prometheus", "a", at, {"db.up": at}) for at in (0.0, 5.0, 10.0, 60.0)]
    by_time = {r.at: r.values["db.up"] for r in held(coarse)}
    assert [by_time[float(t)] for t in (1, 4, 5, 9, 19)] == [0, 0, 5, 5, 10]
    assert 20.0 not in by_time  # twice the usual distance after the last sample
    assert max(by_time) == 64.0


def test_fine_samples_are_left_alone() -> None:
    fine = [Reading("prometheus", "a", float(at)) for at in range(5)]
    assert list(held(fine)) == fine
    assert list(held([])) == []


# -- files


def test_a_file_is_told_apart_by_its_beginning(tmp_path: Path) -> None:
    export, recording = tmp_path / "e.json", tmp_path / "r.jsonl"
    export.write_text(OURS)
    recording.write_text(header() + '\n{"source": "host", "target": "a", "at": 1, "values": {}}\n')
    assert len(list(recorded(export))) == 3
    assert [r.source for r in recorded(recording)] == ["host"]


def test_a_mapping_is_ready_or_a_file(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('"web.in_flight" = "ops / 2"\n')
    export = tmp_path / "e.json"
    export.write_text(answer(*COUNTERS))
    assert {r.target for r in recorded(export, str(own))} == {"a", "b"}
    assert "db.up" in read_mapping("postgres_exporter")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('"no.such" = "a"', "no.such"),
        ('"db.up" = 3', "db.up"),
        ('"db.up" = "a b"', "is not like name"),
        ("= 3", "--map"),
    ],
)
def test_a_bad_mapping_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "m.toml"
    file.write_text(text)
    with pytest.raises(BadRecording, match=words):
        read_mapping(str(file))
    with pytest.raises(BadRecording, match="ready are: nginx, node_exporter, postgres_exporter"):
        read_mapping(str(tmp_path / "gone.toml"))


def test_a_postgres_exporters_hour_names_the_exhausted_slots(tmp_path: Path) -> None:
    """Scraped each 5 s: calm for two minutes, then every slot is taken."""
    times = [float(t) for t in range(0, 180, 5)]

    def gauge(name: str, calm: int, later: int, **labels: str) -> dict[str, object]:
        points = ((t, str(calm + int(t) % 3 if t < 120 else later)) for t in times)
        return series(name, *points, instance="db", **labels)

    export = tmp_path / "e.json"
    export.write_text(
        answer(
            gauge("pg_stat_activity_count", 3, 90, state="active"),
            gauge("pg_stat_activity_count", 20, 7, state="idle"),
            series("pg_settings_max_connections", *((t, "100") for t in times), instance="db"),
            series(
                "pg_settings_superuser_reserved_connections",
                *((t, "3") for t in times),
                instance="db",
            ),
            series("pg_up", *((t, "1") for t in times), instance="db"),
        )
    )
    found = summary(replay_readings(recorded(export, "postgres_exporter"), new_pipeline()))
    states = {v["cause"]: v["state"] for v in found["ledger_at_end"]}
    assert states["connection_exhaustion"] in ("confirmed", "suspected")
    assert "ruled_out" not in {states["network_loss"], states["web_cpu"], states["lock_contention"]}


@pytest.mark.parametrize("text", ["", "yesterday", "-5m5", "2026-13-01", "xm"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        instant(text, 0.0)


def test_times_may_be_written_in_four_ways() -> None:
    assert instant("2026-11-22T10:05", 0.0) == instant("2026-11-22T13:05+03:00", 0.0)
    assert instant("90s", 100.0) == 10.0
    assert instant("now", 7.0) == 7.0
