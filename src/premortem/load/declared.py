"""Journeys written down as TOML, for those who would rather not write Python::

[feeds]
product = "products.csv"            # columns id, colour: {product.id}, one row a user

[[journey]]
name = "shopper"
weight = 3

  [[journey.step]]
  get = "/category/{1..40}"         # a whole number, drawn anew each time
  name = "browse"
  think_s = [0.2, 0.8]              # afterwards
  extract.token = {regex = 'name="csrf" value="([^"]+)"'}

  [[journey.step]]
  leave = 0.7                       # this share of users goes before the step
  post = "/basket"
  form = {item = "{product.id}", csrf = "{token}"}
  expect = [200, 409]
  check = {contains = "basket"}
  extract.basket = {json = "basket.id"}
  acknowledge.basket = "{basket}"
"""

from __future__ import annotations

import csv
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from premortem.load.journey import BadJourney, Choice, Response, Script, User

__all__ = ["Step", "journeys_from_toml", "pick"]

METHODS = ("get", "post", "put", "patch", "delete", "head", "options")
HOLE = re.compile(r"\{([A-Za-z_][\w.]*|\d+\.\.\d+)\}")
AFTERWARDS = ("extract", "acknowledge")
"""What comes after the answer, and may use what was extracted from it."""
FEED_ROWS_MAX = 1_000_000
Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Step:
    """One request and what follows from its answer."""

    method: str
    path: str
    name: str = ""
    json: object = None
    form: Mapping[str, object] | None = None
    headers: Mapping[str, str] | None = None
    expect: tuple[int, ...] = ()
    leave: float = 0.0
    think_s: tuple[float, float] = (0.0, 0.0)
    extract: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Variable to (``json``, ``regex`` or ``header``; where)."""
    check: Mapping[str, object] = field(default_factory=dict)
    acknowledge: Mapping[str, str] = field(default_factory=dict)


def pick(data: object, path: str) -> object:
    """The value at a dotted path. Raises ``LookupError`` when there is none.

    >>> pick({"items": [{"id": 7}]}, "items.0.id")
    7
    """
    for part in path.split("."):
        if isinstance(data, list) and part.isdigit():
            data = data[int(part)]
        elif isinstance(data, dict):
            data = data[part]
        else:
            raise LookupError(f"nothing at {path!r}")
    return data


def _filled(value: object, fill: Callable[[re.Match[str]], str]) -> Any:
    """``value`` with the holes of all its strings filled."""
    if isinstance(value, str):
        return HOLE.sub(fill, value)
    if isinstance(value, Mapping):
        return {key: _filled(inner, fill) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, fill) for inner in value]
    return value


def _extracted(response: Response, kind: str, where: str) -> str:
    if kind == "json":
        return str(pick(response.json(), where))
    if kind == "header":
        return response.headers[where.lower()]
    found = re.search(where, response.text)
    if found is None:
        raise LookupError(f"nothing matches {where!r}")
    return found[1] if found.re.groups else found[0]


def _checked(user: User, response: Response, check: Mapping[str, object]) -> None:
    if "contains" in check:
        words = str(check["contains"])
        user.check(words in response.text, f"the page lacks {words!r}")
    wanted = check.get("json", {})
    assert isinstance(wanted, Mapping)
    for path, value in wanted.items():
        found = pick(response.json(), path)
        user.check(found == value, f"{path} is {found!r}, not {value!r}")


def _script(steps: tuple[Step, ...], feeds: Mapping[str, list[Row]]) -> Script:
    async def declared(user: User) -> None:
        values: dict[str, str] = {}
        for name, rows in feeds.items():
            row = user.random.choice(rows)
            values.update({f"{name}.{column}": value for column, value in row.items()})

        def fill(hole: re.Match[str]) -> str:
            low, dots, high = hole[1].partition("..")
            return str(user.random.randint(int(low), int(high))) if dots else values[hole[1]]

        for step in steps:
            if step.leave and user.random.random() < step.leave:
                return
            response = await user.request(
                step.method,
                _filled(step.path, fill),
                name=step.name or step.path,
                json=_filled(step.json, fill),
                form=_filled(step.form, fill),
                headers=_filled(step.headers, fill),
                expect=step.expect,
            )
            for name, (kind, where) in step.extract.items():
                values[name] = _extracted(response, kind, where)
            _checked(user, response, step.check)
            for kind, text in step.acknowledge.items():
                user.acknowledge(kind, _filled(text, fill))
            if step.think_s[1]:
                await user.think(user.random.uniform(*step.think_s))

    return declared


# -- reading


def journeys_from_toml(path: Path) -> tuple[Choice, ...]:
    """Read a file as in the module's docstring. Raises :class:`BadJourney` that names the place."""
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadJourney(f"{path}: {error}") from error
    unknown = set(data) - {"feeds", "journey"}
    if unknown or not data.get("journey"):
        what = f"unknown {', '.join(sorted(unknown))}" if unknown else "no [[journey]]"
        raise BadJourney(f"{path}: {what}")
    feeds = {name: _feed(path.parent / where) for name, where in data.get("feeds", {}).items()}
    columns = {f"{name}.{column}" for name, rows in feeds.items() for column in rows[0]}
    return tuple(
        _journey(f"{path}: journey {number}", entry, feeds, columns)
        for number, entry in enumerate(data["journey"], 1)
    )


def _feed(path: Path) -> list[Row]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows: list[Row] = list(islice(csv.DictReader(file), FEED_ROWS_MAX))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadJourney(f"feed {path}: {error}") from error
    if not rows or any(None in (*row, *row.values()) for row in rows):
        raise BadJourney(f"feed {path}: it needs a header line and rows of as many columns")
    return rows


def _journey(
    place: str, entry: Mapping[str, Any], feeds: Mapping[str, list[Row]], known: set[str]
) -> Choice:
    unknown = set(entry) - {"name", "weight", "step"}
    if unknown or not entry.get("step"):
        what = f"unknown {', '.join(sorted(unknown))}" if unknown else "no [[journey.step]]"
        raise BadJourney(f"{place}: {what}")
    weight = entry.get("weight", 1)
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not weight > 0:
        raise BadJourney(f"{place}: weight must be above 0, not {weight!r}")
    steps = []
    for number, raw in enumerate(entry["step"], 1):
        here = f"{place}, step {number}"
        step = _step(here, raw)
        _demand_known(here, {k: v for k, v in raw.items() if k not in AFTERWARDS}, known)
        known = known | set(step.extract)
        _demand_known(here, raw.get("acknowledge", {}), known)
        steps.append(step)
    return Choice(_script(tuple(steps), feeds), float(weight), str(entry.get("name", place)))


def _demand_known(place: str, raw: object, known: set[str]) -> None:
    """Every hole must be a feed's column, an extracted value or a range."""

    def look(hole: re.Match[str]) -> str:
        low, dots, high = hole[1].partition("..")
        if (dots and int(low) > int(high)) or (not dots and hole[1] not in known):
            raise BadJourney(f"{place}: nothing gives {hole[0]}")
        return ""

    _filled(raw, look)


def _step(place: str, raw: Mapping[str, Any]) -> Step:
    methods = [key for key in raw if key in METHODS]
    allowed = {*Step.__dataclass_fields__, *METHODS} - {"method", "path"}
    unknown = set(raw) - allowed
    if unknown or len(methods) != 1:
        what = (
            f"unknown {', '.join(sorted(unknown))}" if unknown else "one of get, post … is needed"
        )
        raise BadJourney(f"{place}: {what}")
    given = {key: value for key, value in raw.items() if key not in METHODS}
    expect = given.get("expect", [])
    given["expect"] = tuple(expect) if isinstance(expect, list) else (expect,)
    think_s = given.get("think_s", 0.0)
    given["think_s"] = tuple(think_s) if isinstance(think_s, list) else (think_s, think_s)
    if len(given["think_s"]) != 2 or not 0 <= given["think_s"][0] <= given["think_s"][1]:
        raise BadJourney(f"{place}: think_s must be seconds or [from, to], not {think_s!r}")
    if not 0 <= given.get("leave", 0.0) <= 1:
        raise BadJourney(f"{place}: leave must be between 0 and 1, not {given['leave']!r}")
    given["extract"] = {
        name: _source(place, name, how) for name, how in given.get("extract", {}).items()
    }
    return Step(methods[0].upper(), raw[methods[0]], **given)


def _source(place: str, name: str, how: object) -> tuple[str, str]:
    if isinstance(how, Mapping) and len(how) == 1:
        ((kind, where),) = how.items()
        if kind in ("json", "regex", "header") and isinstance(where, str):
            return kind, where
    raise BadJourney(
        f"{place}: extract.{name} must be {{json = …}}, {{regex = …}} or {{header = …}}"
    )
