"""The page a drill leaves behind: one HTML file that needs nothing else, not even a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from premortem.drills.charts import NARROW, WIDE, draw
from premortem.incidents.document import to_html
from premortem.incidents.figures import Figure
from premortem.incidents.picture import Frame, frame_of
from premortem.incidents.postmortem import compose, source_of
from premortem.incidents.record import AS_IT_HAPPENED, PROTECTED, Record
from premortem.incidents.side_by_side import Row, run_of, side_by_side

__all__ = ["Row", "RunRecord", "render", "side_by_side", "with_result"]

RunRecord = Record
"""A run as the drill hands it over; :func:`with_result` adds its figures."""

TITLES = {AS_IT_HAPPENED: "As it happened", PROTECTED: "With premortem"}

LEADS = {
    AS_IT_HAPPENED: "Nothing stands in front of the database. "
    "The operators do what the postmortem says, at its minutes.",
    PROTECTED: "The same surge on the same site, with its guard, its pool and the watch.",
}


LEDGERS = {
    AS_IT_HAPPENED: "The ledger premortem kept unseen, when it named a cause",
    PROTECTED: "The ledger when the cause was named",
}

KINDS = (
    "phase", "signal", "verdict", "diagnosis", "proposed", "acted", "effect", "operator",
    "resolved",
)  # fmt: skip
"""Kinds of event the page colours; any other looks like a note."""


@dataclass(frozen=True, slots=True)
class Part:
    """What became of a share of the surge's users."""

    name: str
    share: float
    text: str


@dataclass(frozen=True, slots=True)
class Card:
    """The outcome of one run in one number and one bar."""

    title: str
    parts: tuple[Part, ...]

    @property
    def failed(self) -> str:
        return self.parts[-1].text

    @property
    def harmed(self) -> bool:
        return self.parts[-1].share > 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line of the ledger, in words and with the class that colours it."""

    cause: str
    tier: str
    state: str
    words: str
    because: str
    check: str
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """All that the page shows of one run."""

    mode: str
    title: str
    lead: str
    ledger_title: str
    wide: Markup
    narrow: Markup
    told: str
    ledger: tuple[Verdict, ...]
    events: tuple[tuple[str, str, str, str], ...]
    postmortem: Markup


def with_result(run: RunRecord, result: Mapping[str, Any]) -> Record:
    """The run with its figures from ``result.json``: what its postmortem is drafted from."""
    return replace(
        run,
        scenario=str(result.get("scenario") or run.scenario),
        result={**run.result, **run_of(result, run.mode)},
        knee_rps=result.get("knee_rps", run.knee_rps),
        speed_min_per_s=result.get("speed_min_per_s", run.speed_min_per_s),
    )


def render(result: Mapping[str, Any], runs: Sequence[RunRecord]) -> str:
    """The report as one HTML document. A run without data is shown as one without data."""
    records = [with_result(run, result) for run in runs]
    frame = frame_of(records)
    page = _environment().get_template("report.html.j2")
    return page.render(
        scenario=str(result.get("scenario") or "site"),
        cards=_cards(result),
        known_kinds=KINDS,
        setting=_setting(result),
        rows=side_by_side(result),
        sections=[_section(record, frame) for record in records],
    )


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("premortem.drills"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _cards(result: Mapping[str, Any]) -> list[Card]:
    """What became of the surge's users, a card a run; a run without shares has none."""
    runs = ((title, run_of(result, mode)) for mode, title in TITLES.items())
    return [Card(title, _parts(run)) for title, run in runs if _parts(run)]


def _parts(run: Mapping[str, Any]) -> tuple[Part, ...]:
    shares = {n: run.get(f"users_{n}_share_in_surge") for n in ("served", "refused", "failed")}
    told = {name: float(share) for name, share in shares.items() if share is not None}
    if len(told) < len(shares):
        return ()
    return tuple(Part(n, share, str(Figure(share, "%", ""))) for n, share in told.items())


def _setting(result: Mapping[str, Any]) -> str:
    """What the drill was, in one sentence of its own figures."""
    run = run_of(result, PROTECTED) or run_of(result, AS_IT_HAPPENED)
    knee, offered = result.get("knee_rps"), run.get("surge_offered_rps")
    if not knee or offered is None:
        return ""
    return (
        f"This machine's site and database answer up to {Figure(knee, 'requests/s', '')}. "
        f"The surge asked for {Figure(offered, 'requests/s', '')}, "
        f"{Figure(offered / knee, 'times', '')} as many."
    )


def _section(run: Record, frame: Frame) -> Section:
    return Section(
        mode=run.mode,
        title=TITLES.get(run.mode, run.mode),
        lead=LEADS.get(run.mode, ""),
        ledger_title=LEDGERS.get(run.mode, "The ledger"),
        wide=Markup(draw(run, frame, WIDE)),
        narrow=Markup(draw(run, frame, NARROW)),
        told=_told(run),
        ledger=_ledger(run),
        events=_events(run),
        postmortem=Markup(to_html(compose(run), top=3)),
    )


def _told(run: Record) -> str:
    """The picture in words, for those who cannot see it."""
    totals = {n: sum(row.get(n, 0) for row in run.seconds) for n in ("served", "refused", "failed")}
    if not run.seconds:
        return "Nothing was recorded."
    counts = ", ".join(f"{total:,.0f} {name}" for name, total in totals.items())
    return f"Users per second, database sessions and the ledger over time. In all: {counts}."


def _ledger(run: Record) -> tuple[Verdict, ...]:
    order = ("confirmed", "suspected", "cannot_exclude", "ruled_out")
    found = sorted(run.final_ledger, key=lambda v: order.index(v.state))
    return tuple(
        Verdict(
            v.cause, v.tier, v.state, v.state.replace("_", " "), v.because, v.check,
            tuple(f"{e.metric}: {e.note}" for e in v.evidence),
        )
        for v in found
    )  # fmt: skip


def _events(run: Record) -> tuple[tuple[str, str, str, str], ...]:
    return tuple(
        (f"{run.offset_s(e.at):+.1f} s", e.kind, e.text, source_of(e)) for e in run.ordered()
    )
