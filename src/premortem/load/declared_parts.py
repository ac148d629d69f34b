"""The small parts of a declared journey, read from plain data: each says what it cannot be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from premortem.load.journey import BadJourney
from premortem.load.steps import Check, Extract, Rounds, Think

__all__ = ["check", "demand_keys", "extract", "of_kind", "rounds", "think", "weight", "whole"]


def of_kind(place: str, key: str, value: object, kind: type | tuple[type, ...]) -> Any:
    """The value, if it is of this kind. Raises :class:`BadJourney`, as all here do."""
    if isinstance(value, bool) or not isinstance(value, kind):
        raise BadJourney(f"{place}: {key} cannot be {value!r}")
    return value


def demand_keys(place: str, given: Mapping[str, object], allowed: set[str]) -> None:
    """Refuse keys that mean nothing here: they are mistakes of spelling."""
    unknown = set(given) - allowed
    if unknown:
        raise BadJourney(f"{place}: unknown {', '.join(sorted(unknown))}")


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def weight(place: str, entry: Mapping[str, Any]) -> float:
    """How often it is taken, relative to the others."""
    given = entry.get("weight", 1)
    if not _number(given) or not given > 0:
        raise BadJourney(f"{place}: weight must be above 0, not {given!r}")
    return float(given)


def rounds(place: str, given: Any) -> Rounds:
    """How many tasks a user takes."""
    if isinstance(given, Mapping) and set(given) == {"mean"}:
        mean = given["mean"]
        if _number(mean) and mean >= 1:
            return Rounds(mean=float(mean))
    low, high = given if isinstance(given, list) and len(given) == 2 else (given, given)
    if not (whole(low) and whole(high) and 0 <= low <= high):
        raise BadJourney(
            f"{place}: rounds must be a number, [from, to] or {{mean = at least 1}}, not {given!r}"
        )
    return Rounds(low, high)


def whole(value: object) -> bool:
    """Whether it is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def think(place: str, given: Any) -> Think:
    """A pause."""
    if isinstance(given, Mapping) and set(given) == {"p50", "p90"}:
        low, high = given["p50"], given["p90"]
        if _number(low) and _number(high) and 0 < low <= high:
            return Think(float(low), float(high), log_normal=True)
    low, high = given if isinstance(given, list) and len(given) == 2 else (given, given)
    if not (_number(low) and _number(high) and 0 <= low <= high):
        raise BadJourney(
            f"{place}: think_s must be seconds, [from, to] or {{p50 = …, p90 = …}}, not {given!r}"
        )
    return Think(float(low), float(high))


def _regex(place: str, text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise BadJourney(f"{place}: {text!r} is not a regular expression: {error}") from error
    return text


def extract(place: str, how: object) -> Extract:
    """Where a value is taken from."""
    if isinstance(how, Mapping):
        kinds = [key for key in how if key in ("json", "regex", "header", "cookie", "field")]
        any_of = how.get("any", False)
        known = len(how) == len(kinds) + ("any" in how)
        usable = not any_of or kinds == ["regex"]
        if len(kinds) == 1 and known and usable and isinstance(any_of, bool):
            where = of_kind(place, kinds[0], how[kinds[0]], str)
            where = _regex(place, where) if kinds[0] == "regex" else where
            return Extract(kinds[0], where, any_of)
    raise BadJourney(
        f"{place} must be {{json = …}}, {{regex = …}}, {{regex = …, any = true}}, {{header = …}}, "
        "{cookie = …} or {field = …}"
    )


def check(place: str, given: Mapping[str, Any]) -> Check:
    """What must hold of an answer."""
    demand_keys(f"{place}: check", given, {"contains", "lacks", "matches", "json"})
    words = {
        key: of_kind(f"{place}: check", key, given[key], str)
        for key in ("contains", "lacks", "matches")
        if key in given
    }
    _regex(f"{place}: check", words.get("matches", ""))
    return Check(**words, json=of_kind(f"{place}: check", "json", given.get("json", {}), dict))
