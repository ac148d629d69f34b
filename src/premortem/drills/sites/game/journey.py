"""A visit to the game. Many only look who is on; one in four plays and posts a score."""

from __future__ import annotations

from typing import Any

__all__ = ["ACKNOWLEDGED_COUNT_SQL", "PRIORITIES", "PROBE", "WRITE", "journey"]

PLAYERS = 60_000
LEAGUES = 8
HOT_MATCHES = 3
"""People join the matches at the top of the list, so few rows take all the updates."""

JOIN, PLAY, LOOK = 0.40, 0.75, 0.50
"""Shares that go on: lobby to match (40 % of all), to a score (30 %), to the leaderboard (15 %)."""

THINK_S = (0.2, 0.6)
"""A match takes minutes; a rehearsal of a minute has to hold whole visits."""

PROBE = "/matches/1"
"""A page every visitor may see, which needs the database: what the watch asks for."""

WRITE = "score"
ACKNOWLEDGED_COUNT_SQL = "SELECT count(*) FROM score WHERE id = ANY(%(ids)s::bigint[])"

PRIORITIES = (
    ("POST", "/score", "high"),
    ("POST", "/match/", "high"),
    ("GET", "/matches/", "normal"),
    ("POST", "/login", "low"),
    ("GET", "/leaderboard/", "low"),
)


async def journey(user: Any) -> None:
    """Log in to the lobby, perhaps join a match, post the score, look at the leaderboard."""
    player = user.random.randint(1, PLAYERS)
    lobby = (await user.post("/login", form={"player": str(player)}, name="login")).json()
    if user.random.random() >= JOIN:
        return
    await user.think(user.random.uniform(*THINK_S))
    match = user.random.choice(lobby["matches"][:HOT_MATCHES])["id"]
    await user.post(f"/match/{match}/join", form={}, name="join")
    if user.random.random() >= PLAY:
        return
    await user.think(user.random.uniform(*THINK_S))
    points = user.random.randint(0, 10_000)
    form = {"player": str(player), "match": str(match), "points": str(points)}
    kept = await user.post("/score", form=form, name="score")
    user.acknowledge(WRITE, kept.json()["score"])
    if user.random.random() >= LOOK:
        return
    await user.think(user.random.uniform(*THINK_S))
    await user.get(f"/leaderboard/{player % LEAGUES + 1}", name="leaderboard")
