"""Orders over the socket: progress, result, refusal, and nobody there."""

from __future__ import annotations

import asyncio
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from premortem.cluster.control import ask, serve
from premortem.engines.errors import EngineError


class Taker:
    async def take(
        self, order: Mapping[str, object], say: Callable[[str], None]
    ) -> Mapping[str, object]:
        if order["do"] == "refuse":
            raise EngineError("not now")
        if order["do"] == "sleep":
            await asyncio.sleep(10)
        say("half")
        return {"did": order["do"]}


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # a socket's path must be short
        yield Path(folder) / "s"


async def test_an_order_tells_how_it_goes(path: Path) -> None:
    said: list[str] = []
    async with serve(path, Taker()):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600  # noqa: PTH116
        result = await asyncio.to_thread(ask, path, {"do": "x"}, 5.0, said.append)
    assert result == {"did": "x"}
    assert said == ["half"]


async def test_a_refusal_is_an_error(path: Path) -> None:
    async with serve(path, Taker()):
        with pytest.raises(EngineError, match="not now"):
            await asyncio.to_thread(ask, path, {"do": "refuse"}, 5.0)


async def test_patience_ends(path: Path) -> None:
    async with serve(path, Taker()):
        with pytest.raises(EngineError, match=r"did not finish within 0\.1 s"):
            await asyncio.to_thread(ask, path, {"do": "sleep"}, 0.1)


def test_nobody_there(path: Path) -> None:
    with pytest.raises(EngineError, match="does not run"):
        ask(path, {"do": "x"}, 1.0)
