"""Patroni, etcd and the database's own proxy: members that differ, die or fall silent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from premortem.sources._patroni import Leadership, member_values, parse_cluster, sync_wanted
from premortem.sources.etcd import Etcd
from premortem.sources.haproxy import Haproxy, parse_route
from premortem.sources.patroni import Patroni

MEMBERS = [
    {"name": "a", "role": "leader", "state": "running", "timeline": 3},
    {"name": "b", "role": "quorum_standby", "state": "streaming", "timeline": 3, "lag": 0},
    {"name": "c", "role": "quorum_standby", "state": "start failed", "timeline": 3},
]


def own(name: str, role: str = "replica", timeline: int = 3, **more: Any) -> dict[str, Any]:
    about = {"patroni": {"name": name}, "state": "running", "dcs_last_seen": 1000}
    return {"role": role, "timeline": timeline, **about, **more}


def pages(found: Mapping[str, object]) -> Callable[..., Any]:
    """A member that answers each path with its page, others with 404."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split()[1].decode()
        status, body = (200, json.dumps(found[path])) if path in found else (404, "")
        writer.write(f"HTTP/1.0 {status} X\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()

    return handler


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


def test_only_streaming_standbys_confirm() -> None:
    values, _ = parse_cluster({"members": MEMBERS})
    assert values["db.cluster.sync_standbys"] == 1


def test_two_that_take_writes_are_two() -> None:
    both = [own("a", "primary"), own("b", "primary", 4), own("c")]
    assert member_values(both, 1001.0)[0] == {
        "db.cluster.primaries": 2.0,
        "db.cluster.failsafe": 0.0,
        "db.cluster.consensus_age_s": 1.0,
    }


@pytest.mark.parametrize("state", ["stopped", "starting", "crashed", "stopping"])
def test_a_primary_that_does_not_run_takes_no_writes(state: str) -> None:
    values, rows = member_values([own("a", "primary", state=state)], 1000.0)
    assert values["db.cluster.primaries"] == 0
    assert rows[0]["state"] == state


def test_who_never_reached_the_store_says_nothing_about_it() -> None:
    values, _ = member_values([own("a", dcs_last_seen=0)], 1000.0)
    assert "db.cluster.consensus_age_s" not in values


def test_nobody_said_anything() -> None:
    assert member_values([], 1000.0) == ({}, ())


@pytest.mark.parametrize(
    ("mode", "wanted"), [(True, 1), ("quorum", 1), (False, 0), ("off", 0), (None, 0)]
)
def test_whether_commits_wait(mode: object, wanted: float) -> None:
    assert sync_wanted({"synchronous_mode": mode}) == wanted


def test_a_leader_ages_until_another_leads() -> None:
    led = Leadership()
    history = [[2, 100, "no recovery target", "2026-01-01T00:00:00+00:00", "a"]]
    start = 1767225600.0
    assert led.age_s(start + 60, [own("a", "primary"), own("b")], history) == 60.0
    assert led.age_s(start + 61, [own("b")]) is None
    assert led.age_s(start + 62, [own("b", "primary", 4)]) == 0.0
    assert led.age_s(start + 65, [own("b", "primary", 4)]) == 3.0
    assert led.age_s(start + 66, [own("b", "primary", 5)]) == 0.0  # promoted again


def test_the_higher_timeline_leads_when_two_say_so() -> None:
    led = Leadership()
    led.age_s(1.0, [own("a", "primary", 3)])
    assert led.age_s(5.0, [own("a", "primary", 3), own("b", "primary", 4)]) == 0.0


@pytest.mark.parametrize(
    ("history", "started", "age_s"),
    [
        ([], "2026-01-01 00:00:10.0+00:00", 50.0),
        (None, None, 0.0),
        ([["odd"]], "not a time", 0.0),
        ("odd", "2026-01-01 00:00:10.0", 0.0),  # without a zone it is no moment
    ],
)
def test_without_a_history_the_server_s_start_counts(
    history: object, started: object, age_s: float
) -> None:
    page = own("a", "primary", postmaster_start_time=started)
    assert Leadership().age_s(1767225660.0, [page], history) == age_s


async def test_every_member_is_asked_and_one_may_be_dead(serve: Any) -> None:
    cluster = {"members": MEMBERS}
    first = {"/cluster": cluster, "/patroni": own("a", "primary"), "/history": []}
    second = {"/cluster": cluster, "/patroni": own("b"), "/config": {"synchronous_mode": "quorum"}}
    ports = [await serve(pages(first)), await serve(pages(second))]
    urls = [f"http://127.0.0.1:{p}" for p in ports] + ["http://127.0.0.1:1/"]
    source = Patroni(urls)
    reading = await source.read(1_000.0)
    assert reading.error is None
    assert reading.values["db.cluster.primaries"] == 1
    assert reading.values["db.cluster.silent"] == 1
    assert reading.values["db.cluster.sync_wanted"] == 1
    assert reading.values["db.cluster.leader_age_s"] == 0
    assert source.target.endswith(",127.0.0.1:1")


async def test_without_the_store_the_members_own_words_remain(serve: Any) -> None:
    page = own("a", "primary", failsafe_mode_is_active=True)
    port = await serve(pages({"/patroni": page}))
    reading = await Patroni(f"http://127.0.0.1:{port}").read(1_030.0)
    assert reading.error == "status 404 from /cluster"
    assert reading.values["db.cluster.failsafe"] == 1
    assert reading.values["db.cluster.consensus_age_s"] == 30
    assert "db.cluster.leaders" not in reading.values


async def test_the_next_member_is_asked_for_the_cluster_when_one_does_not_answer(
    serve: Any,
) -> None:
    port = await serve(pages({"/cluster": {"members": MEMBERS}, "/patroni": own("b")}))
    source = Patroni(("http://127.0.0.1:1", f"http://127.0.0.1:{port}"))
    first, second = await source.read(1.0), await source.read(2.0)
    assert first.error == "connect refused"
    assert first.values["db.cluster.silent"] == 1
    assert second.error is None
    assert second.values["db.cluster.leaders"] == 1


@pytest.mark.parametrize("source", [Patroni, Etcd])
def test_nobody_to_ask_is_refused(source: type) -> None:
    with pytest.raises(ValueError, match="at least one URL"):
        source(())
    with pytest.raises(ValueError, match="not an http"):
        source(("tcp://x",))


@pytest.mark.parametrize(
    ("alive", "healthy", "error"),
    [
        (3, 3.0, None),
        (2, 2.0, None),
        (1, 1.0, "2 of 3 members are not healthy: connect refused"),
    ],
)
async def test_a_majority_of_the_store_decides(
    serve: Any, alive: int, healthy: float, error: str | None
) -> None:
    port = await serve(pages({"/health": {"health": "true"}}))
    urls = [f"http://127.0.0.1:{port}"] * alive + ["http://127.0.0.1:1"] * (3 - alive)
    reading = await Etcd(urls).read(1.0)
    assert reading.values["db.consensus.healthy"] == healthy
    assert reading.values["db.consensus.members"] == 3
    assert reading.error == error


async def test_a_member_without_a_leader_or_an_answer_is_not_healthy(serve: Any) -> None:
    cut_off = await serve(pages({"/health": {"health": "false"}}))
    hung = await serve(silent)
    urls = [f"http://127.0.0.1:{p}" for p in (cut_off, hung)]
    reading = await Etcd(urls, timeout_s=0.05).read(1.0)
    assert reading.values == {"db.consensus.members": 2.0, "db.consensus.healthy": 0.0}
    assert reading.error == "2 of 2 members are not healthy: it knows no leader"


ROUTE = """\
# pxname,svname,scur,stot,econ,status,
stats,FRONTEND,1,5,,OPEN,
primary,FRONTEND,7,50,,OPEN,
primary,node1,0,20,3,DOWN,
primary,node2,7,30,0,UP,
primary,node3,0,0,0,DOWN 1/2,
primary,BACKEND,7,50,{errors},UP,
replicas,FRONTEND,2,9,,OPEN,
replicas,node1,0,3,0,DOWN,
replicas,node3,2,6,0,UP 1/2,
replicas,BACKEND,2,9,0,UP,
"""


def test_the_database_s_proxy_tells_who_gets_writes() -> None:
    values, totals, rows = parse_route(ROUTE.format(errors=3))
    assert values == {
        "db.route.primaries": 1.0,
        "db.route.replicas": 1.0,
        "db.route.sessions": 7.0,
    }
    assert totals == {"door_econ": 3.0}
    assert [(r["proxy"], r["server"]) for r in rows] == [
        ("primary", "node1"),
        ("primary", "node3"),
        ("replicas", "node1"),
    ]


def test_a_proxy_of_something_else_says_nothing_of_the_database() -> None:
    assert parse_route("# pxname,svname,scur,status\nshop,web1,3,UP\n") == ({}, {}, ())


async def test_it_reports_the_route_and_nothing_of_a_site(serve: Any) -> None:
    texts = [ROUTE.format(errors=3), ROUTE.format(errors=9)]

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n" + texts.pop(0).encode())
        await writer.drain()
        writer.close()

    source = Haproxy(f"http://127.0.0.1:{await serve(handler)}/;csv", database=True)
    first, second = await source.read(1.0), await source.read(2.0)
    assert not any(name.startswith("web.") for name in first.values)
    assert second.values["db.route.connect_errors_per_s"] > 0
