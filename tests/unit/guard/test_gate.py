from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from premortem.guard.gate import Gate
from premortem.guard.queue import Entry, Patience, State

SHARES = {"high": 0.6, "normal": 0.3, "low": 0.1}


def arrived(gate: Gate, kind: str, now: float = 0.0, patience_s: float = 1.0) -> Entry:
    entry = Entry(kind, now, now + patience_s)
    gate.arrive(entry, now)
    return entry


def test_enters_up_to_the_cap_then_waits() -> None:
    gate = Gate(2, SHARES, Patience())
    assert [arrived(gate, "normal").state for _ in range(3)] == ["admitted", "admitted", "waiting"]
    assert gate.in_flight == 2


def test_above_the_limit_a_class_enters_only_under_its_share() -> None:
    gate = Gate(20, SHARES, Patience())
    gate.resize(20, 10, 0.0)
    assert all(arrived(gate, "normal").state == "admitted" for _ in range(10))
    assert arrived(gate, "normal").state == "waiting"
    assert [arrived(gate, "high").state for _ in range(7)] == ["admitted"] * 6 + ["waiting"]
    assert [arrived(gate, "low").state for _ in range(2)] == ["admitted", "waiting"]
    assert gate.in_flight == 17


def test_a_freed_slot_goes_to_the_important_then_to_whoever_waits() -> None:
    gate = Gate(1, SHARES, Patience())
    holder = arrived(gate, "normal")
    low, normal, high = (arrived(gate, kind, 0.001) for kind in ("low", "normal", "high"))
    assert gate.end(holder, 0.01) == [high]
    assert gate.end(high, 0.02) == [normal]
    assert gate.end(normal, 0.03) == [low]
    assert gate.in_flight == 1


def test_checkout_does_not_starve_browsing_beyond_its_share() -> None:
    gate = Gate(10, SHARES, Patience())
    holders = [arrived(gate, "high") for _ in range(10)]
    high, normal = arrived(gate, "high"), arrived(gate, "normal")
    assert gate.end(holders[0], 0.01) == [normal]
    assert high.state == "waiting"


def test_work_that_is_too_late_never_starts() -> None:
    gate = Gate(1, SHARES, Patience())
    assert arrived(gate, "normal", 5.0, patience_s=0.0).state == "refused"
    holder = arrived(gate, "normal", 5.0)
    hasty = arrived(gate, "normal", 5.0, patience_s=0.02)
    patient = arrived(gate, "normal", 5.01)
    assert gate.end(holder, 5.03) == [hasty, patient]
    assert (hasty.state, patient.state) == ("refused", "admitted")


def test_a_client_that_has_gone_leaves_the_queue_and_costs_nothing() -> None:
    gate = Gate(1, SHARES, Patience())
    arrived(gate, "normal")
    waiting = arrived(gate, "normal")
    assert gate.end(waiting, 0.01) == []
    assert (waiting.state, len(gate.queue), gate.in_flight) == ("dropped", 0, 1)


def test_a_smaller_cap_lets_those_in_flight_end_and_a_larger_one_admits_at_once() -> None:
    gate = Gate(3, SHARES, Patience())
    holders = [arrived(gate, "normal") for _ in range(3)]
    assert gate.resize(1, 1, 0.0) == []
    waiting = arrived(gate, "normal")
    assert gate.end(holders[0], 0.01) == gate.end(holders[1], 0.01) == []
    assert gate.resize(2, 2, 0.02) == [waiting]


@pytest.mark.parametrize("state", ["admitted", "waiting", "refused"])
def test_ending_twice_changes_nothing(state: State) -> None:
    gate = Gate(1, SHARES, Patience(entries_max=1))
    ends = {"admitted": "done", "waiting": "dropped", "refused": "refused"}
    entries = {each.state: each for each in (arrived(gate, "normal") for _ in range(3))}
    gate.end(entries[state], 0.01)
    counts = gate.in_flight, len(gate.queue)
    gate.end(entries[state], 0.01)
    assert (gate.in_flight, len(gate.queue)) == counts
    assert entries[state].state == ends[state]


class Site(RuleBasedStateMachine):
    """Anything may happen in any order; the laws hold after every step."""

    CAP_MAX = 6
    WAITING_MAX = 4

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.gate = Gate(4, SHARES, Patience(entries_max=self.WAITING_MAX))
        self.all: list[Entry] = []
        self.decided: dict[Entry, int] = {}
        self.in_flight_before_shrink = 0

    def _note(self, entries: list[Entry]) -> None:
        for entry in entries:
            assert entry.state in ("admitted", "refused")
            self.decided[entry] = self.decided.get(entry, 0) + 1

    @rule(kind=st.sampled_from(list(SHARES)), patience_s=st.sampled_from([0.0, 0.01, 1.0]))
    def arrive(self, kind: str, patience_s: float) -> None:
        entry = Entry(kind, self.now, self.now + patience_s)
        self.all.append(entry)
        self._note(self.gate.arrive(entry, self.now))
        if entry.state != "waiting":
            self._note([entry])

    @precondition(lambda self: self.all)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.all))
        waited = entry.state == "waiting"
        self._note(self.gate.end(entry, self.now))
        if waited:
            assert entry.state == "dropped"
            self.decided[entry] = self.decided.get(entry, 0) + 1

    @rule(seconds=st.sampled_from([0.001, 0.005, 0.02, 0.08, 0.2]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self._note(self.gate.drain(self.now))

    @rule(cap=st.integers(1, CAP_MAX), part=st.floats(0.1, 1.0))
    def resize(self, cap: int, part: float) -> None:
        self.in_flight_before_shrink = self.gate.in_flight
        self._note(self.gate.resize(cap, cap * part, self.now))

    @invariant()
    def never_more_than_the_cap_in_flight(self) -> None:
        in_flight = sum(e.state == "admitted" for e in self.all)
        assert in_flight == self.gate.in_flight
        assert in_flight <= max(self.gate.cap, self.in_flight_before_shrink)

    @invariant()
    def nobody_is_lost_and_everybody_is_decided_once(self) -> None:
        for entry in self.all:
            assert self.decided.get(entry, 0) == (0 if entry.state == "waiting" else 1)
        assert sum(e.state == "waiting" for e in self.all) == len(self.gate.queue)

    @invariant()
    def bounded_and_somebody_will_be_called(self) -> None:
        assert len(self.gate.queue) <= self.WAITING_MAX
        assert (self.gate.due(self.now) is None) == (len(self.gate.queue) == 0)

    @invariant()
    def nothing_idles_while_somebody_waits(self) -> None:
        if len(self.gate.queue):
            assert self.gate.in_flight >= self.gate.limit

    @invariant()
    def nobody_waits_longer_than_the_time_out_once_time_is_told(self) -> None:
        for entry in self.all:
            if entry.state == "waiting":
                assert self.now < entry.arrived_s + 0.08 + 1e-9


TestSite = Site.TestCase
TestSite.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
