"""The four drills of a cluster to which one thing happens (``premortem drill NAME --cluster``)."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from premortem.app.commands._cluster_drill import (
    EVERYWHERE,
    USUAL_LOAD,
    Asked,
    Door,
    Load,
    Wanted,
    drill,
)

__all__ = ["etcd_down", "failover", "partition", "switchover"]

Through = Annotated[
    Door,
    Parameter(help="pooler: clients are held while the primary changes; proxy: nobody is held."),
]


def failover(
    asked: Asked = EVERYWHERE, load: Load = USUAL_LOAD, *, through: Through = "pooler"
) -> int:
    """Kill the primary's server and its Patroni under load: gap, users failed, orders lost.

    Takes a minute and a half. Exit code 1 when writes are silent for more than 5 s, an
    acknowledged write is lost, or failover_in_progress is not named within 10 s.

    Example: premortem drill failover --cluster
    """
    return drill(Wanted("failover", asked, load, through))


def partition(asked: Asked = EVERYWHERE, load: Load = USUAL_LOAD) -> int:
    """Cut the primary's host off from all others under load: never two that take writes.

    Uses network namespaces, so Linux and root only. Takes two minutes. Exit code 1 when two servers
    take rows at once, writes are silent for more than 25 s, an acknowledged write is lost, or the
    cause is not named within 10 s; 3 where there can be no namespaces.

    Example: premortem drill partition --cluster
    """
    from premortem.drills.cluster_hosts import may_not  # noqa: PLC0415 - keeps --help fast
    from premortem.engines.errors import EngineError  # noqa: PLC0415

    reason = may_not()
    if reason:
        raise EngineError(f"drill partition: {reason}")
    return drill(Wanted("partition", asked, load))


def etcd_down(asked: Asked = EVERYWHERE, load: Load = USUAL_LOAD) -> int:
    """Stop all of the consensus store for 40 s under load: writes must go on.

    Takes a minute and a half. Exit code 1 when writes are silent for more than 1 s, a user or a
    write fails, an acknowledged write is lost, or etcd_lost is not named within 10 s.

    Example: premortem drill etcd-down --cluster
    """
    return drill(Wanted("etcd-down", asked, load))


def switchover(asked: Asked = EVERYWHERE, load: Load = USUAL_LOAD) -> int:
    """Move the primary under load, as planned work does: nobody may fail.

    Takes a minute. Exit code 1 when a user or a write fails, writes are silent for more than 3 s,
    or an acknowledged write is lost.

    Example: premortem drill switchover --cluster
    """
    return drill(Wanted("switchover", asked, load))
