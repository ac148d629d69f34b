from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from premortem.load.attack import Result
from premortem.load.carried import result_from, result_to
from premortem.load.journey import BadJourney, Choice, Plain
from premortem.load.pace import Constant, Pacer, Ramp, Replay, Sine, Steps, pace_from
from premortem.load.requests import Settings
from premortem.load.samples import Samples
from premortem.load.shipped import files_of, segments_of, spec_of, unpack
from premortem.load.spec import Attack, spec_from
from premortem.load.stats import Tally

PLAN = Attack(
    "http://site:8000", (Choice(Plain("/")),), Constant(5.0, 2.0), arrivals="even", seed=9,
    settings=Settings(timeout_s=3.5, retries=1, keep_alive=False, connections_max=7),
    lag_p99_ms_max=33.0,
)  # fmt: skip


@pytest.mark.parametrize(
    "pace",
    [
        Constant(5.0, 2.0),
        Ramp(1.0, 9.0, 4.0),
        Sine(5.0, 2.0, 60.0, 30.0),
        Steps([1.0, 2.0], 5.0),
        Replay([60.0, 30.0], 60.0),
        Constant(5.0, 2.0).then(Ramp(5.0, 10.0, 2.0)),
    ],
)
def test_a_pace_goes_there_and_back(pace: Pacer) -> None:
    assert pace_from(json.loads(json.dumps(segments_of(pace)))) == pace


def test_a_spec_goes_there_and_back() -> None:
    there = spec_from(json.loads(json.dumps(spec_of(PLAN, "/"))))
    assert replace(there, journeys=PLAN.journeys) == PLAN


def test_files_go_along_under_their_names(tmp_path: Path) -> None:
    toml = tmp_path / "shop.toml"
    toml.write_text("[feeds]\np = 'p.csv'\n[[journey]]\n[[journey.step]]\nget = '/{p.id}'\n")
    (tmp_path / "p.csv").write_text("id\n1\n")
    (tmp_path / "j.py").write_text("async def a(user): ...\n")
    journey = [[f"{tmp_path}/j.py:a", 2], {"journey": str(toml)}, "/", "package.module:f"]
    files = files_of(journey)
    assert set(files) == {"shop.toml", "p.csv", "j.py"}
    assert spec_of(PLAN, journey)["journey"] == [
        ["j.py:a", 2], {"journey": "shop.toml"}, "/", "package.module:f"
    ]  # fmt: skip
    there = tmp_path / "there"
    there.mkdir()
    unpack(files, there)
    assert (there / "p.csv").read_text() == "id\n1\n"


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/b", "..", ""])
def test_files_stay_in_their_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a file name"):
        unpack({name: "x"}, tmp_path)


@pytest.mark.parametrize("journey", ["gone.toml", "gone.py:f"])
def test_a_missing_file_says_so(journey: str) -> None:
    with pytest.raises(BadJourney, match="gone"):
        files_of(journey)


def test_a_feed_elsewhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "j.toml"
    path.write_text("[feeds]\np = '../p.csv'\n")
    with pytest.raises(BadJourney, match="beside it"):
        files_of(str(path))


def test_a_result_goes_there_and_back_exactly() -> None:
    tally = Tally()
    row = tally.at_second(3)
    row.served, row.cpu_ratio = 5, 0.25
    samples = Samples()
    samples.lag += [3.7, 900.2, 1e6]
    samples.service += [512.0]
    samples.names["a"] += [1.0, 2_000_000.0]
    samples.settle(tally, row)
    tally.close(row)
    tally.of_arrival(3).offered = 7
    tally.errors["timeout"] = 2
    tally.first_failed_s = 3.25
    whole = Result(tally, 1.5, 2.5, 0.5, 0.75, ("late",), frozenset({"ports"}), stopped=True)
    again = result_from(json.loads(json.dumps(result_to(whole))))
    assert again.line() == whole.line()
    assert result_to(again) == result_to(whole)
    assert samples.lag == samples.service == samples.names["a"] == []
