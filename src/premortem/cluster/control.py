"""How commands reach the supervisor: a socket only the owner may open, one order a connection."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from premortem.engines.errors import EngineError

__all__ = ["Say", "Taker", "ask", "serve"]

ORDER_BYTES_MAX = 65536
Say = Callable[[str], None]


class Taker(Protocol):
    """Whoever obeys orders: says how it goes, returns what came of it."""

    async def take(self, order: Mapping[str, object], say: Say) -> Mapping[str, object]: ...


@asynccontextmanager
async def serve(path: Path, taker: Taker) -> AsyncIterator[None]:
    """Take orders at ``path`` until the block is left."""

    async def obey(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def tell(**line: object) -> None:
            writer.write(json.dumps(line).encode() + b"\n")

        try:
            order = json.loads(await asyncio.wait_for(reader.readline(), 5.0))
            tell(result=await taker.take(order, lambda text: tell(progress=text)))
        except (ValueError, TimeoutError, EngineError) as error:
            tell(error=str(error) or "no order came")
        finally:
            writer.close()

    with socket.socket(socket.AF_UNIX) as door:
        _bind(door, path)
        server = await asyncio.start_unix_server(obey, sock=door, limit=ORDER_BYTES_MAX)
        try:
            yield
        finally:
            server.close()


def _bind(door: socket.socket, path: Path) -> None:
    """Take the place of a socket that was left behind; only its owner may open it."""
    path.unlink(missing_ok=True)
    door.bind(str(path))
    path.chmod(0o600)


def ask(
    path: Path, order: Mapping[str, object], within_s: float, say: Say = lambda _: None
) -> Mapping[str, object]:
    """Give one order and wait for what comes of it. Raises ``EngineError``."""
    for line in _lines(path, order, within_s):
        if "progress" in line:
            say(str(line["progress"]))
        elif "error" in line:
            raise EngineError(str(line["error"]))
        elif isinstance(result := line.get("result"), dict):
            return result
    raise EngineError("the supervisor ended before it answered: ask again in a second")


def _lines(
    path: Path, order: Mapping[str, object], within_s: float
) -> Iterator[Mapping[str, object]]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(within_s)
        try:
            sock.connect(str(path))
            sock.sendall(json.dumps(order).encode() + b"\n")
            with sock.makefile("rb") as lines:
                for line in lines:
                    yield json.loads(line)
        except TimeoutError as error:
            raise EngineError(f"the supervisor did not finish within {within_s:g} s") from error
        except (FileNotFoundError, ConnectionError) as error:
            raise EngineError("the supervisor does not run: premortem cluster up") from error
