"""How far a climb gets, on servers that speak just enough of the protocol."""

from __future__ import annotations

import asyncio
import struct

import pytest

from premortem.sources._pg_ladder import Address, climb, error_text

READY = b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I"
WANTS_SCRAM = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"


def error(code: str, text: str) -> bytes:
    body = f"SFATAL\0VFATAL\0C{code}\0M{text}\0\0".encode()
    return b"E" + struct.pack("!i", len(body) + 4) + body


def server(ssl_reply: bytes, answer: bytes, seen: list[bytes] | None = None):
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(8) == b"\0\0\0\x08\x04\xd2\x16\x2f"
        writer.write(ssl_reply)
        length = struct.unpack("!i", await reader.readexactly(4))[0]
        startup = await reader.readexactly(length - 4)
        writer.write(answer)
        rest = await reader.read()
        if seen is not None:
            seen.extend((startup, rest))

    return handler


def at(port: int) -> Address:
    return Address("127.0.0.1", port, "ann", "shop")


@pytest.mark.parametrize("answer", [READY, WANTS_SCRAM], ids=["trust", "scram"])
async def test_the_top_is_readiness_or_the_question_for_a_password(serve, answer: bytes) -> None:
    seen: list[bytes] = []
    found = await climb(at(await serve(server(b"N", answer, seen))), 1.0)
    await asyncio.sleep(0.01)
    assert (found.error, found.serving, found.refused) == (None, True, False)
    metrics = found.metrics()
    assert set(metrics) == {
        "db.connect.tcp_ms",
        "db.connect.ssl_reply_ms",
        "db.connect.startup_ms",
        "db.connect_ms",
    }
    assert metrics["db.connect_ms"] == pytest.approx(
        sum(v for k, v in metrics.items() if k != "db.connect_ms")
    )
    assert b"user\0ann\0database\0shop\0" in seen[0]
    # Never a password; a farewell only where it is expected, for else the server logs an error.
    assert seen[1] == (b"X\0\0\0\x04" if answer == READY else b"")


@pytest.mark.parametrize(
    ("code", "text", "said"),
    [
        ("53300", "sorry, too many clients already", "53300 too many connections"),
        ("53300", "remaining connection slots are reserved", "53300 too many connections"),
        ("57P03", "the database system is starting up", "57P03 starting up"),
        ("57P03", "the database system is shutting down", "57P03 shutting down"),
        ("XX000", "oh", "XX000 oh"),
    ],
)
async def test_the_servers_own_word_is_passed_on(serve, code: str, text: str, said: str) -> None:
    found = await climb(at(await serve(server(b"N", error(code, text)))), 1.0)
    assert (found.sqlstate, found.error) == (code, said)
    assert found.refused == (code == "53300")


async def test_a_slot_is_found_missing_after_trust(serve) -> None:
    """Without passwords the server says OK first and looks for a slot of ordinary roles later."""
    answer = READY[:9] + error("53300", "remaining connection slots are reserved")
    assert (await climb(at(await serve(server(b"N", answer))), 1.0)).refused


@pytest.mark.parametrize("code", ["28000", "28P01", "3D000"])
async def test_an_error_about_who_asks_does_not_speak_against_the_server(serve, code: str) -> None:
    found = await climb(at(await serve(server(b"N", error(code, "no")))), 1.0)
    assert (found.serving, found.sqlstate) == (True, code)


async def test_a_hung_server_gives_no_reply(serve) -> None:
    async def hung(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    found = await climb(at(await serve(hung)), 0.1)
    assert found.error == "no reply to SSLRequest within 0.1 s"
    assert set(found.metrics()) == {"db.connect.tcp_ms"}


async def test_a_server_hung_after_ssl_is_told_apart(serve) -> None:
    found = await climb(at(await serve(server(b"N", b""))), 0.1)
    assert found.error == "no reply to startup within 0.1 s"


async def test_nobody_listens() -> None:
    found = await climb(at(1), 1.0)
    assert (found.error, found.metrics()) == ("refused", {})


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"R\0\0\0\x01", b"R" + b"\x7f" * 4 + b"x"]
)
async def test_something_else_than_postgresql_is_named(serve, answer: bytes) -> None:
    found = await climb(at(await serve(server(b"N", answer))), 0.5)
    assert found.error == "reply to startup: not the PostgreSQL protocol"


async def test_a_closed_door(serve) -> None:
    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.close()

    found = await climb(at(await serve(closing)), 0.5)
    assert found.error == "connection closed instead of a reply to SSLRequest"


async def test_a_socket_folder_that_is_gone(tmp_path) -> None:
    found = await climb(Address(str(tmp_path), 5432, "a", "b"), 0.5)
    assert found.error == "TCP connect: No such file or directory"


def test_an_error_without_fields_is_survived() -> None:
    assert error_text(b"\0") == ("?", "? ")
