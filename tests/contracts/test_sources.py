"""Every source keeps the contract of ``premortem.sources._contract``."""

from __future__ import annotations

import re
import time
from pathlib import Path
from types import ModuleType

import pytest

from premortem import parts
from premortem.model import Metric
from premortem.sources import _docs
from premortem.sources._contract import READ_BOUND_S, Source
from premortem.sources._declared import DuplicateMetric, declared_metrics, unique

MODULES = parts.modules("premortem.sources")
TIERS = ("user", "net", "web", "pool", "db", "host")
UNITS = {
    *("ms", "s", "ratio", "per_s", "bytes", "bytes_per_s", "code", "bool", "cores", "connections"),
    *("requests", "sessions", "segments", "replicas", "transactions", "servers"),
}
SUFFIXES = {"_ms": "ms", "_s": "s", "_ratio": "ratio", "_share": "ratio", "_bytes": "bytes"}

each_module = pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
each_metric = pytest.mark.parametrize("metric", declared_metrics(), ids=lambda m: m.name)


def make(module: ModuleType) -> Source:
    return parts.part_class(module)(**module.UNREACHABLE)


def unit_of(name: str) -> str | None:
    if name.endswith("bytes_per_s"):
        return "bytes_per_s"
    if name.endswith("_per_s"):
        return "per_s"
    return next((unit for end, unit in SUFFIXES.items() if name.endswith(end)), None)


@each_module
def test_the_class_bears_the_name_of_its_file(module: ModuleType) -> None:
    source = make(module)
    assert source.name == module.__name__.rpartition(".")[2]
    assert source.interval_s > 0
    assert source.target


@each_module
def test_settings_never_show_a_secret(module: ModuleType) -> None:
    shown = repr(make(module))
    assert "dsn=" not in shown
    assert "token=" not in shown
    assert "password" not in shown


@each_module
async def test_what_cannot_be_reached_is_an_error_within_the_bound(module: ModuleType) -> None:
    source = make(module)
    begun = time.perf_counter()
    reading = await source.read(1_000.5)
    took_s = time.perf_counter() - begun
    await source.close()
    await source.close()
    assert took_s < READ_BOUND_S
    assert (reading.source, reading.at, reading.target) == (source.name, 1_000.5, source.target)
    assert (reading.error is not None) == bool(module.UNREACHABLE)
    assert set(reading.values) <= {m.name for m in declared_metrics()}


@each_module
async def test_a_read_costs_little(module: ModuleType) -> None:
    """Processor time of one read, the best of five: other work on the machine does not count."""
    source = make(module)
    await source.read(1.0)
    costs_ms = []
    for now in range(2, 7):
        begun = time.process_time()
        await source.read(float(now))
        costs_ms.append((time.process_time() - begun) * 1000)
    await source.close()
    assert min(costs_ms) < 10.0


@each_module
async def test_a_source_can_be_closed_before_it_read(module: ModuleType) -> None:
    await make(module).close()


@each_metric
def test_a_metric_is_named_by_tier_and_thing(metric: Metric) -> None:
    assert re.fullmatch(r"[a-z]+(\.[a-z][a-z0-9_]*)+", metric.name)
    assert metric.name.split(".")[0] in TIERS


@each_metric
def test_a_metric_has_a_known_unit_that_agrees_with_its_name(metric: Metric) -> None:
    assert metric.unit in UNITS
    assert unit_of(metric.name) in (None, metric.unit)


@each_metric
def test_a_metric_says_what_it_means_in_a_sentence(metric: Metric) -> None:
    assert metric.meaning.endswith(".")
    assert "|" not in metric.meaning


def test_two_declarations_of_one_name_fail() -> None:
    metric = Metric("db.up", "bool", "Up.")
    with pytest.raises(DuplicateMetric, match=r"db\.up is declared by a and by b"):
        unique([("a", (metric,)), ("b", (metric,))])


def test_the_document_is_true() -> None:
    written = Path(__file__).parents[2] / "docs" / "metrics.md"
    assert written.read_text() == _docs.document(), (
        "run: python -m premortem.sources._docs > docs/metrics.md"
    )
