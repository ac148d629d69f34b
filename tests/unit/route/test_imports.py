"""A site that uses one of them must not need the others."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module", ["premortem.route", "premortem.route.sqlalchemy", "premortem.route.django"]
)
def test_imports_none_of_the_three(module: str) -> None:
    code = (
        f"import sys, {module}; "
        "print([m for m in ('psycopg', 'sqlalchemy', 'django', 'psutil') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
