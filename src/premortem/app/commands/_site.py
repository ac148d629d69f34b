"""Which site is meant: one of the configuration, or the one that the flags describe."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from premortem.app.commands._base import Usage, check_dsn, check_url

if TYPE_CHECKING:
    from premortem.app.config import Config, SiteConfig

__all__ = ["Meant", "meant"]


@dataclass(frozen=True, slots=True)
class Meant:
    """A site's addresses; of one that the configuration names, its settings as well."""

    url: str | None
    dsn: str | None = field(repr=False)
    guard_url: str | None
    guard_token: str = field(repr=False)
    settings: SiteConfig | None = None
    config: Config | None = None


def meant(
    site: str | None,
    config: Path,
    url: str | None,
    dsn: str | None,
    guard_url: str | None,
    guard_token_file: Path | None,
) -> Meant:
    """The site NAME of the configuration, or without a name the one of the other flags.

    Raises :class:`Usage` for a bad address, an unknown name, a file that cannot be read.
    """
    from premortem.app.config import BadConfig, load_config, read_secret  # noqa: PLC0415

    check_url(url)
    check_dsn(dsn)
    try:
        if site is None:
            token = read_secret(guard_token_file) if guard_token_file else ""
            return Meant(url, dsn, guard_url, token)
        known = load_config(config)
        if site not in known.site:
            there = ", ".join(known.site) or "none"
            raise Usage(f"--site {site}: {config} has no such site; it has: {there}")
        found = known.site[site]
        token = read_secret(found.guard.token_file) if found.guard.token_file else ""
        return Meant(found.url, found.connection_string(), found.guard.url, token, found, known)
    except BadConfig as error:
        raise Usage(str(error)) from None
