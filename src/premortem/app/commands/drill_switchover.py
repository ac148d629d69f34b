"""``premortem drill switchover --cluster``."""

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

__all__ = ["switchover"]


def switchover(
    *,
    cluster: Cluster = False,
    json_file: JsonFile = None,
    folder: Folder = None,
    seconds: Seconds = None,
    users_per_s: Rate = 8.0,
    seed: Seed = 1,
    live: Live = True,
) -> int:
    """Move the primary under load, as planned work does: nobody may fail.

    Takes a minute. Exit code 1 when a user or a write fails, writes are silent for more than 3 s,
    or an acknowledged write is lost.

    Example: premortem drill switchover --cluster
    """
    return drill(Wanted("switchover", cluster, json_file, folder, seconds, users_per_s, seed, live))
