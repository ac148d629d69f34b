"""Recordings as cases: where the trouble began, what the users met, and the series rules read."""

from __future__ import annotations

import csv
import json
import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from benchmarks._rules import BAD, PROBE_BAD, PROBE_S, USERS, Samples
from premortem.model import Reading
from premortem.recording import parse

__all__ = ["Case", "cases_in", "prolonged"]

REPEATED_S, PROLONGED_S = 5.0, 900.0
"""Five seconds hold every source's reading; the slowest rule needs twelve minutes."""
PROBE_TIMEOUT_S = 2.0
"""What the probe of premortem waits; blackbox_exporter waits longer, and learns it later."""


@dataclass(frozen=True, slots=True)
class Case:
    """One recording of trouble."""

    name: str
    kind: Literal["drill", "fault"]
    recording: Path
    onset: float
    """When the trouble began, in seconds since the epoch: the surge's ramp, the fault."""
    until: float
    """When it was mended; a drill's surge ends by itself and is looked at to its end."""
    expects: str | None
    speed: float
    """Seconds of the original outage that pass in a second of the recording; 1 for faults."""
    as_seen: Samples

    def samples(self, *, compressed: bool) -> Samples:
        """The series, with the rules' durations shrunk as the drill's time was, or not."""
        return replace(self.as_seen, speed=self.speed) if compressed else self.as_seen


def cases_in(folder: Path) -> Iterator[Case]:
    """Every case in a folder; drills may lie in folders further down."""
    for recording in sorted(folder.glob("**/recording-a.jsonl")):
        if (recording.parent / "result.json").exists():
            yield _drill(recording)
    for about in sorted(folder.glob("*.json")):
        recording = about.with_suffix(".jsonl")
        known = json.loads(about.read_text()) if recording.exists() else {}
        if "onset" in known and "fault" in known:
            expects = known["expects"]["cause"]
            onset, until = known["onset"], known["until"]
            seen = prolonged(_series(recording, users=None), until)
            yield Case(known["fault"], "fault", recording, onset, until, expects, 1.0, seen)


def _drill(recording: Path) -> Case:
    result = json.loads((recording.parent / "result.json").read_text())
    events = [json.loads(line) for line in (recording.parent / "events-a.jsonl").open()]
    onset = next(e["at"] for e in events if e["data"].get("phase") == "ramp")
    seconds = recording.parent / "seconds-a.csv"
    users = _users(seconds, onset) if seconds.exists() else None
    speed = 60.0 * result["speed_min_per_s"]
    seen = _series(recording, users=users)
    name = f"the seeds' {result['scenario']}"
    return Case(name, "drill", recording, onset, math.inf, None, speed, seen)


def _users(file: Path, onset: float) -> list[tuple[float, float, float]]:
    """(end of the second, its users, those of them that were not served)"""
    with file.open(newline="") as lines:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(lines)]
    return [(onset + r["t"] + 1.0, r["offered"], r["failed"] + r["refused"]) for r in rows]


def _series(recording: Path, users: Sequence[tuple[float, float, float]] | None) -> Samples:
    series: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with recording.open() as lines:
        for reading in parse(lines):
            for name, value in _values(reading).items():
                series[name].append((reading.at, value))
    whole = users or [(at, 1.0, failed) for at, failed in series[PROBE_BAD]]
    series[USERS] = [(at, offered) for at, offered, _ in whole]
    series[BAD] = [(at, bad) for at, _, bad in whole]
    ends = [pairs[-1][0] for pairs in series.values() if pairs]
    starts = [pairs[0][0] for pairs in series.values() if pairs]
    ordered = {name: sorted(pairs) for name, pairs in series.items() if pairs}
    split = {name: ([p[0] for p in ps], [p[1] for p in ps]) for name, ps in ordered.items()}
    return Samples(split, min(starts), max(ends))


def prolonged(seen: Samples, until: float) -> Samples:
    """The trouble as if it had lasted: its last seconds repeated for a quarter of an hour.

    A rehearsal mends its fault after some seconds, and rules wait for minutes.
    """
    series = {}
    for name, (at, values) in seen.series.items():
        end = bisect_right(at, until)
        last = range(bisect_right(at, until - REPEATED_S), end)
        rounds = range(1, int(PROLONGED_S / REPEATED_S) + 1) if last else ()
        series[name] = (
            [*at[:end], *(at[i] + n * REPEATED_S for n in rounds for i in last)],
            [*values[:end], *(values[i] for _ in rounds for i in last)],
        )
    return replace(seen, series=series, end=until + PROLONGED_S)


def _values(reading: Reading) -> Mapping[str, float]:
    if reading.source != "http_probe":
        return reading.values
    failed = reading.error is not None or reading.values.get("user.http.status", 200.0) >= 400
    took_s = reading.values.get("user.http.total_ms", 0.0) / 1000
    if reading.error is not None and "timeout" in reading.error:
        took_s = PROBE_TIMEOUT_S
    return {**reading.values, PROBE_BAD: float(failed), PROBE_S: took_s}
