"""The drill as a person runs it: whole, interrupted, killed, twice at once, with bad input."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.real

COMMAND = [str(Path(sys.executable).parent / "premortem"), "drill"]
SPEED = "5"
"""The seeds' 150 minutes in 30 s: enough for every phase, half the time of the real drill."""


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A folder for temporary files that the database's unprivileged user may pass through."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() != "root" or folder == Path("/"):
            continue
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(0o755)
    found = tmp_path / "tmp"
    found.mkdir()
    return found


def environment(scratch: Path) -> dict[str, str]:
    """No PostgreSQL in PATH, temporary files where the test can see them."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "LC_ALL": "C.UTF-8",
    }


def start(scratch: Path, *argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *argv], text=True, env=environment(scratch), cwd=scratch,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def wait_for_servers(drill: subprocess.Popen[str]) -> list[psutil.Process]:
    """Until the database and the site run; what runs then."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert drill.poll() is None, drill.stderr and drill.stderr.read()
        found = descendants(drill.pid)
        if any("premortem.load.attack" in " ".join(cmdline(p)) for p in found):
            return found
        time.sleep(0.1)
    pytest.fail("the servers did not start within 60 s")


def cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def all_gone(processes: list[psutil.Process]) -> list[str]:
    """What still runs 20 s later, by command line."""
    _, alive = psutil.wait_procs(processes, timeout=20)
    return [" ".join(cmdline(p)) for p in alive if p.status() != psutil.STATUS_ZOMBIE]


def left_behind(scratch: Path) -> list[str]:
    """Temporary folders that are still there, given the leash a moment."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = [p.name for p in scratch.glob("premortem-??????*") if "drill" not in p.name]
        if not found:
            return []
        time.sleep(0.1)
    return found


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One whole drill of the shop, at twice the usual speed."""
    base = tmp_path_factory.mktemp("drill")
    for folder in (base, base.parent, base.parent.parent):
        folder.chmod(0o755)
    (base / "tmp").mkdir()
    where = base / "out"
    drill = start(
        base / "tmp",
        "shop",
        "--speed",
        SPEED,
        "--folder",
        str(where),
        "--json",
        str(base / "r.json"),
    )
    out, err = drill.communicate(timeout=400)
    assert drill.returncode == 0, out + err
    assert left_behind(base / "tmp") == []
    yield where


@pytest.mark.slow
def test_the_outage_happens_and_then_does_not(played: Path) -> None:
    result = json.loads((played / "result.json").read_text())
    assert json.loads((played.parent / "r.json").read_text()) == result, "--json wrote another"
    happened, protected = result["runs"]
    assert happened["users_failed_share_in_surge"] >= 0.8  # a shorter hold than the drill's own
    assert happened["recovered_s"] is None
    assert happened["restarts"] == 1
    assert protected["tier"] == "database"
    assert {"network", "web"} <= set(protected["ruled_out"])
    assert protected["users_failed_share_in_surge"] <= 0.02
    assert protected["restarts"] == 0
    assert protected["recovered_s"] is not None
    assert happened["writes_lost"] == protected["writes_lost"] == 0
    assert protected["writes_acknowledged"] > happened["writes_acknowledged"]


@pytest.mark.slow
def test_everything_is_written(played: Path) -> None:
    names = {p.name for p in played.iterdir()}
    wanted = {"report.html", "result.json", "recording-a.jsonl", "recording-b.jsonl"}
    assert wanted | {"postmortem-a.md", "postmortem-b.md"} <= names
    order = ["## Issue Summary", "## Timeline", "## Root Cause and Resolution"]
    order += ["## Corrective and Preventative Measures", "### List of tasks"]
    for letter in "ab":
        text = (played / f"postmortem-{letter}.md").read_text()
        places = [text.index(heading) for heading in order]
        assert places == sorted(places)


@pytest.mark.slow
@pytest.mark.parametrize("letter", ["a", "b"])
def test_the_recording_alone_names_the_database(played: Path, letter: str) -> None:
    found = subprocess.run(
        [COMMAND[0], "diagnose", "--json", "--recording", played / f"recording-{letter}.jsonl"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    told = json.loads(found.stdout)
    assert told["tier"] == "database"
    assert {"network", "web"} <= set(told["ruled_out"])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing(scratch: Path, number: signal.Signals) -> None:
    drill = start(scratch, "game", "--folder", str(scratch / "premortem-drill-out"))
    running = wait_for_servers(drill)
    drill.send_signal(number)
    _, err = drill.communicate(timeout=40)
    assert drill.returncode == 130
    assert err.strip().count("\n") == 0
    assert all_gone(running) == []
    assert left_behind(scratch) == []


@pytest.mark.slow
def test_killed_it_leaves_nothing(scratch: Path) -> None:
    drill = start(scratch, "shop", "--folder", str(scratch / "premortem-drill-out"))
    running = wait_for_servers(drill)
    drill.kill()
    drill.communicate()
    assert all_gone(running) == []
    assert left_behind(scratch) == []


def test_a_taken_port_gets_one_line(scratch: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        drill = start(
            scratch, "shop", "--port", port, "--folder", str(scratch / "premortem-drill-out")
        )
        _, err = drill.communicate(timeout=60)
    assert drill.returncode == 3
    assert err.strip().count("\n") == 0
    assert port in err
    assert left_behind(scratch) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_no_space_gets_one_line(scratch: Path) -> None:
    small = scratch / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m,mode=755", "tmpfs", small], check=True)
    try:
        drill = subprocess.Popen(
            [*COMMAND, "shop", "--folder", str(scratch / "premortem-drill-out")], text=True,
            env={**environment(scratch), "TMPDIR": str(small)}, stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        _, err = drill.communicate(timeout=60)
    finally:
        subprocess.run(["umount", small], check=True)
    assert drill.returncode == 3
    assert "free" in err
    assert err.strip().count("\n") == 0


@pytest.fixture
def locked(scratch: Path) -> Iterator[Path]:
    """A folder nobody may write to, not even root."""
    found = scratch / "locked"
    found.mkdir(mode=0o500)
    if os.geteuid() != 0:
        yield found
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", found], check=True)
    yield found
    subprocess.run(["umount", found], check=True)


def test_no_permission_gets_one_line(scratch: Path, locked: Path) -> None:
    drill = start(scratch, "shop", "--folder", str(locked / "out"))
    _, err = drill.communicate(timeout=30)
    assert drill.returncode == 2
    assert "Permission denied" in err or "Read-only file system" in err
    assert err.strip().count("\n") == 0


def diagnose(*argv: str) -> subprocess.CompletedProcess[str]:
    command = [COMMAND[0], "diagnose", *argv, "--seconds", "3"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_database_that_refuses_is_told() -> None:
    found = diagnose("--dsn", "host=127.0.0.1 port=1 user=nobody dbname=x")
    assert found.returncode == 3
    assert "refused" in found.stdout + found.stderr
    assert "Traceback" not in found.stderr


def test_a_name_that_does_not_resolve_is_told() -> None:
    found = diagnose("--url", "http://no-such-host.invalid/")
    assert found.returncode == 3
    assert "dns" in (found.stdout + found.stderr).lower()
    assert "Traceback" not in found.stderr
