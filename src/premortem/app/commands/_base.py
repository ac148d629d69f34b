"""What every command shares: exit codes, the console, checks that give one clear line."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

__all__ = [
    "BAD_INPUT",
    "CANNOT_REACH",
    "FAILED_ITS_BAR",
    "FINE",
    "INTERRUPTED",
    "Usage",
    "check_dsn",
    "check_url",
    "check_writable",
    "make_folder",
    "new_console",
    "run",
]

T = TypeVar("T")

FINE, FAILED_ITS_BAR, BAD_INPUT, CANNOT_REACH, INTERRUPTED = 0, 1, 2, 3, 130


class Usage(Exception):
    """Bad usage or input: one line that says what, where, what to do."""


def new_console(*, stderr: bool = False) -> Console:
    """A console that does not break lines when a program reads it."""
    return Console(stderr=stderr, soft_wrap=not sys.stdout.isatty())


def make_folder(folder: Path) -> None:
    """Make the folder of ``--folder`` and prove that it can be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".write-test"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise Usage(f"--folder {folder}: {os.strerror(error.errno or 0)}") from None


def check_writable(file: Path) -> None:
    """Prove that the file of ``--json`` can be written, before the work begins."""
    try:
        with file.open("a"):
            pass
    except OSError as error:
        raise Usage(f"--json {file}: {os.strerror(error.errno or 0)}") from None


def check_url(url: str | None) -> None:
    """Refuse what is no web address."""
    if url is not None and not url.startswith(("http://", "https://")):
        raise Usage(f"--url {url}: must start with http:// or https://")


def check_dsn(dsn: str | None) -> None:
    """Refuse what libpq cannot read."""
    if dsn is None:
        return
    from psycopg import ProgrammingError  # noqa: PLC0415
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    try:
        conninfo_to_dict(dsn)
    except ProgrammingError as error:
        raise Usage(f"--dsn: {str(error).strip()}") from None


def run(work: Coroutine[Any, Any, T]) -> T:
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
