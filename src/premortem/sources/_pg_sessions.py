"""Turns what PostgreSQL says of its sessions into values and rows. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

__all__ = ["blocking", "session_row", "without_literals"]

QUERY_CHARS_MAX = 120
_LITERAL = re.compile(
    r"""
      /\*.*?(?:\*/|$) | --[^\n]*                    # comments
    | (?i:\be)'(?:[^'\\]|''|\\.)*(?:'|$)            # E'..' with backslashes
    | (?i:\b[bxnu]&?)?'(?:[^']|'')*(?:'|$)          # '..', also cut off in the middle
    | \$((?:[A-Za-z_]\w*)?)\$.*?(?:\$\1\$|$)           # $tag$..$tag$
    | (?<![\w$."])-?\d[\d_.]*(?:[eE][+-]?\d+)?\b    # numbers, but not $1 or t1
    """,
    re.VERBOSE | re.DOTALL,
)


@lru_cache(1024)
def without_literals(query: str, chars_max: int = QUERY_CHARS_MAX) -> str:
    """The query in one line with every literal as ``?``: what users typed is nobody's business.

    >>> without_literals("select * from t1 where mail = 'a''b@c' and id=42 -- hi")
    'select * from t1 where mail = ? and id=?'
    """
    bare = _LITERAL.sub(lambda m: "" if m[0][:2] in ("/*", "--") else "?", query)
    line = " ".join(bare.split())
    return line if len(line) <= chars_max else line[: chars_max - 1] + "…"


def blocking(waits_for: Mapping[int, Sequence[int]]) -> dict[int, frozenset[int]]:
    """Root blockers, and everybody who waits for them, directly or through others.

    A root holds and waits for nobody. A deadlock has no root; the server breaks it within
    ``deadlock_timeout``.

    >>> {r: sorted(w) for r, w in blocking({1: [2], 2: [3], 3: [9], 4: [5], 5: [4]}).items()}
    {9: [1, 2, 3]}
    """
    waiters: dict[int, list[int]] = {}
    for waiter, blockers in waits_for.items():
        for blocker in blockers:
            waiters.setdefault(blocker, []).append(waiter)
    return {r: frozenset(_reached(r, waiters)) for r in waiters if r not in waits_for}


def _reached(root: int, waiters: Mapping[int, Sequence[int]]) -> set[int]:
    found: set[int] = set()
    stack = list(waiters[root])
    while stack:
        pid = stack.pop()
        if pid not in found:
            found.add(pid)
            stack += waiters.get(pid, ())
    return found


def session_row(found: Mapping[str, object], root: int | None = None) -> dict[str, object]:
    """One row of a reading from one row of sessions.sql or blocking.sql."""
    blocked_by = found.get("blocked_by")
    return {
        "kind": "session",
        "pid": found["pid"],
        "state": found["state"],
        "wait": found["wait"],
        "age_s": found["age_s"],
        "application": found["application"],
        "user": found["role"],
        "query": without_literals(str(found["query"] or "")),
        "blocked_by": list(blocked_by) if isinstance(blocked_by, Iterable) else [],
        "root": root,
    }
