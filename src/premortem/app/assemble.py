"""Puts parts together: declared metrics, standard detectors, every cause there is a file for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from urllib.parse import urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from premortem.app.config import BadConfig, Config, SiteConfig, read_secret
from premortem.app.here import has_address, pids_of, postmaster_of
from premortem.detectors._standard import standard
from premortem.model import History
from premortem.parts import parts
from premortem.pipeline import Cause, Pipeline
from premortem.remedies._hands import Remedy
from premortem.remedies.policy import Policy
from premortem.sources._contract import Source
from premortem.sources._declared import declared_metrics
from premortem.sources.etcd import Etcd
from premortem.sources.guard import Guard
from premortem.sources.haproxy import Haproxy
from premortem.sources.host import Host
from premortem.sources.http_probe import HttpProbe
from premortem.sources.patroni import Patroni
from premortem.sources.pgbouncer import Pgbouncer
from premortem.sources.pool import Pool
from premortem.sources.postgres import Postgres
from premortem.sources.prometheus import Prometheus
from premortem.sources.tcp import Tcp

__all__ = [
    "SiteSettings",
    "causes",
    "configured_sources",
    "new_pipeline",
    "remedies",
    "settings_of",
    "site_sources",
]


def causes(settings: Mapping[str, Mapping[str, float]] | None = None) -> tuple[Cause, ...]:
    """Every cause, with its configured thresholds. Raises :class:`BadConfig` for unknown names."""
    known = parts("premortem.causes")
    settings = settings or {}
    for name in settings:
        if name not in known:
            raise BadConfig(f"[causes.{name}]: no such cause; there are: {', '.join(known)}")
    return tuple(_with(name, made, settings.get(name, {})) for name, made in known.items())


def _with(name: str, made: type, values: Mapping[str, float]) -> Cause:
    allowed = {f.name for f in fields(made)}
    for wrong in values.keys() - allowed:
        there = ", ".join(sorted(allowed))
        raise BadConfig(f"[causes.{name}] {wrong}: no such threshold; there are: {there}")
    cause: Cause = made(**values)
    return cause


def new_pipeline(settings: Mapping[str, Mapping[str, float]] | None = None) -> Pipeline:
    """A fresh pipeline for one site."""
    return Pipeline(History(declared_metrics()), standard(), causes(settings))


def remedies() -> dict[str, Remedy]:
    """Every remedy by name, with its default settings."""
    return {name: made() for name, made in parts("premortem.remedies", besides=("policy",)).items()}


def site_sources(
    *,
    url: str | None,
    dsn: str | None,
    guard_url: str | None = None,
    guard_token: str = "",
    db_cores: int | None = None,
    db_pid: Callable[[], int | None] | None = None,
    web_pids: Callable[[], Sequence[int]] = tuple,
    data_folder: str = "/",
    host: bool = True,
) -> list[Source]:
    """The sources that can be had with what is known of a site."""
    found: list[Source] = [Tcp(site=url_address(url), database=dsn_address(dsn))]
    if host:
        found.append(Host(web_pids=web_pids, db_pids=_alone(db_pid), data_folder=data_folder))
    if url is not None:
        found.append(HttpProbe(url=url))
    if dsn is not None:
        found.append(Postgres(dsn=dsn, cores=db_cores))
    if guard_url is not None:
        found.append(Guard(url=guard_url, token=guard_token))
        found.append(Pool(url=guard_url, token=guard_token))
    return found


@dataclass(frozen=True, slots=True)
class SiteSettings:
    """All that makes the watch of one site what it is: equal settings, same watch."""

    name: str
    site: SiteConfig
    policy: Policy
    thresholds: Mapping[str, Mapping[str, float]]
    dsn: str | None = field(default=None, repr=False)
    guard_token: str = field(default="", repr=False)
    pooler_dsn: str | None = field(default=None, repr=False)

    @property
    def guard_url(self) -> str | None:
        """Where the guard is; ``None`` when nothing says that there is one."""
        guard = self.site.guard
        return guard.url or (self.site.url if guard.cap or self.guard_token else None)

    @property
    def here(self) -> bool:
        """Whether this machine's own figures are the site's."""
        if self.site.host is not None:
            return self.site.host
        if self.site.web_process or self.site.db_folder:
            return True
        addresses = (url_address(self.site.url), dsn_address(self.dsn))
        socket = self.dsn is not None and addresses[1] is None
        return socket or any(has_address(a[0]) for a in addresses if a is not None)


def settings_of(config: Config, name: str) -> SiteSettings:
    """The settings of one configured site, its secrets read from their files.

    Raises :class:`BadConfig` with one line for anything that could not be watched.
    """
    site = config.site[name]
    token = read_secret(site.guard.token_file) if site.guard.token_file else ""
    settings = SiteSettings(
        name,
        site,
        config.policy.policy(),
        config.causes,
        site.connection_string(),
        token,
        site.pgbouncer.connection_string(),
    )
    try:
        found = configured_sources(settings)
    except (ValueError, ProgrammingError) as error:
        raise BadConfig(f"[site.{name}]: {str(error).strip()}") from None
    if not (site.url or settings.dsn or len(found) > settings.here + 1):
        raise BadConfig(f"[site.{name}]: nothing to watch; give it a url, a dsn or both")
    return settings


def _alone(db_pid: Callable[[], int | None] | None) -> Callable[[], tuple[int, ...]]:
    """The one server as the servers that a host may have."""

    def pids() -> tuple[int, ...]:
        pid = db_pid() if db_pid is not None else None
        return () if pid is None else (pid,)

    return pids


def configured_sources(settings: SiteSettings) -> list[Source]:
    """Every source of a configured site. Raises ``ValueError`` for an address that is none."""
    site = settings.site
    folder, process = site.db_folder, site.web_process
    found = site_sources(
        url=site.url,
        dsn=settings.dsn,
        guard_url=settings.guard_url,
        guard_token=settings.guard_token,
        db_cores=site.db_cores,
        db_pid=None if folder is None else lambda: postmaster_of(folder),
        web_pids=tuple if process is None else pids_of(process),
        data_folder="/" if folder is None else str(folder),
        host=settings.here,
    )
    if site.patroni.members():
        found.append(Patroni(urls=site.patroni.members()))
    if site.etcd.members():
        found.append(Etcd(urls=site.etcd.members()))
    if settings.pooler_dsn is not None:
        found.append(Pgbouncer(dsn=settings.pooler_dsn))
    found += [Haproxy(url=h.url, proxy=h.proxy, database=h.database) for h in site.haproxy]
    found += [Prometheus(url=p.url, mapping=_declared(p.mapping)) for p in site.prometheus]
    return found


def _declared(mapping: Mapping[str, str] | str) -> Mapping[str, str] | str:
    known = {m.name for m in declared_metrics()}
    for metric in () if isinstance(mapping, str) else mapping:
        if metric not in known:
            raise ValueError(f"prometheus.mapping: no metric {metric!r}; see docs/metrics.md")
    return mapping


def url_address(url: str | None) -> tuple[str, int] | None:
    """Host and port of a web address.

    >>> url_address("https://shop.example/")
    ('shop.example', 443)
    """
    if url is None:
        return None
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def dsn_address(dsn: str | None) -> tuple[str, int] | None:
    """Host and port of a connection string; ``None`` for a Unix socket.

    >>> dsn_address("host=db.example user=monitor")
    ('db.example', 5432)
    """
    if dsn is None:
        return None
    known = conninfo_to_dict(dsn)
    host = str(known.get("host") or "")
    if not host or host.startswith("/"):
        return None
    return host, int(known.get("port") or 5432)
