"""Keeps what a watch sees: a recording, line by line, and the history with its roll-ups."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from premortem.pipeline import Tick
from premortem.recording import encode, header
from premortem.store import Store

__all__ = ["Keeper"]

ROLL_UP_EVERY_S = 60.0
"""Rolling up costs a few milliseconds; a minute of unrolled samples costs nothing."""


class Keeper:
    """Called once a tick. Use as a context manager; raises ``OSError`` and ``StoreError``."""

    def __init__(self, site: str, *, recording: Path | None, history: Path | None) -> None:
        self._site = site
        self._recording = recording
        self._history = history
        self._rolled_at = 0.0

    def __enter__(self) -> Self:
        self._file = self._recording.open("w", encoding="utf-8") if self._recording else None
        self._store = Store.open(self._history) if self._history else None
        if self._file:
            self._file.write(header() + "\n")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file:
            self._file.close()
        if self._store:
            self._store.close()

    def __call__(self, tick: Tick) -> None:
        """Write one tick. A recording is flushed, so that a kill loses one line at most."""
        if self._file:
            self._file.writelines(encode(reading) + "\n" for reading in tick.readings)
            self._file.flush()
        if self._store:
            self._store.append(self._site, tick.readings)
            for event in tick.events:
                self._store.add_event(self._site, event)
            if tick.now >= self._rolled_at + ROLL_UP_EVERY_S:
                self._rolled_at = tick.now
                self._store.roll_up(tick.now)
