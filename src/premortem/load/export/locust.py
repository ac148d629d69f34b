"""A journey → a locustfile (FastHttpUser), for Locust's distributed mode.

Locust's users come back for another journey as long as the test lasts (a closed loop), so the rate
is what ``-u`` and the site make of it: a pace is not written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from premortem.load.export.common import demand_small, expression
from premortem.load.played import ENVIRONMENT, parts_of
from premortem.load.steps import Declared, Rounds, Sheet, Step, Think

__all__ = ["to_locust"]

HELPERS = '''
class Ended(Exception):
    """The journey cannot go on."""


def pick(data, path):
    for part in path:
        if isinstance(data, list) and part == "*" and data:
            data = random.choice(data)
        elif isinstance(data, list) and part.isdigit() and int(part) < len(data):
            data = data[int(part)]
        elif isinstance(data, dict) and part in data:
            data = data[part]
        else:
            raise Ended(f"nothing at {'.'.join(path)}")
    return data


def regex(page, pattern, any_of):
    found = list(re.finditer(pattern, page))
    if not found:
        raise Ended(f"nothing matches {pattern}")
    one = random.choice(found) if any_of else found[0]
    return one[1] if one.re.groups else one[0]


def field(page, wanted):
    for tag in re.finditer(r"(?i)<(?:input|meta)\\b[^>]*>", page):
        pairs = re.findall(r"""([\\w:-]+)\\s*=\\s*(?:"([^"]*)"|'([^']*)'|([^\\s>"']+))""", tag[0])
        there = {name.lower(): html.unescape(a or b or c) for name, a, b, c in pairs}
        value = there.get("value", there.get("content"))
        if there.get("name") == wanted and value is not None:
            return value
    raise Ended(f"the page has no field {wanted}")


def header(response, name):
    for key, value in response.headers.items():
        if key.lower() == name:
            return value
    raise Ended(f"no header {name}")


def cookie(user, name):
    for one in user.client.cookiejar:
        if one.name == name:
            return one.value
    raise Ended(f"no cookie {name}")


def asked(user, method, path, name, expect, judge=None, **more):
    with user.client.request(method, path, name=name, catch_response=True, **more) as response:
        if not (200 <= response.status_code < 400 or response.status_code in expect):
            response.failure(f"status {response.status_code}")
            raise Ended(name)
        try:
            if judge is not None:
                judge(response)
        except (Ended, ValueError) as error:
            response.failure(str(error))
            raise Ended(name) from error
        response.success()
        return response


def held(holds, words):
    if not holds:
        raise Ended(words)
'''


def to_locust(sheet: Sheet, base_url: str) -> str:
    """The locustfile. Raises :class:`premortem.load.journey.BadJourney` for a feed too large."""
    demand_small(sheet)
    feeds = {name: [dict(row) for row in rows] for name, rows in sheet.feeds.items()}
    return "\n".join(
        [
            '"""Run: locust -f FILE --headless -u 50 -r 50 -t 60s"""',
            "",
            "import html",
            "import math",
            "import os",
            "import random",
            "import re",
            "import uuid",
            "",
            "import gevent",
            "from locust import FastHttpUser, constant, task",
            "",
            f"FEEDS = {feeds!r}",
            "",
            HELPERS,
            *(_class(number, one, sheet, base_url) for number, one in enumerate(sheet.journeys)),
        ]
    )


def _class(number: int, journey: Declared, sheet: Sheet, base_url: str) -> str:
    draw = "{name: random.choice(rows) for name, rows in FEEDS.items()}" if sheet.feeds else "{}"
    lines = [
        "", f"class Journey{number}(FastHttpUser):", f"    {journey.name!r}", "",
        f"    host = os.environ.get('BASE_URL', {base_url.rstrip('/')!r})",
        f"    weight = {journey.weight!r}", "    wait_time = constant(0)", "",
        "    @task", "    def journey(self):", "        try:", "            self.steps()",
        "        except (Ended, ValueError):", "            pass  # counted where it happened",
        "", "    def steps(self):", "        self.client.cookiejar.clear()",
        "        me = str(uuid.uuid4())", "        v = {}", f"        feeds = {draw}",
    ]  # fmt: skip
    lines += [line for step in journey.steps for line in _step(step, " " * 8)]
    if journey.tasks:
        names = [f"self.task_{index}" for index in range(len(journey.tasks))]
        weights = [task.weight for task in journey.tasks]
        lines += [
            f"        for _ in range({_rounds(journey.rounds)}):",
            f"            feeds = {draw}",
            f"            one = random.choices([{', '.join(names)}], {weights})[0]",
            "            if not one(me, dict(v), feeds):",
            "                return",
            *_think(journey.think, " " * 12),
        ]
        for index, task in enumerate(journey.tasks):
            lines += ["", f"    def task_{index}(self, me, v, feeds):  # {_comment(task.name)}"]
            lines += [line for step in task.steps for line in _step(step, " " * 8, "False")]
            lines.append("        return True")
    return "\n".join([*lines, ""])


def _comment(text: str) -> str:
    return " ".join(text.split())


def _rounds(rounds: Rounds) -> str:
    if rounds.mean > 1:
        return f"1 + int(math.log(1 - random.random()) / math.log(1 - 1 / {rounds.mean}))"
    return "1" if rounds.mean else f"random.randint({rounds.low}, {rounds.high})"


def _think(think: Think, indent: str) -> list[str]:
    if not think.high_s:
        return []
    if think.log_normal:
        spread = math.log(think.high_s / think.low_s) / 1.2815515655446004
        drawn = f"random.lognormvariate({math.log(think.low_s):.6f}, {spread:.6f})"
    else:
        drawn = f"random.uniform({think.low_s}, {think.high_s})"
    return [f"{indent}gevent.sleep({drawn})"]


def _hole(name: str) -> str:
    low, dots, high = name.partition("..")
    if dots:
        return f"random.randint({low}, {high})"
    if name.startswith(ENVIRONMENT):
        return f"os.environ[{name.removeprefix(ENVIRONMENT)!r}]"
    feed, dot, column = name.partition(".")
    if dot:
        return f"feeds[{feed!r}][{column!r}]"
    built_in = {"user": "me", "uuid": "str(uuid.uuid4())", "brace": "'{'"}
    return built_in.get(name, f"v[{name!r}]")


def _py(value: object) -> str:
    return expression(value, _hole, lambda parts: f"''.join(map(str, [{', '.join(parts)}]))", repr)


def _step(step: Step, indent: str, leave: str = "") -> list[str]:
    lines = []
    if step.leave:
        lines += [
            f"{indent}if random.random() < {step.leave}:",
            f"{indent}    return {leave}".rstrip(),
        ]
    judged = [*_extracts(step), *_checks(step)]
    if judged:
        lines += [f"{indent}def judge(response, v=v):", *(f"{indent}    {line}" for line in judged)]
    given = [
        "self", repr(step.method), f"str({_py(step.path)})", repr(step.label), repr(step.expect),
        *(["judge"] if judged else []), *_payload(step),
    ]  # fmt: skip
    lines.append(f"{indent}asked({', '.join(given)})")
    return lines + _think(step.think, indent)


def _payload(step: Step) -> list[str]:
    found = []
    headers: Mapping[str, str] = step.headers or {}
    if step.params:
        found.append(f"params={_py(step.params)}")
    if headers:
        pairs = ", ".join(f"{name!r}: str({_py(text)})" for name, text in headers.items())
        found.append(f"headers={{{pairs}}}")
    if step.json is not None:
        found.append(f"json={_py(step.json)}")
    elif step.form is not None:
        found.append(f"data={_py(step.form)}")
    elif step.body:
        found.append(f"data=str({_py(step.body)})")
    return found


def _extracts(step: Step) -> list[str]:
    lines = []
    for name, one in step.extract.items():
        how = {
            "json": f"pick(response.json(), {parts_of(one.where)!r})",
            "regex": f"regex(response.text, {one.where!r}, {one.any})",
            "field": f"field(response.text, {one.where!r})",
            "header": f"header(response, {one.where.lower()!r})",
            "cookie": f"cookie(self, {one.where!r})",
        }[one.kind]
        lines.append(f"v[{name!r}] = {how}")
    return lines


def _checks(step: Step) -> list[str]:
    check = step.check
    lines = []
    if check.contains:
        words = f"the page lacks {check.contains!r}"
        lines.append(f"held({check.contains!r} in response.text, {words!r})")
    if check.lacks:
        words = f"the page has {check.lacks!r}"
        lines.append(f"held({check.lacks!r} not in response.text, {words!r})")
    if check.matches:
        words = f"nothing matches {check.matches!r}"
        lines.append(f"held(re.search({check.matches!r}, response.text), {words!r})")
    for path, value in check.json.items():
        there = f"pick(response.json(), {parts_of(path)!r})"
        lines.append(f"held({there} == {value!r}, {f'{path} is not {value!r}'!r})")
    return lines
