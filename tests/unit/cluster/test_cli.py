"""The commands' words and codes; no server is started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from premortem.cluster.cli import app
from premortem.cluster.view import view

GOOD = """
name = "shop"
address = "10.0.0.9"
[[nodes]]
name = "db1"
address = "10.0.0.1"
zone = "a"
[[nodes]]
name = "db2"
address = "10.0.0.2"
zone = "b"
[[nodes]]
name = "db3"
address = "10.0.0.3"
zone = "c"
"""


def run(*words: str) -> int:
    code: int = app(list(words), result_action="return_value")
    return code


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "shop.toml"
    path.write_text(GOOD)
    return path


def test_plan_lets_a_good_one_pass(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plan", str(good)) == 0
    assert "nothing would bite" in capsys.readouterr().out


def test_plan_refuses_with_reason_and_mend(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good.write_text('sync = "off"\n' + GOOD)
    assert run("plan", str(good), "--json") == 1
    said = json.loads(capsys.readouterr().out)
    assert said["refused"]
    assert said["problems"][0]["rule"] == "no_loss"
    assert said["problems"][0]["mend"]


def test_bad_files_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("name = ")
    assert run("plan", str(bad)) == 2
    assert run("plan", str(tmp_path / "none.toml")) == 2
    bad.write_bytes(b"\xff\xfe\x00")
    assert run("plan", str(bad)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 3
    assert all("bad.toml" in line or "none.toml" in line for line in lines)


def test_render_writes_secrets_closed_and_never_over_something(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "files"
    assert run("render", str(good), "--out", str(out)) == 0
    assert (out / "front/etc/premortem/userlist.txt").stat().st_mode & 0o077 == 0
    assert run("render", str(good), "--out", str(out)) == 2
    assert "exists" in capsys.readouterr().err


def test_render_refuses_what_plan_refuses(good: Path, tmp_path: Path) -> None:
    good.write_text('sync = "off"\n' + GOOD)
    assert run("render", str(good), "--out", str(tmp_path / "files")) == 1
    assert not (tmp_path / "files").exists()


@pytest.mark.parametrize("words", [["status"], ["down"], ["switchover"], ["logs"], ["add-node"]])
def test_without_a_cluster(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words, "--folder", str(tmp_path)) == 3
    assert "no cluster in" in capsys.readouterr().err


def test_destroy_wants_a_yes(tmp_path: Path) -> None:
    assert run("destroy", "--folder", str(tmp_path)) == 2


def test_up_refuses_other_machines(good: Path, tmp_path: Path) -> None:
    assert run("up", "--topology", str(good), "--folder", str(tmp_path / "c")) == 2
    assert run("up", "--nodes", "0", "--folder", str(tmp_path / "c")) == 2
    assert not (tmp_path / "c").exists()


def test_view_says_what_is_wrong() -> None:
    status = {
        "name": "t",
        "primary": None,
        "sync": "quorum",
        "supervised": False,
        "members": [
            {"name": "a", "role": "unknown", "state": "down", "lag_bytes": None, "address": "x:1"}
        ],
        "etcd": [{"name": "a", "healthy": False}],
        "routes": {"proxy": "up", "primary": [], "replicas": []},
        "pools": [],
    }
    text = view(status)
    for part in ("primary NONE", "NOT SUPERVISED", "0 of 1 healthy", "NOBODY", "no pooling"):
        assert part in text
