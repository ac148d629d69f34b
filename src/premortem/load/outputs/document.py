"""The JSON document of a load test: what every other output is made from.

``{"premortem_load": 1, "kind": "run" | "search" | "compare", "site": …, "made_at": …,
"conditions": {…}, "comparability": "hash", "verdict": …, …}``
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["FORMAT", "BadResult", "Document", "cleaned", "read_result"]

FORMAT = 1
KINDS = ("run", "search", "compare")
BYTES_MAX = 64 * 1024 * 1024
"""An hour of rows is below 2 MB."""

Document = Mapping[str, Any]


class BadResult(ValueError):
    """A file that is no result of a load test: says which and why."""


def read_result(path: Path, kinds: tuple[str, ...] = KINDS) -> dict[str, Any]:
    """Read a result. Raises :class:`BadResult` with one line."""
    try:
        if path.stat().st_size > BYTES_MAX:
            raise BadResult(f"{path}: larger than any result of a load test")
        found = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise BadResult(f"{path}: {error.strerror or error}") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise BadResult(f"{path}: not JSON") from None
    if not isinstance(found, dict) or found.get("premortem_load") != FORMAT:
        raise BadResult(f"{path}: not a result of premortem load (made with --json)")
    if found.get("kind") not in kinds:
        raise BadResult(f"{path}: a {found.get('kind')}; wanted is a {' or '.join(kinds)}")
    return found


def cleaned(value: Any) -> Any:
    """The same without what JSON cannot say: no number and infinite become null.

    >>> cleaned({"a": float("nan"), "b": [1.5]})
    {'a': None, 'b': [1.5]}
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): cleaned(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [cleaned(inner) for inner in value]
    return value
