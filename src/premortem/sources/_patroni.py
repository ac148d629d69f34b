"""What Patroni's pages say, as values: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

__all__ = ["Leadership", "Page", "member_values", "parse_cluster", "sync_wanted"]

Page = Mapping[str, Any]
"""One decoded answer."""

MEMBERS_MAX = 50
LEADERS = ("leader", "standby_leader", "master")
PRIMARY = ("primary", "master")
WRITES = ("running", "unknown")
"""States of a primary that takes writes; ``unknown``: its own Patroni cannot ask it just now."""


def parse_cluster(found: Page) -> tuple[dict[str, float], tuple[Mapping[str, object], ...]]:
    """``/cluster``: values and a row a member. Raises ``KeyError`` for another document."""
    members = list(found["members"])[:MEMBERS_MAX]
    leaders = [m for m in members if m["role"] in LEADERS and m["state"] == "running"]
    followers = [m for m in members if m not in leaders and m["state"] in ("streaming", "running")]
    confirming = [m for m in followers if m["role"] in ("sync_standby", "quorum_standby")]
    values = {
        "db.cluster.members": float(len(members)),
        "db.cluster.leaders": float(len(leaders)),
        "db.cluster.followers": float(len(followers)),
        "db.cluster.sync_standbys": float(len(confirming)),
        "db.cluster.paused": float(bool(found.get("pause"))),
    }
    lags = [float(m["lag"]) for m in members if isinstance(m.get("lag"), int | float)]
    values |= {"db.cluster.lag_bytes": max(lags)} if lags else {}
    timeline = leaders[0].get("timeline") if leaders else None
    values |= {"db.cluster.timeline": float(timeline)} if isinstance(timeline, int) else {}
    wanted = ("name", "role", "state", "timeline", "lag")
    return values, tuple({"kind": "member", **{k: m.get(k) for k in wanted}} for m in members)


def member_values(
    pages: Iterable[Page], now: float
) -> tuple[dict[str, float], tuple[Mapping[str, object], ...]]:
    """``/patroni`` of each member that answered: values and a row a member.

    Without a page there is no value: nobody said anything.
    """
    known = list(pages)[:MEMBERS_MAX]
    if not known:
        return {}, ()
    values = {
        "db.cluster.primaries": float(sum(_takes_writes(p) for p in known)),
        "db.cluster.failsafe": float(any(p.get("failsafe_mode_is_active") for p in known)),
    }
    seen = [float(p["dcs_last_seen"]) for p in known if isinstance(p.get("dcs_last_seen"), int)]
    if any(seen):
        values["db.cluster.consensus_age_s"] = max(0.0, now - max(seen))
    rows = tuple(
        {"kind": "member", "name": _name(p), "role": p["role"], "state": p.get("state"),
         "timeline": p.get("timeline"), "lag": None}
        for p in known
    )  # fmt: skip
    return values, rows


def sync_wanted(config: Page) -> float:
    """``/config``: 1 when commits are to wait for a replica, else 0."""
    return float(config.get("synchronous_mode") in (True, "on", "true", "quorum"))


def _takes_writes(page: Page) -> bool:
    return page["role"] in PRIMARY and page.get("state") in WRITES


def _name(page: Page) -> str:
    about = page.get("patroni")
    return str(about.get("name")) if isinstance(about, dict) else ""


@dataclass(slots=True)
class Leadership:
    """Remembers who leads since when."""

    _who: tuple[str, object] | None = None
    _since: float = 0.0

    @property
    def known(self) -> bool:
        """Whether a leader was ever seen."""
        return self._who is not None

    def age_s(self, now: float, pages: Sequence[Page], history: object = None) -> float | None:
        """Seconds for which the same member has led on the same timeline; ``None`` while nobody
        does.

        At the first look ``history`` (``/history``) dates the last change; a cluster that never
        had one counts from its server's start.
        """
        leading = [p for p in pages if _takes_writes(p)]
        if not leading:
            return None
        page = max(leading, key=lambda p: p.get("timeline") or 0)
        who = (_name(page), page.get("timeline"))
        if self._who is None:
            self._since = _last_change(history) or _moment(page.get("postmaster_start_time")) or now
        elif who != self._who:
            self._since = now
        self._who = who
        return max(0.0, now - self._since)


def _last_change(history: object) -> float | None:
    """When the last line of ``/history`` was written: [timeline, LSN, reason, time, name]."""
    last = history[-1] if isinstance(history, list) and history else None
    return _moment(last[3]) if isinstance(last, list) and len(last) > 3 else None


def _moment(text: object) -> float | None:
    """Seconds since the epoch of an ISO time with its zone."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found.timestamp() if found.tzinfo else None
