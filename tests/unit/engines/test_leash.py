"""The leash: it ends what it holds when its owner goes, and only that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from premortem.engines import _leash_child
from premortem.engines.errors import EngineError
from premortem.engines.leash import Leash

OWNER = """
import subprocess, sys, time
from pathlib import Path
from premortem.engines.leash import Leash
leash = Leash().__enter__()
server = subprocess.Popen(["sleep", "60"], process_group=0)
leash.hold_process(server.pid)
leash.hold_folder(Path(sys.argv[1]))
print(server.pid, flush=True)
time.sleep(60)
"""


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"], process_group=0)


def lives(pid: int) -> bool:
    return _leash_child.start_of(pid) is not None


def gone_within(seconds: float, *, pid: int) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not lives(pid):
            return True
        time.sleep(0.02)
    return False


WRITER = """
import sys, time
from pathlib import Path
folder, began, i = Path(sys.argv[1]), time.monotonic(), 0
while time.monotonic() - began < 0.5:
    i += 1
    try:
        (folder / str(i)).touch()
    except FileNotFoundError:
        break
    Path(sys.argv[2]).touch()
"""


def test_leaving_the_block_ends_what_is_held_and_removes_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    server = sleeper()
    with Leash() as leash:
        leash.hold_process(server.pid)
        leash.hold_folder(folder)
    assert server.wait(1) == -signal.SIGTERM
    assert not folder.exists()


def test_nothing_survives_a_killed_owner(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    argv = [sys.executable, "-c", OWNER, str(folder)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert lives(pid)
        owner.kill()
    assert gone_within(5, pid=pid)
    deadline = time.monotonic() + 5
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not folder.exists()


def test_what_was_released_stays(tmp_path: Path) -> None:
    server = sleeper()
    try:
        with Leash() as leash:
            leash.hold_process(server.pid)
            leash.hold_folder(tmp_path)
            leash.release(server.pid)
            leash.release(tmp_path)
        assert server.poll() is None
        assert tmp_path.exists()
    finally:
        server.kill()
        server.wait()


def test_the_fast_signal_is_the_one_asked_for() -> None:
    before = signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # ignored where a shell said "&"
    try:
        server = sleeper()
    finally:
        signal.signal(signal.SIGQUIT, before)
    with Leash() as leash:
        leash.hold_process(server.pid, signal.SIGQUIT)
    assert server.wait(1) == -signal.SIGQUIT


def test_a_process_that_ignores_its_signal_is_killed() -> None:
    code = "import signal, time; signal.signal(15, 1); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=-1, process_group=0) as server:
        assert server.stdout is not None
        server.stdout.readline()
        start = _leash_child.start_of(server.pid)
        assert start is not None
        _leash_child.end({server.pid: (start, signal.SIGTERM)}, grace_s=0.1)
        assert server.wait(1) == -signal.SIGKILL


def test_a_reused_number_is_left_alone() -> None:
    server = sleeper()
    try:
        _leash_child.end({server.pid: ("another start", signal.SIGTERM)}, grace_s=0.1)
        assert server.poll() is None
    finally:
        server.kill()
        server.wait()


def test_descendants_with_sessions_of_their_own_belong_to_the_family() -> None:
    living = {
        10: (1, 10, "a"),
        11: (10, 11, "b"),  # as PostgreSQL's backends: own session, own group
        12: (11, 11, "c"),
        13: (1, 10, "d"),  # an orphan of the group
        20: (1, 20, "e"),
    }
    assert _leash_child.family(10, "a", living) == {10: "a", 11: "b", 12: "c", 13: "d"}
    assert _leash_child.family(10, "z", living) == {}


def test_a_folder_that_was_replaced_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    _leash_child.remove(str(folder), folder.stat().st_ino + 1)
    assert folder.exists()


def test_a_folder_somebody_still_writes_into_goes_too(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    ready = tmp_path / "ready"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(folder), str(ready)])
    try:
        while not ready.exists():
            time.sleep(0.01)
        _leash_child.remove(str(folder), folder.stat().st_ino)
        assert not folder.exists()
    finally:
        writer.kill()
        writer.wait()


@pytest.mark.parametrize("path", [Path("/"), Path.home()])
def test_root_and_home_are_never_held(path: Path) -> None:
    with Leash() as leash, pytest.raises(NotADirectoryError):
        leash.hold_folder(path)


def test_a_closed_leash_says_so() -> None:
    with Leash() as leash:
        pass
    with pytest.raises(EngineError, match="leash is closed"):
        leash.hold_process(os.getpid())


def test_a_killed_leash_is_noticed(tmp_path: Path) -> None:
    with Leash() as leash:
        assert leash._child is not None
        leash._child.kill()
        leash._child.wait()
        with pytest.raises(EngineError, match="was killed"):
            leash.hold_folder(tmp_path)
