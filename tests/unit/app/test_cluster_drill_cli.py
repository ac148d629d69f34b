"""The cluster's drills: what they refuse before anything is started."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from premortem.app.cli import _guarded
from premortem.app.commands._cluster_drill import Asked, Wanted

DRILLS = ("failover", "partition", "etcd-down", "switchover", "surge")


@pytest.mark.parametrize("name", DRILLS)
def test_help_has_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _guarded(["drill", name, "--help"]) == 0
    assert f"premortem drill {name} --cluster" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", DRILLS)
def test_without_a_cluster_it_says_what_to_add(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("premortem.drills.cluster_hosts.may_not", lambda: "")
    assert _guarded(["drill", name]) == 2
    assert "add --cluster" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--seconds", "1"), "--seconds 1: from 5 to 600"),
        (("--users", "0"), "--users 0: from 0.5 to 200"),
        (("--users", "many"), "users"),
        (("--folder", "/proc/no"), "--folder /proc/no"),
        (("--json", "/nowhere/x.json"), "--json /nowhere/x.json"),
        (("--through", "window"), "through"),
    ],
)
def test_bad_usage_is_one_line(
    argv: tuple[str, ...],
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _guarded(["drill", "failover", "--cluster", *argv]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_a_partition_without_root_is_one_line_and_3(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert _guarded(["drill", "partition", "--cluster"]) == 3
    assert "need root" in capsys.readouterr().err


def test_the_report_s_folder_is_named_after_the_drill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    where = Wanted("switchover", Asked(cluster=True)).check()
    assert where.is_dir()
    assert where.name.startswith("premortem-drill-switchover-")
