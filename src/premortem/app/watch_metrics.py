"""The daemon's own figures as Prometheus metrics: is it seeing, deciding, keeping, telling?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from premortem.app.remote_write import Counts
from premortem.app.serve import Reply
from premortem.app.watch_site import Site
from premortem.model import State

__all__ = ["Figures", "Metrics", "health"]

STALE_AFTER_S = 10.0
"""A watch that has not made a step for ten beats does not watch."""

Metric = CounterMetricFamily | GaugeMetricFamily


@dataclass(frozen=True, slots=True)
class Figures:
    """What the daemon is doing now."""

    now: float
    """By the watch's own clock."""
    sites: Sequence[Site]
    open_matters: Sequence[tuple[str, str, str]] = ()
    """(site, kind, subject) of what people were told of."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    failing: Sequence[str] = ()
    remote: Counts | None = None
    post: Mapping[str, tuple[int, int, int, int]] = field(default_factory=dict)
    held_back: int = 0
    reloads: int = 0
    reloads_refused: int = 0
    clock_steps: int = 0


class Metrics:
    """The page /metrics. ``figures`` is called at each scrape."""

    kind = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, figures: Callable[[], Figures]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Collector(figures))
        ProcessCollector(registry=self._registry)

    def page(self) -> Reply:
        """All metrics in the text format."""
        return Reply(200, generate_latest(self._registry).decode(), self.kind)


class _Collector(Collector):
    def __init__(self, figures: Callable[[], Figures]) -> None:
        self._figures = figures

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        figures = self._figures()
        yield from _judgement(figures)
        yield from _work(figures)
        yield from _sources(figures)
        yield from _outlets(figures)


def health(figures: Figures) -> Reply:
    """200 while every site is stepped on; else 503 and the count of those that are not."""
    late = [s for s in figures.sites if not is_fresh(s, figures.now)]
    if not late:
        return Reply(200, f"ok: {len(figures.sites)} watched\n")
    return Reply(503, f"{len(late)} of {len(figures.sites)} not watched now\n")


def is_fresh(site: Site, now: float) -> bool:
    """Whether the site's watch made a step lately."""
    return site.last is not None and site.last.now >= now - STALE_AFTER_S


def _judgement(figures: Figures) -> Iterator[Metric]:
    verdict = GaugeMetricFamily(
        "premortem_verdict",
        "1 for the state that is held of the cause, 0 for the others.",
        labels=("site", "cause", "state"),
    )
    named = GaugeMetricFamily(
        "premortem_diagnosis",
        "1 for the cause that is named now; no series while none is.",
        labels=("site", "cause", "tier"),
    )
    told = GaugeMetricFamily(
        "premortem_open",
        "1 for what people were told of and not yet relieved of.",
        labels=("site", "kind", "subject"),
    )
    for site in figures.sites:
        diagnosis = site.last.diagnosis if site.last else None
        for v in diagnosis.ledger if diagnosis else ():
            for state in get_args(State):
                verdict.add_metric((site.name, v.cause, state), float(v.state == state))
        if diagnosis and diagnosis.cause and diagnosis.tier:
            named.add_metric((site.name, diagnosis.cause, diagnosis.tier), 1.0)
    for matter in figures.open_matters:
        told.add_metric(matter, 1.0)
    yield from (verdict, named, told)


def _work(figures: Figures) -> Iterator[Metric]:
    one = ("site",)
    up = GaugeMetricFamily(
        "premortem_up", "1 when the site was judged in the last 10 s.", None, one
    )
    ticks = CounterMetricFamily("premortem_ticks", "Steps made, one a second.", None, one)
    steps = CounterMetricFamily("premortem_step_seconds", "Time spent in the steps.", None, one)
    last = GaugeMetricFamily("premortem_last_step_seconds", "What the last step took.", None, one)
    crashes = CounterMetricFamily("premortem_crashes", "Restarts after a bug.", None, one)
    bugs = GaugeMetricFamily("premortem_bugs", "Causes and detectors left out.", None, one)
    for s in figures.sites:
        up.add_metric((s.name,), float(is_fresh(s, figures.now)))
        ticks.add_metric((s.name,), s.ticks)
        steps.add_metric((s.name,), s.steps_s)
        last.add_metric((s.name,), s.step_s)
        crashes.add_metric((s.name,), s.crashes)
        bugs.add_metric((s.name,), s.bugs)
    yield from (up, ticks, steps, last, crashes, bugs)


def _sources(figures: Figures) -> Iterator[Metric]:
    labels = ("site", "source", "target")
    age = GaugeMetricFamily(
        "premortem_reading_age_seconds",
        "Since the source last read without an error.",
        None,
        labels,
    )
    errors = CounterMetricFamily(
        "premortem_reading_errors", "Readings with an error: evidence, seldom a fault of ours.",
        None, labels,
    )  # fmt: skip
    for s in figures.sites:
        for key, at in s.heard.items():
            age.add_metric((s.name, *key), max(0.0, figures.now - at))
        for key, count in s.errors.items():
            errors.add_metric((s.name, *key), count)
    yield from (age, errors)


def _outlets(figures: Figures) -> Iterator[Metric]:
    place, address = ("place",), ("address",)
    dropped = CounterMetricFamily("premortem_dropped_ticks", "Ticks not written.", None, place)
    failing = GaugeMetricFamily("premortem_write_failing", "1: cannot be written.", None, place)
    for name, count in figures.dropped.items():
        dropped.add_metric((name,), count)
        failing.add_metric((name,), float(name in figures.failing))
    sent = CounterMetricFamily("premortem_notifications_sent", "Messages taken.", None, address)
    lost = CounterMetricFamily("premortem_notifications_failed", "Given up.", None, address)
    waits = GaugeMetricFamily("premortem_notifications_waiting", "Not sent yet.", None, address)
    tries = CounterMetricFamily(
        "premortem_notification_attempts_failed", "Repeated.", None, address
    )
    for name, counts in figures.post.items():
        families: tuple[Metric, ...] = (sent, lost, waits, tries)
        for family, count in zip(families, counts, strict=True):
            family.add_metric((name,), count)
    yield from (dropped, failing, sent, lost, waits, tries)
    if figures.remote is not None:
        yield from _remote(figures.remote)
    for name, meaning, value in (
        ("premortem_notifications_held_back", "Waited for the hourly bound.", figures.held_back),
        ("premortem_reloads", "Configurations taken.", figures.reloads),
        ("premortem_reloads_refused", "Configurations refused.", figures.reloads_refused),
        ("premortem_clock_steps", "Times the machine's clock was set.", figures.clock_steps),
    ):
        yield CounterMetricFamily(name, meaning, value=value)


def _remote(counts: Counts) -> Iterator[Metric]:
    readings = CounterMetricFamily(
        "premortem_remote_write_readings", "Readings for the fleet's history.", labels=("result",)
    )
    readings.add_metric(("sent",), counts.sent)
    readings.add_metric(("dropped",), counts.dropped)
    readings.add_metric(("refused",), counts.refused)
    yield readings
    yield GaugeMetricFamily("premortem_remote_write_queued", "Not sent yet.", value=counts.queued)
