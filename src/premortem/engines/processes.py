"""Starting a program on this machine: its own group, its user, its cores, its log, its leash."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import signal
import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from premortem.engines.errors import EngineError
from premortem.engines.leash import Leash

__all__ = ["Spawned", "User", "free_port", "pin", "reachable", "spawn", "unprivileged_user"]

KILL_WAIT_S = 5.0
"""After SIGKILL a process ends as soon as the kernel lets it; longer means stuck in the kernel."""
LOG_TAIL_BYTES = 8192


@dataclass(frozen=True, slots=True)
class User:
    """Whom a server runs as."""

    uid: int
    gid: int
    name: str


def unprivileged_user() -> User | None:
    """Whom to run servers as when we are root: ``nobody``, else the first ordinary user.

    ``None`` when we are not root: then servers run as we do. Raises ``EngineError`` when root
    finds nobody else in passwd.
    """
    if os.geteuid() != 0:
        return None
    known = sorted(pwd.getpwall(), key=lambda e: (e.pw_name != "nobody", e.pw_uid))
    for entry in known:
        if entry.pw_uid > 0:
            return User(entry.pw_uid, entry.pw_gid, entry.pw_name)
    raise EngineError("passwd holds no user but root: add one (useradd premortem)")


def reachable(path: Path, user: User | None) -> bool:
    """Whether ``user`` may pass every folder on the way to ``path`` and read or run ``path``.

    Judged by the permission bits; ``None`` (ourselves) always may.
    """
    if user is None:
        return True
    path = path.resolve()
    return all(_may_pass(step, user) for step in (path, *path.parents))


def _may_pass(path: Path, user: User) -> bool:
    stat = path.stat()
    if stat.st_uid == user.uid:
        return bool(stat.st_mode & 0o100)
    return bool(stat.st_mode & (0o010 if stat.st_gid == user.gid else 0o001))


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port nobody listens on now.

    Another program may take it before the server does: whoever uses the port must be ready to
    find it taken and to ask for the next one (``Postgres.start`` does, five times).
    """
    with socket.socket() as sock:
        sock.bind((host, 0))
        port: int = sock.getsockname()[1]
        return port


def pin(pid: int, cpus: Collection[int] | None) -> bool:
    """Keep ``pid`` and what it will start on ``cpus``. ``False`` when this system cannot."""
    if cpus is None or not hasattr(os, "sched_setaffinity"):
        return False
    try:
        os.sched_setaffinity(pid, set(cpus))
    except OSError:  # no such core here, or the program has already ended
        return False
    return True


@dataclass(slots=True)
class Spawned:
    """A program that was started; ``pinned`` says whether it really keeps to its cores."""

    process: asyncio.subprocess.Process
    name: str
    log: Path
    pinned: bool
    leash: Leash | None

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of its output, at most 8 KiB."""
        with self.log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_TAIL_BYTES))
            text = file.read().decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    async def end(self, fast_signal: signal.Signals = signal.SIGTERM, grace_s: float = 5.0) -> None:
        """End the program: ``fast_signal``, at most ``grace_s`` s of patience, then SIGKILL.

        The signals go to its whole group. Returns when the program is gone. Raises
        ``EngineError`` if even SIGKILL does not end it within ``KILL_WAIT_S``.
        """
        if self.alive:
            self._signal_group(fast_signal)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.process.wait(), grace_s)
        self._signal_group(signal.SIGKILL)
        try:
            await asyncio.wait_for(self.process.wait(), KILL_WAIT_S)
        except TimeoutError as error:
            raise EngineError(f"{self.name} (pid {self.pid}) does not end on SIGKILL") from error
        if self.leash is not None and not self.leash.closed:
            self.leash.release(self.pid)

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


async def spawn(
    argv: Sequence[str],
    *,
    log: Path,
    leash: Leash | None,
    user: User | None = None,
    cpus: Collection[int] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    fast_signal: signal.Signals = signal.SIGTERM,
) -> Spawned:
    """Start ``argv`` in a process group of its own, its output appended to ``log``.

    Raises ``EngineError`` with one line when the program or the log cannot be opened.
    """
    name = Path(argv[0]).name
    try:
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
                env=None if env is None else dict(env),
                cwd=cwd,
                user=user.uid if user else None,
                group=user.gid if user else None,
                extra_groups=[] if user else None,
            )
    except OSError as error:
        raise EngineError(f"cannot start {name}: {error.strerror} ({error.filename})") from error
    if leash is not None:
        leash.hold_process(process.pid, fast_signal)
    return Spawned(process, name, log, pin(process.pid, cpus), leash)
