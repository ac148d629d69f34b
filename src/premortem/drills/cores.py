"""One rehearsal at a time on the same cores: two would measure each other."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

__all__ = ["claimed"]

RETRY_S = 0.5
"""How soon after the first rehearsal ends the second begins."""


@asynccontextmanager
async def claimed(cpus: Sequence[int], waiting: Callable[[], None]) -> AsyncIterator[None]:
    """Hold ``cpus`` for this process; wait while another rehearsal on this machine holds them.

    ``waiting`` is called once if it has to wait. The claim is a socket name in Linux's abstract
    namespace (unix(7)): no file, and gone with its owner however that ends. Elsewhere, and for no
    cores, nothing is claimed.
    """
    if not cpus or sys.platform != "linux":
        yield
        return
    name = "\0premortem-rehearsal-" + "-".join(str(cpu) for cpu in sorted(cpus))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as claim:
        told = False
        while not _bound(claim, name):
            if not told:
                waiting()
                told = True
            await asyncio.sleep(RETRY_S)
        yield


def _bound(claim: socket.socket, name: str) -> bool:
    try:
        claim.bind(name)
    except OSError:
        return False
    return True
