"""Visitors who look at what everybody looks at: pages that a cache answers."""

from __future__ import annotations

from typing import Any

from premortem.drills.sites.shop.journey import BUY, CATEGORIES, LOOK, THINK_S, WANT, WRITE

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
    await user.get(f"/category/{user.random.randint(1, CATEGORIES)}", name="browse")
    if user.random.random() >= LOOK:
        return
    await user.think(user.random.uniform(*THINK_S))
    product = user.random.choice(POPULAR)
    await user.get(f"/product/{product}", name="product")
    if user.random.random() >= WANT:
        return
    await user.think(user.random.uniform(*THINK_S))
    form = {"product": str(product), "quantity": "1"}
    basket = (await user.post("/basket", form=form, name="basket")).json()["basket"]
    if user.random.random() >= BUY:
        return
    await user.think(user.random.uniform(*THINK_S))
    placed = await user.post("/checkout", form={"basket": str(basket)}, name="checkout")
    user.acknowledge(WRITE, placed.json()["order"])
