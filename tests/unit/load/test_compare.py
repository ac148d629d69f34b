from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest

from premortem.load.compare import (
    NotComparable,
    _arrangements,
    comparability,
    compare,
    demand_comparable,
    interleaved,
)


def runs(mean: float, seed: int, count: int = 10, spread: float = 0.05) -> list[float]:
    dice = random.Random(seed)
    return [dice.gauss(mean, mean * spread) for _ in range(count)]


def test_the_exact_distribution_is_that_of_all_arrangements() -> None:
    n, m = 4, 5
    seen: Counter[int] = Counter()
    for places in itertools.combinations(range(n + m), n):
        others = [p for p in range(n + m) if p not in places]
        seen[sum(o > p for o in others for p in places)] += 1
    assert dict(enumerate(_arrangements(n, m))) == seen


@pytest.mark.parametrize("seed", range(5))
def test_it_agrees_with_scipy(seed: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    one, other = runs(100, seed, 9), runs(106, seed + 100, 12)
    for a, b in ((one, other), ([round(x / 5) for x in one], [round(x / 5) for x in other])):
        exact = len({*a, *b}) == len(a) + len(b)
        theirs = stats.mannwhitneyu(b, a, method="exact" if exact else "asymptotic")
        ours = compare(a, b, higher_is_better=True)
        assert ours.p_value == pytest.approx(float(theirs.pvalue), rel=1e-6)
        assert ours.superiority == pytest.approx(float(theirs.statistic) / (len(a) * len(b)))


def test_a_drop_of_a_fifth_is_found_and_the_direction_told() -> None:
    found = compare(runs(100, 1), runs(80, 2), higher_is_better=True)
    assert found.verdict == "worse"
    assert found.shift_ratio == pytest.approx(-0.2, abs=0.06)
    assert found.shift_low < -20 < found.shift_high
    assert compare(runs(100, 1), runs(80, 2), higher_is_better=False).verdict == "better"


def test_a_planted_drop_is_found_and_no_change_is_not_flagged() -> None:
    verdicts = Counter(
        compare(runs(100, s), runs(80, s + 1000), higher_is_better=True).verdict for s in range(200)
    )
    assert verdicts["worse"] >= 190
    calm = Counter(
        compare(runs(100, s), runs(100, s + 1000), higher_is_better=True).verdict
        for s in range(200)
    )
    assert calm["worse"] + calm["better"] <= 10


def test_the_stated_power_is_what_happens() -> None:
    found, stated = 0, []
    for seed in range(300):
        one, other = runs(100, seed, 12), runs(94, seed + 999, 12)
        result = compare(one, other, higher_is_better=True, smallest_effect=0.06)
        found += result.p_value < 0.05
        stated.append(result.power)
    assert found / 300 == pytest.approx(sum(stated) / 300, abs=0.1)


def test_too_few_noisy_runs_cannot_tell() -> None:
    found = compare(runs(100, 1, 4, 0.3), runs(90, 2, 4, 0.3), higher_is_better=True)
    assert found.verdict == "cannot_tell"
    assert "take more runs" in found.reason


def test_no_difference_is_only_said_with_power() -> None:
    found = compare(runs(100, 1, 20, 0.01), runs(100, 2, 20, 0.01), higher_is_better=True)
    assert found.verdict == "same"
    assert found.power > 0.9


def test_equal_runs_are_the_same() -> None:
    found = compare([5.0] * 6, [5.0] * 6, higher_is_better=True)
    assert (found.verdict, found.p_value, found.superiority) == ("same", 1.0, 0.5)


@pytest.mark.parametrize("runs", [[1.0] * 3, [1.0, 2.0, 3.0, float("nan")]])
def test_what_cannot_be_judged_raises(runs: list[float]) -> None:
    with pytest.raises(ValueError, match=r"at least 4|finite"):
        compare(runs, [1.0] * 4, higher_is_better=True)


def test_runs_are_taken_in_turn() -> None:
    order = list(interleaved(20, seed=3))
    assert all(
        {a, b} == {"baseline", "candidate"} for a, b in zip(order[::2], order[1::2], strict=True)
    )
    assert 4 < sum(first == "baseline" for first in order[::2]) < 16


def test_only_runs_under_equal_conditions_are_compared() -> None:
    one = {"journey": "shop", "cores": 2}
    demand_comparable(one, dict(one))
    assert comparability(one) != comparability({**one, "cores": 4})
    with pytest.raises(NotComparable, match="cores: 2 against 4"):
        demand_comparable(one, {**one, "cores": 4})
