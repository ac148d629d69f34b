"""The daemon's own pages: small, bounded, and behind a token when they can be reached."""

import asyncio
from pathlib import Path

import pytest

from premortem.app.config import BadConfig, WatchConfig
from premortem.app.serve import AT_ONCE_MAX, Door, Page, Reply, serve

PAGES = {
    "/metrics": Page(lambda: Reply(200, "up 1\n")),
    "/healthz": Page(lambda: Reply(503, "ill\n"), guarded=False),
}


async def ask(port: int, text: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text.encode())
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return int(answer.split()[1]), answer


async def get(port: int, path: str, head: str = "", method: str = "GET") -> tuple[int, str]:
    return await ask(port, f"{method} {path} HTTP/1.1\r\nHost: x\r\n{head}\r\n")


async def test_pages_are_answered() -> None:
    async with serve(Door("127.0.0.1", 0), PAGES) as port:
        status, answer = await get(port, "/metrics?x=1")
        assert (status, answer.endswith("\r\n\r\nup 1\n")) == (200, True)
        assert (await get(port, "/healthz"))[0] == 503
        assert (await get(port, "/other"))[0] == 404
        assert (await get(port, "/metrics", method="POST"))[0] == 405
        status, answer = await get(port, "/metrics", method="HEAD")
        assert (status, answer.endswith("\r\n\r\n"), "Content-Length: 5" in answer) == (
            200, True, True,
        )  # fmt: skip
        assert (await ask(port, "nonsense\r\n\r\n"))[0] == 400


async def test_a_token_is_wanted_and_compared() -> None:
    async with serve(Door("127.0.0.1", 0, "s3cret"), PAGES) as port:
        assert (await get(port, "/metrics"))[0] == 401
        assert (await get(port, "/metrics", "Authorization: Bearer wrong\r\n"))[0] == 401
        assert (await get(port, "/metrics", "Authorization: Basic s3cret\r\n"))[0] == 401
        assert (await get(port, "/metrics", "authorization: bearer s3cret\r\n"))[0] == 200
        assert (await get(port, "/healthz"))[0] == 503  # a load balancer has no token


async def test_long_heads_and_crowds_are_turned_away() -> None:
    async with serve(Door("127.0.0.1", 0), PAGES) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000)
        with pytest.raises(ConnectionError):
            assert await reader.read() == b""
            raise ConnectionResetError
        writer.close()
        crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(AT_ONCE_MAX)]
        await asyncio.sleep(0.05)
        late, late_writer = await asyncio.open_connection("127.0.0.1", port)
        with pytest.raises(ConnectionError):
            assert await late.read() == b""
            raise ConnectionResetError
        for _, w in (*crowd, (late, late_writer)):
            w.close()
        await asyncio.sleep(0.05)
        assert (await get(port, "/metrics"))[0] == 200


def test_an_open_door_wants_a_token(tmp_path: Path) -> None:
    for listen in ("0.0.0.0:7117", "10.1.2.3:7117", "[::]:7117", "monitor.example:7117"):
        with pytest.raises(BadConfig, match="token_file"):
            Door.of(WatchConfig(listen=listen))
    (tmp_path / "token").write_text("s3cret\n")
    door = Door.of(WatchConfig(listen="0.0.0.0:7117", token_file=tmp_path / "token"))
    assert door == Door("0.0.0.0", 7117, "s3cret")
    assert "s3cret" not in repr(door)
    assert Door.of(WatchConfig(listen="[::1]:0")) == Door("::1", 0)
    assert Door.of(WatchConfig(listen="")) is None
