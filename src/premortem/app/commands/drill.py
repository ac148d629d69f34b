"""``premortem drill``: rehearse an outage on real servers."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from premortem.app.commands._base import (
    FINE,
    Usage,
    check_writable,
    make_folder,
    new_console,
    run,
)
from premortem.app.commands.drill_cluster import etcd_down, failover, partition, switchover
from premortem.app.commands.drill_surge import surge

__all__ = ["app"]

app = App(
    name="drill",
    help="""Rehearse an outage on real servers that are started for it.

Example: premortem drill shop
""",
)
app.command("premortem.app.commands.drill_fault:fault", name="fault")
for _command in (etcd_down, failover, partition, surge, switchover):
    app.command(_command)


@app.default
def drill(
    scenario: Literal["shop", "game"],
    /,
    *,
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
    folder: Path | None = None,
    speed: float = 2.5,
    seed: int = 1,
    port: int | None = None,
    live: bool = True,
) -> int:
    """Play the seeds' outage on real servers, as it happened and with premortem.

    Starts a PostgreSQL and a site of its own on this machine, finds their knee, and plays the same
    surge twice. Takes about four minutes; Ctrl-C stops every server and leaves nothing behind.

    Example: premortem drill shop --json result.json

    Parameters
    ----------
    scenario
        The outage to play: shop or game.
    json_file
        Also write the result, one JSON object, to this file.
    folder
        Where report.html, result.json, the recordings and the postmortems go; made if missing.
        By default premortem-drill-SCENARIO-TIME in the current folder.
    speed
        Minutes of the seeds that pass in a second: 2.5 plays their 150 minutes in 60 s.
    seed
        Seed of the users' arrivals and choices.
    port
        Port of the site; by default a free one.
    live
        Draw a live view when the output is a terminal.
    """
    from premortem.app.drill import DrillOptions, new_view  # noqa: PLC0415 - keeps --help fast
    from premortem.app.drill import drill as run_drill  # noqa: PLC0415
    from premortem.app.drill_view import side_by_side_table  # noqa: PLC0415
    from premortem.drills.scenario import timeline  # noqa: PLC0415

    try:
        timeline(speed)
    except ValueError as error:
        raise Usage(f"--speed: {error}") from None
    if port is not None and not 0 < port < 65536:
        raise Usage(f"--port {port}: a port is a number from 1 to 65535")
    where = folder or Path(f"premortem-drill-{scenario}-{time.strftime('%Y%m%d-%H%M%S')}")
    make_folder(where)
    if json_file is not None:
        check_writable(json_file)
    console = new_console()
    with new_view(console, live=live) as view:
        outcome = run(run_drill(DrillOptions(scenario, where, speed, seed, port), view))
    console.print(side_by_side_table(outcome.result))
    console.print(f"report: {outcome.folder / 'report.html'}", highlight=False)
    if json_file is not None:
        json_file.write_text(json.dumps(outcome.result, indent=2) + "\n")
    return FINE
