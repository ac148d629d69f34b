from __future__ import annotations

import gzip
import random
import time
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from premortem.load.imports.access_log import from_access_logs
from premortem.load.imports.draft import BadImport, Draft
from premortem.load.pace import pace_from
from premortem.load.played import script
from premortem.load.visitor import Exchange, Pause

START = 1_700_000_000
PEOPLE = "Mozilla/5.0 (X11; Linux x86_64)"


def line(
    at: float, path: str, *, address: str = "10.0.0.1", method: str = "GET", status: int = 200,
    agent: str = PEOPLE,
) -> str:  # fmt: skip
    when = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(at))
    return f'{address} - - [{when}] "{method} {path} HTTP/1.1" {status} 512 "-" "{agent}"'


def visits(count: int, seed: int = 3) -> list[str]:
    """``count`` visits in an hour, twice as many in its second half; 5 requests each on average."""
    dice = random.Random(seed)
    seen = []
    for visitor in range(count):
        at = START + 3600 * (
            dice.uniform(0, 0.5) if dice.random() < 1 / 3 else dice.uniform(0.5, 1)
        )
        while True:
            path = dice.choices(
                ["/", f"/product/{dice.randrange(900)}", f"/blog/post-{dice.choice('abcdefgh')}"],
                [2, 6, 2],
            )[0]
            seen.append((at, line(at, path, address=f"10.0.{visitor // 250}.{visitor % 250}")))
            if dice.random() < 0.2:
                break
            at += dice.lognormvariate(2.0, 0.9)
    return [text for _, text in sorted(seen)]


def imported(folder: Path, lines: list[str], **options: Any) -> Draft:
    path = folder / "access.log"
    path.write_text("\n".join(lines))
    return from_access_logs([path], **options)


@pytest.fixture(scope="module")
def hour(tmp_path_factory: pytest.TempPathFactory) -> Draft:
    return imported(tmp_path_factory.mktemp("log"), visits(1500))


def test_ids_are_collapsed_into_routes(hour: Draft) -> None:
    tasks = hour.sheet().journeys[0].tasks
    assert {task.name for task in tasks} == {
        "/", "/product/:id", *(f"/blog/post-{letter}" for letter in "abcdefgh")
    }  # fmt: skip
    (product,) = [task for task in tasks if task.name == "/product/:id"]
    assert product.steps[0].path == "{product_id.target}"
    assert all(row["target"].startswith("/product/") for row in hour.feeds["product_id"])


def test_too_many_names_at_one_place_are_ids(tmp_path: Path) -> None:
    lines = [line(START + i, f"/user/{chr(97 + i % 26)}{chr(97 + i // 26)}") for i in range(60)]
    (task,) = imported(tmp_path, lines).sheet().journeys[0].tasks
    assert task.name == "/user/:id"


def test_the_mix_the_visits_and_the_pauses_are_those_of_the_log(hour: Draft, played: Any) -> None:
    sheet = hour.sheet()
    journey = script(sheet.journeys[0], sheet.feeds)
    commands = [played(journey, lambda asked: b"", number=number) for number in range(1500)]
    asked = [c for user in commands for c in user if isinstance(c, Exchange)]
    assert len(asked) / len(commands) == pytest.approx(5.0, rel=0.1)
    routes = Counter(exchange.name.split("/")[1] for exchange in asked)
    assert routes["product"] / routes.total() == pytest.approx(0.6, abs=0.03)
    assert routes["blog"] / routes.total() == pytest.approx(0.2, abs=0.03)
    pauses = [c.seconds for user in commands for c in user if isinstance(c, Pause)]
    assert median(pauses) == pytest.approx(2.718**2, rel=0.15)


def test_the_rate_has_the_shape_of_the_log(hour: Draft) -> None:
    pace = pace_from(hour.sheet().pace)
    first = pace.count(pace.seconds / 2)
    whole = pace.count(pace.seconds)
    assert whole == pytest.approx(1500, rel=0.05)
    assert first / whole == pytest.approx(1 / 3, abs=0.05)


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    lines = [
        line(START, "/"), line(START, "/app.js"), line(START, "/a", method="POST"),
        line(START, "/b", status=302), line(START, "/wp-login.php", status=404), "broken",
        line(START, "/", agent="Mozilla/5.0 (compatible; Googlebot/2.1)"),
        '10.0.0.1 - - [10/Okt/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 1 "-" "x"',
        f'10.0.0.1 - - [10/Oct/2000:13:55:36 -0700] "{chr(92)}x16{chr(92)}x03" 400 1 "-" "-"',
    ]  # fmt: skip
    notes = "\n".join(imported(tmp_path, lines).notes)
    for words in (
        "kept 1 of 9 lines, 1 visits", "static files, as /app.js", "requests by POST",
        "redirects", "answered 404, as /wp-login.php", "not in the combined format, as 'broken'",
        "requests by programs (--bots keeps them)", "another form of time", "without a request",
    ):  # fmt: skip
        assert words in notes
    assert "kept 2 of" in imported(tmp_path, lines, bots=True).notes[0]


def test_secrets_in_queries_are_dropped(tmp_path: Path) -> None:
    lines = [line(START + i, f"/reset?token=s3cret{i}&page={i}") for i in range(3)]
    draft = imported(tmp_path, lines)
    assert "s3cret" not in "".join(draft.files("j.toml").values())
    assert {row["target"] for row in draft.feeds["reset"]} == {f"/reset?page={i}" for i in range(3)}


def test_common_format_vhosts_and_compressed_files(tmp_path: Path) -> None:
    common = line(START, "/a").rpartition(' "-" ')[0]
    path = tmp_path / "access.log.gz"
    path.write_bytes(gzip.compress(f"{common}\nexample.org:80 {line(START + 5, '/b')}\n".encode()))
    names = {task.name for task in from_access_logs([path]).sheet().journeys[0].tasks}
    assert names == {"/a", "/b"}


def test_popular_pages_stay_popular_in_a_sampled_feed(tmp_path: Path) -> None:
    paths = ["/p/1"] * 3000 + [f"/p/{i}" for i in range(2, 1002)]
    draft = imported(tmp_path, [line(START + i, path) for i, path in enumerate(paths)])
    rows = Counter(row["target"] for row in draft.feeds["p_id"])
    assert rows.total() == 1000
    assert rows["/p/1"] == 750


@pytest.mark.parametrize(("text", "words"), [("", "empty"), ("x\ny\n", "left out 2 lines")])
def test_a_log_without_requests_says_so(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "access.log"
    path.write_text(text)
    with pytest.raises(BadImport, match=words):
        from_access_logs([path])


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadImport, match=r"gone\.log"):
        from_access_logs([tmp_path / "gone.log"])


def test_one_wrong_year_does_not_stretch_the_pace(tmp_path: Path) -> None:
    right = visits(200)
    wrong = line(START, "/").replace("/2023:", "/9023:")
    draft = imported(tmp_path, [*right, wrong])
    pace, undisturbed = (
        pace_from(d.sheet().pace).seconds for d in (draft, imported(tmp_path, right))
    )
    assert pace == undisturbed
    assert any("1 requests a month or more away" in note for note in draft.notes)
