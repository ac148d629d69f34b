"""The page: whole, self-contained, and deaf to hostile text."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from premortem.drills.charts import NARROW, WIDE, Size, draw
from premortem.drills.report import RunRecord, render, side_by_side
from premortem.incidents.picture import frame_of
from premortem.incidents.record import AS_IT_HAPPENED, PROTECTED
from premortem.incidents.sample import sample_result, sample_runs
from premortem.model import Event

VOID = {"meta", "br", "hr", "img", "link", "input"}
HOSTILE = '<script>alert(1)</script> & "q" <!-- $x^2$'


class Strict(HTMLParser):
    """Collects the text; fails on a tag that does not close the one that is open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.text: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parsed(page: str) -> Strict:
    parser = Strict()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


@pytest.fixture(scope="module")
def page() -> str:
    return render(sample_result(), sample_runs())


def test_the_page_is_well_formed(page: str) -> None:
    found = parsed(page)
    assert {"table", "svg", "figure", "article"} <= found.tags
    assert len(found.ids) == len(set(found.ids))


def test_the_page_needs_nothing_from_outside(page: str) -> None:
    found = parsed(page)
    assert not found.tags & {"script", "link", "img", "iframe", "object", "embed"}
    assert "src" not in found.attributes
    assert not re.search(r"https?:|//\w+\.|@import", page)
    assert set(re.findall(r"url\((.)", page)) <= {"#"}


def test_references_inside_the_pictures_resolve(page: str) -> None:
    ids = set(parsed(page).ids)
    wanted = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page))
    assert wanted and {a or b for a, b in wanted} <= ids


def test_the_table_comes_before_everything_else(page: str) -> None:
    assert page.index("Side by side") < page.index("<svg") < page.index("Issue Summary")
    for row in side_by_side(sample_result()):
        assert all(html.escape(cell, quote=False) in page for cell in row)


def test_all_events_and_verdicts_are_on_the_page(page: str) -> None:
    text = " ".join(" ".join(parsed(page).text).split())
    for run in sample_runs():
        assert all(event.text in text for event in run.events)
        assert all(verdict.because in text for verdict in run.final_ledger)


def test_hostile_text_stays_text() -> None:
    runs = [
        replace(
            run,
            events=(
                *run.events,
                Event(run.ramp_at + 7, "note", HOSTILE),
                Event(run.ramp_at + 8, "acted", HOSTILE, data={"remedy": HOSTILE}),
                Event(run.ramp_at + 9, HOSTILE, HOSTILE, HOSTILE),
            ),
            ledger=((0.0, {HOSTILE: "confirmed"}),),
        )
        for run in sample_runs()
    ]
    result = sample_result() | {"scenario": HOSTILE}
    result["runs"][1]["cause"] = HOSTILE
    found = parsed(render(result, runs))
    assert "script" not in found.tags
    assert any("<script>alert(1)</script>" in text for text in found.text)


def test_nulls_are_not_printed() -> None:
    result = sample_result()
    for run in result["runs"]:
        run.update({name: None for name in run if name != "mode"})
    page = render(result, sample_runs())
    parsed(page)
    assert "None" not in page and "nan" not in page


@pytest.mark.parametrize("runs", [[], [RunRecord(AS_IT_HAPPENED, 0.0), RunRecord(PROTECTED, 0.0)]])
def test_an_empty_run_still_makes_a_page(runs: list[RunRecord]) -> None:
    page = render({}, runs)
    parsed(page)
    assert ("nothing recorded" in page) == bool(runs)
    assert "Side by side" in page


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_the_same_run_is_drawn_the_same(size: Size) -> None:
    run = sample_runs()[0]
    frame = frame_of([run])
    first = draw(run, frame, size)
    assert first == draw(run, frame, size)
    assert f'viewBox="0 0 {size.width_px:g} ' in first
    assert "#0102" not in first and "var(--failed)" in first
    for word in ("first failure", "workers added", "restart", "retry_storm"):
        assert f">{word}</text>" in first


def test_both_runs_share_their_axes() -> None:
    runs = sample_runs()
    frame = frame_of(runs)
    ticks = [
        re.findall(r"<text[^>]*translate\(([\d.]+) [^>]*>(-?\d+)</text>", draw(run, frame, WIDE))
        or re.findall(r'x="([\d.]+)"[^>]*>(-?\d+)</text>', draw(run, frame, WIDE))
        for run in runs
    ]
    assert ticks[0] and ticks[0] == ticks[1]
