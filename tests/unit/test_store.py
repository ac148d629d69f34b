"""The store: roll-ups keep the sums right, events keep their order, a broken file says so."""

import math
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from premortem.model import Event, Reading
from premortem.store import RETENTION, Store, StoreError, StoreFull, retention

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
        with pytest.raises(StoreFull, match="locked"):
            store.append("shop", [reading(1, 1.0)])
        other.rollback()
        other.close()
        store.append("shop", [reading(1, 1.0)])
        assert store.series("shop", M, 0, 9).values == (1.0,)


def test_requests_of_two_servers_add_up_and_shares_do_not(tmp_path: Path) -> None:
    with Store.open(tmp_path / "h.db") as store:
        store.append("shop", [reading(t, 10.0, "a") for t in range(20)])
        store.append("shop", [reading(t, 30.0, "b") for t in range(0, 20, 2)])  # not each second
        assert store.series("shop", M, 0, 99, across="sum", step_s=10).values == (40.0, 40.0)
        assert store.series("shop", M, 0, 99, step_s=10).values == (pytest.approx(50 / 3),) * 2
        assert store.series("shop", M, 0, 99, target="a", across="sum").values == (10.0,) * 20


def test_what_is_rolled_up_still_adds_up(tmp_path: Path) -> None:
    with Store.open(tmp_path / "h.db") as store:
        for target, value in (("a", 10.0), ("b", 30.0)):
            store.append("shop", [reading(t, value, target) for t in range(1200)])
        for keep_s in (RETENTION[0].keep_s, RETENTION[1].keep_s, RETENTION[2].keep_s):
            store.roll_up(1200 + keep_s)
            found = store.series("shop", M, 0, 9999, across="sum", step_s=600)
            assert (found.at, found.values) == ((0.0, 600.0), (40.0, 40.0))


def test_a_bound_in_days_drops_samples_and_events(tmp_path: Path) -> None:
    with Store.open(tmp_path / "h.db", kept=retention(2)) as store:
        store.append("shop", [reading(1, 1.0)], [Event(1.0, "note", "old")])
        store.roll_up(86400)
        assert len(store.series("shop", M, 0, 9999)) == len(store.events("shop", 0, 9999)) == 1
        store.roll_up(3 * 86400)
        assert len(store.series("shop", M, 0, 9999)) == len(store.events("shop", 0, 9999)) == 0


def test_a_bound_in_bytes_shortens_every_resolution_and_the_file(tmp_path: Path) -> None:
    path, end = tmp_path / "h.db", 6 * 3600
    with Store.open(path, max_bytes=100_000) as store:
        seconds = range(0, end, 10)
        store.append("shop", [reading(t, 1.0, x) for t in seconds for x in "abcdefgh"])
        assert store.used_bytes() > 300_000
        store.roll_up(end)
        assert store.used_bytes() <= 100_000
        assert len(store.series("shop", M, end - 600, end)) > 0  # the newest are kept longest
    assert path.stat().st_size < 150_000


def test_a_value_that_is_no_number_is_left_out(tmp_path: Path) -> None:
    with Store.open(tmp_path / "h.db") as store:
        odd = [reading(1, math.nan), reading(2, math.inf), reading(math.nan, 1.0), reading(3, 5.0)]
        store.append("shop", odd)
        assert store.series("shop", M, 0, 9).values == (5.0,)


def test_reading_only_creates_and_changes_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="unable to open"):
        Store.open(tmp_path / "none.db", read_only=True)
    assert list(tmp_path.iterdir()) == []
    path = tmp_path / "h.db"
    with Store.open(path) as store, Store.open(path, read_only=True) as other:
        store.append("shop", [reading(1, 1.0)])
        assert other.series("shop", M, 0, 9).values == (1.0,)  # beside the writer
        with pytest.raises(StoreError, match="readonly"):
            other.append("shop", [reading(2, 1.0)])


def test_a_history_on_a_disk_that_cannot_be_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "locked" / "h.db"
    path.parent.mkdir()
    with Store.open(path) as store:
        store.append("shop", [reading(1, 1.0)])
    path.chmod(0o444)
    path.parent.chmod(0o555)
    code = (
        "import os, sys\n"
        "from premortem.store import Store\n"
        "os.getuid() or os.setuid(65534)\n"
        "with Store.open(sys.argv[1], read_only=True) as s:\n"
        f"    print(s.series('shop', {M!r}, 0, 9).values)\n"
    )
    ours = Path(tempfile.gettempdir()).resolve()
    for folder in (tmp_path, *tmp_path.parents):  # "nobody" must get as far as the locked folder
        if ours in folder.resolve().parents:
            folder.chmod(0o755)
    argv = [sys.executable, "-c", code, str(path)]
    found = subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ})
    path.parent.chmod(0o755)
    assert (found.stdout, found.stderr) == ("(1.0,)\n", "")


def test_a_full_disk_is_told_apart_and_the_store_goes_on(tmp_path: Path) -> None:
    with Store.open(tmp_path / "h.db") as store:
        store._db.execute("PRAGMA max_page_count = 20")
        with pytest.raises(StoreFull, match="full"):
            for t in range(100_000):
                store.append("shop", [reading(t, 1.0, str(n)) for n in range(100)])
        store._db.execute("PRAGMA max_page_count = 100000")
        store.append("shop", [reading(1e6, 7.0)])
        assert store.series("shop", M, 1e6, 2e6).values == (7.0,)


def test_the_newest_sample_is_known_whatever_its_resolution(tmp_path: Path) -> None:
    with Store.open(tmp_path / "h.db") as store:
        assert store.newest_at() is None
        store.append("shop", [reading(7, 1.0), reading(8, 1.0)])
        assert store.newest_at() == 8.0
        store.roll_up(RETENTION[0].keep_s + 100)
        assert store.newest_at() == 0.0  # in steps of ten seconds now
