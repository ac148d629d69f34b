"""The calm sites the examples start from: every metric any source may report, at 40 % load."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["DROWNED", "LIGHT", "OPEN_SITE", "SITE", "SURGE_OPEN", "SURGE_PROTECTED"]

SITE: Mapping[str, float] = MappingProxyType(
    {
        "user.http.dns_ms": 0.4,
        "user.http.connect_ms": 0.4,
        "user.http.first_byte_ms": 25.0,
        "user.http.total_ms": 26.0,
        "user.http.status": 200,
        "user.http.ok_ratio": 1,
        "user.http.status_5xx_ratio": 0,
        "user.http.refused_ratio": 0,
        "net.tcp.retransmit_ratio": 0.0004,
        "net.tcp.retransmits_per_s": 0.3,
        "net.tcp.segments_out_per_s": 900.0,
        "net.tcp.listen_overflows_per_s": 0,
        "net.tcp.listen_queue": 0,
        "net.tcp.listen_queue_max": 2048,
        "net.rtt_ms": 0.3,
        "net.other_port_rtt_ms": 0.3,
        "web.requests_per_s": 33.0,
        "web.in_flight": 1.0,
        "web.in_flight_limit": 8,
        "web.queue_length": 0,
        "web.queue_wait_ms": 0.2,
        "web.refused_per_s": 0,
        "web.served_per_s": 33.0,
        "web.errors_per_s": 0,
        "web.loop_lag_ms": 1.5,
        "web.response_ms": 22.0,
        "web.repeat_ratio": 0.03,
        "web.abandoned_ratio": 0,
        "web.downstream_ms": 5.0,
        "pool.in_use": 1.0,
        "pool.max": 8,
        "pool.waiting": 0,
        "pool.wait_ms": 0.1,
        "pool.size": 8,
        "db.up": 1,
        "db.connections.used": 10,
        "db.connections.max": 100,
        "db.connections.refused_per_s": 0,
        "db.connections.opened_per_s": 0,
        "db.sessions.active": 0.6,
        "db.sessions.idle": 8.0,
        "db.sessions.idle_in_transaction": 0.2,
        "db.sessions.oldest_transaction_s": 0.05,
        "db.sessions.oldest_idle_s": 2.0,
        "db.sessions.oldest_idle_in_transaction_s": 0.01,
        "db.wait.cpu": 0.5,
        "db.wait.io": 0.05,
        "db.wait.lock": 0,
        "db.wait.lwlock": 0,
        "db.wait.client": 0.2,
        "db.wait.other": 0,
        "db.wait.wal": 0.02,
        "db.cores": 1,
        "db.blocked_sessions": 0,
        "db.root_blocker.blocked_sessions": 0,
        "db.root_blocker.age_s": 0,
        "db.transactions_per_s": 45.0,
        "db.rollbacks_per_s": 0.1,
        "db.cache_hit_ratio": 0.995,
        "db.blocks_read_per_s": 20.0,
        "db.connect.tcp_ms": 0.2,
        "db.connect.ssl_reply_ms": 2.0,
        "db.connect.startup_ms": 2.5,
        "db.connect_ms": 4.7,
        "db.statements.calls_per_s": 130.0,
        "db.statements.mean_ms": 3.0,
        "db.statements.top_time_share": 0.4,
        "db.statements.top_mean_ms": 9.0,
        "db.statements.top_calls_per_s": 20.0,
        "db.checkpoints.requested_per_s": 0,
        "db.checkpoints.timed_per_s": 0.003,
        "db.wal.bytes_per_s": 40_000.0,
        "db.replica.lag_s": 0.05,
        "db.replica.lag_bytes": 4_000.0,
        "db.replica.shipping_lag_bytes": 1_000.0,
        "db.replica.count": 1,
        "db.xid.age_ratio": 0.03,
        "db.xmin.age": 200.0,
        "db.dead_tuple_ratio": 0.03,
        "host.cpu.busy_ratio": 0.3,
        "host.cpu.steal_ratio": 0.0,
        "host.load_per_core": 0.5,
        "host.memory.used_ratio": 0.4,
        "host.psi.cpu_some_ratio": 0.05,
        "host.psi.io_some_ratio": 0.01,
        "host.psi.memory_some_ratio": 0.0,
        "host.io.await_ms": 1.0,
        "host.disk.free_ratio": 0.5,
        "web.cpu.busy_ratio": 0.2,
        "db.cpu.busy_ratio": 0.4,
    }
)
"""A site with premortem's guard (8 in flight), a pool of 8 and a database on one core."""

LIGHT: Mapping[str, float] = MappingProxyType(
    {**SITE, "db.rows_scanned_per_s": 3.5e5, "db.cpu.busy_ratio": 0.2}
)
"""The same site on a quiet day, with the rows counted."""

OPEN_SITE: Mapping[str, float] = MappingProxyType(
    {
        **{
            name: value
            for name, value in SITE.items()
            if not name.startswith(("web.", "pool.")) or name == "web.cpu.busy_ratio"
        },
        "db.connections.used": 3.0,
        "db.sessions.idle": 0.5,
        "db.connections.opened_per_s": 33.0,
    }
)
"""A site without guard or pool: every request opens its own connection."""

SURGE_OPEN: Mapping[str, float | tuple[float, float]] = MappingProxyType(
    {
        "user.http.first_byte_ms": (300.0, 2000.0),
        "user.http.total_ms": (300.0, 2000.0),
        "user.http.status": 0,
        "user.http.ok_ratio": (0.9, 0.1),
        "net.tcp.segments_out_per_s": 2500.0,
        "db.connections.used": (40.0, 97.0),
        "db.connections.opened_per_s": 75.0,
        "db.sessions.active": (38.0, 96.0),
        "db.sessions.idle": 0.5,
        "db.sessions.oldest_transaction_s": 1.5,
        "db.wait.cpu": (36.0, 92.0),
        "db.wait.client": 2.0,
        "db.transactions_per_s": 95.0,
        "db.connect.ssl_reply_ms": 22.0,
        "db.connect.startup_ms": 55.0,
        "db.connect_ms": 78.0,
        "db.statements.calls_per_s": 280.0,
        "db.statements.mean_ms": 60.0,
        "db.statements.top_mean_ms": 200.0,
        "host.cpu.busy_ratio": 0.75,
        "host.load_per_core": 20.0,
        "host.psi.cpu_some_ratio": 0.8,
        "web.cpu.busy_ratio": 0.45,
        "db.cpu.busy_ratio": 0.99,
    }
)
"""The seeds' outage: three times what the database can do reaches it unprotected."""

DROWNED: Mapping[str, float | tuple[float, float]] = MappingProxyType(
    {
        **SURGE_OPEN,
        "db.connections.used": 97,
        "db.sessions.active": 95.0,
        "db.wait.cpu": 92.0,
        "db.transactions_per_s": (110.0, 45.0),
        "db.connections.opened_per_s": (80.0, 36.0),
        "db.statements.calls_per_s": (300.0, 130.0),
        "db.statements.mean_ms": (20.0, 200.0),
        "db.statements.top_mean_ms": (60.0, 700.0),
    }
)
"""Half a minute on: the crowd itself costs so much that less is completed than before."""

SURGE_PROTECTED: Mapping[str, float | tuple[float, float]] = MappingProxyType(
    {
        "user.http.first_byte_ms": 60.0,
        "user.http.status": 503,
        "user.http.refused_ratio": 0.6,
        "user.http.ok_ratio": 0.4,
        "net.tcp.segments_out_per_s": 2200.0,
        "web.requests_per_s": (60.0, 250.0),
        "web.in_flight": 8,
        "web.queue_length": (4.0, 30.0),
        "web.queue_wait_ms": 80.0,
        "web.refused_per_s": (5.0, 160.0),
        "web.served_per_s": 82.0,
        "web.loop_lag_ms": 12.0,
        "web.response_ms": 110.0,
        "web.repeat_ratio": 0.25,
        "web.cpu.busy_ratio": 0.5,
        "pool.in_use": 8,
        "db.sessions.active": 7.5,
        "db.sessions.idle": 1.0,
        "db.wait.cpu": 7.0,
        "db.transactions_per_s": 110.0,
        "db.statements.calls_per_s": 320.0,
        "db.statements.mean_ms": 9.0,
        "db.statements.top_mean_ms": 30.0,
        "db.connect.ssl_reply_ms": 12.0,
        "db.connect.startup_ms": 20.0,
        "db.connect_ms": 33.0,
        "db.cpu.busy_ratio": 0.98,
        "host.cpu.busy_ratio": 0.75,
    }
)
"""The same surge on a guarded site: the database is full, what it cannot do is refused."""
