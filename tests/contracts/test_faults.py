"""What every fault promises, whichever it is."""

from __future__ import annotations

import random
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from premortem.drills.faults import UNREHEARSED
from premortem.drills.faults._fault import SiteKind
from premortem.drills.rehearse import case_of
from premortem.parts import parts

FAULTS: dict[str, Any] = dict(parts("premortem.drills.faults"))
CAUSES: dict[str, Any] = dict(parts("premortem.causes"))
NAMES = sorted(FAULTS)
SEEDS = range(1, 41)


def drawn(name: str) -> list[Any]:
    return [case_of(name, seed).fault for seed in SEEDS]


def test_every_cause_is_rehearsed_or_says_why_not() -> None:
    assert set(FAULTS) | set(UNREHEARSED) == set(CAUSES)
    assert not set(FAULTS) & set(UNREHEARSED)
    assert all(len(why) > 20 for why in UNREHEARSED.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_fault_is_a_frozen_noun_of_its_causes_name(name: str) -> None:
    part = FAULTS[name]
    assert (part.expects.cause, part.expects.tier) == (name, CAUSES[name].tier)
    assert hasattr(part, "__slots__")
    assert is_dataclass(part) and part.__dataclass_params__.frozen  # type: ignore[union-attr]
    assert part.__doc__


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_draws_the_same_fault_and_seeds_differ(name: str) -> None:
    assert drawn(name) == drawn(name)
    assert len(set(drawn(name))) >= 4 or not fields(FAULTS[name])


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_can_say_what_it_does_and_how_its_site_is_run(name: str) -> None:
    for fault in drawn(name):
        assert isinstance(fault.site, SiteKind)
        assert 0 < fault.site.load_share < 2
        assert 15 < len(fault.words) < 140 and "\n" not in fault.words


@pytest.mark.parametrize("name", NAMES)
def test_only_the_dice_decide(name: str) -> None:
    part = FAULTS[name]
    assert part.draw(random.Random(3)) == part.draw(random.Random(3))


def test_half_the_seeds_have_changing_traffic() -> None:
    assert sum(case_of("lock_contention", seed).changing for seed in SEEDS) == len(SEEDS) // 2
