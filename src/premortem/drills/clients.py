"""The users of a drill: the load engine in a process of its own, read line by line."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from premortem.engines.leash import Leash
from premortem.engines.processes import Spawned, pin

__all__ = ["Clients", "ClientsFailed", "poisson"]

LINE_BYTES_MAX = 4 * 1024 * 1024
"""The last line holds a table of every second: bounded by the length of a run."""


TIMEOUT_MS = 1000
"""A visitor's patience, and the usual limit of a mobile app."""
RETRIES = 2
"""What browsers, load balancers and impatient thumbs add up to."""
REFUSAL_MS = 100
"""Slower than this a refusal feels like an error, and counts as one."""
DRAIN_S = 8
"""After the last arrival: three time-outs with their back-off, and the thinking in between."""


class ClientsFailed(RuntimeError):
    """The load engine stopped without a result: holds the end of its log."""


def poisson(
    seconds: float, users_per_s: float, to_users_per_s: float | None = None
) -> dict[str, Any]:
    """One stretch of Poisson arrivals, at one rate or ramping to another (users per second)."""
    if to_users_per_s is None or to_users_per_s == users_per_s:
        return {"kind": "constant", "seconds": seconds, "rate": users_per_s}
    return {"kind": "ramp", "seconds": seconds, "from": users_per_s, "to": to_users_per_s}


@dataclass(slots=True)
class Clients:
    """Users arriving at a site. Iterate ``seconds()`` to the end, then read ``final``."""

    child: Spawned
    rows: list[dict[str, Any]] = field(default_factory=list)
    """One a second: arrivals of that second, and what ended in it."""
    final: dict[str, Any] = field(default_factory=dict)
    """Totals, percentiles, and what became of the users by the second they arrived in."""

    @classmethod
    async def start(
        cls,
        *,
        base_url: str,
        journey: str,
        pace: Sequence[Mapping[str, Any]],
        folder: Path,
        name: str,
        seed: int,
        start_at: float | None,
        cpus: Sequence[int] | None,
        leash: Leash,
        retries: int = RETRIES,
    ) -> Clients:
        """Start the engine; its arrivals begin at ``start_at`` (epoch seconds) or at once."""
        spec = folder / f"{name}.spec.json"
        spec.write_text(
            json.dumps(
                {
                    "base_url": base_url,
                    "journey": journey,
                    "pace": list(pace),
                    "seed": seed,
                    "timeout_ms": TIMEOUT_MS,
                    "retries": retries,
                    "refusal_ms": REFUSAL_MS,
                    "start_at": start_at,
                    "ack_file": str(folder / f"{name}.acknowledged.jsonl"),
                    "cpus": list(cpus) if cpus is not None else None,
                    "users_in_flight_max": 20_000,
                    "drain_s": DRAIN_S,
                }
            )
        )
        log = folder / f"{name}.log"
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "premortem.load.attack", "--spec", str(spec)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                process_group=0,
                limit=LINE_BYTES_MAX,
            )
        leash.hold_process(process.pid)
        return cls(Spawned(process, "load engine", log, pin(process.pid, cpus), leash))

    async def seconds(self) -> AsyncIterator[dict[str, Any]]:
        """Yield one dict a second until the run is over. Raises :class:`ClientsFailed`."""
        stream = self.child.process.stdout
        assert stream is not None
        while line := await stream.readline():
            row = json.loads(line)
            if row.get("final"):
                self.final = row
            else:
                self.rows.append(row)
                yield row
        await self.child.process.wait()
        if not self.final:
            tail = self.child.log_tail(1) or "no output"
            raise ClientsFailed(f"the load engine stopped early: {tail}")

    async def stop(self) -> None:
        await self.child.end()

    async def finish(self) -> dict[str, Any]:
        """Let the run end, unobserved, and return its final line."""
        async for _ in self.seconds():
            await asyncio.sleep(0)
        return self.final
