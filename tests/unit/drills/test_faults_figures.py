"""The figures of benchmarks.diagnosis: counted over cases whose scores are written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.diagnosis import Place, figures, markdown, rejudged
from premortem.causes._worlds import SITE
from premortem.causes.lock_contention import FIRES
from premortem.examples import Example
from premortem.recording import encode, header


def case(
    fault: str, seed: int, named: str | None, at: float | None, **score: Any
) -> dict[str, Any]:
    told = {
        "named": named, "first_named": named, "named_s": at, "tier": "database",
        "top1": named == fault, "top3": named == fault, "tier_right": named is not None,
        "true_cause_ruled_out": False, "wrong_confirmed": [], "calm_named": [],
        "warned_s": at, "first_failure_s": None, "warned_before_failure": True,
    }  # fmt: skip
    return {
        "fault": fault, "seed": seed, "what": "x", "changing_traffic": seed % 2 == 0,
        "expects": {"cause": fault, "tier": "database"}, "score": told | score, "live": told,
    }  # fmt: skip


def test_figures_count_what_was_right_and_when() -> None:
    found = figures(
        [
            case("slow_query", 1, "slow_query", 4.0),
            case("slow_query", 2, "db_cpu_by_traffic", None, true_cause_ruled_out=True),
            case("lock_contention", 1, "lock_contention", 6.0),
            case("lock_contention", 2, "lock_contention", 2.0, warned_before_failure=False),
        ]
    )
    assert (found["cases"], found["top1"], found["tier_accuracy"]) == (4, 0.75, 1.0)
    assert found["true_cause_ruled_out"] == 1
    assert found["median_named_s"] == 5.0  # 2, 4, 6 and the 20 s of the one that was not named
    assert found["warned_before_failure_share"] == 0.75
    assert found["per_cause"]["slow_query"]["top1"] == 0.5
    assert found["confusion"]["slow_query"] == {"slow_query": 1, "db_cpu_by_traffic": 1}
    assert found["missed"] == ["top1", "p90_named_s", "true_cause_ruled_out"]


def test_no_case_is_no_success() -> None:
    assert figures([])["missed"]


def test_the_table_has_a_line_for_each_fault() -> None:
    cases = [case("slow_query", 2, None, None), case("web_cpu", 1, "web_cpu", 3.0)]
    text = markdown(cases, figures(cases))
    assert "| slow_query | 1 | 0% | 0% | – | nothing 1 |" in text
    assert "| web_cpu | 1 | 100% | 100% | 3.0 | web_cpu 1 |" in text
    assert text.startswith("2 cases:") and text.endswith("Traffic rose during 1 of them.")


@pytest.mark.parametrize(("world", "named"), [(FIRES[0], True), (Example("calm", SITE), False)])
def test_a_recording_is_judged_anew(tmp_path: Path, world: Example, named: bool) -> None:
    lines = [header()]
    for _, readings in world.readings():
        lines += [encode(reading) for reading in readings]
    (tmp_path / "lock_contention-1.jsonl").write_text("\n".join(lines) + "\n")
    played = case("lock_contention", 1, None, None) | {
        "onset": 1_000_040.0, "until": 1_000_052.0, "first_failure": None,
    }  # fmt: skip
    (tmp_path / "lock_contention-1.json").write_text(json.dumps(played))
    (found,) = Place(tmp_path).cases()
    score = rejudged(Place(tmp_path), found)["score"]
    assert score["top1"] is named
    assert (score["named_s"] is not None) is named
