"""The store: roll-ups keep the sums right, events keep their order, a broken file says so."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from premortem.model import Event, Reading
from premortem.store import RETENTION, Store, StoreError

M = "host.cpu.busy_ratio"


def reading(at: float, value: float, target: str = "a") -> Reading:
    return Reading("host", target, at, {M: value})


def test_rolled_up_averages_are_those_of_the_samples(tmp_path: Path) -> None:
    with Store.open(tmp_path / "h.db") as store:
        store.append("shop", [reading(t, float(t % 10)) for t in range(60)])
        store.roll_up(60 + RETENTION[0].keep_s + 1)
        found = store.series("shop", M, 0, 100)
        assert found.at == (0.0, 10.0, 20.0, 30.0, 40.0, 50.0)
        assert set(found.values) == {4.5}


def test_rolling_up_twice_changes_nothing(tmp_path: Path) -> None:
    with Store.open(tmp_path / "h.db") as store:
        store.append("shop", [reading(t, 1.0) for t in range(100)])
        now = 100 + RETENTION[0].keep_s
        store.roll_up(now)
        before = store.series("shop", M, 0, 100)
        store.roll_up(now)
        assert store.series("shop", M, 0, 100) == before


def test_what_outlives_the_last_resolution_is_dropped(tmp_path: Path) -> None:
    with Store.open(tmp_path / "h.db") as store:
        store.append("shop", [reading(5, 1.0)])
        for _ in RETENTION:
            store.roll_up(RETENTION[-1].keep_s * 2)
        assert len(store.series("shop", M, 0, 1e10)) == 0


def test_sites_and_targets_are_kept_apart(tmp_path: Path) -> None:
    with Store.open(tmp_path / "h.db") as store:
        store.append("shop", [reading(1, 1.0, "a"), reading(1, 3.0, "b")])
        store.append("game", [reading(1, 9.0)])
        assert store.series("shop", M, 0, 9, target="b").values == (3.0,)
        assert store.series("shop", M, 0, 9).values == (2.0,)


def test_events_and_load_runs_come_back(tmp_path: Path) -> None:
    event = Event(5.0, "signal", "slots run out", "premortem", {"runway_s": 3})
    with Store.open(tmp_path / "h.db") as store:
        store.add_event("shop", event)
        store.add_load_run("shop", 7.0, {"knee_rps": 90})
        assert store.events("shop", 0, 10) == (event,)
        assert store.load_runs("shop") == ((7.0, {"knee_rps": 90}),)


def test_a_file_that_is_no_database_gets_one_line(tmp_path: Path) -> None:
    bad = tmp_path / "h.db"
    bad.write_text("this is not a database, and long enough to be taken for one" * 20)
    with pytest.raises(StoreError, match=r"history .*h\.db"):
        Store.open(bad)


def test_kill_9_loses_nothing_committed(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    code = (
        "import os, signal\n"
        "from premortem.model import Reading\n"
        "from premortem.store import Store\n"
        f"s = Store.open({str(path)!r})\n"
        f"s.append('shop', [Reading('host', 'a', 1.0, {{{M!r}: 0.5}})])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    with Store.open(path) as store:
        assert store.series("shop", M, 0, 9).values == (0.5,)


def test_a_failed_write_changes_nothing_and_says_why(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    with Store.open(path) as store:
        other = sqlite3.connect(path)
        other.execute("BEGIN EXCLUSIVE")
        store._db.execute("PRAGMA busy_timeout = 10")
        with pytest.raises(StoreError, match="locked"):
            store.append("shop", [reading(1, 1.0)])
        other.rollback()
        other.close()
        store.append("shop", [reading(1, 1.0)])
        assert store.series("shop", M, 0, 9).values == (1.0,)
