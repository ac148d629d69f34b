"""`premortem drill fault`: break one thing on real servers and see whether it is named."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from premortem.app.assemble import new_pipeline, site_sources
from premortem.app.keep import Keeper
from premortem.app.loop import Watch, wall_clock
from premortem.drills.clients import Clients, poisson
from premortem.drills.cores import claimed
from premortem.drills.faults._deploys import Deploys
from premortem.drills.faults._fault import SiteKind
from premortem.drills.faults._path import own_network
from premortem.drills.play import journey_of
from premortem.drills.rehearse import Case, Played, Times, View, rehearse
from premortem.drills.rehearse_score import CaseScore, score_case
from premortem.drills.rehearse_stack import serve
from premortem.drills.sites import site as rehearsal_site
from premortem.drills.stack import Stack, layout, usable_cpus
from premortem.engines.errors import EngineError
from premortem.engines.leash import Leash
from premortem.pipeline import Tick
from premortem.sources._contract import Source
from premortem.sources.tcp import Tcp

__all__ = ["Bench", "Kept", "as_dict", "bench", "play_alone", "play_case"]

SCENARIO = "shop"
KNEE_USERS_PER_S = 120.0
"""Offered to find the knee: beyond what one core of PostgreSQL was ever seen to do here."""
KNEE_S = 5


@dataclass(frozen=True, slots=True)
class Bench:
    """A stack on which cases are played one after the other."""

    stack: Stack
    knee_users_per_s: float


@asynccontextmanager
async def bench(say: Callable[[str], None], *, own_net: bool = False) -> AsyncIterator[Bench]:
    """Start the database, find the knee, stop all at the end.

    ``own_net``: in a network namespace of its own, which a lossy path needs (root).
    """
    plan = layout(usable_cpus())
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # what a fault cancels is no news
    async with claimed(plan.all, lambda: say("another drill is under way: waiting for it")):
        with (
            own_network() if own_net else nullcontext(),
            Leash() as leash,
            scratch(leash) as folder,
        ):
            say(f"starting a PostgreSQL of its own and the {SCENARIO}")
            async with Stack.start(SCENARIO, folder, plan, leash=leash) as stack:
                knee = await _knee(stack)
                say(f"the knee is near {knee:.0f} users/s")
                yield Bench(stack, knee)


@contextmanager
def scratch(leash: Leash) -> Iterator[Path]:
    """A temporary folder that the leash removes even if we are killed."""
    path = Path(tempfile.mkdtemp(prefix="premortem-"))
    path.chmod(0o755)  # the database's unprivileged user must reach its folder below
    leash.hold_folder(path)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


async def _knee(stack: Stack) -> float:
    """Users per second that the guarded site serves of far too many: one short trial, ± 15 %."""
    async with serve(stack, SiteKind(), stack.layout) as site:
        clients = await Clients.start(
            base_url=site.web.url,
            journey=journey_of(SCENARIO),
            pace=[poisson(KNEE_S, KNEE_USERS_PER_S)],
            folder=stack.folder,
            name="knee",
            seed=1,
            start_at=None,
            cpus=stack.layout.clients,
            leash=stack.leash,
        )
        final = await clients.finish()
    rates = [r["requests_ok"] for r in clients.rows if 1 <= r["second"] < KNEE_S]
    if not rates or not final["requests_ok"]:
        raise EngineError("the rehearsal's site served nobody while its knee was sought")
    return float(median(rates)) / REQUESTS_PER_JOURNEY


REQUESTS_PER_JOURNEY = 1.9
"""1 + 0.45 + 0.45 * 0.55 + 0.45 * 0.55 * 0.80: the shop's funnel."""


@dataclass(slots=True)
class Kept:
    """What a case left: its ticks, and a recording where one was asked for."""

    played: Played
    score: CaseScore
    knee_users_per_s: float
    ticks: list[Tick] = field(default_factory=list)


async def play_case(
    on: Bench,
    case: Case,
    times: Times,
    *,
    recording: Path | None,
    say: Callable[[str], None],
    show: Callable[[Tick], None],
) -> Kept:
    """Play one case, keep its recording, score it. Raises ``EngineError`` or ``ClientsFailed``."""
    ticks: list[Tick] = []
    with Keeper(case.name, recording=recording, history=None) as keep:

        def take(tick: Tick) -> None:
            keep(tick)
            ticks.append(tick)
            show(tick)

        played = await rehearse(
            on.stack,
            case,
            times,
            make_watch,
            knee_users_per_s=on.knee_users_per_s,
            keep=take,
            say=say,
            clock=wall_clock(),
        )
    return Kept(played, score_of(case, played, ticks), on.knee_users_per_s, ticks)


async def play_alone(
    case: Case,
    *,
    recording: Path | None,
    say: Callable[[str], None],
    show: Callable[[Tick], None],
) -> Kept:
    """Start a stack for one case and play it. Raises ``EngineError`` or ``ClientsFailed``."""
    async with bench(say, own_net=case.fault.site.lossy_path) as on:
        return await play_case(on, case, Times(), recording=recording, say=say, show=show)


def score_of(case: Case, played: Played, ticks: list[Tick]) -> CaseScore:
    """The case's score by these ticks, live or replayed."""
    return score_case(
        ticks,
        case.fault.expects,
        onset=played.onset,
        until=played.until,
        first_failure=played.first_failure,
    )


def make_watch(view: View) -> AsyncGenerator[Tick, None]:
    """The watch over a case: what any site can be asked, and its changes."""
    web = view.site.web
    url = f"http://{view.probe_host}:{web.port}"
    sources: list[Source] = site_sources(
        url=url + rehearsal_site(SCENARIO).probe,
        dsn=view.stack.database.monitor_dsn,
        guard_url=web.url if view.guarded else None,
        guard_token=web.token if view.guarded else "",
        db_cores=len(view.plan.database) if view.plan.database else None,
        db_pid=lambda: view.stack.database.pid,
        web_pids=web.pids,
    )
    far = view.probe_host != "127.0.0.1"
    sources = [_along_the_path(s, view.probe_host) if far else s for s in sources]
    return Watch([*sources, Deploys(view.deploys)], new_pipeline()).ticks()


def _along_the_path(source: Source, host: str) -> Source:
    """Let the other port be reached as users reach the site's."""
    if isinstance(source, Tcp) and source.database is not None:
        return replace(source, database=(host, source.database[1]))
    return source


def as_dict(case: Case, kept: Kept) -> dict[str, Any]:
    """A case and its score for machines."""
    return {
        "fault": case.name,
        "seed": case.seed,
        "what": case.fault.words,
        "changing_traffic": case.changing,
        "expects": {"cause": case.fault.expects.cause, "tier": case.fault.expects.tier},
        "knee_users_per_s": round(kept.knee_users_per_s, 1),
        "onset": kept.played.onset,
        "until": kept.played.until,
        "first_failure": kept.played.first_failure,
        "users": kept.played.users,
        "users_failed": kept.played.failed,
        "score": kept.score.as_dict(),
    }
