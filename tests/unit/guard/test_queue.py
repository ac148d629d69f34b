import pytest

from premortem.guard.queue import Entry, Line, Patience, Queue

KINDS = ("high", "normal", "low")


def entry(arrived_s: float, kind: str = "normal") -> Entry:
    return Entry(kind, arrived_s, arrived_s + 1.0)


def filled(*arrivals: float, patience: Patience | None = None) -> tuple[Queue, list[Entry]]:
    queue = Queue(KINDS, patience or Patience())
    entries = [entry(at) for at in arrivals]
    for each in entries:
        queue.push(each, each.arrived_s)
    return queue, entries


def line(*arrivals: float) -> tuple[Line, list[Entry]]:
    line = Line(Patience())
    entries = [entry(at) for at in arrivals]
    for each in entries:
        line.push(each, each.arrived_s)
    return line, entries


def test_a_burst_is_served_in_order_of_arrival() -> None:
    burst, (first, second) = line(0.0, 0.01)
    assert [burst.pop(0.02), burst.pop(0.02)] == [first, second]


def test_a_standing_line_is_served_newest_first() -> None:
    standing, (first, second) = line(0.0, 0.099)
    assert not standing.standing(0.0999)
    assert standing.standing(0.1)
    assert [standing.pop(0.1), standing.pop(0.1)] == [second, first]


def test_a_line_that_was_empty_for_a_moment_is_no_standing_one() -> None:
    moving, _ = line(0.0)
    moving.pop(0.05)
    moving.push(entry(0.06), 0.06)
    assert not moving.standing(0.12)
    assert moving.standing(0.16)


def test_a_crowd_of_browsers_does_not_make_checkouts_wait_in_a_standing_line() -> None:
    queue, _ = filled(*(n / 1000 for n in range(0, 200, 4)))
    checkout = entry(0.19, "high")
    queue.push(checkout, 0.19)
    assert checkout not in queue.expire(0.2)
    assert (queue.waiting("high"), queue.waiting("normal")) == (1, 1)


@pytest.mark.parametrize(
    ("now", "left"),
    [(0.0799, 3), (0.08, 2), (0.0999, 2), (0.1, 1)],
    ids=["patient", "burst time-out", "still a burst", "standing: only the last 5 ms stay"],
)
def test_expire(now: float, left: int) -> None:
    queue, entries = filled(0.0, 0.05, 0.097)
    late = queue.expire(now)
    assert len(queue) == left
    assert late == entries[: 3 - left]
    assert queue.expire(now) == []


def test_due_is_the_time_out_of_the_oldest_or_the_turn_to_standing() -> None:
    queue, _ = filled(0.0, 0.05)
    assert queue.due(0.06) == pytest.approx(0.08)
    queue.expire(0.08)
    assert queue.due(0.081) == pytest.approx(0.1)
    assert queue.due(0.1) == pytest.approx(0.055)
    queue.expire(0.1)
    assert queue.due(0.1) is None


def test_a_full_queue_turns_the_newcomer_away_in_a_burst_and_the_oldest_when_standing() -> None:
    queue, (first, _) = filled(0.0, 0.01, patience=Patience(entries_max=2))
    newcomer = entry(0.02)
    assert queue.push(newcomer, 0.02) is newcomer
    assert queue.push(entry(0.2), 0.2) is first
    assert len(queue) == 2


def test_a_full_queue_gives_up_the_least_important_for_a_more_important_one() -> None:
    queue = Queue(KINDS, Patience(entries_max=2))
    low, normal, high = entry(0.0, "low"), entry(0.0, "normal"), entry(0.0, "high")
    assert [queue.push(each, 0.0) for each in (low, normal, high)] == [None, None, low]
    assert queue.push(late := entry(0.01, "low"), 0.01) is late
    assert list(queue.kinds()) == ["high", "normal"]


def test_no_room_at_all_refuses_everybody() -> None:
    queue = Queue(KINDS, Patience(entries_max=0))
    assert queue.push(one := entry(0.0), 0.0) is one
    assert len(queue) == 0


def test_removing_one_who_does_not_wait_is_an_error() -> None:
    queue, (first,) = filled(0.0)
    queue.remove(first)
    assert len(queue) == 0
    with pytest.raises(ValueError, match="not in deque"):
        queue.remove(first)
