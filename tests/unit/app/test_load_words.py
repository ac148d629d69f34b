"""Paces, lengths of time and the table ``[load]`` as people write them."""

from __future__ import annotations

import pytest

from premortem.app.config import BadConfig
from premortem.app.load_config import load_table
from premortem.app.load_words import pace_from_words, seconds_from
from premortem.load.pace import BadPace


@pytest.mark.parametrize(
    ("words", "seconds", "count"),
    [
        ("constant 10 30s", 30.0, 300.0),
        ("ramp 10..20 1m", 60.0, 900.0),
        ("ramp 10 .. 20 60", 60.0, 900.0),
        ("steps 10,20 5s", 10.0, 150.0),
        ("steps 10, 20 5s", 10.0, 150.0),
        ("sine 50±20 60s 2m", 120.0, 6000.0),
        ("constant 1 10s; constant 2 10s;", 20.0, 30.0),
    ],
)
def test_a_pace_in_words(words: str, seconds: float, count: float) -> None:
    pace = pace_from_words(words)
    assert pace.seconds == pytest.approx(seconds)
    assert pace.count(pace.seconds) == pytest.approx(count)


@pytest.mark.parametrize(
    "words",
    ["", "fast", "constant 10", "ramp 10 20 60s", "constant -1 10s", "steps 10s", "sine 5±9 1s 1s"],
)
def test_a_pace_that_is_none(words: str) -> None:
    with pytest.raises(BadPace):
        pace_from_words(words)


def test_a_length_of_time_has_a_unit_we_know() -> None:
    assert (seconds_from("250ms"), seconds_from("2h")) == (0.25, 7200.0)
    with pytest.raises(BadPace, match="write 90s"):
        seconds_from("2d")


def test_the_table_holds_bars_and_ceilings() -> None:
    table = load_table({"bars": ["p99<300ms"], "rate_max_per_s": 50, "stop_causes": []})
    assert [bar.text for bar in table.parsed_bars()] == ["p99<300ms"]
    assert table.ceilings().rate_max_per_s == 50
    assert table.stop_rules().causes == ()


@pytest.mark.parametrize(
    "bad", [{"bars": ["p99"]}, {"rate_max_per_s": 0}, {"nonsense": 1}, {"timeout_ms": "soon"}]
)
def test_a_mistake_in_the_table_is_one_line_that_names_it(bad: dict[str, object]) -> None:
    with pytest.raises(BadConfig) as told:
        load_table(bad, "p.toml")
    assert "p.toml" in str(told.value) and "load" in str(told.value)
    assert "\n" not in str(told.value)
