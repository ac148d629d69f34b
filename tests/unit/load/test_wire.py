from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from premortem.load.wire import BadResponse, Heads, Reader, parse_head

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world"
CHUNKED = (
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"6\r\nhello \r\n5;ext=1\r\nworld\r\n0\r\nX-Trailer: yes\r\n\r\n"
)
TO_THE_END = b"HTTP/1.0 200 OK\r\n\r\nhello world"


def read(pieces: list[bytes], **limits: int) -> Reader:
    reader = Reader(Heads(), **limits)
    done = [reader.feed(piece) for piece in pieces]
    assert not any(done[:-1])
    return reader


@given(st.sampled_from([PLAIN, CHUNKED]), st.lists(st.integers(1, 150), max_size=8))
def test_pieces_make_no_difference(whole: bytes, cuts: list[int]) -> None:
    edges = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    pieces = [whole[a:b] for a, b in itertools.pairwise(edges)]
    reader = Reader(Heads())
    done = [reader.feed(piece) for piece in pieces]
    assert done == [False] * (len(pieces) - 1) + [True]
    assert (reader.body, reader.surplus) == (b"hello world", False)


def test_a_body_may_end_with_the_connection() -> None:
    reader = read([TO_THE_END])
    assert reader.end()
    assert reader.body == b"hello world"
    assert reader.head is not None and reader.head.close


@pytest.mark.parametrize("whole", [PLAIN, CHUNKED])
def test_a_stated_body_may_not(whole: bytes) -> None:
    assert not read([whole[:-3]]).end()


@pytest.mark.parametrize("whole", [PLAIN, CHUNKED])
def test_what_comes_after_is_surplus(whole: bytes) -> None:
    assert read([whole + b"x"]).surplus


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_some_answers_have_no_body(status: bytes) -> None:
    assert Reader(Heads()).feed(b"HTTP/1.1 " + status + b"\r\nContent-Length: 5\r\n\r\n")


def test_the_answer_to_head_has_no_body() -> None:
    reader = Reader(Heads(), bodiless=True)
    assert reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 5000000000\r\n\r\n")


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"220 mail\r\n", "not HTTP"),
        (b"220 mail\r\n\r\n", "not an HTTP"),
        (b"HTTP/1.1 20x OK\r\n\r\n", "not an HTTP/1.1 status line"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "not an HTTP/1.1 status line"),
        (b"HTTP/1.1 099 Low\r\n\r\n", "not an HTTP/1.1 status line"),
        (b"HTTP/2 200\r\n\r\n", "not an HTTP/1.1 status line"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "switched protocols"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "not a header"),
        (b"HTTP/1.1 200 OK\r\nName : x\r\n\r\n", "not a header"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n", "bad Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "bad Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", "bad Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 17000000\r\n\r\n", "allowed are"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", "bad chunk size"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", "longer than it"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 5000, "chunk line"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 200,
            "trailers",
        ),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 12_000, "headers longer"),
    ],
)
def test_what_is_not_a_response_is_said(raw: bytes, words: str) -> None:
    with pytest.raises(BadResponse, match=words):
        Reader(Heads()).feed(raw)


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\n\r\n", CHUNKED[:70] + b"\r\n\r\nfffff\r\n"])
def test_an_endless_body_is_cut_off(start: bytes) -> None:
    reader = Reader(Heads(), body_bytes_max=10_000)
    with pytest.raises(BadResponse):
        for _ in range(100):
            reader.feed(start)
            start = b"x" * 1000
    assert len(reader.body) <= 12_000


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from(
                [
                    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 ", b"Content-Length: 3\r\n", b"\r\n",
                    b"0\r\n", b"Transfer-Encoding: chunked\r\n", b"\r\n\r\n", b"5\r\n",
                    b"abc", b":", b"\n",
                ]
            ),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_whatever_arrives_is_a_response_or_a_bad_one(pieces: list[bytes]) -> None:
    reader = Reader(Heads(), body_bytes_max=100)
    try:
        for piece in pieces:
            if reader.feed(piece):
                break
    except BadResponse:
        return
    assert len(reader.body) <= 100


@pytest.mark.parametrize(
    ("lines", "close"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive", False),
        (b"HTTP/1.1 200 OK", True),
    ],
)
def test_whether_the_connection_can_be_used_again(lines: bytes, close: bool) -> None:
    assert parse_head(lines).close is close


def test_repeated_headers_are_joined_and_cookies_are_not() -> None:
    head = parse_head(
        b"HTTP/1.1 200 OK\r\nVary: a\r\nvary: b\r\nSet-Cookie: x=1\r\nSet-Cookie: y=2"
    )
    assert head.headers["vary"] == "a, b"
    assert head.cookies == ("x=1", "y=2")


def test_a_length_inside_another_header_is_not_the_length() -> None:
    assert parse_head(b"HTTP/1.1 200 OK\r\nX: Content-Length: 5\r\nContent-Length: 7").length == 7


def test_known_heads_are_bounded() -> None:
    heads = Heads()
    for number in range(2000):
        heads.parse(b"HTTP/1.1 200 OK\r\nX: %d" % number)
    assert len(heads.known) <= 512
