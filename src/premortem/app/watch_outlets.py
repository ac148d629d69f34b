"""Where what the daemon finds goes: the archive, the post, the page. Changed while it runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from premortem.app.config import BadConfig
from premortem.app.notify import Notice
from premortem.app.notify_send import Letter, Post, Send, apprise_sends
from premortem.app.notify_words import body, title
from premortem.app.remote_write import RemoteWrite
from premortem.app.serve import Door, Page, serve
from premortem.app.watch_keep import Archive, HistoryFile, Place, Tape
from premortem.app.watch_setup import Setup
from premortem.pipeline import Tick

__all__ = ["CannotListen", "Outlets", "Parts", "Record"]


class CannotListen(RuntimeError):
    """The page's address is taken or not this machine's: says which and why."""


@dataclass(frozen=True, slots=True)
class Record:
    """``--record``: where to, and how much of it is kept."""

    path: Path
    part_bytes: int = 256 * 2**20
    parts: int = 4

    def of(self, site: str, alone: bool) -> Path:
        """The file of one site: with several, its name is put before the suffix.

        >>> Record(Path("r.jsonl")).of("shop", alone=False).name
        'r-shop.jsonl'
        """
        if alone:
            return self.path
        return self.path.with_name(f"{self.path.stem}-{site}{self.path.suffix}")


@dataclass(frozen=True, slots=True)
class Parts:
    """What a setup needs from outside: made before anything is changed, for it may be refused."""

    sends: Mapping[str, Send]
    remote: RemoteWrite | None

    @classmethod
    def of(cls, setup: Setup) -> Parts:
        """Raises :class:`BadConfig` for an address that cannot be used."""
        return cls(apprise_sends(setup.urls), _remote(setup))


class Outlets:
    """All ways out. ``say`` may be called from any thread."""

    def __init__(self, record: Record | None, say: Callable[[str], None]) -> None:
        self._record, self._say = record, say
        self._door = AsyncExitStack()
        self.port: int | None = None
        """Where the page is, once it is."""

    async def open(self, setup: Setup, parts: Parts, pages: Mapping[str, Page]) -> None:
        """Open all of them. Raises :class:`CannotListen`."""
        self._pages = pages
        self._post = Post(parts.sends, self._say)
        self._archive, self.remote = self._new_archive(setup, parts), parts.remote
        try:
            await self._open_door(setup.door)
        except CannotListen:
            await self.close()
            raise

    async def change(self, old: Setup, new: Setup, parts: Parts) -> bool:
        """Replace what differs; ``False`` when the page had to stay where it was."""
        if new.urls != old.urls:
            post, self._post = self._post, Post(parts.sends, self._say)
            await asyncio.to_thread(post.close)
        if self._places_of(new) != self._places_of(old):
            archive, self._archive = self._archive, self._new_archive(new, parts)
            self.remote = parts.remote
            await asyncio.to_thread(archive.close)
        return new.door == old.door or await self._move_door(old.door, new.door)

    async def close(self) -> None:
        """Let what waits out, for a few seconds, and end."""
        await self._door.aclose()
        await asyncio.to_thread(self._archive.close)
        await asyncio.to_thread(self._post.close)

    def keep(self, site: str, tick: Tick) -> None:
        """Write a tick down."""
        self._archive.put(site, tick)

    def tell(self, notice: Notice, tick: Tick) -> None:
        """Send a message about what ``tick`` shows."""
        words = title(notice, tick.diagnosis), body(notice, tick.diagnosis)
        self._post.put(Letter.of(notice, *words))

    @property
    def dropped(self) -> Mapping[str, int]:
        """See :class:`Archive`."""
        return self._archive.dropped

    @property
    def failing(self) -> tuple[str, ...]:
        """See :class:`Archive`."""
        return self._archive.failing

    @property
    def posted(self) -> Mapping[str, tuple[int, int, int, int]]:
        """See :class:`Post`."""
        return self._post.figures()

    # -- within

    def _places_of(self, setup: Setup) -> tuple[object, ...]:
        return (setup.history, setup.history_token, self._record and tuple(setup.sites))

    def _new_archive(self, setup: Setup, parts: Parts) -> Archive:
        places: list[Place] = [HistoryFile(setup.history)]
        record = self._record
        if record is not None:
            alone = len(setup.sites) == 1
            places += [
                Tape(s, record.of(s, alone), record.part_bytes, record.parts) for s in setup.sites
            ]
        return Archive(places, [] if parts.remote is None else [parts.remote], self._say)

    async def _open_door(self, door: Door | None) -> None:
        self.port = None
        if door is None:
            return
        try:
            self.port = await self._door.enter_async_context(serve(door, self._pages))
        except OSError as error:
            text = os.strerror(error.errno or 0)
            raise CannotListen(f"[watch] listen {door.host}:{door.port}: {text}") from None

    async def _move_door(self, old: Door | None, new: Door | None) -> bool:
        await self._door.aclose()
        self._door = AsyncExitStack()
        try:
            await self._open_door(new)
        except CannotListen as error:
            self._say(f"{error}; the page stays where it was")
            await self._open_door(old)
            return False
        return True


def _remote(setup: Setup) -> RemoteWrite | None:
    """The fleet's history. Raises :class:`BadConfig` for an address that cannot be used."""
    url = setup.history.remote_write
    if url is None:
        return None
    try:
        return RemoteWrite.to(url, setup.history_token)
    except (ValueError, ModuleNotFoundError) as error:
        raise BadConfig(f"[history] remote_write: {error}") from None
