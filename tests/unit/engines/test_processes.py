"""Starting programs: group, user, cores, log, end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from premortem.engines import _leash_child
from premortem.engines.errors import EngineError
from premortem.engines.leash import Leash
from premortem.engines.processes import (
    Spawned,
    User,
    free_port,
    pin,
    reachable,
    spawn,
    unprivileged_user,
)

ROOT = os.geteuid() == 0


async def said(program: Spawned) -> str:
    """What the program printed, as soon as it printed anything."""
    for _ in range(500):
        if text := program.log_tail():
            return text
        await asyncio.sleep(0.01)
    raise AssertionError("it printed nothing within 5 s")


async def test_output_goes_to_the_log_and_the_group_is_its_own(tmp_path: Path) -> None:
    code = "import os; print('pgid', os.getpgid(0) == os.getpid())"
    program = await spawn([sys.executable, "-c", code], log=tmp_path / "log", leash=None)
    await program.process.wait()
    assert program.log_tail() == "pgid True"
    assert not program.alive


async def test_log_tail_is_the_last_lines_only(tmp_path: Path) -> None:
    code = "for i in range(5000): print('line', i)"
    program = await spawn([sys.executable, "-c", code], log=tmp_path / "log", leash=None)
    await program.process.wait()
    assert program.log_tail(2) == "line 4998\nline 4999"


async def test_end_reaches_the_whole_group(tmp_path: Path) -> None:
    code = (
        "import subprocess; p = subprocess.Popen(['sleep', '60']);"
        " print(p.pid, flush=True); p.wait()"
    )
    program = await spawn([sys.executable, "-c", code], log=tmp_path / "log", leash=None)
    child = int(await said(program))
    await program.end(grace_s=1.0)
    assert program.process.returncode == -signal.SIGTERM
    assert _leash_child.start_of(child) is None


async def test_end_kills_what_ignores_the_signal(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(15, 1); print('up', flush=True); time.sleep(60)"
    with Leash() as leash:
        program = await spawn([sys.executable, "-c", code], log=tmp_path / "log", leash=leash)
        await said(program)
        await program.end(grace_s=0.1)
    assert program.process.returncode == -signal.SIGKILL


async def test_a_missing_program_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"^cannot start nothing-here: No such file"):
        await spawn([str(tmp_path / "nothing-here")], log=tmp_path / "log", leash=None)


async def test_a_log_in_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"^cannot start true: No such file"):
        await spawn(["true"], log=tmp_path / "no" / "log", leash=None)


def test_a_free_port_can_be_bound() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", free_port()))


def test_pinning_says_whether_it_worked() -> None:
    assert pin(os.getpid(), None) is False
    assert pin(os.getpid(), [4096]) is False


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin")
async def test_a_program_keeps_to_its_cores(tmp_path: Path) -> None:
    core = min(os.sched_getaffinity(0))
    program = await spawn(["sleep", "60"], log=tmp_path / "log", leash=None, cpus=[core])
    try:
        assert program.pinned
        assert os.sched_getaffinity(program.pid) == {core}
    finally:
        await program.end()


def test_who_is_not_root_runs_servers_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert unprivileged_user() is None


def test_root_runs_servers_as_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    user = unprivileged_user()
    assert user is not None
    assert user.uid > 0


def test_reachable_looks_at_every_folder_on_the_way(tmp_path: Path) -> None:
    file = tmp_path / "closed" / "file"
    file.parent.mkdir(mode=0o700)
    file.touch(0o755)
    nobody = User(54_321, 54_321, "nobody")
    assert not reachable(file, nobody)
    assert reachable(file, None)
    assert reachable(Path("/"), nobody)


@pytest.mark.skipif(not ROOT, reason="only root may become somebody else")
async def test_root_becomes_the_user(tmp_path: Path) -> None:
    user = unprivileged_user()
    assert user is not None
    program = await spawn(["id", "-u"], log=tmp_path / "log", leash=None, user=user)
    await program.process.wait()
    assert program.log_tail() == str(user.uid)
