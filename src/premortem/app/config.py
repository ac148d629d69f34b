"""premortem.toml: what is watched and what may be done. One clear line for every mistake."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from premortem.remedies.policy import Policy
from premortem.store import KEEP_DAYS

__all__ = [
    "BadConfig",
    "Config",
    "GuardConfig",
    "HistoryConfig",
    "NotifyConfig",
    "Occasion",
    "SiteConfig",
    "WatchConfig",
    "load_config",
    "read_secret",
]


class BadConfig(ValueError):
    """The configuration cannot be used: says the file, the key and what was expected."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GuardConfig(_Table):
    """``[site.NAME.guard]``: how to reach premortem.guard inside the site."""

    url: str | None = None
    """Base address; by default the site's own."""
    token_file: Path | None = None
    """File that holds the token; a token never stands in the configuration itself."""
    cap: int | None = Field(default=None, ge=1)
    """The load-tested number of requests in flight at the knee."""


class MembersConfig(_Table):
    """``[site.NAME.patroni]``, ``[site.NAME.etcd]``: addresses of the cluster's members."""

    url: str | None = None
    urls: tuple[str, ...] = ()
    """All members: what one cannot tell another may."""

    def members(self) -> tuple[str, ...]:
        """Every address, ``url`` first."""
        return (*((self.url,) if self.url else ()), *self.urls)


class HaproxyConfig(_Table):
    """``[[site.NAME.haproxy]]``: a proxy's statistics."""

    url: str
    """The stats page with ``;csv`` at its end, or the socket: ``unix:/run/haproxy/admin.sock``."""
    proxy: str = ""
    """One frontend or backend by name; all together without it."""
    database: bool = False
    """It stands in front of the database, not of the site."""


class PgbouncerConfig(_Table):
    """``[site.NAME.pgbouncer]``: the pooler's console."""

    dsn: str | None = None
    dsn_file: Path | None = None

    def connection_string(self) -> str | None:
        """The DSN, from ``dsn`` or the first line of ``dsn_file``."""
        return read_secret(self.dsn_file) if self.dsn_file is not None else self.dsn


class PrometheusConfig(_Table):
    """``[[site.NAME.prometheus]]``: an exporter, and which of its series are which of ours."""

    url: str
    mapping: dict[str, str] | str
    """Our metric → an expression over its series; or a ready one's name (``node_exporter``)."""


class SiteConfig(_Table):
    """``[site.NAME]``: one website and its database."""

    url: str | None = None
    dsn: str | None = None
    """Connection string without a password: use PGPASSFILE, a service file or ``dsn_file``."""
    dsn_file: Path | None = None
    db_cores: int | None = Field(default=None, gt=0)
    """Cores the database may use; needed when it runs on another machine."""
    db_folder: Path | None = None
    """PostgreSQL's data folder when it is on this machine: its processes and its disk are read."""
    web_process: str | None = None
    """Name of the web server's processes when they run on this machine (``uvicorn``)."""
    host: bool | None = None
    """Whether this machine is the site's; by default when the site or its database is local."""
    guard: GuardConfig = GuardConfig()
    patroni: MembersConfig = MembersConfig()
    etcd: MembersConfig = MembersConfig()
    haproxy: tuple[HaproxyConfig, ...] = ()
    pgbouncer: PgbouncerConfig = PgbouncerConfig()
    prometheus: tuple[PrometheusConfig, ...] = ()
    plan: dict[str, Any] = Field(default_factory=dict)
    """What ``premortem plan`` is told of the site: checked there."""

    @field_validator("haproxy", "prometheus", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, dict) else value

    def connection_string(self) -> str | None:
        """The DSN, from ``dsn`` or the first line of ``dsn_file``."""
        return read_secret(self.dsn_file) if self.dsn_file is not None else self.dsn


class PolicyConfig(_Table):
    """``[policy]``: what premortem may do by itself. Nothing, unless told."""

    act: bool = False
    allow: tuple[str, ...] = ()
    again_after_s: float = Field(default=30.0, gt=0)
    acts_per_hour_max: int = Field(default=6, ge=0)

    def policy(self) -> Policy:
        return Policy(self.act, self.allow, self.again_after_s, self.acts_per_hour_max)


class HistoryConfig(_Table):
    """``[history]``: where readings are kept, and how many of them."""

    path: Path = Path("premortem.db")
    keep_days: float = Field(default=KEEP_DAYS, gt=0, le=3650)
    max_mb: float | None = Field(default=4096.0, ge=1)
    """A site fills about 500 MB in 400 days; beyond the bound every resolution is shortened."""
    remote_write: str | None = None
    """Address that takes Prometheus remote write, for a fleet's history."""
    query: str | None = None
    """Address of the PromQL interface that reads it back."""
    token_file: Path | None = None
    """File with the bearer token of both."""


class WatchConfig(_Table):
    """``[watch]``: the daemon's own page."""

    listen: str | None = "127.0.0.1:7117"
    """Of /metrics and /healthz; empty for none. Exporters' usual ports are 9100 to 9999."""
    token_file: Path | None = None
    """File with the token that /metrics then wants; needed beyond loopback."""

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, value: str | None) -> str | None:
        if not value:
            return None
        host, _, port = value.rpartition(":")
        if not host or not port.isdigit() or not 0 <= int(port) <= 65535:
            raise ValueError("must be HOST:PORT, as in 127.0.0.1:7117")
        return value

    def address(self) -> tuple[str, int] | None:
        """Host and port to bind, ``None`` for no page."""
        if self.listen is None:
            return None
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


Occasion = Literal["confirmed", "suspected", "runway"]
"""What is worth a message: a named cause pages; the other two warn."""


class NotifyConfig(_Table):
    """``[notify]``: who is told of what, and how often at most."""

    urls_file: Path | None = None
    """One apprise URL a line (# comments). They hold secrets, hence a file of its own."""
    urls_env: str = "PREMORTEM_NOTIFY_URLS"
    """Or this environment variable, URLs parted by blanks."""
    on: tuple[Occasion, ...] = ("confirmed",)
    hold_s: float = Field(default=3.0, ge=0)
    """A cause must be named this long: the deepest of several needs a moment to show."""
    warn_hold_s: float = Field(default=30.0, ge=0)
    """The same for warnings: a suspicion is worth a message when it stays."""
    resolve_after_s: float = Field(default=60.0, ge=0)
    """Quiet this long before the all-clear (Prometheus rules: ``keep_firing_for``)."""
    again_h: float = Field(default=4.0, gt=0)
    """Repeated while it lasts (Alertmanager's default ``repeat_interval``: 4 h)."""
    per_hour_max: int = Field(default=20, ge=1)
    """Messages of all sites together. What is held back is told when there is room."""

    def urls(self, environment: Mapping[str, str]) -> tuple[str, ...]:
        """The addresses. Raises :class:`BadConfig` when the file cannot be read."""
        lines = read_lines(self.urls_file) if self.urls_file else []
        named = [line for line in lines if line and not line.startswith("#")]
        return (*named, *environment.get(self.urls_env, "").split())


class Config(_Table):
    """The whole file."""

    site: dict[str, SiteConfig] = Field(default_factory=dict)
    policy: PolicyConfig = PolicyConfig()
    history: HistoryConfig = HistoryConfig()
    watch: WatchConfig = WatchConfig()
    notify: NotifyConfig = NotifyConfig()
    causes: dict[str, dict[str, float]] = Field(default_factory=dict)
    """``[causes.NAME]``: thresholds that differ from the defaults, by field name."""
    load: dict[str, Any] = Field(default_factory=dict)
    """``[load]``: bars and bounds of load tests, checked by :mod:`premortem.app.load_config`."""


def load_config(path: Path) -> Config:
    """Read and check the file. Raises :class:`BadConfig` with one line."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfig(f"{path}: {os.strerror(error.errno or 0)}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path}: not TOML: {error}") from None
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        raise BadConfig(f"{path}: {_first_mistake(error)}") from None


def _first_mistake(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"[{where}]: {first['msg'][0].lower()}{first['msg'][1:]}{more}"


def read_secret(path: Path) -> str:
    """The first line of a file. Raises :class:`BadConfig` when it cannot be read or is empty."""
    lines = read_lines(path)
    if not lines or not lines[0]:
        raise BadConfig(f"{path}: empty; its first line must hold the secret")
    return lines[0]


def read_lines(path: Path) -> list[str]:
    """The lines of a file, bare. Raises :class:`BadConfig` when it cannot be read."""
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise BadConfig(f"{path}: {os.strerror(error.errno or 0)}") from None
    except UnicodeDecodeError:
        raise BadConfig(f"{path}: not UTF-8 text") from None
