"""What a supervisor does besides keeping processes: the first database, pauses, its twin, logs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from premortem.cluster.prepare import prepare_database
from premortem.cluster.start import command
from premortem.engines.errors import EngineError

if TYPE_CHECKING:
    from premortem.cluster.supervisor import Supervisor

__all__ = ["logs", "pause_guard", "prepare", "twin"]

LOOK_S = 0.1
GUARD_S = 1.0
"""A look is one question to the pooler's console."""
LOG_BYTES_MAX = 16 * 1024 * 1024


async def prepare(owner: Supervisor) -> None:
    """Roles and database of the site, as soon as there is a primary; then we are ready."""
    while not owner.ready:
        try:
            leader = await owner.acts.leader()
            await asyncio.to_thread(prepare_database, owner.state, leader)
            await _knock(owner)
            owner.ready = True
            owner.say("ready")
        except (EngineError, psycopg.Error):
            await asyncio.sleep(LOOK_S)


async def _knock(owner: Supervisor) -> None:
    def knock() -> None:
        for replicas in (False, len(owner.state.topology.servers) > 1):
            with psycopg.connect(owner.state.dsn(replicas=replicas), connect_timeout=2) as c:
                c.execute("SELECT 1")

    await asyncio.to_thread(knock)


async def pause_guard(owner: Supervisor) -> None:
    """A pause nobody holds (we died in a switchover, say) ends within 2 s: a look, its answer."""
    if owner.state.pgbouncer is None:
        return
    while True:
        await asyncio.sleep(GUARD_S)
        if owner.acts.holders:
            continue
        with contextlib.suppress(EngineError):
            paused = await asyncio.to_thread(owner.state.console.paused)
            if paused and not owner.acts.holders:
                owner.say("the pooler is paused and no script of ours holds it: RESUME")
                await asyncio.to_thread(owner.state.console.resume)


async def twin(owner: Supervisor) -> None:
    """Keep the process that starts us again when we are killed."""
    while True:
        twin = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(Path(__file__).with_name("twin.py"))),
            *(str(os.getpid()), *command(owner.state.folder, owner.host)),
            start_new_session=True,
            cwd="/",
            stdin=asyncio.subprocess.DEVNULL,
        )
        try:
            await twin.wait()
        except asyncio.CancelledError:
            twin.kill()
            await twin.wait()
            raise
        await asyncio.sleep(LOOK_S)


async def logs(owner: Supervisor) -> None:
    """Keep every log under ``LOG_BYTES_MAX``, with one old half beside it."""
    while True:
        for path in [owner.state.folder / "supervisor.log", *_unit_logs(owner)]:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(_shorten, path)
        await asyncio.sleep(60)


def _unit_logs(owner: Supervisor) -> list[Path]:
    return [kept.unit.log for kept in owner.kept.values()]


def _shorten(path: Path) -> None:
    if path.stat().st_size > LOG_BYTES_MAX:
        path.with_suffix(".log.1").write_bytes(path.read_bytes()[-LOG_BYTES_MAX // 2 :])
        os.truncate(path, 0)  # whoever writes appends, and goes on at the start
