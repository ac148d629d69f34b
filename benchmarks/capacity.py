"""Whether the planning core reproduces what is published, and holds back where it should.

``python -m benchmarks.capacity [--json]``; the last line of output is one JSON object. Exit code 1
when a check value, a published parameter, a hold-out, a round trip or a coverage misses its bar.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from premortem.capacity.demand import DAY_S, Calendar, Demand
from premortem.capacity.intervals import peak, throughput_interval
from premortem.capacity.queueing import (
    Station,
    closed_network,
    erlang_b,
    erlang_c,
    mmck,
    servers_for,
)
from premortem.capacity.trend import futures
from premortem.capacity.usl import Curve, Usl, fit

COVERAGE_MIN = 0.8
"""Of a 90 % interval in 60 planted curves: below this, chance alone would be p < 0.02."""
ROUND_TRIP_MAX = 1e-6


@dataclass(frozen=True, slots=True)
class Known:
    """A published curve; parameters as name → (value, tolerance)."""

    curve: Curve
    published: dict[str, tuple[float, float]]
    source: str


def _c(loads: tuple[float, ...], throughputs: tuple[float, ...]) -> Curve:
    return Curve(loads, throughputs)


PG15 = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CURVES = {
    "specsdm91": Known(
        _c((1, 18, 36, 72, 108, 144, 216), (64.9, 995.9, 1652.4, 1853.2, 1828.9, 1775.0, 1702.2)),
        {
            "sigma": (0.0277285, 0.0091217), "kappa": (0.0001044, 0.0000199),
            "lambda": (89.9952, 14.2135), "x_max": (1884, 0.5), "n_max": (96.52, 0.005),
        },
        "Gunther; R package usl",
    ),
    "raytracer": Known(
        _c(
            (1, 4, 8, 12, 16, 20, 24, 28, 32, 48, 64),
            (20, 78, 130, 170, 190, 200, 210, 230, 260, 280, 310),
        ),
        {"sigma": (0.05777, 0.000005), "kappa": (0.0, 1e-9), "lambda": (21.849, 0.0005)},
        "Gunther; R package usl (digits printed)",
    ),
    "synthetic": Known(
        _c((1, 2, 4, 6, 8, 10), (1, 1.8868, 3.0769, 3.5294, 3.5398, 3.3557)),
        {"sigma": (0.02, 1e-4), "kappa": (0.02, 1e-5), "lambda": (1.0, 1e-4)},
        "computed from (0.02, 0.02, 1) to four digits",
    ),
    "postgresql_9.1": Known(
        _c(
            (1, 4, 8, 12, 16, 20, 24),
            (4373.30, 15582.91, 27353.51, 37502.23, 45365.16, 46926.75, 42854.19),
        ),
        {}, "published measurement",
    ),
    "postgresql_15_select": Known(
        _c(PG15, (8514, 12573, 21027, 23755, 18963, 14025, 11733, 6245, 4003)),
        {}, "measured on 2 cores, pgbench beside it",
    ),
    "postgresql_15_tpcb": Known(
        _c(PG15, (400, 486, 456, 599, 871, 1042, 919, 752, 624)),
        {}, "measured on 2 cores, pgbench beside it",
    ),
}  # fmt: skip


def checked(name: str, got: float, published: float, tolerance: float) -> dict[str, Any]:
    within = abs(got - published) <= tolerance
    return {
        "name": name,
        "got": got,
        "published": published,
        "tolerance": tolerance,
        "within": within,
    }


def check_values() -> Iterator[tuple[str, float, float, float]]:
    """Name, got, published, tolerance (half of the last digit printed)."""
    yield "erlang_c(2, 1)", erlang_c(2, 1), 1 / 3, 1e-9
    yield "erlang_c(5, 4)", erlang_c(5, 4), 0.554113, 5e-7
    yield "erlang_c(10, 8)", erlang_c(10, 8), 0.409180, 5e-7
    yield "erlang_c(100, 90)", erlang_c(100, 90), 0.216940, 5e-7
    yield "erlang_b(10, 8)", erlang_b(10, 8), 0.121661, 5e-7
    queue = mmck(12, 1, 10, 30)
    yield "mmck(12, 1, 10, 30) blocked", queue.blocked_ratio, 0.168637, 5e-7
    yield "mmck(12, 1, 10, 30) served", queue.served_per_s, 9.97635, 5e-6
    yield "mmck(12, 1, 10, 30) time", queue.in_system_s, 2.53456, 5e-6
    yield "mmck K = c is Erlang B", mmck(8, 1, 10, 10).blocked_ratio, erlang_b(10, 8), 1e-12
    tiers = [Station(name, d) for name, d in (("a", 0.605), ("b", 2.1), ("c", 1.35))]
    three, fifty = closed_network(tiers, 3, 15.0), closed_network(tiers, 50, 15.0)
    yield "mva n = 3 throughput", three.throughput_per_s, 0.1515, 5e-5
    yield "mva n = 3 response", three.response_s, 4.7998, 5e-5
    yield "mva n = 50 throughput", fifty.throughput_per_s, 0.4762, 5e-5
    yield "mva n = 50 is 1 / D_max", fifty.throughput_per_s, 1 / 2.1, 1e-6
    yield "square-root staffing of 100 erlangs", servers_for(1000, 0.1, 1.0), 110, 0
    yield from _short_fits()


def _short_fits() -> Iterator[tuple[str, float, float, float]]:
    """What the reference says of fits that stop at 32 sessions: why there is a gate."""
    full = CURVES["postgresql_15_tpcb"].curve
    short = fit(full.first(6)).usl
    yield "tpcb to 32: kappa", short.kappa, 0.0, 1e-12
    yield "tpcb to 32: overshoot at 256", short.throughput(256) / 624 - 1, 0.64, 0.005
    full = CURVES["postgresql_15_select"].curve
    short = fit(full.first(6)).usl
    yield "select to 32: error at 128", short.throughput(128) / 6245 - 1, -0.35, 0.005
    yield "select to 32: error at 256", short.throughput(256) / 4003 - 1, -0.47, 0.006


def curve_result(known: Known) -> dict[str, Any]:
    """Parameters against published, the gate, and both kinds of hold-out."""
    fitted = fit(known.curve)
    got = {
        "sigma": fitted.usl.sigma, "kappa": fitted.usl.kappa, "lambda": fitted.usl.lam,
        "n_max": fitted.usl.n_max, "x_max": fitted.usl.x_max,
    }  # fmt: skip
    found = peak(known.curve, fitted)
    return {
        "source": known.source,
        "sigma": got["sigma"], "kappa": got["kappa"], "lambda": got["lambda"],
        "published": [
            checked(name, got[name], *of) for name, of in known.published.items()
        ],
        "abstained": found.abstained,
        "reason": found.reason,
        "n_max": found.n_max,
        "x_max": found.x_max,
        "n_interval": found.n_interval and [found.n_interval.low, found.n_interval.high],
        "x_interval": found.x_interval and [found.x_interval.low, found.x_interval.high],
        "held_out": hold_out(known.curve),
        "left_out_inside": leave_one_out(known.curve),
    }  # fmt: skip


def hold_out(curve: Curve) -> dict[str, Any]:
    """Fit the lower two thirds of the loads; what is then said must hold for the whole curve."""
    kept = len(curve.loads) - len(curve.loads) // 3
    short = curve.first(kept)
    found = peak(short)
    beyond = [throughput_interval(short, n) for n in curve.loads[kept:]]
    best = max(range(len(curve.loads)), key=curve.throughputs.__getitem__)
    covers = None
    if found.n_interval and found.x_interval:
        around = curve.loads[max(0, best - 1)], curve.loads[min(best + 1, len(curve.loads) - 1)]
        overlaps = found.n_interval.low <= around[1] and found.n_interval.high >= around[0]
        covers = found.x_interval.holds(curve.throughputs[best]) and overlaps
    return {
        "kept": kept,
        "peak_abstained": found.abstained,
        "peak_covers": covers,
        "throughput_beyond_abstained": all(b is None for b in beyond),
        "ok": (found.abstained or bool(covers)) and all(b is None for b in beyond),
    }


def leave_one_out(curve: Curve) -> dict[str, int]:
    """Measurements left out between others: how many fall inside their interval."""
    inside = 0
    middle = range(1, len(curve.loads) - 1)
    for i in middle:
        rest = Curve(
            curve.loads[:i] + curve.loads[i + 1 :],
            curve.throughputs[:i] + curve.throughputs[i + 1 :],
        )
        found = throughput_interval(rest, curve.loads[i])
        inside += found is not None and found.holds(curve.throughputs[i])
    return {"inside": inside, "of": len(middle)}


def round_trips(count: int = 2000) -> float:
    """Largest relative error of N(R), X(R), R(X) against the curve itself; σ ≠ κ throughout."""
    dice = np.random.default_rng(11)
    worst = 0.0
    for _ in range(count):
        usl = Usl(dice.uniform(0.001, 0.6), 10 ** dice.uniform(-6, -2), 10 ** dice.uniform(-1, 4))
        n = float(dice.uniform(1, 0.98 * usl.n_max)) if usl.n_max > 1.1 else 1.0
        x, r = usl.throughput(n), usl.response(n)
        for got, true in (
            (usl.load_at_response(r), n),
            (usl.throughput_at_response(r), x),
            (usl.response_at_throughput(x), r),
            (usl.load_at_throughput(x), n),
        ):
            worst = max(worst, abs(got / true - 1))
    return worst


def planted_peaks(count: int = 60, noise: float = 0.03) -> dict[str, float]:
    """Coverage of the intervals of N* and X* on curves whose truth is known."""
    dice = np.random.default_rng(5)
    loads = (1.0, 4.0, 8.0, 16.0, 24.0, 32.0, 40.0, 48.0, 56.0, 64.0, 80.0, 96.0)
    quoted = n_held = x_held = 0
    for i in range(count):
        usl = Usl(dice.uniform(0.01, 0.2), 10 ** dice.uniform(-3.5, -2.5), 100.0)
        measured = [usl.throughput(n) * (1 + noise * dice.standard_normal()) for n in loads]
        found = peak(Curve(loads, tuple(map(float, measured))), seed=i)
        if found.n_interval and found.x_interval:
            quoted += 1
            n_held += found.n_interval.holds(usl.n_max)
            x_held += found.x_interval.holds(usl.x_max)
    return {
        "curves": count,
        "quoted": quoted,
        "n_coverage": n_held / quoted,
        "x_coverage": x_held / quoted,
    }


def planted_dates(count: int = 60) -> dict[str, float]:
    """Coverage of the dated statement: the day on which a planted growth crosses a known limit."""
    held, spans = 0, []
    for seed in range(count):
        dice = np.random.default_rng([seed, 99])
        days, known = np.arange(220), 70
        shock = np.zeros(len(days))
        for i in range(1, len(days)):
            shock[i] = 0.5 * shock[i - 1] + dice.normal(0, 0.06)
        week = np.array([0, 0.02, 0.03, 0.02, 0, -0.2, -0.25])[(days + 3) % 7]
        peaks = 100 * np.exp(0.008 * days + week + shock)
        limit = 100 * math.exp(0.008 * (known + 45))
        demand = Demand(0.0, float(DAY_S), tuple(map(float, peaks[:known])))
        worlds = futures(demand, Calendar(), days=140, seed=seed)
        over = worlds.peaks > limit
        first = np.where(over.any(axis=1), over.argmax(axis=1), over.shape[1])
        low, high = np.quantile(first, (0.05, 0.95), method="inverted_cdf")
        held += bool(low <= (peaks[known:] > limit).argmax() <= high)
        spans.append(float(high - low))
    return {
        "worlds": count,
        "coverage": held / count,
        "interval_days_median": float(np.median(spans)),
    }


def measure(say: Callable[[str], None]) -> dict[str, Any]:
    checks = [checked(*check) for check in check_values()]
    say(f"{sum(bool(c['within']) for c in checks)} of {len(checks)} check values")
    curves = {name: curve_result(known) for name, known in CURVES.items()}
    for name, c in curves.items():
        told = c["reason"] or f"peak {c['x_max']:.4g} at {c['n_max']:.4g}"
        say(f"{name:22} {told}; held out: {'ok' if c['held_out']['ok'] else 'MISSED'}")
    trip, peaks, dates = round_trips(), planted_peaks(), planted_dates()
    say(f"round trips within {trip:.1e}; planted peaks {peaks}; planted dates {dates}")
    inside = sum(c["left_out_inside"]["inside"] for c in curves.values())
    of = sum(c["left_out_inside"]["of"] for c in curves.values())
    bars = {
        "check_values": all(c["within"] for c in checks),
        "published": all(p["within"] for c in curves.values() for p in c["published"]),
        "held_out": all(c["held_out"]["ok"] for c in curves.values()),
        "left_out_inside": inside / of >= COVERAGE_MIN,
        "inverses": trip <= ROUND_TRIP_MAX,
        "planted_peaks": min(peaks["n_coverage"], peaks["x_coverage"]) >= COVERAGE_MIN,
        "planted_dates": dates["coverage"] >= COVERAGE_MIN,
    }
    return {
        "checks": checks, "curves": curves, "inverse_error_max": trip,
        "left_out_inside_ratio": inside / of, "planted_peaks": peaks, "planted_dates": dates,
        "bars": bars, "ok": all(bars.values()),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON object")
    quiet = parser.parse_args().json
    result = measure(lambda text: None if quiet else print(text))
    print(json.dumps(result))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
