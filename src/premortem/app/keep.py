"""Keeps what a watch sees: a recording, line by line, the history with its roll-ups, and beyond."""

from __future__ import annotations

from collections.abc import Sequence
from errno import ENOSPC
from os import strerror
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from premortem.model import Reading
from premortem.pipeline import Tick
from premortem.recording import HEADER_KEY, encode, header
from premortem.store import Store

__all__ = ["Keeper", "Recording", "Sink"]

ROLL_UP_EVERY_S = 60.0
"""Rolling up costs a few milliseconds; a minute of unrolled samples costs nothing."""

TAIL_BYTES = 1024 * 1024
"""No line of a recording is longer: a reading has at most a few hundred rows."""


class Sink(Protocol):
    """A further place where readings go, as a fleet's history.

    ``append`` must return at once and never raise: what it sends, it sends from a thread of its
    own and bounds by itself.
    """

    def append(self, site: str, readings: Sequence[Reading]) -> None: ...

    def close(self) -> None: ...


class Recording:
    """A recording on disk: ``path`` is the newest part, ``path.1`` the one before, and so on.

    Bounded by ``max_bytes`` a part and ``parts`` parts; without ``max_bytes`` it grows. Every part
    can be diagnosed by itself. ``fresh`` begins anew, otherwise a kill is mended: a last line
    cut short is dropped and writing goes on behind it. Raises ``OSError``.
    """

    def __init__(
        self, path: Path, *, fresh: bool = True, max_bytes: int | None = None, parts: int = 1
    ) -> None:
        self._path, self._max_bytes, self._parts = path, max_bytes, parts
        if not fresh and path.exists() and not _mend(path):
            self._shift()
        self._open("wb" if fresh else "ab")

    def write(self, readings: Sequence[Reading]) -> None:
        """Write and flush, so that a kill loses one line at most."""
        text = "".join(encode(reading) + "\n" for reading in readings).encode()
        if self._max_bytes and self._size and self._size + len(text) > self._max_bytes:
            self._file.close()
            self._shift()
            self._open("wb")
        self._put(text)

    def close(self) -> None:
        self._file.close()

    def _open(self, mode: str) -> None:
        self._file = self._path.open(mode, buffering=0)
        self._size = self._file.seek(0, 2)
        if not self._size:
            self._put((header() + "\n").encode())

    def _put(self, text: bytes) -> None:
        """All of it or, on a full disk, none: half a line would spoil what follows."""
        try:
            done = self._file.write(text)
        except OSError:
            done = 0
            raise
        finally:
            if done != len(text):
                self._file.truncate(self._size)
                self._file.seek(self._size)
        if done != len(text):
            raise OSError(ENOSPC, strerror(ENOSPC))
        self._size += len(text)

    def _shift(self) -> None:
        for number in range(self._parts - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            newer = older.with_suffix(f".{number - 1}") if number > 1 else self._path
            if newer.exists():
                newer.replace(older)


def _mend(path: Path) -> bool:
    """Cut a last line that has no end; ``False`` for a file that is no recording."""
    with path.open("r+b") as file:
        first = file.readline(256)
        if first and HEADER_KEY.encode() not in first:
            return False
        size = file.seek(0, 2)
        file.seek(max(0, size - TAIL_BYTES))
        tail = file.read()
        file.truncate(size - len(tail) + tail.rfind(b"\n") + 1)
    return True


class Keeper:
    """Called once a tick. Use as a context manager; raises ``OSError`` and ``StoreError``."""

    def __init__(
        self,
        site: str,
        *,
        recording: Path | None,
        history: Path | None,
        sinks: Sequence[Sink] = (),
    ) -> None:
        self._site = site
        self._recording = recording
        self._history = history
        self._sinks = sinks
        self._rolled_at = 0.0

    def __enter__(self) -> Self:
        self._file = Recording(self._recording) if self._recording else None
        self._store = Store.open(self._history) if self._history else None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for place in (self._file, self._store, *self._sinks):
            if place is not None:
                place.close()

    def __call__(self, tick: Tick) -> None:
        """Write one tick."""
        if self._file:
            self._file.write(tick.readings)
        for sink in self._sinks:
            sink.append(self._site, tick.readings)
        if self._store:
            self._store.append(self._site, tick.readings, tick.events)
            if tick.now >= self._rolled_at + ROLL_UP_EVERY_S:
                self._rolled_at = tick.now
                self._store.roll_up(tick.now)
