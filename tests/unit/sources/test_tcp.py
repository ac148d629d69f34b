"""Kernel counters, listener queues and connects."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest

from premortem.sources import tcp
from premortem.sources._listen import Queue, listen_queues, parse_diag, parse_proc_tcp
from premortem.sources.tcp import Tcp, is_local, kernel_counters

SNMP = """\
Ip: Forwarding DefaultTTL
Ip: 2 64
Tcp: RtoAlgorithm MaxConn ActiveOpens OutSegs RetransSegs
Tcp: 1 -1 12 {out} {again}
"""
NETSTAT = """\
TcpExt: SyncookiesSent ListenOverflows ListenDrops
TcpExt: 0 {overflows} 9
"""


def write(folder: Path, out: int, again: int, overflows: int) -> None:
    (folder / "snmp").write_text(SNMP.format(out=out, again=again))
    (folder / "netstat").write_text(NETSTAT.format(overflows=overflows))


def test_counters_are_found_by_name(tmp_path: Path) -> None:
    write(tmp_path, 1000, 7, 3)
    assert kernel_counters(tmp_path) == {
        "OutSegs": 1000.0,
        "RetransSegs": 7.0,
        "ListenOverflows": 3.0,
    }


async def test_rates_are_since_the_last_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "_PROC", tmp_path)
    source = Tcp()
    write(tmp_path, 1000, 10, 0)
    assert (await source.read(1.0)).values == {}
    write(tmp_path, 1200, 20, 5)
    values = (await source.read(2.0)).values
    assert values["net.tcp.retransmit_ratio"] == pytest.approx(0.05)
    assert values["net.tcp.listen_overflows_per_s"] > 0
    assert values["net.tcp.segments_out_per_s"] == pytest.approx(
        20 * values["net.tcp.retransmits_per_s"]
    )


async def test_a_system_without_these_files_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "_PROC", tmp_path)
    assert (await Tcp().read(1.0)).error == "kernel counters: No such file or directory"


async def test_a_full_accept_queue_is_seen_with_its_limit() -> None:
    with socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        client.connect(listener.getsockname())
        port = listener.getsockname()[1]
        reading = await Tcp(site=("127.0.0.1", port)).read(1.0)
        assert listen_queues(port) == [Queue(2, 1)]  # ours, and the source's own connect
    assert reading.values["net.tcp.listen_queue"] == 1
    assert reading.values["net.tcp.listen_queue_max"] == 1
    assert reading.values["net.rtt_ms"] > 0


async def test_ports_are_told_apart() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        reading = await Tcp(
            site=("127.0.0.1", listener.getsockname()[1]), database=("127.0.0.1", 1)
        ).read(1.0)
    assert reading.error == "database: connect refused"
    assert {"net.rtt_ms", "net.other_port_rtt_ms"} <= set(reading.values)


async def test_a_name_that_does_not_resolve_gives_no_time() -> None:
    reading = await Tcp(site=("no-such-name.invalid", 80)).read(1.0)
    assert "net.rtt_ms" not in reading.values
    assert (reading.error or "").startswith("site: dns: ")


def test_the_kernel_refusing_a_dump_is_an_error() -> None:
    packet = struct.pack("=IHHIIi", 20, 2, 0, 1, 0, -1)
    with pytest.raises(PermissionError):
        list(parse_diag(packet))


def test_proc_counts_only_listeners_on_the_port() -> None:
    rows = [
        "0: 00000000:0050 00000000:0000 0A 00000000:00000003 00:0 0 0",
        "1: 00000000:0051 00000000:0000 0A 00000000:00000004 00:0 0 0",
        "2: 0100007F:0050 0100007F:9999 01 00000000:00000005 00:0 0 0",
    ]
    assert parse_proc_tcp("\n".join(["head", *rows]), 80) == [Queue(3, None)]


def test_only_our_own_addresses_are_local() -> None:
    assert is_local("127.0.0.1")
    assert not is_local("192.0.2.1")  # TEST-NET-1: nobody's
