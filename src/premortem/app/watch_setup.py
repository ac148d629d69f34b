"""What a configuration amounts to for the daemon, secrets read; and when its files change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from premortem.app.assemble import SiteSettings, causes, settings_of
from premortem.app.config import BadConfig, Config, HistoryConfig, load_config, read_secret
from premortem.app.notify import Rules
from premortem.app.serve import Door

__all__ = ["Files", "Setup", "read_setup"]


@dataclass(frozen=True, slots=True)
class Setup:
    """All that the daemon was told. Equal parts of two setups need no change."""

    sites: Mapping[str, SiteSettings]
    history: HistoryConfig
    history_token: str = field(repr=False)
    rules: Rules
    urls: tuple[str, ...] = field(repr=False)
    door: Door | None
    files: tuple[Path, ...]
    """The configuration and every file that it names a secret by."""


def read_setup(path: Path, only: tuple[str, ...], environment: Mapping[str, str]) -> Setup:
    """Read and check everything. Raises :class:`BadConfig` with one line.

    Paths in the configuration are taken from the folder that the daemon was started in.
    """
    config = load_config(path)
    causes(config.causes)
    history = config.history
    return Setup(
        {name: settings_of(config, name) for name in _chosen(config, path, only)},
        history,
        read_secret(history.token_file) if history.token_file else "",
        _rules(config),
        config.notify.urls(environment),
        Door.of(config.watch),
        (path, *_named_files(config)),
    )


def _chosen(config: Config, path: Path, only: tuple[str, ...]) -> tuple[str, ...]:
    for name in only:
        if name not in config.site:
            there = ", ".join(config.site) or "none"
            raise BadConfig(f"--site {name}: {path} has no such site; it has: {there}")
    if not config.site:
        raise BadConfig(
            f"{path}: no [site.NAME], nothing to watch; premortem watch --init shows one"
        )
    return only or tuple(config.site)


def _rules(config: Config) -> Rules:
    n = config.notify
    return Rules(n.on, n.hold_s, n.warn_hold_s, n.resolve_after_s, n.again_h * 3600, n.per_hour_max)


def _named_files(config: Config) -> list[Path]:
    named = [config.history.token_file, config.watch.token_file, config.notify.urls_file]
    for site in config.site.values():
        named += [site.dsn_file, site.guard.token_file, site.pgbouncer.dsn_file]
    return [path for path in named if path is not None]


Look = tuple[tuple[int, int, int] | None, ...]


class Files:
    """Notices that a file was changed, once it has rested between two looks."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self.watch(paths)

    def watch(self, paths: tuple[Path, ...]) -> None:
        """Look at these from now on."""
        self._paths = paths
        self._known = self._last = self._look()

    def changed(self) -> bool:
        """Whether something changed since the last ``True``, and is not being written now."""
        look = self._look()
        rests, self._last = look == self._last, look
        if look == self._known or not rests:
            return False
        self._known = look
        return True

    def _look(self) -> Look:
        return tuple(_mark(path) for path in self._paths)


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
