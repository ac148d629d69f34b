"""``premortem diagnose``: which tier, which cause, and what it is not."""

from __future__ import annotations

import json
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.live import Live

from premortem.app.commands._base import (
    CANNOT_REACH,
    FINE,
    Usage,
    check_dsn,
    check_url,
    new_console,
    run,
)

if TYPE_CHECKING:
    from premortem.app.diagnose import Target

__all__ = ["diagnose"]


def diagnose(
    *,
    url: str | None = None,
    dsn: str | None = None,
    recording: Path | None = None,
    site: str | None = None,
    config: Path = Path("premortem.toml"),
    seconds: float = 15.0,
    guard_url: str | None = None,
    guard_token_file: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Say which tier and which cause, with evidence, and what it is not.

    Watches a live site for some seconds, or replays a recording. Touches nothing.

    Example: premortem diagnose --url https://shop.example/ --dsn "host=db user=monitor dbname=shop"

    Parameters
    ----------
    url
        Address of the site as a user sees it.
    dsn
        Connection string of its database (a password belongs in PGPASSFILE or PGPASSWORD).
    recording
        Replay this recording instead of watching.
    site
        A site of the configuration, instead of --url and --dsn.
    config
        The configuration that names it.
    seconds
        How long to watch.
    guard_url
        Base address of a site that has premortem.guard in it.
    guard_token_file
        File whose first line is the guard's token.
    as_json
        Print one JSON object instead of the ledger.
    """
    if recording is None and url is None and dsn is None and site is None:
        raise Usage("diagnose what? give --url and --dsn, --site NAME, or --recording FILE")
    if sum((recording is not None, site is not None, bool(url or dsn))) > 1:
        raise Usage("choose one: --recording FILE, --site NAME, or --url and --dsn")
    if not 1 <= seconds <= 3600:
        raise Usage(f"--seconds {seconds:g}: from 1 to 3600")
    if recording is not None:
        found = _diagnose_recording(recording)
    else:
        target = _target(site, config, url, dsn, guard_url, guard_token_file)
        found = _diagnose_live(target, seconds, quiet=as_json)
    if as_json:
        print(json.dumps(found, default=str))
    else:
        _print_summary(found)
    unreachable = recording is None and found.pop("_unreachable", False)
    return CANNOT_REACH if unreachable else FINE


def _diagnose_recording(path: Path) -> dict[str, Any]:
    from premortem.app.assemble import new_pipeline  # noqa: PLC0415
    from premortem.app.diagnose import read_recording, replay, summary  # noqa: PLC0415
    from premortem.recording import BadRecording  # noqa: PLC0415

    try:
        with read_recording(path) as lines:
            return summary(replay(lines, new_pipeline()))
    except BadRecording as error:
        text = str(error)
        raise Usage(text if str(path) in text else f"{path}: {text}") from None


def _target(
    site: str | None,
    config: Path,
    url: str | None,
    dsn: str | None,
    guard_url: str | None,
    guard_token_file: Path | None,
) -> Target:
    """What to look at, from the flags or from the configuration."""
    from premortem.app.assemble import causes  # noqa: PLC0415
    from premortem.app.config import BadConfig, load_config, read_secret  # noqa: PLC0415
    from premortem.app.diagnose import Target  # noqa: PLC0415

    check_url(url)
    check_dsn(dsn)
    try:
        if site is None:
            token = read_secret(guard_token_file) if guard_token_file else ""
            return Target(url, dsn, guard_url, token)
        known = load_config(config)
        if site not in known.site:
            there = ", ".join(known.site) or "none"
            raise Usage(f"--site {site}: {config} has no such site; it has: {there}")
        causes(known.causes)
        chosen = known.site[site]
        guard = chosen.guard
        token = read_secret(guard.token_file) if guard.token_file else ""
        return Target(
            chosen.url,
            chosen.connection_string(),
            guard.url or (chosen.url if guard.cap or token else None),
            token,
            chosen.db_cores,
            known.causes,
        )
    except BadConfig as error:
        raise Usage(str(error)) from None


def _diagnose_live(target: Target, seconds: float, *, quiet: bool) -> dict[str, Any]:
    from premortem.app.diagnose import live_ticks, summary  # noqa: PLC0415
    from premortem.app.drill_view import ledger_table  # noqa: PLC0415
    from premortem.app.loop import wall_clock  # noqa: PLC0415

    console = new_console(stderr=quiet)

    async def watch() -> dict[str, Any]:
        seen = []
        with Live(console=console, auto_refresh=False, transient=True) as live:
            async with aclosing(live_ticks(target, seconds, wall_clock())) as ticks:
                async for tick in ticks:
                    seen.append(tick)
                    if console.is_terminal:
                        live.update(ledger_table(tick.diagnosis), refresh=True)
        result = summary(seen)
        errors = {r.source: r.error for t in seen for r in t.readings if r.error}
        asked = [s for s, given in (("http_probe", target.url), ("postgres", target.dsn)) if given]
        heard = {r.source for t in seen for r in t.readings if r.error is None}
        result["errors"] = errors
        result["_unreachable"] = bool(asked) and not any(s in heard for s in asked)
        return result

    return run(watch())


def _print_summary(found: dict[str, Any]) -> None:
    console = new_console()
    if found["cause"]:
        help_first = ", ".join(found["remedies"]) or "see docs/causes.md"
        console.print(
            f"[bold red]{found['cause']}[/] ({found['tier']}), "
            f"named after {found['named_after_s']:g} s; first help: {help_first}"
        )
    else:
        console.print("no cause is confirmed")
    marks = {"confirmed": "✗", "suspected": "?", "ruled_out": "✓", "cannot_exclude": "·"}
    order = list(marks)
    for v in sorted(found["ledger"], key=lambda v: order.index(v["state"])):
        state = v["state"].replace("_", " ")
        console.print(
            f"{marks[v['state']]} {v['cause']}: {state}: {v['because']}",
            highlight=False,
            markup=False,
        )
        if v["state"] == "cannot_exclude" and v["check"]:
            console.print(f"    check next: {v['check']}", highlight=False, markup=False)
    for source, error in found.get("errors", {}).items():
        console.print(f"! {source}: {error}", highlight=False, markup=False)
