"""The fleet's history on a real Prometheus and VictoriaMetrics: written, read back, judged."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from premortem import parts
from premortem.app.assemble import new_pipeline
from premortem.app.cli import app
from premortem.app.diagnose import replay_readings, summary
from premortem.app.plan_input import demand_from_store
from premortem.app.promql import HistoryError, Promql
from premortem.app.recorded import remembered
from premortem.app.remote_write import RemoteWrite
from premortem.app.series_names import error_label
from premortem.engines.leash import Leash
from premortem.engines.prometheus import INSTALL, Server, find
from premortem.model import Reading
from premortem.sources._declared import declared_metrics

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

DECLARED = [m.name for m in declared_metrics()]
LASTED_S = 60.0
LEDGERS = ("ledger", "ledger_at_end")


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=["prometheus", "victoria-metrics"]
)
async def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    if find(request.param) is None:
        pytest.skip(f"{request.param} is not installed: {INSTALL[request.param]}")
    folder = tmp_path_factory.mktemp("far")
    for path in (folder, folder.parent, folder.parent.parent):
        path.chmod(0o755)  # the server's own user must be able to enter
    with Leash() as leash:
        async with Server.start(request.param, folder / "server", leash=leash) as server:
            yield server


def worlds() -> dict[str, list[Reading]]:
    """One world a cause in which it fires, as sources would have reported it until just now.

    Without rows: a fleet's history does not hold them.
    """
    start = time.time() // 1 - LASTED_S
    found = {}
    for cause, module in parts.modules("premortem.causes").items():
        fires = module.FIRES[0]
        batches = (batch for _, batch in fires.readings(start=start))
        found[cause] = [replace(r, rows=()) for batch in batches for r in batch]
    return found


def judged(readings: Sequence[Reading]) -> dict[str, object]:
    found = summary(replay_readings(readings, new_pipeline()))
    kept = ("cause", "tier", "named_at", "ruled_out")
    ledgers = ([(v["cause"], v["state"], v["because"]) for v in found[k]] for k in LEDGERS)
    return {k: found[k] for k in kept} | dict(zip(LEDGERS, ledgers, strict=True))


def same(back: Sequence[Reading], written: Sequence[Reading]) -> bool:
    """Equal but for errors' figures and the thirteenth digit, which VictoriaMetrics drops."""
    pairs = zip(sorted(back, key=key), sorted(written, key=key), strict=True)
    return all(
        key(b) == key(w)
        and (b.error or "") == error_label(w.error)
        and b.values == pytest.approx(w.values, rel=1e-10)
        for b, w in pairs
    )


def key(reading: Reading) -> tuple[float, str, str]:
    return reading.at, reading.source, reading.target


async def test_what_was_written_comes_back_and_is_judged_the_same(server: Server) -> None:
    written = worlds()
    with RemoteWrite.to(server.write_url) as sink:
        for site, readings in written.items():
            sink.append(site, readings)
    assert sink.counts.sent == sum(len(r) for r in written.values())
    assert (sink.counts.dropped, sink.counts.refused, sink.counts.samples_left_out) == (0, 0, 0)

    history, now = Promql(server.url), time.time()
    await until_there(history, written, now)
    assert set(history.sites(now - 300, now)) == set(written)
    named = set()
    for site, readings in written.items():
        back = list(remembered(history, site, now - 300, now))
        assert same(back, readings), site
        assert judged(back) == judged(readings), site
        named.add(judged(back)["cause"])
    assert {"connection_exhaustion", "lock_contention", "network_loss"} <= named


async def until_there(
    history: Promql, written: dict[str, list[Reading]], now: float, over_s: float = 300.0
) -> None:
    """VictoriaMetrics shows what it took within a second or two."""
    wanted = sum(len(r) for r in written.values())
    deadline = time.monotonic() + 15.0
    while time.monotonic() < deadline:
        count = sum(
            len(list(history.readings(site, DECLARED, now - over_s, now))) for site in written
        )
        if count == wanted:
            return
        await asyncio.sleep(0.2)
    pytest.fail(f"{count} of {wanted} readings are there")


async def test_the_command_replays_a_site_of_the_fleet(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["diagnose", "--prometheus", server.url, "--site", "lock_contention", "--json"]
    assert app([*argv, "--from", "5m"], exit_on_error=False) == 0
    assert json.loads(capsys.readouterr().out)["cause"] == "lock_contention"


async def test_an_export_of_the_same_history_is_diagnosed(server: Server, tmp_path: Path) -> None:
    """Range-query JSON as anybody gets it with curl."""
    now = time.time()
    selector = '{__name__=~"premortem_.+",site="lock_contention"}'
    range_ = {"start": f"{now - 200:.0f}", "end": f"{now:.0f}", "step": "1"}
    text = Promql(server.url)._get(f"/api/v1/query_range?{encoded(query=selector, **range_)}")
    file = tmp_path / "export.json"
    file.write_text(text)
    assert app(["diagnose", "--recording", str(file), "--json"], exit_on_error=False) == 0


def encoded(**params: str) -> str:
    from urllib.parse import urlencode

    return urlencode(params)


async def test_a_site_nobody_wrote_is_one_line_with_those_there_are(server: Server) -> None:
    now = time.time()
    with pytest.raises(
        HistoryError, match=r"nothing of site 'zoo'.*sites there: .*lock_contention"
    ):
        list(remembered(Promql(server.url), "zoo", now - 300, now))


async def test_means_of_ten_minutes_come_back_for_the_plan(server: Server) -> None:
    """Fifty minutes: Prometheus takes nothing older than half a block (1 h) before its newest."""
    now = time.time() // 600 * 600
    past = [
        Reading("guard", "web", now - 20 * i + 10, {"web.requests_per_s": 100.0 - (i - 1) // 30})
        for i in range(150, 0, -1)
    ]
    with RemoteWrite.to(server.write_url) as sink:
        sink.append("daily", past)
    assert sink.counts.sent == len(past), sink.counts
    await until_there(Promql(server.url), {"daily": past}, now, over_s=3600)
    demand = demand_from_store(Path(server.url), "daily", "web.requests_per_s", now)
    assert (demand.start, demand.step_s) == (now - 3000, 600)
    assert demand.rates == pytest.approx((96.0, 97.0, 98.0, 99.0, 100.0), abs=0.1)


async def test_a_watch_sends_what_it_sees(server: Server, tmp_path: Path) -> None:
    """The daemon itself, watching a site where nobody answers."""
    config = tmp_path / "premortem.toml"
    lines = (
        '[site.lonely]\nurl = "http://127.0.0.1:1/"\nhost = false',
        f'[history]\npath = "{tmp_path / "history.db"}"\nremote_write = "{server.write_url}"',
        '[watch]\nlisten = ""',
    )
    config.write_text("\n".join(lines))
    program = "from premortem.app.cli import main; main()"
    argv = ["watch", "--config", str(config), "--seconds", "5"]
    begun = time.time()
    watch = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, *argv, stdout=asyncio.subprocess.DEVNULL
    )
    assert await asyncio.wait_for(watch.wait(), 60) == 0
    history = Promql(server.url)
    deadline = time.monotonic() + 15.0
    while True:
        found = list(history.readings("lonely", DECLARED, begun - 1, time.time()))
        if len([r for r in found if r.source == "http_probe"]) >= 4:
            break
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.2)
    probe = next(r for r in found if r.source == "http_probe")
    assert (probe.target, probe.error) == ("127.0.0.1:1", "connect refused")
    assert probe.values["user.http.ok_ratio"] == 0.0
