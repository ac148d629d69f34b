"""What every cause promises, whichever it is."""

from __future__ import annotations

import ast
import inspect
import math
import re
from collections.abc import Iterator
from copy import copy
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from premortem.causes._page import HEADINGS, comments, render
from premortem.detectors._standard import standard
from premortem.examples import Example, metrics_of
from premortem.model import TIER_DEPTH, Diagnosis, History, Reading, Verdict
from premortem.parts import modules, part_class
from premortem.pipeline import Pipeline

MODULES = modules("premortem.causes")
KINDS = ("FIRES", "SILENT", "NEAR_MISS")
ALL = [e for m in MODULES.values() for k in KINDS for e in getattr(m, k)]
WORLDS = [replace(e, world="") for e in ALL]
METRICS = metrics_of(ALL)
NAMES = sorted(MODULES)
REMEDIES = {
    "shed",
    "cap_pool",
    "terminate_idle",
    "cancel_blocker",
    "cancel_query",
    "add_web_workers",
    "failover",
    "hold_clients",
    "isolate_server",
    "restore_consensus",
    "restore_replica",
    "rollback",
}


def examples(kind: str) -> list[Any]:
    return [
        pytest.param(name, example, id=f"{name}: {example.world}")
        for name, module in MODULES.items()
        for example in getattr(module, kind)
    ]


def cause(name: str) -> Any:
    return part_class(MODULES[name])()


@cache
def _played(index: int) -> tuple[Diagnosis, ...]:
    causes = [cause(name) for name in NAMES]
    pipeline = Pipeline(History(METRICS), standard(), causes)
    return tuple(pipeline.step(now, readings) for now, readings in WORLDS[index].readings())


def play(example: Example) -> tuple[Diagnosis, ...]:
    """The whole pipeline over an example: one diagnosis a second. Many causes share a world."""
    nameless = replace(example, world="")
    return _played(next(i for i, known in enumerate(WORLDS) if known == nameless))


def blind(history: History, metric: str) -> History:
    """The same past as if ``metric`` and those whose names begin like it had never been read."""
    seen = copy(history)
    seen._tracks = {n: {} if n.startswith(metric) else t for n, t in history._tracks.items()}
    seen._known = {}
    return seen


def judged(name: str, example: Example, seed: int = 1) -> list[Verdict]:
    """One cause alone over an example: one verdict a second."""
    history, part, verdicts = History(METRICS), cause(name), []
    for _, readings in example.readings(seed):
        for reading in readings:
            history.observe(reading)
        verdicts.append(part.judge(history))
        history.settle(calm=verdicts[-1].state not in ("confirmed", "suspected"))
    return verdicts


@pytest.mark.parametrize("name", NAMES)
def test_a_cause_is_a_frozen_noun_with_its_runbook(name: str) -> None:
    part = part_class(MODULES[name])
    assert is_dataclass(part) and part.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert hasattr(part, "__slots__")
    assert part.tier in TIER_DEPTH and part.remedies and set(part.remedies) <= REMEDIES
    runbook = inspect.cleandoc(part.__doc__ or "")
    places = [runbook.find(f"\n{heading}") for heading in HEADINGS]
    assert places == sorted(places) and places[0] > 0


@pytest.mark.parametrize("name", NAMES)
def test_every_threshold_has_its_reason(name: str) -> None:
    reasons = comments(MODULES[name], part_class(MODULES[name]).__name__)
    assert {f.name for f in fields(part_class(MODULES[name]))} <= set(reasons)


@pytest.mark.parametrize("name", NAMES)
def test_causes_do_not_import_each_other(name: str) -> None:
    tree = ast.parse(inspect.getsource(MODULES[name]))
    imported = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not imported & {f"premortem.causes.{other}" for other in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_cause_shows_itself_firing_silent_and_nearly(name: str) -> None:
    for kind in KINDS:
        found: tuple[Example, ...] = getattr(MODULES[name], kind)
        assert found and all(isinstance(example, Example) for example in found)


@pytest.mark.parametrize(("name", "example"), examples("FIRES"))
def test_it_is_confirmed_in_its_own_world(name: str, example: Example) -> None:
    for seed in (1, 2, 3):
        verdicts = judged(name, example, seed)
        calm, trouble = verdicts[: example.calm_s], verdicts[example.calm_s :]
        assert not {"confirmed", "suspected"} & {v.state for v in calm}
        first = next(i for i, v in enumerate(trouble) if v.state == "confirmed")
        assert first <= 8
        assert trouble[-1].state == "confirmed"
        assert trouble[-1].evidence and 0 < trouble[-1].strength <= 1
        assert re.search(r"\d", trouble[-1].because)


@pytest.mark.parametrize(("name", "example"), [*examples("SILENT"), *examples("NEAR_MISS")])
def test_it_is_never_confirmed_in_another_world(name: str, example: Example) -> None:
    index = NAMES.index(name)
    assert "confirmed" not in {d.ledger[index].state for d in play(example)}
    assert "confirmed" not in {v.state for v in judged(name, example, seed=2)}


@pytest.mark.parametrize(("name", "example"), examples("FIRES"))
def test_the_deepest_confirmed_cause_is_the_examples_own_or_deeper(
    name: str, example: Example
) -> None:
    last = play(example)[-1]
    own = TIER_DEPTH[cause(name).tier]
    assert last.tier is not None
    assert last.cause == name or TIER_DEPTH[last.tier] > own or name == "workers_starved"


@pytest.mark.parametrize(("name", "example"), examples("FIRES"))
def test_a_missing_metric_never_rules_the_true_cause_out(name: str, example: Example) -> None:
    told = [m for m in example.trouble if example.trouble[m] != example.calm.get(m)]
    history, part = History(METRICS), cause(name)
    for second, (_, readings) in enumerate(example.readings()):
        for reading in readings:
            history.observe(reading)
        history.settle(calm=second < example.calm_s)
    for metric in {*told, *part.deciding}:
        assert part.judge(blind(history, metric)).state != "ruled_out", metric


@pytest.mark.parametrize("name", NAMES)
def test_nothing_read_means_cannot_exclude(name: str) -> None:
    verdict = cause(name).judge(History(METRICS))
    assert (verdict.cause, verdict.state) == (name, "cannot_exclude")
    assert verdict.because and verdict.check


@pytest.mark.parametrize(("name", "example"), [e for kind in KINDS for e in examples(kind)])
def test_every_verdict_says_why_and_what_to_check(name: str, example: Example) -> None:
    for verdict in play(example)[-1].ledger:
        assert verdict.because.endswith(".") and verdict.check
        assert verdict.state == "cannot_exclude" or verdict.evidence


def test_only_declared_metrics_are_read() -> None:
    """Metrics in the examples are declared by a source, and no other may be asked for."""
    declared = modules("premortem.sources")
    known = {metric.name for module in declared.values() for metric in module.METRICS}
    assert {metric.name for metric in METRICS} <= known


def test_the_page_is_made_from_the_docstrings() -> None:
    page = Path(__file__).parents[2] / "docs" / "causes.md"
    made = render()
    assert page.read_text() == made, "python -m premortem.causes._page > docs/causes.md"
    assert all(f"## {name}\n" in made for name in NAMES)


_VALUES = st.one_of(
    st.floats(),
    st.sampled_from([0.0, -1.0, 1.0, 97.0, 1e300, -1e300, math.nan, math.inf, -math.inf]),
)
_READINGS = st.builds(
    Reading,
    source=st.sampled_from(["postgres", "http_probe", "tcp", "guard", "deploys"]),
    target=st.sampled_from(["site", "db", ""]),
    at=st.one_of(st.floats(0, 60), st.sampled_from([math.nan, math.inf, -5.0])),
    values=st.dictionaries(
        st.one_of(st.sampled_from([m.name for m in METRICS]), st.text(max_size=5)),
        _VALUES,
        max_size=12,
    ),
    rows=st.lists(
        st.dictionaries(
            st.sampled_from(["kind", "pid", "root", "at", "text", "query", "state"]),
            st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=4)),
        ),
        max_size=3,
    ).map(tuple),
    error=st.one_of(st.none(), st.sampled_from(["53300 x", "refused", "connect timeout", ""])),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_READINGS, max_size=30))
def test_any_readings_are_judged_without_a_crash(readings: list[Reading]) -> None:
    """Whatever is read, every cause answers; none is ruled out by what was never measured."""
    pipeline = Pipeline(History(METRICS), standard(), [cause(name) for name in NAMES])
    for second, batch in enumerate(_threes(readings)):
        diagnosis = pipeline.step(float(second), batch)
        assert [v.cause for v in diagnosis.ledger] == NAMES
    for verdict in pipeline.step(61.0, []).ledger:
        if verdict.state == "ruled_out":
            assert verdict.evidence
            assert all(math.isfinite(e.value) for e in verdict.evidence)


def _threes(readings: list[Reading]) -> Iterator[list[Reading]]:
    for i in range(0, len(readings), 3):
        yield readings[i : i + 3]


@pytest.mark.parametrize("name", NAMES)
def test_without_its_deciding_metrics_a_calm_site_does_not_rule_it_out(name: str) -> None:
    """Absent data is never an alibi: taking the deciding metrics away takes the verdict away."""
    deciding = cause(name).deciding
    if not deciding:
        return
    calm: Example = MODULES[name].SILENT[0]
    assert judged(name, calm)[-1].state in ("ruled_out", "cannot_exclude")
    assert judged(name, calm.without(*deciding))[-1].state == "cannot_exclude"


def test_modules_are_what_the_files_say() -> None:
    assert all(isinstance(module, ModuleType) for module in MODULES.values())
    assert len(NAMES) == 24
