"""The chapter on why: cause, evidence, ledger, what people believed, what was done. Pure."""

from __future__ import annotations

from premortem.incidents.document import Block, Bullets, Paragraph, Table
from premortem.incidents.figures import Facts, fill
from premortem.incidents.lifecycle import fold, hypotheses, remedied
from premortem.incidents.record import Record
from premortem.model import Verdict

__all__ = ["root_cause"]


def root_cause(record: Record, held: Facts) -> list[Block]:
    """The blocks of the chapter; a part of which the record holds nothing is left out."""
    return [
        Paragraph(_named(record, held)),
        *_why(held),
        *_evidence(record, held),
        *_ledger(record, held),
        *_beliefs(record, held),
        *_acts(record, held),
        *_resolution(held),
    ]


def _named(record: Record, held: Facts) -> str:
    incident = fold(record.events)
    cause = record.result.get("cause") or incident.cause
    tier = record.result.get("tier") or incident.tier
    if not cause and not tier:
        return "No cause was named."
    what = f"The cause is `{cause}`" if cause else f"The cause lies in the {tier} tier"
    what += f", in the {tier} tier" if cause and tier else ""
    when = fill(", named at +{named_s}", held) or fill(", named at +{at.named}", held)
    return f"{what}{when} by {'the operators' if _unseen(record) else 'premortem'}."


def _why(held: Facts) -> list[Block]:
    sentences = (
        fill(
            "The surge asked for {surge_offered_rps}; "
            "the goodput of this site stops rising at {knee_rps}.",
            held,
        ),
        fill("The database held up to {sessions.peak}; it allows {sessions.max}.", held),
    )
    text = " ".join(s for s in sentences if s)
    return [Paragraph(text)] if text else []


def _unseen(record: Record) -> bool:
    """People led this run; premortem's ledger was kept beside it and shown to nobody."""
    return bool(hypotheses(record.events))


def _evidence(record: Record, held: Facts) -> list[Block]:
    facts_seen = tuple(
        f"`{e.metric}`: {e.note}"
        for verdict in record.final_ledger
        if verdict.state == "confirmed"
        for e in verdict.evidence
    )
    lead = "The evidence for it:"
    if _unseen(record):
        lead = "premortem's ledger, which nobody saw during this run, confirmed a cause"
        lead += fill(" at +{confirmed_s}", held) + ". Its evidence:"
    return [Paragraph(lead), Bullets(facts_seen)] if facts_seen else []


def _ledger(record: Record, held: Facts) -> list[Block]:
    """Every hypothesis with its verdict when the cause was named, and the observation behind it."""
    if not record.final_ledger:
        return []
    order = {"confirmed": 0, "suspected": 1, "cannot_exclude": 2, "ruled_out": 3}
    rows = sorted(record.final_ledger, key=lambda v: order[v.state])
    which = "unseen ledger at that moment" if _unseen(record) else "ledger when the cause was named"
    return [
        Paragraph(fill(f"The {which} ({{ruled_out}} ruled out):", held)),
        Table(
            ("Hypothesis", "Tier", "Verdict", "By which observation"), tuple(map(_verdict, rows))
        ),
    ]


def _verdict(verdict: Verdict) -> tuple[str, str, str, str]:
    seen = verdict.because
    if verdict.state == "cannot_exclude" and verdict.check:
        seen = f"{verdict.because} Next to check: {verdict.check}"
    return f"`{verdict.cause}`", verdict.tier, verdict.state.replace("_", " "), seen


def _beliefs(record: Record, held: Facts) -> list[Block]:
    believed = hypotheses(record.events)
    if not believed:
        return []
    rows = tuple(
        (
            h.tier,
            fill(f"+{{belief.{n}.from}} to +{{belief.{n}.to}}", held),
            str(held[f"belief.{n}.minutes"]),
            f"wrong: {h.because}" if h.wrong else "right",
        )
        for n, h in enumerate(believed)
    )
    clock = "on the replayed clock" if record.speed_min_per_s else "of real time"
    return [
        Paragraph(f"What the operators believed, in minutes {clock}:"),
        Table(("Hypothesis", "Held", "Minutes", "Verdict"), rows),
        Paragraph(fill("Lost to wrong hypotheses: {lost_minutes}.", held)),
    ]


def _acts(record: Record, held: Facts) -> list[Block]:
    done = remedied(record.events)
    if not done:
        idle = [Paragraph("Nothing was done to the running system.")] if record.events else []
        return [*idle, *_tried(record)]
    rows = []
    for n, act in enumerate(done):
        seen = [e.text for e in act.effects]
        served = fill(f"served {{act.{n}.before}} before, {{act.{n}.after}} after", held)
        effect = "; ".join([*seen, *([served] if served else [])]) or "not measured"
        rows.append((fill(f"+{{act.{n}.at}}", held), act.event.text, effect))
    return [
        Paragraph(fill("What was done, and what followed (means over {window_s}):", held)),
        Table(("Offset", "Act", "Effect"), tuple(rows)),
        *_tried(record),
    ]


def _tried(record: Record) -> list[Block]:
    """What was reported of remedies that were never applied."""
    owned = {id(effect) for act in remedied(record.events) for effect in act.effects}
    left = [e for e in record.ordered() if e.kind == "effect" and id(e) not in owned]
    if not left:
        return []
    return [Paragraph("Tried, but not done:"), Bullets(tuple(e.text for e in left))]


def _resolution(held: Facts) -> list[Block]:
    sentences = [_back(held), _writes(held)]
    text = " ".join(s for s in sentences if s)
    return [Paragraph(text)] if text else []


def _back(held: Facts) -> str:
    restarted = "restarts" in held and held["restarts"].value > 0
    if "recovered_s" in held:
        alone = "" if restarted else ", without a restart"
        if held["recovered_s"].value < 1:  # users are counted by the second
            return "Goodput was back in the second in which the surge ended" + alone + "."
        return fill("Goodput was back {recovered_s} after the surge ended" + alone + ".", held)
    if not restarted:
        return "The record shows no return to normal."
    outlived = fill(
        "The surge was over at +{at.surge_end}, but goodput did not come back before the "
        "restart at +{at.mitigated}: the overload kept itself alive.",
        held,
    )
    after = fill(
        "It was back {recovered_after_restart_s} after the restart: "
        "that is what ended it, not why it happened.",
        held,
    )
    still = "" if after else "The record shows no recovery after the restart either."
    return " ".join(s for s in (outlived, after, still) if s)


def _writes(held: Facts) -> str:
    if "writes_lost" not in held:
        return ""
    if held["writes_lost"].value == 0:
        return fill("None of the {writes_acknowledged} that were acknowledged was lost.", held)
    return fill("Of {writes_acknowledged} that were acknowledged, {writes_lost} were lost.", held)
