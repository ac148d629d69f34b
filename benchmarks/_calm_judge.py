"""What premortem made of a piece of calm life: its recording in, counts out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from premortem.app.assemble import new_pipeline
from premortem.app.diagnose import read_recording, replay
from premortem.app.notify import Pager
from premortem.pipeline import Tick

__all__ = ["Piece", "figures", "judge_piece"]

AFTER_S = 15.0
"""What is heard this long after a happening is still counted as its echo."""


@dataclass(slots=True)
class Piece:
    """One piece, judged."""

    about: Mapping[str, Any]
    ticks: int = 0
    suspected: int = 0
    warned: int = 0
    pages: list[dict[str, Any]] = field(default_factory=list)
    confirmed: list[dict[str, Any]] = field(default_factory=list)
    """Each confirmation that began: cause, when in seconds from the start, why."""
    suspicions: list[tuple[float, str]] = field(default_factory=list)
    signals: list[tuple[float, str]] = field(default_factory=list)


def judge_piece(file: Path) -> Piece:
    """Judge the recording beside ``piece-N.json`` with the causes as they are now."""
    piece, pager = Piece(json.loads(file.read_text())), Pager()
    start, before = float(piece.about["start"]), frozenset[str]()
    with read_recording(file.with_suffix(".jsonl")) as lines:
        for tick in replay(lines, new_pipeline()):
            before = _take(piece, pager, tick, round(tick.now - start, 1), before)
    return piece


def _take(
    piece: Piece, pager: Pager, tick: Tick, t: float, before: frozenset[str]
) -> frozenset[str]:
    held = {v.cause: v for v in tick.diagnosis.ledger if v.state == "confirmed"}
    suspected = [v.cause for v in tick.diagnosis.ledger if v.state == "suspected"]
    piece.ticks += 1
    piece.suspected += bool(suspected)
    piece.warned += bool(tick.diagnosis.signals)
    piece.suspicions += [(t, cause) for cause in suspected]
    piece.signals += [(t, s.note) for s in tick.diagnosis.signals]
    piece.pages += [
        {"piece": piece.about["piece"], "t": t, "cause": notice.subject}
        for notice in pager.consider("calm", tick.diagnosis)
        if notice.kind == "page" and notice.step in ("opened", "again", "flapping")
    ]
    piece.confirmed += [
        {"piece": piece.about["piece"], "t": t, "cause": cause, "because": v.because}
        for cause, v in held.items()
        if cause not in before
    ]
    return frozenset(held)


def figures(pieces: Sequence[Piece]) -> dict[str, Any]:
    """All pieces together, and which bars they miss."""
    ticks = sum(p.ticks for p in pieces)
    users = Counter[str]()
    for piece in pieces:
        users.update(piece.about["users"])
    result = {
        "benchmark": "calm",
        "pieces": len(pieces),
        "minutes": round(sum(p.about["seconds"] for p in pieces) / 60, 1),
        "pages": sum(len(p.pages) for p in pieces),
        "wrong_confirmed": sum(len(p.confirmed) for p in pieces),
        "suspected_share": round(sum(p.suspected for p in pieces) / max(ticks, 1), 4),
        "warned_share": round(sum(p.warned for p in pieces) / max(ticks, 1), 4),
        "users": dict(users),
        "page_list": [page for p in pieces for page in p.pages],
        "confirmed_list": [one for p in pieces for one in p.confirmed],
        "events": [event for p in pieces for event in _events(p)],
    }
    missed = [name for name in ("pages", "wrong_confirmed") if result[name]]
    return result | {"missed": missed}


def _events(piece: Piece) -> Iterator[dict[str, Any]]:
    for event in piece.about["events"]:
        since, until = event["at_s"], event["until_s"] + AFTER_S
        heard = {c for t, c in piece.suspicions if since <= t <= until}
        named = {c["cause"] for c in piece.confirmed if since <= c["t"] <= until}
        notes = {note.split(" is ")[0] for t, note in piece.signals if since <= t <= until}
        yield {
            "piece": piece.about["piece"],
            "kind": event["kind"],
            "at_s": event["at_s"],
            "lasted_s": round(event["until_s"] - event["at_s"], 1),
            "suspected": sorted(heard),
            "confirmed": sorted(named),
            "signals": len(notes),
        }
