"""``premortem load report``: a saved result as a page."""

from __future__ import annotations

from pathlib import Path

from premortem.app.commands._base import FINE, new_console
from premortem.app.commands._load import checked_files, one_line

__all__ = ["load_report"]


def load_report(file: Path, /, *, out: Path | None = None) -> int:
    """Make one HTML page of a saved result: charts, bars, trials, the ledger.

    The page needs nothing else, not even a script; it reads on a phone and prints.

    Example: premortem load report result.json --out result.html

    Parameters
    ----------
    file
        What load run, search or compare wrote with --out.
    out
        Where to write the page; by default beside the result.
    """
    from premortem.app.load_result import write_text  # noqa: PLC0415
    from premortem.load.outputs.document import read_result  # noqa: PLC0415
    from premortem.load.outputs.page import to_page  # noqa: PLC0415

    with one_line():
        document = read_result(file)
        where = out or file.with_suffix(".html")
        checked_files({"--out": where})
        write_text(where, "--out", to_page(document))
    new_console().print(f"written: {where}", highlight=False)
    return FINE
