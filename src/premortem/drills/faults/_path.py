"""A path between users and site whose packets can be lost or delayed: a real one, of IP packets.

In a network namespace of its own the users' packets leave through a TUN device to an address that
nobody has; a relay (``_relay.py``) swaps source and destination and sends them back in, where the
site listens. What the relay drops is lost for the kernel's TCP as on any bad line. Root only.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from premortem.drills.stack import Layout, Stack
from premortem.engines.errors import EngineError
from premortem.engines.processes import spawn

__all__ = ["LossyPath", "lossy_path", "may_have_own_network", "own_network"]

NEAR, FAR = "10.213.78.1", "10.213.78.2"
DEVICE = "pm-path"
_CLONE_NEWNET = 0x40000000
"""unshare(2)."""


@dataclass(frozen=True, slots=True)
class LossyPath:
    """Where users reach the site, and the file that says what becomes of their packets."""

    host: str
    file: Path

    def set(self, *, loss_ratio: float = 0.0, delay_ms: float = 0.0) -> None:
        """From now on lose this share of the packets, each way, and delay the others, each way."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps({"loss_ratio": loss_ratio, "delay_ms": delay_ms}))
        fresh.replace(self.file)


def may_have_own_network() -> bool:
    """Whether this process may have a network namespace and a TUN device."""
    return sys.platform == "linux" and os.geteuid() == 0 and Path("/dev/net/tun").exists()


@contextmanager
def own_network() -> Iterator[None]:
    """Run this thread, and what it starts, in a network namespace with a loopback of its own.

    Raises ``EngineError`` when that is not allowed. Abstract sockets are private to it too.
    """
    if not may_have_own_network():
        raise EngineError("a lossy path needs Linux, root and /dev/net/tun: run this as root")
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(_CLONE_NEWNET) != 0:
            raise EngineError(f"no network namespace: {os.strerror(ctypes.get_errno())}")
        try:
            _ip("link", "set", "lo", "up")
            yield
        finally:
            libc.setns(before, _CLONE_NEWNET)
    finally:
        os.close(before)


def _ip(*words: str) -> None:
    try:
        done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise EngineError("a lossy path needs the program ip (package iproute2)") from None
    if done.returncode != 0:
        raise EngineError(f"ip {' '.join(words)}: {done.stderr.strip()}")


@asynccontextmanager
async def lossy_path(stack: Stack, plan: Layout) -> AsyncIterator[LossyPath]:
    """Make the device and start the relay. The caller is in its own network."""
    path = LossyPath(FAR, stack.folder / "path.json")
    path.set()
    _ip("tuntap", "add", "dev", DEVICE, "mode", "tun")
    try:
        _ip("addr", "add", f"{NEAR}/24", "dev", DEVICE)
        _ip("link", "set", DEVICE, "up")
        argv = [sys.executable, "-m", "premortem.drills.faults._relay", DEVICE, str(path.file)]
        relay = await spawn(
            argv, cpus=plan.clients, log=stack.folder / "relay.log", leash=stack.leash
        )
        try:
            yield path
        finally:
            await relay.end()
    finally:
        _ip("tuntap", "del", "dev", DEVICE, "mode", "tun")
