"""What can be said about starting PostgreSQL without starting it."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from premortem.engines import postgres
from premortem.engines.errors import EngineError
from premortem.engines.leash import Leash
from premortem.engines.postgres import Postgres
from premortem.engines.processes import User

Usage = namedtuple("Usage", "total used free")


async def start(folder: Path) -> None:
    async with Postgres.start(folder, leash=Leash()):
        raise AssertionError("it must not start")


async def test_no_space_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1, 1, 12_000_000))
    with pytest.raises(EngineError, match=r"has 12 MB free, 1000 MB are needed"):
        await start(tmp_path / "pg")


async def test_a_file_in_the_way_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "pg").touch()
    with pytest.raises(EngineError, match=r"^cannot use .*pg: (File exists|Not a directory)$"):
        await start(tmp_path / "pg")


async def test_a_folder_in_use_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "pg" / "data").mkdir(parents=True)
    with pytest.raises(EngineError, match="already holds a cluster"):
        await start(tmp_path / "pg")


async def test_a_folder_nobody_can_enter_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "unprivileged_user", lambda: User(54_321, 54_321, "nobody"))
    monkeypatch.setattr(os, "chown", lambda path, uid, gid: None)
    with pytest.raises(EngineError, match="cannot be entered by nobody"):
        await start(tmp_path / "pg")


def test_the_password_is_not_in_the_repr(tmp_path: Path) -> None:
    server = Postgres(tmp_path, tmp_path, 5432, None, None, {}, Leash(), password="s3cret")
    assert "s3cret" not in repr(server)
    assert "s3cret" in server.dsn


def test_roles_differ_only_by_name(tmp_path: Path) -> None:
    server = Postgres(tmp_path, tmp_path, 5432, None, None, {}, Leash(), password="x")
    assert server.site_dsn == server.dsn.replace("user=premortem", "user=site")
    assert "user=monitor" in server.monitor_dsn
    assert "host=127.0.0.1" in server.dsn
