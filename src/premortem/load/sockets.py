"""Non-blocking connections to one site: opened, greeted (TLS), written, read and closed."""

from __future__ import annotations

import errno
import select
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from premortem.load.wire import Reader

if TYPE_CHECKING:
    from premortem.load.visitor import Exchange

__all__ = ["Address", "Connection", "GeneratorLimit", "Unreachable", "resolve"]

CONNECTING, GREETING, READY = range(3)
ADDRESSES_MAX = 4
PROBE_S = 1.0
"""How long an address may take to answer before the next of the name's is tried."""
RECEIVE_BYTES = 4_096
"""Asked for at once, to begin with: asking for much costs time even if little comes."""
RECEIVE_BYTES_MAX = 65_536
WANT_READ = select.EPOLLIN
WANT_BOTH = select.EPOLLIN | select.EPOLLOUT
OUR_LIMITS = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS})
"""No descriptors, ports or buffers left here: the generator's limit, not the site's."""


class Unreachable(ConnectionError):
    """The site's name does not resolve, or the URL is not one that can be attacked."""


class GeneratorLimit(OSError):
    """This machine ran out of something before the site did."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a site is, resolved once so that no attempt waits for DNS."""

    family: int
    sockaddr: tuple[object, ...]
    host: str
    """As the ``Host`` header wants it."""
    name: str
    """As TLS wants it."""
    prefix: str
    tls: ssl.SSLContext | None


def resolve(base_url: str, *, verify: bool = True, ca_file: str | None = None) -> Address:
    """Find the address of ``http://host[:port][/prefix]``. Raises :class:`Unreachable`."""
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Unreachable(f"not a URL that can be attacked: {base_url!r}; want http://host:port")
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        raise Unreachable(f"{base_url}: {error}") from error
    family, _, _, _, sockaddr = found[0] if len(found) == 1 else _answering(found)
    context = _context(verify, ca_file) if parts.scheme == "https" else None
    host = parts.netloc.rpartition("@")[2]
    return Address(family, sockaddr, host, parts.hostname, parts.path.rstrip("/"), context)


def _answering(found: Sequence[Any]) -> Any:
    """The first address that takes a connection (``localhost`` is often two), else the first."""
    for entry in found[:ADDRESSES_MAX]:
        with socket.socket(entry[0], socket.SOCK_STREAM) as sock:
            sock.settimeout(PROBE_S)
            if sock.connect_ex(entry[4]) == 0:
                return entry
    return found[0]


def _context(verify: bool, ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["http/1.1"])
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Connection:
    """One TCP (or TLS) connection. Methods raise ``OSError`` when it breaks."""

    __slots__ = (
        "_address",
        "_epoll",
        "exchange",
        "fd",
        "open",
        "read",
        "reader",
        "sock",
        "stage",
        "unsent",
        "used",
        "write",
    )

    def __init__(self, address: Address, epoll: select.epoll) -> None:
        self._address = address
        self._epoll = epoll
        self.exchange: Exchange | None = None
        self.reader: Reader | None = None
        self.unsent = b""
        self.open = False
        """Ready, with nothing left to send: what is next is an answer."""
        self.used = False
        """Whether a response came on it before: then the server may have closed it meanwhile."""
        self.stage = CONNECTING
        try:
            self.sock = socket.socket(address.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            raise GeneratorLimit(*error.args) from error
        self.read: Callable[[int], bytes] = self.sock.recv
        self.write: Callable[[bytes], int] = self.sock.send
        self.fd = self.sock.fileno()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connect()

    def _connect(self) -> None:
        code = self.sock.connect_ex(self._address.sockaddr)
        if code not in (0, errno.EINPROGRESS):
            self.sock.close()
            kind = GeneratorLimit if code in OUR_LIMITS else ConnectionError
            raise kind(code, errno.errorcode.get(code, str(code)))
        self._epoll.register(self.fd, WANT_BOTH)

    def send(self, message: bytes) -> None:
        """Send, or keep for when the connection is ready."""
        if self.stage != READY:
            self.unsent = message
            return
        try:
            sent = self.write(message)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            sent = 0
        if sent < len(message):
            self.keep(message[sent:])

    def keep(self, rest: bytes) -> None:
        """Send the rest once there is room."""
        self.unsent = rest
        self.open = False
        self._epoll.modify(self.fd, WANT_BOTH)

    def advance(self) -> None:
        """Go on with connecting, greeting or sending after the socket reported something."""
        if self.stage == CONNECTING:
            self._connected()
        if self.stage == GREETING:
            self._greet()
        if self.stage == READY and self.unsent:
            message, self.unsent = self.unsent, b""
            self._epoll.modify(self.fd, WANT_READ)
            self.open = True
            self.send(message)

    def _connected(self) -> None:
        code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise ConnectionError(code, errno.errorcode.get(code, str(code)))
        try:
            self.sock.getpeername()
        except OSError:
            return  # an event of an earlier socket with the same number: not connected yet
        if self._address.tls is None:
            self.stage = READY
            if not self.unsent:
                self.open = True
                self._epoll.modify(self.fd, WANT_READ)
            return
        self.sock = self._address.tls.wrap_socket(
            self.sock, server_hostname=self._address.name, do_handshake_on_connect=False
        )
        self.stage = GREETING

    def _greet(self) -> None:
        assert isinstance(self.sock, ssl.SSLSocket)
        try:
            self.sock.do_handshake()
        except ssl.SSLWantReadError:
            self._epoll.modify(self.fd, WANT_READ)
            return
        except ssl.SSLWantWriteError:
            self._epoll.modify(self.fd, WANT_BOTH)
            return
        self.stage = READY
        self.open = not self.unsent
        self.read, self.write = self.sock.read, self.sock.send
        self._epoll.modify(self.fd, WANT_READ)

    def close(self) -> None:
        """Close at once; epoll forgets a closed descriptor by itself."""
        self.exchange = None
        self.reader = None
        self.sock.close()
