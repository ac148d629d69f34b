"""A visit to the shop. Most people leave after a page or two; one in five buys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["ACKNOWLEDGED_COUNT_SQL", "PRIORITIES", "PROBE", "WRITE", "journey", "visit"]

CATEGORIES = 16
PRODUCTS = 60_000

LOOK, WANT, BUY = 0.45, 0.55, 0.80
"""Shares that go on from page to product (45 % of all), to basket (25 %), to checkout (20 %):
the shape of published shop funnels, with more buyers so that a minute holds some hundred orders."""

THINK_S = (0.2, 0.6)
"""A person takes many seconds; a rehearsal of a minute has to hold whole visits."""

PROBE = "/category/1"
"""A page every visitor may see, which needs the database: what the watch asks for."""

WRITE = "order"
ACKNOWLEDGED_COUNT_SQL = "SELECT count(*) FROM orders WHERE id = ANY(%(ids)s::bigint[])"

PRIORITIES = (
    ("POST", "/checkout", "high"),
    ("POST", "/basket", "high"),
    ("GET", "/product/", "normal"),
    ("GET", "/category/", "low"),
)


async def journey(user: Any) -> None:
    """A visit among all products."""
    await visit(user, lambda: user.random.randint(1, PRODUCTS))


async def visit(user: Any, choose: Callable[[], int]) -> None:
    """Browse, perhaps look at the product chosen, put it in the basket, check out."""
    category = user.random.randint(1, CATEGORIES)
    await user.get(f"/category/{category}", name="browse")
    if user.random.random() >= LOOK:
        return
    await user.think(user.random.uniform(*THINK_S))
    product = choose()
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
