"""Alerting rules people use today, and a small evaluator of them over recordings. Pure.

The rules are re-stated on our metric names; each keeps its threshold, its range and its ``for:``.
Sources, read on 22 November 2026:

- awesome-prometheus-alerts: github.com/samber/awesome-prometheus-alerts, dist/rules/
  {postgresql/postgres-exporter, host-and-hardware/node-exporter, blackbox/blackbox-exporter,
  nginx/knyar-nginx-exporter}.yml
- postgres_exporter's own mixin: github.com/prometheus-community/postgres_exporter,
  postgres_mixin/alerts/postgres.libsonnet
- Google, The Site Reliability Workbook, chapter 5, table 5-8: 14.4 times the budget, 1 h and 5 m

Where a rule wants what Prometheus would have scraped and a recording has more, the rule gets
more: every value of every second, the true share of failed users where it was kept.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

__all__ = ["RULES", "VARIANTS", "Fired", "Rule", "Samples", "Variant", "evaluate"]

USERS, BAD = "users.per_s", "users.bad_per_s"
"""Users a second and those not served; where only a probe looked, it stands for one user."""
CALM_SAMPLES = 10
"""Seconds at the start of a recording that tell the usual rate of users."""
SAMPLE_S = 1.5
"""No range is shorter than this: a compressed one must still hold a sample."""
PROBE_BAD = "probe.failed"
PROBE_S = "probe.duration_s"
OBJECTIVE = 0.999


@dataclass(frozen=True, slots=True)
class Samples:
    """One recording as series; ``speed`` divides every duration a rule speaks of."""

    series: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    """metric: (times in seconds, values)"""
    start: float
    end: float
    speed: float = 1.0

    def last(self, metric: str, now: float) -> float | None:
        """An instant vector: the last sample of the last 5 minutes."""
        at, values = self.series.get(metric, ((), ()))
        i = bisect_right(at, now) - 1
        return values[i] if i >= 0 and at[i] >= now - 300.0 / self.speed else None

    def mean(self, metric: str, over_s: float, now: float) -> float | None:
        """``avg_over_time(metric[over])``: of a rate it is what ``rate()`` of its counter gives."""
        found = self.within(metric, over_s, now)
        return fmean(found) if found else None

    def within(self, metric: str, over_s: float, now: float) -> Sequence[float]:
        """The samples of a range."""
        at, values = self.series.get(metric, ((), ()))
        since = now - max(over_s / self.speed, SAMPLE_S)
        return values[bisect_right(at, since) : bisect_right(at, now)]

    def budget_burn(self, over_s: float, now: float) -> float | None:
        """How many times too fast the error budget burns over a window.

        What lies before the recording counts as health at the first users' rate: the service
        did not begin with it.
        """
        bad, users = self.within(BAD, over_s, now), self.within(USERS, over_s, now)
        if not users:
            return None
        before_s = max(over_s / self.speed - (now - self.start), 0.0)
        first = self.series[USERS][1][:CALM_SAMPLES]
        return sum(bad) / (sum(users) + before_s * fmean(first)) / (1.0 - OBJECTIVE)


Holds = Callable[[Samples, float], bool | None]
"""Whether a rule's expression holds at a moment; ``None``: the recording has not what it needs."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One alerting rule."""

    name: str
    source: str
    says: str
    for_s: float
    holds: Holds
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Variant:
    """How a rule is evaluated."""

    name: str
    words: str
    every_s: float
    """Scrape and evaluation interval."""
    waits: bool
    """Whether ``for:`` is kept."""
    compressed: bool
    """Whether the rule's durations shrink with the time of the recording."""


VARIANTS = (
    Variant("as_written", "durations as written, scraped and evaluated every 15 s",
            15.0, waits=True, compressed=False),
    Variant("best_case", "for: 0, scraped and evaluated every second",
            1.0, waits=False, compressed=False),
    Variant("compressed", "durations divided by the recording's speed, evaluated every second",
            1.0, waits=True, compressed=True),
)  # fmt: skip


def _above(metric: str, limit: float) -> Holds:
    def holds(samples: Samples, now: float) -> bool | None:
        value = samples.last(metric, now)
        return None if value is None else value > limit

    return holds


def _below(metric: str, limit: float) -> Holds:
    def holds(samples: Samples, now: float) -> bool | None:
        value = samples.last(metric, now)
        return None if value is None else value < limit

    return holds


def _mean_above(metric: str, over_s: float, limit: float) -> Holds:
    def holds(samples: Samples, now: float) -> bool | None:
        value = samples.mean(metric, over_s, now)
        return None if value is None else value > limit

    return holds


def _slots(share: float, reserved: float) -> Holds:
    def holds(samples: Samples, now: float) -> bool | None:
        used = samples.last("db.connections.used", now)
        most = samples.last("db.connections.max", now)
        return None if used is None or most is None else used > (most - reserved) * share

    return holds


def _all_slots(samples: Samples, now: float) -> bool | None:
    used, most = (samples.last(f"db.connections.{m}", now) for m in ("used", "max"))
    return None if used is None or most is None else used >= most - RESERVED


def _rollbacks(samples: Samples, now: float) -> bool | None:
    back = samples.mean("db.rollbacks_per_s", 180.0, now)
    done = samples.mean("db.transactions_per_s", 180.0, now)
    return None if back is None or done is None else back > 0.02 * max(done, 1e-9)


def _few_commits(samples: Samples, now: float) -> bool | None:
    rate = samples.mean("db.transactions_per_s", 300.0, now)
    return None if rate is None else rate * 300.0 < 5


def _errors(samples: Samples, now: float) -> bool | None:
    bad, users = (samples.within(metric, 60.0, now) for metric in (BAD, USERS))
    return sum(bad) > 0.05 * sum(users) if users else None


def _burns(samples: Samples, now: float) -> bool | None:
    rates = [samples.budget_burn(over_s, now) for over_s in (3600.0, 300.0)]
    return None if None in rates else all(rate is not None and rate > 14.4 for rate in rates)


RESERVED = 3.0
"""superuser_reserved_connections, PostgreSQL's default."""
APA, MIXIN, SRE = "awesome-prometheus-alerts", "postgres_exporter mixin", "SRE workbook"
RULES = (
    Rule("PostgresqlDown", APA, "pg_up == 0", 0, _below("db.up", 0.5), ("db.up",)),
    Rule("PostgresqlTooManyConnections", APA, "connections > 80 % of max", 120,
         _slots(0.8, 0.0), ("db.connections.used",)),
    Rule("PostgresqlNotEnoughConnections", APA, "connections < 5", 120,
         _below("db.connections.used", 5.0), ("db.connections.used",)),
    Rule("PostgreSQLMaxConnectionsReached", MIXIN, "connections >= max - reserved", 60,
         _all_slots, ("db.connections.used",)),
    Rule("PostgreSQLHighConnections", MIXIN, "connections > 80 % of (max - reserved)", 600,
         _slots(0.8, RESERVED), ("db.connections.used",)),
    Rule("PostgresqlHighRollbackRate", APA, "rollbacks > 2 % over 3 m", 0,
         _rollbacks, ("db.rollbacks_per_s",)),
    Rule("PostgresqlCommitRateLow", APA, "fewer than 5 commits in 5 m", 120,
         _few_commits, ("db.transactions_per_s",)),
    Rule("PostgresqlTooManyDeadTuples", APA, "dead tuples >= 10 %", 120,
         _above("db.dead_tuple_ratio", 0.0999), ("db.dead_tuple_ratio",)),
    Rule("NginxHighHttp5xxErrorRate", APA, "errors > 5 % over 1 m", 60,
         _errors, (USERS,)),
    Rule("BlackboxProbeFailed", APA, "a probe failed", 0,
         _above(PROBE_BAD, 0.5), (PROBE_BAD,)),
    Rule("BlackboxProbeSlowHttp", APA, "probe slower than 1 s over 1 m", 60,
         _mean_above(PROBE_S, 60.0, 1.0), (PROBE_S,)),
    Rule("HostHighCpuLoad", APA, "host CPU > 80 % over 2 m", 600,
         _mean_above("host.cpu.busy_ratio", 120.0, 0.8), ("host.cpu.busy_ratio",)),
    Rule("HostUnusualDiskLatency", APA, "disk latency > 100 ms over 1 m", 120,
         _mean_above("host.io.await_ms", 60.0, 100.0), ("host.io.await_ms",)),
    Rule("ErrorBudgetBurn14.4x", SRE, "14.4 x 0.1 % errors over 1 h and 5 m", 0,
         _burns, (USERS,)),
)  # fmt: skip


def _first_look(start: float, onset: float, every_s: float) -> float:
    """The first evaluation, laid so that the onset falls half-way between two: the mean case."""
    middle = onset + every_s / 2
    return middle - math.floor((middle - start) / every_s) * every_s


@dataclass(frozen=True, slots=True)
class Fired:
    """What became of a rule over one recording; times in seconds since the epoch."""

    at: float | None
    """When it fired first, at or after the onset."""
    before: bool
    """Whether it was firing before the onset: a false alarm."""
    blind: bool
    """The recording has nothing the rule reads."""


def evaluate(rule: Rule, samples: Samples, variant: Variant, onset: float) -> Fired:
    """Evaluate a rule as Prometheus does: it fires once its expression has held for ``for:``."""
    if not any(metric in samples.series for metric in rule.needs):
        return Fired(None, before=False, blind=True)
    for_s = rule.for_s / samples.speed if variant.waits else 0.0
    pending: float | None = None
    early = before = False
    now = _first_look(samples.start, onset, variant.every_s)
    while now <= samples.end:
        if not rule.holds(samples, now):
            pending, early = None, False
        else:
            pending = now if pending is None else pending
            fires = now - pending >= for_s
            if fires and now < onset:
                early = before = True  # and whoever was called then is not called again
            elif fires and not early:
                return Fired(now, before, blind=False)
        now += variant.every_s
    return Fired(None, before, blind=False)
