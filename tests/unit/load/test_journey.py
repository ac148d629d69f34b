from __future__ import annotations

from pathlib import Path

import pytest

from premortem.load.journey import BadJourney, Plain, Response, journeys_from, load_journey
from premortem.load.plain import Template
from premortem.load.stats import Arrived
from premortem.load.visitor import Exchange, Pause, Site, Visitor
from premortem.load.wire import parse_head

SITE = Site(
    "/app", " HTTP/1.1\r\nHost: h\r\nX-Client-Id: run-", "run", 3, lambda kind, id, user: None
)


@pytest.fixture
def user() -> Visitor:
    return Visitor(SITE, 7, Arrived(0))


def test_a_get_is_serialised_once_with_the_users_id(user: Visitor) -> None:
    assert user.get("/a").message == b"GET /app/a HTTP/1.1\r\nHost: h\r\nX-Client-Id: run-7\r\n\r\n"


def test_parameters_and_odd_characters_are_quoted(user: Visitor) -> None:
    assert user.get("/a", params={"q": "ä b"}).target == "/app/a?q=%C3%A4+b"
    assert user.get("/a", params={"q": 1}).target == "/app/a?q=1"
    assert user.get("/a?x=1", params={"q": 1}).target == "/app/a?x=1&q=1"
    assert user.get("/ä b\r\n").target == "/app/%C3%A4%20b%0D%0A"


@pytest.mark.parametrize(
    ("given", "kind", "body"),
    [
        ({"json": {"a": 1}}, b"application/json", b'{"a": 1}'),
        ({"form": {"a": "x y"}}, b"application/x-www-form-urlencoded", b"a=x+y"),
    ],
)
def test_a_post_states_its_kind_and_length(
    user: Visitor, given: dict[str, object], kind: bytes, body: bytes
) -> None:
    head, _, sent = user.post("/a", **given).message.partition(b"\r\n\r\n")  # type: ignore[arg-type]
    assert sent == body
    assert b"Content-Type: " + kind in head
    assert b"Content-Length: %d" % len(body) in head


def test_an_empty_post_states_its_length(user: Visitor) -> None:
    assert b"Content-Length: 0\r\n" in user.post("/a").message


@pytest.mark.parametrize(
    "plain", [Plain("/a"), Plain("/a?b=0", "POST", b"0 0", (("X", "0"),), "named")]
)
def test_a_plain_journey_sends_what_a_written_one_would(user: Visitor, plain: Plain) -> None:
    written = user.request(
        plain.method, plain.path, body=plain.body, headers=dict(plain.headers), name=plain.name
    )
    templated = Template(SITE, plain).exchange(user.number, user.arrived)
    assert templated.message == written.message
    assert (templated.name, templated.target) == (written.name, written.target)
    assert (templated.user.id, templated.serialise()) == (user.id, written.message)


def test_headers_cannot_smuggle_lines(user: Visitor) -> None:
    assert b"X: 1\r\n" in user.get("/a", headers={"X": "1"}).message
    with pytest.raises(ValueError, match="line breaks"):
        user.get("/a", headers={"X": "1\r\nY: 2"})
    with pytest.raises(ValueError, match="method"):
        user.request("GET /x", "/a")
    with pytest.raises(ValueError, match="starts with"):
        user.get("a")


def test_cookies_are_sent_back_until_they_end(user: Visitor) -> None:
    user.keep_cookies(["a=1; Path=/; HttpOnly", "b=2", "nonsense"])
    assert b"Cookie: a=1; b=2\r\n" in user.get("/").message
    user.keep_cookies(["a=; Max-Age=0"])
    assert b"Cookie: b=2\r\n" in user.get("/").message
    user.keep_cookies([f"c{n}=1" for n in range(100)])
    assert user.cookies is not None and len(user.cookies) == 50


@pytest.mark.parametrize(
    ("status", "method", "length"), [(302, "GET", 0), (303, "GET", 0), (307, "POST", 2)]
)
def test_a_redirected_post(user: Visitor, status: int, method: str, length: int) -> None:
    exchange = user.post("/a", body=b"hi")
    exchange.redirect("/b", status)
    head, _, body = exchange.message.partition(b"\r\n\r\n")
    assert head.startswith(f"{method} /b ".encode())
    assert len(body) == length
    assert (b"Content-Length" in head) == bool(length)


def test_dice_are_the_users_own() -> None:
    def rolls(number: int) -> list[float]:
        dice = Visitor(SITE, number, Arrived(0)).random
        return [dice.random() for _ in range(3)]

    assert rolls(1) == rolls(1) != rolls(2)


def test_an_await_hands_the_command_to_the_engine_and_the_answer_to_the_journey() -> None:
    seen: list[object] = []

    async def journey(user: Visitor) -> None:
        seen.append((await user.get("/")).json())
        await user.think(0.5)

    running = journey(Visitor(SITE, 1, Arrived(0)))
    assert isinstance(running.send(None), Exchange)
    answer = Response(parse_head(b"HTTP/1.1 200 OK"), b'{"a": 1}')
    pause = running.send(answer)
    assert isinstance(pause, Pause) and pause.seconds == 0.5
    with pytest.raises(StopIteration):
        running.send(None)
    assert seen == [{"a": 1}]


def test_a_response_reads_as_text_whatever_its_bytes() -> None:
    response = Response(parse_head(b"HTTP/1.1 200 OK\r\nX-A: 1"), b"\xff!")
    assert (response.status, response.text, response.headers["x-a"]) == (200, "\ufffd!", "1")


def test_a_check_that_does_not_hold_fails(user: Visitor) -> None:
    user.check(True, "fine")
    with pytest.raises(AssertionError, match="no total"):
        user.check(False, "no total")


def test_a_journey_is_found_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("async def shopper(user):\n    pass\n")
    assert callable(load_journey(f"{file}:shopper"))
    with pytest.raises(BadJourney, match="no journey called 'other'"):
        load_journey(f"{file}:other")
    with pytest.raises(BadJourney, match="no such file"):
        load_journey(f"{tmp_path}/gone.py:shopper")


def test_journeys_have_weights() -> None:
    two = journeys_from([["/a", 3], {"journey": "/b", "weight": 1}, "/c"])
    assert [(c.journey, c.weight) for c in two] == [
        (Plain("/a", name="/a"), 3.0),
        (Plain("/b", name="/b"), 1.0),
        (Plain("/c", name="/c"), 1.0),
    ]


@pytest.mark.parametrize(
    "data", [[], None, 3, [["/a", 0]], [["/a", "x"]], [3], "nothing", "a b:c d", "no.such.thing:f"]
)
def test_a_bad_journey_is_said(data: object) -> None:
    with pytest.raises(BadJourney):
        journeys_from(data)
