"""The engine against real sockets: what a site may do, and what a hostile one does."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from premortem.load.attack import Attack, Result, attack
from premortem.load.journey import Choice, Journey, User
from premortem.load.knee import Bars
from premortem.load.pace import Constant, arrivals
from premortem.load.requests import Settings
from premortem.load.sockets import Unreachable, resolve
from premortem.load.stats import Second
from premortem.load.trials import find_knee
from premortem.load.workers import attack_many

pytestmark = pytest.mark.real

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


def test_users_are_served_and_share_connections() -> None:
    with served(answer()) as server:
        result = run(server.url, rate=100)
    only(result, "served")
    assert result.valid
    assert server.accepted < result.tally.total("offered") / 2
    assert result.line()["response_ms"]["p50"] < 50


def test_each_user_has_a_connection_of_their_own_when_told() -> None:
    async def two(user: User) -> None:
        await user.get("/a")
        await user.get("/b")

    with served(answer()) as server:
        result = run(server.url, two, keep_alive=False)
    only(result, "served")
    assert server.accepted == result.tally.total("offered")


def test_every_user_has_an_id_of_their_own_on_every_request() -> None:
    async def two(user: User) -> None:
        await user.get("/a")
        await user.post("/b", form={"x": 1})

    with served(answer()) as server:
        result = run(server.url, two)
    ids = [
        line
        for request in server.requests
        for line in request.split(b"\r\n")
        if line.startswith(b"X-Client-Id: ")
    ]
    assert len(ids) == len(server.requests) == 2 * result.tally.total("offered")
    assert len(set(ids)) == result.tally.total("offered")


def test_a_journey_sees_answers_keeps_cookies_and_is_acknowledged(tmp_path: Path) -> None:
    def shop(peer: socket.socket, path: str, request: bytes) -> None:
        body = b'{"id": 7}' if b"Cookie: session=abc" in request else b"{}"
        head = b"HTTP/1.1 200 OK\r\nSet-Cookie: session=abc; Path=/\r\nContent-Length: %d\r\n\r\n"
        peer.sendall(head % len(body) + body)

    async def shopper(user: User) -> None:
        first = await user.get("/basket", params={"q": "a b"})
        assert first.status == 200 and first.headers["content-length"] == "2"
        order = await user.post("/checkout", json={"item": user.random.randrange(9)})
        user.acknowledge("order", order.json()["id"])

    ack_file = tmp_path / "ack.jsonl"
    with served(shop) as server:
        plan = Attack(server.url, (Choice(shopper),), Constant(40, 0.5), ack_file=ack_file)
        result = attack(plan)
    only(result, "served")
    lines = [json.loads(line) for line in ack_file.read_text().splitlines()]
    assert [line["id"] for line in lines] == [7] * result.tally.total("offered")
    assert any(b"GET /basket?q=a+b " in request for request in server.requests)


def test_a_time_out_closes_the_connection_and_is_retried() -> None:
    def silent(peer: socket.socket, path: str, request: bytes) -> None:
        pass

    with served(silent) as server:
        result = run(server.url, rate=20, retries=2, timeout_s=0.2)
        time.sleep(0.3)
    only(result, "failed")
    line = result.line()
    assert line["attempts"] == line["timeouts"] == 3 * line["offered"]
    assert line["errors"] == {"timeout": line["offered"]}
    assert server.disconnects == line["attempts"]
    assert line["response_ms"]["p50"] >= 600  # three time-outs, from the intended instant


def test_a_retry_that_succeeds_serves_the_user() -> None:
    seen: set[bytes] = set()

    def second_time(peer: socket.socket, path: str, request: bytes) -> None:
        peer.sendall(OK if request in seen else b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
        seen.add(request)

    with served(second_time) as server:
        result = run(server.url, retries=1)
    only(result, "served")
    assert result.tally.total("retries") == result.tally.total("offered")


def refusal(after_s: float, extra: bytes = b"Retry-After: 1\r\n") -> Behave:
    def behave(peer: socket.socket, path: str, request: bytes) -> None:
        time.sleep(after_s)
        peer.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n" + extra + b"\r\n")

    return behave


@pytest.mark.parametrize(
    ("behave", "outcome"),
    [
        (refusal(0.0), "refused"),
        (refusal(0.13), "failed"),
        (refusal(0.0, b""), "failed"),
        (answer(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), "failed"),
    ],
    ids=["at once", "too late", "without Retry-After", "not found"],
)
def test_what_counts_as_refused(behave: Behave, outcome: str) -> None:
    with served(behave) as server:
        result = run(server.url, rate=20)
    only(result, outcome)


def drip(peer: socket.socket, path: str, request: bytes) -> None:
    for byte in OK:
        peer.sendall(bytes([byte]))
        time.sleep(0.02)


def endless_headers(peer: socket.socket, path: str, request: bytes) -> None:
    peer.sendall(b"HTTP/1.1 200 OK\r\n")
    for number in range(100_000):
        peer.sendall(b"X-%d: %s\r\n" % (number, b"x" * 200))


def gigabyte(peer: socket.socket, path: str, request: bytes) -> None:
    peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(1024):
        peer.sendall(b"x" * 1024 * 1024)


def half_closed(peer: socket.socket, path: str, request: bytes) -> None:
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    peer.shutdown(socket.SHUT_WR)


def hang_up(peer: socket.socket, path: str, request: bytes) -> None:
    peer.shutdown(socket.SHUT_RDWR)


HOSTILE: dict[str, tuple[Behave, str]] = {
    "slow drip": (drip, "timeout"),
    "endless headers": (endless_headers, "headers longer than"),
    "a gigabyte": (gigabyte, "a body of more than"),
    "a gigabyte, stated": (
        answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n"),
        "a body of 1073741824 bytes",
    ),
    "half closed": (half_closed, "closed by the server"),
    "hangs up": (hang_up, "broken"),
    "too short": (answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"), "timeout"),
    "redirects in a circle": (
        answer(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"),
        "redirects",
    ),
    "not HTTP": (answer(b"220 mail.example.org ESMTP\r\n"), "not HTTP"),
    "bad chunk": (
        answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        "bad chunk size",
    ),
    "endless interim": (answer(b"HTTP/1.1 100 Continue\r\n\r\n" * 5000), "timeout"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_server_fails_its_users_in_time_and_memory(name: str) -> None:
    behave, why = HOSTILE[name]
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with served(behave) as server:
        began = time.monotonic()
        result = run(server.url, rate=20, timeout_s=0.2, body_bytes_max=1_000_000)
        assert time.monotonic() - began < 3.0
    only(result, "failed")
    assert why in next(iter(result.tally.errors))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 100_000


def test_more_than_was_announced_is_not_taken_for_the_next_answer() -> None:
    with served(answer(OK + b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")) as server:
        result = run(server.url)
    only(result, "served")
    assert server.accepted == result.tally.total("offered")


@pytest.mark.parametrize(
    "pieces",
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n", OK),
        (OK[:37], OK[37:]),  # cut just before the last byte of the head's first line break
        (OK[:38], OK[38:]),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 ", OK[9:]),
    ],
)
def test_answers_in_pieces_are_put_together(pieces: tuple[bytes, bytes]) -> None:
    def piecemeal(peer: socket.socket, path: str, request: bytes) -> None:
        peer.sendall(pieces[0])
        time.sleep(0.005)
        peer.sendall(pieces[1])

    async def thrice(user: User) -> None:
        for _ in range(3):
            page = await user.get("/")
            user.check((page.status, page.text) == (200, "ok"), "the answer itself")

    with served(piecemeal) as server:
        result = run(server.url, thrice)
    only(result, "served")


def test_users_with_their_own_connection_survive_its_closing() -> None:
    async def slow_reader(user: User) -> None:
        await user.get("/")
        await user.think(0.05)
        await user.post("/")

    def once(peer: socket.socket, path: str, request: bytes) -> None:
        peer.sendall(OK)
        peer.shutdown(socket.SHUT_RDWR)

    with served(once) as server:
        result = run(server.url, slow_reader, keep_alive=False)
    only(result, "served")
    assert result.tally.total("retries") == 0


def test_chunked_answers_and_those_that_end_with_the_connection() -> None:
    def odd(peer: socket.socket, path: str, request: bytes) -> None:
        if path == "/chunked":
            head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            for part in (head, b"3\r\nabc\r\n", b"2;x=y\r\nde\r\n0\r\n", b"X: 1\r\n\r\n"):
                peer.sendall(part)
        else:
            peer.sendall(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")
            peer.shutdown(socket.SHUT_WR)

    async def both(user: User) -> None:
        user.check((await user.get("/chunked")).text == "abcde", "chunked body")
        user.check((await user.get("/rest")).text == "until the end", "rest body")

    with served(odd) as server:
        result = run(server.url, both)
    only(result, "served")


def test_tls_garbage_fails_the_handshake() -> None:
    def garbage(peer: socket.socket, path: str, request: bytes) -> None:
        peer.sendall(os.urandom(4096))

    with served(garbage) as server:
        result = run(server.url.replace("http:", "https:"), rate=20)
    only(result, "failed")
    assert all(why.startswith("broken: TLS") for why in result.tally.errors)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make a certificate")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run([*words.split(), *names], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def over_tls(certificate: Path) -> Callable[[socket.socket], socket.socket]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return lambda peer: context.wrap_socket(peer, server_side=True)


def test_tls_with_large_answers_and_a_verified_name(certificate: Path) -> None:
    large = b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000

    async def reader(user: User) -> None:
        user.check(len((await user.get("/")).body) == 300_000, "whole body")
        user.check(len((await user.post("/", body=b"y" * 200_000)).body) == 300_000, "again")

    with served(answer(large), wrap=over_tls(certificate)) as server:
        url = server.url.replace("http://127.0.0.1", "https://localhost")
        plan = Attack(
            url, (Choice(reader),), Constant(30, 0.5), ca_file=f"{certificate}.crt",
            settings=Settings(timeout_s=5.0), lag_p99_ms_max=1e6, cpu_ratio_max=1e6,
        )  # fmt: skip
        only(attack(plan), "served")
        strangers = attack(replace(plan, ca_file=None, settings=Settings(retries=0)))
    only(strangers, "failed")
    assert next(iter(strangers.tally.errors)) == "broken: TLS CERTIFICATE_VERIFY_FAILED"


def test_an_upload_goes_on_when_the_server_reads_slowly() -> None:
    sizes: list[int] = []

    def slow(peer: socket.socket, path: str, request: bytes) -> None:
        read = len(request)
        while read < 3_000_000:
            time.sleep(0.001)
            read += len(peer.recv(200_000))
        sizes.append(read)
        peer.sendall(OK)

    async def sender(user: User) -> None:
        await user.post("/", body=b"z" * 3_000_000)

    with served(slow) as server:
        result = run(server.url, sender, rate=20, timeout_s=10.0)
    only(result, "served")
    assert all(3_000_000 < size < 3_001_000 for size in sizes)


def test_a_crowd_is_always_present() -> None:
    def slow(peer: socket.socket, path: str, request: bytes) -> None:
        time.sleep(0.02)
        peer.sendall(OK)

    with served(slow) as server:
        plan = Attack(server.url, (Choice(one),), Constant(0, 0.6), crowd=7, lag_p99_ms_max=1e6)
        result = attack(plan)
    only(result, "served")
    assert server.accepted == 7
    assert result.tally.total("offered") > 70  # 7 users, 0.6 s, 20 ms each: 210 at most


def test_a_connection_that_went_stale_is_replaced_without_failing_anyone() -> None:
    def once(peer: socket.socket, path: str, request: bytes) -> None:
        peer.sendall(OK)
        time.sleep(0.01)
        peer.shutdown(socket.SHUT_RDWR)

    with served(once) as server:
        result = run(server.url, rate=100)
    only(result, "served")
    assert result.tally.total("retries") == 0


@pytest.mark.slow
def test_the_knee_of_a_real_site_is_found() -> None:
    lock = threading.Lock()

    def serial(peer: socket.socket, path: str, request: bytes) -> None:
        with lock:
            time.sleep(0.01)
        peer.sendall(OK)

    with served(serial) as server:
        plan = Attack(
            server.url, (Choice(one),), Constant(0, 0), settings=Settings(retries=0),
            lag_p99_ms_max=1e6, cpu_ratio_max=1e6,
        )  # fmt: skip
        bars = Bars(precision=0.15, start_per_s=20.0, short_s=1.0, full_s=2.0, full_s_max=3.0)
        knee = find_knee(plan, bars, slow_ms=300.0, levels=lambda: {"lock": 0.9})
    assert knee.users_per_s is not None, knee.reason
    # one at a time, a little over 10 ms each: 98/s, and trials of 3 s see no more than 20 % over
    assert 70.0 < knee.users_per_s < 130.0
    assert knee.trials[-1].levels == {"lock": 0.9}


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    result = run(f"http://127.0.0.1:{port}", retries=1)
    only(result, "failed")
    assert result.tally.errors == {"broken: ECONNREFUSED": result.tally.total("offered")}


def test_of_several_addresses_the_one_that_answers_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        closed = sock.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as sock:
        ports = (closed, sock.getsockname()[1])
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", p)) for p in ports]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **more: found)
        assert resolve("http://two").sockaddr == ("127.0.0.1", ports[1])


def test_a_name_that_does_not_resolve_says_so() -> None:
    with pytest.raises(Unreachable, match=r"nowhere\.invalid"):
        run("http://nowhere.invalid:1")


def test_few_connections_are_waited_for_and_the_wait_is_measured() -> None:
    def slow(peer: socket.socket, path: str, request: bytes) -> None:
        time.sleep(0.02)
        peer.sendall(OK)

    with served(slow) as server:
        result = run(server.url, rate=80, connections_max=2, timeout_s=5.0)
    only(result, "served")
    assert server.accepted <= 2
    assert result.tally.wait.total > 0


def test_too_many_users_are_said_not_dropped() -> None:
    with served(lambda peer, path, request: None) as server:
        result = run(server.url, rate=100, users_in_flight_max=3, timeout_s=0.2)
    found = totals(result)
    assert found["not_started"] > 0
    assert "users in flight" in " ".join(result.reasons)


def test_a_journey_that_errs_fails_its_user_and_says_why() -> None:
    async def brittle(user: User) -> None:
        (await user.get("/")).json()["missing"]

    with served(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")) as server:
        result = run(server.url, brittle)
    only(result, "failed")
    assert "KeyError" in next(iter(result.tally.errors))


def test_users_on_their_way_at_the_end_are_counted_as_unfinished() -> None:
    async def dawdler(user: User) -> None:
        await user.get("/")
        await user.think(60.0)

    with served(answer()) as server:
        result = run(server.url, dawdler, drain_s=0.2)
    only(result, "unfinished")
    assert not result.valid


def test_a_late_generator_is_not_believed() -> None:
    async def busy(user: User) -> None:
        time.sleep(0.03)  # noqa: ASYNC251 - the journey that hogs the generator
        await user.get("/")

    with served(answer()) as server:
        plan = Attack(server.url, (Choice(busy),), Constant(100, 0.5))
        result = attack(plan)
    assert not result.valid
    assert "late" in result.reasons[0]
    generous = attack(replace(plan, base_url="http://127.0.0.1:9", lag_p99_ms_max=1e6))
    assert generous.valid


def spec_file(folder: Path, url: str, **more: object) -> Path:
    spec = {
        "base_url": url,
        "journey": "/",
        "pace": [{"kind": "constant", "rate": 50, "seconds": 1.5}],
        "lag_p99_ms_max": 1000,
        **more,
    }
    path = folder / "spec.json"
    path.write_text(json.dumps(spec))
    return path


def command(path: Path) -> list[str]:
    return [sys.executable, "-m", "premortem.load.attack", "--spec", str(path)]


def test_as_a_process_it_prints_a_row_a_second_and_a_final_line(tmp_path: Path) -> None:
    start_at = time.time() + 0.5
    with served(answer()) as server:
        done = subprocess.run(
            command(spec_file(tmp_path, server.url, start_at=start_at)),
            capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
    *rows, final = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (0, "")
    assert [row["second"] for row in rows] == [0, 1]
    assert sum(row["offered"] for row in rows) == final["offered"] == final["served"]
    assert rows[0]["at"] == pytest.approx(start_at, abs=0.1)
    assert sum(row["served"] for row in final["arrived"]) == final["served"]


def test_as_a_process_it_stops_cleanly_when_told(tmp_path: Path) -> None:
    pace = [{"kind": "constant", "rate": 50, "seconds": 60}]
    with served(answer()) as server:
        path = spec_file(tmp_path, server.url, pace=pace)
        process = subprocess.Popen(command(path), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=5)
    final = json.loads(out.splitlines()[-1])
    assert (process.returncode, err) == (1, b"")
    assert final["final"] and final["reason"] == "the run was stopped"


def test_several_processes_send_the_schedule_of_one(tmp_path: Path) -> None:
    instants = list(arrivals(Constant(80, 1.5), 3))
    rows: list[Second] = []
    with served(answer()) as server:
        plan = Attack(
            server.url, (Choice(one),), Constant(80, 1.5), seed=3, lag_p99_ms_max=1e6,
            cpu_ratio_max=1e6, ack_file=tmp_path / "acks",
        )  # fmt: skip
        result = attack_many(plan, 3, rows.append)
    only(result, "served")
    assert result.tally.total("offered") == len(instants)
    per_second = [sum(int(at_s) == second for at_s in instants) for second in (0, 1)]
    assert [row["offered"] for row in result.line()["arrived"]] == per_second
    assert [row.offered for row in rows] == per_second
    assert sum(row.served for row in rows) == result.tally.response().total == len(instants)
    assert result.tally.lag.total == len(instants)


def test_several_processes_stop_when_told(tmp_path: Path) -> None:
    pace = [{"kind": "constant", "rate": 50, "seconds": 60}]
    with served(answer()) as server:
        path = spec_file(tmp_path, server.url, pace=pace, processes=2)
        process = subprocess.Popen(command(path), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        out, err = process.communicate(timeout=5)
    assert (process.returncode, err) == (1, b"")
    assert json.loads(out.splitlines()[-1])["reason"] == "the run was stopped"


@pytest.mark.parametrize(
    ("change", "words", "code"),
    [
        ({"pace": [{"kind": "wave"}]}, "unknown kind 'wave'", 2),
        ({"journey": "nowhere.module:f"}, "cannot import 'nowhere", 2),
        ({"speed": 3}, "unknown keys: speed", 2),
        ({"timeout_ms": -1}, "timeout_ms must be", 2),
        ({"processes": 0}, "processes must be", 2),
        ({"base_url": "ftp://x"}, "not a URL that can be attacked", 3),
    ],
)
def test_a_bad_spec_is_one_line(
    tmp_path: Path, change: dict[str, object], words: str, code: int
) -> None:
    path = spec_file(tmp_path, "http://127.0.0.1:9")
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    done = subprocess.run(command(path), capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == code
    assert words in done.stderr and done.stderr.count("\n") == 1
