"""Accept queues of the listeners on one port, from the Linux kernel.

Asked by ``NETLINK_SOCK_DIAG`` (``man 7 sock_diag``): for a listening socket ``idiag_rqueue`` is the
number of connections that wait to be accepted and ``idiag_wqueue`` the most that may wait. Where
the kernel refuses that question, /proc/net/tcp still tells how many wait, but not the limit.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Queue", "listen_queues", "parse_diag", "parse_proc_tcp"]

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_REQUEST_DUMP = 0x301
_TCP_LISTEN = 10
_DONE_OR_ERROR = (3, 2)  # NLMSG_DONE, NLMSG_ERROR
_PACKETS_MAX = 64  # of 32 KiB each: thousands of listeners


@dataclass(frozen=True, slots=True)
class Queue:
    """One listener: connections waiting to be accepted, and the most that may wait if known."""

    waiting: int
    limit: int | None


def listen_queues(port: int) -> list[Queue]:
    """The listeners on ``port``; empty when there is none here or the system is not Linux."""
    if not hasattr(socket, "AF_NETLINK"):
        return []
    try:
        return [
            Queue(waiting, limit)
            for family in (socket.AF_INET, socket.AF_INET6)
            for packet in _dump(family)
            for at, waiting, limit in parse_diag(packet)
            if at == port
        ]
    except OSError:
        return _from_proc(port)


def _dump(family: int) -> Iterator[bytes]:
    body = struct.pack("=BBBBI", family, socket.IPPROTO_TCP, 0, 0, 1 << _TCP_LISTEN) + bytes(48)
    head = struct.pack("=IHHII", 16 + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_REQUEST_DUMP, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as sock:
        sock.settimeout(0.2)
        sock.send(head + body)
        for _ in range(_PACKETS_MAX):
            packet = sock.recv(32 * 1024)
            yield packet
            if any(kind in _DONE_OR_ERROR for kind, _ in _messages(packet)):
                return


def _messages(packet: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 16 <= len(packet):
        length, kind = struct.unpack_from("=IH", packet, at)
        if length < 16:
            return
        yield kind, packet[at + 16 : at + length]
        at += (length + 3) & ~3


def parse_diag(packet: bytes) -> Iterator[tuple[int, int, int]]:
    """(port, waiting, limit) of every listener in a netlink answer. Raises ``OSError`` if refused.

    The layout is ``struct inet_diag_msg``: 4 bytes, the ports big-endian, 44 bytes of addresses,
    interface and cookie, 4 of expiry, then both queues.
    """
    for kind, body in _messages(packet):
        if kind == _DONE_OR_ERROR[1]:
            raise OSError(-struct.unpack_from("=i", body)[0], "sock_diag refused")
        if kind == _SOCK_DIAG_BY_FAMILY and len(body) >= 64:
            (port,) = struct.unpack_from(">H", body, 4)
            waiting, limit = struct.unpack_from("=II", body, 56)
            yield port, waiting, limit


def _from_proc(port: int) -> list[Queue]:
    found: list[Queue] = []
    for file in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            found += parse_proc_tcp(Path(file).read_text(), port)
    return found


def parse_proc_tcp(text: str, port: int) -> list[Queue]:
    """Listeners (state 0A) on ``port`` in the text of /proc/net/tcp.

    >>> row = "0: 0100007F:1F90 00000000:0000 0A 00000000:00000007 00:00000000 00000000 0"
    >>> parse_proc_tcp("  sl  local_address ...\\n" + row, 8080)
    [Queue(waiting=7, limit=None)]
    """
    found: list[Queue] = []
    for line in text.splitlines()[1:]:
        cells = line.split()
        if len(cells) > 4 and cells[3] == "0A" and int(cells[1].rpartition(":")[2], 16) == port:
            found.append(Queue(int(cells[4].partition(":")[2], 16), None))
    return found
