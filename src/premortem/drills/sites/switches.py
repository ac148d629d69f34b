"""What a rehearsal may break inside a running site: a file of switches that the site reads.

A file, because it can be turned while the site is too busy, frozen or starved to answer a request.
"""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass, fields
from pathlib import Path

__all__ = ["Live", "Switches", "read_switches", "write_switches"]

LOOK_EVERY_S = 0.05
"""How late a switch may act: short against the second in which the watch looks."""


@dataclass(frozen=True, slots=True)
class Switches:
    """All as they are in a healthy site. Times are for each request that they concern."""

    burn_ms: float = 0.0
    """Processor time a page takes in the web process, on top of its own."""
    wait_ms: float = 0.0
    """Time a page sleeps before its work, as in a lock or a slow library of the application."""
    block_loop_s: float = 0.0
    """Block the event loop once for so long; turning it again blocks again."""
    hold_ms: float = 0.0
    """Time a request keeps its pooled connection without using it."""
    lose_ratio: float = 0.0
    """Share of the requests that never give their pooled connection back."""
    forget_per_s: float = 0.0
    """Sessions opened beside the pool and forgotten, a second."""
    forget_in_transaction: bool = False
    """Whether the forgotten sessions have a transaction open."""
    pool_size: int = 0
    """Resize the pool to this; 0 leaves it as it was started."""
    cache: bool = True
    """Whether the page cache answers, where the site has one."""
    delay_ms: float = 3.0
    """The other service: how long it takes to answer."""


def write_switches(file: Path, switches: Switches) -> None:
    """Replace the file in one step: a reader sees the old or the new, never a half."""
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(switches)))
    fresh.chmod(0o644)
    fresh.replace(file)


def read_switches(file: Path) -> Switches:
    """The switches in ``file``, all healthy when there is none. Raises ``ValueError``."""
    try:
        raw = json.loads(file.read_text())
    except FileNotFoundError:
        return Switches()
    known = {f.name for f in fields(Switches)}
    return Switches(**{name: value for name, value in raw.items() if name in known})


class Live:
    """The switches as they are now; a thread looks at the file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen = -1
        self.now = Switches()
        self._look()

    def watch(self) -> None:
        """Start to look, for as long as the process lives."""
        threading.Thread(target=self._forever, name="switches", daemon=True).start()

    def _forever(self) -> None:
        pause = threading.Event()
        while not pause.wait(LOOK_EVERY_S):
            self._look()

    def _look(self) -> None:
        try:
            seen = self._file.stat().st_mtime_ns
        except FileNotFoundError:
            return
        if seen != self._seen:
            self._seen, self.now = seen, read_switches(self._file)
