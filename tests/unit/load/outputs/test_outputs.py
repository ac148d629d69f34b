# ruff: noqa: E501 - documents as they are
from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from premortem.load.outputs.document import BadResult, cleaned, read_result
from premortem.load.outputs.junit import to_junit
from premortem.load.outputs.openmetrics import to_openmetrics
from premortem.load.outputs.page import to_page
from premortem.load.outputs.schedule import snippet

TIMES = {
    "count": 900,
    "mean": 12.0,
    "p50": 10.0,
    "p90": 20.0,
    "p95": 30.0,
    "p99": 41.0,
    "p99.9": 60.0,
    "max": 77.0,
}
HEAD = {
    "premortem_load": 1, "site": "shop", "url": "http://127.0.0.1:8000/", "release": "v2",
    "made_at": 1_790_000_000.0, "conditions": {"journey": "/", "pace": "Constant(10)"},
    "comparability": "0123456789abcdef", "ledger": None,
}  # fmt: skip
RUN: dict[str, Any] = {
    **HEAD, "kind": "run", "seconds": 30.0, "verdict": "missed", "invalid": None, "stopped": None,
    "bars": [
        {"text": "p99<30ms", "value": 41.0, "words": "41 ms", "held": False, "second": None, "note": ""},
        {"text": "failed<1%", "value": 0.0, "words": "0 %", "held": True, "second": None, "note": ""},
    ],
    "final": {
        "offered": 900, "served": 898, "refused": 0, "failed": 2, "unfinished": 0, "not_started": 0,
        "response_ms": TIMES, "names_ms": {'a "quoted" \\ name': TIMES}, "lag_ms": {"p99": 0.3},
        "cpu_ratio_peak": 0.12, "errors": {"broken: <reset>": 2},
    },
    "rows": [
        {"second": s, "offered": 30, "served": 30, "refused": 0, "failed": s % 2, "in_flight": 1,
         "p50_ms": 10.0, "p99_ms": None if s == 3 else 41.0}
        for s in range(30)
    ],
}  # fmt: skip
SEARCH: dict[str, Any] = {
    **HEAD, "kind": "search", "promise": "p99<300ms", "sentence": "knee 412 users/s (402–423)",
    "knee": {"users_per_s": 412.0, "low_per_s": 402.0, "high_per_s": 423.0, "abstained": False, "reason": "held", "trials_s": 31.0},
    "trials": [
        {"users_per_s": rate, "seconds": 5.0, "served_per_s": min(rate, 415.0), "p50_ms": 9.0, "p99_ms": 30.0,
         "violations": 0, "offered": 100, "levels": {"db.cpu": rate / 425, "pool": 0.4, "downstream": 30.0}}
        for rate in (128.0, 256.0, 402.0, 423.0)
    ],
}  # fmt: skip
COMPARE: dict[str, Any] = {
    **HEAD, "kind": "compare", "verdict": "worse", "sentence": "worse: capacity -20 %", "measure": "capacity",
    "unit": "users/s", "baseline": [400.0, 402.0, 398.0, 401.0], "candidate": [320.0, 322.0, 318.0, 319.0],
}  # fmt: skip


def test_junit_has_a_case_for_each_bar_and_counts_what_was_missed() -> None:
    root = ElementTree.fromstring(to_junit(RUN))
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("4", "1", "0")
    failed = [c for c in root.iter("testcase") if c.find("failure") is not None]
    assert [c.get("name") for c in failed] == ["p99<30ms"]
    failure = failed[0].find("failure")
    assert failure is not None and failure.get("message") == "p99<30ms: was 41 ms"


def test_an_invalid_run_is_an_error_and_control_characters_do_not_break_the_file() -> None:
    root = ElementTree.fromstring(to_junit({**RUN, "invalid": "late \x00\x1b[31m"}))
    assert root.get("errors") == "1"


SAMPLE = re.compile(r'[a-z_:]+\{([a-z]+="(\\.|[^"\\])*",?)*\} -?\d+(\.\d+)?(e[+-]?\d+)?')


@pytest.mark.parametrize("document", [RUN, SEARCH], ids=["run", "search"])
def test_openmetrics_is_well_formed(document: dict[str, Any]) -> None:
    lines = to_openmetrics(document).splitlines()
    assert lines[-1] == "# EOF"
    for line in lines[:-1]:
        assert re.fullmatch(r"# (TYPE|UNIT|HELP) \S+ .+", line) or SAMPLE.fullmatch(line), line
    assert "premortem_load_" in lines[0]


def test_openmetrics_gives_times_in_seconds() -> None:
    assert 'premortem_load_response_seconds{site="shop",quantile="0.99"} 0.041' in to_openmetrics(
        RUN
    )
    assert (
        'premortem_load_knee_users_per_second{site="shop",bound="estimate"} 412'
        in to_openmetrics(SEARCH)
    )


class Balanced(HTMLParser):
    """Fails on a tag that is closed by another's end."""

    VOID = frozenset({"meta", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("document", [RUN, SEARCH, COMPARE], ids=["run", "search", "compare"])
def test_the_page_is_whole_and_needs_nothing_else(document: dict[str, Any]) -> None:
    page = to_page(document)
    parser = Balanced()
    parser.feed(page)
    assert not parser.open
    assert "script" not in parser.seen and "link" not in parser.seen and "img" not in parser.seen
    assert parser.seen.count("svg") >= 2
    assert "nan" not in page.lower().replace("nano", "")


def test_the_page_of_a_search_shows_the_knees_so_far_and_where_they_changed() -> None:
    history = [{"at": i, "value": 400.0 if i < 5 else 320.0, "release": None} for i in range(10)]
    page = to_page({**SEARCH, "history": history, "change_points": [5]})
    assert "The knees of this site so far" in page and "changed here" in page
    assert "so far" not in to_page(SEARCH)


def test_what_the_site_said_cannot_become_markup() -> None:
    evil = {**RUN, "site": "<script>x</script>", "release": "<b>"}
    page = to_page(evil)
    assert "<script>" not in page and "<b>" not in page
    assert "broken: &lt;reset&gt;" in page


def test_a_page_of_a_run_in_which_nothing_happened() -> None:
    empty = {
        **RUN,
        "rows": [],
        "bars": [],
        "final": {**RUN["final"], "response_ms": {"count": 0}, "names_ms": {}},
    }
    assert "nothing was measured" in to_page(empty)


def test_a_result_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    file.write_text(json.dumps(RUN))
    assert read_result(file, ("run",))["site"] == "shop"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("[]", "not a result"),
        ('{"premortem_load": 2}', "not a result"),
        (json.dumps(SEARCH), "a search; wanted is a run"),
    ],
)
def test_what_is_no_result_is_told_apart(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    file.write_text(text)
    with pytest.raises(BadResult, match=words):
        read_result(file, ("run",))
    with pytest.raises(BadResult, match="No such file"):
        read_result(tmp_path / "missing.json")


def test_json_knows_no_infinity() -> None:
    assert cleaned({"a": float("inf"), "b": (1.0, float("nan"))}) == {"a": None, "b": [1.0, None]}


@pytest.mark.parametrize("kind", ["cron", "systemd", "github-actions"])
def test_a_snippet_runs_the_test_of_the_site(kind: str) -> None:
    text = snippet(
        kind,
        site="shop",
        config=Path("/srv/my site/premortem.toml"),
        test="search",
        at="4:05",
        on="daily",
    )
    assert "premortem load search --site shop --config" in text
    assert {
        "cron": "5 4 * * *",
        "systemd": "OnCalendar=*-*-* 04:05",
        "github-actions": 'cron: "5 4 * * *"',
    }[kind] in text


@pytest.mark.parametrize(
    ("site", "at"), [("shop; rm -rf", "04:10"), ("shop", "24:00"), ("shop", "soon"), ("", "04:10")]
)
def test_a_snippet_takes_no_name_that_a_shell_would_run(site: str, at: str) -> None:
    with pytest.raises(ValueError, match="--"):
        snippet("cron", site=site, config=Path("/p.toml"), test="run", at=at, on="weekly")
