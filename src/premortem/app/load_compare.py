"""``premortem load compare``: this release against another, in turn; or two saved results."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from premortem.app.load_run import Progress, attack_watched, sender_of
from premortem.app.load_target import Aim
from premortem.load.attack import Result
from premortem.load.compare import (
    Comparison,
    change_points,
    compare,
    demand_comparable,
    interleaved,
)
from premortem.load.outputs.document import BadResult, Document
from premortem.load.pace import Constant
from premortem.store import Store

__all__ = [
    "MEASURES", "Plan", "Sides", "compared", "kept_knees", "knee_series", "measure_pairs",
    "sides_of_files", "spoken", "value_of_run",
]  # fmt: skip

MEASURES = ("capacity", "mean", "p50", "p90", "p95", "p99")
"""``capacity``: what a crowd that is always there gets served, in users a second; the others: times
of answer in ms at a fixed rate."""
BLOCKS = 8
"""A saved run alone is cut into so many stretches: neighbouring seconds are alike, neighbouring
eighths of a run hardly."""
BLOCK_S_MIN = 3
WARM_S = 1
"""The first second of each run opens connections and fills caches."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How two sites are compared."""

    measure: str
    pairs: int
    seconds: float
    rate: float
    crowd: int
    smallest_effect: float
    seed: int

    @property
    def unit(self) -> str:
        return "users/s" if self.measure == "capacity" else "ms"

    @property
    def higher_is_better(self) -> bool:
        return self.measure == "capacity"


@dataclass(frozen=True, slots=True)
class Sides:
    """One value a run, of both."""

    baseline: tuple[float, ...]
    candidate: tuple[float, ...]
    note: str = ""


def value_of_run(result: Result, measure: str, seconds: float) -> float:
    """The one figure of a run. Raises :class:`BadResult` when it is not to be believed."""
    own = [r for r in result.reasons if "had not finished" not in r]
    if own:
        raise BadResult(f"invalid: {'; '.join(own)}")
    rows = [r for s, r in result.tally.seconds.items() if WARM_S <= s < int(seconds)]
    if measure == "capacity":
        return sum(r.served for r in rows) / max(1, len(rows))
    response = result.tally.response()
    if not response.total:
        raise BadResult("a run was not answered at all")
    return response.mean_ms() if measure == "mean" else response.percentile_ms(float(measure[1:]))


async def measure_pairs(
    baseline: Aim, candidate: Aim, plan: Plan, say: Callable[[str, int, float], None]
) -> Sides:
    """Runs of both in turn, which of a pair goes first by chance. A run whose generator was late
    is made again, at most once a pair."""
    values: dict[str, list[float]] = {"baseline": [], "candidate": []}
    spare = plan.pairs
    for number, side in enumerate(interleaved(plan.pairs, plan.seed)):
        aim = baseline if side == "baseline" else candidate
        while True:
            result = await _one(aim, plan, plan.seed + number // 2)
            try:
                value = value_of_run(result, plan.measure, plan.seconds)
            except BadResult:
                spare -= 1
                if spare < 0:
                    raise
                continue
            break
        values[side].append(value)
        say(side, len(values[side]), value)
    return Sides(tuple(values["baseline"]), tuple(values["candidate"]))


async def _one(aim: Aim, plan: Plan, seed: int) -> Result:
    """One run. Both sides of a pair get the same users: the same seed, the same arrivals."""
    crowd = plan.crowd if plan.measure == "capacity" else 0
    pace = Constant(0.0 if crowd else plan.rate, plan.seconds)
    attack = replace(aim.attack(pace), crowd=crowd, seed=seed)
    progress = Progress(pace)
    rules = aim.table.stop_rules()
    result = await attack_watched(attack, sender_of(aim), progress, rules, lambda p: None)
    if progress.stopped is not None:
        raise BadResult(f"{aim.url}: stopped: {progress.stopped}")
    await asyncio.sleep(0.2)  # what still hangs in the site's queues is not the next run's
    return result


# -- saved results


def sides_of_files(
    baseline: Sequence[Document], candidate: Sequence[Document], measure: str
) -> Sides:
    """The values of saved runs. Raises ``NotComparable`` or :class:`BadResult` with one line.

    With several files a side each is one value; with one, its stretches are.
    """
    first = baseline[0]["conditions"]
    for document in (*baseline, *candidate):
        demand_comparable(first, document["conditions"])
        if document["invalid"] is not None:
            raise BadResult(f"a run of {document['site']} is invalid: {document['invalid']}")
    if min(len(baseline), len(candidate)) >= 4:
        return Sides(
            tuple(_of_document(d, measure) for d in baseline),
            tuple(_of_document(d, measure) for d in candidate),
        )
    note = (
        "stretches of saved runs, made at different times: what changed between the two is "
        "taken for the release; four runs a side, or two addresses in turn, say more"
    )
    return Sides(
        tuple(value for document in baseline for value in _stretches(document, measure)),
        tuple(value for document in candidate for value in _stretches(document, measure)),
        note,
    )


def _of_document(document: Document, measure: str) -> float:
    if measure == "capacity":
        return float(document["final"]["served"]) / float(document["seconds"])
    value = document["final"]["response_ms"].get(measure)
    if value is None:
        raise BadResult(f"a run of {document['site']} has no {measure}")
    return float(value)


def _stretches(document: Document, measure: str) -> list[float]:
    """The median of the seconds of each stretch: percentiles are not pooled."""
    key = {"capacity": "served", "p50": "p50_ms", "p99": "p99_ms"}.get(measure)
    if key is None:
        raise BadResult(f"one file a side says p50, p99 or capacity by the second, not {measure}")
    rows = [r for r in document["rows"] if WARM_S <= r["second"] < document["seconds"]]
    seconds = [float(r[key]) for r in rows if r[key] is not None]
    length = max(BLOCK_S_MIN, len(seconds) // BLOCKS)
    found = [seconds[i : i + length] for i in range(0, len(seconds) - length + 1, length)]
    return [median(block) for block in found]


# -- what came of it


def compared(sides: Sides, plan: Plan) -> Comparison:
    """Judge. Raises ``ValueError`` for fewer than four values a side."""
    return compare(
        sides.baseline,
        sides.candidate,
        higher_is_better=plan.higher_is_better,
        smallest_effect=plan.smallest_effect,
    )


def spoken(comparison: Comparison, plan: Plan) -> str:
    """The result in one sentence."""
    c, unit = comparison, plan.unit
    words = {"cannot_tell": "cannot tell"}.get(c.verdict, c.verdict)
    return (
        f"{words}: {plan.measure} {c.shift_ratio:+.1%} ({c.shift:+.3g} {unit}, interval "
        f"{c.shift_low:+.3g} to {c.shift_high:+.3g}); the candidate's is higher in "
        f"{c.superiority:.0%} of all pairs, p = {c.p_value:.2g}; a change of "
        f"{plan.smallest_effect:.0%} would have been seen with power {c.power:.2f}"
    )


def figures(comparison: Comparison, sides: Sides, plan: Plan) -> dict[str, Any]:
    """The comparison for machines."""
    return {
        "measure": plan.measure,
        "unit": plan.unit,
        "smallest_effect": plan.smallest_effect,
        **asdict(comparison),
        "baseline": list(sides.baseline),
        "candidate": list(sides.candidate),
        "note": sides.note,
        "sentence": spoken(comparison, plan),
    }


def kept_knees(history: Path | None, site: str) -> tuple[list[dict[str, Any]], tuple[int, ...]]:
    """The series of a site, from the store in which its searches are kept; empty without one."""
    if history is None or not history.is_file():
        return [], ()
    with Store.open(history) as store:
        return knee_series(store.load_runs(site))


def knee_series(
    runs: Sequence[tuple[float, Mapping[str, Any]]],
) -> tuple[list[dict[str, Any]], tuple[int, ...]]:
    """The knees kept so far that were searched under the newest one's conditions, and where the
    series changed its level."""
    searches = [(at, r) for at, r in runs if r.get("kind") == "search" and r.get("knee")]
    if not searches:
        return [], ()
    newest = searches[-1][1].get("comparability")
    series = [
        {"at": at, "value": r["knee"]["users_per_s"], "release": r.get("release")}
        for at, r in searches
        if r.get("comparability") == newest and r["knee"].get("users_per_s") is not None
    ]
    return series, change_points([entry["value"] for entry in series])
