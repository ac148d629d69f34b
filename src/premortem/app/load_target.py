"""What a load command is pointed at: the users, the site, and the watch beside them.

Everything that cannot be raises ``ValueError`` with one line: what, where, what to do.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from premortem.app.assemble import (
    configured_sources,
    dsn_address,
    settings_of,
    site_sources,
    url_address,
)
from premortem.app.config import BadConfig, Config, load_config, read_secret
from premortem.app.here import has_address
from premortem.app.load_config import LoadConfig, load_table
from premortem.app.load_here import listeners
from premortem.engines.errors import EngineError
from premortem.load.agents import ssh_command
from premortem.load.declared import read_sheet
from premortem.load.journey import Choice
from premortem.load.pace import Pacer, pace_from
from premortem.load.requests import Settings
from premortem.load.safety import Ceilings, all_loopback
from premortem.load.spec import Attack, choices_from
from premortem.sources._contract import Source

__all__ = [
    "Aim",
    "Asked",
    "aim",
    "demand_bounds",
    "demand_permission",
    "demand_reachable",
    "pace_of_journey",
]

WORKERS_MAX = 64
KNOCK_S = 5.0
"""A site that takes longer to open one connection is not ready to be loaded."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the flags of every load command say."""

    url: str | None = None
    journey: str | None = None
    site: str | None = None
    config: Path = Path("premortem.toml")
    dsn: str | None = None
    guard_url: str | None = None
    guard_token_file: Path | None = None
    timeout_ms: float | None = None
    retries: int | None = None
    workers: int = 1
    seed: int = 1
    i_own_this: bool = False
    agents: tuple[str, ...] = ()
    look: bool = False
    """Watch a site on this machine even if nothing else is known of it."""


@dataclass(frozen=True, slots=True)
class Aim:
    """The same, found and checked."""

    name: str
    """Of the site: configured, or its host and port."""
    url: str
    base_url: str
    journey: str
    choices: tuple[Choice, ...]
    sources: tuple[Source, ...]
    table: LoadConfig
    thresholds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    history: Path | None = None
    """The store in which results are kept; ``None`` without a configured site."""
    settings: Settings = field(default_factory=Settings)
    workers: int = 1
    seed: int = 1
    agents: tuple[str, ...] = ()
    """Hosts that send instead of this machine, by SSH."""

    def attack(self, pace: Pacer) -> Attack:
        """The users at this pace."""
        return Attack(
            self.base_url,
            self.choices,
            pace,
            seed=self.seed,
            settings=self.settings,
            lag_p99_ms_max=self.table.lag_p99_ms_max,
        )

    def conditions(self) -> dict[str, object]:
        """What must be alike for two results to be compared, besides the pace."""
        return {
            "journey": self.journey,
            "timeout_ms": self.settings.timeout_s * 1000.0,
            "retries": self.settings.retries,
            "workers": self.workers,
            **({"agents": list(self.agents)} if self.agents else {}),
            "machine": f"{socket.gethostname()}, {len(os.sched_getaffinity(0))} cores",
        }


def aim(asked: Asked) -> Aim:
    """Find the site, the journeys and the sources. Raises ``ValueError`` with one line."""
    config = _config(asked)
    table = load_table(config.load, str(asked.config))
    if asked.site is not None and asked.site not in config.site:
        there = ", ".join(config.site) or "none"
        raise BadConfig(f"--site {asked.site}: {asked.config} has no such site; it has: {there}")
    url = asked.url or (config.site[asked.site].url if asked.site else None)
    if url is None:
        raise BadConfig("load what? give the site's address, or --site NAME of the configuration")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadConfig(f"{url}: must be an address such as http://127.0.0.1:8000/")
    if not 1 <= asked.workers <= WORKERS_MAX:
        raise BadConfig(f"--workers {asked.workers}: from 1 to {WORKERS_MAX}")
    for host in asked.agents:
        ssh_command(host)  # refuses what is no host before anything begins
    base_url, journey = _split(url, asked.journey)
    settings = Settings(
        timeout_s=(asked.timeout_ms or table.timeout_ms) / 1000.0,
        retries=table.retries if asked.retries is None else asked.retries,
        connections_max=0,
    )
    return Aim(
        name=asked.site or parts.netloc.rpartition("@")[2],
        url=url,
        base_url=base_url,
        journey=journey,
        choices=_choices(journey),
        sources=tuple(_sources(asked, config, url)),
        table=table,
        thresholds=config.causes,
        history=(table.keep or config.history.path) if asked.site else table.keep,
        settings=settings,
        workers=asked.workers,
        seed=asked.seed,
        agents=asked.agents,
    )


def _config(asked: Asked) -> Config:
    """The file, where there is one; a missing one is a mistake only if it was named for a site."""
    if asked.site is None and not asked.config.is_file():
        return Config()
    return load_config(asked.config)


def _split(url: str, journey: str | None) -> tuple[str, str]:
    """Base address and journey: without one every user asks for the page of the address."""
    if journey is not None:
        return url.rstrip("/"), journey
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return f"{parts.scheme}://{parts.netloc}", path


def _choices(journey: str) -> tuple[Choice, ...]:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # as python -m does: a journey lies beside its owner's work
    return choices_from(journey)


def _sources(asked: Asked, config: Config, url: str) -> list[Source]:
    if asked.site is not None:
        settings = settings_of(config, asked.site)
        if asked.url is not None:
            settings = replace(settings, site=settings.site.model_copy(update={"url": asked.url}))
        return configured_sources(settings)
    here = has_address(urlsplit(url).hostname or "")
    if asked.dsn is None and asked.guard_url is None and not (asked.look and here):
        return []
    token = read_secret(asked.guard_token_file) if asked.guard_token_file else ""
    web, database = url_address(url), dsn_address(asked.dsn)
    return site_sources(
        url=url,
        dsn=asked.dsn,
        guard_url=asked.guard_url,
        guard_token=token,
        web_pids=listeners(web[1]) if here and web else tuple,
        db_pid=_first_of(database) if database and has_address(database[0]) else None,
        host=here,
    )


def _first_of(address: tuple[str, int]) -> Callable[[], int | None]:
    """The database's first process: the lowest id of those who listen on its port."""
    find = listeners(address[1])
    return lambda: min(find(), default=None)


def pace_of_journey(journey: str) -> Pacer | None:
    """The pace that a journey file brings along, such as one made of an access log."""
    if not journey.endswith(".toml"):
        return None
    segments = read_sheet(Path(journey)).pace
    return pace_from(segments) if segments else None


def demand_permission(url: str, i_own_this: bool) -> None:
    """Refuse a target that is not this machine's loopback, unless told that it is one's own.

    Raises ``ValueError``, or :class:`EngineError` when nobody knows the name.
    """
    if i_own_this:
        return
    host = urlsplit(url).hostname or ""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise EngineError(f"{url}: {error.strerror or error}") from None
    if not all_loopback(str(entry[4][0]) for entry in found):
        raise ValueError(
            f"{url} is not on this machine: a load test of what is not yours is an attack; "
            "if it is yours, add --i-own-this"
        )


def demand_reachable(url: str) -> None:
    """Knock once. Raises :class:`EngineError` where nobody opens: a load of refused connections
    would say nothing of the site."""
    host, port = url_address(url) or ("", 0)
    try:
        socket.create_connection((host, port), timeout=KNOCK_S).close()
    except OSError as error:
        raise EngineError(f"{url}: {error.strerror or error}; is the site up?") from None


def demand_bounds(pace: Pacer, ceilings: Ceilings) -> None:
    """Refuse more than the ceilings allow."""
    if pace.peak() > ceilings.rate_max_per_s:
        raise ValueError(
            f"{pace.peak():g} users/s is above the ceiling of {ceilings.rate_max_per_s:g}; "
            "raise rate_max_per_s under [load] in premortem.toml"
        )
    if pace.seconds > ceilings.seconds_max:
        raise ValueError(
            f"{pace.seconds:g} s is longer than the ceiling of {ceilings.seconds_max:g} s; "
            "raise seconds_max under [load] in premortem.toml"
        )
