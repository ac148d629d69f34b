"""Tells systemd that the daemon is ready and alive (``Type=notify``, ``WatchdogSec=``).

The protocol is one datagram (sd_notify(3)); without systemd nothing is sent.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

__all__ = ["Systemd"]


class Systemd:
    """The service manager that started the process, if one asked to be told."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def tell(self, state: str) -> None:
        """``READY=1``, ``WATCHDOG=1``, ``STOPPING=1``. A manager that does not listen is left."""
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            try:
                sock.sendto(state.encode(), self._address)
            except OSError:
                return
