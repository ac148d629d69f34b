"""A site of one thread a connection that behaves as it is told, and users sent at it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from premortem.load.attack import Attack, Result, attack
from premortem.load.journey import Choice, Journey, User
from premortem.load.pace import Constant
from premortem.load.requests import Settings

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


TLS_RECORD = b"\x16"


Behave = Callable[[socket.socket, str, bytes], None]


class Server:
    """A thread a connection; ``behave`` answers each request on the raw socket."""

    def __init__(self, behave: Behave, wrap: Callable[[socket.socket], socket.socket]) -> None:
        self.behave = behave
        self.wrap = wrap
        self.accepted = 0
        self.requests: list[bytes] = []
        self.disconnects = 0
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self.sock.getsockname()[1]}"
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._accept)]
        self.threads[0].start()

    def _accept(self) -> None:
        self.sock.settimeout(0.05)
        while not self.over.is_set():
            with suppress(TimeoutError):
                peer, _ = self.sock.accept()
                self.accepted += 1
                thread = threading.Thread(target=self._serve, args=(peer,))
                self.threads.append(thread)
                thread.start()

    def _serve(self, peer: socket.socket) -> None:
        peer.settimeout(0.2)
        waiting = b""
        with peer, suppress(OSError):
            peer = self.wrap(peer)
            self._talk(peer, waiting)

    def _talk(self, peer: socket.socket, waiting: bytes) -> None:
        with peer:
            while not self.over.is_set():
                try:
                    data = peer.recv(65_536)
                except TimeoutError:
                    continue
                if not data:
                    self.disconnects += 1
                    return
                waiting += data
                if b"\r\n\r\n" not in waiting and not waiting.startswith(TLS_RECORD):
                    continue
                request, waiting = waiting, b""
                self.requests.append(request)
                words = request.split(b" ", 2)
                path = "" if request.startswith(TLS_RECORD) else words[1].decode()
                self.behave(peer, path, request)

    def close(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()
        self.sock.close()


@contextmanager
def served(
    behave: Behave, wrap: Callable[[socket.socket], socket.socket] = lambda peer: peer
) -> Iterator[Server]:
    server = Server(behave, wrap)
    try:
        yield server
    finally:
        server.close()


def answer(data: bytes = OK) -> Behave:
    return lambda peer, path, request: peer.sendall(data)


async def one(user: User) -> None:
    await user.get("/", name="one")


def run(
    url: str, journey: Journey = one, *, rate: float = 40, seconds: float = 0.5, **settings: object
) -> Result:
    patient = {"timeout_s": 3.0, "retries": 0, "backoff_s": 0.02, "drain_s": 5.0, **settings}
    plan = Attack(
        url,
        (Choice(journey),),
        Constant(rate, seconds),
        settings=Settings(**patient),  # type: ignore[arg-type]
        lag_p99_ms_max=1e6,
        cpu_ratio_max=1e6,
    )
    return attack(plan)


def totals(result: Result) -> dict[str, int]:
    line = result.line()
    names = ("offered", "served", "refused", "failed", "unfinished", "not_started")
    assert line["offered"] == sum(line[name] for name in names[1:])
    return {name: line[name] for name in names if line[name] or name == "offered"}


def only(result: Result, outcome: str) -> None:
    """Every user met this outcome."""
    found = totals(result)
    assert found == {"offered": found["offered"], outcome: found["offered"]}
    assert found["offered"] > 5
