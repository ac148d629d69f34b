"""What a declared step may say: each way to extract, to check, to draw, to pause."""

from __future__ import annotations

import random
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from premortem.load.declared import journeys_from_toml
from premortem.load.journey import BadJourney
from premortem.load.steps import Rounds, Think
from premortem.load.visitor import Exchange, Pause

HEAD = b"HTTP/1.1 200 OK\r\nX-Id: h5\r\nSet-Cookie: csrftoken=c7; Path=/"
PAGE = (
    b"""<meta content="m1" name="csrf-token"><input type=hidden value='f&amp;1' name="token">"""
    b"""<a href="/product/11">a</a><a href="/product/12">b</a>"""
)


def journey(folder: Path, text: str) -> Any:
    path = folder / "j.toml"
    path.write_text(text)
    return journeys_from_toml(path)[0].journey


def two_steps(extract: str, more: str = "") -> str:
    return (
        f"[[journey]]\n[[journey.step]]\nget = '/'\nextract.v = {extract}\n{more}\n"
        "[[journey.step]]\npost = '/next/{v}'\njson = {v = '{v}', both = 'a{v}'}\n"
    )


@pytest.mark.parametrize(
    ("extract", "page", "found"),
    [
        ("{field = 'token'}", PAGE, "f&1"),
        ("{field = 'csrf-token'}", PAGE, "m1"),
        ("{cookie = 'csrftoken'}", PAGE, "c7"),
        ("{header = 'X-Id'}", PAGE, "h5"),
        ("{regex = '/product/([0-9]+)'}", PAGE, "11"),
        ("{json = 'items.1.id'}", b'{"items": [{"id": 1}, {"id": 2}]}', 2),
        ("{json = '$.items[0].id'}", b'{"items": [{"id": 1}]}', 1),
        ("{json = 'items.*.id'}", b'{"items": [{"id": 8}]}', 8),
    ],
)
def test_values_are_taken_from_answers(
    tmp_path: Path, played: Any, extract: str, page: bytes, found: object
) -> None:
    _, asked = played(journey(tmp_path, two_steps(extract)), lambda asked: page, head=HEAD)
    assert isinstance(asked, Exchange)
    text = str(found)
    assert asked.target == f"/next/{text}"
    quoted = f'"{text}"' if isinstance(found, str) else text  # a number stays a number
    assert asked.body.decode() == f'{{"v": {quoted}, "both": "a{text}"}}'


def test_any_of_several_matches_is_taken(tmp_path: Path, played: Any) -> None:
    text = two_steps("{regex = '/product/([0-9]+)', any = true}")
    run = journey(tmp_path, text)
    found = {played(run, lambda asked: PAGE, number=n)[1].target for n in range(30)}
    assert found == {"/next/11", "/next/12"}


@pytest.mark.parametrize("extract", ["{field = 'x'}", "{header = 'x'}", "{cookie = 'x'}"])
def test_what_is_not_there_fails_the_user(tmp_path: Path, played: Any, extract: str) -> None:
    with pytest.raises(LookupError):
        played(journey(tmp_path, two_steps(extract)), lambda asked: PAGE)


@pytest.mark.parametrize(
    ("check", "holds"),
    [
        ("{contains = 'product'}", True), ("{contains = 'nothing'}", False),
        ("{lacks = 'error'}", True), ("{lacks = 'product'}", False),
        ("{matches = 'product/[0-9]+'}", True), ("{matches = '^x'}", False),
    ],
)  # fmt: skip
def test_checks_hold_or_fail_the_user(tmp_path: Path, played: Any, check: str, holds: bool) -> None:
    run = journey(tmp_path, f"[[journey]]\n[[journey.step]]\nget = '/'\ncheck = {check}\n")
    if holds:
        assert len(played(run, lambda asked: PAGE)) == 1
    else:
        with pytest.raises(AssertionError):
            played(run, lambda asked: PAGE)


def test_holes_that_are_built_in(
    tmp_path: Path, played: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "t9")
    text = (
        "[headers]\nAuthorization = 'Bearer {env.TOKEN}'\n[[journey]]\n[[journey.step]]\n"
        "post = '/{uuid}'\nbody = '{brace}user} {user}'\nparams = {page = '{2..2}', q = 'a b'}\n"
    )
    (asked,) = played(journey(tmp_path, text), lambda asked: b"")
    assert b"Authorization: Bearer t9\r\n" in asked.message
    assert asked.body == b"{user} r-1"
    path, _, query = asked.target.partition("?")
    assert len(path) == 37 and path[15] == "4"
    assert query == "page=2&q=a+b"


def test_an_environment_variable_that_is_not_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadJourney, match="environment variable GONE is not set"):
        journey(tmp_path, "[[journey]]\n[[journey.step]]\nget = '/{env.GONE}'\n")


TASKS = """
[feeds]
user = "users.csv"
item = "items.csv"
[[journey]]
rounds = {rounds}
think_s = 1
  [[journey.step]]
  post = "/login/{user.name}"
  [[journey.task]]
  weight = 3
    [[journey.task.step]]
    get = "/item/{item.id}?as={user.name}"
  [[journey.task]]
    [[journey.task.step]]
    get = "/other"
"""


def tasks(folder: Path, rounds: str) -> Any:
    (folder / "users.csv").write_text("name\nann\nbob\n")
    (folder / "items.csv").write_text("id\n" + "\n".join(map(str, range(100))) + "\n")
    return journey(folder, TASKS.replace("{rounds}", rounds))


def test_tasks_are_taken_by_weight_with_a_row_each(tmp_path: Path, played: Any) -> None:
    login, *rest = played(tasks(tmp_path, "400"), lambda asked: b"")
    asked = [command for command in rest if isinstance(command, Exchange)]
    assert len(asked) == sum(isinstance(command, Pause) for command in rest) == 400
    items = [e.target for e in asked if e.target.startswith("/item/")]
    assert 0.68 < len(items) / 400 < 0.82
    assert len({target.partition("?")[0] for target in items}) > 80  # drawn anew for each task
    name = login.target.removeprefix("/login/")
    assert all(target.endswith(f"?as={name}") for target in items)  # the user stays who they are


def test_a_mean_of_rounds_is_kept(tmp_path: Path, played: Any) -> None:
    run = tasks(tmp_path, "{mean = 4.0}")
    counts = [
        sum(isinstance(c, Exchange) for c in played(run, lambda asked: b"", number=n)) - 1
        for n in range(800)
    ]
    assert min(counts) == 1
    assert 3.5 < sum(counts) / len(counts) < 4.5


def test_a_log_normal_pause_has_its_median_and_its_tail() -> None:
    dice = random.Random(2)
    think = Think(4.0, 20.0, log_normal=True)
    drawn = sorted(think.draw_s(dice) for _ in range(4000))
    assert median(drawn) == pytest.approx(4.0, rel=0.06)
    assert drawn[3600] == pytest.approx(20.0, rel=0.1)


def test_rounds_between_bounds_are_all_as_likely() -> None:
    dice = random.Random(1)
    assert {Rounds(2, 4).draw(dice) for _ in range(100)} == {2, 3, 4}


STEP = "[[journey]]\n[[journey.step]]\nget = '/'\n"
TASK = "[[journey]]\n[[journey.task]]\n[[journey.task.step]]\nget = '/'\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (STEP + "check = {contain = 'x'}\n", "check: unknown contain"),
        (STEP + "check = {matches = '('}\n", "not a regular expression"),
        (STEP + "extract.a = {regex = '['}\n", "not a regular expression"),
        (STEP + "extract.a = {json = 'a', any = true}\n", "extract.a must be"),
        (STEP + "json = {a = 1}\nbody = 'x'\n", "only one of json, form and body"),
        (STEP + "expect = 'ok'\n", "expect must be a status"),
        (STEP + "name = 3\n", "name cannot be 3"),
        (STEP + "think_s = {p50 = 5, p90 = 1}\n", "think_s must be"),
        (STEP.replace("[[journey.step]]", "rounds = 2\n[[journey.step]]"), "[[journey.task]]"),
        ("[[journey]]\nrounds = {mean = 0.5}\n" + TASK[12:], "rounds must be"),
        ("[[journey]]\nrounds = [3, 1]\n" + TASK[12:], "rounds must be"),
        ("[[journey]]\n[[journey.task]]\nweight = 2\n", "no [[journey.task.step]]"),
        ("[[pace]]\nkind = 'wave'\n" + STEP, "pace: unknown kind 'wave'"),
        ("headers = 3\n" + STEP, "headers cannot be 3"),
    ],
)
def test_a_bad_file_says_where(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadJourney) as raised:
        journey(tmp_path, text)
    assert words in str(raised.value)
