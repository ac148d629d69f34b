"""Whatever causes come and go in whatever order: what people are told makes sense."""

from hypothesis import given, settings
from hypothesis import strategies as st

from premortem.app.notify import Notice, Pager, Rules
from premortem.model import Diagnosis, Verdict

CAUSES = ("db_io", "lock_contention")
SPANS = st.lists(
    st.tuples(st.sampled_from((None, *CAUSES)), st.integers(1, 400)), min_size=1, max_size=25
)
RULES = Rules(hold_s=3, resolve_after_s=20, again_s=900, per_hour_max=12)


def play(pager: Pager, spans: list[tuple[str | None, int]]) -> tuple[list[Notice], float]:
    told, now = [], 0.0
    for cause, seconds in spans:
        ledger = () if cause is None else (Verdict(cause, "database", "confirmed", "x"),)
        for _ in range(seconds):
            now += 1.0
            told += pager.consider("shop", Diagnosis(now, ledger, (), cause))
    return told, now


@settings(max_examples=60, deadline=None)
@given(SPANS)
def test_every_matter_is_opened_once_and_closed_once(spans: list[tuple[str | None, int]]) -> None:
    pager = Pager(RULES)
    told, _ = play(pager, spans)
    for cause in CAUSES:
        is_open = False
        for notice in (n for n in told if n.subject == cause):
            if notice.step == "opened":
                assert not is_open
                is_open = True
            elif notice.step == "flapping":
                is_open = True
            else:
                assert is_open
                is_open = notice.step != "resolved"
        assert is_open == (cause in {m.subject for m in pager.open_matters()})


@settings(max_examples=60, deadline=None)
@given(SPANS)
def test_no_hour_holds_more_than_its_bound_twice(spans: list[tuple[str | None, int]]) -> None:
    told, _ = play(Pager(RULES), spans)
    for first in told:
        within = [n for n in told if first.at <= n.at < first.at + 3600]
        assert len(within) <= 2 * RULES.per_hour_max  # a full bucket and what flows in


@settings(max_examples=60, deadline=None)
@given(SPANS)
def test_people_are_told_of_nothing_in_the_end_when_all_is_calm(
    spans: list[tuple[str | None, int]],
) -> None:
    pager = Pager(RULES)
    play(pager, spans)
    now = sum(s for _, s in spans) + 0.0
    for _ in range(500):  # two hours of calm in larger steps
        now += 15.0
        pager.consider("shop", Diagnosis(now, ()))
    assert pager.open_matters() == ()


@settings(max_examples=40, deadline=None)
@given(SPANS)
def test_a_restart_changes_nothing_of_what_is_known(
    spans: list[tuple[str | None, int]],
) -> None:
    before = Pager(RULES)
    told, now = play(before, spans)
    after = Pager(RULES)
    after.restore("shop", [n.event() for n in told], now)
    assert {m.subject for m in after.open_matters()} == {m.subject for m in before.open_matters()}
