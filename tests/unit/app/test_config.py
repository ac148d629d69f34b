"""premortem.toml: good files are taken, bad ones get one line."""

from pathlib import Path

import pytest

from premortem.app.assemble import causes
from premortem.app.config import BadConfig, NotifyConfig, load_config

GOOD = """
[site.shop]
url = "https://shop.example/"
dsn = "host=db.example user=monitor dbname=shop"
[site.shop.guard]
cap = 12
[policy]
act = true
allow = ["shed"]
[causes.connection_exhaustion]
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "premortem.toml"
    path.write_text(text)
    return path


def test_a_good_file(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GOOD))
    assert config.site["shop"].guard.cap == 12
    assert config.policy.policy().allow == ("shed",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[site.shop]\nulr = 'x'", "site.shop.ulr"),
        ("[policy]\nact = 'perhaps'", "policy.act"),
        ("[site.shop.guard]\ncap = 0", "site.shop.guard.cap"),
        ("[site", "not TOML"),
        ("[site.shop.haproxy]\nproxy = 'x'", "site.shop.haproxy.0.url"),
        ("[[site.shop.prometheus]]\nurl = 'http://a/'", "site.shop.prometheus.0.mapping"),
        ("[history]\nkeep_days = 0", "history.keep_days"),
        ("[history]\nmax_mb = 'much'", "history.max_mb"),
        ("[watch]\nlisten = 'everywhere'", "watch.listen"),
        ("[watch]\nlisten = '127.0.0.1:70000'", "watch.listen"),
        ("[notify]\non = ['always']", "notify.on"),
        ("[notify]\nper_hour_max = 0", "notify.per_hour_max"),
    ],
)
def test_a_bad_file_gets_one_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadConfig) as error:
        load_config(write(tmp_path, text))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="No such file"):
        load_config(tmp_path / "none.toml")


def test_a_dsn_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "dsn").write_text("host=db password=secret\n")
    text = f"[site.shop]\ndsn_file = '{tmp_path / 'dsn'}'"
    site = load_config(write(tmp_path, text)).site["shop"]
    assert site.connection_string() == "host=db password=secret"
    (tmp_path / "dsn").write_text("")
    with pytest.raises(BadConfig, match="empty"):
        site.connection_string()


def test_thresholds_are_checked_by_name() -> None:
    with pytest.raises(BadConfig, match="no such cause"):
        causes({"gremlins": {}})
    with pytest.raises(BadConfig, match="no such threshold"):
        causes({"web_cpu": {"colour": 1.0}})
    changed = causes({"db_cpu_by_traffic": {"repeat_ratio_min": 0.9}})
    assert any(getattr(c, "repeat_ratio_min", None) == 0.9 for c in changed)


def test_one_exporter_or_many(tmp_path: Path) -> None:
    one = "url = 'http://a/metrics'\nmapping = {'db.up' = 'pg_up'}\n"
    for head in ("[site.shop.prometheus]", "[[site.shop.prometheus]]"):
        site = load_config(write(tmp_path, f"{head}\n{one}")).site["shop"]
        assert [dict(p.mapping) for p in site.prometheus] == [{"db.up": "pg_up"}]
    members = load_config(write(tmp_path, "[site.a.patroni]\nurl='x'\nurls=['y']")).site["a"]
    assert members.patroni.members() == ("x", "y")


def test_addresses_to_tell_come_from_the_file_and_the_environment(tmp_path: Path) -> None:
    (tmp_path / "urls").write_text("# on call\n\njson://a/\n  slack://b  \n")
    notify = NotifyConfig(urls_file=tmp_path / "urls")
    assert notify.urls({}) == ("json://a/", "slack://b")
    assert notify.urls({"PREMORTEM_NOTIFY_URLS": "json://c json://d"})[2:] == (
        "json://c",
        "json://d",
    )
    with pytest.raises(BadConfig, match="No such file"):
        NotifyConfig(urls_file=tmp_path / "none").urls({})
