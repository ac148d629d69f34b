"""What is kept can be replayed and planned with."""

from pathlib import Path

from premortem.app.keep import Keeper
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
