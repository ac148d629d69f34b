"""One step: what is concluded and what is reported as new."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from premortem.model import Diagnosis, Evidence, History, Metric, Reading, Signal, State, Verdict
from premortem.pipeline import Pipeline, changes, conclude


def verdict(cause: str, tier: str, state: str, strength: float = 0.5) -> Verdict:
    fact = Evidence("db.wait.cpu", 9.0, 1.0, 0.0, "9 sessions")
    return Verdict(cause, tier, state, "because", (fact,), "", strength)  # type: ignore[arg-type]


def test_the_deepest_confirmed_tier_wins() -> None:
    ledger = [
        verdict("web_cpu", "web", "confirmed", 0.9),
        verdict("db_cpu_by_traffic", "database", "confirmed", 0.1),
    ]
    found = conclude(1.0, ledger, [], {"db_cpu_by_traffic": ("shed",)})
    assert (found.cause, found.tier, found.remedies) == ("db_cpu_by_traffic", "database", ("shed",))


def test_within_a_tier_the_stronger_evidence_wins() -> None:
    ledger = [
        verdict("a", "database", "confirmed", 0.3),
        verdict("b", "database", "confirmed", 0.6),
    ]
    assert conclude(1.0, ledger, [], {}).cause == "b"


def test_a_suspicion_names_nothing() -> None:
    assert conclude(1.0, [verdict("a", "web", "suspected")], [], {}).cause is None


def test_only_what_is_new_is_told() -> None:
    signal = Signal("threshold", "pool.waiting", 3.0, 0.0, 1.0)
    calm = Diagnosis(0.0, (verdict("a", "web", "cannot_exclude"),))
    bad = Diagnosis(1.0, (verdict("a", "web", "confirmed"),), (signal,), "a", "web", ("shed",))
    told = changes(calm, bad)
    assert [e.kind for e in told] == ["signal", "verdict", "diagnosis"]
    assert told[2].data["cause"] == "a"
    assert changes(bad, bad) == []
    assert [e.kind for e in changes(bad, calm)] == ["verdict", "diagnosis"]


LOAD = "db.wait.cpu"


@dataclass
class Counting:
    """A cause that notes when it is judged; it holds from ``from_s`` on."""

    held: State = "confirmed"
    from_s: float = float("inf")
    remedies: tuple[str, ...] = ()
    judged: list[float] = field(default_factory=list)

    def judge(self, history: History) -> Verdict:
        self.judged.append(history.now)
        return verdict("a", "web", self.held if history.now >= self.from_s else "ruled_out")


@dataclass
class Speaking:
    """A detector that speaks at one moment."""

    at: float

    def detect(self, history: History) -> Iterable[Signal]:
        return [Signal("threshold", LOAD, 1.0, 0.0, self.at)] if history.now == self.at else []


def judged(
    cause: Counting,
    values: Iterable[float],
    *,
    speaks_at: float = -1.0,
    fails_at: float = -1.0,
) -> list[float]:
    """When the cause was judged over one value a second, the unknown first seconds left out."""
    pipeline = Pipeline(
        History([Metric(LOAD, "sessions", "Sessions.")]), [Speaking(speaks_at)], [cause]
    )
    for second, value in enumerate(values):
        error = "no reply" if second == fails_at else None
        reading = Reading(
            "postgres", "db", float(second), {} if error else {LOAD: value}, (), error
        )
        pipeline.step(float(second), [reading])
    return [at for at in cause.judged if at >= 9]


def test_in_calm_causes_are_judged_every_third_second() -> None:
    assert judged(Counting(), [5.0] * 20) == [11, 14, 17]


def test_a_leap_a_failure_and_a_signal_have_them_judged_at_once() -> None:
    awake = [10, 11, 12, 15, 18]
    assert judged(Counting(), [5.0] * 10 + [50.0] * 10) == awake
    assert judged(Counting(), [5.0] * 20, fails_at=10) == awake
    assert judged(Counting(), [5.0] * 20, speaks_at=10) == [10, 11, 14, 17]


def test_a_cause_that_is_held_is_judged_every_second_until_it_is_no_more() -> None:
    always = [float(second) for second in range(14, 20)]
    assert judged(Counting("suspected", 11.5), [5.0] * 20) == [11, *always]
    assert judged(Counting("cannot_exclude", 11.5), [5.0] * 20) == [11, 14, 17]
