"""The evaluator of today's alerting rules does what Prometheus does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from benchmarks._rules import BAD, RULES, USERS, VARIANTS, Fired, Samples, evaluate
from benchmarks._rules_cases import cases_in, prolonged
from benchmarks.rules import _lead, figures, speak
from premortem.causes._worlds import OPEN_SITE, SURGE_OPEN
from premortem.examples import Example
from premortem.recording import encode, header

WRITTEN, BEST, COMPRESSED = VARIANTS


def rule(name: str) -> object:
    return next(r for r in RULES if r.name == name)


def samples(speed: float = 1.0, **series: Sequence[float]) -> Samples:
    """One sample a second from 0 on; ``_`` reads ``.``."""
    found = {k.replace("__", "."): v for k, v in series.items()}
    end = max(len(v) for v in found.values()) - 1.0
    return Samples(
        {k: ([*map(float, range(len(v)))], v) for k, v in found.items()}, 0.0, end, speed
    )


def slots(full_from: int, full_to: int, seconds: int) -> Mapping[str, Sequence[float]]:
    used = [90.0 if full_from <= s < full_to else 10.0 for s in range(seconds)]
    return {"db__connections__used": used, "db__connections__max": [100.0] * seconds}


def fired(name: str, seen: Samples, variant: object = BEST, onset: float = 10.0) -> Fired:
    return evaluate(rule(name), seen, variant, onset)  # type: ignore[arg-type]


def test_a_rule_waits_for_as_long_as_it_says() -> None:
    seen = samples(**slots(20, 400, 400))
    assert fired("PostgresqlTooManyConnections", seen).at == 20.5
    late = fired("PostgresqlTooManyConnections", seen, WRITTEN).at
    assert late is not None and 140 <= late < 155
    soon = fired(
        "PostgresqlTooManyConnections", samples(speed=60.0, **slots(20, 400, 400)), COMPRESSED
    )
    assert soon.at is not None and soon.at == pytest.approx(22, abs=1)


def test_a_break_starts_the_wait_anew() -> None:
    used = [*slots(20, 130, 150)["db__connections__used"], *[90.0] * 200]
    seen = samples(db__connections__used=used, db__connections__max=[100.0] * len(used))
    late = fired("PostgresqlTooManyConnections", seen, WRITTEN).at
    assert late is not None and late > 250


def test_a_fault_that_is_mended_is_prolonged_for_the_rules() -> None:
    """A fault of 20 s; the rule waits for two minutes of it."""
    short = samples(**slots(20, 40, 50))
    assert fired("PostgresqlTooManyConnections", short, WRITTEN).at is None
    long = prolonged(short, until=39.0)
    late = fired("PostgresqlTooManyConnections", long, WRITTEN).at
    assert late is not None and 140 <= late < 155
    at, values = long.series["db.connections.used"]
    assert list(at) == sorted(at) and set(values[25:]) == {90.0} and at[-1] == pytest.approx(939)


def test_what_fires_before_the_onset_is_a_false_alarm_and_no_lead() -> None:
    always = fired("PostgresqlTooManyConnections", samples(**slots(0, 60, 60)))
    assert always == Fired(None, before=True, blind=False)
    again = {"db__connections__used": [90.0] * 5 + [10.0] * 20 + [90.0] * 20}
    seen = samples(**again, db__connections__max=[100.0] * 45)
    assert fired("PostgresqlTooManyConnections", seen) == Fired(25.5, before=True, blind=False)


def test_a_rule_whose_metric_is_missing_is_blind() -> None:
    assert fired("HostHighCpuLoad", samples(**slots(0, 9, 9))).blind


def test_a_burn_rate_weighs_users_and_remembers_the_healthy_hour() -> None:
    """One bad second in 70 of an hour is 14.4 times the budget of 0.1 %; a surge counts more."""
    steady = samples(**{USERS.replace(".", "__"): [10.0] * 200,
                        BAD.replace(".", "__"): [0.0] * 20 + [10.0] * 180})  # fmt: skip
    at = fired("ErrorBudgetBurn14.4x", steady).at
    assert at is not None and at - 20 == pytest.approx(0.0144 * 3600, abs=3)
    surge = samples(**{USERS.replace(".", "__"): [10.0] * 20 + [100.0] * 180,
                       BAD.replace(".", "__"): [0.0] * 20 + [100.0] * 180})  # fmt: skip
    sooner = fired("ErrorBudgetBurn14.4x", surge).at
    assert sooner is not None and sooner - 20 == pytest.approx(5.2, abs=1.5)


def test_every_rule_says_where_it_is_from() -> None:
    assert len({r.name for r in RULES}) == len(RULES)
    assert all(r.source and r.says and r.needs and r.for_s >= 0 for r in RULES)


def test_a_folder_of_faults_is_compared(tmp_path: Path) -> None:
    world = Example("the seeds' surge", OPEN_SITE, SURGE_OPEN, trouble_s=25)
    lines = [header()]
    for _, readings in world.readings():
        lines += [encode(reading) for reading in readings]
    (tmp_path / "x-1.jsonl").write_text("\n".join(lines) + "\n")
    about = {
        "fault": "x",
        "seed": 1,
        "onset": 1_000_040.0,
        "until": 1_000_064.0,
        "expects": {"cause": "connection_exhaustion"},
    }
    (tmp_path / "x-1.json").write_text(json.dumps(about))
    (case,) = cases_in(tmp_path)
    spoke = speak(case)
    assert spoke.paged_s is not None and 3 <= spoke.paged_s <= 15
    assert not spoke.paged_before
    result = figures([case], [spoke])
    assert result["premortem"]["paged"] == 1
    held = next(r for r in result["rules"] if r["name"] == "PostgresqlTooManyConnections")
    assert held["as_written"]["fired"] == 1 and held["as_written"]["lead_s"] > 100
    assert held["best_case"]["fired"] == 1
    assert _lead(case, 5.0, case.onset + 7.0) == 2.0
