"""The parts of ``premortem load`` that need no server: words, files, bounds, one clear line."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from premortem.app.cli import _guarded
from premortem.app.config import BadConfig
from premortem.app.load_compare import Plan, compared, knee_series, sides_of_files, spoken
from premortem.app.load_config import load_table
from premortem.app.load_here import listeners
from premortem.app.load_run import Progress, Run
from premortem.app.load_search import Searched, curve_csv, figures, promise_of, sentence
from premortem.app.load_target import (
    Asked,
    aim,
    demand_bounds,
    demand_permission,
    pace_of_journey,
)
from premortem.app.load_view import RunView, print_run
from premortem.app.load_words import pace_from_words, seconds_from
from premortem.load.attack import Result
from premortem.load.bars import BadBar, Judged, judge, parse_bar
from premortem.load.bottleneck import name_bottleneck
from premortem.load.compare import NotComparable
from premortem.load.knee import Knee, Measured
from premortem.load.levels import RESOURCES
from premortem.load.outputs.document import BadResult
from premortem.load.pace import BadPace, Constant
from premortem.load.safety import Ceilings
from premortem.load.stats import Arrived, Second, Tally


def run(*argv: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = _guarded(list(argv))
    out, err = capsys.readouterr()
    return code, out, err


# -- words


@pytest.mark.parametrize(
    ("words", "seconds", "count"),
    [
        ("constant 10 30s", 30.0, 300.0),
        ("ramp 10..20 1m", 60.0, 900.0),
        ("ramp 10 .. 20 60", 60.0, 900.0),
        ("steps 10,20 5s", 10.0, 150.0),
        ("steps 10, 20 5s", 10.0, 150.0),
        ("sine 50±20 60s 2m", 120.0, 6000.0),
        ("constant 1 10s; constant 2 10s;", 20.0, 30.0),
    ],
)
def test_a_pace_in_words(words: str, seconds: float, count: float) -> None:
    pace = pace_from_words(words)
    assert pace.seconds == pytest.approx(seconds)
    assert pace.count(pace.seconds) == pytest.approx(count)


@pytest.mark.parametrize(
    "words",
    ["", "fast", "constant 10", "ramp 10 20 60s", "constant -1 10s", "steps 10s", "sine 5±9 1s 1s"],
)
def test_a_pace_that_is_none(words: str) -> None:
    with pytest.raises(BadPace):
        pace_from_words(words)


def test_a_length_of_time_has_a_unit_we_know() -> None:
    assert (seconds_from("250ms"), seconds_from("2h")) == (0.25, 7200.0)
    with pytest.raises(BadPace, match="write 90s"):
        seconds_from("2d")


# -- the table [load]


def test_the_table_holds_bars_and_ceilings() -> None:
    table = load_table({"bars": ["p99<300ms"], "rate_max_per_s": 50, "stop_causes": []})
    assert [bar.text for bar in table.parsed_bars()] == ["p99<300ms"]
    assert table.ceilings().rate_max_per_s == 50
    assert table.stop_rules().causes == ()


@pytest.mark.parametrize(
    "bad", [{"bars": ["p99"]}, {"rate_max_per_s": 0}, {"nonsense": 1}, {"timeout_ms": "soon"}]
)
def test_a_mistake_in_the_table_is_one_line_that_names_it(bad: dict[str, object]) -> None:
    with pytest.raises(BadConfig) as told:
        load_table(bad, "p.toml")
    assert "p.toml" in str(told.value) and "load" in str(told.value)
    assert "\n" not in str(told.value)


# -- the target


def test_without_a_journey_every_user_asks_for_the_page_of_the_address() -> None:
    found = aim(Asked("http://127.0.0.1:8000/a/b?c=1", config=Path("/nowhere.toml")))
    assert (found.base_url, found.journey, found.name) == (
        "http://127.0.0.1:8000", "/a/b?c=1", "127.0.0.1:8000"
    )  # fmt: skip
    assert found.sources == () and found.history is None


def test_a_search_looks_at_a_local_site_and_finds_who_listens() -> None:
    import os
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = aim(Asked(f"http://127.0.0.1:{port}/", config=Path("/nowhere.toml"), look=True))
        assert {s.name for s in found.sources} == {"tcp", "host", "http_probe"}
        assert listeners(port)() == (os.getpid(),)
    assert listeners(port)() == ()


def test_a_configured_site_brings_its_address_its_sources_and_its_store(tmp_path: Path) -> None:
    config = tmp_path / "p.toml"
    config.write_text(
        '[site.shop]\nurl = "http://127.0.0.1:8000/"\nhost = false\n'
        '[load]\nbars = ["p99<300ms"]\nretries = 2\n[history]\npath = "kept.db"\n'
    )
    found = aim(Asked(site="shop", config=config))
    assert (found.name, found.url) == ("shop", "http://127.0.0.1:8000/")
    assert {s.name for s in found.sources} == {"tcp", "http_probe"}
    assert (found.history, found.settings.retries) == (Path("kept.db"), 2)
    assert aim(Asked(site="shop", config=config, retries=0)).settings.retries == 0
    with pytest.raises(BadConfig, match="has: shop"):
        aim(Asked(site="blog", config=config))


def test_what_is_not_ones_own_wants_a_promise() -> None:
    demand_permission("http://127.0.0.1:8000/", i_own_this=False)
    demand_permission("http://192.0.2.1/", i_own_this=True)
    with pytest.raises(ValueError, match="--i-own-this"):
        demand_permission("http://192.0.2.1/", i_own_this=False)


def test_ceilings_hold_whatever_is_asked_for() -> None:
    demand_bounds(Constant(100, 60), Ceilings(100, 60))
    with pytest.raises(ValueError, match="above the ceiling of 100"):
        demand_bounds(Constant(101, 60), Ceilings(100, 60))
    with pytest.raises(ValueError, match="longer than the ceiling"):
        demand_bounds(Constant(100, 61), Ceilings(100, 60))


def test_a_journey_file_may_bring_its_pace(tmp_path: Path) -> None:
    file = tmp_path / "j.toml"
    step = '[[journey]]\n[[journey.step]]\nget = "/"\n'
    file.write_text(step)
    assert pace_of_journey(str(file)) is None
    file.write_text(step + '[[pace]]\nkind = "constant"\nrate = 7\nseconds = 3\n')
    assert pace_of_journey(str(file)) == Constant(7, 3)
    assert pace_of_journey("/page") is None


# -- a run's verdict


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


# -- a search in words and figures

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


# -- comparing

PLAN = Plan("capacity", 4, 5.0, 20.0, 16, 0.05, 1)


def document(
    served: int, pace: str = "Constant(20)", invalid: str | None = None
) -> dict[str, object]:
    rows = [
        {"second": s, "served": served + s % 3, "p50_ms": 10.0 + s % 3, "p99_ms": 20.0}
        for s in range(41)
    ]
    return {
        "site": "shop", "conditions": {"pace": pace}, "invalid": invalid, "seconds": 41.0,
        "rows": rows, "final": {"served": served * 41, "response_ms": {"p50": 10.0}},
    }  # fmt: skip


def test_two_saved_runs_are_compared_stretch_by_stretch() -> None:
    sides = sides_of_files([document(400)], [document(320)], "capacity")
    assert len(sides.baseline) == len(sides.candidate) == 8
    assert "stretches" in sides.note
    found = compared(sides, PLAN)
    assert found.verdict == "worse"
    assert "worse: capacity -20.0%" in spoken(found, PLAN)
    assert "p50 +" not in spoken(found, PLAN)


def test_four_files_a_side_are_four_values() -> None:
    sides = sides_of_files(
        [document(400 + i) for i in range(4)], [document(400 + i) for i in range(4)], "capacity"
    )
    assert sides.baseline == (400.0, 401.0, 402.0, 403.0) and not sides.note


def test_apples_and_pears_are_refused_with_what_differs() -> None:
    with pytest.raises(NotComparable, match="pace: 'Constant\\(20\\)' against 'Constant\\(30\\)'"):
        sides_of_files([document(400)], [document(320, "Constant(30)")], "capacity")


def test_a_run_that_is_not_to_be_believed_is_not_compared() -> None:
    with pytest.raises(BadResult, match="invalid: late"):
        sides_of_files([document(400)], [document(320, invalid="late")], "capacity")


def test_percentiles_are_not_pooled() -> None:
    with pytest.raises(BadResult, match="not p95"):
        sides_of_files([document(400)], [document(320)], "p95")


def test_the_series_holds_what_was_searched_under_the_newest_conditions() -> None:
    def search(value: float | None, hashed: str) -> dict[str, object]:
        return {"kind": "search", "comparability": hashed, "knee": {"users_per_s": value}}

    runs = [(float(i), search(400.0 + i % 3, "a")) for i in range(8)]
    runs += [(8.0, search(100.0, "other")), (9.0, {"kind": "run"}), (9.5, search(None, "a"))]
    runs += [(10.0 + i, search(320.0 + i % 3, "a")) for i in range(8)]
    series, changed = knee_series(runs)
    assert len(series) == 16
    assert changed == (8,)
    assert knee_series([]) == ([], ())


# -- the command line


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


# -- what people see


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
