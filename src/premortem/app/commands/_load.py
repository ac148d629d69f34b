"""What the load commands share: flags, outputs, and one clear line for what cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from premortem.app.commands._base import Usage, check_dsn

if TYPE_CHECKING:
    from premortem.app.load_target import Aim

__all__ = ["Flags", "aimed", "checked_files", "knock", "one_line"]


@Parameter(name="*")
@dataclass(frozen=True)
class Flags:
    """Flags of every load command that sends users.

    Parameters
    ----------
    journey
        What a user does: FILE.toml, module:function, FILE.py:function or /path; by default the
        page of the address.
    site
        A site of the configuration: its address, and the sources that watch it.
    config
        The configuration; its [load] table holds bars and ceilings.
    dsn
        Watch this database meanwhile (a password belongs in PGPASSFILE or PGPASSWORD).
    guard_url
        Base address of a site that has premortem.guard in it: watch its slots and its pool.
    guard_token_file
        File whose first line is the guard's token.
    timeout_ms
        A user's patience with one request; 10000 unless [load] says otherwise.
    retries
        How often a user tries again; 0 unless [load] says otherwise.
    workers
        Processes that send; one sends some ten thousand requests a second.
    seed
        Seed of arrivals and choices.
    i_own_this
        The target is not this machine, and I may load it.
    """

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
    i_own_this: Annotated[bool, Parameter(negative="")] = False


def aimed(
    url: str | None, flags: Flags, *, agents: tuple[str, ...] = (), look: bool = False
) -> Aim:
    """Find and check what the flags point at. Call within :func:`one_line`."""
    from premortem.app.load_target import (  # noqa: PLC0415
        Asked,
        aim,
        demand_permission,
    )

    check_dsn(flags.dsn)
    if flags.timeout_ms is not None and not flags.timeout_ms > 0:
        raise Usage(f"--timeout-ms {flags.timeout_ms:g}: must be above 0")
    if flags.retries is not None and flags.retries < 0:
        raise Usage(f"--retries {flags.retries}: must be 0 or more")
    found = aim(
        Asked(
            url, flags.journey, flags.site, flags.config, flags.dsn, flags.guard_url,
            flags.guard_token_file, flags.timeout_ms, flags.retries, flags.workers, flags.seed,
            flags.i_own_this, agents, look,
        )
    )  # fmt: skip
    demand_permission(found.url, flags.i_own_this)
    return found


def knock(aim: Aim) -> None:
    """The last check before the work: whether anybody opens."""
    from premortem.app.load_target import demand_reachable  # noqa: PLC0415

    if not aim.agents:  # they may reach what we do not
        demand_reachable(aim.url)


def checked_files(files: dict[str, Path | None]) -> None:
    """Prove that every file asked for can be written, before the work begins."""
    for flag, file in files.items():
        if file is not None:
            new = not file.exists()
            try:
                with file.open("a"):
                    pass
                if new:
                    file.unlink()
            except OSError as error:
                raise Usage(f"{flag} {file}: {error.strerror}") from None


@contextmanager
def one_line() -> Iterator[None]:
    """Turn what cannot be into the one line that the command line prints."""
    try:
        yield
    except ValueError as error:
        raise Usage(" ".join(str(error).split())) from None
