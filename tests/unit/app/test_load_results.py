"""A run's verdict, a search in words and figures, and what people see of both."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from premortem.app.load_run import Progress, Run
from premortem.app.load_search import Searched, curve_csv, figures, promise_of, sentence
from premortem.app.load_view import RunView, print_run
from premortem.load.attack import Result
from premortem.load.bars import BadBar, Judged, judge, parse_bar
from premortem.load.bottleneck import name_bottleneck
from premortem.load.knee import Knee, Measured
from premortem.load.levels import RESOURCES
from premortem.load.pace import Constant
from premortem.load.stats import Arrived, Second, Tally


def finished(*reasons: str, held: bool = True, stopped: str | None = None) -> Run:
    result = Result(Tally(), 0.0, 1.0, 0.1, 0.1, reasons)
    judged = Judged(parse_bar("p99<300ms"), 10.0 if held else 400.0, held)
    return Run(result, 1.0, (judged,), stopped, None)


@pytest.mark.parametrize(
    ("done", "verdict"),
    [
        (finished(), "passed"),
        (finished(held=False), "missed"),
        (finished("the generator was late: send lag"), "invalid"),
        (finished("the generator was late: send lag", held=False, stopped="x"), "invalid"),
        (finished("3 users had not finished when the run ended"), "passed"),
        (finished("the run was stopped", stopped="60 % failed"), "stopped"),
        (finished("the run was stopped"), "invalid"),
    ],
)
def test_a_run_is_believed_before_it_is_judged(done: Run, verdict: str) -> None:
    assert done.verdict == verdict


TRIALS = tuple(
    Measured(
        rate, 5.0, int(rate * 5), int(rate * 5), 0, served_per_s=min(rate, 205.0),
        levels={"db.cpu": min(1.0, rate / 205), "pool": rate / 400},
        requests_per_s=min(rate, 205.0), requests_in_flight=rate / 50,
    )
    for rate in (50.0, 100.0, 200.0, 200.5, 210.0)
)  # fmt: skip
KNEE = Knee(205.0, 200.0, 210.0, TRIALS, "held at 200/s and not at 210/s")


def test_the_sentence_says_where_why_and_what_next() -> None:
    found = Searched(KNEE, name_bottleneck(KNEE, RESOURCES), None)
    assert sentence(found) == (
        "knee 205 users/s (200–210); there the database's processor is the limit: db.cpu is 100% "
        "busy at the knee; next would be the pool of database connections at 400 users/s"
    )
    assert figures(found)["bottleneck"]["resource"] == "db.cpu"
    assert json.dumps(figures(found))


def test_without_a_knee_the_sentence_says_why() -> None:
    none = Knee(None, None, None, (), "the curve did not bend up to the ceiling of 50/s")
    found = Searched(none, name_bottleneck(none, RESOURCES), None)
    assert sentence(found) == "no knee: the curve did not bend up to the ceiling of 50/s"


def test_without_sources_the_limit_is_not_guessed() -> None:
    blind = replace(KNEE, trials=tuple(replace(t, levels={}) for t in TRIALS))
    found = Searched(blind, name_bottleneck(blind, RESOURCES), None)
    assert "what saturates is not known: no resource was sampled" in sentence(found)


def test_the_curve_is_what_the_plan_reads() -> None:
    from premortem.capacity.tables import curve_from_csv

    text = curve_csv(TRIALS)
    curve = curve_from_csv(text)
    assert curve.loads == (1.0, 2.0, 4.0, 4.2)  # 200.5/s says what 200/s said
    assert curve.throughputs == (50.0, 100.0, 200.0, 205.0)


@pytest.mark.parametrize("text", ["failed<1%", "p99>300ms", "p99<300ms over 5s", "mean<1s"])
def test_a_promise_is_a_percentile_and_its_bound(text: str) -> None:
    with pytest.raises(BadBar):
        promise_of(text)


def test_the_summary_says_what_became_of_the_users_and_of_each_bar() -> None:
    tally = Tally()
    row = Second(0, offered=100, served=98, failed=2)
    for _ in range(98):
        row.names["page"].record(20_000)
    tally.close(row)
    tally.arrived[0] = Arrived(0, 100, 98, 0, 2)
    tally.errors["broken: reset"] = 2
    bars = [parse_bar(text) for text in ("p99<300ms", "failed<1%")]
    done = Run(
        Result(tally, 0.0, 1.0, 0.1, 0.1, ("the generator was late: 40 ms",)),
        1.0, tuple(judge(bar, tally, 1.0) for bar in bars), "60 % failed", None,
    )  # fmt: skip
    console = Console(width=200, record=True, file=io.StringIO())
    print_run(console, done)
    said = console.export_text()
    for words in (
        "100 users in 1 s: 98 served, 2 failed", "2 x broken: reset", "✓ p99<300ms: 20 ms",
        "✗ failed<1%: 2 %", "stopped itself: 60 % failed", "invalid: the generator was late",
    ):  # fmt: skip
        assert words in said


def test_away_from_a_terminal_a_line_is_printed_every_five_seconds() -> None:
    console = Console(width=200, file=io.StringIO(), force_terminal=False)
    progress = Progress(Constant(10, 10))
    with RunView(console, live=True) as view:
        for second in range(10):
            row = Second(second, offered=10, served=10)
            row.response.record(5000)
            progress.rows.append(row)
            view.show(progress)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 2 and "served 10/s" in lines[1] and "p99 5 ms" in lines[1]


def test_on_a_terminal_the_present_is_drawn() -> None:
    console = Console(width=100, file=io.StringIO(), force_terminal=True)
    progress = Progress(Constant(10, 10), stopped="60 % of the users failed for 5 s")
    progress.rows.append(Second(0, offered=10, served=9, failed=1))
    with RunView(console, live=True) as view:
        view.show(progress)
    assert isinstance(console.file, io.StringIO)
    assert "1 of 10 s" in console.file.getvalue() and "stopping:" in console.file.getvalue()
