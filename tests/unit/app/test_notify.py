"""Who is told what and when: one message opens, one closes, flapping is damped, all is bounded."""

from collections.abc import Iterable

import pytest

from premortem.app.notify import Notice, Pager, Rules
from premortem.model import Diagnosis, Signal, State, Verdict

RULES = Rules(hold_s=3, warn_hold_s=5, resolve_after_s=60, again_s=3600, per_hour_max=20)


def diagnosis(at: float, cause: str | None = None, **states: State) -> Diagnosis:
    if cause is not None:
        states[cause] = "confirmed"
    ledger = tuple(Verdict(c, "database", s, "because") for c, s in states.items())
    return Diagnosis(at, ledger, (), cause, "database" if cause else None, ("mend",))


def play(pager: Pager, spans: Iterable[tuple[float, float, str | None]]) -> list[Notice]:
    """(from, to, cause) second by second."""
    told = []
    for start, end, cause in spans:
        at = start
        while at < end:
            told += pager.consider("shop", diagnosis(at, cause))
            at += 1.0
    return told


def steps(notices: Iterable[Notice]) -> list[tuple[str, float]]:
    return [(n.step, n.at) for n in notices]


def test_one_message_opens_and_one_closes() -> None:
    told = play(Pager(RULES), [(0, 10, None), (10, 100, "db_io"), (100, 300, None)])
    assert steps(told) == [("opened", 13.0), ("resolved", 159.0)]
    assert told[0].began == told[1].began == 10.0


def test_what_passes_at_once_is_not_told() -> None:
    assert play(Pager(RULES), [(0, 2, "db_io"), (2, 100, None)]) == []


def test_a_tick_that_is_late_does_not_begin_anew() -> None:
    pager = Pager(RULES)
    told = [n for at in (0, 1.01, 3.02, 4.03) for n in pager.consider("shop", diagnosis(at, "x"))]
    assert steps(told) == [("opened", 3.02)]


def test_a_short_pause_is_no_end() -> None:
    spans = [(0, 20, "db_io"), (20, 70, None), (70, 90, "db_io"), (90, 200, None)]
    assert [s for s, _ in steps(play(Pager(RULES), spans))] == ["opened", "resolved"]


def test_it_is_said_again_while_it_lasts() -> None:
    told = steps(play(Pager(RULES), [(0, 8000, "db_io")]))
    assert told == [("opened", 3.0), ("again", 3603.0), ("again", 7203.0)]


def test_a_deeper_cause_is_told_and_the_first_stays_open_while_it_is_confirmed() -> None:
    pager = Pager(RULES)
    play(pager, [(0, 10, "pool_too_small")])
    told = []
    for at in range(10, 200):
        told += pager.consider("shop", diagnosis(at, "db_io", pool_too_small="confirmed"))
    assert [(n.step, n.subject) for n in told] == [("opened", "db_io")]
    assert {m.subject for m in pager.open_matters()} == {"db_io", "pool_too_small"}


def flaps(count: int, every_s: float, start: float = 0.0) -> list[tuple[float, float, str | None]]:
    spans: list[tuple[float, float, str | None]] = []
    for n in range(count):
        begin = start + n * every_s
        spans += [(begin, begin + 10, "db_io"), (begin + 10, begin + every_s, None)]
    return spans


def test_the_third_opening_in_ten_minutes_is_damped_and_the_calm_is_told_once() -> None:
    told = steps(play(Pager(RULES), [*flaps(8, 120), (960, 8000, None)]))
    assert [s for s, _ in told] == [
        "opened", "resolved", "opened", "resolved", "flapping", "resolved",
    ]  # fmt: skip
    assert told[4][1] == 243.0
    assert 960 + 1500 < told[5][1] < 960 + 3700  # at most an hour after the last flap


def test_rare_openings_are_never_damped() -> None:
    told = steps(play(Pager(RULES), flaps(6, 1000)))
    assert [s for s, _ in told] == ["opened", "resolved"] * 6


def test_damped_trouble_that_stays_is_said_again() -> None:
    told = steps(play(Pager(RULES), [*flaps(3, 120), (360, 5000, "db_io")]))
    assert [s for s, _ in told][-2:] == ["flapping", "again"]


def test_the_hour_is_bounded_and_what_was_held_back_is_told_when_there_is_room() -> None:
    pager = Pager(Rules(hold_s=0, per_hour_max=4))
    causes = [f"cause_{n}" for n in range(10)]
    told: list[Notice] = []
    for at in range(3600):
        for site, cause in enumerate(causes):
            told += pager.consider(f"site{site}", diagnosis(at, cause))
    assert len([n for n in told if n.at < 1]) == 4
    assert 4 + 3 <= len(told) <= 8
    assert pager.held_back == 6
    assert len({(n.site, n.subject) for n in told}) == len(told)


def test_warnings_are_sent_only_when_asked_for_and_not_beside_a_page() -> None:
    def seen(on: tuple[str, ...], cause: str | None = None) -> list[Notice]:
        pager, told = Pager(Rules(on=on, hold_s=3, warn_hold_s=5)), []
        for at in range(20):
            d = diagnosis(at, cause, db_io="suspected")
            runs_out = Signal("runway", "db.connections.used", 90, 100, at, runway_s=60)
            told += pager.consider("shop", Diagnosis(at, d.ledger, (runs_out,), d.cause, d.tier))
        return told

    assert seen(("confirmed",)) == []
    assert [(n.kind, n.subject) for n in seen(("suspected",))] == [("warning", "db_io")]
    assert [n.subject for n in seen(("runway",))] == ["db.connections.used"]
    everything = ("confirmed", "suspected", "runway")
    assert [(n.kind, n.subject) for n in seen(everything, "lock")] == [("page", "lock")]


def test_warnings_leave_half_of_the_hour_to_pages() -> None:
    pager = Pager(Rules(on=("confirmed", "suspected"), hold_s=0, warn_hold_s=0, per_hour_max=4))
    many: dict[str, State] = {f"c{n}": "suspected" for n in range(9)}
    warned = pager.consider("shop", diagnosis(0, **many))
    paged = [pager.consider(f"s{n}", diagnosis(0, "lock")) for n in range(3)]
    assert (len(warned), [len(p) for p in paged]) == (2, [1, 1, 0])


@pytest.mark.parametrize("lasts", [True, False])
def test_a_restart_tells_nothing_twice_and_still_gives_the_all_clear(lasts: bool) -> None:
    before = play(Pager(RULES), [(0, 10, "db_io")])
    pager = Pager(RULES)
    pager.restore("shop", [n.event() for n in before], 30.0)
    told = play(pager, [(30, 200, "db_io" if lasts else None)])
    assert steps(told) == ([] if lasts else [("resolved", 120.0)])


def test_a_matter_that_was_resolved_before_the_restart_is_told_when_it_returns() -> None:
    before = play(Pager(RULES), [(0, 10, "db_io"), (10, 100, None)])
    pager = Pager(RULES)
    pager.restore("shop", [n.event() for n in before], 100.0)
    assert steps(play(pager, [(100, 110, "db_io")])) == [("opened", 103.0)]


def test_nothing_is_kept_of_what_is_long_over() -> None:
    pager = Pager(RULES)
    for n in range(50):
        play(pager, [(n * 100, n * 100 + 2, f"cause_{n}")])
    play(pager, [(9000, 9001, None)])
    assert pager._matters == {}


def test_sites_do_not_disturb_each_other() -> None:
    pager, told = Pager(RULES), []
    for at in range(20):
        told += pager.consider("shop", diagnosis(at, "db_io"))
        told += pager.consider("game", diagnosis(at + 0.4))
    assert steps(told) == [("opened", 3.0)]
    pager.drop("shop")
    assert pager.open_matters() == ()
