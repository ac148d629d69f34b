"""One step: what is concluded and what is reported as new."""

from premortem.model import Diagnosis, Evidence, Signal, Verdict
from premortem.pipeline import changes, conclude


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
