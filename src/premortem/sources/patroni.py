"""Patroni: who leads the cluster, who follows, and how far behind, from its REST interfaces.

Two views are read, because they differ exactly when it matters: what the consensus store holds
(``GET /cluster``, of the first member that answers) and what each member says of itself
(``GET /patroni``, of every member given).
https://patroni.readthedocs.io/en/latest/rest_api.html
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from premortem.model import Metric, Reading
from premortem.sources._http import FetchError, checked, get
from premortem.sources._patroni import Leadership, Page, member_values, parse_cluster, sync_wanted

__all__ = ["METRICS", "UNREACHABLE", "Patroni"]

METRICS = (
    Metric("db.cluster.members", "servers", "Members that the cluster's consensus store knows."),
    Metric("db.cluster.leaders", "servers", "Members that lead and run: 1, else nobody writes."),
    Metric("db.cluster.followers", "servers", "Replicas that stream."),
    Metric("db.cluster.lag_bytes", "bytes", "Log the slowest known replica has not received."),
    Metric("db.cluster.timeline", "code", "The leader's timeline: it grows at each failover."),
    Metric("db.cluster.paused", "bool", "1 nobody fails over by itself (maintenance), 0 not."),
    Metric("db.cluster.sync_standbys", "servers", "Replicas that confirm commits."),
    Metric("db.cluster.sync_wanted", "bool", "1 commits are to wait for a replica, 0 not."),
    Metric("db.cluster.silent", "servers", "Members asked that did not answer."),
    Metric("db.cluster.primaries", "servers", "Members that say themselves that they take writes."),
    Metric("db.cluster.leader_age_s", "s", "How long the same member has led; none, no value."),
    Metric("db.cluster.consensus_age_s", "s", "Since any member last reached the consensus store."),
    Metric("db.cluster.failsafe", "bool", "1 it goes on without consensus, by all members' word."),
)

UNREACHABLE = {"urls": ("http://127.0.0.1:1",)}

CONFIG_EVERY_S = 30.0
"""The cluster's settings change by hand."""


@dataclass(slots=True)
class Patroni:
    """Asks the members for what they know of the cluster and of themselves."""

    name: ClassVar[str] = "patroni"

    urls: Sequence[str]
    """Every member's REST address, as in ``http://10.0.0.1:8008``; one alone may be given plain.
    With fewer than all, ``db.cluster.primaries`` counts those only."""
    interval_s: float = 1.0
    timeout_s: float = 1.0
    """A member asks its own server before it answers; 1 ms when all is well."""
    target: str = field(init=False)
    _first: int = field(init=False, repr=False, default=0)
    _leadership: Leadership = field(init=False, repr=False, default_factory=Leadership)
    _sync_wanted: tuple[float, float] | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        """Raises ``ValueError`` for a URL that is not http or https or names no host."""
        urls = (self.urls,) if isinstance(self.urls, str) else tuple(self.urls)
        if not urls:
            raise ValueError("no member to ask: give at least one URL")
        self.target = ",".join(checked(url) for url in urls)
        self.urls = tuple(url.rstrip("/") for url in urls)

    async def read(self, now: float) -> Reading:
        """One look at the cluster and at each member."""
        cluster, *own = await asyncio.gather(self._cluster(), *map(self._own, self.urls))
        pages = [p for p in own if not isinstance(p, str)]
        values, rows = member_values(pages, now)
        values["db.cluster.silent"] = float(len(own) - len(pages))
        error = cluster if isinstance(cluster, str) else None
        if not isinstance(cluster, str):
            known, rows = parse_cluster(cluster)
            values |= known
            if values["db.cluster.leaders"] != 1:
                error = "the cluster has no running leader"
        elif not pages:
            return Reading(self.name, self.target, now, error=error)
        for more in await asyncio.gather(self._settings(now, pages), self._led(now, pages)):
            values |= more
        return Reading(self.name, self.target, now, values, rows, error)

    async def close(self) -> None:
        """Nothing is kept open."""

    async def _cluster(self) -> Page | str:
        """The consensus store's view, of the member that answered last time or the next one."""
        url = self.urls[self._first % len(self.urls)]
        found = await self._json(url + "/cluster")
        if not isinstance(found, str) and not _is_cluster(found):
            found = "not Patroni's answer"
        if isinstance(found, str):
            self._first += 1
        return found

    async def _own(self, url: str) -> Page | str:
        found = await self._json(url + "/patroni", statuses=(200, 503))
        return found if isinstance(found, str) or "role" in found else "not Patroni's answer"

    async def _settings(self, now: float, pages: Sequence[Page]) -> dict[str, float]:
        """Whether commits are to wait for a replica: asked for now and then, kept in between."""
        if pages and (self._sync_wanted is None or now >= self._sync_wanted[0] + CONFIG_EVERY_S):
            found = await self._any("/config")
            if isinstance(found, dict):
                self._sync_wanted = (now, sync_wanted(found))
        return {} if self._sync_wanted is None else {"db.cluster.sync_wanted": self._sync_wanted[1]}

    async def _led(self, now: float, pages: Sequence[Page]) -> dict[str, float]:
        """How long the one that leads has led; at the first look from the cluster's own history."""
        history = await self._any("/history") if pages and not self._leadership.known else None
        age_s = self._leadership.age_s(now, pages, history)
        return {} if age_s is None else {"db.cluster.leader_age_s": age_s}

    async def _any(self, path: str) -> object:
        """The first answer of any member, the one that answered last first."""
        order = [self.urls[(self._first + i) % len(self.urls)] for i in range(len(self.urls))]
        for url in order[:2]:  # two time-outs fit into a read's bound
            found = await self._decoded(url + path, (200,), self.timeout_s / 2)
            if not isinstance(found, str):
                return found
        return None

    async def _json(self, url: str, statuses: tuple[int, ...] = (200,)) -> Page | str:
        found = await self._decoded(url, statuses, self.timeout_s)
        return found if isinstance(found, dict | str) else "not Patroni's answer"

    async def _decoded(self, url: str, statuses: tuple[int, ...], timeout_s: float) -> Any:
        """What the member says, decoded; a ``str`` is why there is nothing."""
        try:
            status, body = await get(url, timeout_s)
        except FetchError as problem:
            return str(problem)
        if status not in statuses:
            return f"status {status} from {url[url.rindex('/') :]}"
        try:
            return json.loads(body)
        except ValueError:
            return "not Patroni's answer"


def _is_cluster(found: Mapping[str, Any]) -> bool:
    members = found.get("members")
    return isinstance(members, list) and all(
        isinstance(m, dict) and "role" in m and "state" in m for m in members
    )
