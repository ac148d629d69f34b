"""What of a configuration becomes which source; what cannot be watched is refused in one line."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from premortem.app.assemble import configured_sources, settings_of
from premortem.app.config import BadConfig, Config
from premortem.app.here import has_address, pids_of, postmaster_of

ALL = {
    "url": "https://shop.example/",
    "dsn": "host=db.example user=monitor dbname=shop",
    "guard": {"url": "http://10.9.9.9:8000"},
    "patroni": {"urls": ["http://10.0.0.1:8008", "http://10.0.0.2:8008"]},
    "etcd": {"url": "http://10.0.0.1:2379"},
    "pgbouncer": {"dsn": "host=10.0.0.1 port=6432 user=stats"},
    "haproxy": {"url": "http://10.0.0.1:7000/;csv", "database": True},
    "prometheus": [{"url": "http://a:9100/metrics", "mapping": {"db.up": "pg_up"}}],
}  # fmt: skip


def config(**site: object) -> Config:
    return Config.model_validate({"site": {"shop": site}})


def names(**site: object) -> list[str]:
    return sorted(s.name for s in configured_sources(settings_of(config(**site), "shop")))


def test_every_table_becomes_its_source() -> None:
    assert names(**ALL) == [
        "etcd", "guard", "haproxy", "http_probe", "patroni", "pgbouncer", "pool", "postgres",
        "prometheus", "tcp",
    ]  # fmt: skip


def test_ready_mappings_are_known_by_name() -> None:
    one = {"url": "http://a:9100/metrics", "mapping": "node_exporter"}
    assert names(prometheus=one) == ["prometheus", "tcp"]


def test_this_machine_is_read_only_when_the_site_is_on_it() -> None:
    assert "host" not in names(url="https://shop.example/")
    assert "host" in names(url="http://127.0.0.1:8000/")
    assert "host" in names(dsn="host=/run/postgresql dbname=shop")
    assert "host" in names(url="https://shop.example/", web_process="uvicorn")
    assert "host" not in names(url="http://localhost/", host=False)


@pytest.mark.parametrize(
    ("site", "words"),
    [
        ({}, "nothing to watch"),
        ({"url": "shop.example"}, "shop.example"),
        ({"dsn": "nonsense ="}, "nonsense"),
        ({"url": "http://a/", "patroni": {"url": "10.0.0.1:8008"}}, "10.0.0.1:8008"),
        ({"url": "http://a/", "haproxy": [{"url": "unix"}]}, "unix"),
        ({"prometheus": {"url": "http://a/", "mapping": {"db.upp": "x"}}}, "no metric 'db.upp'"),
        ({"prometheus": {"url": "http://a/", "mapping": {"db.up": "{x"}}}, "{x"),
        ({"prometheus": {"url": "http://a/", "mapping": "nagios"}}, "nagios"),
        ({"url": "http://a/", "dsn_file": "/nowhere/dsn"}, "No such file"),
    ],
)  # fmt: skip
def test_what_cannot_be_watched_is_refused_in_one_line(site: dict[str, object], words: str) -> None:
    with pytest.raises(BadConfig) as error:
        settings_of(config(**site), "shop")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_equal_settings_are_equal_and_secrets_are_not_shown(tmp_path: Path) -> None:
    secret = tmp_path / "dsn"
    secret.write_text("host=db password=hunter2\n")
    one = settings_of(config(dsn_file=str(secret)), "shop")
    assert one == settings_of(config(dsn_file=str(secret)), "shop")
    secret.write_text("host=db password=other\n")
    assert one != settings_of(config(dsn_file=str(secret)), "shop")
    assert "hunter2" not in repr(one)


def test_this_machines_addresses_are_known() -> None:
    own = [a.address for a in psutil.net_if_addrs()["lo"] if a.family == socket.AF_INET]
    assert all(map(has_address, [*own, "localhost", "::1", "127.1.2.3", socket.gethostname()]))
    assert not has_address("203.0.113.7")


def test_processes_are_found_by_name_without_their_children() -> None:
    script = "import subprocess, sys, time; subprocess.run([sys.executable, *sys.argv[1:]])"
    inner = "import time; print('up', flush=True); time.sleep(60)"
    argv = [sys.executable, "-c", script, "-c", inner]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as outer:
        assert outer.stdout is not None
        assert outer.stdout.readline() == "up\n"
        found = pids_of(Path(sys.executable).name)()
        children = {c.pid for c in psutil.Process(outer.pid).children()}
        for child in children:
            os.kill(child, 9)
        outer.wait()
    assert children
    assert not children & set(found)


def test_the_servers_first_process_is_read_from_its_file(tmp_path: Path) -> None:
    assert postmaster_of(tmp_path) is None
    (tmp_path / "postmaster.pid").write_text("4711\n/data\n")
    assert postmaster_of(tmp_path) == 4711
    (tmp_path / "postmaster.pid").write_text("")
    assert postmaster_of(tmp_path) is None
