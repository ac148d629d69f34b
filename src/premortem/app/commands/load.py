"""``premortem load``: send users to a site, find its knee, compare releases."""

from __future__ import annotations

from cyclopts import App

from premortem.app.commands.load_agent import load_agent
from premortem.app.commands.load_compare import load_compare
from premortem.app.commands.load_export import app as load_export
from premortem.app.commands.load_import import app as load_import
from premortem.app.commands.load_report import load_report
from premortem.app.commands.load_run import load_run
from premortem.app.commands.load_schedule import load_schedule
from premortem.app.commands.load_search import load_search

__all__ = ["app"]

app = App(
    name="load",
    help="""Load-test a site: what it bears, what saturates first, whether a release lowered it.

Example: premortem load run http://127.0.0.1:8000/ --rate 50 --seconds 30
""",
)

app.command(load_run, name="run")
app.command(load_search, name="search")
app.command(load_compare, name="compare")
app.command(load_report, name="report")
app.command(load_schedule, name="schedule")
app.command(load_agent, name="agent")
app.command(load_export)
app.command(load_import)
