"""What a plan is made from: files, the store's history, declared settings, and typed words.

Everything that cannot be used raises ``ValueError`` with one line: what, where, what to do. A
history that is there but cannot be read raises :class:`premortem.store.StoreError`.
"""

from __future__ import annotations

import gzip
import json
import tomllib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import IO, Any

import numpy as np

from premortem.capacity.demand import DAY_S, Calendar, Demand, at_utc
from premortem.capacity.growth import Seasonal
from premortem.capacity.inputs import public_holidays
from premortem.capacity.tables import CHARACTERS_MAX, STEP_MIN_S
from premortem.capacity.whatif import parse_event
from premortem.model import Series
from premortem.store import RETENTION, Store

__all__ = [
    "calendar_of",
    "check_demand",
    "declared_settings",
    "demand_from_store",
    "model_text",
    "read_model",
    "read_text",
    "write_ours",
]

FIRST_YEAR, LAST_YEAR = 1990, 2100
"""Sites are neither older nor planned further; a time outside is in another unit (milliseconds)."""
BUSY_DAYS = 7
"""The plan holds the busiest moment of the last complete week against the capacity."""


def read_text(path: Path, flag: str) -> str:
    """A text file, also gzipped (``.gz``); at most what the table reader takes."""
    try:
        with _opened(path) as file:
            return file.read(CHARACTERS_MAX + 1)
    except UnicodeDecodeError:
        raise ValueError(f"{flag} {path}: not UTF-8 text; export it as CSV in UTF-8") from None
    except (EOFError, zlib.error):
        raise ValueError(f"{flag} {path}: the gzip file is cut short; copy it again") from None
    except OSError as error:
        raise ValueError(f"{flag} {path}: {error.strerror or error}") from None


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def demand_from_store(path: Path, site: str, metric: str, now: float) -> Demand:
    """What a site was asked, as far back as the history keeps it, in steps of ten minutes.

    ``path`` is premortem's own store, or the address of a fleet's history.
    """
    start = now - RETENTION[-1].keep_s
    if (url := _address(path)) is not None:
        from premortem.app.promql import Promql  # noqa: PLC0415 - only where it is asked for

        series = Promql(url).series(site, metric, start, now, STEP_MIN_S)
        return _in_steps(series, f"--history {url}", site, metric)
    if not path.is_file():  # opening would create it
        raise ValueError(f"--history {path}: no such file")
    with Store.open(path, read_only=True) as store:  # both metrics are rates: servers add up
        series = store.series(site, metric, start, now, across="sum", step_s=int(STEP_MIN_S))
    return _in_steps(series, f"--history {path}", site, metric)


def _address(path: Path) -> str | None:
    """The URL a path was typed as (a path makes one slash of two), ``None`` for a file."""
    scheme, colon, rest = str(path).partition(":/")
    return f"{scheme}://{rest}" if colon and scheme in ("http", "https") else None


def _in_steps(series: Series, where: str, site: str, metric: str) -> Demand:
    if not series.at:
        raise ValueError(f"{where}: holds no {metric} of site {site!r}; check --site and --metric")
    at, values = np.array(series.at), np.array(series.values)
    start = float(at[0] // STEP_MIN_S * STEP_MIN_S)
    index = ((at - start) // STEP_MIN_S).astype(np.int64)
    with np.errstate(invalid="ignore"):
        means = np.bincount(index, values) / np.bincount(index)  # nan where nothing was measured
    return Demand(start, STEP_MIN_S, tuple(map(float, means)))


def check_demand(demand: Demand, where: str, utc_offset_h: float) -> None:
    """Refuse times of another unit, and a last week in which nothing was asked."""
    first, last = (date(y, 1, 1) for y in (FIRST_YEAR, LAST_YEAR))
    epoch = date(1970, 1, 1)
    if not (first - epoch).days * DAY_S <= demand.start < demand.end < (last - epoch).days * DAY_S:
        raise ValueError(
            f"{where}: its times are not between {FIRST_YEAR} and {LAST_YEAR}; "
            "numbers must be seconds since the epoch (not milliseconds)"
        )
    peaks = demand if demand.per_day == 1 else demand.daily_peaks(utc_offset_h)
    if not np.nan_to_num(peaks.array[-BUSY_DAYS:]).max() > 0:
        raise ValueError(f"{where}: nothing was asked in its last {BUSY_DAYS} complete days")


def calendar_of(
    demand: Demand, events: Sequence[str], country: str | None, utc_offset_h: float
) -> Calendar:
    """Declared events and public holidays over the history and the year to come."""
    years = range(at_utc(demand.start).year, at_utc(demand.end).year + 2)
    free = public_holidays(country.upper(), years) if country else frozenset()
    return Calendar(utc_offset_h, free, tuple(parse_event(e, utc_offset_h) for e in events))


def declared_settings(path: Path, site: str | None) -> dict[str, object]:
    """The plain values under ``[site]``, then those of ``[site.NAME.plan]``, of a TOML file.

    ``db_cores`` alone says what the load test had too: without ``db_cores_measured`` the curve is
    taken to be this database's own.
    """
    try:
        raw = tomllib.loads(read_text(path, "--config"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"--config {path}: not TOML: {error}") from None
    tables = _table(path, raw, "site")
    named = {k: v for k, v in tables.items() if isinstance(v, dict)}
    values = {k: v for k, v in tables.items() if k not in named}
    values.update(_of_site(path, named, site))
    if not values:
        raise ValueError(
            f"--config {path}: nothing to plan with; write web_servers, web_processes, pool_size, "
            "max_connections ... under [site] or [site.NAME.plan]"
        )
    if "db_cores" in values:
        values.setdefault("db_cores_measured", values["db_cores"])
    return values


def _of_site(path: Path, named: Mapping[str, Any], site: str | None) -> dict[str, object]:
    if not named:
        return {}
    if site is None and len(named) > 1:
        raise ValueError(f"--config {path}: which site? --site {' or '.join(named)}")
    if site is not None and site not in named:
        raise ValueError(f"--config {path}: no [site.{site}]; it has {', '.join(named)}")
    return _table(path, named[site or next(iter(named))], "plan")


def _table(path: Path, values: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = values.get(name, {})
    if isinstance(found, dict):
        return found
    raise ValueError(f"--config {path}: {name} = {found!r}: a table is needed")


def read_model(path: Path, step_s: float) -> Seasonal | None:
    """The last good model, or ``None`` before the first run or after a change of the steps."""
    if not path.exists():
        return None
    text = read_text(path, "--model")
    try:
        values = json.loads(text)
        plain = {k: float(values[k]) for k in ("fitted_at", "step_s", "level")}
        plain |= {k: float(values[k]) for k in ("trend_per_day", "offset")}
        model = Seasonal.restored({**values, **plain})
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError(f"--model {path}: not a model of premortem plan; name another") from None
    if len(model.weekday) != 7 or len(model.profile) * model.step_s != DAY_S:
        raise ValueError(f"--model {path}: not a model of premortem plan; name another")
    return model if model.step_s == step_s else None


def model_text(model: Seasonal) -> str:
    """What :func:`read_model` reads."""
    return json.dumps(asdict(model)) + "\n"


def write_ours(path: Path, flag: str, text: str, mark: str) -> None:
    """Write a file that begins with ``mark``, over nothing but an earlier one of ours."""
    try:
        if path.is_file():
            with path.open(encoding="utf-8", errors="replace") as file:
                begins = file.read(len(mark))
            if begins not in ("", mark):
                raise ValueError(
                    f"{flag} {path}: is there and was not written by premortem plan; name another"
                )
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{flag} {path}: {error.strerror or error}") from None
