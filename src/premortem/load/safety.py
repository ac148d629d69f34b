"""When a load test ends itself: the site's errors or the ledger say that it does harm. Pure.

Also says which targets need a promise that they are one's own.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from premortem.load.stats import Second

__all__ = ["Ceilings", "StopRules", "all_loopback", "stop_reason"]

HARMFUL = ("database_down", "connection_exhaustion", "replica_lag")
"""Causes that hurt others than the users of the test: everybody else who needs the database, and
whoever fails over to its replica. Saturation as such is what a load test looks for."""


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What no test exceeds, whatever is asked for."""

    rate_max_per_s: float = 2000.0
    """A typing error (5000 for 500) ends at the ceiling, not at the site; raise it under [load]."""
    seconds_max: float = 3600.0
    """An hour: longer soak tests are wanted by name."""


@dataclass(frozen=True, slots=True)
class StopRules:
    """What ends a run by itself."""

    failed_share: float = 0.5
    """More users failed than not: nothing more is learnt from failing further ones."""
    after_s: int = 5
    """For so long: a restart or a failover takes about as long, and is worth seeing through."""
    users_min: int = 10
    """Within that time; fewer are chance."""
    causes: tuple[str, ...] = field(default=HARMFUL)
    """Causes of the ledger that end it, once confirmed for as long."""


def stop_reason(
    rows: Sequence[Second], named: Sequence[str | None], rules: StopRules
) -> str | None:
    """Why the run must end now, from its seconds so far and the cause named at each tick.

    >>> rows = [Second(s, served=1, failed=9) for s in range(5)]
    >>> stop_reason(rows, [], StopRules())
    '90 % of the users failed for 5 s'
    """
    last = rows[-rules.after_s :]
    ended = sum(row.served + row.refused + row.failed for row in last)
    failing = [
        row.failed > rules.failed_share * (row.served + row.refused + row.failed) for row in last
    ]
    if len(last) == rules.after_s and ended >= rules.users_min and all(failing):
        share = sum(row.failed for row in last) / ended
        return f"{share * 100:.0f} % of the users failed for {rules.after_s} s"
    lately = set(named[-rules.after_s :])
    if len(named) >= rules.after_s and len(lately) == 1 and (cause := lately.pop()) in rules.causes:
        return f"the ledger has held {cause} for {rules.after_s} s"
    return None


def all_loopback(addresses: Iterable[str]) -> bool:
    """Whether every address is this machine's own loopback.

    >>> all_loopback(["127.0.0.1", "::1"]), all_loopback(["127.0.0.1", "192.0.2.1"])
    (True, False)
    """
    known = [ipaddress.ip_address(address.partition("%")[0]) for address in addresses]
    return bool(known) and all(address.is_loopback for address in known)
