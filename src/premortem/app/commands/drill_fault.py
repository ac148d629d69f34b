"""``premortem drill fault``: break one thing on real servers and see whether it is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from premortem.app.commands._base import (
    FAILED_ITS_BAR,
    FINE,
    Usage,
    check_writable,
    new_console,
    run,
)

__all__ = ["fault"]


def fault(
    name: str,
    /,
    *,
    seed: int = 1,
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
    record: Path | None = None,
) -> int:
    """Break one thing on real servers and see whether premortem names it.

    Starts a PostgreSQL and a shop of its own, lets users in, breaks what NAME says in a way and to
    a degree drawn from the seed, prints the ledger as it changes, mends it, and scores: was the
    true cause named, when, and was it ever excluded? Takes about a minute. Exits with 1 when the
    cause was named wrongly or not at all.

    Example: premortem drill fault lock_contention --seed 7

    Parameters
    ----------
    name
        The fault, called as the cause it must be named as; "list" prints them all.
    seed
        Of the fault's kind and severity. Under even seeds traffic rises all the time.
    json_file
        Also write the case and its score, one JSON object, to this file.
    record
        Also keep the recording, for premortem diagnose --recording.
    """
    from premortem.app.drill_fault import as_dict, play_alone  # noqa: PLC0415 - keeps --help fast
    from premortem.app.drill_fault_view import FaultView, fault_list  # noqa: PLC0415
    from premortem.drills.rehearse import case_of  # noqa: PLC0415

    console = new_console()
    if name == "list":
        fault_list(console)
        return FINE
    try:
        case = case_of(name, seed)
    except ValueError as error:
        raise Usage(str(error)) from None
    for file in (json_file, record):
        if file is not None:
            check_writable(file)
    view = FaultView(console)
    kept = run(play_alone(case, recording=record, say=view.say, show=view.tick))
    view.score(case, kept)
    if json_file is not None:
        json_file.write_text(json.dumps(as_dict(case, kept), indent=2) + "\n")
    return FINE if kept.score.top1 else FAILED_ITS_BAR
