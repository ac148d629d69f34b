"""The machine, and what each tier burns of it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from premortem.sources._processes import Tier, cpu_s, tree
from premortem.sources.host import Host, pressure_totals

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"],
                         stdin=subprocess.PIPE)
print(child.pid, flush=True)
sys.stdin.readline()
child.stdin.close()
child.wait()
sys.stdin.readline()
"""


@pytest.fixture
def family() -> Iterator[tuple[subprocess.Popen[str], int]]:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    yield parent, int(parent.stdout.readline())
    parent.communicate("\n\n")


def fake_process(proc: Path, pid: int, ticks: tuple[int, int, int, int], children: str) -> None:
    (proc / str(pid) / "task" / str(pid)).mkdir(parents=True)
    (proc / str(pid) / "task" / str(pid) / "children").write_text(children)
    words = " ".join(str(t) for t in ticks)
    (proc / str(pid) / "stat").write_text(f"{pid} (a) b (c) S {'0 ' * 10}{words} 20 0 1\n")


async def test_what_every_machine_has() -> None:
    host = Host()
    first = await host.read(1.0)
    await asyncio.sleep(0.02)
    second = await host.read(2.0)
    assert first.error is None
    assert "host.cpu.busy_ratio" not in first.values
    assert 0 <= second.values["host.cpu.busy_ratio"] <= 1
    assert 0 < second.values["host.memory.used_ratio"] < 1
    assert 0 < second.values["host.disk.free_ratio"] < 1
    assert second.values["host.load_per_core"] >= 0
    assert "web.cpu.busy_ratio" not in second.values


async def test_a_folder_that_is_gone_is_said_beside_the_rest(tmp_path: Path) -> None:
    reading = await Host(data_folder=str(tmp_path / "gone")).read(1.0)
    assert reading.error == f"{tmp_path}/gone: No such file or directory"
    assert "host.memory.used_ratio" in reading.values


async def test_a_busy_tier_is_seen_and_pids_may_be_asked_for() -> None:
    host = Host(web_pids=lambda: [os.getpid()], db_pids=tuple)
    await host.read(1.0)
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    values = (await host.read(2.0)).values
    assert values["web.cpu.busy_ratio"] > 0.1
    assert "db.cpu.busy_ratio" not in values


def test_pressure_is_the_total_of_some(tmp_path: Path) -> None:
    text = "some avg10=0.00 avg60=0.00 avg300=0.14 total=9497723\nfull avg10=0.00 total=1\n"
    (tmp_path / "cpu").write_text(text)
    assert pressure_totals(tmp_path) == {"psi.cpu": 9497723.0}


def test_time_is_counted_after_a_name_with_brackets_and_spaces(tmp_path: Path) -> None:
    fake_process(tmp_path, 7, (100, 50, 25, 25), "")
    assert cpu_s(7, tmp_path) == 200 / os.sysconf("SC_CLK_TCK")


def test_a_tree_holds_everybody_once(tmp_path: Path) -> None:
    fake_process(tmp_path, 1, (0, 0, 0, 0), "2 3 ")
    fake_process(tmp_path, 2, (0, 0, 0, 0), "4 ")
    fake_process(tmp_path, 3, (0, 0, 0, 0), "99 ")
    fake_process(tmp_path, 4, (0, 0, 0, 0), "")
    assert sorted(tree([1, 2], tmp_path)) == [1, 2, 3, 4]


def test_a_dead_child_stays_in_its_parents_account(
    family: tuple[subprocess.Popen[str], int],
) -> None:
    parent, child = family
    assert sorted(tree([parent.pid])) == sorted([parent.pid, child])
    before = cpu_s(parent.pid) + cpu_s(child)
    assert parent.stdin is not None
    parent.stdin.write("\n")
    parent.stdin.flush()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert tree([parent.pid]) == [parent.pid]
    assert cpu_s(parent.pid) >= before


def test_new_processes_start_a_new_account() -> None:
    tier = Tier()
    own = os.getpid()
    assert tier.busy_ratio(1.0, (own,)) is None
    assert tier.busy_ratio(2.0, (own,)) is not None
    assert tier.busy_ratio(3.0, (own, os.getppid())) is None
    assert tier.busy_ratio(4.0, ()) is None
