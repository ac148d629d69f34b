"""Results of load tests as documents: made from a run or a search, written, kept in the store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from premortem.app.diagnose import verdict_dict
from premortem.app.load_run import Run
from premortem.app.load_target import Aim
from premortem.app.load_view import bar_words
from premortem.load.bars import Judged
from premortem.load.compare import comparability
from premortem.load.outputs.document import FORMAT, cleaned
from premortem.load.pace import Pacer
from premortem.model import Diagnosis
from premortem.store import Store

__all__ = ["document_of_run", "head", "keep", "ledger", "write_json", "write_text"]


def head(
    kind: str, aim: Aim, made_at: float, conditions: Mapping[str, object], release: str | None
) -> dict[str, Any]:
    """What every document begins with."""
    return {
        "premortem_load": FORMAT,
        "kind": kind,
        "site": aim.name,
        "url": aim.url,
        "release": release,
        "made_at": round(made_at, 3),
        "conditions": dict(conditions),
        "comparability": comparability(conditions),
    }


def document_of_run(
    aim: Aim, pace: Pacer, run: Run, made_at: float, release: str | None
) -> dict[str, Any]:
    """Everything a run showed."""
    tally = run.result.tally
    conditions = {**aim.conditions(), "pace": repr(pace)}
    found = {
        **head("run", aim, made_at, conditions, release),
        "seconds": run.seconds,
        "verdict": run.verdict,
        "invalid": run.invalid,
        "stopped": run.stopped,
        "bars": [_judged(j) for j in run.judged],
        "ledger": ledger(run.diagnosis),
        "final": run.result.line(),
        "rows": [tally.seconds[second].line() for second in sorted(tally.seconds)],
    }
    result: dict[str, Any] = cleaned(found)
    return result


def _judged(judged: Judged) -> dict[str, Any]:
    return {
        "text": judged.bar.text,
        "value": judged.value,
        "words": bar_words(judged.bar, judged.value),
        "held": judged.held,
        "second": judged.second,
        "note": judged.note,
    }


def ledger(diagnosis: Diagnosis | None) -> dict[str, Any] | None:
    """What the watch held, of the causes it could say something about."""
    if diagnosis is None:
        return None
    return {
        "cause": diagnosis.cause,
        "tier": diagnosis.tier,
        "ruled_out": list(diagnosis.ruled_out_tiers()),
        "verdicts": [verdict_dict(v) for v in diagnosis.ledger if v.state != "cannot_exclude"],
    }


def write_text(path: Path, flag: str, text: str) -> None:
    """Write a file of the user's choice. Raises ``ValueError`` with one line."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{flag} {path}: {error.strerror or error}") from None


def write_json(path: Path, flag: str, document: Mapping[str, Any]) -> None:
    """Write a document."""
    write_text(path, flag, json.dumps(document, allow_nan=False) + "\n")


def keep(history: Path | None, site: str, made_at: float, document: Mapping[str, Any]) -> None:
    """Add a result to the site's series in the store, without its rows."""
    if history is None:
        return
    slim = {key: value for key, value in document.items() if key != "rows"}
    with Store.open(history) as store:
        store.add_load_run(site, made_at, slim)
