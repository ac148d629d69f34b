"""One attack: what to send where and at what pace, run here, and whether to believe the result.

As a process of its own::

    python -m premortem.load.attack --spec FILE.json

What ``FILE.json`` holds is in :mod:`premortem.load.spec`.

Standard output is JSON Lines: one row a second (``offered`` counts arrivals in that second,
``served``, ``refused`` and ``failed`` count journeys that ended in it), then one line with
``"final": true``, totals, percentiles and, under ``arrived``, what became of the users by the
second in which they arrived.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from premortem.load.engine import Engine
from premortem.load.pace import arrivals
from premortem.load.sockets import Unreachable, resolve
from premortem.load.spec import Attack, BadSpec, spec_from
from premortem.load.stats import Second, Tally

__all__ = ["Attack", "BadSpec", "Result", "attack", "main", "spec_from"]


GC_OBJECTS = 20_000
"""Between collections: the default of 700 comes a hundred times a second and finds nothing, as the
engine makes no cycles; journeys may."""
PR_SET_TIMERSLACK = 29
"""linux/prctl.h; its unit is nanoseconds."""


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured, and whether the generator kept its word."""

    tally: Tally
    started_at: float
    """Seconds since the epoch."""
    elapsed_s: float
    cpu_ratio: float
    """Mean over the run, of one core."""
    cpu_ratio_peak: float
    """Highest mean over three seconds."""
    reasons: tuple[str, ...]
    """Why the run is invalid; empty when it is valid."""
    limits: frozenset[str] = frozenset()
    """What this machine ran out of."""
    stopped: bool = False

    @property
    def valid(self) -> bool:
        return not self.reasons

    def line(self) -> dict[str, Any]:
        """The final line: totals, percentiles in ms, the table by second of arrival."""
        tally = self.tally
        users = ("offered", "served", "refused", "failed", "unfinished", "not_started")
        requests = ("requests_ok", "requests_failed", "attempts", "retries", "timeouts")
        first = tally.first_failed_s
        lag = tally.lag.summary()
        return {
            "final": True,
            "started_at": round(self.started_at, 3),
            "elapsed_s": round(self.elapsed_s, 3),
            **{name: tally.total(name) for name in users + requests},
            "response_ms": tally.response().summary(),
            "service_ms": tally.service.summary(),
            "lag_ms": lag,
            "lag_p99_ms": lag["p99"],
            "wait_ms": tally.wait.summary(),
            "refusal_ms": tally.refusals.summary(),
            "names_ms": {name: h.summary() for name, h in sorted(tally.names.items())},
            "errors": dict(tally.errors.most_common()),
            "cpu_ratio": round(self.cpu_ratio, 4),
            "cpu_ratio_peak": round(self.cpu_ratio_peak, 4),
            "valid": self.valid,
            "reason": "; ".join(self.reasons) or None,
            "first_failed_s": None if first is None else round(first, 3),
            "first_failed_at": None if first is None else round(self.started_at + first, 3),
            "arrived": [tally.arrived[second].line() for second in sorted(tally.arrived)],
        }


def peak_cpu(tally: Tally, over: int = 3) -> float:
    """The highest mean processor share over ``over`` consecutive seconds."""
    ratios = [tally.seconds[second].cpu_ratio for second in sorted(tally.seconds)]
    if len(ratios) < over:
        return max(ratios, default=0.0)
    return max(sum(ratios[i : i + over]) / over for i in range(len(ratios) - over + 1))


def reasons_against(
    attack: Attack, tally: Tally, limits: set[str], cpu_peak: float, stopped: bool
) -> tuple[str, ...]:
    """Why the figures cannot be believed, each with its bound; empty when they can."""
    reasons = [f"the generator ran out of {limit}" for limit in sorted(limits)]
    lag_ms = tally.lag.percentile_ms(99)
    if lag_ms > attack.lag_p99_ms_max:
        bound = attack.lag_p99_ms_max
        reasons.append(f"the generator was late: send lag p99 {lag_ms:.1f} ms, bound {bound:g} ms")
    if cpu_peak > attack.cpu_ratio_max:
        bound = attack.cpu_ratio_max
        reasons.append(
            f"the generator was saturated: CPU {cpu_peak:.2f} of a core, bound {bound:g}"
        )
    if tally.total("unfinished"):
        count = tally.total("unfinished")
        reasons.append(f"{count} users had not finished when the run ended")
    if stopped:
        reasons.append("the run was stopped")
    return tuple(reasons)


def attack(
    plan: Attack,
    on_second: Callable[[Second], None] | None = None,
    stop: Callable[[Engine], None] | None = None,
) -> Result:
    """Run it in this process and thread. Raises :class:`Unreachable` when the name is unknown.

    ``on_second`` is called with each second that has passed; ``stop`` is handed the engine before
    the start, whose ``stopping`` may be set from a signal handler or from ``on_second``.
    """
    address = resolve(plan.base_url, verify=plan.tls_verify, ca_file=plan.ca_file)
    _raise_descriptor_limit()
    _sharpen_sleep()
    if plan.cpus:
        os.sched_setaffinity(0, plan.cpus)
    with _acknowledgements(plan.ack_file) as acknowledge, _rarely_collected():
        engine = Engine(
            address,
            plan.journeys,
            plan.settings,
            seed=plan.seed,
            run=f"{plan.seed}-{plan.share[0]}-{os.getpid()}",
            on_second=on_second,
            acknowledge=acknowledge,
        )
        if stop is not None:
            stop(engine)
        now = time.time()
        started_at = max(now, plan.start_at or now)
        cpu_s = time.process_time()
        tally = engine.run(
            _schedule(plan),
            plan.pace.seconds,
            crowd=plan.crowd,
            start_in_s=started_at - now,
        )
    elapsed_s = max(time.time() - started_at, 1e-9)
    cpu_ratio = (time.process_time() - cpu_s) / elapsed_s
    peak = max(peak_cpu(tally), 0.0)
    reasons = reasons_against(plan, tally, engine.limits, peak, engine.stopping)
    limits = frozenset(engine.limits)
    return Result(tally, started_at, elapsed_s, cpu_ratio, peak, reasons, limits, engine.stopping)


def _schedule(plan: Attack) -> Iterator[float]:
    if plan.crowd:
        return iter(())
    which, of = plan.share
    every = arrivals(plan.pace, plan.seed, plan.arrivals)
    return (at_s for number, at_s in enumerate(every) if number % of == which)


def _raise_descriptor_limit() -> None:
    """Allow as many sockets as the system lets this process have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _sharpen_sleep() -> None:
    """Have Linux wake this thread within a microsecond of the time, not 50 (prctl(2)).

    Elsewhere users are sent up to that much later, which the send lag shows.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1_000, 0, 0, 0)


@contextmanager
def _rarely_collected() -> Iterator[None]:
    """Collect garbage now, which takes some 10 ms, and seldom until the block ends."""
    usual = gc.get_threshold()
    gc.collect()
    gc.freeze()  # what was there before the run is not looked through during it
    gc.set_threshold(GC_OBJECTS, 10, 10)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


@contextmanager
def _acknowledgements(path: Path | None) -> Iterator[Callable[[str, object, str], None]]:
    """Append what was promised to users, a JSON line each, written at once."""
    if path is None:
        yield lambda kind, id, user: None
        return
    with path.open("ab", buffering=0) as file:

        def acknowledge(kind: str, id: object, user: str) -> None:
            line = {"kind": kind, "id": id, "user": user, "at": round(time.time(), 6)}
            file.write(json.dumps(line).encode() + b"\n")

        yield acknowledge


# -- as a process


def _print_second(started_at: float, out: TextIO) -> Callable[[Second], None]:
    def show(row: Second) -> None:
        line = {**row.line(), "at": round(started_at + row.second, 3)}
        print(json.dumps(line), file=out, flush=True)

    return show


def main(arguments: list[str] | None = None) -> int:
    """Run a spec. Exit code 0, or 1 when the run is invalid, 2 for a bad spec, 3 unreachable."""
    parser = argparse.ArgumentParser(prog="python -m premortem.load.attack")
    parser.add_argument("--spec", required=True, type=Path)
    try:
        spec = json.loads(parser.parse_args(arguments).spec.read_text("utf-8"))
        plan = spec_from(spec)
        result = _run(plan, spec.get("processes", 1), sys.stdout)
    except (OSError, ValueError) as error:
        print(f"attack: {error}", file=sys.stderr)
        return 3 if isinstance(error, Unreachable) else 2
    print(json.dumps(result.line()), flush=True)
    return 0 if result.valid else 1


def _on_signal(act: Callable[[], None]) -> None:
    """Let SIGINT and SIGTERM end the run, with its results."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: act())


def _run(plan: Attack, processes: int, out: TextIO) -> Result:
    now = time.time()
    plan = replace(plan, start_at=max(now, plan.start_at or now))
    show = _print_second(plan.start_at or now, out)
    if processes != 1:
        from premortem.load.workers import attack_many  # noqa: PLC0415 - it needs this module

        return attack_many(plan, processes, show, _on_signal)

    def watch(engine: Engine) -> None:
        _on_signal(engine.stop)

    return attack(plan, show, watch)


if __name__ == "__main__":
    sys.exit(main())
