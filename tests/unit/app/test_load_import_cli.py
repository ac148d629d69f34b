from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from premortem.app.cli import main

LOG = '10.0.0.1 - - [10/Oct/2025:13:55:3%d +0000] "GET /item/%d HTTP/1.1" 200 9 "-" "Mozilla"\n'


def code_of(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["load", *words])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "access.log"
    path.write_text("".join(LOG % (number, number) for number in range(5)) + "broken\n")
    return path


def test_an_import_is_written_and_what_it_left_out_is_said(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journey = log.parent / "journey.toml"
    assert code_of("import", "access-log", str(log), "--write", str(journey)) == 0
    said = capsys.readouterr()
    assert "left out 1 lines that are not in the combined format" in said.err
    assert said.out == f"wrote {journey}, {log.parent}/journey-item_id.csv\n"
    assert "left out 1 lines" in journey.read_text()
    assert code_of("import", "access-log", str(log), "--write", str(journey)) == 2
    assert "--force overwrites" in capsys.readouterr().err
    assert code_of("import", "access-log", str(log), "--write", str(journey), "--force") == 0


def test_without_a_file_it_is_printed(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("import", "access-log", str(log)) == 0
    assert "[[journey.task]]" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["har", "openapi", "locust", "access-log"])
def test_a_file_that_is_something_else_is_one_line(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x"
    path.write_text("][ not at all (\n")
    assert code_of("import", kind, str(path)) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert code_of("import", kind, str(tmp_path / "gone")) == 2


@pytest.mark.parametrize(
    ("kind", "words"), [("k6", "import http from"), ("locust", "FastHttpUser")]
)
def test_an_imported_journey_is_exported(
    kind: str, words: str, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journey, script = log.parent / "journey.toml", log.parent / "script"
    code_of("import", "access-log", str(log), "--write", str(journey))
    capsys.readouterr()
    base = ("--base-url", "http://127.0.0.1:8000")
    assert code_of("export", kind, str(journey), *base, "--write", str(script)) == 0
    assert words in script.read_text()
    assert code_of("export", kind, str(journey), "--base-url", "ftp://x") == 2
    assert "must start with http" in capsys.readouterr().err
    assert code_of("export", kind, str(log), *base) == 2


@pytest.mark.parametrize("line", ["", "{}", '{"premortem_agent": 99}', "not json"])
def test_an_agent_told_nonsense_says_so(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(line + "\n"))
    here = Path.cwd()
    assert code_of("agent") == 2
    assert "error" in json.loads(capsys.readouterr().out)
    assert Path.cwd() == here
