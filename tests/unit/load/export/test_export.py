"""What the exports write; tests/real runs it with the real tools."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

import pytest

from premortem.load.declared import sheet_from
from premortem.load.export.common import text_parts
from premortem.load.export.k6 import to_k6
from premortem.load.export.locust import to_locust
from premortem.load.journey import BadJourney
from premortem.load.pace import Constant, Pacer, Ramp, Replay, Sine
from premortem.load.steps import Sheet

URL = "http://127.0.0.1:8000/"
DATA: dict[str, Any] = {
    "journey": [
        {"name": "a\nb", "weight": 2, "step": [
            {"get": "/x/{item.id}?q={1..9}", "think_s": [0.5, 1.5], "leave": 0.25,
             "extract": {"v": {"json": "items.*.id"}}},
            {"post": "/y", "json": {"v": "{v}", "t": True, "n": [1, "{brace}a}"]}, "expect": 409},
        ]},
        {"name": "t", "rounds": {"mean": 3.0}, "think_s": {"p50": 2, "p90": 9},
         "task": [{"step": [{"get": "/"}]}]},
    ]
}  # fmt: skip
FEEDS = {"item": [{"id": 'it\'s "1"'}]}


@pytest.fixture
def sheet() -> Sheet:
    return sheet_from("here", DATA, FEEDS)


def scenario(sheet: Sheet, pace: Pacer) -> dict[str, Any]:
    found = re.search(r"scenarios: \{ users: (\{.*\}) \} \};", to_k6(sheet, URL, pace))
    assert found is not None
    read: dict[str, Any] = json.loads(found[1])
    return read


def test_a_locustfile_is_python_that_says_the_journey(sheet: Sheet) -> None:
    text = to_locust(sheet, URL)
    module = ast.parse(text)
    classes = {node.name for node in ast.walk(module) if isinstance(node, ast.ClassDef)}
    assert classes == {"Ended", "Journey0", "Journey1"}
    for words in (
        "weight = 2.0", "if random.random() < 0.25:", "gevent.sleep(random.uniform(0.5, 1.5))",
        "v['v'] = pick(response.json(), ['items', '*', 'id'])", "feeds['item']['id']",
        "json={'v': v['v'], 't': True, 'n': [1, ''.join(map(str, ['{', 'a}']))]}", "(409,)",
        "random.lognormvariate(0.693147,",
    ):  # fmt: skip
        assert words in text, words


def test_a_k6_script_says_the_journey(sheet: Sheet) -> None:
    text = to_k6(sheet, URL, Constant(5.0, 10.0))
    for words in (
        'const BASE = (__ENV.BASE_URL || "http://127.0.0.1:8000");', "// a b",
        "if (Math.random() < 0.25) return;", "sleep(0.5 + Math.random() * 1.0);",
        'v["v"] = pick(response.json(), ["items", "*", "id"]);', 'feed_item["id"]',
        '{"v": v["v"], "t": true, "n": [1, [\'{\', "a}"].join(\'\')]}', "[409]",
        "JOURNEYS[chosen([2.0, 1.0])]()",
    ):  # fmt: skip
        assert words in text, words


def test_users_arrive_at_the_pace(sheet: Sheet) -> None:
    assert scenario(sheet, Constant(2.5, 10.0)) == {
        "executor": "constant-arrival-rate", "duration": "10000ms", "rate": 2500,
        "timeUnit": "1000s", "preAllocatedVUs": 6, "maxVUs": 60,
    }  # fmt: skip
    ramp = scenario(sheet, Ramp(1.0, 9.0, 4.0))
    assert (ramp["startRate"], ramp["stages"][-1]) == (1000, {"target": 9000, "duration": "4000ms"})


@pytest.mark.parametrize(
    "pace", [Replay([60, 120, 0], 60.0), Sine(5.0, 4.0, 60.0, 60.0), Ramp(0.0, 10.0, 30.0)]
)
def test_the_stages_bring_as_many_users_as_the_pace(sheet: Sheet, pace: Pacer) -> None:
    found = scenario(sheet, pace)
    rate, users = found["startRate"] / 1000, 0.0
    for stage in found["stages"]:
        target, seconds = stage["target"] / 1000, float(stage["duration"][:-2]) / 1000
        users += (rate + target) / 2 * seconds
        rate = target
    assert users == pytest.approx(pace.count(pace.seconds), rel=0.01)


def test_a_feed_too_large_is_refused() -> None:
    rows = [{"id": str(number)} for number in range(10_001)]
    with pytest.raises(BadJourney, match="feed item: 10001 rows"):
        to_locust(sheet_from("here", DATA, {"item": rows}), URL)


def test_texts_are_cut_at_their_holes() -> None:
    assert text_parts("{a}{b.c}") == [(True, "a"), (True, "b.c")]
    assert text_parts("") == [(False, "")]
