"""Plays a journey as the engine would, against a function that answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest

from premortem.load.journey import Response, Script
from premortem.load.stats import Arrived
from premortem.load.visitor import Exchange, Pause, Site, Visitor
from premortem.load.wire import parse_head

Answer: TypeAlias = Callable[[Exchange], bytes]
Commands: TypeAlias = list[Exchange | Pause]
Played: TypeAlias = Callable[..., Commands]


def play(
    script: Script, answer: Answer, acknowledged: list[object] | None = None, number: int = 1,
    head: bytes = b"HTTP/1.1 200 OK",
) -> Commands:  # fmt: skip
    """Every command of user ``number``, in order."""
    seen = [] if acknowledged is None else acknowledged
    site = Site("", " HTTP/1.1\r\nX: ", "r", 1, lambda kind, id, user: seen.append((kind, id)))
    user = Visitor(site, number, Arrived(0))
    running = script(user)
    commands: Commands = []
    value = None
    try:
        while True:
            asked = running.send(value)
            commands.append(asked)
            value = None
            if isinstance(asked, Exchange):
                parsed = parse_head(head)
                user.keep_cookies(parsed.cookies)
                value = Response(parsed, answer(asked))
    except StopIteration:
        return commands


@pytest.fixture
def played() -> Played:
    return play
