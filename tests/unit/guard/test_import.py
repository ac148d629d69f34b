"""A site that imports the guard must not pay for the rest of the project."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROBE = """
import json, resource, sys, time
def megabytes():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
memory, began = megabytes(), time.process_time()
import premortem.guard
took_ms, grown_mb = 1000 * (time.process_time() - began), megabytes() - memory
print(json.dumps({"took_ms": took_ms, "grown_mb": grown_mb, "modules": sorted(sys.modules)}))
"""


@pytest.fixture(scope="module")
def imports() -> list[dict[str, object]]:
    command = [sys.executable, "-c", PROBE]
    return [
        json.loads(subprocess.run(command, check=True, capture_output=True, timeout=30).stdout)
        for _ in range(3)
    ]


def test_within_50_ms_and_10_mb(imports: list[dict[str, float]]) -> None:
    assert min(each["took_ms"] for each in imports) <= 50
    assert min(each["grown_mb"] for each in imports) <= 10


def test_nothing_heavy_and_nothing_of_a_third_party(imports: list[dict[str, list[str]]]) -> None:
    loaded = {name.partition(".")[0] for name in imports[0]["modules"]}
    assert not loaded & {"starlette", "psycopg", "pydantic", "rich", "uvicorn", "asyncio", "numpy"}
    ours = {name for name in imports[0]["modules"] if name.startswith("premortem.")}
    assert {name for name in ours if not name.startswith("premortem.guard")} == set()
