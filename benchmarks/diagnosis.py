"""Every fault on real servers, some seeds each: is it named, when, and is the truth never excluded?

``python -m benchmarks.diagnosis --json [--seeds N] [--only NAME] [--budget-s S] [--folder F]``
plays the cases that F does not hold yet, for at most S seconds, and prints the figures over all
that F holds. Severities come from the seed; under even seeds traffic rises all the time.
``--replay F`` judges F's recordings anew with the causes as they are now, in seconds.
``--markdown`` prints the tables for docs/accuracy.md. The last line of output is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psycopg

from premortem.app.assemble import new_pipeline
from premortem.app.diagnose import replay
from premortem.app.drill_fault import Bench, as_dict, bench, play_case
from premortem.drills.clients import ClientsFailed
from premortem.drills.faults._fault import Expects
from premortem.drills.faults._path import may_have_own_network
from premortem.drills.rehearse import Times, case_of, fault_names
from premortem.drills.rehearse_score import score_case
from premortem.engines.errors import EngineError

TIMES = Times(calm_s=19.0, fault_s=20.0, after_s=0.3, settled_s=4.0)
"""Ten seconds of quarantine and nearly as many samples; a fault that is not named in 20 s was not
named in time. Once it has been named for 4 s the case ends: machine time is scarce."""
SLOW = {"vacuum_bloat": Times(calm_s=30.0, fault_s=45.0, after_s=0.3, settled_s=4.0)}
"""Dead rows are counted once a minute: the fault is given the time for one look."""
KNEE_SHARE_MIN = 0.5
"""Of the median knee of all cases: below half of it the machine was somebody else's, what was drawn
as a surge is none, and the case is void. The knee is found before each batch."""
CASE_S = 45.0
"""No case is begun with less than this left of the budget."""
BARS = {"top1": 0.95, "tier_accuracy": 0.98, "median_named_s": 8.0, "p90_named_s": 20.0}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the cases are kept: NAME-SEED.json and NAME-SEED.jsonl."""

    folder: Path

    def recording(self, name: str, seed: int) -> Path:
        return self.folder / f"{name}-{seed}.jsonl"

    def case(self, name: str, seed: int) -> Path:
        return self.folder / f"{name}-{seed}.json"

    def cases(self) -> list[dict[str, Any]]:
        """Every case that was played to its end."""
        found = (f for f in sorted(self.folder.glob("*.json")) if f.with_suffix(".jsonl").exists())
        return [json.loads(file.read_text()) for file in found]


def main(argv: Sequence[str] | None = None) -> int:
    """Play, judge, print. Returns 1 when a bar was missed."""
    wanted = _arguments().parse_args(argv)
    place = Place(wanted.replay or wanted.folder)
    place.folder.mkdir(parents=True, exist_ok=True)
    if wanted.replay is None:
        asyncio.run(_play(place, wanted))
    cases = [c for c in place.cases() if not wanted.only or c["fault"] in wanted.only]
    cases = [c for c in cases if wanted.first_seed <= c["seed"] < wanted.first_seed + wanted.seeds]
    judged = marked_void([rejudged(place, c) for c in cases])
    if wanted.list:
        _list(judged)
    result = figures(judged)
    if wanted.markdown:
        print(markdown(judged, result))
    print(json.dumps(result))
    return 0 if result["cases"] and not result["missed"] else 1


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.diagnosis", description=__doc__)
    parser.add_argument("--json", action="store_true", help="the JSON is always printed")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--only", action="append", default=[], choices=fault_names())
    parser.add_argument("--budget-s", type=float, default=7200.0)
    parser.add_argument("--folder", type=Path, default=Path("fault-recordings"))
    parser.add_argument("--replay", type=Path)
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--list", action="store_true", help="a line for each case")
    return parser


# -- playing


async def _play(place: Place, wanted: argparse.Namespace) -> None:
    began = time.monotonic()
    names = wanted.only or fault_names()
    seeds = range(wanted.first_seed, wanted.first_seed + wanted.seeds)
    missing = [(n, s) for s in seeds for n in names if not place.case(n, s).exists()]
    if not missing:
        return
    known = [c["knee_users_per_s"] for c in place.cases()]
    async with bench(_say, own_net=may_have_own_network()) as on:
        if known and on.knee_users_per_s < KNEE_SHARE_MIN * median(known):
            _say("this is less than half of the usual: the machine is not its own now, try later")
            return
        for name, seed in missing:
            times = SLOW.get(name, TIMES)
            longest = CASE_S + times.calm_s + times.fault_s - TIMES.calm_s - TIMES.fault_s
            if time.monotonic() - began + longest > wanted.budget_s:
                continue
            await _play_one(on, place, name, seed, times)


async def _play_one(on: Bench, place: Place, name: str, seed: int, times: Times) -> None:
    case = case_of(name, seed)
    _say(f"{name} {seed}: {case.fault.words}")
    try:
        kept = await play_case(
            on, case, times, recording=place.recording(name, seed), say=_quiet, show=_quiet
        )
    except (EngineError, ClientsFailed, psycopg.OperationalError) as error:
        place.recording(name, seed).unlink(missing_ok=True)
        _say(f"  could not be played: {error}")
        return
    place.case(name, seed).write_text(json.dumps(as_dict(case, kept)) + "\n")
    score = kept.score
    _say(f"  named {score.named} ({score.named_s} s), wrong {score.wrong_confirmed}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _quiet(_: object) -> None:
    """Cases are not narrated here."""


# -- judging


def rejudged(place: Place, case: Mapping[str, Any]) -> dict[str, Any]:
    """The case with the score that the causes give its recording now."""
    with place.recording(case["fault"], case["seed"]).open() as lines:
        score = score_case(
            replay(lines, new_pipeline()),
            Expects(case["expects"]["cause"], case["expects"]["tier"]),
            onset=case["onset"],
            until=case["until"] + 0.5,  # a replay's ticks fall up to half a second later
            first_failure=case["first_failure"],
        )
    return {**case, "live": case["score"], "score": score.as_dict()}


def marked_void(cases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cases with ``void`` told of each: played while the machine did half its usual or less."""
    usual = median([c["knee_users_per_s"] for c in cases] or [0.0])
    return [c | {"void": c["knee_users_per_s"] < KNEE_SHARE_MIN * usual} for c in cases]


def figures(cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures over all cases. A case that was not named counts as 20 s in the percentiles."""
    void = sum(c.get("void", False) for c in cases)
    cases = [c for c in cases if not c.get("void")]
    if not cases:
        return {"cases": 0, "void": void, "missed": ["no case was played"]}
    scores = [c["score"] for c in cases]
    times = [TIMES.fault_s if s["named_s"] is None else s["named_s"] for s in scores]
    found: dict[str, Any] = {
        "cases": len(cases),
        "void": void,
        "top1": _share(s["top1"] for s in scores),
        "top3": _share(s["top3"] for s in scores),
        "first_named_right": _share(
            s["first_named"] == c["expects"]["cause"] for c, s in zip(cases, scores, strict=True)
        ),
        "tier_accuracy": _share(s["tier_right"] for s in scores),
        "true_cause_ruled_out": sum(s["true_cause_ruled_out"] for s in scores),
        "named_before_the_fault": sum(bool(s["calm_named"]) for s in scores),
        "median_named_s": round(median(times), 1),
        "p90_named_s": round(quantiles(times, n=10)[-1], 1) if len(times) > 1 else times[0],
        "warned_before_failure_share": _share(s["warned_before_failure"] for s in scores),
        "per_cause": {name: _of_cause(group) for name, group in _by_fault(cases)},
        "confusion": _confusion(cases),
    }
    return found | {"missed": _missed(found)}


def _share(found: Iterator[bool]) -> float:
    each = list(found)
    return round(sum(each) / len(each), 3)


def _by_fault(cases: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    for name in sorted({c["fault"] for c in cases}):
        yield name, [c for c in cases if c["fault"] == name]


def _of_cause(cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    scores = [c["score"] for c in cases]
    named = [s["named_s"] for s in scores if s["named_s"] is not None]
    return {
        "cases": len(cases),
        "top1": _share(s["top1"] for s in scores),
        "tier_accuracy": _share(s["tier_right"] for s in scores),
        "true_cause_ruled_out": sum(s["true_cause_ruled_out"] for s in scores),
        "median_named_s": round(median(named), 1) if named else None,
    }


def _confusion(cases: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    return {
        name: dict(Counter(c["score"]["named"] or "nothing" for c in group).most_common())
        for name, group in _by_fault(cases)
    }


def _missed(found: Mapping[str, Any]) -> list[str]:
    missed = [k for k in ("top1", "tier_accuracy") if found[k] < BARS[k]]
    missed += [k for k in ("median_named_s", "p90_named_s") if found[k] > BARS[k]]
    return missed + (["true_cause_ruled_out"] if found["true_cause_ruled_out"] else [])


# -- showing


def _list(cases: Sequence[Mapping[str, Any]]) -> None:
    for c in cases:
        s = c["score"]
        mark = "void " if c["void"] else "ok  " if s["top1"] else "NO  "
        out = " RULED OUT" if s["true_cause_ruled_out"] else ""
        _say(
            f"{mark}{c['fault']} {c['seed']}: named {s['named']} (right at {s['named_s']} s, live "
            f"{c['live']['named_s']}), first {s['first_named']}{out}, also {s['wrong_confirmed']}, "
            f"calm {s['calm_named']}, warned {s['warned_s']}, failed {s['first_failure_s']}"
            f" | {c['what']}"
        )


def markdown(cases: Sequence[Mapping[str, Any]], result: Mapping[str, Any]) -> str:
    """The tables of docs/accuracy.md."""
    lines = [
        f"{result['cases']} cases: the right cause was named in {result['top1']:.0%}, its tier in "
        f"{result['tier_accuracy']:.0%}; median {result['median_named_s']} s, 90 % within "
        f"{result['p90_named_s']} s; the true cause stood ruled out in "
        f"{result['true_cause_ruled_out']}; a warning came before the first failed user in "
        f"{result['warned_before_failure_share']:.0%}. {result['void']} more are void: the "
        "machine did less than half its usual.",
        "",
        "| fault | cases | named right | tier right | median s | what was named |",
        "|---|---|---|---|---|---|",
    ]
    for name, of in result["per_cause"].items():
        named = ", ".join(f"{k} {n}" for k, n in result["confusion"][name].items())
        at = "–" if of["median_named_s"] is None else of["median_named_s"]
        lines.append(
            f"| {name} | {of['cases']} | {of['top1']:.0%} | {of['tier_accuracy']:.0%} | {at} "
            f"| {named} |"
        )
    changing = sum(c["changing_traffic"] for c in cases if not c.get("void"))
    lines += ["", f"Traffic rose during {changing} of them."]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
