"""Plays declared steps as a journey: fills the holes, asks, extracts, checks, thinks."""

from __future__ import annotations

import html
import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import accumulate
from typing import Any

from premortem.load.journey import Response, Script, User
from premortem.load.steps import HOLE, Check, Declared, Extract, Row, Step

__all__ = ["BUILT_IN", "ENVIRONMENT", "fields", "filled", "pick", "script"]

BUILT_IN = frozenset({"user", "uuid", "brace"})
ENVIRONMENT = "env."
TAG = re.compile(r"<(?:input|meta)\b[^>]{0,4096}>", re.IGNORECASE)
ATTRIBUTE = re.compile(r"""([\w:-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+))""")


def pick(
    data: object, path: str, any_of: Callable[[Sequence[object]], object] | None = None
) -> Any:
    """The value at a path: ``items.0.id``, or as JSONPath writes it ``$.items[0].id``; ``*`` is
    any one of a list, chosen by ``any_of`` (else the first). Raises ``LookupError`` when there is
    none.

    >>> pick({"items": [{"id": 7}]}, "items.0.id"), pick({"items": [{"id": 7}]}, "$.items[*].id")
    (7, 7)
    """
    for part in parts_of(path):
        if isinstance(data, list) and part == "*" and data:
            data = any_of(data) if any_of else data[0]
        elif isinstance(data, list) and part.isdigit():
            data = data[int(part)]
        elif isinstance(data, dict):
            data = data[part]
        else:
            raise LookupError(f"nothing at {path!r}")
    return data


def parts_of(path: str) -> list[str]:
    """The steps of a path.

    >>> parts_of("$.items[0].id"), parts_of("items.*.id"), parts_of("$")
    (['items', '0', 'id'], ['items', '*', 'id'], [])
    """
    plain = re.sub(r"\[(\d+|\*)\]", r".\1", path.removeprefix("$")).removeprefix(".")
    return plain.split(".") if plain else []


def fields(page: str) -> Iterator[tuple[str, str]]:
    """``(name, value)`` of the form fields and ``meta`` tags of a page: where CSRF tokens are.

    >>> list(fields('<input value="t&amp;1" type=hidden name=csrf><meta name="a" content="b">'))
    [('csrf', 't&1'), ('a', 'b')]
    """
    for tag in TAG.finditer(page):
        found = {m[1].lower(): html.unescape(m[2] or m[3] or m[4] or "")
                 for m in ATTRIBUTE.finditer(tag[0])}  # fmt: skip
        value = found.get("value", found.get("content"))
        if "name" in found and value is not None:
            yield found["name"], value


def filled(value: object, fill: Callable[[str], object]) -> Any:
    """``value`` with the holes of all its strings filled. A string that is one hole and nothing
    else becomes what fills it: a number stays a number in a JSON body."""
    if isinstance(value, str):
        if "{" not in value:
            return value
        whole = HOLE.fullmatch(value)
        return fill(whole[1]) if whole else HOLE.sub(lambda hole: str(fill(hole[1])), value)
    if isinstance(value, Mapping):
        return {key: filled(inner, fill) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [filled(inner, fill) for inner in value]
    return value


def _text(value: str, fill: Callable[[str], object]) -> str:
    return HOLE.sub(lambda hole: str(fill(hole[1])), value) if "{" in value else value


def _extracted(user: User, response: Response, extract: Extract) -> object:
    where = extract.where
    if extract.kind == "json":
        return pick(response.json(), where, user.random.choice)
    if extract.kind == "header":
        return response.headers[where.lower()]
    if extract.kind == "cookie":
        return user.cookie(where)
    if extract.kind == "field":
        for name, value in fields(response.text):
            if name == where:
                return value
        raise LookupError(f"the page has no field {where!r}")
    matches = list(re.finditer(where, response.text))
    if not matches:
        raise LookupError(f"nothing matches {where!r}")
    found = user.random.choice(matches) if extract.any else matches[0]
    return found[1] if found.re.groups else found[0]


def _checked(user: User, response: Response, check: Check) -> None:
    if check.contains:
        user.check(check.contains in response.text, f"the page lacks {check.contains!r}")
    if check.lacks:
        user.check(check.lacks not in response.text, f"the page has {check.lacks!r}")
    if check.matches:
        found = re.search(check.matches, response.text)
        user.check(found is not None, f"nothing matches {check.matches!r}")
    for path, value in check.json.items():
        there = pick(response.json(), path)
        user.check(there == value, f"{path} is {there!r}, not {value!r}")


class _Play:
    """One user on a declared journey: what was drawn and extracted so far."""

    __slots__ = ("feeds", "user", "values")

    def __init__(self, user: User, feeds: Mapping[str, Sequence[Row]]) -> None:
        self.user = user
        self.feeds = feeds
        self.values: dict[str, object] = {}
        self.draw(feeds)

    def draw(self, feeds: Iterable[str]) -> None:
        """Take a row of each feed."""
        for name in feeds:
            row = self.user.random.choice(self.feeds[name])
            self.values.update({f"{name}.{column}": value for column, value in row.items()})

    def fill(self, hole: str) -> object:
        value = self.values.get(hole)
        if value is not None:
            return value
        low, dots, high = hole.partition("..")
        if dots:
            return self.user.random.randint(int(low), int(high))
        if hole == "uuid":
            return str(uuid.UUID(int=self.user.random.getrandbits(128), version=4))
        if hole.startswith(ENVIRONMENT):
            return os.environ[hole.removeprefix(ENVIRONMENT)]
        return {"user": self.user.id, "brace": "{"}[hole]

    async def steps(self, steps: tuple[Step, ...]) -> bool:
        """Take them in order; false when the user leaves on the way."""
        user = self.user
        for step in steps:
            if step.leave and user.random.random() < step.leave:
                return False
            response = await self.asked(step)
            for name, extract in step.extract.items():
                self.values[name] = _extracted(user, response, extract)
            _checked(user, response, step.check)
            for kind, text in step.acknowledge.items():
                user.acknowledge(kind, _text(text, self.fill))
            if step.think.high_s:
                await user.think(step.think.draw_s(user.random))
        return True

    async def asked(self, step: Step) -> Response:
        fill = self.fill
        return await self.user.request(
            step.method,
            _text(step.path, fill),
            name=step.label,
            params=filled(step.params, fill),
            json=filled(step.json, fill),
            form=filled(step.form, fill),
            body=_text(step.body, fill).encode(),
            headers={key: _text(text, fill) for key, text in (step.headers or {}).items()},
            expect=step.expect,
        )


def _feeds_of(steps: tuple[Step, ...]) -> set[str]:
    """The feeds whose columns stand in these steps."""
    found: set[str] = set()
    filled([asdict(step) for step in steps], lambda hole: found.add(hole.partition(".")[0]))
    return found


def script(journey: Declared, feeds: Mapping[str, Sequence[Row]]) -> Script:
    """The coroutine function that plays a journey, as the engine takes it.

    A user has one row of each feed; those that only tasks use (a product, not a password) are
    drawn anew for each task.
    """
    weights = list(accumulate(task.weight for task in journey.tasks))
    of_tasks = [name for name in feeds if name not in _feeds_of(journey.steps)]

    async def declared(user: User) -> None:
        play = _Play(user, feeds)
        if not await play.steps(journey.steps) or not journey.tasks:
            return
        for _ in range(journey.rounds.draw(user.random)):
            play.draw(of_tasks)
            (task,) = user.random.choices(journey.tasks, cum_weights=weights)
            if not await play.steps(task.steps):
                return
            if journey.think.high_s:
                await user.think(journey.think.draw_s(user.random))

    return declared
