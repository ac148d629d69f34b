"""Reads what people hand over: scalability curves and histories of demand as CSV text."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from premortem.capacity.demand import DAY_S, STEPS_MAX, Demand, DemandError
from premortem.capacity.usl import Curve

__all__ = ["TableError", "curve_from_csv", "demand_from_csv"]

ROWS_CURVE_MAX = 1000
"""A load test has tens of points; more are raw samples and want averaging first."""
CHARACTERS_MAX = 200_000_000
STEP_MIN_S = 600.0
"""Finer histories are averaged to ten minutes: a site is not full because of one busy second."""

LOAD_WORDS = (
    "load",
    "n",
    "users",
    "vus",
    "concurrency",
    "clients",
    "sessions",
    "threads",
    "processors",
    "cores",
    "connections",
    "workers",
)
THROUGHPUT_WORDS = (
    "throughput",
    "x",
    "tps",
    "rps",
    "qps",
    "rate",
    "score",
    "requests_per_s",
    "req/s",
    "x_n",
)
TIME_WORDS = ("time", "timestamp", "at", "date", "datetime", "period", "ts")
COUNT_WORDS = ("count", "requests", "hits", "visits")


class TableError(ValueError):
    """The table cannot be used; one line that says what, where and what to do."""


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    cells: tuple[str, ...]


def curve_from_csv(
    text: str, name: str = "CSV", *, load: str | None = None, throughput: str | None = None
) -> Curve:
    """A curve from two columns of any names, with or without a header.

    Known names are recognised, else the first two columns are load and throughput; ``load`` and
    ``throughput`` name the columns outright. Raises :class:`TableError`.
    """
    header, rows = _read(text, name)
    if len(rows) > ROWS_CURVE_MAX:
        raise TableError(f"{name}: {len(rows)} rows; average them to at most {ROWS_CURVE_MAX}")
    first = _column(header, load, LOAD_WORDS, 0, name)
    second = _column(header, throughput, THROUGHPUT_WORDS, 1 if first != 1 else 0, name)
    pairs = [(_number(r, first, name), _number(r, second, name), r.line) for r in rows]
    pairs = [p for p in pairs if p[:2] != (0.0, 0.0)]  # nothing in, nothing out: no information
    for n, x, line in pairs:
        if n <= 0 or x <= 0:
            raise TableError(
                f"{name}: line {line}: load {n:g} and throughput {x:g} must both be above 0; "
                "mend or remove the line"
            )
    try:
        return Curve(tuple(p[0] for p in pairs), tuple(p[1] for p in pairs))
    except ValueError as error:
        raise TableError(f"{name}: {error}; measure more loads") from None


def demand_from_csv(text: str, name: str = "CSV", *, counts: bool | None = None) -> Demand:
    """A history from a time column (ISO 8601, or seconds since the epoch; UTC unless it says
    otherwise) and a value column.

    Values are arrivals per second, or counts a step if the column is called so (``counts`` decides
    outright). Finer steps are averaged to ten minutes, missing ones left open. Raises
    :class:`TableError`.
    """
    header, rows = _read(text, name)
    when = _column(header, None, TIME_WORDS, 0, name)
    value = 1 if when == 0 else 0
    at = np.array([_time(r, when, name) for r in rows])
    values = np.array([_number(r, value, name) for r in rows])
    if len(at) < 2:
        raise TableError(f"{name}: one row is no history; at least two days are needed")
    order = np.argsort(at, kind="stable")
    at, values = at[order], values[order]
    gaps = np.diff(at)
    if not (gaps > 0).any():
        raise TableError(f"{name}: all rows have the same time; check the time column")
    native = float(np.median(gaps[gaps > 0]))
    if counts is None:
        counts = bool(header) and header[value].strip().lower() in COUNT_WORDS
    rates = values / native if counts else values
    step = _step(native, name)
    try:
        return _grid(at, rates, step)
    except DemandError as error:
        raise TableError(f"{name}: {error}") from None


def _step(native: float, name: str) -> float:
    """The shortest step of at least ten minutes and ``native`` that divides a day."""
    for step in (
        STEP_MIN_S,
        900.0,
        1800.0,
        3600.0,
        7200.0,
        10800.0,
        21600.0,
        43200.0,
        float(DAY_S),
    ):
        if step >= native * 0.999:
            return step
    raise TableError(f"{name}: rows are {native / DAY_S:.1f} days apart; at least daily is needed")


def _grid(
    at: np.ndarray[tuple[int], np.dtype[np.float64]],
    rates: np.ndarray[tuple[int], np.dtype[np.float64]],
    step: float,
) -> Demand:
    start = float(at[0] // step * step)
    index = ((at - start) // step).astype(np.int64)
    if index[-1] >= STEPS_MAX:
        raise DemandError(f"the times span {index[-1] + 1} steps; at most {STEPS_MAX} are read")
    total, count = np.bincount(index, rates), np.bincount(index)
    with np.errstate(invalid="ignore"):
        mean = total / count
    return Demand(start, step, tuple(map(float, mean)))


def _read(text: str, name: str) -> tuple[tuple[str, ...], list[_Row]]:
    """Header (empty without one) and rows; comments and blank lines left out."""
    if len(text) > CHARACTERS_MAX:
        raise TableError(f"{name}: longer than {CHARACTERS_MAX} characters; cut it down")
    if "\x00" in text:
        raise TableError(f"{name}: not a text file; export it as CSV")
    rows = list(_rows(text.lstrip("\ufeff"), name))
    if not rows:
        raise TableError(f"{name}: empty; it needs lines of 'load,throughput'")
    header: tuple[str, ...] = ()
    if not any(_is_value(c) for c in rows[0].cells):
        header, rows = rows[0].cells, rows[1:]
    if not rows:
        raise TableError(f"{name}: only a header; it needs lines of numbers below it")
    return header, rows


def _rows(text: str, name: str) -> Iterator[_Row]:
    lines = text.splitlines()
    sample = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    mark = next((m for m in (";", "\t", ",") if m in sample), None)
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            cells = next(csv.reader([line], delimiter=mark)) if mark else line.split()
        except csv.Error as error:
            raise TableError(f"{name}: line {number}: {error}; check the quotes") from None
        if mark == ";":
            cells = [c.replace(",", ".") for c in cells]  # the decimal comma of such exports
        yield _Row(number, tuple(c.strip() for c in cells))


def _column(
    header: Sequence[str], asked: str | None, words: Sequence[str], default: int, name: str
) -> int:
    names = [h.lower() for h in header]
    if asked is not None:
        if asked.lower() not in names:
            raise TableError(
                f"{name}: no column {asked!r}; it has {', '.join(header) or 'no header'}"
            )
        return names.index(asked.lower())
    return next((names.index(w) for w in words if w in names), default)


def _number(row: _Row, column: int, name: str) -> float:
    if column >= len(row.cells):
        raise TableError(
            f"{name}: line {row.line}: {len(row.cells)} column(s), {column + 1} are needed; "
            "separate values by commas"
        )
    cell = row.cells[column]
    try:
        value = float(cell)
    except ValueError:
        raise TableError(
            f"{name}: line {row.line}: {cell[:40]!r} is not a number; mend it"
        ) from None
    if not math.isfinite(value):
        raise TableError(
            f"{name}: line {row.line}: {cell!r} is not finite; mend or remove the line"
        )
    return value


def _time(row: _Row, column: int, name: str) -> float:
    cell = row.cells[column] if column < len(row.cells) else ""
    if _is_number(cell):
        return float(cell)
    try:
        found = datetime.fromisoformat(cell)
    except ValueError:
        raise TableError(
            f"{name}: line {row.line}: {cell[:40]!r} is no time; write 2026-11-22T14:00:00Z"
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _is_value(cell: str) -> bool:
    """A number or a time: what a header does not hold."""
    if _is_number(cell):
        return True
    try:
        datetime.fromisoformat(cell)
    except ValueError:
        return False
    return True
