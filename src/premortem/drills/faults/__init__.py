"""Faults to rehearse: one file for each cause, of the same name, done to real servers.

A fault is a frozen dataclass that ``draw`` makes from dice, so that its kind and severity are
random but repeatable; ``inject`` is an async context manager that breaks the running stack and
mends it again. ``expects`` is what premortem must then say. There is no registry: a fault exists
because its file does. A cause that cannot be broken on one machine is listed in ``UNREHEARSED``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["UNREHEARSED"]

_CLUSTER = (
    "needs three servers with Patroni and etcd; the rehearsal's database is a single server, "
    "whose cluster is tested for real by tests/real/test_cluster.py and benchmarks.failover"
)
UNREHEARSED: Mapping[str, str] = MappingProxyType(
    {
        "etcd_lost": _CLUSTER,
        "failover_in_progress": _CLUSTER,
        "no_sync_standby": _CLUSTER,
        "split_brain_suspected": _CLUSTER,
    }
)
"""Cause by name, and why nobody can break it here."""
