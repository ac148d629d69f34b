"""``premortem load agent``: be one of several machines that send users."""

from __future__ import annotations

import sys

__all__ = ["load_agent"]


def load_agent() -> int:
    """Send users as told on standard input; load run --agents starts it over SSH.

    Reads JSON Lines: the attack, then when to begin. Writes a row a second and the result. Ends
    when standard input does.

    Example: ssh web2 premortem load agent
    """
    from premortem.load.agent import serve  # noqa: PLC0415 - keeps --help fast

    return serve(sys.stdin, sys.stdout)
