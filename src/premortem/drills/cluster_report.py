"""What a cluster drill leaves behind: a table, a page and a postmortem, from its result alone.

A sentence is written only where the result holds its figures. Pure but for reading the template.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from premortem.drills.charts import NARROW, WIDE, draw
from premortem.incidents.document import (
    Block,
    Bullets,
    Heading,
    Paragraph,
    Table,
    to_html,
    to_markdown,
)
from premortem.incidents.figures import Figure
from premortem.incidents.picture import frame_of
from premortem.incidents.record import Record, utc
from premortem.model import Event

__all__ = ["page", "postmortem", "rows", "told"]

Result = Mapping[str, Any]

EVENTS_MAX = 80
KINDS = ("phase", "diagnosis", "proposed", "acted", "effect", "operator", "resolved")
"""Of a drill's events those that a timeline needs; signals and verdicts are in the recording."""

STATES = ("confirmed", "suspected", "cannot_exclude", "ruled_out")

DOORS = {
    "pooler": "through the pooler, which holds clients while the primary changes",
    "proxy": "straight through the proxy, which holds nobody",
}


def rows(result: Result) -> list[tuple[str, str]]:
    """(what, how much) of the figures that people ask for first."""
    said: list[tuple[str, str | None]] = [
        ("longest silence between acknowledged writes", _of(result, "gap_s", "s")),
        (f"users since {result['zero']}", _of(result, "users_offered", "users")),
        ("  of them failed", _share(result, "failed")),
        ("  refused politely", _share(result, "refused") if result.get("cap") else None),
        ("first user failed after", _of(result, "first_failure_s", "s") or "nobody failed"),
        ("request attempts that failed", _of(result, "attempts_failed", "")),
        ("writes that failed", _of(result, "write_errors", "")),
        ("orders acknowledged / lost", _pair(result, "orders")),
        ("writes acknowledged / lost", _pair(result, "writes")),
        ("rows taken by two servers at once", _of(result, "rows_by_two", "")),
        ("first warning after", _of(result, "detected_s", "s")),
        ("cause named after", _named(result)),
        ("primary", _moved(result)),
        ("all servers in order again after", _of(result, "redundant_again_s", "s")),
        ("answered in, median / 99th", _answered(result)),
        ("goodput in the surge", _goodput(result)),
    ]
    return [(label, value) for label, value in said if value is not None]


def _of(result: Result, name: str, unit: str) -> str | None:
    value = result.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if unit == "s":
        return f"{value:.2f} s"
    return str(Figure(float(value), unit, "result"))


def _share(result: Result, name: str) -> str | None:
    count, share = result.get(f"users_{name}"), result.get(f"users_{name}_share")
    if count is None or share is None:
        return None
    return f"{count:.0f} ({Figure(share, '%', '')})"


def _pair(result: Result, name: str) -> str | None:
    if result.get(f"{name}_acknowledged") is None:
        return None
    return f"{result[f'{name}_acknowledged']:,} / {result[f'{name}_lost']:,}"


def _named(result: Result) -> str | None:
    said = [f"{cause} at +{at:.1f} s" for at, cause, _ in result.get("named", ())]
    return ", then ".join(dict.fromkeys(said)) or "never"


def _moved(result: Result) -> str | None:
    before, after = result.get("from"), result.get("to")
    if before and after:
        return f"{before} → {after}"
    return str(before) if before else None


def _answered(result: Result) -> str | None:
    known = result.get("response_ms") or {}
    if known.get("p50") is None:
        return None
    return f"{known['p50']:.0f} / {known['p99']:.0f} ms"


def _goodput(result: Result) -> str | None:
    done, knee = result.get("goodput_rps"), result.get("knee_rps")
    if done is None or not knee:
        return None
    return f"{done:.0f} requests/s ({Figure(done / knee, '%', '')} of the knee found before)"


# -- the postmortem


def postmortem(result: Result, record: Record) -> str:
    """The drill's postmortem as Markdown, in the order of sections of the seeds."""
    return to_markdown(_blocks(result, record))


def _blocks(result: Result, record: Record) -> list[Block]:
    judged = [b for b in result["bars"] if not b["met"]]
    return [
        Heading(
            1, f"Postmortem: {result['title'].lower()}, {utc(record.ramp_at):%Y-%m-%d} (drill)"
        ),
        Heading(2, "Issue Summary"),
        *(Paragraph(text) for text in _summary(result) if text),
        Heading(2, "Timeline"),
        Paragraph(f"Offsets count from {result['zero']}; clock times are UTC."),
        Table(("Offset", "UTC", "Event", "Source"), tuple(_timeline(record))),
        Heading(2, "Root Cause and Resolution"),
        *_cause(result, record),
        Heading(2, "Corrective and Preventative Measures"),
        *_measures(result, judged),
    ]


def _summary(result: Result) -> Iterator[str]:
    yield (
        f"{result['title']} while users came to a real site on a cluster of three servers, "
        f"{DOORS[result['door']]}. Servers, cluster and fault were real; the users were a load "
        "generator."
    )
    gap = _of(result, "gap_s", "s")
    lost = [
        f"{result[f'{n}_lost']} of {result[f'{n}_acknowledged']} acknowledged {n}"
        for n in ("orders", "writes")
        if result.get(f"{n}_acknowledged") is not None
    ]
    yield f"Writes were silent for {gap} at most; lost were {' and '.join(lost)}."
    if result.get("users_offered"):
        yield (
            f"Of {result['users_offered']:.0f} users who came since {result['zero']} "
            f"{_share(result, 'served')} were served and {_share(result, 'failed')} failed."
        )
    if not result["clients_valid"]:
        yield f"The load generator itself was in trouble: {result['clients_reason']}."


def _timeline(record: Record) -> Iterator[tuple[str, str, str, str]]:
    shown = [e for e in record.ordered() if e.kind in KINDS][:EVENTS_MAX]
    for event in shown:
        offset = record.offset_s(event.at)
        yield f"{offset:+.1f} s", f"{utc(event.at):%H:%M:%S}", event.text, _source(event)


def _source(event: Event) -> str:
    return f"{event.kind}, {event.who}"


def _cause(result: Result, record: Record) -> Iterator[Block]:
    yield Paragraph(f"The cause was made: {result['what']}")
    yield Paragraph(f"The ledger named: {_named(result)}.")
    facts = tuple(
        f"`{e.metric}`: {e.note}"
        for v in record.final_ledger
        if v.state == "confirmed"
        for e in v.evidence
    )
    if facts:
        yield Bullets(facts)
    moved, again = _moved(result), _of(result, "redundant_again_s", "s")
    if result.get("to"):
        yield Paragraph(f"The primary moved: {moved}.")
    if again:
        yield Paragraph(f"All servers were in order again after {again}.")


def _measures(result: Result, missed: list[Mapping[str, Any]]) -> Iterator[Block]:
    command = f"`premortem drill {result['drill']} --cluster`"
    if not missed:
        yield Paragraph(f"Nothing to mend: every bar was met. {command} repeats the proof.")
        return
    yield Table(
        ("What must change", "Measured", "Bar", "Closed by"),
        tuple((b["text"], told(b["value"], b["unit"]), told(b["most"], b["unit"]), command)
              for b in missed),
    )  # fmt: skip


def told(value: object, unit: str) -> str:
    """A bar's figure with its unit.

    >>> told(0.0123, "%"), told(1.234, "s"), told(3, "users"), told(None, "s")
    ('1.2 %', '1.23 s', '3 users', 'never')
    """
    if not isinstance(value, int | float):
        return "not measured" if unit != "s" else "never"
    if unit == "s":
        return f"{value:.2f} s"
    return str(Figure(float(value), unit, "")) if unit == "%" else f"{value:,.0f} {unit}"


# -- the page


def page(result: Result, record: Record) -> str:
    """The drill as one HTML document that needs nothing else, not even a script."""
    frame = frame_of([record])
    environment = Environment(
        loader=PackageLoader("premortem.drills"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    wide, narrow = (_counted(draw(record, frame, s), result["zero"]) for s in (WIDE, NARROW))
    return environment.get_template("cluster.html.j2").render(
        result=result,
        rows=rows(result),
        bars=[
            {**b, "measured": told(b["value"], b["unit"]), "bar": told(b["most"], b["unit"])}
            for b in result["bars"]
        ],
        door=DOORS[result["door"]],
        wide=Markup(wide),
        narrow=Markup(narrow),
        ledger=sorted(record.final_ledger, key=lambda v: STATES.index(v.state)),
        postmortem=Markup(to_html(_blocks(result, record), top=2)),
    )


def _counted(svg: str, zero: str) -> str:
    """The picture counts from the ramp of a surge; most drills here have none."""
    return svg.replace("seconds from the start of the ramp", f"seconds from {zero}")
