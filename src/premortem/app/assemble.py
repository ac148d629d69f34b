"""Puts parts together: declared metrics, standard detectors, every cause there is a file for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from urllib.parse import urlsplit

from psycopg.conninfo import conninfo_to_dict

from premortem.app.config import BadConfig
from premortem.detectors._standard import standard
from premortem.model import History
from premortem.parts import parts
from premortem.pipeline import Cause, Pipeline
from premortem.remedies._hands import Remedy
from premortem.sources._contract import Source
from premortem.sources._declared import declared_metrics
from premortem.sources.guard import Guard
from premortem.sources.host import Host
from premortem.sources.http_probe import HttpProbe
from premortem.sources.pool import Pool
from premortem.sources.postgres import Postgres
from premortem.sources.tcp import Tcp

__all__ = ["causes", "new_pipeline", "remedies", "site_sources"]


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
    for field in values:
        if field not in allowed:
            there = ", ".join(sorted(allowed))
            raise BadConfig(f"[causes.{name}] {field}: no such threshold; there are: {there}")
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
) -> list[Source]:
    """The sources that can be had with what is known of a site."""
    found: list[Source] = [
        Host(web_pids=web_pids, db_pid=db_pid),
        Tcp(site=url_address(url), database=dsn_address(dsn)),
    ]
    if url is not None:
        found.append(HttpProbe(url=url))
    if dsn is not None:
        found.append(Postgres(dsn=dsn, cores=db_cores))
    if guard_url is not None:
        found.append(Guard(url=guard_url, token=guard_token))
        found.append(Pool(url=guard_url, token=guard_token))
    return found


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
