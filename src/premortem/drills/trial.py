"""One short run of a drill's users against its site, and what it brought."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from premortem.drills.calibrate import Trial, TrialResult
from premortem.drills.clients import Clients, poisson
from premortem.drills.play import journey_of
from premortem.drills.stack import Layout
from premortem.engines.leash import Leash

__all__ = ["Stage", "perform", "trial_result"]


class Stage(Protocol):
    """What a trial needs of the stack it runs on: one server's, or a cluster's."""

    scenario: str
    folder: Path
    layout: Layout
    leash: Leash


async def perform(stage: Stage, url: str, trial: Trial, seed: int) -> TrialResult:
    """Let the trial's users come to ``url``."""
    clients = await Clients.start(
        base_url=url,
        journey=journey_of(stage.scenario),
        pace=[poisson(trial.seconds, trial.users_per_s)],
        folder=stage.folder,
        name=f"trial-{secrets.token_hex(4)}",
        seed=seed,
        start_at=None,
        cpus=stage.layout.clients,
        leash=stage.leash,
    )
    return trial_result(trial, clients.rows, await clients.finish())


def trial_result(
    trial: Trial, rows: Sequence[Mapping[str, Any]], final: Mapping[str, Any]
) -> TrialResult:
    """What a trial brought, from the load engine's lines; its first second warms up."""
    goodputs = tuple(float(r["requests_ok"]) for r in rows if 1 <= r["second"] < trial.seconds)
    return TrialResult(
        trial=trial,
        offered_users_per_s=final["offered"] / trial.seconds,
        goodput_rps=median(goodputs) if goodputs else 0.0,
        requests=final["requests_ok"],
        users=final["offered"],
        served=final["served"],
        goodputs=goodputs,
    )
