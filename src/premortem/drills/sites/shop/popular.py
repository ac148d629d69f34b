"""Visitors who look at what everybody looks at: pages that a cache answers."""

from __future__ import annotations

from typing import Any

from premortem.drills.sites.shop.journey import CATEGORIES, visit

__all__ = ["POPULAR", "journey", "paths"]

POPULAR = tuple(range(7, 60_000, 1_500))
"""Forty products of all categories: the front page's offers."""


def paths() -> list[str]:
    """Every page these visitors ask for that a cache may answer."""
    return [
        *(f"/category/{n}" for n in range(1, CATEGORIES + 1)),
        *(f"/product/{n}" for n in POPULAR),
    ]


async def journey(user: Any) -> None:
    """As the shop's own journey, among the popular products."""
    await visit(user, lambda: user.random.choice(POPULAR))
