"""The process at the other end of a leash: it outlives its owner and cleans up after it.

Standard library only; run as a file by :class:`premortem.engines.leash.Leash`, never imported by
it. Standard input is one JSON object a line (``hold``/``release`` of a process or a folder). At
end of file the owner is gone: held process groups get their fast signal, after ``GRACE_S`` also
SIGKILL, then held folders are removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

Row = tuple[int, int, str]
"""(parent's pid, group, start) of a process."""

GRACE_S = 5.0
"""How long a held process may take over its fast signal; PostgreSQL's own is 5 s (SIGQUIT)."""
POLL_S = 0.02
REMOVE_S = 5.0
"""How long a held folder is removed again while somebody still writes into it."""


def _proc_rows() -> Iterator[tuple[int, int, int, str, bool]]:
    """Yield (pid, ppid, pgid, start, zombie) of every process, from /proc."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue  # it ended while we looked
        yield (
            int(folder.name),
            int(fields[1]),
            int(fields[2]),
            fields[19].decode(),
            fields[0] in (b"Z", b"X"),
        )


def _ps_rows() -> Iterator[tuple[int, int, int, str, bool]]:
    """The same from ``ps``, where there is no /proc (start times are then whole seconds)."""
    listing = ["ps", "-A", "-o", "pid=,ppid=,pgid=,stat=,lstart="]
    text = subprocess.run(listing, capture_output=True, text=True, check=False).stdout
    for line in text.splitlines():
        pid, ppid, pgid, stat, start = line.split(None, 4)
        yield int(pid), int(ppid), int(pgid), start.strip(), stat.startswith("Z")


def table() -> dict[int, Row]:
    """Every living process: pid → (ppid, pgid, start). Zombies are dead already."""
    rows = _proc_rows() if Path("/proc/self/stat").exists() else _ps_rows()
    return {pid: (ppid, pgid, start) for pid, ppid, pgid, start, zombie in rows if not zombie}


def start_of(pid: int) -> str | None:
    """When ``pid`` started, as an opaque word; ``None`` when it does not live.

    Together with the number it names one process for good: numbers are reused, pairs are not.
    """
    row = table().get(pid)
    return row[2] if row else None


def family(pid: int, start: str, living: Mapping[int, Row]) -> dict[int, str]:
    """``pid`` (if it is still the same process), its group and all its descendants, with starts."""
    row = living.get(pid)
    if row is not None and row[2] != start:
        return {}  # the number went to a stranger
    found = {p: r[2] for p, r in living.items() if r[1] == pid or p == pid}
    fresh = set(found)
    while fresh:
        fresh = {p for p, r in living.items() if r[0] in fresh and p not in found}
        found.update({p: living[p][2] for p in fresh})
    return found


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def end(held: Mapping[int, tuple[str, int]], grace_s: float = GRACE_S) -> None:
    """End the held processes ({pid: (start, fast signal)}): fast signal, wait, SIGKILL the rest."""
    living = table()
    condemned: dict[int, str] = {}
    for pid, (start, fast) in held.items():
        members = family(pid, start, living)
        condemned.update(members)
        for member in members:
            if member == pid or living[member][1] == pid:
                _signal(member, fast)
    deadline = time.monotonic() + grace_s
    while condemned and time.monotonic() < deadline:
        time.sleep(POLL_S)
        living = table()
        condemned = {p: s for p, s in condemned.items() if p in living and living[p][2] == s}
    for pid in condemned:
        _signal(pid, signal.SIGKILL)


def remove(path: str, inode: int, within_s: float = REMOVE_S) -> None:
    """Remove the folder if it is still the one that was held.

    Again until it is gone: what was started in the owner's last moment may still write into it.
    """
    deadline = time.monotonic() + within_s
    while _is(path, inode):
        shutil.rmtree(path, ignore_errors=True)
        if time.monotonic() > deadline:
            return
        time.sleep(POLL_S)


def _is(path: str, inode: int) -> bool:
    try:
        return Path(path).stat().st_ino == inode
    except OSError:
        return False  # already gone


def main() -> None:
    """Hold what the owner says until the owner is gone, then clean up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # only the owner's end ends this process
    processes: dict[int, tuple[str, int]] = {}
    folders: dict[str, int] = {}
    for line in sys.stdin:
        try:
            order = json.loads(line)
        except ValueError:
            break  # half a line: the owner died while writing it
        if order["do"] == "hold_process":
            processes[order["pid"]] = (order["start"], order["signal"])
        elif order["do"] == "release_process":
            processes.pop(order["pid"], None)
        elif order["do"] == "hold_folder":
            folders[order["path"]] = order["inode"]
        elif order["do"] == "release_folder":
            folders.pop(order["path"], None)
    end(processes)
    for path, inode in folders.items():
        remove(path, inode)


if __name__ == "__main__":
    main()
