"""``premortem diagnose``: which tier, which cause, and what it is not."""

from __future__ import annotations

import json
import time
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.live import Live

from premortem.app.commands._base import (
    CANNOT_REACH,
    FINE,
    Usage,
    new_console,
    run,
)
from premortem.app.commands._site import Meant, meant

if TYPE_CHECKING:
    from premortem.app.diagnose import Target

__all__ = ["diagnose"]


def diagnose(
    *,
    url: str | None = None,
    dsn: str | None = None,
    recording: Path | None = None,
    map_: Annotated[str | None, Parameter(name="--map")] = None,
    prometheus: str | None = None,
    from_: Annotated[str, Parameter(name="--from")] = "15m",
    to: str = "now",
    token_file: Path | None = None,
    site: str | None = None,
    config: Path = Path("premortem.toml"),
    seconds: float = 15.0,
    guard_url: str | None = None,
    guard_token_file: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Say which tier and which cause, with evidence, and what it is not.

    Watches a live site for some seconds, or replays a recording or a fleet's history. Touches
    nothing.

    Example: premortem diagnose --url https://shop.example/ --dsn "host=db user=monitor dbname=shop"

    Parameters
    ----------
    url
        Address of the site as a user sees it.
    dsn
        Connection string of its database (a password belongs in PGPASSFILE or PGPASSWORD).
    recording
        Replay this recording, or range-query JSON of Prometheus, instead of watching.
    map_
        What foreign series of that JSON mean: node_exporter, nginx, postgres_exporter, or a
        FILE.toml.
    prometheus
        Replay what the fleet's history holds of --site: address of Prometheus, VictoriaMetrics or
        Mimir.
    from_
        Where the replay begins: 2026-11-22T10:05 (UTC), seconds since 1970, or 15m (ago).
    to
        Where it ends.
    token_file
        File whose first line is the bearer token of that history.
    site
        A site of the configuration, instead of --url and --dsn; with --prometheus the site to
        replay.
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
    chosen = _chosen(recording, prometheus, site, url or dsn)
    if not 1 <= seconds <= 3600:
        raise Usage(f"--seconds {seconds:g}: from 1 to 3600")
    if map_ is not None and recording is None:
        raise Usage("--map tells what a --recording holds: give that too")
    if chosen == "--recording":
        assert recording is not None
        found = _diagnose_recording(recording, map_)
    elif chosen == "--prometheus":
        found = _diagnose_history(prometheus or "", site, from_, to, token_file)
    else:
        target = _target(meant(site, config, url, dsn, guard_url, guard_token_file))
        found = _diagnose_live(target, seconds, quiet=as_json)
    if as_json:
        print(json.dumps(found, default=str))
    else:
        _print_summary(found)
    return CANNOT_REACH if found.get("unreachable") else FINE


def _chosen(
    recording: Path | None, prometheus: str | None, site: str | None, live: str | None
) -> str:
    """What is to be diagnosed; refuses two answers and none."""
    given = {
        "--recording": recording is not None,
        "--prometheus": prometheus is not None,
        "--site": site is not None and prometheus is None,
        "--url": live is not None,
    }
    found = [flag for flag, there in given.items() if there]
    if not found:
        raise Usage(
            "diagnose what? give --url and --dsn, --site NAME, --recording FILE or --prometheus URL"
        )
    if len(found) > 1:
        raise Usage(
            "choose one: --recording FILE, --prometheus URL, --site NAME, or --url and --dsn"
        )
    return found[0]


def _diagnose_recording(path: Path, mapping: str | None) -> dict[str, Any]:
    from premortem.app.assemble import new_pipeline  # noqa: PLC0415
    from premortem.app.diagnose import replay_readings, summary  # noqa: PLC0415
    from premortem.app.recorded import recorded  # noqa: PLC0415
    from premortem.recording import BadRecording  # noqa: PLC0415

    try:
        return summary(replay_readings(recorded(path, mapping), new_pipeline()))
    except BadRecording as error:
        text = str(error)
        own = text.startswith("--map") or str(path) in text
        raise Usage(text if own else f"{path}: {text}") from None


def _diagnose_history(
    url: str, site: str | None, start: str, end: str, token_file: Path | None
) -> dict[str, Any]:
    """Replay what a fleet's history holds."""
    from premortem.app.assemble import new_pipeline  # noqa: PLC0415
    from premortem.app.config import BadConfig, read_secret  # noqa: PLC0415
    from premortem.app.diagnose import replay_readings, summary  # noqa: PLC0415
    from premortem.app.promql import Promql  # noqa: PLC0415
    from premortem.app.recorded import SPAN_MAX_S, instant, remembered  # noqa: PLC0415

    if site is None:
        raise Usage("--prometheus holds many sites: name one with --site")
    try:
        history = Promql(url, read_secret(token_file) if token_file else "")
        now = time.time()
        span = instant(start, now), instant(end, now)
    except (ValueError, BadConfig) as error:
        raise Usage(str(error)) from None
    if not 0 < span[1] - span[0] <= SPAN_MAX_S:
        raise Usage(f"--from {start} --to {end}: from a moment to a later one, at most a day on")
    return summary(replay_readings(remembered(history, site, *span), new_pipeline()))


def _target(one: Meant) -> Target:
    """What to look at, from the flags or from the configuration."""
    from premortem.app.assemble import causes  # noqa: PLC0415
    from premortem.app.config import BadConfig  # noqa: PLC0415
    from premortem.app.diagnose import Target  # noqa: PLC0415

    if one.settings is None or one.config is None:
        return Target(one.url, one.dsn, one.guard_url, one.guard_token)
    try:
        causes(one.config.causes)
    except BadConfig as error:
        raise Usage(str(error)) from None
    guarded = one.settings.guard.cap or one.guard_token
    return Target(
        one.url,
        one.dsn,
        one.guard_url or (one.url if guarded else None),
        one.guard_token,
        one.settings.db_cores,
        one.config.causes,
    )


def _diagnose_live(target: Target, seconds: float, *, quiet: bool) -> dict[str, Any]:
    from premortem.app.diagnose import live_ticks, summary  # noqa: PLC0415
    from premortem.app.ledger_view import ledger_table  # noqa: PLC0415
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
        result["unreachable"] = bool(asked) and not any(s in heard for s in asked)
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
