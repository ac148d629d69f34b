"""The calm benchmark's days: the same for the same number, everything once, headroom kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks._calm_judge import figures, judge_piece
from benchmarks._calm_life import LASTS_S, SURGE_SHARE, life, pace
from premortem.causes._worlds import SITE, SURGE_PROTECTED
from premortem.examples import Example
from premortem.recording import encode, header


@pytest.mark.parametrize("seed", range(1, 7))
def test_a_day_holds_every_kind_once_at_moments_of_its_own(seed: int) -> None:
    day = life(seed, 360.0)
    assert day == life(seed, 360.0)
    kinds = [h.kind for h in day.happenings]
    wanted = set(LASTS_S) if day.cached else set(LASTS_S) - {"cache_lost"}
    assert len(kinds) == len(wanted) and set(kinds) == wanted
    ends = [h.at_s + LASTS_S[h.kind] for h in day.happenings]
    assert all(h.at_s >= end for h, end in zip(day.happenings[1:], ends, strict=False))
    assert ends[-1] <= 360.0


@pytest.mark.parametrize("seed", range(1, 7))
def test_traffic_never_leaves_its_headroom(seed: int) -> None:
    day = life(seed, 360.0)
    shares = [day.share(s / 2) for s in range(720)]
    assert max(shares) == pytest.approx(SURGE_SHARE)
    assert min(shares) >= 0.15 - 1e-9
    rates = pace(day, 100.0)
    assert sum(p["seconds"] for p in rates) == 360.0
    assert max(p.get("to", p.get("rate")) for p in rates) <= 80.0 + 1e-9


def piece(folder: Path, world: Example) -> Path:
    lines = [header()]
    for _, readings in world.readings():
        lines += [encode(reading) for reading in readings]
    (folder / "piece-1.jsonl").write_text("\n".join(lines) + "\n")
    events = [{"kind": "surge", "at_s": 40.0, "until_s": 50.0, "recorded": True}]
    about = {"piece": 1, "start": 1e6, "seconds": 60.0, "users": {"served": 9}, "events": events}
    file = folder / "piece-1.json"
    file.write_text(json.dumps(about))
    return file


def test_a_calm_piece_is_judged_calm(tmp_path: Path) -> None:
    result = figures([judge_piece(piece(tmp_path, Example("calm", SITE)))])
    assert (result["pages"], result["wrong_confirmed"], result["missed"]) == (0, 0, [])
    assert result["events"][0]["confirmed"] == []


def test_an_outage_in_a_piece_is_counted(tmp_path: Path) -> None:
    """The judge can fail: a real overload is one page and at least one confirmed cause."""
    world = Example("overload", SITE, SURGE_PROTECTED, trouble_s=20)
    result = figures([judge_piece(piece(tmp_path, world))])
    assert result["pages"] == 1 and result["page_list"][0]["cause"] == "db_cpu_by_traffic"
    assert result["missed"] == ["pages", "wrong_confirmed"]
    assert "db_cpu_by_traffic" in result["events"][0]["confirmed"]
