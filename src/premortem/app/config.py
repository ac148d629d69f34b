"""premortem.toml: what is watched and what may be done. One clear line for every mistake."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from premortem.remedies.policy import Policy

__all__ = ["BadConfig", "Config", "GuardConfig", "SiteConfig", "load_config"]


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


class SiteConfig(_Table):
    """``[site.NAME]``: one website and its database."""

    url: str | None = None
    dsn: str | None = None
    """Connection string without a password: use PGPASSFILE, a service file or ``dsn_file``."""
    dsn_file: Path | None = None
    db_cores: int | None = Field(default=None, gt=0)
    """Cores the database may use; needed when it runs on another machine."""
    web_process: str | None = None
    """Name of the web server's processes when they run on this machine (``uvicorn``)."""
    guard: GuardConfig = GuardConfig()
    plan: dict[str, Any] = Field(default_factory=dict)
    """What ``premortem plan`` is told of the site: checked there."""

    def connection_string(self) -> str | None:
        """The DSN, from ``dsn`` or the first line of ``dsn_file``."""
        if self.dsn_file is not None:
            return read_secret(self.dsn_file)
        return self.dsn


class PolicyConfig(_Table):
    """``[policy]``: what premortem may do by itself. Nothing, unless told."""

    act: bool = False
    allow: tuple[str, ...] = ()
    again_after_s: float = Field(default=30.0, gt=0)
    acts_per_hour_max: int = Field(default=6, ge=0)

    def policy(self) -> Policy:
        return Policy(self.act, self.allow, self.again_after_s, self.acts_per_hour_max)


class HistoryConfig(_Table):
    """``[history]``: where readings are kept."""

    path: Path = Path("premortem.db")


class Config(_Table):
    """The whole file."""

    site: dict[str, SiteConfig] = Field(default_factory=dict)
    policy: PolicyConfig = PolicyConfig()
    history: HistoryConfig = HistoryConfig()
    causes: dict[str, dict[str, float]] = Field(default_factory=dict)
    """``[causes.NAME]``: thresholds that differ from the defaults, by field name."""


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
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BadConfig(f"{path}: {os.strerror(error.errno or 0)}") from None
    if not lines or not lines[0].strip():
        raise BadConfig(f"{path}: empty; its first line must hold the secret")
    return lines[0].strip()
