"""What the guard costs: a served request with and without it, and a refusal against an empty one.

``python -m benchmarks.guard [--json]``; the last line of output is one JSON object. The
application does nothing and there is no network, so the figures are the guard's own. Times are CPU
time of this process; ratios come from rounds in which the variants take turns, the spread is that
of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from statistics import median, quantiles
from time import process_time
from typing import Any

from premortem.guard import Guard, Settings
from premortem.guard.testing import Site, held

ROUNDS = 15
REQUESTS = 2_000
"""A round of one variant takes about 40 ms: long against the clock, short against the moods of
the machine."""
QUEUED = 200
"""Requests that wait in the queue at once, as many as it holds by default."""

SCOPE = {
    "type": "http",
    "method": "GET",
    "path": "/shop/7",
    "query_string": b"",
    "client": ("203.0.113.7", 4000),
    "headers": [(name, b"x") for name in (b"host", b"accept", b"user-agent", b"cookie")],
}
START = {"type": "http.response.start", "status": 200, "headers": []}
END = {"type": "http.response.body", "body": b""}
App = Callable[..., Awaitable[None]]


async def empty(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers at once with nothing."""
    await send(START)
    await send(END)


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: Any) -> None:
    pass


async def us_per_request(app: App) -> float:
    """Mean CPU time of a request to ``app`` in µs, over one round."""
    began = process_time()
    for _ in range(REQUESTS):
        await app(dict(SCOPE), _receive, _send)
    return 1e6 * (process_time() - began) / REQUESTS


async def us_per_queued(app: App) -> float:
    """Mean CPU time of a request that waits out the queue and is refused, its task included."""
    began = process_time()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(QUEUED):
            tasks.create_task(_one(app))
    return 1e6 * (process_time() - began) / QUEUED


async def _one(app: App) -> None:
    await app(dict(SCOPE), _receive_then_wait(), _send)


def _receive_then_wait() -> Callable[[], Awaitable[Any]]:
    first = iter((True,))

    async def receive() -> Any:
        if next(first, False):
            return await _receive()
        return await asyncio.get_running_loop().create_future()

    return receive


async def measure() -> dict[str, Any]:
    """All rounds, interleaved; a full site with no queue refuses every request."""
    site = Site()
    full = Guard(site, Settings(cap=1, queue_max=0))
    apps: dict[str, App] = {
        "bare": empty,
        "guarded": Guard(empty, Settings(cap=40)),
        "refused": full,
    }
    rounds: dict[str, list[float]] = {name: [] for name in apps}
    queueing_site = Site()
    queueing = Guard(queueing_site, Settings(cap=1, queue_max=QUEUED))
    rounds["queued_refused"] = []
    async with held(full, site), held(queueing, queueing_site):
        for app in apps.values():
            await us_per_request(app)  # warm-up
        for _ in range(ROUNDS):
            for name, app in apps.items():
                rounds[name].append(await us_per_request(app))
            rounds["queued_refused"].append(await us_per_queued(queueing))
    return report(rounds)


def report(rounds: dict[str, list[float]]) -> dict[str, Any]:
    """Medians in µs, and ratios with their quartiles."""
    costs = [g - b for g, b in zip(rounds["guarded"], rounds["bare"], strict=True)]
    ratios = [r / g for r, g in zip(rounds["refused"], rounds["guarded"], strict=True)]
    return {
        "benchmark": "guard",
        "rounds": ROUNDS,
        "requests_per_round": REQUESTS,
        "bare_us": round(median(rounds["bare"]), 2),
        "guarded_us": round(median(rounds["guarded"]), 2),
        "refused_us": round(median(rounds["refused"]), 2),
        "queued_refused_us": round(median(rounds["queued_refused"]), 2),
        "guard_cost_us": round(median(costs), 2),
        "guard_cost_us_quartiles": [round(q, 2) for q in quantiles(costs, n=4)],
        "refused_to_served_ratio": round(median(ratios), 3),
        "refused_to_served_ratio_quartiles": [round(q, 3) for q in quantiles(ratios, n=4)],
        "python": sys.version.split()[0],
    }


def main() -> None:
    """Print the figures in words (unless ``--json``) and as one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guard", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the JSON object only")
    wanted = parser.parse_args()
    figures = asyncio.run(measure())
    if not wanted.json:
        low, mid, high = figures["guard_cost_us_quartiles"]
        print(f"the guard adds {mid} µs a request (quartiles {low} to {high})")
        print(
            f"a refusal costs {figures['refused_us']} µs, "
            f"{figures['refused_to_served_ratio']} of an empty guarded request"
        )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
