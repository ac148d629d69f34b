"""The words of a message: a title, and the ledger in five lines. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from premortem.app.notify import Notice
from premortem.model import TIER_DEPTH, Diagnosis, Signal, State, Verdict

__all__ = ["LINE_MAX", "body", "title"]

LINE_MAX = 240
"""Five such lines pass whole through the shortest services (Telegram 4096, SMS gateways 1600)."""


def title(notice: Notice, diagnosis: Diagnosis) -> str:
    """One line that a lock screen shows whole.

    >>> d = Diagnosis(9.0, ())
    >>> title(Notice("shop", "page", "db_io", "resolved", 9.0, 0.0, 0.0), d)
    'shop: db_io is over'
    """
    verdict = diagnosis.verdict(notice.subject)
    tier = f" ({verdict.tier})" if verdict else ""
    how = {
        "opened": "" if notice.kind == "page" else " may come",
        "again": " still holds" if notice.kind == "page" else " may still come",
        "flapping": " comes and goes",
        "resolved": " is over",
    }[notice.step]
    where = "" if notice.step == "resolved" else tier
    return f"{notice.site}: {notice.subject}{where}{how}"


def body(notice: Notice, diagnosis: Diagnosis) -> str:
    """What, why, what it is not, what is open, what to do: five lines, none longer than 240."""
    verdict = diagnosis.verdict(notice.subject)
    lines = (
        _what(notice),
        f"why: {_why(notice, diagnosis, verdict)}",
        f"not: {_ruled_out(diagnosis)}",
        f"open: {_open(notice, diagnosis)}",
        f"do: {_do(notice, diagnosis, verdict)}",
    )
    return "\n".join(_short(line) for line in lines)


def _what(notice: Notice) -> str:
    since = f"since {clock(notice.began)}"
    lasted = span(notice.at - notice.began)
    if notice.step == "resolved":
        return f"{notice.subject} is over at {notice.site}: {since}, {lasted} in all"
    if notice.step == "flapping":
        return f"{notice.subject} comes and goes at {notice.site}: told again when it is calm"
    word = "holds" if notice.kind == "page" else "is near"
    return f"{notice.subject} {word} at {notice.site} {since} ({lasted})"


def _why(notice: Notice, diagnosis: Diagnosis, verdict: Verdict | None) -> str:
    if verdict is not None:
        return verdict.because
    signal = next((s for s in diagnosis.signals if s.metric == notice.subject), None)
    return "nothing holds any more" if signal is None else _signal(signal)


def _signal(signal: Signal) -> str:
    runs = f"{signal.metric} is {signal.value:.3g}, its limit {signal.limit:.3g}"
    return signal.note or (f"{runs}, reached in {span(signal.runway_s)}")


def _ruled_out(diagnosis: Diagnosis) -> str:
    tiers = diagnosis.ruled_out_tiers()
    others = [v.cause for v in _of(diagnosis, "ruled_out") if v.tier not in tiers]
    words = [f"the {tier}" for tier in tiers] + others
    return ", ".join(words) or "nothing is ruled out yet"


def _open(notice: Notice, diagnosis: Diagnosis) -> str:
    found = []
    states: tuple[tuple[State, str], ...] = (
        ("confirmed", "also "),
        ("suspected", "perhaps "),
        ("cannot_exclude", "not excluded "),
    )
    for state, word in states:
        causes = [v.cause for v in _of(diagnosis, state) if v.cause != notice.subject]
        found += [word + ", ".join(causes)] if causes else []
    return "; ".join(found) or "no other cause"


def _do(notice: Notice, diagnosis: Diagnosis, verdict: Verdict | None) -> str:
    if notice.step == "resolved":
        return "write down what was learnt, while it is fresh"
    if diagnosis.cause == notice.subject and diagnosis.remedies:
        return f"{', then '.join(diagnosis.remedies)} (docs/causes.md, {notice.subject})"
    check = verdict.check if verdict is not None else ""
    return f"check {check}" if check else "premortem diagnose shows the whole ledger"


def _of(diagnosis: Diagnosis, state: State) -> Sequence[Verdict]:
    found = [v for v in diagnosis.ledger if v.state == state]
    return sorted(found, key=lambda v: (-TIER_DEPTH[v.tier], v.cause))


def _short(line: str) -> str:
    flat = " ".join(line.split())
    return flat if len(flat) <= LINE_MAX else flat[: LINE_MAX - 1] + "…"


def clock(at: float) -> str:
    """Time of day in UTC.

    >>> clock(0)
    '00:00:00 UTC'
    """
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S UTC")


def span(seconds: float) -> str:
    """A length of time in two units at most.

    >>> span(5), span(65), span(7260)
    ('5 s', '1 min 5 s', '2 h 1 min')
    """
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
