"""The engine as a process of its own, and as several."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from premortem.load.attack import Attack
from premortem.load.journey import Choice
from premortem.load.pace import Constant, arrivals
from premortem.load.stats import Second
from premortem.load.workers import attack_many
from tests.real._site import answer, one, only, served

pytestmark = pytest.mark.real


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
    start_at = time.time() + 3.0  # time to start on a busy machine
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
    assert final["final"] and final["reason"].endswith("the run was stopped")


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
    assert [row["offered"] for row in result.line()["arrived"]][:2] == per_second
    assert [row.offered for row in rows][:2] == per_second
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
    assert json.loads(out.splitlines()[-1])["reason"].endswith("the run was stopped")


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
