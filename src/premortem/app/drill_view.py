"""The terminal while a drill runs, and the table at its end. Draws; decides nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from premortem.app.ledger_view import ledger_table
from premortem.app.sparks import sparkline
from premortem.drills.calibrate import TrialResult
from premortem.drills.play import Progress
from premortem.drills.report import side_by_side
from premortem.model import Event

__all__ = ["DrillView", "side_by_side_table"]

TITLES = {
    "as_it_happened": "run A: as it happened (nobody looks at the ledger)",
    "protected": "run B: with premortem",
}


class DrillView:
    """A live view on terminals; a line per event elsewhere."""

    def __init__(self, console: Console, live: bool) -> None:
        self._console = console
        self._live: Live | None = (
            Live(console=console, auto_refresh=False, transient=True) if live else None
        )
        self._history: dict[str, deque[float]] = {
            k: deque(maxlen=90) for k in ("offered", "served", "refused", "failed", "sessions")
        }
        self._mode = ""
        self._printed = 0
        self._last_second: float | None = None

    def __enter__(self) -> DrillView:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def stage(self, text: str) -> None:
        """Say which stage has begun."""
        self._console.print(Text(f"▸ {text}"))

    def trial(self, result: TrialResult) -> None:
        """One trial of the calibration is done."""
        t = result.trial
        self._console.print(
            f"  {t.purpose:<8} {t.users_per_s:6.1f} users/s offered, cap {t.cap:>2}: "
            f"{result.goodput_rps:6.1f} requests/s answered in time",
            highlight=False,
        )

    def progress(self, now: Progress) -> None:
        """Draw the present of a run."""
        if now.mode != self._mode:
            self._mode, self._printed = now.mode, 0
            for series in self._history.values():
                series.clear()
        self._remember(now)
        if self._live:
            self._live.update(self._picture(now), refresh=True)
        else:
            self._print_new(now.events, now)

    def _remember(self, now: Progress) -> None:
        second = now.row.get("second")
        if second is None or second == self._last_second:
            return
        self._last_second = second
        for key in ("offered", "served", "refused", "failed"):
            self._history[key].append(float(now.row.get(key, 0)))
        if now.tick:
            held = self._history["sessions"]
            used = _seen(now, "db.connections.used")
            held.append(used if used is not None else (held[-1] if held else 0.0))

    def _print_new(self, events: list[Event], now: Progress) -> None:
        for event in events[self._printed :]:
            when = f"{event.at - now.ramp_at:+6.1f} s"
            if event.kind in ("operator", "phase", "diagnosis", "acted", "effect", "resolved"):
                self._console.print(f"  {when} {event.who}: {event.text}", highlight=False)
        self._printed = len(events)

    def _picture(self, now: Progress) -> RenderableType:
        width = max(self._console.width - 34, 10)
        numbers = Table(box=None, padding=(0, 1), show_header=False)
        styles = {
            "offered": "white",
            "served": "green",
            "refused": "yellow",
            "failed": "red",
            "sessions": "cyan",
        }
        for key, style in styles.items():
            series = self._history[key]
            label = "DB sessions" if key == "sessions" else f"{key}/s"
            value = f"{series[-1]:.0f}" if series else "–"
            numbers.add_row(
                label,
                Text(value, style=style, justify="right"),
                Text(sparkline(series, width), style=style),
            )
        recent = Group(
            *(
                Text(f"{e.who}: {e.text}", overflow="ellipsis", no_wrap=True)
                for e in now.events[-6:]
            )
        )
        ledger = ledger_table(now.tick.diagnosis if now.tick else None, brief=True)
        head = f"{TITLES.get(now.mode, now.mode)}   {now.t:+.0f} s   {now.phase}"
        return Group(
            Panel(numbers, title=head, title_align="left"),
            Panel(ledger, title="ledger", title_align="left"),
            Panel(recent, title="events", title_align="left"),
        )


def _seen(now: Progress, metric: str) -> float | None:
    if now.tick is None:
        return None
    return next((r.values[metric] for r in now.tick.readings if metric in r.values), None)


def side_by_side_table(result: Mapping[str, Any]) -> Table:
    """The seeds, the run as it happened and the protected one, beside each other."""
    table = Table(title="the outage, and the outage prevented", title_justify="left")
    table.add_column("")
    table.add_column("the seeds", justify="right")
    table.add_column("A: as it happened", justify="right", style="red")
    table.add_column("B: with premortem", justify="right", style="green")
    for row in side_by_side(result):
        table.add_row(row.label, row.seed, row.as_it_happened, row.protected)
    return table
