"""The cluster's drills as a person runs them: whole, interrupted, killed. Nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from premortem.drills.cluster_hosts import may_not
from premortem.engines import pgbouncer

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif(pgbouncer.find() is None, reason="PgBouncer is not installed"),
]

COMMAND = [str(Path(sys.executable).parent / "premortem"), "drill"]
WITHIN_S = 240.0
FILES = {"report.html", "result.json", "recording.jsonl", "events.jsonl", "postmortem.md"}


def folders_of(drill: subprocess.Popen[str]) -> tuple[Path, Path]:
    """The drill's own folder and that of its cluster's sockets."""
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline and drill.poll() is None:
        for child in psutil.Process(drill.pid).children():
            words = words_of(child)
            memory = Path(words[-1]) / "cluster" / "cluster.json" if words else Path()
            if any("cluster_guard" in word for word in words) and memory.exists():
                return Path(words[-1]), Path(json.loads(memory.read_text())["run"])
        time.sleep(0.1)
    raise AssertionError("the drill made no cluster")


def words_of(process: psutil.Process) -> list[str]:
    """Its command line; none of one that has ended."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def left_of(folders: tuple[Path, Path]) -> list[str]:
    """Processes and folders of this drill's cluster that are there now."""
    found = [str(folder) for folder in folders if folder.exists()]
    lines = [" ".join(words_of(p)) for p in psutil.process_iter()]
    return found + [line for line in lines if str(folders[0]) in line]


def gone(folders: tuple[Path, Path]) -> None:
    """Everything, within the time that a loaded machine takes to destroy a cluster."""
    deadline = time.monotonic() + 60.0
    while (left := left_of(folders)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left


@contextmanager
def started(*argv: str) -> Iterator[subprocess.Popen[str]]:
    """A drill that is ended, whatever the test says of it."""
    drill = subprocess.Popen(
        [*COMMAND, *argv, "--cluster"], text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        yield drill
    finally:
        if drill.poll() is None:
            drill.terminate()
            drill.communicate(timeout=WITHIN_S)


def whole(tmp_path: Path, *argv: str) -> tuple[int, dict[str, Any]]:
    out = tmp_path / "out"
    with started(*argv, "--folder", str(out), "--json", str(tmp_path / "result.json")) as drill:
        folders = folders_of(drill)
        said, errors = drill.communicate(timeout=WITHIN_S)
    assert drill.returncode in (0, 1), errors
    gone(folders)
    assert {p.name for p in out.iterdir()} == FILES
    assert "report:" in said
    result = json.loads((tmp_path / "result.json").read_text())
    assert result == json.loads((out / "result.json").read_text())
    return drill.returncode, result


def test_a_killed_primary_loses_nothing_and_is_named(tmp_path: Path) -> None:
    code, result = whole(tmp_path, "failover", "--users", "4", "--seconds", "15")
    assert result["to"] not in (None, result["from"])
    assert result["orders_acknowledged"] > 0
    assert result["orders_lost"] == result["writes_lost"] == 0
    assert "failover_in_progress" in [cause for _, cause, _ in result["named"]]
    assert code == (0 if result["met"] else 1)


def test_a_planned_switchover_moves_the_primary(tmp_path: Path) -> None:
    _, result = whole(tmp_path, "switchover", "--users", "4", "--seconds", "12")
    assert result["to"] != result["from"]
    assert result["orders_lost"] == result["writes_lost"] == 0
    assert result["users_failed"] == 0


@pytest.mark.skipif(bool(may_not()), reason=may_not())
def test_a_cut_primary_never_takes_rows_beside_another(tmp_path: Path) -> None:
    _, result = whole(tmp_path, "partition", "--users", "4")
    assert result["rows_by_two"] == 0
    assert result["orders_lost"] == result["writes_lost"] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_drill_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    with started("failover", "--folder", str(tmp_path / "out"), "--no-live") as drill:
        folders = folders_of(drill)
        assert drill.stdout is not None
        for line in drill.stdout:
            if "cluster is ready" in line:
                break
        time.sleep(2.0)
        os.kill(drill.pid, number)
        _, errors = drill.communicate(timeout=WITHIN_S)
    assert drill.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert "Traceback" not in errors
    gone(folders)
