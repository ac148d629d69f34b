"""`premortem plan`: files in, one answer out; whatever cannot be used gets one line."""

import gzip
import json
import math
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from cyclopts import App

from premortem.app.plan import BadPlan, for_people, plan
from premortem.app.plan_input import declared_settings, demand_from_store, read_text
from premortem.app.plan_make import Request, Told, plan_command
from premortem.model import Reading
from premortem.store import Store, StoreError

PG15 = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SELECTS = (8514, 12573, 21027, 23755, 18963, 14025, 11733, 6245, 4003)
START = int(datetime(2026, 9, 20, tzinfo=UTC).timestamp())
END = START + 60 * 86400
"""Of sixty days of history: 2026-11-19."""
SITE = """
[site]
web_servers = 2
pool_size = 5
web_cpu_s = 0.002
web_cores = 2
db_cores = 2
read_ratio = 0.8
"""

app = App(name="premortem", result_action="return_value")
app.command(plan)


def rates(days: int = 60) -> list[float]:
    """Hourly, a daily wave, growing 0.6 % a day."""
    dice = np.random.default_rng(3)
    hours = np.arange(days * 24)
    wave = 1 + 0.5 * np.sin(2 * math.pi * (hours % 24 - 9) / 24)
    noise = np.exp(dice.normal(0, 0.05, len(hours)))
    return [float(r) for r in 400 * np.exp(0.006 * hours / 24) * wave * noise]


def history(values: list[float], start: int = START) -> str:
    return "time,rate\n" + "".join(f"{start + 3600 * i},{v}\n" for i, v in enumerate(values))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a history, a curve of PostgreSQL (20 selects a request) and a site."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("premortem.app.plan.time.time", lambda: END + 3600.0)
    Path("history.csv").write_text(history(rates()))
    rows = zip(PG15, SELECTS, strict=True)
    Path("curve.csv").write_text("load,tps\n" + "".join(f"{n},{x / 20}\n" for n, x in rows))
    Path("site.toml").write_text(SITE)
    return tmp_path


Run = Callable[..., str]
BOTH = ("--csv", "history.csv", "--usl", "curve.csv")


@pytest.fixture
def run(here: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*argv: str) -> str:
        assert app(["plan", *argv], exit_on_error=False, print_error=False) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return call


def test_a_curve_alone_gives_the_knee_with_intervals(run: Run) -> None:
    found = json.loads(run("--usl", "curve.csv", "--json"))
    assert found["n_max"] == pytest.approx(8.70, abs=0.01)
    assert found["intervals"]["x_max"][0] < found["x_max"] < found["intervals"]["x_max"][1]
    assert (found["abstained"], found["reason"]) == (False, "")
    assert {"sigma", "kappa", "lambda", "standard_errors", "at_least", "points"} <= set(found)
    assert "highest throughput 1126 (90 % interval" in run("--usl", "curve.csv")


def test_a_curve_that_did_not_bend_is_refused_but_answered(run: Run) -> None:
    Path("flat.csv").write_text("1,20\n4,78\n8,130\n16,190\n32,260\n64,310\n")
    found = json.loads(run("--usl", "flat.csv", "--json"))
    assert (found["abstained"], found["n_max"], found["x_max"]) == (True, None, None)
    assert "measure higher loads" in found["reason"]


def test_a_history_alone_gives_the_days_ahead(run: Run) -> None:
    found = json.loads(run("--csv", "history.csv", "--json"))
    assert 0.85 <= found["coverage_90"] <= 1
    assert found["at"][0] == "2026-11-19T00:00:00+00:00"
    assert found["growth_per_day"][1] == pytest.approx(0.006, abs=0.001)
    assert len(found["low"]) == len(found["high"]) == 7 * 24
    assert run("--csv", "history.csv").startswith("next peak ")


def test_both_give_a_dated_plan(run: Run) -> None:
    found = json.loads(run(*BOTH, "--config", "site.toml", "--json"))
    low, high = found["full"]["interval"]
    assert low < found["full"]["date"] < high
    assert found["full"]["first"] == "the database's CPU"
    assert found["statement"].startswith(f"full on {found['full']['date']}, 90 % interval {low}")
    assert found["made_at"] == "2026-11-19T00:00:00+00:00"
    assert found["capacity_per_s"]["mid"] == pytest.approx(1126, abs=1)
    assert {s["step"]: s["helps"] for s in found["steps"]}["two more web servers"] == "harms"
    assert {"headroom_ratio", "knee", "now", "target", "what_if", "settings"} <= set(found)
    assert (found["notes"], found["written"]) == ([], [])


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(run: Run) -> None:
    first = run(*BOTH, "--json")
    assert run(*BOTH, "--json") == first
    assert run(*BOTH, "--json", "--seed", "2") != first


def test_questions_and_events_may_be_repeated(run: Run) -> None:
    asked = ("--what-if", "surge 3x", "--what-if", "web_servers +2")
    known = ("--event", "Black Friday 2026-11-27 3x", "--event", "Sale 2026-12-05..2026-12-06 2x")
    found = json.loads(run(*BOTH, "--config", "site.toml", "--json", *asked, *known))
    assert [w["question"] for w in found["what_if"]] == ["surge 3x", "web_servers +2"]
    assert [e["factor"] for e in found["events"]] == [3, 2]
    assert found["full"]["date"] == "2026-11-27"


def test_a_target_date_is_kept_or_said_to_be_too_far(run: Run) -> None:
    found = json.loads(run(*BOTH, "--target-date", "2026-12-24", "--json"))
    assert found["target"]["date"] == "2026-12-24"
    text = run(*BOTH, "--target-date", "2028-12-24", "--config", "site.toml")
    assert "note: 2028-12-24 is further than this history tells: planned for 2027-03-" in text


def test_the_premortem_and_the_settings_are_written_and_replaced(run: Run) -> None:
    files = ("--write", "premortem.md", "--settings", "new/conf", "--config", "site.toml")
    found = json.loads(run(*BOTH, *files, "--json"))
    assert found["written"][:3] == ["premortem.md", "new/conf/guard.txt", "new/conf/pool.txt"]
    document = Path("premortem.md").read_text()
    assert found["statement"] in document
    assert "## Timeline" in document
    assert found["settings"]["guard"] in Path("new/conf/guard.txt").read_text()
    Path("new/conf/postgresql.conf").write_text(Path("new/conf/guard.txt").read_text())
    assert "written: new/conf/pool.txt" in run(*BOTH, *files)
    assert "nothing to change" in Path("new/conf/postgresql.conf").read_text()


def test_a_file_of_somebody_else_is_never_replaced(run: Run) -> None:
    Path("notes.md").write_text("# Mine\n")
    Path("conf").mkdir()
    Path("conf/pgbouncer.ini").write_text("[databases]\n")
    for flags in (("--write", "notes.md"), ("--settings", "conf")):
        with pytest.raises(BadPlan, match="not written by premortem plan; name another"):
            run(*BOTH, *flags)
    assert Path("notes.md").read_text() == "# Mine\n"
    assert Path("conf/pgbouncer.ini").read_text() == "[databases]\n"


def test_the_last_good_model_is_kept_when_the_new_one_is_worse(run: Run) -> None:
    past = ("--csv", "history.csv", "--model", "model.json", "--json")
    first = json.loads(run(*past))
    assert first["fresh"] and first["written"] == ["model.json"]
    dice = np.random.default_rng(1)
    week = 100 + 50 * dice.random(7 * 24)  # "as last week" is almost exact here, the model is not
    repeated = np.resize(week, 60 * 24) + dice.random(60 * 24)
    Path("history.csv").write_text(history([float(v) for v in repeated]))
    second = json.loads(run(*past))
    assert not second["fresh"]
    assert second["reason"].startswith("kept the last good model")
    assert (second["model"], second["written"]) == (first["model"], [])


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ((), "give --usl FILE.csv, --csv FILE.csv, or --history"),
        (("--usl", "none.csv"), "--usl none.csv: No such file or directory"),
        (("--usl", "."), "--usl .: Is a directory"),
        (("--usl", "empty.csv"), "--usl empty.csv: empty; it needs lines"),
        (("--usl", "text.csv"), "--usl text.csv: line 2: 'c' is not a number"),
        (("--usl", "latin.csv"), "--usl latin.csv: not UTF-8 text"),
        (("--usl", "cut.csv.gz"), "--usl cut.csv.gz: the gzip file is cut short"),
        (("--usl", "fake.csv.gz"), "--usl fake.csv.gz: Not a gzipped file"),
        (("--csv", "empty.csv"), "--csv empty.csv: empty"),
        (("--csv", "text.csv"), "--csv text.csv: line 2: 'c' is no time"),
        (("--csv", "curve.csv"), "--csv curve.csv: its times are not between 1990 and 2100"),
        (("--csv", "short.csv"), "--csv short.csv: 3.0 days of history; 8"),
        (("--csv", "short.csv", "--usl", "curve.csv"), "--csv short.csv: 3 ordinary days"),
        (("--csv", "idle.csv", "--usl", "curve.csv"), "nothing was asked in its last 7 complete"),
        (("--csv", "even.csv"), "--csv even.csv: too even to tell how wrong"),
        (("--csv", "history.csv", "--history", "a.db"), "leave one out"),
        (("--history", "a.db"), "name one with --site"),
        (("--history", "a.db", "--site", "shop"), "--history a.db: no such file"),
        (("--csv", "history.csv", "--site", "shop"), "--site names a site of"),
        (("--csv", "history.csv", "--event", "soon"), "--event 'soon': say NAME DATE FACTOR"),
        (("--csv", "history.csv", "--country", "XX"), "'XX': not known"),
        (("--csv", "history.csv", "--utc-offset-h", "nan"), "--utc-offset-h nan: from -12 to 14"),
        (("--csv", "history.csv", "--model", "curve.csv"), "--model curve.csv: not a model"),
        (("--usl", "curve.csv", "--model", "m"), "--model goes with a past alone"),
        (("--usl", "curve.csv", "--event", "x"), "--event needs a past"),
        (("--usl", "curve.csv", "--what-if", "3x"), "--what-if needs both"),
        (("--csv", "history.csv", "--write", "x.md"), "--write needs both"),
        (("--usl", "curve.csv", "--seed", "-1"), "--seed -1: at least 0"),
        ((*BOTH, "--what-if", "more of it"), "--what-if 'more of it': say 'surge 3x'"),
        ((*BOTH, "--target-date", "2026-13-01"), "--target-date '2026-13-01': not a date"),
        ((*BOTH, "--target-date", "2026-11-01"), "the history ends later, on 2026-11-19"),
        ((*BOTH, "--settings", "history.csv"), "--settings history.csv: File exists"),
        ((*BOTH, "--settings", "history.csv/x"), "--settings history.csv/x: Not a directory"),
        ((*BOTH, "--write", "no/x.md"), "--write no/x.md: No such file or directory"),
        ((*BOTH, "--config", "none.toml"), "--config none.toml: No such file"),
        ((*BOTH, "--config", "history.csv"), "--config history.csv: not TOML"),
        ((*BOTH, "--config", "bad.toml"), "--config bad.toml: site setting 'servers' is unknown"),
    ],
)
def test_bad_input_gets_one_line(run: Run, argv: tuple[str, ...], words: str) -> None:
    Path("empty.csv").touch()
    Path("text.csv").write_text("a,b\nc,d\ne,f\n")
    Path("latin.csv").write_bytes(b"load,d\xe9bit\n1,2\n")
    Path("cut.csv.gz").write_bytes(gzip.compress(b"1,2\n" * 1000)[:-12])
    Path("fake.csv.gz").write_text("1,2\n")
    Path("short.csv").write_text(history(rates(3)))
    Path("idle.csv").write_text(history([*rates(30), *[0.0] * 24 * 8]))
    Path("even.csv").write_text(history([5.0] * 24 * 30))
    Path("bad.toml").write_text("[site]\nservers = 2\n")
    with pytest.raises(BadPlan) as caught:
        run(*argv)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_old_history_and_an_undeclared_site_are_said(here: Path) -> None:
    told = plan_command(Request(csv=Path("history.csv"), usl=Path("curve.csv")), END + 9 * 86400)
    assert told.notes == [
        "the history ends on 2026-11-19: every date counts from there",
        "no --config: taken to be 1 web server x 4 processes x pools of 10, max_connections 100",
    ]
    early = plan_command(Request(csv=Path("history.csv")), END - 9 * 86400)
    assert early.notes[0].endswith("which is still to come: check its times")


# -- the store


def fill(path: str, days: int = 30) -> None:
    """Ten-minute readings of a shop, rolled up as the watch leaves them."""
    per_s = [rates()[i // 6] for i in range(days * 144)]
    start = END - days * 86400
    with Store.open(path) as store:
        store.append(
            "shop",
            [
                Reading("guard", "site", start + 600 * i + 30, {"web.requests_per_s": v})
                for i, v in enumerate(per_s)
            ],
        )
        store.roll_up(END)


def test_a_plan_from_the_store_is_that_of_its_values(run: Run) -> None:
    fill("premortem.db")
    past = ("--history", "premortem.db", "--site", "shop")
    demand = demand_from_store(Path("premortem.db"), "shop", "web.requests_per_s", END)
    assert (demand.start, demand.step_s, demand.end) == (END - 30 * 86400, 600, END)
    assert demand.rates[::6] == pytest.approx(rates()[: 30 * 24])
    ahead = json.loads(run(*past, "--json"))
    assert ahead["at"][0] == "2026-11-19T00:00:00+00:00"
    dated = json.loads(run(*past, "--usl", "curve.csv", "--json"))
    assert dated["demand_peak_per_s"] == pytest.approx(max(rates()[23 * 24 : 30 * 24]))


def test_a_gap_in_the_store_stays_open(here: Path) -> None:
    with Store.open("a.db") as store:
        values = {"db.transactions_per_s": 5.0}
        store.append("s", [Reading("pg", "db", END - t, values) for t in (7200, 7195, 1)])
    demand = demand_from_store(Path("a.db"), "s", "db.transactions_per_s", END)
    assert len(demand.rates) == 12
    assert [r for r in demand.rates if not math.isnan(r)] == [5.0, 5.0]


def test_a_store_without_the_site_is_told(run: Run) -> None:
    fill("premortem.db", days=1)
    with pytest.raises(BadPlan, match=r"premortem.db: holds no web.requests_per_s of site 'game'"):
        run("--history", "premortem.db", "--site", "game")
    with pytest.raises(BadPlan, match=r"holds no db\.transactions_per_s of site 'shop'"):
        run("--history", "premortem.db", "--site", "shop", "--metric", "db.transactions_per_s")


def test_a_store_that_cannot_be_read_is_out_of_reach(run: Run) -> None:
    Path("no.db").write_text("this is no database, whatever its name may say about it\n" * 40)
    with pytest.raises(StoreError, match="file is not a database"):
        run("--history", "no.db", "--site", "shop")
    with closing(sqlite3.connect("odd.db")) as db:
        db.execute("CREATE TABLE series (id INTEGER, other TEXT)")
    with pytest.raises(StoreError, match="no such"):
        run("--history", "odd.db", "--site", "shop")


# -- declared settings


def test_a_site_of_its_own_overrides_what_holds_for_all(here: Path) -> None:
    path = Path("premortem.toml")
    path.write_text(
        "[policy]\nact = false\n[site]\npool_size = 9\n"
        '[site.shop]\nurl = "http://a/"\n[site.shop.plan]\npool_size = 5\ndb_cores = 4\n'
        "[site.game.plan]\nweb_servers = 3\n"
    )
    shop = declared_settings(path, "shop")
    # the curve is this database's own unless something else is said
    assert shop == {"pool_size": 5, "db_cores": 4, "db_cores_measured": 4}
    assert declared_settings(path, "game") == {"pool_size": 9, "web_servers": 3}
    with pytest.raises(ValueError, match="which site? --site shop or game".replace("?", r"\?")):
        declared_settings(path, None)
    with pytest.raises(ValueError, match=r"no \[site.blog\]; it has shop, game"):
        declared_settings(path, "blog")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "nothing to plan with"),
        ("site = 3", "site = 3: a table is needed"),
        ("[site.a]\nplan = 3", "plan = 3: a table is needed"),
        ("[site.a]\nurl = 'x'", "nothing to plan with"),
    ],
)
def test_settings_that_are_none_are_told(here: Path, text: str, words: str) -> None:
    Path("c.toml").write_text(text)
    with pytest.raises(ValueError, match=words):
        declared_settings(Path("c.toml"), None)


# -- text


def test_gzipped_files_are_read(here: Path) -> None:
    Path("a.csv.gz").write_bytes(gzip.compress(b"1,2\n"))
    assert read_text(Path("a.csv.gz"), "--csv") == "1,2\n"


def test_a_narrow_terminal_gets_whole_words_in_narrow_lines() -> None:
    text = "headroom 21%: peak 884.7/s of 1126/s\n  yes     cap requests in flight at 8 to be safe"
    told = Told({}, text, ["a note"], [Path("premortem.md")])
    narrow = for_people(told, 30).splitlines()
    assert max(map(len, narrow)) <= 30
    assert " ".join(" ".join(narrow).split()) == " ".join(for_people(told, None).split())
    assert "          flight at 8 to be" in narrow
    assert for_people(told, None).splitlines()[2:] == ["note: a note", "written: premortem.md"]


def test_a_missing_extra_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "premortem.app.plan_make", None)
    with pytest.raises(BadPlan, match=r"plan_make is missing: pip install 'premortem\[plan\]'"):
        run("--usl", "curve.csv")


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    app(["plan", "--help"])
    assert "Example: premortem plan --csv history.csv" in capsys.readouterr().out
