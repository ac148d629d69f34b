"""What every source keeps.

A source is one file whose public class bears its name (``http_probe.py`` holds ``HttpProbe``).
The module also holds ``METRICS``, the series it may report (a name belongs to one source only),
and ``UNREACHABLE``, settings that point at nothing, by which the contract test makes it fail.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from premortem.model import Reading

__all__ = ["READ_BOUND_S", "Source", "say"]

READ_BOUND_S = 2.5
"""No read may take longer: the loop reads once a second and a frozen target must not hold it for
more than two beats."""


class Source(Protocol):
    """Reads one target. Settings are the fields of the class."""

    name: ClassVar[str]
    """The file's name."""
    target: str
    """What is read, without any secret."""
    interval_s: float
    """How often a reading is worth taking."""

    async def read(self, now: float) -> Reading:
        """Look once. ``now`` (seconds since the epoch) becomes ``Reading.at``.

        Never raises for what it observes: a failure is ``Reading.error``, next to whatever was
        seen all the same. Returns within ``READ_BOUND_S``.
        """
        ...

    async def close(self) -> None:
        """Let go of connections. A source may be closed twice, and before its first read."""
        ...


def say(problem: BaseException) -> str:
    """One line about a failure, for ``Reading.error``.

    >>> say(ConnectionRefusedError(111, "Connection refused"))
    'refused'
    >>> say(OSError(113, "No route to host"))
    'No route to host'
    """
    if isinstance(problem, ConnectionRefusedError):
        return "refused"
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    lines = str(problem).strip().splitlines()
    return lines[0] if lines else type(problem).__name__
