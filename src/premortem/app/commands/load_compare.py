"""``premortem load compare``: is this release slower than the other?"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from premortem.app.commands._base import FAILED_ITS_BAR, FINE, Usage, new_console, run
from premortem.app.commands._load import Flags, aimed, checked_files, knock, one_line

if TYPE_CHECKING:
    from premortem.app.load_compare import Plan, Sides

__all__ = ["load_compare"]


def load_compare(
    baseline: str | None = None,
    candidate: str | None = None,
    /,
    *more: str,
    flags: Flags | None = None,
    measure: str = "p50",
    pairs: int = 8,
    seconds: float = 5.0,
    rate: float = 20.0,
    crowd: int = 16,
    smallest: float = 0.05,
    history: bool = False,
    out: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    report: Path | None = None,
    release: str | None = None,
) -> int:
    """Say whether a release is slower than another, and how sure that is.

    Two addresses are loaded in turn, pair after pair, so that what changes with time hits both;
    two saved results of load run are compared if they were made under the same conditions. Exit
    code 1 when the candidate is worse, or when so few runs cannot tell.

    Example: premortem load compare http://127.0.0.1:8000/ http://127.0.0.1:8001/ --measure capacity

    Parameters
    ----------
    baseline
        Address of the old release, or the file of a saved run.
    candidate
        Address of the new release, or the file of a saved run.
    more
        Further files, first the rest of the baseline's, then of the candidate's: as many of each.
    measure
        capacity (users/s that a crowd gets served), or mean, p50, p90, p95, p99 at --rate.
    pairs
        Runs of each.
    seconds
        Length of each run.
    rate
        Users a second, for times of answer.
    crowd
        Users who are always there, for the capacity.
    smallest
        The change that matters, relative: what is smaller is "same".
    history
        Instead: the knees that --site has kept so far, and where they changed.
    out
        Write the whole result here.
    as_json
        Print the result as JSON.
    report
        Write a page with charts.
    release
        What the candidate is, such as a version or a commit.
    """
    from premortem.app.load_compare import MEASURES, Plan  # noqa: PLC0415

    given = flags or Flags()
    if history:
        return _history(given, as_json=as_json)
    if baseline is None or candidate is None:
        raise Usage("compare what? give two addresses, or two files of load run --out")
    if measure not in MEASURES:
        raise Usage(f"--measure {measure}: one of {', '.join(MEASURES)}")
    if not 4 <= pairs <= 100:
        raise Usage(f"--pairs {pairs}: from 4 (fewer cannot show anything) to 100")
    if not 2 <= seconds <= 600 or not rate > 0 or not 1 <= crowd <= 10_000:
        raise Usage("--seconds is 2 to 600, --rate above 0, --crowd 1 to 10000")
    if not 0.001 <= smallest <= 1:
        raise Usage(f"--smallest {smallest:g}: a share from 0.001 to 1")
    checked_files({"--out": out, "--report": report})
    plan = Plan(measure, pairs, seconds, rate, crowd, smallest, given.seed)
    files = not baseline.startswith(("http://", "https://"))
    with one_line():
        if files:
            sides, found = _of_files((baseline, candidate, *more), plan)
        else:
            if more:
                raise Usage("two addresses are compared, no more")
            sides, found = _of_sites(baseline, candidate, given, plan, quiet=as_json)
        return _tell(sides, plan, found, release, out=out, report=report, as_json=as_json)


def _of_files(names: tuple[str, ...], plan: Plan) -> tuple[Sides, dict[str, Any]]:
    from premortem.app.load_compare import sides_of_files  # noqa: PLC0415
    from premortem.load.outputs.document import FORMAT, read_result  # noqa: PLC0415

    if len(names) % 2:
        raise Usage(f"{len(names)} files: as many of the baseline as of the candidate are needed")
    documents = [read_result(Path(name), ("run",)) for name in names]
    half = len(names) // 2
    # FIRST SECOND [rest of the first's, then of the second's]
    old = [documents[0], *documents[2 : 2 + half - 1]]
    new = [documents[1], *documents[2 + half - 1 :]]
    sides = sides_of_files(old, new, plan.measure)
    keys = ("site", "url", "conditions", "comparability")
    return sides, {"premortem_load": FORMAT, **{key: new[0][key] for key in keys}}


def _of_sites(
    baseline: str, candidate: str, flags: Flags, plan: Plan, *, quiet: bool
) -> tuple[Sides, dict[str, Any]]:
    from premortem.app.load_compare import measure_pairs  # noqa: PLC0415
    from premortem.app.load_result import head  # noqa: PLC0415
    from premortem.app.load_target import demand_bounds  # noqa: PLC0415
    from premortem.load.pace import Constant  # noqa: PLC0415

    aims = [aimed(url, flags) for url in (baseline, candidate)]
    demand_bounds(Constant(plan.rate, plan.seconds * plan.pairs * 2), aims[0].table.ceilings())
    for aim in aims:
        knock(aim)
    console = new_console(stderr=quiet)

    def say(side: str, number: int, value: float) -> None:
        console.print(f"  {side:<10}{number:3d}: {value:.4g} {plan.unit}", highlight=False)

    old, new = (replace(aim, sources=()) for aim in aims)
    sides = run(measure_pairs(old, new, plan, say))
    conditions = {**aims[1].conditions(), **asdict(plan)}
    return sides, {**head("compare", aims[1], time.time(), conditions, None), "against": baseline}


def _tell(
    sides: Sides, plan: Plan, found: dict[str, Any], release: str | None, *, out: Path | None,
    report: Path | None, as_json: bool,
) -> int:  # fmt: skip
    from premortem.app.load_compare import compared, figures  # noqa: PLC0415
    from premortem.app.load_result import write_json, write_text  # noqa: PLC0415
    from premortem.load.outputs.document import cleaned  # noqa: PLC0415

    comparison = compared(sides, plan)
    made = {"kind": "compare", "release": release, "made_at": round(time.time(), 3)}
    document = cleaned({**found, **made, **figures(comparison, sides, plan)})
    if out is not None:
        write_json(out, "--out", document)
    if report is not None:
        from premortem.load.outputs.page import to_page  # noqa: PLC0415

        write_text(report, "--report", to_page(document))
    if as_json:
        print(json.dumps(document, allow_nan=False))
    else:
        console = new_console()
        console.print(document["sentence"], highlight=False, markup=False)
        if sides.note:
            console.print(f"note: {sides.note}", highlight=False, markup=False)
    return FAILED_ITS_BAR if comparison.verdict in ("worse", "cannot_tell") else FINE


def _history(flags: Flags, *, as_json: bool) -> int:
    from premortem.app.config import load_config  # noqa: PLC0415
    from premortem.app.load_compare import kept_knees  # noqa: PLC0415
    from premortem.app.load_config import load_table  # noqa: PLC0415

    if flags.site is None:
        raise Usage("--history: of which site? give --site NAME of the configuration")
    with one_line():
        config = load_config(flags.config)
        path = load_table(config.load, str(flags.config)).keep or config.history.path
    if not path.is_file():
        raise Usage(f"--history: {path}: no such file; load search --site {flags.site} makes it")
    series, changed = kept_knees(path, flags.site)
    if as_json:
        print(json.dumps({"site": flags.site, "knees": series, "change_points": list(changed)}))
        return FINE
    console = new_console()
    if not series:
        console.print(f"no knee of {flags.site} is kept yet", highlight=False)
    for number, entry in enumerate(series):
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry["at"]))
        mark = "  ◀ changed here" if number in changed else ""
        text = f"{when}  {entry['value']:.4g} users/s  {entry['release'] or ''}{mark}"
        console.print(text, highlight=False, markup=False)
    return FINE
