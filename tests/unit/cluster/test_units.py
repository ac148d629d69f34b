"""Processes found again by their words, servers by their folder, with `sleep` in their place."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from premortem.cluster.acts import Acts
from premortem.cluster.steps import Step
from premortem.cluster.units import Proc, Unit, adopt, kill_all, postmaster, remains, spawn
from premortem.engines.errors import EngineError

SLEEP = shutil.which("sleep") or "/bin/sleep"


def unit(folder: Path, name: str = "u", argv: tuple[str, ...] = (SLEEP, "31.5")) -> Unit:
    return Unit(name, "etcd", "node1", argv, {"PATH": "/bin"}, None, folder / f"{name}.log")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process named postgres whose working directory is the data folder."""
    data = tmp_path / "data"
    data.mkdir()
    program = tmp_path / "postgres"
    program.symlink_to(SLEEP)
    child = subprocess.Popen([str(program), "32.5"], cwd=data)
    (data / "postmaster.pid").write_text(f"{child.pid}\n{data}\n")
    yield child
    child.kill()
    child.wait()


def soon(what: Callable[[], object]) -> bool:
    end = time.monotonic() + 5.0
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.01)
    return False


def test_what_was_started_is_found_again_by_its_words(tmp_path: Path) -> None:
    mine = unit(tmp_path, argv=(SLEEP, "31.25"))
    proc = spawn(mine)
    try:
        assert proc.alive()
        assert soon(lambda: adopt([mine]))
        found = adopt([mine, unit(tmp_path, "other", (SLEEP, "31.75"))])
        assert {name: p.pid for name, p in found.items()} == {"u": proc.pid}
    finally:
        proc.signal(signal.SIGKILL)
    assert soon(lambda: not proc.alive())
    assert adopt([mine]) == {}


def test_somebody_who_names_our_file_is_not_taken_for_us(tmp_path: Path) -> None:
    mine = unit(tmp_path, argv=("/usr/bin/etcd", "--config-file", str(tmp_path / "etcd.yml")))
    code = "import time; time.sleep(30)"
    child = subprocess.Popen([sys.executable, "-c", code, *mine.argv])
    try:
        assert adopt([mine]) == {}
    finally:
        child.kill()
        child.wait()


def test_a_reused_number_is_not_our_process(tmp_path: Path) -> None:
    me = psutil.Process()
    assert Proc(me.pid, me.create_time()).alive()
    assert not Proc(me.pid, me.create_time() - 5.0).alive()


def test_a_program_that_is_missing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot start u"):
        spawn(unit(tmp_path, argv=(str(tmp_path / "none"),)))


def test_a_server_is_found_by_its_folder(tmp_path: Path, server: subprocess.Popen[bytes]) -> None:
    data = tmp_path / "data"
    assert postmaster(data) == server.pid
    assert [p.pid for p in remains(data)] == [server.pid]
    assert remains(tmp_path / "dat") == []
    assert kill_all(remains(data)) == []
    assert postmaster(data) is None
    assert remains(data) == []


def test_a_stale_pid_file_is_no_server(tmp_path: Path) -> None:
    (tmp_path / "postmaster.pid").write_text(f"{os.getpid()}\n")
    assert postmaster(tmp_path) is None
    (tmp_path / "postmaster.pid").write_text("nonsense")
    assert postmaster(tmp_path) is None


class State:
    """The little of a state that fencing needs."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self.topology = self

    def node(self, name: str) -> State:
        return self

    name = "node1"

    def data(self, node: object) -> Path:
        return self._data


async def test_verify_dead_sees_a_server_that_lives(
    tmp_path: Path, server: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("premortem.cluster.acts.units", lambda *_: [])

    async def start(node: str) -> None: ...

    acts = Acts(State(tmp_path / "data"), start, lambda _: None)  # type: ignore[arg-type]
    assert not (await acts.perform(Step("verify_dead", "node1"))).ok
    assert (await acts.perform(Step("kill", "node1"))).ok
    assert (await acts.perform(Step("verify_dead", "node1"))).ok


def test_what_may_yet_start_a_server_remains_too(tmp_path: Path) -> None:
    """Patroni's helper neither works in the data folder nor names it: it carries our mark."""
    data = tmp_path / "data"
    code = "import time; time.sleep(30)"
    children = [
        subprocess.Popen([sys.executable, "-c", code], env={"PREMORTEM_DATA": str(place)})
        for place in (data, tmp_path / "another")
    ]
    try:
        assert soon(lambda: [p.pid for p in remains(data)] == [children[0].pid])
    finally:
        for child in children:
            child.kill()
            child.wait()
