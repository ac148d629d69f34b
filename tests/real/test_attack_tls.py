"""TLS: handshakes that fail, records of every size."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from premortem.load.attack import Attack, attack
from premortem.load.journey import Choice, Plain, User
from premortem.load.pace import Constant
from premortem.load.requests import Settings
from tests.real._site import answer, only, run, served

pytestmark = pytest.mark.real


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


@pytest.mark.parametrize("size", [3_000, 10_000, 16_384, 40_000])
def test_the_end_of_a_record_is_not_left_lying(certificate: Path, size: int) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    with served(answer(head + b"x" * size), wrap=over_tls(certificate)) as server:
        url = server.url.replace("http://127.0.0.1", "https://localhost")
        plan = Attack(
            url, (Choice(Plain("/")),), Constant(30, 0.3), ca_file=f"{certificate}.crt",
            settings=Settings(timeout_s=3.0, retries=0), lag_p99_ms_max=1e6, cpu_ratio_max=1e6,
        )  # fmt: skip
        only(attack(plan), "served")
