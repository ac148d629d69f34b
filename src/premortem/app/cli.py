"""The command line: parses, calls, and turns every expected failure into one line and a code.

Exit codes: 0 fine, 1 the thing measured failed its bar, 2 bad usage or input, 3 cannot reach what
it needs, 130 interrupted.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console
from rich.live import Live

from premortem import __version__
from premortem.app.plan import BadPlan, plan

if TYPE_CHECKING:
    from premortem.app.diagnose import Target

__all__ = ["app", "main"]

T = TypeVar("T")

app = App(
    name="premortem",
    help="Read the postmortem before the outage.",
    version=__version__,
    version_flags=["--version"],
    result_action="return_value",
)

# Imported when it is asked for.
app.command(
    "premortem.cluster.cli:app",
    name="cluster",
    help="A database cluster: no single point of failure.",
)
app.command(plan)

FINE, FAILED_ITS_BAR, BAD_INPUT, CANNOT_REACH, INTERRUPTED = 0, 1, 2, 3, 130


class Usage(Exception):
    """Bad usage or input: one line that says what, where, what to do."""


def _console(*, stderr: bool = False) -> Console:
    return Console(stderr=stderr, soft_wrap=not sys.stdout.isatty())


@app.command
def version() -> int:
    """Print the version.

    Example: premortem version
    """
    print(__version__)
    return FINE


@app.command
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
    _make_folder(where)
    if json_file is not None:
        _check_writable(json_file)
    console = _console()
    with new_view(console, live=live) as view:
        outcome = _run(run_drill(DrillOptions(scenario, where, speed, seed, port), view))
    console.print(side_by_side_table(outcome.result))
    console.print(f"report: {outcome.folder / 'report.html'}", highlight=False)
    if json_file is not None:
        json_file.write_text(json.dumps(outcome.result, indent=2) + "\n")
    return FINE


@app.command
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

    _check_url(url)
    _check_dsn(dsn)
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

    console = _console(stderr=quiet)

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

    return _run(watch())


def _print_summary(found: dict[str, Any]) -> None:
    console = _console()
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


# -- checks that give one clear line


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".write-test"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise Usage(f"--folder {folder}: {os.strerror(error.errno or 0)}") from None


def _check_writable(file: Path) -> None:
    try:
        with file.open("a"):
            pass
    except OSError as error:
        raise Usage(f"--json {file}: {os.strerror(error.errno or 0)}") from None


def _check_url(url: str | None) -> None:
    if url is not None and not url.startswith(("http://", "https://")):
        raise Usage(f"--url {url}: must start with http:// or https://")


def _check_dsn(dsn: str | None) -> None:
    if dsn is None:
        return
    from psycopg import ProgrammingError  # noqa: PLC0415
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    try:
        conninfo_to_dict(dsn)
    except ProgrammingError as error:
        raise Usage(f"--dsn: {str(error).strip()}") from None


# -- running


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; SIGTERM ends it like Ctrl-C, with every ``finally`` on the way."""

    async def guarded() -> T:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()
        stopped = False

        def stop() -> None:
            nonlocal stopped
            stopped = True
            task.cancel()

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, stop)
        try:
            return await task
        except asyncio.CancelledError:
            if stopped:
                raise KeyboardInterrupt from None
            raise

    return asyncio.run(guarded())


def main(argv: list[str] | None = None) -> None:
    """Entry point of the ``premortem`` command."""
    sys.exit(_guarded(sys.argv[1:] if argv is None else argv))


def _guarded(argv: list[str]) -> int:
    try:
        code = app(argv, exit_on_error=False, print_error=False)
    except KeyboardInterrupt:
        return _say("interrupted; every server was stopped", INTERRUPTED)
    except CycloptsError as error:
        return _say(f"{' '.join(str(error).split())} (see premortem --help)", BAD_INPUT)
    except (Usage, BadPlan) as error:
        return _say(str(error), BAD_INPUT)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - whoever read us has gone
        return FINE
    except (RuntimeError, ExceptionGroup) as error:
        found = _expected(error)
        if found is None:
            raise
        return _say(str(found), CANNOT_REACH)
    return code if isinstance(code, int) else FINE


def _say(line: str, code: int) -> int:
    print(f"premortem: {line}", file=sys.stderr)
    return code


def _expected(error: Exception) -> Exception | None:
    """The failure that a person can do something about, also inside a group; else ``None``."""
    from premortem.drills.calibrate import CalibrationFailed  # noqa: PLC0415
    from premortem.drills.clients import ClientsFailed  # noqa: PLC0415
    from premortem.engines.errors import EngineError  # noqa: PLC0415
    from premortem.remedies._hands import RemedyFailed  # noqa: PLC0415
    from premortem.store import StoreError  # noqa: PLC0415

    kinds = (CalibrationFailed, ClientsFailed, EngineError, RemedyFailed, StoreError)
    if isinstance(error, ExceptionGroup):
        return next((f for e in error.exceptions if (f := _expected(e)) is not None), None)
    return error if isinstance(error, kinds) else None
