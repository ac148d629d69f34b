"""The doctor's findings: what lacks, why it matters, and SQL that can be pasted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from premortem.app.cli import app
from premortem.app.doctor import Patient, examine
from premortem.app.doctor_findings import Finding, SiteFacts, database, host, site, sql_text

WELL: Mapping[str, Any] = {
    "version": 18,
    "role": "monitor",
    "database": "shop",
    "superuser": False,
    "monitors": True,
    "statements_made": True,
    "statements_loaded": True,
    "libraries": "pg_stat_statements",
    "io_timing": True,
    "activities": True,
    "connections_max": 100,
    "superuser_reserved": 3,
    "reserved": 2,
    "uses_reserved": True,
}


def lacks(findings: list[Finding]) -> list[str]:
    return [f.name for f in findings if not f.there]


def of(**differs: object) -> list[Finding]:
    return database({**WELL, **differs}, 0.1)


def test_a_database_that_has_everything_lacks_nothing() -> None:
    assert lacks(of()) == []
    assert sql_text(of()) == ""


@pytest.mark.parametrize(
    ("differs", "name", "sql"),
    [
        ({"monitors": False}, "role", 'GRANT pg_monitor TO "monitor";'),
        ({"monitors": False, "role": 'a"b'}, "role", 'GRANT pg_monitor TO "a""b";'),
        (
            {"statements_made": False},
            "pg_stat_statements",
            "CREATE EXTENSION pg_stat_statements; -- in shop",
        ),
        (
            {"statements_loaded": False, "libraries": "auto_explain"},
            "pg_stat_statements",
            "ALTER SYSTEM SET shared_preload_libraries = auto_explain, pg_stat_statements;\n"
            "-- then restart the server",
        ),
        (
            {"statements_loaded": False, "libraries": None},
            "pg_stat_statements",
            "ALTER SYSTEM SET shared_preload_libraries = pg_stat_statements;"
            " -- and those that are in it already\n-- then restart the server",
        ),
        (
            {"io_timing": False},
            "track_io_timing",
            "ALTER SYSTEM SET track_io_timing = on;\nSELECT pg_reload_conf();",
        ),
        (
            {"uses_reserved": False},
            "reserved connection",
            'GRANT pg_use_reserved_connections TO "monitor";',
        ),
        (
            {"reserved": 0},
            "reserved connection",
            "ALTER SYSTEM SET reserved_connections = 2;\n-- then restart the server",
        ),
    ],
)
def test_each_lack_has_its_sql(differs: dict[str, object], name: str, sql: str) -> None:
    assert lacks(of(**differs)) == [name]
    assert sql_text(of(**differs)) == sql


def test_an_old_server_and_a_superuser_are_told() -> None:
    assert lacks(of(version=12, reserved=0)) == ["version"]
    assert lacks(of(superuser=True)) == ["role"]
    assert lacks(of(version=15, reserved=0, uses_reserved=False)) == []


@pytest.mark.parametrize(("ahead_s", "word"), [(3.0, "ahead"), (-3.0, "behind")])
def test_a_clock_that_is_off_is_told(ahead_s: float, word: str) -> None:
    (found,) = [f for f in database(WELL, ahead_s) if not f.there]
    assert found.text.startswith(f"the clock of the database server is 3.0 s {word}")


@pytest.mark.parametrize(
    ("page", "status", "settings", "token", "lack"),
    [
        (200, 200, 405, True, None),
        (200, 200, 404, False, None),
        (200, 200, 403, True, "token"),
        (200, 404, 403, True, "token"),
        (200, 404, 403, False, "does not talk to us"),
        (200, 404, 404, False, "no guard"),
        (200, 0, 0, False, "no guard"),
        (500, 200, 405, True, "answers 500"),
    ],
)
def test_the_guard_and_its_token(
    page: int, status: int, settings: int, token: bool, lack: str | None
) -> None:
    found = [f.text for f in site(SiteFacts(page, status, settings, token)) if not f.there]
    assert len(found) == (lack is not None)
    assert lack is None or lack in found[0]


def test_what_this_machine_cannot_tell() -> None:
    well = host(linux=True, pressure=True, remote=(), process=None)
    assert lacks(well) == []
    ill = host(linux=True, pressure=False, remote=("the database",), process="gunicorn")
    assert lacks(ill) == ["pressure (PSI)", "host metrics", "web process"]
    assert lacks(host(linux=False, pressure=False, remote=(), process=None)) == ["kernel counters"]


def test_every_lack_says_how_to_mend_it() -> None:
    ill = database({**WELL, **dict.fromkeys(("monitors", "io_timing", "activities"), False)}, 9.0)
    ill += site(SiteFacts(503, 404, 404, False, ahead_s=-9.0))
    ill += host(linux=True, pressure=False, remote=("the site",), process="uvicorn")
    assert len(lacks(ill)) == 10
    assert all(f.mend for f in ill if not f.there)


def test_nobody_there_is_told_without_a_secret() -> None:
    checkup = examine(
        Patient("http://me:hunter2@127.0.0.1:1/", "host=127.0.0.1 port=1 user=x password=hunter2")
    )
    assert len(checkup.unreachable) == 2
    assert "hunter2" not in str(checkup)


def test_the_command_needs_something_to_look_at(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["doctor", "--dsn", "host=127.0.0.1 port=1 user=x", "--json"]
    assert app(argv, exit_on_error=False) == 3
    found = json.loads(capsys.readouterr().out)
    assert found["unreachable"] == ["database: Connection refused"]
