"""One attack from several machines: agents behind a shell, and behind a real sshd on loopback."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from premortem.load.agents import AgentFailed, attack_on_agents, ssh_command
from premortem.load.attack import attack
from premortem.load.journey import Choice, Plain
from premortem.load.pace import Constant, arrivals
from premortem.load.requests import Settings
from premortem.load.spec import Attack, choices_from
from premortem.load.stats import Second
from tests.real._site import Server, answer, only, served

pytestmark = pytest.mark.real

AGENT = f'{sys.executable} -c \'import premortem.app.cli as c; c.main(["load", "agent"])\''
SHELL = ["sh", "-c", AGENT]
TOML = """
[feeds]
item = "items.csv"
[[journey]]
[[journey.step]]
get = "/item/{item.id}"
name = "item"
"""


def plan_for(server: Server, rate: float = 60, seconds: float = 1.5) -> Attack:
    return Attack(
        server.url, (Choice(Plain("/", name="/")),), Constant(rate, seconds), seed=4,
        settings=Settings(timeout_s=10.0), lag_p99_ms_max=1e6, cpu_ratio_max=1e6,
    )  # fmt: skip


def test_agents_send_the_schedule_of_one_and_merge_exactly() -> None:
    instants = list(arrivals(Constant(60, 1.5), 4))
    rows: list[Second] = []
    with served(answer()) as server:
        result = attack_on_agents(plan_for(server), "/", [SHELL, SHELL], rows.append, processes=2)
        alone = attack(plan_for(server))
    only(result, "served")
    assert result.valid, result.reasons
    count = len(instants)
    line, other = result.line(), alone.line()
    assert line["offered"] == line["attempts"] == other["offered"] == count
    assert result.tally.response().total == result.tally.lag.total == count
    assert [row["offered"] for row in line["arrived"]][:2] == [
        row["offered"] for row in other["arrived"]
    ][:2]
    assert sum(row.served for row in rows) == sum(row.response.total for row in rows) == count


def test_journeys_and_their_feeds_are_sent_along(tmp_path: Path) -> None:
    journey = tmp_path / "shop.toml"
    journey.write_text(TOML)
    (tmp_path / "items.csv").write_text("id\n7\n8\n")
    with served(answer()) as server:
        plan = Attack(server.url, choices_from(str(journey)), Constant(40, 0.5), lag_p99_ms_max=1e6)
        result = attack_on_agents(plan, str(journey), [SHELL])
    only(result, "served")
    assert {request.split(b" ")[1] for request in server.requests} == {b"/item/7", b"/item/8"}
    assert set(result.tally.names) == {"item"}


@pytest.mark.parametrize(
    ("command", "journey", "words"),
    [
        (["sh", "-c", "echo no such command >&2; exit 127"], "/", "no such command"),
        (["/nowhere/agent"], "/", "No such file"),
        (["echo", "hello"], "/", "it said nothing"),
        (SHELL, "nowhere.module:f", "cannot import 'nowhere"),
    ],
)
def test_an_agent_that_cannot_says_why(command: list[str], journey: str, words: str) -> None:
    plan = Attack("http://127.0.0.1:9", (Choice(Plain("/")),), Constant(10, 0.5))
    with pytest.raises(AgentFailed, match=words):
        attack_on_agents(plan, journey, [command])


def test_an_agent_that_dies_makes_the_result_invalid(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    mortal = ["sh", "-c", f"echo $$ > {shlex.quote(str(pid_file))}; TMPDIR={tmp_path} exec {AGENT}"]
    with served(answer()) as server:

        def soon(end: object) -> None:  # called once all are ready
            os.kill(int(pid_file.read_text()), 9)

        result = attack_on_agents(plan_for(server, 30, 2.0), "/", [SHELL, mortal], None, soon)
    assert not result.valid
    assert any(reason.startswith("agent lost: sh -c") for reason in result.reasons)


def test_agents_stop_when_told_and_keep_what_they_have() -> None:
    ends = []
    rows: list[Second] = []

    def show(row: Second) -> None:
        rows.append(row)
        ends[0]()

    with served(answer()) as server:
        began = time.monotonic()
        result = attack_on_agents(plan_for(server, 30, 60.0), "/", [SHELL], show, ends.append)
    assert time.monotonic() - began < 30.0
    assert result.stopped
    assert any("the run was stopped" in reason for reason in result.reasons)
    assert result.tally.total("served") > 0


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[list[str]]:
    """Options of ``ssh`` to reach an sshd of our own on loopback, with keys of its own."""
    binary = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if binary is None or shutil.which("ssh-keygen") is None:
        pytest.skip("needs sshd: apt-get install openssh-server")
    home = tmp_path / "ssh"
    home.mkdir(mode=0o700)
    for name in ("host", "user"):
        key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / name)]
        subprocess.run(key, check=True)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    options = {
        "Port": port, "ListenAddress": "127.0.0.1", "HostKey": home / "host", "UsePAM": "no",
        "AuthorizedKeysFile": home / "user.pub", "PidFile": home / "pid", "StrictModes": "no",
        "PasswordAuthentication": "no", "PermitRootLogin": "prohibit-password",
    }  # fmt: skip
    (home / "config").write_text("".join(f"{key} {value}\n" for key, value in options.items()))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd as root locks itself in
    with (home / "log").open("wb") as log:
        server = subprocess.Popen([binary, "-D", "-e", "-f", str(home / "config")], stderr=log)
    try:
        end = time.monotonic() + 10.0
        while time.monotonic() < end:
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield ["-p", str(port), "-i", str(home / "user"), "-o", "StrictHostKeyChecking=no",
               "-o", f"UserKnownHostsFile={home / 'known'}", "-F", "/dev/null"]  # fmt: skip
    finally:
        server.terminate()
        server.wait()


def test_agents_over_ssh(sshd: list[str]) -> None:
    ssh, *rest = ssh_command("127.0.0.1", AGENT)
    command = [ssh, *sshd, *rest]
    with served(answer()) as server:
        result = attack_on_agents(plan_for(server), "/", [command, command])
    only(result, "served")
    assert result.valid, result.reasons
    assert result.line()["offered"] == len(list(arrivals(Constant(60, 1.5), 4)))


@pytest.mark.parametrize("host", ["", "-oProxyCommand=x", "a b"])
def test_a_host_is_a_host(host: str) -> None:
    with pytest.raises(ValueError, match="not a host"):
        ssh_command(host)
