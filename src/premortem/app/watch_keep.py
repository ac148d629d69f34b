"""What every site's ticks leave behind, written by a thread so that no disk can delay a watch.

A place that cannot be written to (a full disk) is told once and tried again every few seconds;
what could not be written meanwhile is dropped and counted. The watch goes on seeing.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from premortem.app.config import HistoryConfig
from premortem.app.keep import ROLL_UP_EVERY_S, Recording, Sink
from premortem.pipeline import Tick
from premortem.store import Store, StoreError, StoreFull, retention

__all__ = ["Archive", "HistoryFile", "Tape"]

TICKS_MAX = 2_000
"""Held while a disk stalls: about 2 KB each; a hundred sites for 20 s, one for half an hour."""

GATHER_S = 3.0
"""Ticks of so long are written together: a transaction a second is an eighth of a watch's cost.
A watch that is killed loses them; a tick with events (what people were told) is written at once."""

AGAIN_AFTER_S = 5.0
"""Between attempts at a place that failed."""

SETTLED_S = 15.0
"""A place counts as writable again after this long without a failure: on a full disk SQLite finds
a page now and then, and each time would be told."""

LEAP_S = 86_400.0
LEAP_HOLD_S = 3600.0
"""A clock that leaps ahead by a day would make a roll-up drop all history: such a time must hold
for an hour before it is believed."""


class Place(Protocol):
    """Somewhere to write. Raises ``OSError`` or ``StoreError`` when it cannot."""

    name: str

    def write(self, batch: Sequence[tuple[str, Tick]]) -> None: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class HistoryFile:
    """The store, opened when first needed and again after a failure."""

    settings: HistoryConfig
    name: str = "history"
    monotonic: Callable[[], float] = time.monotonic
    _store: Store | None = None
    _rolled_at: float = float("-inf")
    _latest: float | None = None
    _doubted_since: float | None = None

    def write(self, batch: Sequence[tuple[str, Tick]]) -> None:
        """Add the ticks; now and then roll up."""
        try:
            store = self._open()
            for site, tick in batch:
                store.append(site, tick.readings, tick.events)
            now = batch[-1][1].now
            if self._believed(now) and self.monotonic() >= self._rolled_at + ROLL_UP_EVERY_S:
                self._rolled_at = self.monotonic()
                store.roll_up(now)
        except StoreFull:
            raise  # what is open goes on when there is room
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def _open(self) -> Store:
        path = self.settings.path
        if self._store is not None and not path.exists():
            self.close()  # somebody removed the file: begin another
        if self._store is None:
            max_bytes = None if self.settings.max_mb is None else int(self.settings.max_mb * 2**20)
            self._store = Store.open(
                path, kept=retention(self.settings.keep_days), max_bytes=max_bytes
            )
            if self._latest is None:
                self._latest = self._store.newest_at()
        return self._store

    def _believed(self, now: float) -> bool:
        if self._latest is not None and now - self._latest > LEAP_S:
            since = self._doubted_since
            self._doubted_since = self.monotonic() if since is None else since
            if self.monotonic() - self._doubted_since < LEAP_HOLD_S:
                return False
        self._latest, self._doubted_since = now, None
        return True


@dataclass(slots=True)
class Tape:
    """One site's recording; opened when first needed and again after a failure."""

    site: str
    path: Path
    max_bytes: int
    parts: int
    name: str = field(init=False)
    _recording: Recording | None = None

    def __post_init__(self) -> None:
        self.name = f"recording {self.path}"

    def write(self, batch: Sequence[tuple[str, Tick]]) -> None:
        """Record this site's ticks."""
        readings = [r for site, tick in batch if site == self.site for r in tick.readings]
        try:
            if self._recording is None:
                self._recording = Recording(
                    self.path, fresh=False, max_bytes=self.max_bytes, parts=self.parts
                )
            self._recording.write(readings)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        recording, self._recording = self._recording, None
        if recording is not None:
            recording.close()


@dataclass(slots=True)
class _Trouble:
    """A place that could not be written to."""

    again_at: float
    fine_since: float | None = None


class Archive:
    """A thread that writes ticks to every place. ``say`` is called from that thread."""

    def __init__(
        self,
        places: Sequence[Place],
        sinks: Sequence[Sink],
        say: Callable[[str], None],
        gather_s: float = GATHER_S,
    ) -> None:
        self._places = list(places)
        self._sinks = list(sinks)
        self._say = say
        self._gather_s = gather_s
        self._now = threading.Event()
        self._queue: queue.Queue[tuple[str, Tick] | None] = queue.Queue(TICKS_MAX)
        self._failing: dict[str, _Trouble] = {}
        self._dropped = {place.name: 0 for place in self._places} | {"queue": 0}
        self._thread = threading.Thread(target=self._work, name="archive", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> Mapping[str, int]:
        """Ticks that were not written, by place; ``queue``: by none."""
        return dict(self._dropped)

    @property
    def failing(self) -> tuple[str, ...]:
        """Places that cannot be written to now."""
        return tuple(self._failing)

    def put(self, site: str, tick: Tick) -> None:
        """Hand over a tick; never waits."""
        try:
            self._queue.put_nowait((site, tick))
        except queue.Full:
            self._dropped["queue"] += 1
        if tick.events or self._queue.qsize() > TICKS_MAX // 2:
            self._now.set()

    def close(self, within_s: float = 5.0) -> None:
        """Write what is held and end; a disk that stalls is not waited for longer."""
        try:
            self._queue.put(None, timeout=within_s)
        except queue.Full:
            return
        self._now.set()
        self._thread.join(within_s)

    def _work(self) -> None:
        ending = False
        while not ending:
            batch = [self._queue.get()]
            if batch[0] is not None:
                self._now.wait(self._gather_s)
                self._now.clear()
            while len(batch) < TICKS_MAX and not self._queue.empty():
                batch.append(self._queue.get())
            ticks = [item for item in batch if item is not None]
            ending = len(ticks) < len(batch)
            if ticks:
                self._write(ticks)
        closing: list[Place | Sink] = [*self._places, *self._sinks]
        for part in closing:
            part.close()

    def _write(self, ticks: list[tuple[str, Tick]]) -> None:
        for sink in self._sinks:
            for site, tick in ticks:
                sink.append(site, tick.readings)
        for place in self._places:
            trouble = self._failing.get(place.name)
            if trouble is not None and time.monotonic() < trouble.again_at:
                self._dropped[place.name] += len(ticks)
                continue
            try:
                place.write(ticks)
            except (OSError, StoreError) as error:
                self._failed(place, len(ticks), error)
            else:
                self._worked(place)

    def _failed(self, place: Place, count: int, error: Exception) -> None:
        self._dropped[place.name] += count
        if place.name not in self._failing:
            self._say(f"{place.name} cannot be written, the watch goes on: {error}")
        self._failing[place.name] = _Trouble(time.monotonic() + AGAIN_AFTER_S)

    def _worked(self, place: Place) -> None:
        trouble = self._failing.get(place.name)
        if trouble is None:
            return
        now = time.monotonic()
        trouble.fine_since = now if trouble.fine_since is None else trouble.fine_since
        if now - trouble.fine_since >= SETTLED_S:
            del self._failing[place.name]
            self._say(f"{place.name} is written again; {self._dropped[place.name]} ticks were not")
