"""A track against the plain way to say the same: whatever comes, the answers agree."""

from __future__ import annotations

import random
from statistics import median

import pytest

from premortem._track import Track

REMEMBERED, CALM = 50, 20


def filled(seed: int, samples: int = 400) -> tuple[Track, list[tuple[float, float]], list[float]]:
    """A track, all samples it should remember, and all calm values it should."""
    dice = random.Random(seed)
    track, kept, calm = Track(REMEMBERED, CALM), [], []
    for second in range(samples):
        at = second - dice.choice((0, 0, 0, 3))  # every fourth comes late
        value = float(dice.choice((dice.randint(0, 3), dice.randint(0, 30))))
        fresh = not kept or at > kept[-1][0]
        assert track.add(at, value) is fresh
        if fresh:
            kept.append((at, value))
        if dice.random() < 0.3:
            track.mature(value)
            calm.append(value)
        if dice.random() < 0.05 and calm:
            track.calm()  # asking now and then changes nothing
    return track, kept[-REMEMBERED:], calm[-CALM:]


@pytest.mark.parametrize("seed", range(5))
def test_windows_hold_the_samples_that_a_list_would(seed: int) -> None:
    track, kept, _ = filled(seed)
    for since in (0.0, 340.0, 390.5, 399.0, 500.0):
        at, values = track.window(since)
        assert list(zip(at, values, strict=True)) == [s for s in kept if s[0] >= since]
    assert (track.last_at, track.last) == kept[-1]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("limit", [-1.0, 0.0, 0.5, 2.0, 29.0, 31.0])
@pytest.mark.parametrize("side", ["above", "below", "both"])
def test_runs_begin_where_a_scan_finds_them(seed: int, limit: float, side: str) -> None:
    for samples in (1, 3, 9, 60, 400):
        track, kept, _ = filled(seed, samples)
        above, below = (None, limit) if side == "below" else (limit, None)
        below = limit / 2 if side == "both" else below
        start = None
        for at, value in reversed(kept):
            if not ((above is not None and value > above) or (below is not None and value < below)):
                break
            start = at
        assert track.run_start(above=above, below=below) == start


@pytest.mark.parametrize("seed", range(5))
def test_the_calm_median_is_that_of_the_last_calm_values(seed: int) -> None:
    for samples in (20, 100, 400):
        track, _, calm = filled(seed, samples)
        assert track.calm() == (len(calm), median(calm))


def test_memory_is_bounded() -> None:
    track = Track(REMEMBERED, CALM)
    for second in range(10_000):
        track.add(float(second), 1.0)
        track.mature(1.0)
    assert len(track._at) < 2 * REMEMBERED
    assert len(track._matured) == CALM


def leaps(values: list[float]) -> list[int]:
    """Which samples of a metric leapt."""
    track = Track(600, CALM)
    found = []
    for second, value in enumerate(values):
        track.add(float(second), value)
        found += [second] if track.leapt else []
    return found


def test_noise_does_not_leap_and_a_step_does_once() -> None:
    dice = random.Random(1)
    noise = [dice.gauss(50.0, 5.0) for _ in range(3000)]
    assert [at for at in leaps(noise) if at > 10] == []
    assert [at for at in leaps([*noise[:100], *(v + 90 for v in noise[100:])]) if at > 10] == [100]


def test_the_first_samples_of_a_metric_leap_as_nobody_knows_it() -> None:
    assert leaps([7.0, 8.0, 8.0]) == [0, 1]


def test_what_is_read_every_fifth_second_does_not_leap_each_time_it_is_new() -> None:
    dice = random.Random(2)
    held = [dice.gauss(50.0, 5.0) for _ in range(200) for _ in range(5)]
    assert [at for at in leaps([held[at // 5 * 5] for at in range(1000)]) if at > 50] == []


def test_a_metric_that_was_never_other_than_zero_leaps_when_it_is() -> None:
    assert leaps([0.0] * 50 + [1.0] + [1.0] * 5) == [0, 50]
