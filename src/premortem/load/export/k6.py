"""A journey → a k6 script (k6 0.4x and later), for k6's distributed mode.

The pace becomes an arrival-rate executor, so users arrive whatever the site does; each iteration
is one user. What a step expects, extracts and checks is written out in JavaScript.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from premortem.load.export.common import demand_small, expression, json_text
from premortem.load.pace import Constant, Pacer, Ramp
from premortem.load.played import ENVIRONMENT, parts_of
from premortem.load.steps import Declared, Rounds, Sheet, Step, Think

__all__ = ["to_k6"]

STAGE_S_MIN = 1.0
"""Other shapes are followed by straight lines of this length, or longer: at most so many."""
STAGES_MAX = 500
USERS_MAX = 10_000

HELPERS = Path(__file__).with_name("k6_helpers.js").read_text("utf-8")


def to_k6(sheet: Sheet, base_url: str, pace: Pacer) -> str:
    """The script. Raises :class:`premortem.load.journey.BadJourney` for what cannot be written."""
    demand_small(sheet)
    journeys = [_function(number, one, sheet) for number, one in enumerate(sheet.journeys)]
    weights = [one.weight for one in sheet.journeys]
    users = ", ".join(f"journey{number}" for number in range(len(journeys)))
    return "\n".join(
        [
            "// Run: k6 run FILE   (BASE_URL=https://… to aim elsewhere)",
            "import http from 'k6/http';",
            "import exec from 'k6/execution';",
            "import { check, sleep } from 'k6';",
            "",
            f"const BASE = (__ENV.BASE_URL || {json_text(base_url.rstrip('/'))});",
            f"const FEEDS = {json_text({name: list(rows) for name, rows in sheet.feeds.items()})};",
            f"export const options = {{ scenarios: {{ users: {_scenario(pace)} }} }};",
            HELPERS,
            *journeys,
            f"const JOURNEYS = [{users}];",
            "",
            "export default function () {",
            "  try {",
            f"    JOURNEYS[chosen({json_text(weights)})]();",
            "  } catch (error) {",
            "    if (!(error instanceof Ended)) throw error;",
            "  }",
            "}",
            "",
        ]
    )


def _scenario(pace: Pacer) -> str:
    most = max(1, math.ceil(pace.peak()))
    users = {"preAllocatedVUs": min(USERS_MAX, 2 * most), "maxVUs": min(USERS_MAX, 20 * most)}
    if isinstance(pace, Constant):
        rate = {"executor": "constant-arrival-rate", "duration": _ms(pace.seconds)}
        return json_text({**rate, **_rate(pace.users_per_s), **users})
    stages = [
        {"target": round(rate * 1000), "duration": _ms(seconds)} for rate, seconds in _stages(pace)
    ]
    shape = {"executor": "ramping-arrival-rate", "timeUnit": "1000s"}
    return json_text(
        {**shape, "startRate": round(pace.rate(0.0) * 1000), "stages": stages, **users}
    )


def _ms(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


def _rate(users_per_s: float) -> dict[str, object]:
    """k6 wants whole numbers: users in a thousand seconds."""
    return {"rate": max(1, round(users_per_s * 1000)), "timeUnit": "1000s"}


def _stages(pace: Pacer) -> list[tuple[float, float]]:
    """``(rate at the end, seconds)`` of straight lines that follow the shape."""
    found: list[tuple[float, float]] = []
    for part in pace.parts():
        if isinstance(part, (Constant, Ramp)):
            found += [(part.rate(0.0), 0.0), (part.rate(part.seconds), part.seconds)]
            continue
        count = max(1, min(STAGES_MAX, math.ceil(part.seconds / STAGE_S_MIN)))
        step_s = part.seconds / count
        found += [(part.rate(step_s * number), step_s) for number in range(1, count + 1)]
    return found


# -- one journey


def _function(number: int, journey: Declared, sheet: Sheet) -> str:
    lines = [f"// {journey.name.replace(chr(10), ' ')}", f"function journey{number}() {{"]
    lines += ["  const v = {};", "  let response;"]
    lines += [f"  const {_feed(name)} = one(FEEDS[{json_text(name)}]);" for name in sheet.feeds]
    lines += [line for step in journey.steps for line in _step(step, "  ")]
    if journey.tasks:
        lines.append(f"  for (let left = {_rounds(journey.rounds)}; left > 0; left--) {{")
        lines += [f"    {_feed(name)} = one(FEEDS[{json_text(name)}]);" for name in sheet.feeds]
        lines.append(f"    switch (chosen({json_text([t.weight for t in journey.tasks])})) {{")
        for index, task in enumerate(journey.tasks):
            lines.append(f"      case {index}:")
            lines += [line for step in task.steps for line in _step(step, "        ")]
            lines.append("        break;")
        lines += ["    }", *_think(journey.think, "    "), "  }"]
    text = "\n".join([*lines, "}", ""])
    return text.replace("  const feed_", "  let feed_") if journey.tasks else text


def _feed(name: str) -> str:
    return "feed_" + "".join(c if c.isalnum() else "_" for c in name)


def _rounds(rounds: Rounds) -> str:
    if rounds.mean > 1:
        return f"1 + Math.floor(Math.log(1 - Math.random()) / Math.log(1 - 1 / {rounds.mean}))"
    return "1" if rounds.mean else f"between({rounds.low}, {rounds.high})"


def _think(think: Think, indent: str) -> list[str]:
    if not think.high_s:
        return []
    if think.log_normal:
        spread = math.log(think.high_s / think.low_s) / 1.2815515655446004
        return [f"{indent}sleep({think.low_s} * Math.exp({spread:.6f} * normal()));"]
    return [f"{indent}sleep({think.low_s} + Math.random() * {think.high_s - think.low_s});"]


def _hole(name: str) -> str:
    low, dots, high = name.partition("..")
    if dots:
        return f"between({low}, {high})"
    if name.startswith(ENVIRONMENT):
        return f"__ENV[{json_text(name.removeprefix(ENVIRONMENT))}]"
    feed, dot, column = name.partition(".")
    if dot:
        return f"{_feed(feed)}[{json_text(column)}]"
    built_in = {
        "user": "`${exec.vu.idInTest}-${exec.vu.iterationInScenario}`",
        "uuid": "uuid()",
        "brace": "'{'",
    }
    return built_in.get(name, f"v[{json_text(name)}]")


def _js(value: object) -> str:
    return expression(value, _hole, lambda parts: f"[{', '.join(parts)}].join('')")


def _text(value: str) -> str:
    """As text, even if it is one hole."""
    return f"String({_js(value)})" if value.startswith("{") else _js(value)


def _step(step: Step, indent: str) -> list[str]:
    lines = []
    if step.leave:
        lines.append(f"{indent}if (Math.random() < {step.leave}) return;")
    headers: Mapping[str, str] = step.headers or {}
    body = "null"
    if step.json is not None:
        body, headers = f"JSON.stringify({_js(step.json)})", _typed(headers, "application/json")
    elif step.form is not None:
        body = f"form({_js(step.form)})"
        headers = _typed(headers, "application/x-www-form-urlencoded")
    elif step.body:
        body = _text(step.body)
    path = _text(step.path)
    if step.params:
        path = f"{path} + '{'&' if '?' in step.path else '?'}' + form({_js(step.params)})"
    given = [json_text(step.method), path, json_text(step.label), body, _js(headers)]
    lines.append(f"{indent}response = asked({', '.join([*given, json_text(list(step.expect))])});")
    lines += [
        f"{indent}v[{json_text(name)}] = {_extract(one.kind, one.where, one.any)};"
        for name, one in step.extract.items()
    ]
    lines += [f"{indent}held(response, {json_text(w)}, {test});" for w, test in _checks(step)]
    return lines + _think(step.think, indent)


def _typed(headers: Mapping[str, str], kind: str) -> Mapping[str, str]:
    return headers if any(h.lower() == "content-type" for h in headers) else {
        **headers, "Content-Type": kind
    }  # fmt: skip


def _extract(kind: str, where: str, any_of: bool) -> str:
    if kind == "json":
        return f"pick(response.json(), {json_text(parts_of(where))})"
    if kind == "regex":
        return f"regex(response.body, {json_text(where)}, {json_text(any_of)})"
    if kind == "cookie":
        return f"cookie({json_text(where)})"
    name = where.lower() if kind == "header" else where
    return f"{kind}(response, {json_text(name)})"


def _checks(step: Step) -> Sequence[tuple[str, str]]:
    check = step.check
    page = "response.body"
    tests = (
        ("contains", check.contains, f"{page}.includes({json_text(check.contains)})"),
        ("lacks", check.lacks, f"!{page}.includes({json_text(check.lacks)})"),
        ("matches", check.matches, f"new RegExp({json_text(check.matches)}).test({page})"),
    )
    found = [(f"{name} {words}", test) for name, words, test in tests if words]
    for path, value in check.json.items():
        there = f"JSON.stringify(pick(response.json(), {json_text(parts_of(path))}))"
        found.append((f"{path} is {value}", f"{there} === JSON.stringify({json_text(value)})"))
    return found
