"""What would bite: each rule is one function from a topology to problems, with reason and mend.

``refuse`` means the cluster would break its own promise or not start; ``warn`` means it works but
something the owner should know is true of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from premortem.cluster.topology import Topology

__all__ = ["RULES", "Problem", "check", "refused"]

TTL_S_MIN = 20
"""Patroni answers 200 to smaller values and silently uses its own minimum."""
LOOP_WAIT_S_MIN = 1
RETRY_TIMEOUT_S_MIN = 3
SYNC_RTT_MS_MAX = 10.0
"""Every commit waits one round trip; beyond 10 ms that is more than a usual transaction takes."""
VOTER_RTT_MS_MAX = 100.0
"""etcd's heartbeat is 100 ms and its election time-out 1000 ms, which should be 10 round trips."""
VOTERS_MAX = 7
"""etcd's own advice: more members only slow every write."""
BUFFERS_SHARE_MAX = 0.4
"""PostgreSQL's manual: more than 40 % of the memory is unlikely to work better."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that would bite."""

    rule: str
    severity: Literal["refuse", "warn"]
    what: str
    why: str
    mend: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.rule}: {self.what}. Why: {self.why}. Mend: {self.mend}."


Rule = Callable[[Topology], Iterator[Problem]]


def check(topology: Topology) -> tuple[Problem, ...]:
    """Every problem of the topology, refusals first."""
    found = [problem for rule in RULES for problem in rule(topology)]
    return tuple(sorted(found, key=lambda p: p.severity != "refuse"))


def refused(problems: tuple[Problem, ...]) -> bool:
    """Whether any of them forbids to go on."""
    return any(p.severity == "refuse" for p in problems)


def pool_sum(t: Topology) -> Iterator[Problem]:
    """All poolers together must leave the reserved slots free."""
    total, limit = sum(p.total for p in t.pools), t.postgres.max_connections - t.postgres.reserved
    if total > limit:
        yield Problem(
            "pool_sum",
            "refuse",
            f"the pools may open {total} connections, the server grants {limit}",
            "idle pools alone then fill every slot and every new connection fails with 53300",
            f"lower size + reserve (x poolers) to {limit} in sum, "
            f"or raise max_connections to {total + t.postgres.reserved}",
        )
    for p in t.pools:
        if p.size < 1 or p.poolers < 1:
            yield Problem(
                "pool_sum",
                "refuse",
                f"the pool {p.database}/{p.user} has no connection",
                "its clients would wait for ever",
                "set size and poolers to 1 or more",
            )


def etcd_members(t: Topology) -> Iterator[Problem]:
    """An odd number, three to seven; one only where a single point of failure is accepted."""
    n = len(t.voters)
    if n == 0 or n % 2 == 0:
        survive = max(0, (n - 1) // 2)
        yield Problem(
            "etcd_members",
            "refuse",
            f"{n} etcd members survive the loss of {survive}",
            "a majority of 2 is 2: two members stop when either stops, twice the risk of one"
            if n
            else "without etcd nobody can agree who the primary is",
            f"use {n + 1 if n else 3} (a small machine with postgres = false can vote)",
        )
    elif n == 1 and len(t.servers) > 1:
        yield Problem(
            "etcd_members",
            "warn",
            "one etcd member",
            "while it is gone no failover can happen",
            "use 3 members in 3 places",
        )
    elif n > VOTERS_MAX:
        yield Problem(
            "etcd_members",
            "refuse",
            f"{n} etcd members",
            "each write waits for a majority of them",
            "use 3 or 5",
        )


def no_loss(t: Topology) -> Iterator[Problem]:
    """What was promised must be what is configured."""
    if t.no_loss and t.sync == "off":
        yield Problem(
            "no_loss",
            "refuse",
            'no_loss = true with sync = "off"',
            "an asynchronous primary acknowledges before any replica has the commit; "
            "96-100 acknowledged rows were lost in half a second of stalled replication",
            'set sync = "quorum", or no_loss = false if that loss is acceptable',
        )
    if t.no_loss and t.sync != "off" and len(t.servers) < 2:
        yield Problem(
            "no_loss",
            "refuse",
            "no_loss = true with one server",
            "there is no second copy of a commit",
            "add a server, or set no_loss = false",
        )
    if t.sync != "off" and len(t.servers) == 2:
        yield Problem(
            "no_loss",
            "warn",
            "two servers",
            "while one of them is gone commits have one copy only (Patroni goes on alone)",
            "add a third server",
        )


def timing(t: Topology) -> Iterator[Problem]:
    """Patroni's rules on ttl, loop_wait and retry_timeout."""
    v = t.timing
    lowest = (
        ("ttl_s", v.ttl_s, TTL_S_MIN),
        ("loop_wait_s", v.loop_wait_s, LOOP_WAIT_S_MIN),
        ("retry_timeout_s", v.retry_timeout_s, RETRY_TIMEOUT_S_MIN),
    )
    for name, value, least in lowest:
        if value < least:
            yield Problem(
                "timing",
                "refuse",
                f"{name} = {value}, the least is {least}",
                "Patroni accepts it and silently uses another value, so failover takes longer "
                "than you planned",
                f"set {name} = {least} or more",
            )
    if (need := v.loop_wait_s + 2 * v.retry_timeout_s) > v.ttl_s:
        yield Problem(
            "timing",
            "refuse",
            f"loop_wait + 2 x retry_timeout = {need} s exceeds ttl = {v.ttl_s} s",
            "a primary that merely retries would lose its key while it still writes",
            f"set ttl_s = {need} or more",
        )


def authentication(t: Topology) -> Iterator[Problem]:
    """No open door beyond loopback."""
    if t.postgres.auth == "trust":
        yield Problem(
            "authentication",
            "refuse" if not t.loopback else "warn",
            'auth = "trust"',
            "whoever reaches the port is superuser, without a password",
            'set auth = "scram-sha-256"',
        )
    if not t.postgres.tls and not t.loopback:
        yield Problem(
            "authentication",
            "refuse",
            "tls = false on addresses that others can reach",
            "passwords' proofs, WAL and every row cross the network in the clear",
            "set tls = true (render writes a script that makes the certificates)",
        )


def distance(t: Topology) -> Iterator[Problem]:
    """Commits and votes wait for round trips."""
    if t.sync != "off":
        for n in t.servers:
            if n.rtt_ms > SYNC_RTT_MS_MAX:
                yield Problem(
                    "distance",
                    "refuse",
                    f"{n.name} is {n.rtt_ms:g} ms away and commits wait for replicas",
                    f"each commit then takes {n.rtt_ms:g} ms longer, and locks are held as long",
                    f"keep servers within {SYNC_RTT_MS_MAX:g} ms, or make the far one a separate "
                    "standby cluster",
                )
    for n in t.voters:
        if n.rtt_ms > VOTER_RTT_MS_MAX:
            yield Problem(
                "distance",
                "refuse",
                f"the etcd member on {n.name} is {n.rtt_ms:g} ms away",
                "etcd's election time-out of 1000 ms must be ten round trips",
                f"keep etcd members within {VOTER_RTT_MS_MAX:g} ms",
            )


def zones(t: Topology) -> Iterator[Problem]:
    """No zone may hold a majority of etcd: with it goes the cluster."""
    held = Counter(n.zone for n in t.voters)
    if not held or len(t.voters) < 3:
        return
    zone, count = held.most_common(1)[0]
    majority = len(t.voters) // 2 + 1
    if count < majority:
        return
    one_zone = len({n.zone for n in t.nodes}) == 1
    yield Problem(
        "zones",
        "warn" if one_zone else "refuse",
        f"zone {zone!r} holds {count} of {len(t.voters)} etcd members",
        "when that zone fails nobody may elect a primary, whatever else still runs",
        "put the members in three zones, one each"
        + (" (one machine cannot give this)" if t.loopback else ""),
    )


def ports(t: Topology) -> Iterator[Problem]:
    """Two parts cannot listen on one port."""
    taken: dict[tuple[str, int], str] = {}
    listens = [(n.address, port, f"{n.name} {part}") for n in t.nodes for part, port in _ports(n)]
    listens += [
        (t.address, t.app_port, "pooler"),
        (t.address, t.primary_port, "proxy (primary)"),
        (t.address, t.replica_port, "proxy (replicas)"),
        (t.address, t.stats_port, "proxy (statistics)"),
    ]
    for address, port, who in listens:
        other = taken.setdefault((address, port), who)
        if other is not who:
            yield Problem(
                "ports",
                "refuse",
                f"{who} and {other} both want {address}:{port}",
                "the second one cannot start",
                "give one of them another port",
            )


def _ports(n: object) -> Iterator[tuple[str, int]]:
    for part in ("postgres", "patroni", "etcd_client", "etcd_peer"):
        yield part, getattr(n, f"{part}_port")


def failover_target(t: Topology) -> Iterator[Problem]:
    """One server has nobody to fail over to."""
    if len(t.servers) == 1:
        yield Problem(
            "failover_target",
            "warn",
            "one server",
            "when it dies nothing takes over",
            "add two more servers",
        )


def memory(t: Topology) -> Iterator[Problem]:
    """Buffers must leave room for everything else."""
    for n in t.servers:
        share = t.postgres.shared_buffers_mb / max(n.memory_gb * 1024, 1.0)
        if share > BUFFERS_SHARE_MAX:
            yield Problem(
                "memory",
                "refuse" if share >= 1 else "warn",
                f"shared_buffers takes {share:.0%} of {n.name}'s {n.memory_gb:g} GB",
                "sessions, sorts and the file cache need the rest",
                f"set shared_buffers_mb = {int(n.memory_gb * 256)} (a quarter)",
            )


RULES: tuple[Rule, ...] = (
    pool_sum,
    etcd_members,
    no_loss,
    timing,
    authentication,
    distance,
    zones,
    ports,
    failover_target,
    memory,
)
