"""Whether users feel it: failed or slow probes, refusals, queues that do not empty."""

from __future__ import annotations

from premortem.causes._verdict import SLOW_S, fact, held, level, num, once, percent, usual
from premortem.model import Evidence, History

__all__ = ["hurt"]

OK_RATIO_MIN = 0.85
"""Two failed probes of the last ten; one alone may be an accident."""
SLOWER_TIMES = 3.0
"""First byte against usual: three times is beyond what a queue at 70 % load makes of it."""
SLOWER_BY_MS = 100.0
"""Below 100 ms more people do not notice (Nielsen, response times)."""

_QUEUES = (
    # A refusal is a decision somebody made: two seconds of them are no accident.
    ("web.refused_per_s", 2, "{} requests per second are refused"),
    ("web.queue_length", 3, "{} requests wait for a place"),
    ("pool.waiting", 3, "{} requests wait for a pooled connection"),
    ("db.connections.refused_per_s", 3, "{} connections per second are refused"),
)


@once
def hurt(history: History) -> Evidence | None:
    """The first thing users feel, or ``None`` when nothing measured says so."""
    return _probe(history) or _queues(history) or _slower(history)


def _probe(history: History) -> Evidence | None:
    ok = level(history, "user.http.ok_ratio", max_age_s=SLOW_S)
    if ok is not None and ok < OK_RATIO_MIN:
        note = f"{percent(1 - ok)} of the last probes failed or were refused"
        since = history.since("user.http.ok_ratio", below=OK_RATIO_MIN)
        at = history.now if since is None else since
        return Evidence("user.http.ok_ratio", ok, OK_RATIO_MIN, at, note)
    failures = history.failures("http_probe", 10.0)
    if len(failures) < 2:
        return None
    note = f"{len(failures)} probes failed in 10 s, the last with: {failures[-1].error[:80]}"
    return Evidence("user.http.status", 0.0, 200.0, failures[0].at, note)


def _queues(history: History) -> Evidence | None:
    for metric, samples, words in _QUEUES:
        if held(history, metric, above=0.0, samples=samples):
            value = level(history, metric) or 0.0
            return fact(history, metric, value, 0.0, words.format(num(value)))
    return None


def _slower(history: History) -> Evidence | None:
    now = level(history, "user.http.first_byte_ms", max_age_s=SLOW_S)
    before = usual(history, "user.http.first_byte_ms")
    if now is None or before is None:
        return None
    limit = max(before * SLOWER_TIMES, before + SLOWER_BY_MS)
    if now <= limit:
        return None
    note = f"the first byte takes {num(now)} ms instead of {num(before)} ms"
    return fact(history, "user.http.first_byte_ms", now, limit, note)
