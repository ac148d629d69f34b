"""A file to be written."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["File"]


@dataclass(frozen=True, slots=True)
class File:
    """Where, relative to the output folder, and what."""

    path: str
    text: str
    secret: bool = False
    """Holds a password: mode 0600, and not for a repository."""
    program: bool = False
    """To be executed: mode 0755."""
