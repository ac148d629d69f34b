"""``premortem watch``: see trouble coming on every configured site, for months."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from premortem.app.commands._base import CANNOT_REACH, FINE, Usage, new_console, run

if TYPE_CHECKING:
    from premortem.app.watch import Daemon
    from premortem.app.watch_view import View

__all__ = ["watch"]

Flag = Annotated[bool, Parameter(negative="")]


def watch(
    *,
    config: Path = Path("premortem.toml"),
    site: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    record: Path | None = None,
    record_mb: int = 256,
    record_parts: int = 4,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    seconds: float | None = None,
    init: Flag = False,
    check: Flag = False,
) -> int:
    """Watch every site of the configuration: see trouble coming, name it, tell people.

    Runs until it is ended. SIGHUP, or a change of the file, reads the configuration again.

    Example: premortem watch --init, then edit premortem.toml, then premortem watch

    Parameters
    ----------
    config
        The configuration.
    site
        Only this site of it; may be given several times.
    record
        Also write every reading to this file, to be replayed by premortem diagnose --recording.
        With several sites each gets one: r.jsonl becomes r-NAME.jsonl.
    record_mb
        Size of a part of the recording, in MB; FILE.1 is the part before.
    record_parts
        How many parts are kept.
    as_json
        Print every event as a JSON object a line.
    seconds
        End after this long.
    init
        Write a configuration with every setting explained, and end.
    check
        Only check the configuration, and end.
    """
    if init:
        return _init(config)
    if seconds is not None and seconds <= 0:
        raise Usage(f"--seconds {seconds:g}: must be positive")
    if record_mb < 1 or not 1 <= record_parts <= 1000:
        raise Usage("--record-mb: at least 1; --record-parts: from 1 to 1000")
    if check:
        return _check(config, site)
    return _watch(config, site, record, (record_mb, record_parts), as_json, seconds)


def _init(config: Path) -> int:
    from importlib.resources import files  # noqa: PLC0415

    text = files("premortem.app").joinpath("premortem.toml").read_text(encoding="utf-8")
    try:
        with config.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Usage(f"--config {config}: is there already; it stays as it is") from None
    except OSError as error:
        raise Usage(f"--config {config}: {error.strerror}") from None
    print(f"{config} written: edit it, check it (premortem watch --check), then premortem watch")
    return FINE


def _check(config: Path, site: tuple[str, ...]) -> int:
    import os  # noqa: PLC0415

    from premortem.app.config import BadConfig  # noqa: PLC0415
    from premortem.app.notify_send import apprise_sends  # noqa: PLC0415
    from premortem.app.watch_setup import read_setup  # noqa: PLC0415

    try:
        setup = read_setup(config, site, os.environ)
        told = len(apprise_sends(setup.urls))
    except BadConfig as error:
        raise Usage(str(error)) from None
    print(f"{config} is fine: {', '.join(setup.sites)}; {told} addresses to tell")
    return FINE


def _watch(
    config: Path,
    site: tuple[str, ...],
    record: Path | None,
    bounds: tuple[int, int],
    as_json: bool,
    seconds: float | None,
) -> int:
    from premortem.app.config import BadConfig  # noqa: PLC0415
    from premortem.app.watch import Daemon  # noqa: PLC0415
    from premortem.app.watch_outlets import CannotListen, Record  # noqa: PLC0415

    recorded = None if record is None else Record(record, bounds[0] * 2**20, bounds[1])
    view = _view(as_json)
    try:
        run(_until_told(Daemon(config, view, site, recorded), seconds))
    except BadConfig as error:
        raise Usage(str(error)) from None
    except CannotListen as error:
        print(f"premortem: {error}", file=sys.stderr)
        return CANNOT_REACH
    except KeyboardInterrupt:
        return FINE  # a watch has no other end
    finally:
        view.close()
    return FINE


async def _until_told(daemon: Daemon, seconds: float | None) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, daemon.again.set)
    await daemon.run(seconds)


def _view(as_json: bool) -> View:
    from premortem.app.watch_view import JsonLines, Lines, Screen  # noqa: PLC0415

    if as_json:
        return JsonLines(sys.stdout)
    console = new_console()
    return Screen(console) if console.is_terminal else Lines(sys.stdout)
