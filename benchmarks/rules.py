"""How long before today's alerting rules premortem speaks, over the same recordings.

``python -m benchmarks.rules --json FOLDER...``: the folders hold drills (``recording-a.jsonl`` with
its events and seconds) or rehearsed faults (``NAME-SEED.json`` and ``.jsonl``). premortem's page is
the one ``watch`` would send: a named cause that has held for 3 s.

``lead_s`` is a rule's moment minus premortem's, the median over all cases. Whoever has not spoken
by the end of a recording counts as speaking at its very end, so where fewer than half of the cases
saw the rule fire its lead is a lower bound (``at_least``). A fault's last seconds are repeated for
a quarter of an hour, so that rules that wait have something to wait for.
``--markdown`` prints the table for docs/accuracy.md. The last line of output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median, median_low
from typing import Any

from benchmarks._rules import RULES, VARIANTS, Fired, Rule, Samples, Variant, evaluate
from benchmarks._rules_cases import Case, cases_in
from premortem.app.assemble import new_pipeline
from premortem.app.diagnose import read_recording, replay
from premortem.app.notify import Pager


@dataclass(frozen=True, slots=True)
class Spoke:
    """When premortem spoke over one case, in seconds after the onset; ``None``: never."""

    warned_s: float | None
    paged_s: float | None
    right: bool | None
    """Whether the page named the true cause, where the case says which that is."""
    paged_before: bool
    """A page before the onset: a false alarm."""


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate and print. Returns 2 when the folders hold no case."""
    parser = argparse.ArgumentParser(prog="benchmarks.rules", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the JSON object only")
    parser.add_argument("--markdown", action="store_true", help="print the table")
    parser.add_argument("folders", nargs="+", type=Path)
    wanted = parser.parse_args(argv)
    cases = [case for folder in wanted.folders for case in cases_in(folder)]
    if not cases:
        print("rules: no recording in these folders", file=sys.stderr)
        return 2
    spoken = [speak(case) for case in cases]
    result = figures(cases, spoken)
    if not wanted.json:
        print(markdown(result) if wanted.markdown else words(result))
    print(json.dumps(result))
    return 0


def speak(case: Case) -> Spoke:
    """Replay one recording through the pipeline and the pager.

    A fault that was mended while a named cause was still held back for its 3 s is paged for at
    their end: the rules get the trouble prolonged, too.
    """
    pager, warned, paged, cause, before = Pager(), None, None, None, False
    held: tuple[str | None, float] = (None, 0.0)
    with read_recording(case.recording) as lines:
        for tick in replay(lines, new_pipeline()):
            t = tick.now - case.onset
            if tick.now > case.until:
                break
            notices = pager.consider(case.name, tick.diagnosis)
            pages = [n for n in notices if n.kind == "page" and n.step == "opened"]
            if tick.diagnosis.cause != held[0]:
                held = (tick.diagnosis.cause, t)
            before = before or (t < 0 and bool(pages))
            if t >= 0 and warned is None and (tick.diagnosis.signals or tick.diagnosis.cause):
                warned = t
            if t >= 0 and paged is None and pages:
                paged, cause = t, pages[0].subject
    if paged is None and held[0] is not None and held[1] >= 0:
        cause, paged = held[0], held[1] + pager.rules.hold_s
    right = None if case.expects is None or cause is None else cause == case.expects
    return Spoke(warned, paged, right, before)


def figures(cases: Sequence[Case], spoken: Sequence[Spoke]) -> dict[str, Any]:
    """Every rule in every variant against premortem."""
    return {
        "benchmark": "rules",
        "cases": len(cases),
        "drills": sum(case.kind == "drill" for case in cases),
        "faults": sorted({case.name for case in cases if case.kind == "fault"}),
        "premortem": {
            "paged": sum(s.paged_s is not None for s in spoken),
            "right": sum(s.right is True for s in spoken),
            "warned": sum(s.warned_s is not None for s in spoken),
            "median_paged_s": _median([s.paged_s for s in spoken if s.paged_s is not None]),
            "median_warned_s": _median([s.warned_s for s in spoken if s.warned_s is not None]),
            "paged_before_onset": sum(s.paged_before for s in spoken),
        },
        "rules": [_rule(rule, cases, spoken) for rule in RULES],
        "first_of_any_rule": _any_rule(cases, spoken),
        "variants": {v.name: v.words for v in VARIANTS},
    }


def _rule(rule: Rule, cases: Sequence[Case], spoken: Sequence[Spoke]) -> dict[str, Any]:
    about = {"name": rule.name, "source": rule.source, "says": rule.says, "for_s": rule.for_s}
    for variant in VARIANTS:
        about[variant.name] = _against(variant, cases, spoken, partial(evaluate, rule))
    return about


def _any_rule(cases: Sequence[Case], spoken: Sequence[Spoke]) -> dict[str, Any]:
    """The first of all rules to fire: a team that has every one of them."""
    return {v.name: _against(v, cases, spoken, _first_of_all) for v in VARIANTS}


def _first_of_all(samples: Samples, variant: Variant, onset: float) -> Fired:
    found = [evaluate(rule, samples, variant, onset) for rule in RULES]
    return Fired(
        min((f.at for f in found if f.at is not None), default=None),
        any(f.before for f in found),
        all(f.blind for f in found),
    )


def _against(
    variant: Variant,
    cases: Sequence[Case],
    spoken: Sequence[Spoke],
    judge: Callable[[Samples, Variant, float], Fired],
) -> dict[str, Any]:
    pairs = [
        (case, spoke, judge(case.samples(compressed=variant.compressed), variant, case.onset))
        for case, spoke in zip(cases, spoken, strict=True)
        if case.kind == "drill" or not variant.compressed
    ]
    seen = [(c, s, f) for c, s, f in pairs if not f.blind]
    fired = sum(f.at is not None for _, _, f in seen)
    leads = [_lead(c, s.paged_s, f.at) for c, s, f in seen]
    return {
        "cases": len(seen),
        "fired": fired,
        "false_alarms": sum(f.before for _, _, f in seen),
        "median_fired_s": _median([f.at - c.onset for c, _, f in seen if f.at is not None]),
        "lead_s": _lower_median(leads),
        "at_least": 2 * fired <= len(seen),
        "warning_lead_s": _lower_median([_lead(c, s.warned_s, f.at) for c, s, f in seen]),
        "rule_first": sum(lead < 0 for lead in leads),
    }


def _lead(case: Case, ours_s: float | None, theirs: float | None) -> float:
    """A rule's moment minus premortem's; who has not spoken counts as speaking at the end."""
    end = case.as_seen.end
    return (end if theirs is None else theirs) - (end if ours_s is None else case.onset + ours_s)


def _median(found: Sequence[float]) -> float | None:
    return round(median(found), 1) if found else None


def _lower_median(leads: Sequence[float]) -> float | None:
    """Of two middle leads the shorter one: in doubt for the rule."""
    return round(median_low(leads), 1) if leads else None


def words(result: Mapping[str, Any]) -> str:
    """The figures for people."""
    ours = result["premortem"]
    lines = [
        f"{result['cases']} recordings; premortem pages in {ours['paged']}, "
        f"{ours['median_paged_s']} s after the onset (median), warns after "
        f"{ours['median_warned_s']} s"
    ]
    for rule in result["rules"]:
        one = "; ".join(
            f"{v.name} fires in {rule[v.name]['fired']} of {rule[v.name]['cases']}, "
            f"lead {_seconds(rule[v.name])}"
            for v in VARIANTS
        )
        lines.append(f"{rule['name']}: {one}")
    return "\n".join(lines)


def markdown(result: Mapping[str, Any]) -> str:
    """The table of docs/accuracy.md."""
    rows = [
        "| rule (source) | fires as written | page's lead | fires at best | page's lead | "
        "warning's lead | false alarms at best |",
        "|---|---|---|---|---|---|---|",
        *(_row(f"{r['name']}: {r['says']}, for {_for(r['for_s'])} ({r['source']})", r)
          for r in result["rules"]),
        _row("**the first of all of them**", result["first_of_any_rule"]),
    ]  # fmt: skip
    return "\n".join(rows)


def _row(name: str, of: Mapping[str, Any]) -> str:
    written, best = of["as_written"], of["best_case"]
    return (
        f"| {name} | {written['fired']} of {written['cases']} | {_seconds(written)} | "
        f"{best['fired']} of {best['cases']} | {_seconds(best)} | "
        f"{_seconds(best, 'warning_lead_s')} | {best['false_alarms']} |"
    )


def _for(seconds: float) -> str:
    return f"{seconds / 60:.0f} m"


def _seconds(of: Mapping[str, Any], key: str = "lead_s") -> str:
    value = of[key]
    if value is None:
        return "–"
    return f"{'≥ ' if of['at_least'] else ''}{value:+.{0 if abs(value) >= 10 else 1}f} s"


if __name__ == "__main__":
    sys.exit(main())
