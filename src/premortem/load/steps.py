"""What a declared journey is made of: nouns only. :mod:`premortem.load.declared` reads them from
TOML, :mod:`premortem.load.played` plays them, :mod:`premortem.load.export` writes them for others.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Literal, TypeAlias

__all__ = [
    "HOLE",
    "METHODS",
    "Check",
    "Declared",
    "Extract",
    "Rounds",
    "Row",
    "Sheet",
    "Step",
    "Task",
    "Think",
]

METHODS = ("get", "post", "put", "patch", "delete", "head", "options")
HOLE = re.compile(r"\{([A-Za-z_][\w.-]*|\d+\.\.\d+)\}")
"""``{product.id}`` of a feed, ``{token}`` extracted, ``{1..40}`` drawn anew, ``{user}``,
``{uuid}``, ``{env.NAME}``, and ``{brace}`` for the character itself."""
P90 = NormalDist().inv_cdf(0.9)
THINK_S_MAX = 3600.0
"""A log-normal draw has no upper end; whoever reads for an hour has left."""
Row: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Think:
    """A pause: uniform between two bounds, or log-normal by its median and 90th percentile, which
    is how long people look at pages (measured many times over; access logs show it too)."""

    low_s: float = 0.0
    high_s: float = 0.0
    log_normal: bool = False
    """Then ``low_s`` is the median and ``high_s`` the 90th percentile."""

    def draw_s(self, dice: random.Random) -> float:
        if not self.log_normal:
            return dice.uniform(self.low_s, self.high_s)
        spread = (self.high_s / self.low_s) ** (1.0 / P90)
        drawn: float = self.low_s * spread ** dice.gauss(0.0, 1.0)
        return min(drawn, THINK_S_MAX)


@dataclass(frozen=True, slots=True)
class Extract:
    """Where a value comes from in an answer."""

    kind: Literal["json", "regex", "header", "cookie", "field"]
    """``field``: the value of a form field, or the content of a ``meta`` tag, of that name."""
    where: str
    any: bool = False
    """Of several matches of a regex one by chance; else the first."""


@dataclass(frozen=True, slots=True)
class Check:
    """What must hold of an answer, else its user failed."""

    contains: str = ""
    lacks: str = ""
    matches: str = ""
    json: Mapping[str, object] = field(default_factory=dict)
    """Path to the value there."""


@dataclass(frozen=True, slots=True)
class Step:
    """One request and what follows from its answer."""

    method: str
    path: str
    name: str = ""
    params: Mapping[str, object] | None = None
    json: object = None
    form: Mapping[str, object] | None = None
    body: str = ""
    headers: Mapping[str, str] | None = None
    expect: tuple[int, ...] = ()
    leave: float = 0.0
    """Share of the users who go before this step."""
    think: Think = Think()
    extract: Mapping[str, Extract] = field(default_factory=dict)
    check: Check = Check()
    acknowledge: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return self.name or self.path


@dataclass(frozen=True, slots=True)
class Task:
    """Steps that belong together and are taken by chance, in proportion to the weight."""

    steps: tuple[Step, ...]
    weight: float = 1.0
    name: str = ""


@dataclass(frozen=True, slots=True)
class Rounds:
    """How many tasks a user takes: from ``low`` to ``high``, all as likely, or by a mean."""

    low: int = 0
    high: int = 0
    mean: float = 0.0
    """When above 0: geometric, at least one; what a constant chance to leave after each gives."""

    def draw(self, dice: random.Random) -> int:
        if not self.mean:
            return dice.randint(self.low, self.high)
        count = 1
        while dice.random() > 1.0 / self.mean and count < ROUNDS_MAX:
            count += 1
        return count


ROUNDS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Declared:
    """One kind of visitor: first the steps in order, then so many of the tasks."""

    name: str
    weight: float
    steps: tuple[Step, ...]
    tasks: tuple[Task, ...] = ()
    rounds: Rounds = Rounds()
    think: Think = Think()
    """After each task."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A whole file."""

    journeys: tuple[Declared, ...]
    feeds: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    pace: tuple[Mapping[str, object], ...] = ()
    """Segments as :func:`premortem.load.pace.pace_from` takes them; may be empty."""
