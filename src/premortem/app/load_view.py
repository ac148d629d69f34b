"""The terminal while a load test runs, and its summary. Draws; decides nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from premortem.app.ledger_view import ledger_table
from premortem.app.load_run import Progress, Run
from premortem.app.sparks import sparkline
from premortem.load.bars import Bar, Judged
from premortem.load.stats import Histogram, Second
from premortem.model import Diagnosis

__all__ = ["RunView", "bar_words", "print_run", "print_windows"]

STYLES = {"offered": "white", "served": "green", "refused": "yellow", "failed": "red"}
RECENT_S = 10
"""The percentiles shown live are those of the last seconds; the summary has the whole."""
LINE_EVERY_S = 5
"""Where no terminal redraws: a line now and then."""


class RunView:
    """A live picture on terminals, a line every few seconds elsewhere."""

    def __init__(self, console: Console, *, live: bool) -> None:
        self._console = console
        self._live = (
            Live(console=console, auto_refresh=False, transient=True)
            if live and console.is_terminal
            else None
        )

    def __enter__(self) -> RunView:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, progress: Progress) -> None:
        """Draw the present of a run."""
        if self._live:
            self._live.update(_picture(progress, self._console.width), refresh=True)
        elif (progress.rows[-1].second + 1) % LINE_EVERY_S == 0:
            self._console.print(_line(progress), highlight=False, markup=False)


def _recent(rows: Sequence[Second]) -> Histogram:
    whole = Histogram()
    for row in rows[-RECENT_S:]:
        whole.add(row.response)
    return whole


def _line(progress: Progress) -> str:
    last = progress.rows[-LINE_EVERY_S:]
    counts = {name: sum(getattr(row, name) for row in last) / len(last) for name in STYLES}
    times = _recent(progress.rows)
    spoken = "  ".join(f"{name} {value:.0f}/s" for name, value in counts.items())
    cause = progress.sight.diagnosis.cause if progress.sight.diagnosis else None
    told = f"  p50 {times.percentile_ms(50):.0f} ms  p99 {times.percentile_ms(99):.0f} ms"
    return (
        f"{progress.rows[-1].second + 1:5d} s  {spoken}"
        + (told if times.total else "")
        + (f"  ledger: {cause}" if cause else "")
    )


def _picture(progress: Progress, width: int) -> RenderableType:
    rows = progress.rows
    numbers = Table(box=None, padding=(0, 1), show_header=False)
    bars = max(width - 34, 10)
    for name, style in STYLES.items():
        series = [float(getattr(row, name)) for row in rows]
        numbers.add_row(
            f"{name}/s",
            Text(f"{series[-1]:.0f}", style=style, justify="right"),
            Text(sparkline(series, bars), style=style),
        )
    numbers.add_row("in flight", Text(str(rows[-1].in_flight), justify="right"), "")
    times = _recent(rows)
    if times.total:
        spoken = "   ".join(f"p{p} {times.percentile_ms(p):.1f} ms" for p in (50, 90, 95, 99))
        numbers.add_row("answered in", "", Text(spoken))
    numbers.add_row("generator", Text(f"{rows[-1].cpu_ratio:.0%}", justify="right"), "of a core")
    done, of = rows[-1].second + 1, progress.pace.seconds
    parts: list[RenderableType] = [Panel(numbers, title=_where(done, of), title_align="left")]
    if progress.sight.diagnosis is not None:
        ledger = ledger_table(progress.sight.diagnosis, brief=True)
        parts.append(Panel(ledger, title="ledger", title_align="left"))
    if progress.stopped:
        parts.append(Text(f"stopping: {progress.stopped}", style="bold red"))
    return Group(*parts)


def _where(done: int, of: float) -> str:
    if done <= of:
        return f"{done} of {of:.0f} s"
    return f"{of:.0f} s are over; the last users finish"


# -- the summary


def bar_words(bar: Bar, value: float | None) -> str:
    """A bar's value in its own unit.

    >>> from premortem.load.bars import parse_bar
    >>> bar_words(parse_bar("failed<0.1%"), 0.0213), bar_words(parse_bar("p99<300ms"), 41.26)
    ('2.13 %', '41.3 ms')
    """
    if value is None:
        return "nothing"
    if bar.what in ("failed", "refused", "served"):
        return f"{value * 100:.3g} %"
    return f"{value:.4g}/s" if bar.what == "served/s" else f"{value:.3g} ms"


def _judged_line(judged: Judged) -> Text:
    mark, style = ("✓", "green") if judged.held else ("✗", "bold red")
    where = f" (worst from second {judged.second})" if judged.second is not None else ""
    note = f"; {judged.note}" if judged.note else ""
    text = f"{mark} {judged.bar.text}: {bar_words(judged.bar, judged.value)}{where}{note}"
    return Text(text, style=style)


def print_run(console: Console, run: Run) -> None:
    """The whole run in ten lines: what became of the users, how long they waited, the bars."""
    tally = run.result.tally
    offered = tally.total("offered")
    names = ("served", "refused", "failed", "unfinished", "not_started")
    counts = ", ".join(f"{tally.total(n)} {n.replace('_', ' ')}" for n in names if tally.total(n))
    console.print(
        f"{offered} users in {run.seconds:g} s: {counts or 'none answered'}", highlight=False
    )
    response = tally.response()
    if response.total:
        shown = ", ".join(f"p{p} {response.percentile_ms(p):.1f} ms" for p in (50, 90, 95, 99))
        console.print(
            f"answered in {shown}, at most {response.percentile_ms(100):.1f} ms", highlight=False
        )
    for why, count in tally.errors.most_common(3):
        console.print(f"  {count} x {why}", highlight=False, markup=False)
    if run.diagnosis is not None:
        _print_cause(console, run.diagnosis)
    for judged in run.judged:
        console.print(_judged_line(judged))
    if run.stopped is not None:
        console.print(Text(f"stopped itself: {run.stopped}", style="bold red"))
    if run.invalid is not None:
        console.print(
            Text(f"invalid: {run.invalid}; the figures are not the site's", style="bold red")
        )


def _print_cause(console: Console, diagnosis: Diagnosis) -> None:
    if diagnosis.cause is None:
        console.print("ledger: no cause was confirmed", highlight=False)
        return
    verdict = next(v for v in diagnosis.ledger if v.cause == diagnosis.cause)
    console.print(
        f"ledger: {diagnosis.cause} ({diagnosis.tier}): {verdict.because}",
        highlight=False,
        markup=False,
    )


def print_windows(
    console: Console, names_ms: Mapping[str, Mapping[str, float | int | None]]
) -> None:
    """A table of the requests by name."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("request", "count", "p50 ms", "p95 ms", "p99 ms", "max ms"):
        table.add_column(column, justify="left" if column == "request" else "right")
    for name, figures in names_ms.items():
        cells = [figures.get(key) for key in ("count", "p50", "p95", "p99", "max")]
        table.add_row(name, *("" if c is None else f"{c:g}" for c in cells))
    console.print(table)
