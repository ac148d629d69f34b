"""Pretended hosts: network namespaces with addresses of their own, and links that can be cut.

Root on Linux only. Each host is one namespace on one bridge; proxy, pooler and clients are on the
bridge's own side. Everything is named after the process that made it, so that whoever cleans up
finds it, also after that process was killed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from premortem.engines.errors import EngineError

__all__ = ["Host", "cut", "hosts", "may_not", "parent", "remove"]

NET = "10.213.78"
"""A private network nobody routes to; beside the benchmarks' own, which ends in 77."""


@dataclass(frozen=True, slots=True)
class Host:
    """A namespace: its end of the cable is ``eth0``."""

    name: str
    space: str
    address: str

    @property
    def prefix(self) -> tuple[str, ...]:
        """What runs a command in it."""
        return ("ip", "netns", "exec", self.space)


def may_not() -> str:
    """Why there can be no namespaces here; empty when there can."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "network namespaces need root: run it as root"
    if shutil.which("ip") is None:
        return "the program ip is missing (apt install iproute2)"
    name = f"pmd{os.getpid()}-try"
    tried = subprocess.run(
        ["ip", "netns", "add", name], capture_output=True, text=True, check=False
    )
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    words = tried.stderr.strip().splitlines()
    return "" if tried.returncode == 0 else f"no network namespaces: {words[-1] if words else '?'}"


def parent() -> int:
    """Who started us."""
    return os.getppid()


@contextmanager
def hosts(names: Sequence[str]) -> Iterator[dict[str, Host]]:
    """Namespaces on one bridge, gone afterwards. Raises ``EngineError``."""
    me = os.getpid()
    made = {n: Host(n, f"pmd{me}-{n}", f"{NET}.{i + 11}") for i, n in enumerate(names)}
    try:
        _ip("link", "add", f"pmd{me}", "type", "bridge")
        _ip("addr", "add", f"{gateway()}/24", "dev", f"pmd{me}")
        _ip("link", "set", f"pmd{me}", "up")
        for i, host in enumerate(made.values()):
            _plug_in(host, f"pmd{me}", f"pd{me}v{i}")
        yield made
    finally:
        remove(me)


def gateway() -> str:
    """The bridge's own address: where proxy and pooler listen."""
    return f"{NET}.1"


def _plug_in(host: Host, bridge: str, cable: str) -> None:
    _ip("netns", "add", host.space)
    _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", host.space)
    _ip("link", "set", cable, "master", bridge, "up")
    inside = ("-n", host.space)
    _ip(*inside, "addr", "add", f"{host.address}/24", "dev", "eth0")
    _ip(*inside, "link", "set", "eth0", "up")
    _ip(*inside, "link", "set", "lo", "up")


@contextmanager
def cut(host: Host, others: Sequence[str]) -> Iterator[None]:
    """``host`` cannot answer these addresses, whatever else it reaches, until the block ends."""
    inside = ("-n", host.space, "route")
    try:
        for address in others:
            _ip(*inside, "add", "blackhole", f"{address}/32")
        yield
    finally:
        for address in others:
            _ip(*inside, "del", "blackhole", f"{address}/32", check=False)


def remove(owner: int) -> None:
    """Remove what the process with this number made; fine when it made nothing."""
    if shutil.which("ip") is None:
        return
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False)
    spaces = [line.split()[0] for line in listed.stdout.splitlines() if line.strip()]
    mine = [name for name in spaces if name.startswith(f"pmd{owner}-")]
    for name in mine:
        _ip("netns", "del", name, check=False)
    if mine or os.path.exists(f"/sys/class/net/pmd{owner}"):  # noqa: PTH110 - not a file of ours
        _ip("link", "del", f"pmd{owner}", check=False)


def _ip(*words: str, check: bool = True) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise EngineError(f"ip {' '.join(words)}: {done.stderr.strip()}")
