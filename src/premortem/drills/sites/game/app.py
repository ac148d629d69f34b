"""The game's pages. The queries are what such a page needs, with the indices it should have."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from premortem.drills.sites.database import Connection, Database
from premortem.drills.sites.pages import Form, application, number

__all__ = ["build"]

TEMPLATES = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)

# The lobby greets a player with their place in the league, which needs everybody's points.
STANDING = """
WITH season AS (
    SELECT player_id, sum(points) AS points, count(*) AS matches
    FROM score WHERE league = %(league)s GROUP BY player_id
), ranked AS (
    SELECT player_id, points, matches, rank() OVER (ORDER BY points DESC) AS place FROM season
)
SELECT place, points, matches, (SELECT count(*) FROM season) AS players
FROM ranked WHERE player_id = %(player)s
"""
MATCHES = """
SELECT id, map, joined, starts_at FROM match
WHERE league = %(league)s ORDER BY starts_at DESC LIMIT 20
"""
LEADERBOARD = """
SELECT p.name, p.country, b.points, t.matches, t.average::float AS average,
       rank() OVER (ORDER BY b.points DESC) AS place
FROM best b JOIN player p ON p.id = b.player_id
JOIN (
    SELECT player_id, count(*) AS matches, avg(points) AS average
    FROM score WHERE league = %(league)s GROUP BY player_id
) t ON t.player_id = p.id
WHERE p.league = %(league)s ORDER BY b.points DESC, p.name LIMIT 100
"""
POST_SCORE = """
INSERT INTO score (player_id, match_id, league, points)
SELECT id, %(match)s, league, %(points)s FROM player WHERE id = %(player)s RETURNING id
"""
KEEP_BEST = """
INSERT INTO best (player_id, points) VALUES (%(player)s, %(points)s)
ON CONFLICT (player_id) DO UPDATE SET points = excluded.points, made_at = now()
WHERE best.points < excluded.points
"""


def log_in(connection: Connection, request: Request, form: Form) -> Response:
    """Open a session and show the lobby: the matches of the league and the player's place."""
    wanted = number(form, "player")
    player = connection.execute("SELECT id, league FROM player WHERE id = %s", [wanted]).fetchone()
    if player is None:
        return PlainTextResponse("no such player\n", 404)
    opened = "INSERT INTO session (player_id) VALUES (%s) RETURNING id"
    session = connection.execute(opened, [wanted]).fetchall()[0]["id"]
    asked = {"player": wanted, "league": player["league"]}
    standing = connection.execute(STANDING, asked).fetchone()
    found = connection.execute(MATCHES, asked).fetchall()
    matches = [{"id": m["id"], "map": m["map"], "joined": m["joined"]} for m in found]
    return JSONResponse({"session": session, "standing": standing, "matches": matches}, 201)


def matches(connection: Connection, request: Request, form: Form) -> Response:
    """The matches of a league that can be joined."""
    asked = {"league": number(request.path_params, "league")}
    return _page("matches.html", matches=connection.execute(MATCHES, asked).fetchall())


def join(connection: Connection, request: Request, form: Form) -> Response:
    """Join a match: everybody who joins it updates the same row."""
    asked = [number(request.path_params, "match")]
    order = "UPDATE match SET joined = joined + 1 WHERE id = %s RETURNING joined"
    row = connection.execute(order, asked).fetchone()
    if row is None:
        return PlainTextResponse("no such match\n", 404)
    return JSONResponse({"joined": row["joined"]})


def post_score(connection: Connection, request: Request, form: Form) -> Response:
    """Keep a score, and the player's best if it is one."""
    asked = {name: number(form, name) for name in ("player", "match", "points")}
    with connection.transaction():
        row = connection.execute(POST_SCORE, asked).fetchone()
        if row is None:
            return PlainTextResponse("no such player\n", 404)
        connection.execute(KEEP_BEST, asked)
    return JSONResponse({"score": row["id"]}, 201)


def leaderboard(connection: Connection, request: Request, form: Form) -> Response:
    """The best hundred of a league with their ranks."""
    asked = {"league": number(request.path_params, "league")}
    return _page("leaderboard.html", players=connection.execute(LEADERBOARD, asked).fetchall())


def _page(template: str, **values: object) -> HTMLResponse:
    return HTMLResponse(TEMPLATES.get_template(template).render(values))


def build(database: Database) -> Starlette:
    """The game on ``database``."""
    return application(
        database,
        {
            ("POST", "/login"): log_in,
            ("GET", "/matches/{league}"): matches,
            ("POST", "/match/{match}/join"): join,
            ("POST", "/score"): post_score,
            ("GET", "/leaderboard/{league}"): leaderboard,
        },
    )
