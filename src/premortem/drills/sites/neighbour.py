"""The other service a site calls: it answers every request after a while that a switch sets."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from premortem.drills.sites.switches import Live

__all__ = ["main"]

HOST = "127.0.0.1"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"
HEAD_S = 5.0
"""Whoever sends no request within this is hung up on."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="neighbour", description=__doc__)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--switches", required=True, type=Path)
    wanted = parser.parse_args(argv)
    live = Live(wanted.switches)
    live.watch()
    uvloop.run(_serve(wanted.port, live))
    return 0


async def _serve(port: int, live: Live) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_S):
                await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(live.now.delay_ms / 1000)
            writer.write(ANSWER)
            await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the caller has gone: nothing is left to answer
        finally:
            writer.close()

    server = await asyncio.start_server(answer, HOST, port)
    await server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
