"""``premortem drill etcd-down --cluster``."""

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

__all__ = ["etcd_down"]


def etcd_down(
    *,
    cluster: Cluster = False,
    json_file: JsonFile = None,
    folder: Folder = None,
    seconds: Seconds = None,
    users_per_s: Rate = 8.0,
    seed: Seed = 1,
    live: Live = True,
) -> int:
    """Stop all of the consensus store for 40 s under load: writes must go on.

    Takes a minute and a half. Exit code 1 when writes are silent for more than 1 s, a user or a
    write fails, an acknowledged write is lost, or etcd_lost is not named within 10 s.

    Example: premortem drill etcd-down --cluster
    """
    return drill(Wanted("etcd-down", cluster, json_file, folder, seconds, users_per_s, seed, live))
