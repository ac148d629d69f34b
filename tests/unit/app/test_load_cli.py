"""``premortem load`` on the command line: help, one clear line, the right code."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from premortem.app.cli import _guarded


def run(*argv: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = _guarded(list(argv))
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("command", ["run", "search", "compare", "report", "schedule"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run("load", command, "--help", capsys=capsys)
    assert code == 0
    assert f"premortem load {command}" in out and "Example" in out


NOBODY = "http://127.0.0.1:1/"


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("run",), 2, "load what?"),
        (("run", "shop.example"), 2, "must be an address"),
        (("run", "http://192.0.2.1/"), 2, "--i-own-this"),
        (("run", NOBODY, "--bars", "p99"), 2, "p99<300ms"),
        (("run", NOBODY, "--rate", "1e9"), 2, "1000000"),
        (("run", NOBODY, "--rate", "99999"), 2, "ceiling"),
        (("run", NOBODY, "--seconds", "99999"), 2, "ceiling"),
        (("run", NOBODY, "--seconds", "0"), 2, "--seconds"),
        (("run", NOBODY, "--pace", "fast"), 2, "constant RATE TIME"),
        (("run", NOBODY, "--pace", "constant 1 1s", "--rate", "5"), 2, "leave out"),
        (("run", NOBODY, "--journey", "nope.toml"), 2, "nope.toml"),
        (("run", NOBODY, "--journey", "nope:nope"), 2, "nope"),
        (("run", NOBODY, "--out", "/nowhere/r.json"), 2, "--out /nowhere"),
        (("run", NOBODY, "--workers", "0"), 2, "--workers"),
        (("run", NOBODY, "--timeout-ms", "0"), 2, "--timeout-ms"),
        (("run", NOBODY, "--agents", "not a host"), 2, "not a host"),
        (("run", NOBODY, "--dsn", "nonsense ="), 2, "--dsn"),
        (("run", "--site", "shop", "--config", "/nowhere.toml"), 2, "/nowhere.toml"),
        (("run", NOBODY), 3, "refused"),
        (("search", NOBODY, "--promise", "failed<1%"), 2, "percentile"),
        (("search", NOBODY, "--precision", "2"), 2, "--precision"),
        (("search", NOBODY, "--start", "99999"), 2, "--start"),
        (("search", NOBODY), 3, "refused"),
        (("compare", NOBODY), 2, "compare what?"),
        (("compare", NOBODY, NOBODY, "--measure", "luck"), 2, "capacity"),
        (("compare", NOBODY, NOBODY, "--pairs", "2"), 2, "--pairs"),
        (("compare", NOBODY, NOBODY, NOBODY), 2, "two addresses"),
        (("compare", NOBODY, NOBODY), 3, "refused"),
        (("compare", "/nowhere/a.json", "/nowhere/b.json"), 2, "No such file"),
        (("compare", "--history"), 2, "--site"),
        (("report", "/nowhere/a.json"), 2, "No such file"),
        (("schedule", "--site", "a b"), 2, "--site"),
        (("schedule", "--site", "shop", "--cron", "--systemd"), 2, "one snippet"),
        (("schedule", "--site", "shop", "--at", "noon"), 2, "--at"),
    ],
)
def test_what_cannot_be_gets_one_line_and_its_code(
    argv: tuple[str, ...], code: int, words: str, capsys: pytest.CaptureFixture[str],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    got, _, err = run("load", *argv, capsys=capsys)
    assert (got, err.count("\n")) == (code, 1), err
    assert words.lower() in err.lower()
    assert not list(tmp_path.iterdir())


def test_a_saved_result_becomes_a_page_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {
        "premortem_load": 1, "kind": "search", "site": "shop", "made_at": 0, "release": None,
        "promise": "p99<300ms", "sentence": "no knee: x", "trials": [], "conditions": {},
        "comparability": "0", "knee": {"abstained": True, "reason": "x", "users_per_s": None},
    }  # fmt: skip
    file = tmp_path / "r.json"
    file.write_text(json.dumps(found))
    assert run("load", "report", str(file), capsys=capsys)[0] == 0
    assert "No knee" in (tmp_path / "r.html").read_text()


def test_a_schedule_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run("load", "schedule", "--site", "shop", "--systemd", capsys=capsys)
    assert code == 0 and "OnCalendar=Mon 04:10" in out


def test_every_flag_in_the_document_exists(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[3] / "docs" / "load.md").read_text()
    told = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
    commands = ("run", "search", "compare", "report", "schedule", "import", "export")
    known = {"--spec", "--usl"}  # of the engine as a process, and of premortem plan
    for command in commands:
        known |= set(
            re.findall(r"--[a-z][a-z-]+", run("load", command, "--help", capsys=capsys)[1])
        )
    for nested in (
        ("import", "har"),
        ("import", "access-log"),
        ("import", "openapi"),
        ("export", "k6"),
    ):
        out = run("load", *nested, "--help", capsys=capsys)[1]
        known |= set(re.findall(r"--[a-z][a-z-]+", out))
    assert told <= known
