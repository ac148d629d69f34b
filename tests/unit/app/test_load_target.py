"""What a load is aimed at, whose it is, and what it may never exceed."""

from __future__ import annotations

from pathlib import Path

import pytest

from premortem.app.config import BadConfig
from premortem.app.load_here import listeners
from premortem.app.load_target import (
    Asked,
    aim,
    demand_bounds,
    demand_permission,
    pace_of_journey,
)
from premortem.load.pace import Constant
from premortem.load.safety import Ceilings


def test_without_a_journey_every_user_asks_for_the_page_of_the_address() -> None:
    found = aim(Asked("http://127.0.0.1:8000/a/b?c=1", config=Path("/nowhere.toml")))
    assert (found.base_url, found.journey, found.name) == (
        "http://127.0.0.1:8000", "/a/b?c=1", "127.0.0.1:8000"
    )  # fmt: skip
    assert found.sources == () and found.history is None


def test_a_search_looks_at_a_local_site_and_finds_who_listens() -> None:
    import os
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = aim(Asked(f"http://127.0.0.1:{port}/", config=Path("/nowhere.toml"), look=True))
        assert {s.name for s in found.sources} == {"tcp", "host", "http_probe"}
        assert listeners(port)() == (os.getpid(),)
    assert listeners(port)() == ()


def test_a_configured_site_brings_its_address_its_sources_and_its_store(tmp_path: Path) -> None:
    config = tmp_path / "p.toml"
    config.write_text(
        '[site.shop]\nurl = "http://127.0.0.1:8000/"\nhost = false\n'
        '[load]\nbars = ["p99<300ms"]\nretries = 2\n[history]\npath = "kept.db"\n'
    )
    found = aim(Asked(site="shop", config=config))
    assert (found.name, found.url) == ("shop", "http://127.0.0.1:8000/")
    assert {s.name for s in found.sources} == {"tcp", "http_probe"}
    assert (found.history, found.settings.retries) == (Path("kept.db"), 2)
    assert aim(Asked(site="shop", config=config, retries=0)).settings.retries == 0
    with pytest.raises(BadConfig, match="has: shop"):
        aim(Asked(site="blog", config=config))


def test_what_is_not_ones_own_wants_a_promise() -> None:
    demand_permission("http://127.0.0.1:8000/", i_own_this=False)
    demand_permission("http://192.0.2.1/", i_own_this=True)
    with pytest.raises(ValueError, match="--i-own-this"):
        demand_permission("http://192.0.2.1/", i_own_this=False)


def test_ceilings_hold_whatever_is_asked_for() -> None:
    demand_bounds(Constant(100, 60), Ceilings(100, 60))
    with pytest.raises(ValueError, match="above the ceiling of 100"):
        demand_bounds(Constant(101, 60), Ceilings(100, 60))
    with pytest.raises(ValueError, match="longer than the ceiling"):
        demand_bounds(Constant(100, 61), Ceilings(100, 60))


def test_a_journey_file_may_bring_its_pace(tmp_path: Path) -> None:
    file = tmp_path / "j.toml"
    step = '[[journey]]\n[[journey.step]]\nget = "/"\n'
    file.write_text(step)
    assert pace_of_journey(str(file)) is None
    file.write_text(step + '[[pace]]\nkind = "constant"\nrate = 7\nseconds = 3\n')
    assert pace_of_journey(str(file)) == Constant(7, 3)
    assert pace_of_journey("/page") is None
