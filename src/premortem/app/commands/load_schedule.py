"""``premortem load schedule``: the lines that make a load test regular."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from premortem.app.commands._base import FINE, Usage

__all__ = ["load_schedule"]


def load_schedule(
    *,
    site: str,
    config: Path = Path("premortem.toml"),
    kind: Annotated[
        Literal["cron", "systemd", "github-actions"], Parameter(name=["--kind", "--for"])
    ] = "cron",
    test: Literal["search", "run"] = "search",
    at: str = "04:10",
    on: Literal["daily", "weekly"] = "weekly",
    cron: Annotated[bool, Parameter(negative="")] = False,
    systemd: Annotated[bool, Parameter(negative="")] = False,
    github_actions: Annotated[bool, Parameter(negative="")] = False,
    i_own_this: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Print what makes the test regular: a crontab line, a systemd timer or a workflow.

    Nothing is installed. Each test of a configured site keeps its result in the store, and
    load compare --history shows the series and where it changed.

    Example: premortem load schedule --site shop --systemd

    Parameters
    ----------
    site
        The site of the configuration.
    config
        The configuration; its full path is written into the snippet.
    kind
        What the snippet is for.
    test
        The knee, or one run held against the bars of [load].
    at
        When, in the machine's own time (GitHub: UTC), as HH:MM: when few users are there.
    on
        Every day or every Monday.
    cron
        Short for --kind cron.
    systemd
        Short for --kind systemd.
    github_actions
        Short for --kind github-actions.
    i_own_this
        The site is not on the machine that runs the test, and I may load it.
    """
    from premortem.load.outputs.schedule import snippet  # noqa: PLC0415

    short = {"cron": cron, "systemd": systemd, "github-actions": github_actions}
    chosen = [name for name, asked in short.items() if asked] or [kind]
    if len(chosen) > 1:
        raise Usage(f"one snippet at a time: --{' or --'.join(chosen)}")
    try:
        program = _program() if chosen[0] != "github-actions" else "premortem"
        where = config.absolute()
        print(
            snippet(
                chosen[0], site=site, config=where, test=test, at=at, on=on,
                program=program, i_own_this=i_own_this,
            )
        )  # fmt: skip
    except ValueError as error:
        raise Usage(str(error)) from None
    return FINE


def _program() -> str:
    """The full path of this command: neither cron nor systemd knows our environment."""
    own = Path(sys.argv[0])
    return (
        str(own.absolute()) if own.name == "premortem" else shutil.which("premortem") or "premortem"
    )
