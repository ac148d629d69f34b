"""What a picture of a run shows, before anything is drawn: axes, moments, stretches. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from premortem.incidents.record import Record
from premortem.model import Event

__all__ = ["Frame", "Mark", "frame_of", "marks_of", "stacked", "stagger", "stretches"]


@dataclass(frozen=True, slots=True)
class Frame:
    """The axes all runs of a report share."""

    start_s: float
    end_s: float
    users_max: float
    sessions_max: float
    causes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment to point at."""

    at_s: float
    text: str


def frame_of(runs: Iterable[Record]) -> Frame:
    """Axes that hold every run. Without any data: a minute, one user, one session.

    >>> frame_of([])
    Frame(start_s=0.0, end_s=60.0, users_max=1.08, sessions_max=1.0, causes=())
    """
    runs = tuple(runs)
    times = [float(row["t"]) for run in runs for row in run.seconds]
    times += [t for run in runs for t, *_ in run.sessions] + [
        t for run in runs for t, _ in run.ledger
    ]
    users = [max(stacked(row)[-1], row.get("offered", 0)) for run in runs for row in run.seconds]
    sessions = [
        max(active + idle, limit) for run in runs for _, active, idle, limit in run.sessions
    ]
    causes = dict.fromkeys(c for run in runs for _, states in run.ledger for c in sorted(states))
    start, end = (min(times), max(times)) if times else (0.0, 60.0)
    return Frame(
        start, end if end > start else start + 1, max([1.0, *users]) * 1.08,
        max([1.0, *sessions]), tuple(causes),
    )  # fmt: skip


def stacked(row: Mapping[str, float]) -> tuple[float, float, float]:
    """Upper edges of served, refused and failed users laid on each other."""
    served = float(row.get("served", 0))
    refused = served + float(row.get("refused", 0))
    return served, refused, refused + float(row.get("failed", 0))


_PHASES = {"ramp": "ramp", "surge_end": "surge ends", "first_failure": "first failure"}
_ACTS = {"alert": "alert", "add_workers": "workers added", "restart_database": "restart"}


def marks_of(run: Record) -> tuple[Mark, ...]:
    """The moments worth a line: each word once, at its first event, in order of time."""
    found: dict[str, float] = {}
    for event in run.ordered():
        word = _word(event)
        if word and event.at >= run.ramp_at - 1e-9:
            found.setdefault(word, run.offset_s(event.at))
    marks = (Mark(at, text) for text, at in found.items())
    return tuple(sorted(marks, key=lambda mark: mark.at_s))


def _word(event: Event) -> str:
    action = str(event.data.get("action"))
    words = {
        "phase": _PHASES.get(str(event.data.get("phase")), ""),
        "signal": "first warning",
        "diagnosis": "cause named" if event.data.get("cause") else "",
        "acted": str(event.data.get("remedy", "")).replace("_", " "),
        "operator": _ACTS.get(action, ""),
    }
    if event.kind == "operator" and action == "blame":
        return f"blame {event.data.get('tier', '')}"
    return words.get(event.kind, "")


def stagger(spans: Sequence[tuple[float, float]], rows_max: int) -> list[int | None]:
    """A row above the picture for each label, as low as may be; ``None`` when there is none.

    A label stands over every later one it reaches, so that no line runs through a word.

    >>> stagger([(0, 5), (3, 8), (9, 12)], rows_max=2)
    [1, 0, 0]
    >>> stagger([(0, 5), (1, 6)], rows_max=1)
    [None, 0]
    """
    rows: list[int | None] = [None] * len(spans)
    for n in reversed(range(len(spans))):
        reached = [
            row
            for (left, _), row in zip(spans[n + 1 :], rows[n + 1 :], strict=True)
            if row is not None and left < spans[n][1]
        ]
        row = max(reached, default=-1) + 1
        rows[n] = row if row < rows_max else None
    return rows


def stretches(run: Record, cause: str, end_s: float) -> list[tuple[str, float, float]]:
    """Stretches of one verdict: neighbours of the same state are one stretch."""
    points = [(t, states.get(cause, "cannot_exclude")) for t, states in run.ledger]
    turns = [p for n, p in enumerate(points) if n == 0 or points[n - 1][1] != p[1]]
    ends = [(end_s, "cannot_exclude")]
    return [(str(state), t, until) for (t, state), (until, _) in pairwise([*turns, *ends])]
