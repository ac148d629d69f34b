"""The rehearsal sites without a database: what they are made of and how they walk."""

from __future__ import annotations

import asyncio
import random
import re
from typing import Any

import pytest

from premortem.drills.sites import site, site_names

ANSWERS = {
    "/basket": {"basket": 5},
    "/checkout": {"order": 9},
    "/login": {"matches": [{"id": n} for n in range(20)]},
    "/score": {"score": 9},
}


class Visitor:
    """A double of the load engine's user: answers at once, remembers what was asked."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.asked: list[tuple[str, str]] = []
        self.acknowledged: list[tuple[str, object]] = []
        self.thought_s = 0.0

    async def get(self, path: str, *, name: str) -> Visitor:
        return self._ask("GET", path)

    async def post(self, path: str, *, form: dict[str, str], name: str) -> Visitor:
        return self._ask("POST", path)

    def _ask(self, method: str, path: str) -> Visitor:
        self.asked.append((method, path))
        return self

    def json(self) -> Any:
        return ANSWERS.get(self.asked[-1][1], {})

    async def think(self, seconds: float) -> None:
        self.thought_s += seconds

    def acknowledge(self, kind: str, what: object) -> None:
        self.acknowledged.append((kind, what))


def visits(name: str, count: int) -> list[Visitor]:
    visitors = [Visitor(seed) for seed in range(count)]

    async def all_of_them() -> None:
        for visitor in visitors:
            await site(name).journey(visitor)

    asyncio.run(all_of_them())
    return visitors


def test_an_unknown_site_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'forum': choose one of game, shop"):
        site("forum")


@pytest.mark.parametrize("name", site_names())
def test_most_visits_are_short_and_one_in_five_or_so_writes(name: str) -> None:
    walked = visits(name, 2000)
    requests = sum(len(v.asked) for v in walked) / len(walked)
    writers = sum(bool(v.acknowledged) for v in walked) / len(walked)
    assert 1.7 <= requests <= 2.3
    assert 0.15 <= writers <= 0.35
    assert {kind for v in walked for kind, _ in v.acknowledged} == {site(name).write}
    assert max(v.thought_s for v in walked) <= 3 * 0.6


@pytest.mark.parametrize("name", site_names())
def test_every_request_of_a_journey_has_a_priority_and_a_route(name: str) -> None:
    routes = (site(name).folder / "app.py").read_text()
    paths = [(m, re.compile(re.sub(r"\{\w+\}", r"\\d+", p) + "$"))
             for m, p in re.findall(r'\("(GET|POST)", "(/[^"]+)"\):', routes)]  # fmt: skip
    for visitor in visits(name, 50):
        for method, path in visitor.asked:
            assert any(m == method and p.match(path) for m, p in paths), (method, path)
            assert any(m == method and path.startswith(p) for m, p, _ in site(name).priorities), (
                method,
                path,
            )


@pytest.mark.parametrize("name", site_names())
def test_the_same_visitor_walks_the_same_way(name: str) -> None:
    assert [v.asked for v in visits(name, 5)] == [v.asked for v in visits(name, 5)]


@pytest.mark.parametrize("name", site_names())
def test_the_seed_is_deterministic_and_nothing_sleeps(name: str) -> None:
    folder = site(name).folder
    assert "setseed(" in (folder / "seed.sql").read_text()
    text = "".join(p.read_text() for p in folder.iterdir() if p.suffix in {".py", ".sql"})
    assert "pg_sleep" not in text
    assert "time.sleep" not in text
