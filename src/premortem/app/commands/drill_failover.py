"""``premortem drill failover --cluster``."""

from __future__ import annotations

from premortem.app.commands._cluster_drill import (
    Cluster,
    Door,
    Folder,
    JsonFile,
    Live,
    Rate,
    Seconds,
    Seed,
    Wanted,
    drill,
)

__all__ = ["failover"]


def failover(
    *,
    cluster: Cluster = False,
    json_file: JsonFile = None,
    folder: Folder = None,
    seconds: Seconds = None,
    users_per_s: Rate = 8.0,
    through: Door = "pooler",
    seed: Seed = 1,
    live: Live = True,
) -> int:
    """Kill the primary's server and its Patroni under load: gap, users failed, orders lost.

    Takes a minute and a half. Exit code 1 when writes are silent for more than 5 s, an
    acknowledged write is lost, or failover_in_progress is not named within 10 s.

    Example: premortem drill failover --cluster
    """
    wanted = Wanted(
        "failover", cluster, json_file, folder, seconds, users_per_s, seed, live, through
    )
    return drill(wanted)
