"""The postmortem of a run, drafted from its record alone, in the section order of the seeds. Pure.

A sentence is a template with named figures; where the record lacks one of them the sentence is
not written. So the draft cannot state a number that nobody measured.
"""

from __future__ import annotations

from collections.abc import Iterator

from premortem.incidents.document import Block, Bullets, Heading, Paragraph, Table, to_markdown
from premortem.incidents.figures import (
    EVENTS_MAX,
    Facts,
    facts,
    fill,
    numbers_in,
    unsupported_numbers,
)
from premortem.incidents.lifecycle import fold, hypotheses
from premortem.incidents.measures import Measure, measures
from premortem.incidents.record import AS_IT_HAPPENED, Record, utc
from premortem.incidents.root_cause import root_cause
from premortem.incidents.severity import due, severity
from premortem.model import Event

__all__ = ["compose", "draft", "numbers_in", "source_of", "title", "unsupported_numbers"]


def draft(record: Record) -> str:
    """The postmortem as Markdown. A closing comment names where each of its figures comes from."""
    text = to_markdown(compose(record))
    return text + _appendix(text, facts(record))


def _appendix(text: str, held: Facts) -> str:
    stated = set(numbers_in(text))
    lines = [
        f"{figure} | {name} | {figure.source}"
        for name, figure in held.items()
        if not name.startswith("event.") and stated.intersection(numbers_in(str(figure)))
    ]
    listed = "\n".join(lines).replace("--", "- -")  # two dashes would end the comment
    return f"\n<!-- figures: value | name | source\n{listed}\n-->\n"


def compose(record: Record) -> list[Block]:
    """The postmortem as blocks, in exactly the order of sections the seeds have."""
    held = facts(record)
    found = measures(record)
    return [
        Heading(1, title(record)),
        Heading(2, "Issue Summary"),
        *(Paragraph(text) for text in _summary(record, held) if text),
        Heading(2, "Timeline"),
        *_timeline(record, held),
        Heading(2, "Root Cause and Resolution"),
        *root_cause(record, held),
        Heading(2, "Corrective and Preventative Measures"),
        *_measures(found),
        Heading(3, "List of tasks to address the issue"),
        *_tasks(record, found),
    ]


def title(record: Record) -> str:
    """What the document is called."""
    how = "as it happened" if record.mode == AS_IT_HAPPENED else "with premortem"
    return f"Postmortem: {record.scenario or 'site'}, {utc(record.ramp_at):%Y-%m-%d}, {how}"


def _join(*sentences: str) -> str:
    return " ".join(s for s in sentences if s)


def _summary(record: Record, held: Facts) -> Iterator[str]:
    yield _join(_when(record, held), _whom(held))
    yield _join(
        fill("On a calm day the site answers {baseline_goodput_rps}.", held),
        fill(
            "The surge asked for {surge_offered_rps}, {surge_over_knee} the knee of {knee_rps}.",
            held,
        ),
        fill(
            "Of the users who came during the surge {users_served_share_in_surge} were served, "
            "{users_refused_share_in_surge} refused and {users_failed_share_in_surge} failed.",
            held,
        ),
        fill(
            "Half of the answers took up to {p50_ms}, the slowest hundredth {p99_ms} or more.", held
        ),
    )
    yield _warning(held)
    yield _join(
        f"Severity: {severity(record).name}, because {severity(record).because}.",
        _drilled(record),
        fill("The operators' steps were replayed at {speed}.", held)
        if hypotheses(record.events)
        else "",
    )


def _drilled(record: Record) -> str:
    if not record.scenario:
        return ""
    return (
        "This was a drill: site, database and overload were real, the users were a load generator."
    )


def _when(record: Record, held: Facts) -> str:
    incident = fold(record.events)
    site = f"the {record.scenario} site" if record.scenario else "the site"
    if incident.opened_at is None:
        return f"The record holds no sign of trouble on {site}."
    start = f"On {utc(incident.opened_at):%Y-%m-%d}, from {utc(incident.opened_at):%H:%M:%S}"
    if incident.resolved_at is None:
        return f"{start} UTC on, {site} was in trouble; the record holds no recovery."
    return fill(
        f"{start} to {utc(incident.resolved_at):%H:%M:%S} UTC ({{lasted_s}}), "
        f"{site} was in trouble.",
        held,
    )


def _whom(held: Facts) -> str:
    came = fill(
        "Of {users.offered} who came from the start of the ramp on, {users.served} "
        "({share.served}) were served, {users.refused} ({share.refused}) were refused "
        "and told when to come back, ",
        held,
    )
    if not came:
        return "How many users were hit is not recorded."
    if held["users.failed"].value == 0:
        return came + "and no user failed."
    return came + fill(
        "and {users.failed} ({share.failed}) failed: a time-out, an error or a broken connection.",
        held,
    )


def _warning(held: Facts) -> str:
    if "detected_s" not in held:
        return fill(
            "The first user failed {first_failure_s} after the start of the ramp, unannounced.",
            held,
        )
    told = "The first warning came {detected_s} after the start of the ramp"
    if "warned_ahead_s" not in held:
        unharmed = "users.failed" in held and held["users.failed"].value == 0
        return fill(told + ("; no user failed after it." if unharmed else "."), held)
    if held["warned_ahead_s"].value > 0:
        return fill(told + ", {warned_ahead_s} before the first user failed.", held)
    return fill(
        told + "; the first user had failed at +{first_failure_s}, so it was no warning.", held
    )


# -- timeline


def _timeline(record: Record, held: Facts) -> list[Block]:
    shown = record.ordered()[:EVENTS_MAX]
    if not shown:
        return [Paragraph("The record holds no events.")]
    rows = tuple(
        (_signed(str(held[f"event.{n}"])), f"{utc(e.at):%H:%M:%S}", e.text, source_of(e))
        for n, e in enumerate(shown)
    )
    blocks: list[Block] = [
        Paragraph("Offsets count from the start of the ramp; clock times are UTC."),
        Table(("Offset", "UTC", "Event", "Source"), rows),
    ]
    if held["events.left_out"].value:
        blocks.append(Paragraph(fill("{events.left_out} more are in the record.", held)))
    return blocks


def _signed(offset: str) -> str:
    return offset if offset.startswith("-") else f"+{offset}"


def source_of(event: Event) -> str:
    """Where a line of the timeline comes from: who wrote it, and by which observation."""
    data = event.data
    match event.kind:
        case "signal":
            return f"{data.get('detector', 'detector')} on {data.get('metric', 'a metric')}"
        case "verdict" | "diagnosis":
            return f"{event.kind}, {event.who}"
        case "acted" | "proposed" | "effect":
            return f"{event.kind}, {data.get('remedy', event.who)}"
        case "operator":
            return f"{data.get('action', 'note')}, {event.who}"
        case _:
            return f"{event.kind}, {event.who}"


# -- measures and tasks


def _measures(found: tuple[Measure, ...]) -> list[Block]:
    if not found:
        return [Paragraph("The record gives no reason for a measure.")]
    return [Bullets(tuple(f"{m.why} → {m.task}." for m in found))]


def _tasks(record: Record, found: tuple[Measure, ...]) -> list[Block]:
    if not found:
        return [Paragraph("None.")]
    day = f"{due(record):%Y-%m-%d}"
    rows = tuple((m.task, m.kind, m.owner, day, m.priority, m.verified_by) for m in found)
    return [
        Table(("Task", "Kind", "Owner", "Due", "Priority", "Closed by"), rows),
        Paragraph(
            "A task is done when its command passes; "
            "a drill counts once it was red before and is green after."
        ),
    ]
