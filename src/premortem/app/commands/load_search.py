"""``premortem load search``: find the knee and name what saturates there."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from premortem.app.commands._base import FAILED_ITS_BAR, FINE, Usage, new_console, run
from premortem.app.commands._load import Flags, aimed, checked_files, knock, one_line

if TYPE_CHECKING:
    from rich.console import Console

    from premortem.app.load_target import Aim
    from premortem.load.knee import Bars, Measured, Trial

__all__ = ["load_search"]

PROMISE = "p99<1000ms"
"""A second is where attention breaks (Nielsen 1993); one's own promise is usually stricter."""


def load_search(
    url: str | None = None,
    /,
    *,
    flags: Flags | None = None,
    promise: str = PROMISE,
    precision: float = 0.05,
    start: float = 4.0,
    rate_max: float | None = None,
    trial_seconds: float = 10.0,
    out: Path | None = None,
    curve: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    openmetrics: Path | None = None,
    report: Path | None = None,
    release: str | None = None,
) -> int:
    """Find the highest rate at which the site keeps its promise, and what saturates there.

    Short trials bracket it, full-length trials confirm it; a trial ends as soon as it cannot hold.
    With --site, or --dsn and --guard-url, every tier is sampled meanwhile and the saturated one
    named. Exit code 1 when there is no knee to be had (the reason is printed).

    Example: premortem load search http://127.0.0.1:8000/ --promise "p99<300ms" --curve curve.csv

    Parameters
    ----------
    url
        Address of the site, or of one page of it.
    promise
        What must hold: a percentile and its bound.
    precision
        Width of the interval, relative.
    start
        Users a second to begin with; doubled until the promise breaks.
    rate_max
        Never offer more; the ceiling of [load] holds anyway.
    trial_seconds
        Length of a full trial; longer where the precision needs more users.
    out
        Write the whole result here: what load report and load compare read.
    curve
        Write the curve as CSV: what premortem plan --usl reads.
    as_json
        Print the result as JSON.
    openmetrics
        Write the knee as OpenMetrics text.
    report
        Write a page with charts.
    release
        What is being tested, such as a version or a commit: kept with the result.
    """
    from premortem.app.load_search import promise_of, search_site, sentence  # noqa: PLC0415

    with one_line():
        aim = aimed(url, flags or Flags(), look=True)
        promised = promise_of(promise)
        bars = _bars(aim, promised.violation_ratio_max, precision, start, rate_max, trial_seconds)
        checked_files(
            {"--out": out, "--curve": curve, "--openmetrics": openmetrics, "--report": report}
        )
    knock(aim)
    console = new_console(stderr=as_json)
    searched = run(search_site(aim, bars, promised, _teller(console, bars)))
    found = _document(aim, searched, promised.text, bars, release)
    _write(
        found, searched.knee.trials, out=out, curve=curve, openmetrics=openmetrics, report=report
    )
    if as_json:
        print(json.dumps(found, allow_nan=False))
    else:
        console.print(sentence(searched), highlight=False, markup=False)
        console.print(f"how: {searched.knee.reason}", highlight=False, markup=False)
    return FAILED_ITS_BAR if searched.knee.abstained else FINE


def _bars(
    aim: Aim, ratio: float, precision: float, start: float, rate_max: float | None, full_s: float
) -> Bars:
    from premortem.load.knee import Bars  # noqa: PLC0415

    if not 0.01 <= precision <= 0.5:
        raise Usage(f"--precision {precision:g}: from 0.01 to 0.5")
    if not 2 <= full_s <= 600:
        raise Usage(f"--trial-seconds {full_s:g}: from 2 to 600")
    ceiling = min(rate_max or aim.table.rate_max_per_s, aim.table.rate_max_per_s)
    if not 0 < start <= ceiling:
        raise Usage(f"--start {start:g}: above 0 and at most {ceiling:g}")
    return Bars(ratio, precision, start, ceiling, min(2.0, full_s), full_s, max(60.0, full_s))


def _teller(console: Console, bars: Bars) -> Any:
    from premortem.load.knee import held  # noqa: PLC0415

    def tell(trial: Trial, measured: Measured) -> None:
        kept = held(measured, bars, trial.calm_journey_s or measured.journey_s)
        times = "" if measured.p99_ms is None else f", p99 {measured.p99_ms:.0f} ms"
        console.print(
            f"  {trial.purpose:<8}{trial.users_per_s:8.1f} users/s for {measured.seconds:4.1f} s: "
            f"{measured.served_per_s:.1f}/s served{times}, {measured.violations} of "
            f"{measured.offered} in trouble: {'held' if kept else 'broken'}",
            highlight=False,
        )

    return tell


def _document(
    aim: Aim, searched: Any, promise: str, bars: Bars, release: str | None
) -> dict[str, Any]:
    from premortem.app.load_compare import kept_knees  # noqa: PLC0415
    from premortem.app.load_result import head, keep, ledger  # noqa: PLC0415
    from premortem.app.load_search import figures  # noqa: PLC0415
    from premortem.load.outputs.document import cleaned  # noqa: PLC0415

    conditions = {**aim.conditions(), "promise": promise, "precision": bars.precision}
    found: dict[str, Any] = cleaned(
        {
            **head("search", aim, time.time(), conditions, release),
            **figures(searched),
            "promise": promise,
            "ledger": ledger(searched.diagnosis),
        }
    )
    keep(aim.history, aim.name, found["made_at"], found)
    found["history"], found["change_points"] = kept_knees(aim.history, aim.name)
    return found


def _write(
    found: dict[str, Any],
    trials: tuple[Measured, ...],
    *,
    out: Path | None,
    curve: Path | None,
    openmetrics: Path | None,
    report: Path | None,
) -> None:
    from premortem.app.load_result import write_json, write_text  # noqa: PLC0415

    with one_line():
        if out is not None:
            write_json(out, "--out", found)
        if curve is not None:
            from premortem.app.load_search import curve_csv  # noqa: PLC0415

            write_text(curve, "--curve", curve_csv(trials))
        if openmetrics is not None:
            from premortem.load.outputs.openmetrics import to_openmetrics  # noqa: PLC0415

            write_text(openmetrics, "--openmetrics", to_openmetrics(found))
        if report is not None:
            from premortem.load.outputs.page import to_page  # noqa: PLC0415

            write_text(report, "--report", to_page(found))
