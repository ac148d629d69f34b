"""``premortem drill surge --cluster``: the seeds' surge on a cluster, guarded; no restart."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from premortem.app.commands._cluster_drill import (
    EVERYWHERE,
    Asked,
    Wanted,
    perform,
    rehearse,
)

if TYPE_CHECKING:
    from premortem.app.drill_view import DrillView
    from premortem.drills.calibrate import Trial, TrialResult
    from premortem.drills.cluster_play import Plan
    from premortem.drills.cluster_stack import ClusterStack
    from premortem.drills.cluster_surge import Knee
    from premortem.drills.stack import SiteProcesses
    from premortem.pipeline import Tick

__all__ = ["surge"]


def surge(asked: Asked = EVERYWHERE) -> int:
    """Play the seeds' surge on a guarded site on a cluster; at minute 120 switch over.

    Three times what the site can do arrives; the guard refuses the excess politely; where the
    seeds restarted their database the primary moves instead. Takes three minutes. Exit code 1 when
    more than 1 % of the users fail, writes are silent for more than 3 s at the switchover, an
    acknowledged write is lost, or the database is not named within 10 s.

    Example: premortem drill surge --cluster
    """
    wanted = Wanted("surge", asked)

    async def work(view: DrillView, where: Path) -> dict[str, Any]:
        async def ready(stack: ClusterStack) -> tuple[Plan, Mapping[str, Any]]:
            from premortem.drills.cluster_surge import surge_plan  # noqa: PLC0415

            view.stage("looking for the knee: raising the arrival rate until answers do not follow")
            knee = await _knee(stack, view, asked.seed)
            text = f"knee: {knee.rps:.0f} requests/s, {knee.users_per_s:.0f} users/s"
            view.stage(f"{text}; the surge is three times that")
            plan = surge_plan(knee, asked.seed)
            return plan, _about(knee, plan)

        return await rehearse(wanted, ready, view, where, watch=_watch, pinned=True)

    return perform(wanted, work)


def _about(knee: Knee, plan: Plan) -> dict[str, Any]:
    calm, ramp, hold, _ = (float(s["seconds"]) for s in plan.pace)
    return {
        "title": "The seeds' surge on a cluster",
        "what": "Three times what the site can do arrives; at the seeds' minute 120 the primary "
        "moves instead of being restarted.",
        "zero": "the start of the ramp",
        "to_name": (),
        "to_name_tier": "database",
        "knee_rps": round(knee.rps, 1),
        "knee_users_per_s": round(knee.users_per_s, 1),
        "hold_s": [ramp, ramp + hold],
        "calm_s": calm,
    }


async def _knee(stack: ClusterStack, view: DrillView, seed: int) -> Knee:
    from premortem.drills.cluster_surge import CAP, quick_knee  # noqa: PLC0415
    from premortem.drills.trial import perform as perform_trial  # noqa: PLC0415

    async with stack.serve("pooler", CAP) as site:

        async def perform(trial: Trial) -> TrialResult:
            result = await perform_trial(stack, site.url, trial, seed)
            view.trial(result)
            return result

        return await quick_knee(perform)


def _watch(stack: ClusterStack, web: SiteProcesses) -> AsyncGenerator[Tick, None]:
    """The watch over a guarded site on a cluster: it may do what it does in any rehearsal."""
    from premortem.app.assemble import new_pipeline, remedies  # noqa: PLC0415
    from premortem.app.drill import DRILL_POLICY  # noqa: PLC0415
    from premortem.app.loop import Watch  # noqa: PLC0415
    from premortem.drills.cluster_faults import move  # noqa: PLC0415
    from premortem.drills.cluster_surge import CAP  # noqa: PLC0415
    from premortem.remedies.switchover import ClusterHands  # noqa: PLC0415

    hands = ClusterHands(web.url, web.token, None, CAP, move(stack))
    sources = stack.sources(web, guarded=True)
    return Watch(sources, new_pipeline(), DRILL_POLICY, remedies(), hands).ticks()
