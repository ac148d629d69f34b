"""The command line's promises that need no server: one clear line, the right exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from premortem import __version__
from premortem.app.cli import _guarded
from premortem.model import Reading
from premortem.recording import encode, header


def run(*argv: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = _guarded(list(argv))
    out, err = capsys.readouterr()
    return code, out, err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("version", capsys=capsys)[:2] == (0, __version__ + "\n")


COMMANDS = ["diagnose", "doctor", "drill", "load", "plan", "version", "watch"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(command, "--help", capsys=capsys)
    assert code == 0
    assert f"premortem {command}" in out
    assert "Example" in out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("drill", "zoo"), "zoo"),
        (("drill", "shop", "--wrong"), "--wrong"),
        (("drill", "shop", "--speed", "0"), "--speed"),
        (("drill", "shop", "--port", "99999"), "port"),
        (("drill",), "SCENARIO"),
        (("diagnose",), "--recording"),
        (("diagnose", "--url", "shop.example"), "http://"),
        (("diagnose", "--dsn", "nonsense ="), "--dsn"),
        (("diagnose", "--recording", "/nowhere/x.jsonl"), "No such file"),
        (("diagnose", "--url", "http://a/", "--recording", "x"), "choose one"),
        (("diagnose", "--url", "http://a/", "--seconds", "0"), "--seconds"),
        (("diagnose", "--site", "shop", "--config", "/nowhere.toml"), "No such file"),
        (("diagnose", "--site", "shop", "--url", "http://a/"), "choose one"),
        (("nonsense",), "nonsense"),
    ],
)
def test_bad_input_gets_one_line_and_exit_2(
    argv: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(*argv, capsys=capsys)
    assert code == 2
    assert words.lower() in err.lower()
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_a_folder_that_cannot_be_made_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    code, _, err = run("drill", "shop", "--folder", str(tmp_path / "file" / "x"), capsys=capsys)
    assert (code, err.count("\n")) == (2, 1)
    assert "Not a directory" in err


def test_a_result_file_that_cannot_be_written_is_told_before_the_drill(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--folder", str(tmp_path / "d"), "--json", str(tmp_path / "no" / "r.json")]
    code, _, err = run("drill", "shop", *where, capsys=capsys)
    assert (code, err.count("\n")) == (2, 1)
    assert "No such file" in err


def recording(path: Path, readings: list[Reading]) -> Path:
    path.write_text("\n".join([header(), *(encode(r) for r in readings)]) + "\n")
    return path


def surge(second: int) -> Reading:
    """Forty calm seconds, then twenty of sessions that all want CPU on one core."""
    calm = second < 40
    values = {
        "db.up": 1.0,
        "db.cores": 1.0,
        "db.connections.max": 95.0,
        "db.connections.used": 5.0 if calm else 40.0,
        "db.sessions.active": 1.0 if calm else 38.0,
        "db.wait.cpu": 0.6 if calm else 37.0,
        "db.wait.lock": 0.0,
        "db.cpu.busy_ratio": 0.4 if calm else 1.0,
        "db.transactions_per_s": 40.0 + second % 3 if calm else 110.0,
        "web.cpu.busy_ratio": 0.1 if calm else 0.4,
        "net.rtt_ms": 0.2,
        "net.other_port_rtt_ms": 0.2,
        "net.tcp.retransmit_ratio": 0.0,
        "net.tcp.segments_out_per_s": 500.0,
        "net.tcp.listen_overflows_per_s": 0.0,
        "user.http.connect_ms": 0.3,
        "user.http.first_byte_ms": 12.0 if calm else 1900.0,
        "user.http.ok_ratio": 1.0 if calm else 0.2,
    }
    return Reading("recorded", "site", 1000.0 + second, values)


def test_a_recording_names_the_database_and_rules_the_others_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recording(tmp_path / "r.jsonl", [surge(s) for s in range(60)])
    code, out, _ = run("diagnose", "--recording", str(path), "--json", capsys=capsys)
    found = json.loads(out)
    assert code == 0
    assert (found["tier"], found["cause"]) == ("database", "db_cpu_by_traffic")
    assert {"network", "web"} <= {v["tier"] for v in found["ledger"] if v["state"] == "ruled_out"}
    assert [c["kind"] for c in found["changes"]].count("diagnosis") == 1


def test_calm_names_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recording(tmp_path / "r.jsonl", [surge(s % 40) for s in range(40)])
    code, out, _ = run("diagnose", "--recording", str(path), capsys=capsys)
    assert code == 0
    assert "no cause is confirmed" in out
    assert "check next" in out  # what cannot be excluded says how it could be


def test_a_recording_of_another_kind_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"foo": 1}\n')
    code, _, err = run("diagnose", "--recording", str(path), capsys=capsys)
    assert code == 2
    assert str(path) in err
    assert "line 1" in err


def test_the_command_is_installed_and_needs_no_terminal() -> None:
    found = subprocess.run(
        [str(Path(sys.executable).parent / "premortem"), "--help"],
        capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "40"},
    )  # fmt: skip
    assert found.returncode == 0
    assert "diagnose" in found.stdout


@pytest.mark.parametrize("command", ["diagnose", "doctor"])
def test_a_site_that_is_not_configured_is_told(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "premortem.toml"
    config.write_text('[site.game]\nurl = "http://127.0.0.1:1/"\n')
    code, _, err = run(command, "--site", "shop", "--config", str(config), capsys=capsys)
    assert code == 2
    assert "it has: game" in err
