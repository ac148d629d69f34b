"""``premortem plan``: when will it be full, and what then. The terminal's side of it.

Everything else is in :mod:`premortem.app.plan_make`, which is imported only when asked for: it
needs ``premortem[plan]``, and ``--help`` should be quick.
"""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.console import Console

if TYPE_CHECKING:
    from premortem.app.plan_make import Told

__all__ = ["BadPlan", "plan"]

WIDTH_MIN = 30
"""Below this many columns words are cut anyway."""


class BadPlan(ValueError):
    """Bad usage or input of ``premortem plan``: one line that says what, where, what to do."""


def plan(
    *,
    usl: Path | None = None,
    csv: Path | None = None,
    history: Path | None = None,
    site: str | None = None,
    metric: Literal["web.requests_per_s", "db.transactions_per_s"] = "web.requests_per_s",
    config: Path | None = None,
    what_if: Annotated[tuple[str, ...], Parameter(negative="", show_default=False)] = (),
    event: Annotated[tuple[str, ...], Parameter(negative="", show_default=False)] = (),
    target_date: str | None = None,
    country: str | None = None,
    utc_offset_h: float = 0.0,
    write: Path | None = None,
    settings: Path | None = None,
    model: Path | None = None,
    seed: int = 1,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Say when the site will be full, how sure that is, and what would help.

    A load test's curve alone (--usl) gives the knee, a history alone (--csv or --history) the days
    ahead; both together give the date, the steps, and the settings. Changes nothing but the files
    it is told to write.

    Example: premortem plan --csv history.csv --usl curve.csv --what-if "surge 3x"

    Parameters
    ----------
    usl
        CSV of a load test: load (sessions in flight) and throughput.
    csv
        CSV of the past: time, and arrivals per second (or counts).
    history
        Take the past from premortem's own store instead, such as premortem.db.
    site
        Which site of the store, or of the configuration.
    metric
        What the store is asked for; the curve's throughput must be of the same unit.
    config
        premortem.toml: web_servers, pool_size, max_connections ... under [site] or
        [site.NAME.plan].
    what_if
        "surge 3x", "web_servers +2", "db_cores x2"; may be repeated.
    event
        NAME DATE[..DATE] [FACTORx], such as "Black Friday 2026-11-27 3x"; may be repeated.
    target_date
        The day to be ready for, as 2026-12-24.
    country
        Public holidays of this country (ISO code such as KE) count as Sundays.
    utc_offset_h
        Hours that the users' clocks are ahead of UTC.
    write
        Write the premortem, the postmortem of the outage to come, to this file.
    settings
        Write the settings of the guard, the pools and PgBouncer into this folder.
    model
        File that keeps the last good model of the days ahead from run to run.
    seed
        Seed of all that is drawn; the same seed gives the same numbers.
    as_json
        Print one JSON object.
    """
    try:
        from premortem.app.plan_make import Request, plan_command  # noqa: PLC0415 - see above

        request = Request(
            usl, csv, history, site, metric, config, what_if, event, target_date, country,
            utc_offset_h, write, settings, model, seed,
        )  # fmt: skip
        with Console(stderr=True).status("planning") as status:
            told = plan_command(request, time.time(), status.update)
    except ModuleNotFoundError as error:
        raise BadPlan(f"{error.name} is missing: pip install 'premortem[plan]'") from None
    except (ValueError, OverflowError) as error:
        raise BadPlan(" ".join(str(error).split())) from None
    if as_json:
        print(json.dumps(told.found, allow_nan=False))
    else:
        print(for_people(told, shutil.get_terminal_size().columns if sys.stdout.isatty() else None))
    return 0


def for_people(told: Told, columns: int | None) -> str:
    """The text, wrapped at words where a terminal's width is known."""
    lines = told.text.splitlines()
    lines += [f"note: {note}" for note in told.notes]
    lines += [f"written: {path}" for path in told.written]
    if columns is None:
        return "\n".join(lines)
    return "\n".join(_wrapped(line, max(columns, WIDTH_MIN)) for line in lines)


def _wrapped(line: str, width: int) -> str:
    indent = "          " if line.startswith("  ") else "  "
    return textwrap.fill(
        line,
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )
