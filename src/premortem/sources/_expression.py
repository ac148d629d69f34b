"""Small expressions over the series of an exporter, such as
``1 - rate(node_cpu_seconds_total{mode="idle"}) / rate(node_cpu_seconds_total)``. Pure.

A series stands for the sum over all that match; ``rate(...)`` for the sum of their growth per
second, ``max(...)``, ``min(...)`` and ``count(...)`` for what they say. ``a or b`` is ``b`` where
``a`` is unknown: exporters rename their series. What is computed from an unknown is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

__all__ = ["Expression", "Past", "Sample", "Scene", "labels_of", "parse"]

Sample = tuple[str, Mapping[str, str], float]
"""Name, labels, value."""
Key = tuple[str, tuple[tuple[str, str], ...]]

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*,?')
_ESCAPES = {r"\n": "\n", r"\"": '"', r"\\": "\\"}
_TOKEN = re.compile(
    rf"""\s*(?:(?P<number>\d+(?:\.\d+)?(?:e-?\d+)?)
    |(?P<name>{NAME})\s*(?P<labels>\{{(?:[^"}}]|"(?:[^"\\]|\\.)*")*\}})?
    |(?P<sign>[-+*/()]))""",
    re.VERBOSE,
)
_NESTING_MAX = 20


@dataclass(slots=True)
class Past:
    """What every series of a rate was at the last look."""

    at: float = 0.0
    values: dict[Key, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scene:
    """The samples of one instant, and those before it."""

    at: float
    by_name: Mapping[str, list[tuple[Mapping[str, str], float]]]
    past: Past

    @classmethod
    def of(cls, at: float, samples: Iterable[Sample], past: Past) -> Scene:
        by_name: dict[str, list[tuple[Mapping[str, str], float]]] = {}
        for name, labels, value in samples:
            by_name.setdefault(name, []).append((labels, value))
        return cls(at, by_name, past)

    def passed(self) -> Past:
        """This instant as the past of the next."""
        values = {_key(n, la): v for n, group in self.by_name.items() for la, v in group}
        return Past(self.at, values)


Verb = Callable[[Scene], float | None]


@dataclass(frozen=True, slots=True)
class Expression:
    """What it was written as, the series it needs, and how to work it out."""

    text: str
    series: frozenset[str]
    value: Verb
    """The value at a scene; ``None`` where it is unknown."""
    has_rate: bool


def parse(text: str) -> Expression:
    """Raises ``ValueError`` with one line for what is not understood.

    >>> scene = Scene.of(0, [("a", {"x": "1"}, 3.0), ("a", {"x": "2"}, 5.0)], Past())
    >>> parse('1 - a{x="1"} / a').value(scene), parse("gone or max(a)").value(scene)
    (0.625, 5.0)
    """
    return _Parser(text).whole()


def labels_of(text: str) -> dict[str, str]:
    """The labels between the braces of a sample or a selector."""
    return {
        k: re.sub(r"\\.", lambda m: _ESCAPES.get(m[0], m[0]), v) for k, v in _LABEL.findall(text)
    }


def _key(name: str, labels: Mapping[str, str]) -> Key:
    return name, tuple(sorted(labels.items()))


# -- reading


@dataclass(slots=True)
class _Parser:
    text: str
    tokens: list[tuple[str, str, str]] = field(default_factory=list)
    at: int = 0
    depth: int = 0
    names: set[str] = field(default_factory=set)
    rates: bool = False

    def whole(self) -> Expression:
        rest = self.text.strip()
        while rest:
            found = _TOKEN.match(rest)
            if found is None:
                raise self._bad()
            kind = found.lastgroup if found.lastgroup != "labels" else "name"
            self.tokens.append((kind or "", found[kind or ""], found["labels"] or ""))
            rest = rest[found.end() :].strip()
        verb = self._either()
        if self.at != len(self.tokens):
            raise self._bad()
        return Expression(self.text, frozenset(self.names), verb, self.rates)

    def _bad(self) -> ValueError:
        return ValueError(
            f'{self.text!r} is not like name, name{{label="value"}}, rate(name), or these'
            " joined by + - * / or"
        )

    def _next(self, *wanted: str) -> str | None:
        """Take the next token if it is one of ``wanted``."""
        if self.at < len(self.tokens) and self.tokens[self.at][1] in wanted:
            self.at += 1
            return self.tokens[self.at - 1][1]
        return None

    def _either(self) -> Verb:
        self.depth += 1
        if self.depth > _NESTING_MAX:
            raise self._bad()
        verb = self._sum()
        while self._next("or"):
            verb = partial(_or, verb, self._sum())
        self.depth -= 1
        return verb

    def _sum(self) -> Verb:
        verb = self._product()
        while sign := self._next("+", "-"):
            verb = partial(_joined, sign, verb, self._product())
        return verb

    def _product(self) -> Verb:
        verb = self._one()
        while sign := self._next("*", "/"):
            verb = partial(_joined, sign, verb, self._one())
        return verb

    def _one(self) -> Verb:
        if self._next("("):
            verb = self._either()
            if not self._next(")"):
                raise self._bad()
            return verb
        if self.at >= len(self.tokens):
            raise self._bad()
        kind, text, labels = self.tokens[self.at]
        self.at += 1
        if kind == "number":
            return partial(_constant, float(text))
        if kind != "name":
            raise self._bad()
        if (text == "rate" or text in _FOLDS) and not labels and self._next("("):
            return self._call(text)
        return self._series("sum", text, labels)

    def _call(self, function: str) -> Verb:
        kind, text, labels = self.tokens[self.at] if self.at < len(self.tokens) else ("", "", "")
        self.at += 1
        if kind != "name" or not self._next(")"):
            raise self._bad()
        return self._series(function, text, labels)

    def _series(self, function: str, name: str, braces: str) -> Verb:
        if _LABEL.sub("", braces[1:-1]).strip():
            raise self._bad()
        self.names.add(name)
        self.rates = self.rates or function == "rate"
        verb = _rate if function == "rate" else partial(_folded, function)
        return partial(verb, name, labels_of(braces))


# -- working out


def _constant(value: float, _: Scene) -> float:
    return value


def _or(first: Verb, second: Verb, scene: Scene) -> float | None:
    found = first(scene)
    return second(scene) if found is None else found


def _joined(sign: str, left: Verb, right: Verb, scene: Scene) -> float | None:
    a, b = left(scene), right(scene)
    if a is None or b is None or (sign == "/" and b == 0):
        return None
    return {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else 0.0}[sign]


def _matching(
    name: str, labels: Mapping[str, str], scene: Scene
) -> list[tuple[Mapping[str, str], float]]:
    return [s for s in scene.by_name.get(name, ()) if labels.items() <= s[0].items()]


def _folded(how: str, name: str, labels: Mapping[str, str], scene: Scene) -> float | None:
    values = [value for _, value in _matching(name, labels, scene)]
    if not values:
        return None
    return _FOLDS[how](values)


def _count(values: list[float]) -> float:
    return float(len(values))


_FOLDS: Mapping[str, Callable[[list[float]], float]] = {
    "sum": sum,
    "max": max,
    "min": min,
    "count": _count,
}


def _rate(name: str, labels: Mapping[str, str], scene: Scene) -> float | None:
    """Growth per second of the series that were there before and did not go back."""
    elapsed_s = scene.at - scene.past.at
    grown = [
        value - before
        for found, value in _matching(name, labels, scene)
        if (before := scene.past.values.get(_key(name, found))) is not None and value >= before
    ]
    return sum(grown) / elapsed_s if grown and elapsed_s > 0 else None
