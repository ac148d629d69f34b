"""No server outlives its owner, not even one whose owner was killed with ``kill -9``.

A leash is one small child process in a session of its own (a terminal's Ctrl-C does not reach
it) that reads orders from a pipe. The kernel closes the pipe when the owner ends, however it
ends; the child then ends what is held and removes the folders. What is *not* covered: the few
microseconds between starting a server and holding it, and a kill of the leash itself.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from premortem.engines import _leash_child
from premortem.engines.errors import EngineError

__all__ = ["Leash"]

CLOSE_S = 15.0
"""How long the clean-up may take: the grace of 5 s, SIGKILL, and the removal of some 100 MB."""


class Leash:
    """Ends held process groups and removes held folders when its owner ends or leaves the block.

    >>> with Leash() as leash:
    ...     leash.closed
    False
    >>> leash.closed
    True
    """

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def closed(self) -> bool:
        return self._child is None

    def __enter__(self) -> Self:
        # -I -S: no site packages, no user settings; it starts in some 15 ms.
        self._child = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(_leash_child.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go: end all that is still held and wait for it, at most ``CLOSE_S``."""
        child, self._child = self._child, None
        if child is None or child.stdin is None:
            return
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        try:
            child.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def hold_process(self, pid: int, fast_signal: signal.Signals = signal.SIGTERM) -> None:
        """End ``pid``, its group and its descendants with the owner.

        ``fast_signal`` is how the server is asked to go at once (PostgreSQL: SIGQUIT). The start
        time is remembered, so a number that was reused is left alone. Does nothing for a process
        that has already ended. Raises ``EngineError`` when the leash is closed or was killed.
        """
        start = _leash_child.start_of(pid)
        if start is not None:
            self._say(do="hold_process", pid=pid, start=start, signal=int(fast_signal))

    def hold_folder(self, path: Path) -> None:
        """Remove ``path`` and all in it with the owner. Raises ``OSError`` if it is no folder."""
        folder = path.resolve(strict=True)
        if folder == Path(folder.anchor) or folder == Path.home() or not folder.is_dir():
            raise NotADirectoryError(f"{folder} is not a folder that may be removed")
        self._say(do="hold_folder", path=str(folder), inode=folder.stat().st_ino)

    def release(self, what: int | Path) -> None:
        """Hold the process (a pid) or the folder (a path) no longer."""
        if isinstance(what, Path):
            self._say(do="release_folder", path=str(what.resolve()))
        else:
            self._say(do="release_process", pid=what)

    def _say(self, **order: object) -> None:
        if self._child is None or self._child.stdin is None:
            raise EngineError("the leash is closed: start servers inside its with block")
        try:
            self._child.stdin.write(json.dumps(order).encode() + b"\n")
            self._child.stdin.flush()
        except BrokenPipeError as error:
            raise EngineError("the leash process was killed: stop and start again") from error
