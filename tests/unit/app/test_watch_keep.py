"""The archive: a disk that fails is told once, costs no tick, and is written again."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from premortem.app.config import HistoryConfig
from premortem.app.watch_keep import LEAP_HOLD_S, TICKS_MAX, Archive, HistoryFile, Tape
from premortem.model import Diagnosis, Event, Reading
from premortem.pipeline import Tick
from premortem.store import Store, StoreError

M = "host.cpu.busy_ratio"


def tick(at: float, value: float = 0.5, *, quiet: bool = False) -> Tick:
    reading = Reading("host", "a", at, {M: value})
    return Tick(at, (reading,), Diagnosis(at, ()), () if quiet else (Event(at, "note", "x"),))


class Fragile:
    """A place that fails while it is told to."""

    name = "fragile"

    def __init__(self) -> None:
        self.full = False
        self.written: list[float] = []

    def write(self, batch: Sequence[tuple[str, Tick]]) -> None:
        if self.full:
            raise StoreError("disk is full")
        self.written += [t.now for _, t in batch]

    def close(self) -> None: ...


def wait_for(what: Callable[[], bool], within_s: float = 3.0) -> None:
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_full_disk_is_told_once_counted_and_forgiven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("premortem.app.watch_keep.AGAIN_AFTER_S", 0.0)
    monkeypatch.setattr("premortem.app.watch_keep.SETTLED_S", 0.2)
    place: Fragile = Fragile()
    said: list[str] = []
    archive = Archive([place], [], said.append, gather_s=0.0)
    archive.put("shop", tick(1))
    wait_for(lambda: place.written == [1])
    place.full = True
    for second in (2, 3, 4):
        archive.put("shop", tick(second))
    wait_for(lambda: archive.dropped["fragile"] == 3)
    assert archive.failing == ("fragile",)
    place.full = False
    archive.put("shop", tick(5))  # a page is found, and then none
    wait_for(lambda: place.written == [1, 5])
    place.full = True
    archive.put("shop", tick(6))
    wait_for(lambda: archive.dropped["fragile"] == 4)
    place.full = False
    archive.put("shop", tick(7))
    wait_for(lambda: place.written == [1, 5, 7])
    assert archive.failing == ("fragile",)
    time.sleep(0.25)
    archive.put("shop", tick(8))
    wait_for(lambda: place.written == [1, 5, 7, 8])
    archive.close()
    assert archive.failing == ()
    assert [s.split(",")[0] for s in said] == [
        "fragile cannot be written",
        "fragile is written again; 4 ticks were not",
    ]


def test_a_disk_that_hangs_never_makes_a_watch_wait() -> None:
    hangs, entered = threading.Event(), threading.Event()

    class Hangs(Fragile):
        def write(self, batch: Sequence[tuple[str, Tick]]) -> None:
            entered.set()
            hangs.wait(10)

    archive = Archive([Hangs()], [], print, gather_s=0.0)
    archive.put("shop", tick(0))
    entered.wait(3)
    begun = time.monotonic()
    for second in range(TICKS_MAX + 7):
        archive.put("shop", tick(second))
    assert time.monotonic() - begun < 0.5
    assert archive.dropped["queue"] == 7
    hangs.set()
    archive.close()


class Counts(Fragile):
    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    def write(self, batch: Sequence[tuple[str, Tick]]) -> None:
        self.writes += 1
        super().write(batch)


def test_ticks_are_written_together_and_all_at_the_end() -> None:
    place = Counts()
    archive = Archive([place], [], print, gather_s=60.0)
    for second in range(5):
        archive.put("shop", tick(second, quiet=True))
    begun = time.monotonic()
    archive.close()
    assert time.monotonic() - begun < 5.0
    assert place.written == [0, 1, 2, 3, 4]
    assert place.writes == 1


def test_what_happened_is_written_at_once() -> None:
    place = Counts()
    archive = Archive([place], [], print, gather_s=60.0)
    archive.put("shop", tick(1, quiet=True))
    archive.put("shop", tick(2))
    wait_for(lambda: place.written == [1, 2])
    archive.put("shop", tick(3, quiet=True))
    archive.put("shop", tick(4))
    wait_for(lambda: place.written == [1, 2, 3, 4])
    archive.close()


def history(tmp_path: Path, **values: object) -> HistoryFile:
    return HistoryFile(HistoryConfig(path=tmp_path / "h.db", **values))  # type: ignore[arg-type]


def stored(path: Path) -> tuple[float, ...]:
    with Store.open(path, read_only=True) as store:
        return store.series("shop", M, 0, 1e12).at


def test_a_history_that_was_removed_is_begun_anew(tmp_path: Path) -> None:
    place = history(tmp_path)
    place.write([("shop", tick(1))])
    for file in tmp_path.iterdir():
        file.unlink()
    place.write([("shop", tick(2))])
    place.close()
    assert stored(tmp_path / "h.db") == (2.0,)


def test_a_clock_that_leaps_a_year_must_hold_before_history_is_dropped(tmp_path: Path) -> None:
    now = [1000.0]
    place = history(tmp_path, keep_days=30)
    place.monotonic = lambda: now[0]
    place.write([("shop", tick(10.0))])
    leap = 400 * 86400.0
    for _ in range(3):
        now[0] += 100
        place.write([("shop", tick(leap))])
    assert 10.0 in stored(tmp_path / "h.db")
    now[0] += LEAP_HOLD_S
    place.write([("shop", tick(leap))])
    assert stored(tmp_path / "h.db") == (leap,)
    place.close()


def test_the_leap_is_also_noticed_after_a_restart(tmp_path: Path) -> None:
    first = history(tmp_path, keep_days=30)
    first.write([("shop", tick(10.0))])
    first.close()
    second = history(tmp_path, keep_days=30)
    second.write([("shop", tick(400 * 86400.0))])
    second.close()
    assert 10.0 in stored(tmp_path / "h.db")


def test_an_hour_lived_twice_holds_the_mean_of_both(tmp_path: Path) -> None:
    place = history(tmp_path)
    place.write([("shop", tick(5000.0, 1.0))])
    place.write([("shop", tick(5000.0 - 3600 + 3600, 3.0))])
    place.close()
    with Store.open(tmp_path / "h.db", read_only=True) as store:
        assert store.series("shop", M, 0, 1e5).values == (2.0,)


def test_each_site_has_a_tape_of_its_own(tmp_path: Path) -> None:
    tape = Tape("shop", tmp_path / "r.jsonl", 10_000, 2)
    tape.write([("shop", tick(1)), ("game", tick(2))])
    tape.close()
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 2
