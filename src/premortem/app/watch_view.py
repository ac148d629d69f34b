"""What a person or a program sees of a running watch. Draws; decides nothing.

Everything is printed by a thread of its own: a terminal that is held (Ctrl-S) or a pipe that
nobody reads must not stop the watch. What is too much is left out.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from premortem.app.diagnose import event_dict
from premortem.app.ledger_view import STATE_STYLE, ledger_table
from premortem.app.watch_site import Site
from premortem.model import Event

__all__ = ["JsonLines", "Lines", "Screen", "View", "event_line", "wanted"]

WAITING_MAX = 1_000
EVENTS_SHOWN = 8
QUIET_STATES = frozenset({"ruled_out", "cannot_exclude"})


class View(Protocol):
    """Shows events as they come and the state once a second."""

    def events(self, site: str, events: Sequence[Event]) -> None: ...

    def second(self, sites: Sequence[Site], now: float) -> None: ...

    def close(self) -> None: ...


class _Printer:
    """Runs what prints in a thread; never waits for it."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(WAITING_MAX)
        self._thread = threading.Thread(target=self._work, name="printer", daemon=True)
        self._thread.start()

    def put(self, work: Callable[[], None]) -> None:
        if not self._queue.full():
            self._queue.put_nowait(work)

    def close(self, within_s: float = 2.0) -> None:
        if not self._queue.full():
            self._queue.put_nowait(None)
        self._thread.join(within_s)

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            try:
                work()
            except OSError:
                continue  # the reader has gone or its disk is full: the watch goes on


class JsonLines:
    """Every event as one JSON object a line."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._printer = out, _Printer()

    def events(self, site: str, events: Sequence[Event]) -> None:
        if events:
            text = "".join(_json(site, e) + "\n" for e in events)
            self._printer.put(lambda: _write(self._out, text))

    def second(self, sites: Sequence[Site], now: float) -> None:
        """Nothing: events tell it all."""

    def close(self) -> None:
        self._printer.close()


class Lines:
    """One line for each event that a person wants to read."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._printer = out, _Printer()

    def events(self, site: str, events: Sequence[Event]) -> None:
        text = "".join(event_line(site, e) + "\n" for e in events if wanted(e))
        if text:
            self._printer.put(lambda: _write(self._out, text))

    def second(self, sites: Sequence[Site], now: float) -> None:
        """Nothing: events tell it all."""

    def close(self) -> None:
        self._printer.close()


class Screen:
    """A live view: a line a site, the ledger of the worst, the last events."""

    def __init__(self, console: Console) -> None:
        self._console, self._printer = console, _Printer()
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._recent: list[str] = []
        self._printer.put(self._live.start)

    def events(self, site: str, events: Sequence[Event]) -> None:
        lines = [event_line(site, e) for e in events if wanted(e)]
        self._recent = (self._recent + lines)[-EVENTS_SHOWN:]

    def second(self, sites: Sequence[Site], now: float) -> None:
        """Draw anew."""
        picture = self._picture(sites, now)
        self._printer.put(lambda: self._live.update(picture, refresh=True))

    def close(self) -> None:
        self._printer.put(self._live.stop)
        self._printer.close()
        for line in self._recent:
            self._console.print(line, highlight=False, markup=False)

    def _picture(self, sites: Sequence[Site], now: float) -> RenderableType:
        worst = max(sites, key=_badness, default=None)
        parts: list[RenderableType] = [
            Panel(_sites_table(sites, now), title="sites", title_align="left")
        ]
        if worst is not None and worst.last is not None:
            ledger = ledger_table(worst.last.diagnosis, brief=True)
            parts.append(Panel(ledger, title=f"ledger of {worst.name}", title_align="left"))
        recent = [Text(line, overflow="ellipsis", no_wrap=True) for line in self._recent]
        parts.append(Panel(Group(*recent), title="events", title_align="left"))
        return Group(*parts)


def _sites_table(sites: Sequence[Site], now: float) -> Table:
    table = Table(box=None, padding=(0, 1), show_header=False)
    for wide in (False, True, False, False):
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1 if wide else None)
    for site in sorted(sites, key=lambda s: (-_badness(s), s.name)):
        word, style = _state(site)
        silent = sum(1 for key in site.errors if site.heard.get(key, 0.0) < now - 5.0)
        table.add_row(
            site.name,
            Text(word, style=style),
            f"{silent} of {len(site.errors)} sources silent" if silent else "",
            f"step {site.step_s * 1000:.1f} ms",
        )
    return table


def _state(site: Site) -> tuple[str, str]:
    if site.last is None:
        return "starting", "dim"
    diagnosis = site.last.diagnosis
    if diagnosis.cause is not None:
        return f"{diagnosis.cause} ({diagnosis.tier})", STATE_STYLE["confirmed"]
    suspected = [v.cause for v in diagnosis.ledger if v.state == "suspected"]
    if suspected:
        return f"suspected: {', '.join(suspected)}", STATE_STYLE["suspected"]
    if diagnosis.signals:
        return f"no cause named; {diagnosis.signals[0].note}", STATE_STYLE["suspected"]
    return "calm", STATE_STYLE["ruled_out"]


def _badness(site: Site) -> int:
    if site.last is None:
        return 0
    diagnosis = site.last.diagnosis
    suspected = sum(v.state == "suspected" for v in diagnosis.ledger)
    return 1000 * (diagnosis.cause is not None) + 10 * suspected + bool(diagnosis.signals)


def wanted(event: Event) -> bool:
    """Whether a person wants the line: not each hypothesis that is ruled out as all goes well."""
    return not (event.kind == "verdict" and event.data.get("state") in QUIET_STATES)


def event_line(site: str, event: Event) -> str:
    """One event as text.

    >>> event_line("shop", Event(0.5, "note", "the configuration was read again"))
    '1970-01-01T00:00:00.500Z shop note: the configuration was read again'
    """
    when = datetime.fromtimestamp(event.at, UTC).isoformat(timespec="milliseconds")
    text = " ".join(event.text.split())
    return f"{when.replace('+00:00', 'Z')} {site or 'premortem'} {event.kind}: {text}"


def _json(site: str, event: Event) -> str:
    when = datetime.fromtimestamp(event.at, UTC).isoformat(timespec="milliseconds")
    return json.dumps({"time": when, "site": site, **event_dict(event)}, default=str)


def _write(out: TextIO, text: str) -> None:
    out.write(text)
    out.flush()
