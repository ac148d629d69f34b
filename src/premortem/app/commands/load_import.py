"""``premortem load import``: journeys from what there is already."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from premortem.app.commands._base import FINE, Usage
from premortem.app.commands._load import one_line

if TYPE_CHECKING:
    from premortem.load.imports.draft import Draft

__all__ = ["app"]

Write = Annotated[Path | None, Parameter(name="--write")]
app = App(
    name="import",
    help="""Make a journey (TOML) of a recording, an API document, logs or a locustfile.

Says what it left out. Without --write the journey is printed.

Example: premortem load import access-log access.log --write journey.toml
""",
)


@app.command(name="har")
def har(
    file: Path, /, *, write: Write = None, host: str | None = None, static: bool = False,
    force: bool = False,
) -> int:  # fmt: skip
    """A browser's recording: the requests of one site, pauses, tokens and ids extracted.

    Example: premortem load import har shop.har --write journey.toml

    Parameters
    ----------
    file
        Saved from the browser's developer tools, best "with content": ids are found in answers.
    write
        File to write; feeds go beside it.
    host
        Keep this host's requests; by default the first page's.
    static
        Keep images, scripts and other static files.
    force
        Overwrite.
    """
    from premortem.load.imports.har import from_har  # noqa: PLC0415 - keeps --help fast

    with one_line():
        return _done(from_har(file, host=host, static=static), write, force)


@app.command(name="openapi")
def openapi(
    file: Path, /, *, write: Write = None,
    methods: Annotated[
        tuple[Literal["get", "head", "post", "put", "patch", "delete", "options"], ...],
        Parameter(consume_multiple=True, negative=""),
    ] = ("get", "head"),
    force: bool = False,
) -> int:  # fmt: skip
    """An OpenAPI 3 document: its operations as tasks, values from its examples.

    Example: premortem load import openapi openapi.yaml --methods get post --write journey.toml

    Parameters
    ----------
    file
        JSON or YAML.
    write
        File to write.
    methods
        Which operations; only those that change nothing unless told.
    force
        Overwrite.
    """
    from premortem.load.imports.openapi import from_openapi  # noqa: PLC0415

    with one_line():
        return _done(from_openapi(file, methods=methods), write, force)


@app.command(name="access-log")
def access_log(
    files: Annotated[tuple[Path, ...], Parameter(negative="")], /, *, write: Write = None,
    bots: bool = False, force: bool = False,
) -> int:  # fmt: skip
    """Logs of nginx or Apache: the mix of routes, pauses, requests a visit, users a minute.

    Example: premortem load import access-log access.log.1 access.log --write journey.toml

    Parameters
    ----------
    files
        In the combined (or common) format, oldest first; may be compressed (.gz).
    write
        File to write; feeds go beside it.
    bots
        Keep requests by crawlers, monitors and scripts.
    force
        Overwrite.
    """
    from premortem.load.imports.access_log import from_access_logs  # noqa: PLC0415

    with one_line():
        show = _count_lines if sys.stderr.isatty() else None
        return _done(from_access_logs(files, bots=bots, on_lines=show), write, force)


@app.command(name="locust")
def locust(file: Path, /, *, write: Write = None, force: bool = False) -> int:
    """A locustfile, read but never run: classes, tasks, weights, requests, what maps.

    Example: premortem load import locust locustfile.py --write journey.toml

    Parameters
    ----------
    file
        The locustfile.
    write
        File to write; feeds go beside it.
    force
        Overwrite.
    """
    from premortem.load.imports.locustfile import from_locustfile  # noqa: PLC0415

    with one_line():
        return _done(from_locustfile(file), write, force)


def _count_lines(lines: int) -> None:
    print(f"{lines} lines read", end="\r", file=sys.stderr, flush=True)


def _done(draft: Draft, write: Path | None, force: bool) -> int:
    """Write or print the journey; what was left out goes to standard error."""
    files = draft.files(write.name if write else "journey.toml")
    for note in draft.notes:
        print(note, file=sys.stderr)
    if write is None:
        print("\n".join(files.values()), end="")
        return FINE
    there = [name for name in files if (write.parent / name).exists()]
    if there and not force:
        raise Usage(f"--write {write.parent / there[0]}: is there already; --force overwrites")
    try:
        for name, text in files.items():
            (write.parent / name).write_text(text, "utf-8")
    except OSError as error:
        raise Usage(f"--write {write}: {error.strerror}") from None
    print(f"wrote {', '.join(str(write.parent / name) for name in files)}")
    return FINE
