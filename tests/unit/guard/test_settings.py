from dataclasses import fields

import pytest

from premortem.guard import Route, Settings, TrafficClass
from premortem.guard.settings import CHANGEABLE, change


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"cap": 0}, "cap must be a whole number of at least 1, got 0"),
        ({"cap": True}, "cap must be"),
        ({"cap": "8"}, "cap must be"),
        ({"queue_max": -1}, "queue_max must be"),
        ({"deadline_ms": 0}, "deadline_ms must be a number above 0"),
        ({"slow_ms": float("nan")}, "slow_ms must be"),
        ({"slow_ms": "fast"}, "slow_ms must be"),
        ({"floor_ratio": 1.5}, "floor_ratio must be"),
        ({"adaptive": 1}, "adaptive must be true or false"),
        ({"retry_after_max_s": 0}, "retry_after_max_s must be"),
        ({"classes": ()}, "one to four"),
        ({"classes": tuple(TrafficClass(n, 0.1) for n in "abcde")}, "one to four"),
        ({"classes": (TrafficClass("normal", 0.7), TrafficClass("b", 0.7))}, "add up"),
        ({"default_class": "vip"}, "class 'vip' is not one of high, normal, low"),
        ({"routes": (Route("GET", "/", "vip"),)}, "class 'vip'"),
    ],
)
def test_a_bad_setting_is_one_line(wanted: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        Settings(**{"cap": 8, **wanted})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_class_needs_a_share() -> None:
    with pytest.raises(ValueError, match="share of class 'a'"):
        TrafficClass("a", 0.0)


def test_the_token_is_never_shown() -> None:
    assert "hush" not in repr(Settings(cap=1, token="hush"))


@pytest.mark.parametrize(("cap", "processes", "part"), [(44, 1, 44), (44, 3, 14), (2, 8, 1)])
def test_processes_share_the_cap(cap: int, processes: int, part: int) -> None:
    assert Settings(cap=cap, processes=processes).cap_of_process == part


def test_a_change_returns_what_undoes_it() -> None:
    before = Settings(cap=44)
    after, old = change(before, {"cap": 8, "adaptive": False})
    assert (after.cap, after.adaptive, old) == (8, False, {"cap": 44, "adaptive": True})
    assert change(after, old)[0] == before


@pytest.mark.parametrize("wanted", [None, [], {}, "cap", {"token": "x"}, {"nope": 1}, {"cap": -1}])
def test_a_bad_change_is_refused(wanted: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        change(Settings(cap=44), wanted)


def test_every_setting_says_what_it_means() -> None:
    for each in fields(Settings):
        assert each.metadata.get("doc"), each.name
    assert set(CHANGEABLE) <= {each.name for each in fields(Settings)}
