"""Journeys written down as TOML, for those who would rather not write Python::

[feeds]
product = "products.csv"            # columns id, colour: {product.id}, one row a user

[headers]                           # sent with every request
Authorization = "Bearer {env.TOKEN}"

[[pace]]                            # optional: when users arrive, as in a spec
kind = "replay"
users = [310, 290, 340]
interval_s = 60

[[journey]]
name = "shopper"
weight = 3

  [[journey.step]]
  get = "/category/{1..40}"         # a whole number, drawn anew each time
  name = "browse"
  think_s = [0.2, 0.8]              # afterwards; or one number, or {p50 = 4, p90 = 20}
  extract.token = {field = "csrf"}  # the form field or meta tag of that name
  extract.item = {regex = '/product/([0-9]+)', any = true}

  [[journey.step]]
  leave = 0.7                       # this share of users goes before the step
  post = "/basket"
  form = {item = "{product.id}", csrf = "{token}"}
  expect = [200, 409]
  check = {contains = "basket"}
  extract.basket = {json = "basket.id"}
  acknowledge.basket = "{basket}"

[[journey]]
name = "reader"                     # its steps first, then tasks by weight
rounds = {mean = 4.2}               # so many tasks; or a number, or [from, to]
think_s = {p50 = 5, p90 = 30}       # after each

  [[journey.task]]
  weight = 5
    [[journey.task.step]]
    get = "/news/{1..90}"

Also in a step: ``params``, ``json``, ``body``, ``headers``; ``extract`` by ``json``
(``items.*.id``), ``regex``, ``header``, ``cookie`` or ``field``; ``check`` by ``contains``,
``lacks``, ``matches`` and ``json``; the holes ``{user}``, ``{uuid}``, ``{env.NAME}`` (from the
environment: where secrets belong) and ``{brace}`` (the character).
"""

from __future__ import annotations

import csv
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from premortem.load import declared_parts as parts
from premortem.load.journey import BadJourney, Choice
from premortem.load.pace import BadPace, pace_from
from premortem.load.played import BUILT_IN, ENVIRONMENT, filled, pick, script
from premortem.load.steps import METHODS, Declared, Rounds, Row, Sheet, Step, Task

__all__ = ["journeys_from_toml", "pick", "read_sheet", "sheet_from"]

FEED_ROWS_MAX = 1_000_000
NOT_FILLED = ("name", "extract", "acknowledge", "check")
"""Where a hole stands for itself, or for what the answer brings."""
KINDS: Mapping[str, type | tuple[type, ...]] = {
    "name": str, "params": dict, "form": dict, "body": str, "headers": dict, "extract": dict,
    "check": dict, "acknowledge": dict, "leave": (int, float),
}  # fmt: skip


def journeys_from_toml(path: Path) -> tuple[Choice, ...]:
    """Read a file as in the module's docstring. Raises :class:`BadJourney` that names the place."""
    sheet = read_sheet(path)
    _demand_environment(path, sheet)
    return tuple(
        Choice(script(journey, sheet.feeds), journey.weight, journey.name)
        for journey in sheet.journeys
    )


def read_sheet(path: Path) -> Sheet:
    """The file as nouns. Raises :class:`BadJourney` that names the place."""
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadJourney(f"{path}: {error}") from error
    feeds = parts.of_kind(str(path), "feeds", data.get("feeds", {}), dict)
    rows = {name: _feed(path.parent / str(where)) for name, where in feeds.items()}
    return sheet_from(str(path), data, rows)


def _demand_environment(path: Path, sheet: Sheet) -> None:
    def look(hole: str) -> str:
        name = hole.removeprefix(ENVIRONMENT)
        if name != hole and name not in os.environ:
            raise BadJourney(f"{path}: the environment variable {name} is not set")
        return ""

    filled([asdict(journey) for journey in sheet.journeys], look)


def sheet_from(
    place: str, data: Mapping[str, Any], feeds: Mapping[str, Sequence[Row]] | None = None
) -> Sheet:
    """The parsed TOML, with its feeds' rows, as nouns. Raises :class:`BadJourney`."""
    feeds = feeds or {}
    parts.demand_keys(place, data, {"feeds", "headers", "pace", "journey"})
    if not data.get("journey"):
        raise BadJourney(f"{place}: no [[journey]]")
    columns = frozenset(f"{name}.{column}" for name, rows in feeds.items() for column in rows[0])
    headers = parts.of_kind(place, "headers", data.get("headers", {}), dict)
    pace = parts.of_kind(place, "pace", data.get("pace", []), list)
    if pace:
        try:
            pace_from(pace)
        except (BadPace, AttributeError) as error:
            raise BadJourney(f"{place}: pace: {error}") from error
    journeys = tuple(
        _journey(f"{place}: journey {number}", entry, headers, columns)
        for number, entry in enumerate(parts.of_kind(place, "journey", data["journey"], list), 1)
    )
    return Sheet(journeys, feeds, tuple(pace))


def _feed(path: Path) -> list[Row]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows: list[Row] = list(islice(csv.DictReader(file), FEED_ROWS_MAX))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadJourney(f"feed {path}: {error}") from error
    if not rows or any(None in (*row, *row.values()) for row in rows):
        raise BadJourney(f"feed {path}: it needs a header line and rows of as many columns")
    return rows


# -- one journey


def _journey(
    place: str, entry: Mapping[str, Any], headers: Mapping[str, str], columns: frozenset[str]
) -> Declared:
    parts.demand_keys(place, entry, {"name", "weight", "step", "task", "rounds", "think_s"})
    if not entry.get("step") and not entry.get("task"):
        raise BadJourney(f"{place}: no [[journey.step]]")
    if "task" not in entry and ("rounds" in entry or "think_s" in entry):
        raise BadJourney(f"{place}: rounds and think_s are for a journey with [[journey.task]]")
    reading = _Reading(headers, columns)
    steps = reading.steps(place, entry.get("step", []))
    tasks = tuple(
        _task(f"{place}, task {number}", task, reading)
        for number, task in enumerate(parts.of_kind(place, "task", entry.get("task", []), list), 1)
    )
    return Declared(
        str(entry.get("name", place)), parts.weight(place, entry), steps, tasks,
        parts.rounds(place, entry.get("rounds", 1)) if tasks else Rounds(),
        parts.think(place, entry.get("think_s", 0)),
    )  # fmt: skip


def _task(place: str, entry: Mapping[str, Any], journey: _Reading) -> Task:
    parts.demand_keys(place, entry, {"name", "weight", "step"})
    reading = _Reading(journey.headers, journey.known)  # tasks do not see each other's values
    steps = reading.steps(place, entry.get("step", []))
    if not steps:
        raise BadJourney(f"{place}: no [[journey.task.step]]")
    return Task(steps, parts.weight(place, entry), str(entry.get("name", place)))


# -- its steps


@dataclass(slots=True)
class _Reading:
    """Reads steps in order, knowing what gives values so far."""

    headers: Mapping[str, str]
    known: frozenset[str]

    def steps(self, place: str, entries: object) -> tuple[Step, ...]:
        steps = []
        for number, raw in enumerate(parts.of_kind(place, "step", entries, list), 1):
            here = f"{place}, step {number}"
            step = _step(here, raw, self.headers)
            before = {key: value for key, value in raw.items() if key not in NOT_FILLED}
            _demand_known(here, [before, dict(self.headers)], self.known)
            self.known |= set(step.extract)
            _demand_known(here, raw.get("acknowledge", {}), self.known)
            steps.append(step)
        return tuple(steps)


def _demand_known(place: str, raw: object, known: frozenset[str]) -> None:
    """Every hole must be a feed's column, an extracted value, a range or built in."""

    def look(hole: str) -> str:
        low, dots, high = hole.partition("..")
        given = hole in known or hole in BUILT_IN or hole.startswith(ENVIRONMENT)
        if (dots and int(low) > int(high)) or not (dots or given):
            raise BadJourney(f"{place}: nothing gives {{{hole}}}")
        return ""

    filled(raw, look)


def _step(place: str, raw: Mapping[str, Any], headers: Mapping[str, str]) -> Step:
    methods = [key for key in raw if key in METHODS]
    parts.demand_keys(place, raw, {*KINDS, *METHODS, "json", "expect", "think_s"})
    if len(methods) != 1:
        raise BadJourney(f"{place}: one of get, post … is needed")
    path = parts.of_kind(place, methods[0], raw[methods[0]], str)
    given = {
        key: parts.of_kind(place, key, raw[key], kind) for key, kind in KINDS.items() if key in raw
    }
    if not 0 <= given.get("leave", 0.0) <= 1:
        raise BadJourney(f"{place}: leave must be between 0 and 1, not {given['leave']!r}")
    if len({"json", "form", "body"} & set(raw)) > 1:
        raise BadJourney(f"{place}: only one of json, form and body")
    expect = raw.get("expect", [])
    expect = tuple(expect if isinstance(expect, list) else (expect,))
    if not all(parts.whole(status) for status in expect):
        raise BadJourney(f"{place}: expect must be a status or a list of them, not {expect!r}")
    given["headers"] = {**headers, **given.get("headers", {})} or None
    given["extract"] = {
        name: parts.extract(f"{place}: extract.{name}", how)
        for name, how in given.get("extract", {}).items()
    }
    given["check"] = parts.check(place, given.get("check", {}))
    think = parts.think(place, raw.get("think_s", 0))
    json = raw.get("json")
    return Step(methods[0].upper(), path, json=json, expect=expect, think=think, **given)
