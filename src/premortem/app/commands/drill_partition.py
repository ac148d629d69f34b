"""``premortem drill partition --cluster``."""

from __future__ import annotations

from premortem.app.commands._cluster_drill import (
    Cluster,
    Folder,
    JsonFile,
    Live,
    Rate,
    Seconds,
    Seed,
    Wanted,
    drill,
)

__all__ = ["partition"]


def partition(
    *,
    cluster: Cluster = False,
    json_file: JsonFile = None,
    folder: Folder = None,
    seconds: Seconds = None,
    users_per_s: Rate = 8.0,
    seed: Seed = 1,
    live: Live = True,
) -> int:
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
    return drill(Wanted("partition", cluster, json_file, folder, seconds, users_per_s, seed, live))
