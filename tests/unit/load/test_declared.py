from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from premortem.load.declared import journeys_from_toml
from premortem.load.journey import BadJourney, Response
from premortem.load.stats import Arrived
from premortem.load.visitor import Exchange, Pause, Site, Visitor
from premortem.load.wire import parse_head

SHOP = """
[feeds]
product = "products.csv"

[[journey]]
name = "shopper"
weight = 3

  [[journey.step]]
  get = "/category/{1..40}"
  name = "browse"
  think_s = [0.2, 0.8]
  extract.token = {regex = 'value="([^"]+)"'}

  [[journey.step]]
  post = "/basket"
  form = {item = "{product.id}", csrf = "{token}"}
  expect = [200, 409]
  check = {contains = "basket", json = {"basket.open" = true}}
  extract.basket = {json = "basket.id"}
  acknowledge.basket = "{basket}"

[[journey]]
  [[journey.step]]
  get = "/"
"""


def written(folder: Path, text: str = SHOP) -> Path:
    (folder / "products.csv").write_text("id,colour\n17,red\n")
    path = folder / "shop.toml"
    path.write_text(text)
    return path


def played(
    path: Path, answer: Callable[[Exchange], bytes], acknowledged: list[object]
) -> list[Exchange | Pause]:
    """Drive the first journey of a file, as the engine would."""
    site = Site(
        "", " HTTP/1.1\r\nX: ", "r", 1, lambda kind, id, user: acknowledged.append((kind, id))
    )
    user = Visitor(site, 1, Arrived(0))
    journey = journeys_from_toml(path)[0].journey
    assert callable(journey)
    running = journey(user)
    commands: list[Exchange | Pause] = []
    value = None
    try:
        while True:
            commands.append(running.send(value))
            asked = commands[-1]
            value = None
            if isinstance(asked, Exchange):
                value = Response(parse_head(b"HTTP/1.1 200 OK\r\nX-Id: 5"), answer(asked))
    except StopIteration:
        return commands


def shop_answer(exchange: Exchange) -> bytes:
    if exchange.method == "GET":
        return b'<input name="csrf" value="t0ken">'
    return json.dumps({"basket": {"id": 9, "open": True}}).encode()


def test_a_declared_journey_does_what_it_says(tmp_path: Path) -> None:
    acknowledged: list[object] = []
    browse, pause, basket = played(written(tmp_path), shop_answer, acknowledged)
    assert isinstance(browse, Exchange) and isinstance(basket, Exchange)
    assert isinstance(pause, Pause) and 0.2 <= pause.seconds <= 0.8
    assert 1 <= int(browse.target.removeprefix("/category/")) <= 40
    assert (browse.name, basket.method, basket.target) == ("browse", "POST", "/basket")
    assert basket.message.endswith(b"\r\n\r\nitem=17&csrf=t0ken")
    assert basket.expect == (200, 409)
    assert acknowledged == [("basket", "9")]


def test_weights_and_names(tmp_path: Path) -> None:
    one, other = journeys_from_toml(written(tmp_path))
    assert (one.name, one.weight, other.weight) == ("shopper", 3.0, 1.0)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"no token here", LookupError),
        (b'value="x"', ValueError),  # the basket's answer is not JSON
    ],
)
def test_an_answer_that_is_not_as_declared_fails_the_user(
    tmp_path: Path, answer: bytes, error: type[Exception]
) -> None:
    with pytest.raises((error, AssertionError)):
        played(written(tmp_path), lambda exchange: answer, [])


def test_a_check_that_does_not_hold_fails_the_user(tmp_path: Path) -> None:
    def closed(exchange: Exchange) -> bytes:
        return shop_answer(exchange).replace(b"true", b"false")

    with pytest.raises(AssertionError, match=r"basket\.open is False, not True"):
        played(written(tmp_path), closed, [])


def test_users_leave_as_declared(tmp_path: Path) -> None:
    text = '[[journey]]\n[[journey.step]]\nget = "/a"\n[[journey.step]]\nleave = 1.0\nget = "/b"\n'
    assert len(played(written(tmp_path, text), lambda exchange: b"", [])) == 1


STEP = '[[journey]]\n[[journey.step]]\nget = "/"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no [[journey]]"),
        ("[[journey]]\nname = 'a'\n", "no [[journey.step]]"),
        ("speed = 3\n" + STEP, "unknown speed"),
        (STEP + "colour = 3\n", "step 1: unknown colour"),
        (STEP + 'post = "/"\n', "one of get, post"),
        (STEP + 'body = "{token}"\n', "nothing gives {token}"),
        (STEP + 'body = "{a}"\nextract.a = {json = "b"}\n', "nothing gives {a}"),
        (STEP.replace('"/"', '"/{9..3}"'), "nothing gives {9..3}"),
        (STEP + "think_s = -1\n", "think_s must be"),
        (STEP + "think_s = [3, 1]\n", "think_s must be"),
        (STEP + "leave = 2\n", "leave must be"),
        (STEP + 'extract.a = {xpath = "b"}\n', "extract.a must be"),
        ("[[journey]]\nweight = 0\n[[journey.step]]\nget = '/'\n", "weight must be"),
        ("[feeds]\nx = 'gone.csv'\n" + STEP, "gone.csv"),
        ("not toml", "shop.toml"),
    ],
)
def test_a_bad_file_says_where(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadJourney) as raised:
        journeys_from_toml(written(tmp_path, text))
    assert words in str(raised.value)


def test_a_feed_with_ragged_rows_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    (tmp_path / "products.csv").write_text("id,colour\n17\n")
    with pytest.raises(BadJourney, match="as many columns"):
        journeys_from_toml(path)
