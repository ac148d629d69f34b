from __future__ import annotations

from pathlib import Path

import pytest

from premortem.load.pace import Constant
from premortem.load.requests import Settings
from premortem.load.spec import BadSpec, spec_from

SPEC = {
    "base_url": "http://h",
    "journey": "/",
    "pace": [{"kind": "constant", "rate": 1, "seconds": 2}],
}


def test_three_keys_are_enough() -> None:
    plan = spec_from(SPEC)
    assert (plan.base_url, plan.pace, plan.settings) == ("http://h", Constant(1.0, 2.0), Settings())


def test_every_key_has_its_place() -> None:
    plan = spec_from(
        SPEC
        | {
            "arrivals": "even", "seed": 4, "timeout_ms": 500, "retries": 1, "backoff_ms": 50,
            "refusal_ms": 80, "start_at": 5.0, "ack_file": "a", "cpus": [1], "keep_alive": False,
            "connections_max": 3, "users_in_flight_max": 9, "drain_s": 2, "tls_verify": False,
            "ca_file": "c", "lag_p99_ms_max": 7, "cpu_ratio_max": 0.5, "processes": 2, "crowd": 5,
            "body_bytes_max": 8, "spin_s": 0.001,
        }
    )  # fmt: skip
    assert plan.settings == Settings(0.5, 1, 0.05, 0.08, False, 3, 9, 2, 8, 0.001)
    assert (plan.arrivals, plan.seed, plan.start_at, plan.ack_file) == ("even", 4, 5.0, Path("a"))
    assert (plan.cpus, plan.tls_verify, plan.ca_file, plan.crowd) == ((1,), False, "c", 5)
    assert (plan.lag_p99_ms_max, plan.cpu_ratio_max) == (7, 0.5)


def test_one_segment_may_stand_alone() -> None:
    segment = {"kind": "constant", "rate": 1, "seconds": 2}
    for pace in (segment, {"segments": [segment]}):
        assert spec_from(SPEC | {"pace": pace}).pace == Constant(1.0, 2.0)


def test_a_toml_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "j.toml"
    path.write_text("[[journey]]\nname = 'a'\n[[journey.step]]\nget = '/'\n")
    assert spec_from(SPEC | {"journey": str(path)}).journeys[0].name == "a"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "must be a JSON object"),
        ({}, "needs 'base_url'"),
        (SPEC | {"speed": 1}, "unknown keys: speed"),
        (SPEC | {"share": [0, 2]}, "unknown keys: share"),
        (SPEC | {"pace": "fast"}, "pace must be a list"),
        (SPEC | {"arrivals": "odd"}, "arrivals must be 'poisson' or 'even'"),
        (SPEC | {"timeout_ms": 0}, "timeout_ms must be a number above 0"),
        (SPEC | {"retries": 1.5}, "retries must be a whole number"),
        (SPEC | {"retries": True}, "retries must be a whole number"),
        (SPEC | {"seed": "x"}, "seed must be a whole number"),
        (SPEC | {"cpus": 1}, "cpus must be a list of cores"),
        (SPEC | {"drain_s": float("inf")}, "drain_s must be"),
        (SPEC | {"keep_alive": 1}, "keep_alive must be true or false"),
        (SPEC | {"base_url": None}, "base_url must be a URL"),
    ],
)
def test_a_bad_spec_names_the_key(data: object, words: str) -> None:
    with pytest.raises(BadSpec, match=words):
        spec_from(data)
