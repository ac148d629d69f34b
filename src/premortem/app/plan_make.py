"""What ``premortem plan`` does: read, compute, write. The clock's time is an argument."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np

from premortem.app.plan_input import (
    calendar_of,
    check_demand,
    declared_settings,
    demand_from_store,
    model_text,
    read_model,
    read_text,
    write_ours,
)
from premortem.capacity.demand import DAY_S, Calendar, Demand, DemandError, at_utc
from premortem.capacity.inputs import site_from
from premortem.capacity.intervals import peak
from premortem.capacity.outlook import look_ahead, outlook_dict, outlook_text
from premortem.capacity.plan import Plan, make_plan
from premortem.capacity.premortem import write_premortem
from premortem.capacity.report import plan_dict, plan_text, usl_from_csv, usl_text
from premortem.capacity.settings import chosen_site, settings
from premortem.capacity.site import Database, Site
from premortem.capacity.tables import curve_from_csv, demand_from_csv
from premortem.capacity.usl import Curve, fit
from premortem.capacity.whatif import parse_date, parse_what_if

__all__ = ["Request", "Told", "plan_command"]

STALE_DAYS = 2
"""A history that ended longer ago than a weekend's pause of its collection is worth a word."""
OFFSET_H = (-12.0, 14.0)
"""The time zones there are (IANA): Baker Island to Kiritimati."""
SETTINGS_MARK = "# written by premortem plan, which replaces it\n"
SETTINGS_FILES = {
    "guard": "guard.txt",
    "pool": "pool.txt",
    "pgbouncer.ini": "pgbouncer.ini",
    "postgresql.conf": "postgresql.conf",
}
DOCUMENT_MARK = "# Premortem: "
MODEL_MARK = '{"fitted_at": '


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked on the command line."""

    usl: Path | None = None
    csv: Path | None = None
    history: Path | None = None
    site: str | None = None
    metric: str = "web.requests_per_s"
    config: Path | None = None
    what_if: tuple[str, ...] = ()
    event: tuple[str, ...] = ()
    target_date: str | None = None
    country: str | None = None
    utc_offset_h: float = 0.0
    write: Path | None = None
    settings: Path | None = None
    model: Path | None = None
    seed: int = 1


@dataclass(slots=True)
class Told:
    """The answer: for machines, for people, and the files written."""

    found: dict[str, object]
    text: str
    notes: list[str] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)


def plan_command(
    request: Request, now: float, progress: Callable[[str], None] = lambda _: None
) -> Told:
    """Read, compute, write. ``now`` in seconds since the epoch.

    Raises ``ValueError`` (one line) for anything that cannot be used, and
    :class:`premortem.store.StoreError` for a store that cannot be read.
    """
    _check(request)
    if request.csv is None and request.history is None:
        return _knee(request)
    progress("reading the history")
    where, demand = _demand(request, now)
    try:
        check_demand(demand, where, request.utc_offset_h)
        calendar = calendar_of(demand, request.event, request.country, request.utc_offset_h)
        progress("computing")
        if request.usl is None:
            told = _days_ahead(request, demand, calendar)
        else:
            told = _dated(request, demand, calendar, now)
    except DemandError as error:
        raise ValueError(f"{where}: {error}") from None
    told.notes.extend(_notes(request, demand, now))
    told.found["notes"] = told.notes
    told.found["written"] = [str(path) for path in told.written]
    return told


def _knee(request: Request) -> Told:
    assert request.usl is not None
    text = read_text(request.usl, "--usl")
    found = usl_from_csv(text, f"--usl {request.usl}", seed=request.seed)
    return Told(found, usl_text(found))


def _demand(request: Request, now: float) -> tuple[str, Demand]:
    if request.csv is not None:
        where = f"--csv {request.csv}"
        return where, demand_from_csv(read_text(request.csv, "--csv"), where)
    assert request.history is not None and request.site is not None
    demand = demand_from_store(request.history, request.site, request.metric, now)
    return f"--history {request.history}", demand


def _days_ahead(request: Request, demand: Demand, calendar: Calendar) -> Told:
    last_good = read_model(request.model, demand.step_s) if request.model else None
    with np.errstate(divide="ignore", invalid="ignore"):  # an error of 0 divides by 0: see _sound
        outlook = look_ahead(demand, calendar, last_good=last_good)
    told = Told(_sound(outlook_dict(outlook)), outlook_text(outlook))
    if request.model and outlook.trusted.fresh:
        text = model_text(outlook.trusted.model)
        write_ours(request.model, "--model", text, MODEL_MARK)
        told.written.append(request.model)
    return told


def _dated(request: Request, demand: Demand, calendar: Calendar, now: float) -> Told:
    what_ifs = [parse_what_if(text) for text in request.what_if]
    target = _target(request, demand)
    curve, site = _curve_and_site(request)
    made = make_plan(
        now // DAY_S * DAY_S,  # a plan is dated by the day
        demand,
        curve,
        site,
        calendar=calendar,
        what_ifs=what_ifs,
        target=target,
        seed=request.seed,
    )
    told = Told(_sound(plan_dict(made)), plan_text(made))
    if target and target > made.target:
        told.notes.append(f"{target} is further than this history tells: planned for {made.target}")
    told.written.extend(_write(request, made))
    return told


def _target(request: Request, demand: Demand) -> date | None:
    if request.target_date is None:
        return None
    target = parse_date(request.target_date)
    ends = at_utc(demand.end + request.utc_offset_h * 3600).date()
    if target < ends:
        raise ValueError(f"--target-date {target}: the history ends later, on {ends}")
    return target


def _curve_and_site(request: Request) -> tuple[Curve, Site]:
    assert request.usl is not None
    declared = declared_settings(request.config, request.site) if request.config else {}
    curve = curve_from_csv(read_text(request.usl, "--usl"), f"--usl {request.usl}")
    fitted = fit(curve)
    database = Database.measured(curve, fitted.usl, peak(curve, fitted, seed=request.seed))
    try:
        return curve, site_from(declared, database)
    except ValueError as error:
        raise ValueError(f"--config {request.config}: {error}") from None


def _sound(found: dict[str, object]) -> dict[str, object]:
    """Refuse a number that is none: it is not an answer, and JSON cannot hold it."""
    try:
        json.dumps(found, allow_nan=False)
    except ValueError:
        raise DemandError("too even to tell how wrong a forecast is; check the series") from None
    return found


def _write(request: Request, made: Plan) -> list[Path]:
    """The files that were asked for. Never over a file that is not ours."""
    written = []
    if request.write is not None:
        write_ours(request.write, "--write", write_premortem(made), DOCUMENT_MARK)
        written.append(request.write)
    if request.settings is not None:
        try:
            request.settings.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"--settings {request.settings}: {error.strerror or error}") from None
        texts = settings(chosen_site(made))
        for key, name in SETTINGS_FILES.items():
            path = request.settings / name
            if key in texts or path.exists():  # an earlier plan's must not stand
                text = texts.get(key, "# nothing to change here\n")
                write_ours(path, "--settings", SETTINGS_MARK + text, SETTINGS_MARK)
                written.append(path)
    return written


def _notes(request: Request, demand: Demand, now: float) -> list[str]:
    """What a reader must know to read the numbers right."""
    notes = []
    ends = at_utc(demand.end).date()
    if now - demand.end > STALE_DAYS * DAY_S:
        notes.append(f"the history ends on {ends}: every date counts from there")
    elif demand.end - now > DAY_S:
        notes.append(f"the history ends on {ends}, which is still to come: check its times")
    if request.usl is not None and request.config is None:
        notes.append(
            "no --config: taken to be 1 web server x 4 processes x pools of 10, max_connections 100"
        )
    if request.history is not None and request.metric == "db.transactions_per_s":
        notes.append("rates are transactions per second: the curve must count transactions too")
    return notes


def _check(r: Request) -> None:
    """Refuse what does not go together. Raises :class:`ValueError`."""
    past = r.csv or r.history
    if r.usl is None and past is None:
        raise ValueError(
            "plan what? give --usl FILE.csv, --csv FILE.csv, or --history FILE --site X"
        )
    if r.csv and r.history:
        raise ValueError("--csv and --history are two pasts: leave one out")
    if r.history and not r.site:
        raise ValueError("--history holds many sites: name one with --site")
    if r.site and not (r.history or r.config):
        raise ValueError("--site names a site of --history or --config: give one of them")
    low, high = OFFSET_H
    if not low <= r.utc_offset_h <= high:
        raise ValueError(f"--utc-offset-h {r.utc_offset_h:g}: from {low:g} to {high:g} hours")
    if r.seed < 0:
        raise ValueError(f"--seed {r.seed}: at least 0")
    of_both = {
        "--what-if": r.what_if, "--target-date": r.target_date, "--write": r.write,
        "--settings": r.settings, "--config": r.config,
    }  # fmt: skip
    given = next((flag for flag, value in of_both.items() if value), None)
    if given and not (r.usl and past):
        raise ValueError(f"{given} needs both a curve (--usl) and a past (--csv or --history)")
    if r.event and past is None:
        raise ValueError("--event needs a past: give --csv or --history")
    if r.model and (r.usl or past is None):
        raise ValueError("--model goes with a past alone: leave --usl out")
