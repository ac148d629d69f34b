"""``premortem load search``: the knee, what saturates there, what would be next."""

from __future__ import annotations

import asyncio
import csv
import io
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from premortem.app.load_run import mute_forked_children
from premortem.app.load_sight import Sight, watching
from premortem.app.load_target import Aim
from premortem.load.bars import BadBar, parse_bar
from premortem.load.bottleneck import Bottleneck, name_bottleneck
from premortem.load.knee import Bars, Knee, Measured, Trial
from premortem.load.levels import RESOURCES, WORDS
from premortem.load.pace import Constant
from premortem.load.safety import StopRules, stop_reason
from premortem.load.stats import Second
from premortem.load.trials import Surroundings, find_knee, levelled
from premortem.model import Diagnosis

__all__ = ["Promise", "Searched", "curve_csv", "figures", "promise_of", "search_site", "sentence"]

LAST_READINGS_S = 2.2
"""Readings are handed over once a second, and the next second's covers the last trial's end."""


@dataclass(frozen=True, slots=True)
class Promise:
    """What users are promised: so many of them wait no longer than this."""

    text: str
    slow_ms: float
    violation_ratio_max: float


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search found."""

    knee: Knee
    bottleneck: Bottleneck
    diagnosis: Diagnosis | None


def promise_of(text: str) -> Promise:
    """Read a promise such as ``p99<300ms``. Raises :class:`BadBar`.

    >>> promise_of("p99<300ms")
    Promise(text='p99<300ms', slow_ms=300.0, violation_ratio_max=0.01)
    """
    bar = parse_bar(text)
    if not bar.what.startswith("p") or not bar.below or bar.over_s:
        raise BadBar(f"promise {text!r}: write a percentile and its bound, such as p99<300ms")
    return Promise(bar.text, bar.limit, round(1.0 - float(bar.what[1:]) / 100.0, 9))


async def search_site(
    aim: Aim,
    bars: Bars,
    promise: Promise,
    on_trial: Callable[[Trial, Measured], None],
) -> Searched:
    """Search while the watch looks on. Cancelled, it ends the trial under way before it lets go."""
    mute_forked_children()
    over = threading.Event()
    async with watching(aim.sources, aim.thresholds) as sight:
        around = _surroundings(sight, aim.table.stop_rules(), over, on_trial)
        plan = aim.attack(Constant(bars.start_per_s, 1.0))
        work = asyncio.create_task(
            asyncio.to_thread(
                find_knee,
                plan,
                bars,
                slow_ms=promise.slow_ms,
                processes=aim.workers,
                around=around,
            )
        )
        try:
            knee = await asyncio.shield(work)
        finally:
            if not work.done():
                over.set()
                await asyncio.wait({work})
        if aim.sources:
            await asyncio.sleep(LAST_READINGS_S)
        knee = levelled(knee, sight.levels)
        diagnosis = sight.worst or sight.diagnosis
    return Searched(knee, name_bottleneck(knee, RESOURCES), diagnosis)


def _surroundings(
    sight: Sight,
    rules: StopRules,
    over: threading.Event,
    on_trial: Callable[[Trial, Measured], None],
) -> Surroundings:
    """The search runs in a thread; what it says is handed to the loop's."""
    loop = asyncio.get_running_loop()
    rows: list[Second] = []

    def say(trial: Trial, measured: Measured) -> None:
        rows.clear()
        with suppress(RuntimeError):  # the loop has gone: we are being ended
            loop.call_soon_threadsafe(on_trial, trial, measured)

    def why_stop() -> str | None:
        if over.is_set():
            return "interrupted"
        return stop_reason(rows, tuple(sight.named), rules)

    return Surroundings(say, lambda trial, row: rows.append(row), why_stop)


# -- what was found, in words and figures


def sentence(found: Searched, unit: str = "users/s") -> str:
    """The result as it is said.

    "knee 412 users/s (398-425): db.cpu is 97% busy at the knee …"
    """
    knee, bottleneck = found.knee, found.bottleneck
    if knee.users_per_s is None:
        return f"no knee: {knee.reason}"
    interval = f"{knee.low_per_s:.4g}–{knee.high_per_s:.4g}"
    said = f"knee {knee.users_per_s:.4g} {unit} ({interval})"
    if bottleneck.resource is None:
        return f"{said}; what saturates is not known: {bottleneck.reason}"
    said += f"; there {WORDS.get(bottleneck.resource, bottleneck.resource)} is the limit: "
    said += bottleneck.reason
    if bottleneck.next_resource is not None:
        following = WORDS.get(bottleneck.next_resource, bottleneck.next_resource)
        said += f"; next would be {following} at {bottleneck.next_per_s:.3g} {unit}"
    return said


def figures(found: Searched) -> dict[str, Any]:
    """Knee, bottleneck and trials for machines."""
    knee = found.knee
    return {
        "knee": {
            "users_per_s": knee.users_per_s,
            "low_per_s": knee.low_per_s,
            "high_per_s": knee.high_per_s,
            "abstained": knee.abstained,
            "reason": knee.reason,
            "trials_s": round(knee.seconds, 3),
        },
        "bottleneck": asdict(found.bottleneck),
        "sentence": sentence(found),
        "trials": [_trial(t) for t in knee.trials],
    }


def _trial(measured: Measured) -> dict[str, Any]:
    plain = {
        name: getattr(measured, name)
        for name in Measured.__dataclass_fields__
        if name not in ("levels", "invalid", "stopped")
    }
    levels: Mapping[str, float] = measured.levels
    return {**plain, "levels": dict(levels), "invalid": measured.invalid}


def curve_csv(trials: tuple[Measured, ...]) -> str:
    """The load test as ``premortem plan --usl`` reads it: requests in flight and what came out.

    Trials at almost the same rate say the same, and the longer ones say it better: of those within
    1 % only the longest is kept.
    """
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(("load", "throughput", "offered_per_s", "seconds"))
    kept: list[Measured] = []
    for trial in sorted(trials, key=lambda t: -t.seconds):
        if all(abs(trial.users_per_s / other.users_per_s - 1.0) > 0.01 for other in kept):
            kept.append(trial)
    for t in sorted(kept, key=lambda t: t.users_per_s):
        if t.requests_in_flight > 0.0 and t.requests_per_s > 0.0:
            row = (t.requests_in_flight, t.requests_per_s, t.users_per_s, t.seconds)
            table.writerow([f"{value:.6g}" for value in row])
    return file.getvalue()
