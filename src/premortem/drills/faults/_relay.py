"""Relays the packets of a TUN device back into it, ends swapped: ``_relay DEVICE FILE``.

FILE is JSON: ``loss_ratio`` (0 to 1) and ``delay_ms``, read again when it changes. Swapping source
and destination leaves the checksums of IP, TCP and UDP as they are: they are sums.
"""

from __future__ import annotations

import fcntl
import heapq
import json
import os
import random
import select
import struct
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Line", "main", "swapped"]

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # <linux/if_tun.h>
PACKET_BYTES_MAX = 65_535
HELD_MAX = 20_000
"""Packets on the way at once: a full second of a rehearsal's traffic is some thousand."""
LOOK_EVERY_S = 0.1


def swapped(packet: bytes) -> bytes | None:
    """The packet with its ends swapped; ``None`` for what is not IPv4.

    >>> head = bytes([0x45]) + bytes(11)
    >>> swapped(head + bytes([1, 1, 1, 1, 2, 2, 2, 2]))[12:]
    b'\\x02\\x02\\x02\\x02\\x01\\x01\\x01\\x01'
    """
    if len(packet) < 20 or packet[0] >> 4 != 4:
        return None
    return packet[:12] + packet[16:20] + packet[12:16] + packet[20:]


@dataclass(slots=True)
class Line:
    """What becomes of packets. Time is an argument."""

    dice: random.Random = field(default_factory=lambda: random.Random(1))
    loss_ratio: float = 0.0
    delay_s: float = 0.0
    held: list[tuple[float, int, bytes]] = field(default_factory=list)
    count: int = 0

    def take(self, packet: bytes, now: float) -> None:
        """A packet comes in: it is lost, or goes out later. Jitter is a tenth of the delay."""
        back = swapped(packet)
        lost = self.dice.random() < self.loss_ratio or len(self.held) >= HELD_MAX
        if back is None or lost:
            return
        self.count += 1
        late = self.delay_s * self.dice.uniform(0.9, 1.1)
        heapq.heappush(self.held, (now + late, self.count, back))

    def due(self, now: float) -> list[bytes]:
        """The packets that arrive by ``now``."""
        out = []
        while self.held and self.held[0][0] <= now:
            out.append(heapq.heappop(self.held)[2])
        return out

    def wait_s(self, now: float) -> float:
        """How long nothing is due, at most until the file is looked at again."""
        return min(LOOK_EVERY_S, max(0.0, self.held[0][0] - now)) if self.held else LOOK_EVERY_S


def main() -> int:
    """Relay until SIGTERM."""
    device, file = sys.argv[1], Path(sys.argv[2])
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH", device.encode(), _IFF_TUN | _IFF_NO_PI))
    line, looked = Line(), 0.0
    while True:
        now = time.monotonic()
        if now >= looked + LOOK_EVERY_S:
            looked = now
            wanted = json.loads(file.read_text())
            line.loss_ratio, line.delay_s = wanted["loss_ratio"], wanted["delay_ms"] / 1000
        for packet in line.due(now):
            os.write(tun, packet)
        if select.select([tun], [], [], line.wait_s(now))[0]:
            line.take(os.read(tun, PACKET_BYTES_MAX), time.monotonic())


if __name__ == "__main__":
    sys.exit(main())
