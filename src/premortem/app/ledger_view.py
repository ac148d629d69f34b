"""The ledger as a table for terminals. Imports nothing that a daemon would not want to carry."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from premortem.model import Diagnosis

__all__ = ["STATE_MARK", "STATE_STYLE", "ledger_table"]

STATE_STYLE = {
    "confirmed": "bold red",
    "suspected": "yellow",
    "ruled_out": "green",
    "cannot_exclude": "dim",
}
STATE_MARK = {"confirmed": "✗", "suspected": "?", "ruled_out": "✓", "cannot_exclude": "·"}
_ORDER = {state: place for place, state in enumerate(STATE_MARK)}


def ledger_table(diagnosis: Diagnosis | None, *, brief: bool = False) -> Table:
    """The hypotheses and what is held of each; ``brief`` hides what cannot be excluded."""
    table = Table(box=None, padding=(0, 1), show_header=False, expand=True)
    table.add_column(no_wrap=True, width=2)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="ellipsis", no_wrap=True, ratio=1)
    for v in sorted(diagnosis.ledger if diagnosis else (), key=lambda v: _ORDER[v.state]):
        if brief and v.state == "cannot_exclude":
            continue
        style = STATE_STYLE[v.state]
        named = diagnosis is not None and diagnosis.cause == v.cause
        name = Text(v.cause + (" ◀ named" if named else ""), style=style)
        state = Text(v.state.replace("_", " "), style=style)
        table.add_row(Text(STATE_MARK[v.state], style=style), name, state, v.because)
    return table
