"""``premortem doctor``: what a watch would lack, and the mend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from premortem.app.commands._base import (
    CANNOT_REACH,
    FAILED_ITS_BAR,
    FINE,
    Usage,
    new_console,
)
from premortem.app.commands._site import meant

if TYPE_CHECKING:
    from premortem.app.doctor import Checkup

__all__ = ["doctor"]


def doctor(
    *,
    url: str | None = None,
    dsn: str | None = None,
    site: str | None = None,
    config: Path = Path("premortem.toml"),
    guard_url: str | None = None,
    guard_token_file: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Say what a watch would lack, why it matters, and how to mend it. Changes nothing.

    Exit code 0: all is there; 1: something lacks; 3: the site or the database cannot be reached.

    Example: premortem doctor --url https://shop.example/ --dsn "host=db user=monitor dbname=shop"

    Parameters
    ----------
    url
        Address of the site as a user sees it.
    dsn
        Connection string of its database, with the role that is to watch.
    site
        A site of the configuration, instead of --url and --dsn.
    config
        The configuration that names it.
    guard_url
        Base address of a site that has premortem.guard in it; by default that of --url.
    guard_token_file
        File whose first line is the guard's token.
    as_json
        Print one JSON object.
    """
    from premortem.app.doctor import Patient, examine  # noqa: PLC0415

    if site is None and url is None and dsn is None:
        raise Usage("doctor of what? give --url and --dsn, or --site NAME")
    if site is not None and (url or dsn):
        raise Usage("choose one: --site NAME, or --url and --dsn")
    one = meant(site, config, url, dsn, guard_url, guard_token_file)
    web_process = one.settings.web_process if one.settings else None
    checkup = examine(Patient(one.url, one.dsn, one.guard_url, one.guard_token, web_process))
    if as_json:
        print(json.dumps(_for_machines(checkup)))
    else:
        _print(checkup)
    if checkup.unreachable:
        return CANNOT_REACH
    return FAILED_ITS_BAR if checkup.lacks else FINE


def _for_machines(checkup: Checkup) -> dict[str, object]:
    return {
        "lacks": [f.name for f in checkup.lacks],
        "unreachable": list(checkup.unreachable),
        "findings": [
            {"name": f.name, "there": f.there, "text": f.text, "mend": f.mend, "sql": list(f.sql)}
            for f in checkup.findings
        ],
        "sql": checkup.sql,
    }


def _print(checkup: Checkup) -> None:
    console = new_console()
    for line in checkup.unreachable:
        console.print(f"✗ cannot reach the {line}", highlight=False, markup=False)
    for f in sorted(checkup.findings, key=lambda f: f.there):
        console.print(f"{'✓' if f.there else '✗'} {f.text}", highlight=False, markup=False)
        if f.mend:
            console.print(f"    {f.mend}", highlight=False, markup=False)
    if checkup.sql:
        console.print("\nAs an administrator of the database:\n", highlight=False)
        console.print(checkup.sql, highlight=False, markup=False)
