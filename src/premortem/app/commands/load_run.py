"""``premortem load run``: send users, hold bars against what they met."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from premortem.app.commands._base import FAILED_ITS_BAR, FINE, Usage, new_console, run
from premortem.app.commands._load import Flags, aimed, checked_files, knock, one_line

if TYPE_CHECKING:
    from premortem.load.pace import Pacer

__all__ = ["load_run"]


def load_run(
    url: str | None = None,
    /,
    *,
    flags: Flags | None = None,
    rate: float | None = None,
    seconds: float | None = None,
    pace: str | None = None,
    bars: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=True)] = (),
    out: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    junit: Path | None = None,
    openmetrics: Path | None = None,
    report: Path | None = None,
    release: str | None = None,
    agents: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=True)] = (),
    live: bool = True,
) -> int:
    """Send users to a site at a fixed pace, and hold bars against what they met.

    Users arrive whatever the site does; each is timed from the instant it meant to ask. Exit code
    1 when a bar is missed, when the test ended itself, or when the figures cannot be believed.

    Example: premortem load run http://127.0.0.1:8000/ --rate 50 --bars "p99<300ms" "failed<0.1%"

    Parameters
    ----------
    url
        Address of the site, or of one page of it.
    rate
        Users a second; 10 unless --pace is given or the journey's file has a pace.
    seconds
        For so long; 30 unless likewise.
    pace
        A shape instead: "ramp 10..200 60s; constant 200 2m", "steps 10,20,40 10s",
        "sine 50+-20 60s 5m".
    bars
        Promises: "p99<300ms", "failed<0.1%", "served/s>200", each also "... over 10s".
    out
        Write the whole result here: what load report and load compare read.
    as_json
        Print it instead of the summary.
    junit
        Write the bars as JUnit XML.
    openmetrics
        Write the figures as OpenMetrics text.
    report
        Write a page with charts.
    release
        What is being tested, such as a version or a commit: kept with the result.
    agents
        Hosts that send instead of this machine, by SSH; each needs premortem installed.
    live
        Draw a live view when the output is a terminal.
    """
    from premortem.app.load_result import document_of_run, keep, write_json, write_text  # noqa: PLC0415
    from premortem.app.load_run import perform  # noqa: PLC0415
    from premortem.app.load_target import demand_bounds  # noqa: PLC0415
    from premortem.app.load_view import RunView, print_run, print_windows  # noqa: PLC0415
    from premortem.load.bars import parse_bar  # noqa: PLC0415

    with one_line():
        aim = aimed(url, flags or Flags(), agents=agents)
        shape = _pace(rate, seconds, pace, aim.journey)
        demand_bounds(shape, aim.table.ceilings())
        wanted = tuple(parse_bar(text) for text in bars) or aim.table.parsed_bars()
        checked_files(
            {
                "--out": out,
                "--junit": junit,
                "--openmetrics": openmetrics,
                "--report": report,
            }
        )
    knock(aim)
    console = new_console(stderr=as_json)
    with RunView(console, live=live) as view:
        done = run(perform(aim, shape, wanted, view.show))
    found = document_of_run(aim, shape, done, time.time(), release)
    with one_line():
        if out is not None:
            write_json(out, "--out", found)
        if junit is not None:
            from premortem.load.outputs.junit import to_junit  # noqa: PLC0415

            write_text(junit, "--junit", to_junit(found))
        if openmetrics is not None:
            from premortem.load.outputs.openmetrics import to_openmetrics  # noqa: PLC0415

            write_text(openmetrics, "--openmetrics", to_openmetrics(found))
        if report is not None:
            from premortem.load.outputs.page import to_page  # noqa: PLC0415

            write_text(report, "--report", to_page(found))
    keep(aim.history, aim.name, found["made_at"], found)
    if as_json:
        print(json.dumps(found, allow_nan=False))
    else:
        print_run(console, done)
        if len(found["final"]["names_ms"]) > 1:
            print_windows(console, found["final"]["names_ms"])
    return FINE if done.verdict == "passed" else FAILED_ITS_BAR


def _pace(rate: float | None, seconds: float | None, words: str | None, journey: str) -> Pacer:
    from premortem.app.load_target import pace_of_journey  # noqa: PLC0415
    from premortem.app.load_words import pace_from_words  # noqa: PLC0415
    from premortem.load.pace import Constant  # noqa: PLC0415

    if words is not None:
        if rate is not None or seconds is not None:
            raise Usage("--pace says rate and time itself: leave out --rate and --seconds")
        return pace_from_words(words)
    if rate is None and seconds is None and (own := pace_of_journey(journey)) is not None:
        return own
    if seconds is not None and seconds < 1:
        raise Usage(f"--seconds {seconds:g}: at least 1")
    return Constant(10.0 if rate is None else rate, 30.0 if seconds is None else seconds)
