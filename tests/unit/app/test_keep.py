"""What is kept can be replayed and planned with."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from premortem.app.keep import Keeper, Recording
from premortem.model import Diagnosis, Event, Reading
from premortem.pipeline import Tick
from premortem.recording import parse
from premortem.store import Store

READING = Reading("host", "a", 100.0, {"host.cpu.busy_ratio": 0.5})
EVENT = Event(100.0, "signal", "CPU rises")


def test_a_tick_is_recorded_and_stored(tmp_path: Path) -> None:
    recording, history = tmp_path / "r.jsonl", tmp_path / "h.db"
    with Keeper("shop", recording=recording, history=history) as keep:
        keep(Tick(100.5, (READING,), Diagnosis(100.5, ()), (EVENT,)))
        assert list(parse(recording.read_text().splitlines())) == [READING]  # flushed at once
    with Store.open(history) as store:
        assert store.series("shop", "host.cpu.busy_ratio", 0, 200).values == (0.5,)
        assert store.events("shop", 0, 200) == (EVENT,)


def test_either_may_be_left_out(tmp_path: Path) -> None:
    with Keeper("shop", recording=None, history=None) as keep:
        keep(Tick(100.5, (READING,), Diagnosis(100.5, ()), ()))
    assert list(tmp_path.iterdir()) == []


def test_further_sinks_get_the_readings_and_are_closed() -> None:
    told: list[object] = []

    class Further:
        def append(self, site: str, readings: Sequence[Reading]) -> None:
            told.append((site, tuple(readings)))

        def close(self) -> None:
            told.append("closed")

    with Keeper("shop", recording=None, history=None, sinks=[Further()]) as keep:
        keep(Tick(100.5, (READING,), Diagnosis(100.5, ()), ()))
    assert told == [("shop", (READING,)), "closed"]


def at(second: float) -> Reading:
    return Reading("host", "a", second, {"host.cpu.busy_ratio": 0.5})


def read(path: Path) -> list[float]:
    return [r.at for r in parse(path.read_text().splitlines())]


def test_a_recording_is_bounded_and_every_part_can_be_replayed(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    recording = Recording(path, fresh=False, max_bytes=400, parts=3)
    for second in range(40):
        recording.write([at(second)])
    recording.close()
    parts = [path, tmp_path / "r.jsonl.1", tmp_path / "r.jsonl.2"]
    assert sorted(tmp_path.iterdir()) == sorted(parts)
    assert all(part.stat().st_size <= 400 for part in parts)
    kept = [second for part in reversed(parts) for second in read(part)]
    assert kept == list(range(40 - len(kept), 40))


def test_a_recording_goes_on_where_a_kill_cut_it(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    first = Recording(path)
    first.write([at(1), at(2)])
    first.close()
    with path.open("a") as file:
        file.write('{"source": "host", "tar')
    again = Recording(path, fresh=False)
    again.write([at(3)])
    again.close()
    assert read(path) == [1, 2, 3]


def test_a_file_that_is_no_recording_is_moved_away_not_spoilt(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary\n")
    Recording(path, fresh=False, max_bytes=400, parts=2).close()
    assert (tmp_path / "notes.txt.1").read_text() == "dear diary\n"


def test_half_a_line_on_a_full_disk_is_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    recording = Recording(path)
    recording.write([at(1)])

    class Full:
        """A disk that takes ten bytes more."""

        def __init__(self) -> None:
            self.real = recording._file

        def write(self, text: bytes) -> int:
            return self.real.write(text[:10]) or 0

        def __getattr__(self, name: str) -> object:
            return getattr(self.real, name)

    full = Full()
    recording._file = full  # type: ignore[assignment]
    with pytest.raises(OSError, match="No space"):
        recording.write([at(2)])
    recording._file = full.real
    recording.write([at(3)])
    recording.close()
    assert read(path) == [1, 3]
