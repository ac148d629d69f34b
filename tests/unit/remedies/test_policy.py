"""What may be done now."""

from premortem.model import Diagnosis
from premortem.remedies.policy import Policy, decide

NAMED = Diagnosis(1000.0, (), (), "db_cpu_by_traffic", "database", ("shed", "cap_pool"))
ALL = ("shed", "cap_pool")


def test_by_default_everything_is_proposed_and_nothing_applied() -> None:
    found = decide(NAMED, [], Policy())
    assert [(p.remedy, p.apply) for p in found] == [("shed", False), ("cap_pool", False)]
    assert "--act" in found[0].why


def test_the_mildest_allowed_remedy_goes_first_and_alone() -> None:
    found = decide(NAMED, [], Policy(act=True, allow=ALL))
    assert [(p.remedy, p.apply) for p in found] == [("shed", True), ("cap_pool", False)]


def test_what_is_not_allowed_is_proposed() -> None:
    found = decide(NAMED, [], Policy(act=True, allow=("cap_pool",)))
    assert [(p.remedy, p.apply) for p in found] == [("shed", False), ("cap_pool", True)]
    assert "allow list" in found[0].why


def test_nothing_is_said_twice_before_it_could_show_an_effect() -> None:
    done = [(990.0, "shed"), (960.0, "cap_pool")]
    found = decide(NAMED, done, Policy(act=True, allow=ALL))
    assert [(p.remedy, p.apply) for p in found] == [("cap_pool", True)]


def test_too_many_acts_call_a_person() -> None:
    done = [(1000.0 - 60 * i - 40, "x") for i in range(6)]
    found = decide(NAMED, done, Policy(act=True, allow=ALL))
    assert not any(p.apply for p in found)
    assert "limit" in found[0].why


def test_no_cause_no_proposal() -> None:
    assert decide(Diagnosis(1.0, ()), [], Policy(act=True, allow=ALL)) == ()
