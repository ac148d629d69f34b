"""Every number a postmortem may state, by name, with where it comes from. Pure.

:func:`facts` derives them from the record; a draft is written with them and with nothing else;
:func:`unsupported_numbers` reads the draft back and reports whatever the record does not hold.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from premortem.incidents.lifecycle import fold, hypotheses, minutes_lost, remedied
from premortem.incidents.record import Record, utc
from premortem.incidents.severity import due

__all__ = [
    "Facts",
    "Figure",
    "facts",
    "fill",
    "numbers_in",
    "supported_numbers",
    "unsupported_numbers",
]

EVENTS_MAX = 200
"""Timeline rows of one document: more is a log, not a timeline. What is left out is stated."""

EFFECT_WINDOW_S = 5.0
"""Long enough to average Poisson arrivals, short enough to belong to one act of the drill."""

UNITS = (
    "%", "requests/s", "users/s", "users", "user-seconds", "minutes", "min/s", "ms", "s", "times",
    "sessions", "requests", "causes", "restarts", "writes", "events", "workers",
)  # fmt: skip
"""Units a number may carry; a number is supported only with the unit the record has it in."""

_NUMBER = re.compile(
    r"(?<![\w.:/-])"  # not inside a word, a date or a clock: Sev-1, p99 and H2 are names
    r"(?P<date>\d{4}-\d{2}-\d{2})?(?P<clock>(?<!\d)\d{2}:\d{2}(?::\d{2})?)?"
    r"(?P<sign>[+\-\u2212])?(?P<number>\d[\d,]*(?:\.\d+)?(?:[eE][+-]?\d+)?)?"
)
_UNIT = re.compile(
    r"\s?(" + "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True)) + r")(?![\w])"
)
_NAME = re.compile(r"\{([\w.]+)\}")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its unit and the event, metric or rule it was taken from.

    >>> str(Figure(0.99962, "%", "result"))
    '99.96 %'
    >>> str(Figure(12840.0, "users", "seconds"))
    '12,840 users'
    """

    value: float
    """For ``%`` a share, 0 to 1; otherwise in ``unit``."""
    unit: str
    source: str

    def __str__(self) -> str:
        number = _percent(self.value) if self.unit == "%" else _plain(self.value, self.unit)
        return f"{number} {self.unit}".strip()


Facts = Mapping[str, Figure]
"""Figures by name."""


def _percent(share: float) -> str:
    """One decimal, or as many as it takes not to call something all or nothing."""
    for digits in (1, 2, 3):
        text = f"{100 * share:.{digits}f}"
        if share in (0.0, 1.0) or float(text) not in (0.0, 100.0):
            break
    return text.rstrip("0").rstrip(".") if share in (0.0, 1.0) else text


def _plain(value: float, unit: str) -> str:
    whole = float(value).is_integer() and unit not in ("s", "times", "minutes")
    return f"{value:,.0f}" if whole or abs(value) >= 1000 else f"{value:,.1f}"


def events_shown(record: Record) -> int:
    """How many events the timeline holds."""
    return min(len(record.events), EVENTS_MAX)


def facts(record: Record) -> Facts:
    """All figures of the record, by name. A figure that cannot be had is absent."""
    found = dict(_results(record))
    found.update(_totals(record))
    found.update(_moments(record))
    found.update(_beliefs(record))
    found.update(_effects(record))
    found.update(_settings(record))
    found.update(_ratios(found))
    left_out = len(record.events) - events_shown(record)
    found["events.left_out"] = Figure(left_out, "events", "events")
    return found


_RESULTS = {
    "baseline_goodput_rps": "requests/s", "surge_offered_rps": "requests/s",
    "surge_goodput_rps": "requests/s", "users_total": "users",
    "users_failed_share_in_surge": "%", "users_refused_share_in_surge": "%",
    "users_served_share_in_surge": "%", "first_failure_s": "s", "detected_s": "s", "named_s": "s",
    "recovered_s": "s", "recovered_after_restart_s": "s", "restarts": "restarts",
    "writes_acknowledged": "writes", "writes_lost": "writes", "p50_ms": "ms", "p99_ms": "ms",
}  # fmt: skip


def _results(record: Record) -> Iterator[tuple[str, Figure]]:
    for name, unit in _RESULTS.items():
        value = record.figure(name)
        if value is not None:
            yield name, Figure(value, unit, f"result.{name}")
    if record.knee_rps is not None:
        yield "knee_rps", Figure(record.knee_rps, "requests/s", "result.knee_rps (calibration)")
    if record.speed_min_per_s is not None:
        yield "speed", Figure(record.speed_min_per_s, "min/s", "result.speed_min_per_s")


def _totals(record: Record) -> Iterator[tuple[str, Figure]]:
    """Users since the ramp began, by what became of them."""
    rows = [row for row in record.seconds if row.get("t", 0) >= 0]
    offered = sum(row.get("offered", 0) for row in rows)
    for name in ("offered", "served", "refused", "failed") if rows else ():
        total = sum(row.get(name, 0) for row in rows)
        yield f"users.{name}", Figure(total, "users", f"seconds: sum of {name} from the ramp on")
        if offered and name != "offered":
            yield f"share.{name}", Figure(total / offered, "%", f"seconds: {name} / offered")
    busy = [active + idle for _, active, idle, _ in record.sessions]
    if busy:
        yield "sessions.peak", Figure(max(busy), "sessions", "sessions: most at once")
        yield (
            "sessions.max",
            Figure(max(s[3] for s in record.sessions), "sessions", "sessions: limit"),
        )


def _moments(record: Record) -> Iterator[tuple[str, Figure]]:
    incident = fold(record.events)
    moments = {
        "opened": incident.opened_at,
        "detected": incident.detected_at,
        "named": incident.named_at,
        "mitigated": incident.mitigated_at,
        "resolved": incident.resolved_at,
        **{
            name: record.phase_at(name)
            for name in ("surge_end", "first_failure", "recovered", "end")
        },
    }
    for name, at in moments.items():
        if at is not None:
            yield f"at.{name}", Figure(record.offset_s(at), "s", f"events: {name}")
    for n, event in enumerate(record.ordered()[:EVENTS_MAX]):
        yield f"event.{n}", Figure(record.offset_s(event.at), "s", f"events[{n}].at")
    if incident.opened_at is not None and incident.resolved_at is not None:
        lasted = incident.resolved_at - incident.opened_at
        yield "lasted_s", Figure(lasted, "s", "events: resolved - opened")


def _beliefs(record: Record) -> Iterator[tuple[str, Figure]]:
    held = hypotheses(record.events)
    for n, belief in enumerate(held):
        minutes = belief.held_s * (record.speed_min_per_s or 1 / 60)
        yield f"belief.{n}.from", Figure(record.offset_s(belief.opened_at), "s", f"hypothesis {n}")
        yield f"belief.{n}.to", Figure(record.offset_s(belief.closed_at), "s", f"hypothesis {n}")
        yield f"belief.{n}.minutes", Figure(minutes, "minutes", f"hypothesis {n}: closed - opened")
    if held:
        lost = minutes_lost(held, record.speed_min_per_s)
        yield "lost_minutes", Figure(lost, "minutes", "events: wrong hypotheses, closed - opened")
    seen = [t for t, states in record.ledger if t >= 0 and "confirmed" in states.values()]
    if seen:
        yield "confirmed_s", Figure(seen[0], "s", "ledger: first confirmed cause from the ramp on")
    out = sum(1 for v in record.final_ledger if v.state == "ruled_out")
    yield "ruled_out", Figure(out, "causes", "final ledger")


def _effects(record: Record) -> Iterator[tuple[str, Figure]]:
    """Users served per second just before and just after each act: did it help?"""
    yield "window_s", Figure(EFFECT_WINDOW_S, "s", "rule: means taken over this long")
    for n, done in enumerate(remedied(record.events)):
        at = record.offset_s(done.event.at)
        yield f"act.{n}.at", Figure(at, "s", f"events: {done.name}")
        for name, start in (("before", at - EFFECT_WINDOW_S), ("after", at)):
            rows = [r for r in record.seconds if start <= r.get("t", 0) < start + EFFECT_WINDOW_S]
            if rows:
                mean = sum(r.get("served", 0) for r in rows) / len(rows)
                yield f"act.{n}.{name}", Figure(mean, "users/s", f"seconds: mean served {name}")


def _settings(record: Record) -> Iterator[tuple[str, Figure]]:
    for name, value in record.settings().items():
        yield f"setting.{name}", Figure(value, "", f"settings.{name}")


def _ratios(found: Mapping[str, Figure]) -> Iterator[tuple[str, Figure]]:
    def over(name: str, top: str, bottom: str, unit: str) -> Iterator[tuple[str, Figure]]:
        if top in found and bottom in found and found[bottom].value:
            ratio = found[top].value / found[bottom].value
            yield name, Figure(ratio, unit, f"{top} / {bottom}")

    yield from over("surge_over_knee", "surge_offered_rps", "knee_rps", "times")
    yield from over("goodput_over_knee", "surge_goodput_rps", "knee_rps", "%")
    for name, late, early in (
        ("warned_ahead_s", "first_failure_s", "detected_s"),
        ("surge_to_mitigated_s", "at.mitigated", "at.surge_end"),
    ):
        if late in found and early in found:
            ahead = found[late].value - found[early].value
            yield name, Figure(ahead, "s", f"{late} - {early}")


def fill(template: str, held: Facts) -> str:
    """The sentence with its figures filled in; nothing at all when one of them is not held.

    >>> fill("Restarted after {x}.", {"x": Figure(2.0, "s", "events")}), fill("{y}.", {})
    ('Restarted after 2.0 s.', '')
    """
    if any(name not in held for name in _NAME.findall(template)):
        return ""
    return _NAME.sub(lambda match: str(held[match[1]]), template)


def numbers_in(text: str) -> list[str]:
    """The numbers of a text with their units, dates and clock times whole; comments do not count.

    >>> numbers_in("At +4.2 s (11:00:04 UTC) 1,234 users, 92.4 %, p99 and Sev-1.")
    ['4.2 s', '11:00:04', '1234 users', '92.4 %']
    """
    clean = _COMMENT.sub("", text)
    found: list[str] = []
    at = 0
    while at < len(clean):
        match = _NUMBER.match(clean, at)
        if match is None or not (match["date"] or match["clock"] or match["number"]):
            at += 1
            continue
        found += [part for part in (match["date"], match["clock"]) if part]
        at = match.end()
        if match["number"]:
            unit = _UNIT.match(clean, at)
            sign = "-" if match["sign"] in ("-", "\u2212") else ""
            found.append(
                f"{sign}{match['number'].replace(',', '')} {unit[1] if unit else ''}".strip()
            )
    return found


def supported_numbers(record: Record) -> set[str]:
    """Every number the record holds, in the form :func:`numbers_in` reads it."""
    held: set[str] = set()
    for figure in facts(record).values():
        held.update(numbers_in(str(figure)))
    texts = [e.text for e in record.events]
    for verdict in record.final_ledger:
        texts += [verdict.because, verdict.check, *(e.note for e in verdict.evidence)]
    for text in texts:
        held.update(numbers_in(text))
    for at in (record.ramp_at, *(e.at for e in record.events)):
        if math.isfinite(at):
            held |= {f"{utc(at):%Y-%m-%d}", f"{utc(at):%H:%M:%S}", f"{utc(at):%H:%M}"}
    return held


def unsupported_numbers(text: str, record: Record) -> list[str]:
    """Numbers the text states and the record does not hold, in order of appearance.

    The one date a rule adds is the due date (:func:`premortem.incidents.severity.due`).
    """
    held = supported_numbers(record) | {f"{due(record):%Y-%m-%d}"}
    return [number for number in numbers_in(text) if number not in held]
