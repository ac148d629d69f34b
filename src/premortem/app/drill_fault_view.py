"""The terminal while a fault is rehearsed: a line for each change of the ledger, then the score."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from premortem.app.drill_fault import Kept
from premortem.drills.faults import UNREHEARSED
from premortem.drills.rehearse import Case, case_of, fault_names
from premortem.model import Event
from premortem.pipeline import Tick

__all__ = ["FaultView", "fault_list"]

STYLES = {"confirmed": "bold red", "suspected": "yellow", "ruled_out": "green"}


class FaultView:
    """Prints what happens, with seconds since the watch began."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began: float | None = None

    def say(self, text: str) -> None:
        """A stage has begun."""
        self._console.print(f"▸ {text}", highlight=False)

    def tick(self, tick: Tick) -> None:
        """One second of the watch: only what changed, and of verdicts only what matters."""
        self._began = self._began or tick.now
        for event in tick.events:
            if event.kind in ("diagnosis", "signal") or _telling(event):
                line = f"  {tick.now - self._began:5.1f} s  {event.text}"
                self._console.print(line, style=_style(event), highlight=False)

    def score(self, case: Case, kept: Kept) -> None:
        """The table at the end."""
        score = kept.score
        table = Table(title=f"{case.name}, seed {case.seed}", title_justify="left")
        table.add_column("question")
        table.add_column("answer")
        table.add_row("what was broken", case.fault.words)
        table.add_row(
            "named", f"{score.named or 'nothing'} (the truth: {case.fault.expects.cause})"
        )
        table.add_row("the truth named after", _seconds(score.named_s))
        table.add_row("tier", f"{score.tier or 'none'} (the truth: {case.fault.expects.tier})")
        table.add_row("was the truth excluded?", "yes" if score.true_cause_ruled_out else "no")
        table.add_row("also confirmed", ", ".join(score.wrong_confirmed) or "nothing")
        table.add_row("first warning after", _seconds(score.warned_s))
        table.add_row("first user failed after", _seconds(score.first_failure_s))
        table.add_row("users", f"{kept.played.users}, of whom {kept.played.failed} failed")
        self._console.print(table)


def _telling(event: Event) -> bool:
    return event.kind == "verdict" and event.data.get("state") in ("confirmed", "suspected")


def _style(event: Event) -> str:
    if event.kind == "diagnosis":
        return "bold"
    return STYLES.get(str(event.data.get("state")), "")


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f} s"


def fault_list(console: Console) -> None:
    """Every fault with one of its kinds, and what is not rehearsed."""
    table = Table(title="faults", title_justify="left")
    table.add_column("name")
    table.add_column("tier")
    table.add_column("for example (seed 1)")
    for name in fault_names():
        case = case_of(name, 1)
        table.add_row(name, case.fault.expects.tier, case.fault.words)
    console.print(table)
    for name, why in UNREHEARSED.items():
        console.print(f"not rehearsed: {name}: {why}")
