"""What can go wrong when a real server is started here."""

from __future__ import annotations

__all__ = ["EngineError"]


class EngineError(RuntimeError):
    """A server could not be started, stopped or reached.

    The message is one line: what, where, what to do.
    """
