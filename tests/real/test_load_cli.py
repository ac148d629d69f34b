"""``premortem load`` against a real server, as a person runs it: exit codes, files, the knee."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytestmark = pytest.mark.real

SITE = """
import asyncio, sys

port, slots, hold_s, status = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]

async def visitor(reader, writer):
    try:
        while await reader.readuntil(b"\\r\\n\\r\\n"):
            async with taken:
                await asyncio.sleep(hold_s)
            writer.write(f"HTTP/1.1 {status} x\\r\\nContent-Length: 2\\r\\n\\r\\nok".encode())
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()

async def main():
    global taken
    taken = asyncio.Semaphore(slots)
    server = await asyncio.start_server(visitor, "127.0.0.1", port, backlog=512)
    print("ready", flush=True)
    await server.serve_forever()

asyncio.run(main())
"""

CONFIG = """
[site.shop]
url = "{url}"
[history]
path = "{store}"
[load]
bars = ["p50<500ms", "failed<1%"]
lag_p99_ms_max = 500
"""


class Sites:
    """Starts sites with so many slots, each held for so long."""

    def __init__(self) -> None:
        self.running: list[subprocess.Popen[str]] = []

    def start(self, slots: int, hold_s: float, status: int = 200) -> str:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        argv = [sys.executable, "-c", SITE, str(port), str(slots), str(hold_s), str(status)]
        child = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        self.running.append(child)
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        return f"http://127.0.0.1:{port}/"

    def stop(self) -> None:
        for child in self.running:
            child.terminate()
            child.communicate(timeout=10)


@pytest.fixture
def sites() -> Iterator[Sites]:
    found = Sites()
    yield found
    found.stop()


MAIN = "from premortem.app.cli import main; main()"


def config_of(folder: Path, url: str) -> str:
    file = folder / "premortem.toml"
    file.write_text(CONFIG.format(url=url, store=folder / "kept.db"))
    return str(file)


def load(folder: Path, *argv: str, timeout_s: float = 90.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", MAIN, "load", *argv],
        cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip


def test_a_run_that_clears_its_bars_leaves_every_document(sites: Sites, tmp_path: Path) -> None:
    config = config_of(tmp_path, sites.start(8, 0.002))
    done = load(
        tmp_path, "run", "--site", "shop", "--config", config, "--rate", "40", "--seconds", "4",
        "--out", "r.json", "--junit", "j.xml", "--openmetrics", "m.txt", "--report", "r.html",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✓ p50<500ms" in done.stdout
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["verdict"] == "passed" and found["final"]["served"] == found["final"]["offered"]
    assert len(found["comparability"]) == 16
    suite = ElementTree.parse(tmp_path / "j.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("4", "0")
    assert (tmp_path / "m.txt").read_text().endswith("# EOF\n")
    assert "Every bar was cleared" in (tmp_path / "r.html").read_text()
    from premortem.store import Store

    with Store.open(tmp_path / "kept.db") as store:
        kept = store.load_runs("shop")
    assert [run["kind"] for _, run in kept] == ["run"]


def test_a_bar_that_is_missed_is_exit_code_1(sites: Sites, tmp_path: Path) -> None:
    config = config_of(tmp_path, sites.start(8, 0.02))
    done = load(
        tmp_path, "run", "--site", "shop", "--config", config, "--rate", "20", "--seconds", "3",
        "--bars", "p50<1ms", "--json",
    )  # fmt: skip
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert (found["verdict"], found["bars"][0]["held"]) == ("missed", False)


def test_a_site_that_fails_its_users_ends_the_test(sites: Sites, tmp_path: Path) -> None:
    config = config_of(tmp_path, sites.start(8, 0.001, status=500))
    begun = time.monotonic()
    done = load(
        tmp_path, "run", "--site", "shop", "--config", config, "--rate", "20", "--seconds", "60"
    )
    assert done.returncode == 1
    assert "stopped itself: 100 % of the users failed for 5 s" in done.stdout
    assert time.monotonic() - begun < 40


def test_the_knee_of_a_planted_site_is_found_and_the_plan_reads_its_curve(
    sites: Sites, tmp_path: Path
) -> None:
    config = config_of(tmp_path, sites.start(2, 0.02))  # 2 slots ÷ 20 ms = 100/s, less overhead
    done = load(
        tmp_path, "search", "--site", "shop", "--config", config, "--start", "20",
        "--precision", "0.2", "--trial-seconds", "3", "--promise", "p90<500ms",
        "--curve", "c.csv", "--json", timeout_s=200,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert done.returncode == 0, found["sentence"]
    assert 60 < found["knee"]["users_per_s"] < 125
    assert found["knee"]["low_per_s"] < found["knee"]["high_per_s"]
    assert "bracket" in done.stderr and "confirm" in done.stderr
    plan = subprocess.run(
        [sys.executable, "-c", MAIN, "plan", "--usl", "c.csv", "--json"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert plan.returncode == 0, plan.stderr
    assert json.loads(plan.stdout)["lambda"] > 0
    history = load(tmp_path, "compare", "--history", "--site", "shop", "--config", config, "--json")
    assert len(json.loads(history.stdout)["knees"]) == 1


def test_no_knee_below_the_ceiling_is_said_and_is_exit_code_1(sites: Sites, tmp_path: Path) -> None:
    config = config_of(tmp_path, sites.start(50, 0.001))
    done = load(
        tmp_path, "search", "--site", "shop", "--config", config, "--start", "10",
        "--rate-max", "40", "--trial-seconds", "2", "--promise", "p90<800ms",
    )  # fmt: skip
    assert done.returncode == 1
    assert "did not bend up to the ceiling of 40/s" in done.stdout


def test_a_slower_release_is_worse_and_the_same_one_is_not(sites: Sites, tmp_path: Path) -> None:
    old, new = sites.start(16, 0.02), sites.start(16, 0.035)
    config = config_of(tmp_path, old)
    common = ("--config", config, "--pairs", "4", "--seconds", "2", "--rate", "20")
    worse = load(tmp_path, "compare", old, new, *common, "--report", "c.html", "--json")
    assert worse.returncode == 1, worse.stderr
    found = json.loads(worse.stdout)
    assert found["verdict"] == "worse" and found["shift_ratio"] > 0.3
    assert "Worse than the baseline" in (tmp_path / "c.html").read_text()


def test_ctrl_c_ends_it_and_everything_it_started(sites: Sites, tmp_path: Path) -> None:
    url = sites.start(8, 0.002)
    child = subprocess.Popen(
        [sys.executable, "-c", MAIN, "load", "run", url, "--rate", "20", "--seconds", "60"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        process_group=0,
    )  # fmt: skip
    time.sleep(5.0)
    os.killpg(child.pid, signal.SIGINT)
    _, err = child.communicate(timeout=30)
    assert child.returncode == 130 and "Traceback" not in err
    with pytest.raises(ProcessLookupError):
        os.killpg(child.pid, 0)


def test_a_workers_merge_is_the_whole(sites: Sites, tmp_path: Path) -> None:
    config = config_of(tmp_path, sites.start(16, 0.001))
    done = load(
        tmp_path, "run", "--site", "shop", "--config", config, "--rate", "50", "--seconds", "3",
        "--workers", "2", "--json",
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert done.returncode == 0, found
    one = load(
        tmp_path, "run", "--site", "shop", "--config", config, "--rate", "50", "--seconds", "3",
        "--json",
    )  # fmt: skip
    assert json.loads(one.stdout)["final"]["offered"] == found["final"]["offered"]
