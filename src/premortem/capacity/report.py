"""Results as plain dicts for machines and as short text for people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date

from premortem.capacity.demand import at_utc
from premortem.capacity.intervals import Interval, Peak, peak
from premortem.capacity.plan import Plan
from premortem.capacity.settings import chosen_site, settings
from premortem.capacity.site import Capacity
from premortem.capacity.tables import curve_from_csv
from premortem.capacity.usl import Curve, fit

__all__ = [
    "plan_dict",
    "plan_text",
    "usl_dict",
    "usl_from_csv",
    "usl_text",
]


def usl_from_csv(text: str, name: str = "CSV", *, seed: int = 1) -> dict[str, object]:
    """Fit a measured curve, pass it through the gate. Raises ``TableError`` (a ``ValueError``)."""
    return usl_dict(curve_from_csv(text, name), seed=seed)


def usl_dict(curve: Curve, *, seed: int = 1) -> dict[str, object]:
    """``sigma, kappa, lambda, n_max, x_max, abstained, reason``, errors and 90 % intervals."""
    fitted = fit(curve)
    found = peak(curve, fitted, seed=seed)
    return {
        "sigma": fitted.usl.sigma,
        "kappa": fitted.usl.kappa,
        "lambda": fitted.usl.lam,
        "n_max": found.n_max,
        "x_max": found.x_max,
        "abstained": found.abstained,
        "reason": found.reason,
        "intervals": {
            "sigma": _pair(found.sigma),
            "kappa": _pair(found.kappa),
            "lambda": _pair(found.lam),
            "n_max": _pair(found.n_interval),
            "x_max": _pair(found.x_interval),
        },
        "standard_errors": {
            "sigma": _finite(fitted.se_sigma),
            "kappa": _finite(fitted.se_kappa),
            "lambda": _finite(fitted.se_lam),
        },
        "at_least": {"load": found.n_seen, "throughput": found.x_seen},
        "points": len(curve.loads),
    }


def usl_text(result: Mapping[str, object]) -> str:
    """The same for people."""
    return "\n".join(_usl_lines(result))


def _usl_lines(result: Mapping[str, object]) -> list[str]:
    spans = result["intervals"]
    assert isinstance(spans, dict)
    lines = [
        f"contention sigma {result['sigma']:.4g}, coherency kappa {result['kappa']:.4g}, "
        f"one alone {result['lambda']:.4g}"
    ]
    if result["abstained"]:
        return [*lines, f"no peak is quoted: {result['reason']}"]
    (n_low, n_high), (x_low, x_high) = spans["n_max"], spans["x_max"]
    return [
        *lines,
        f"highest throughput {result['x_max']:.4g} (90 % interval {x_low:.4g} to {x_high:.4g}) "
        f"at load {result['n_max']:.4g} ({n_low:.4g} to {n_high:.4g}); more load gives less",
    ]


def plan_dict(plan: Plan) -> dict[str, object]:
    """Everything a plan says, as JSON-able values; ``null`` where nothing may be said."""
    return {
        "statement": plan.statement,
        "made_at": at_utc(plan.made_at).isoformat(),
        "full": {
            "date": _day(plan.full.mid),
            "interval": [_day(plan.full.low), _day(plan.full.high)],
            "horizon": _day(plan.full.horizon),
            "probability": plan.full.probability,
            "first": plan.now.first,
        },
        "capacity_per_s": {**asdict(plan.capacity_per_s), "at_least": plan.at_least},
        "demand_peak_per_s": plan.peak_now_per_s,
        "headroom_ratio": plan.headroom_ratio,
        "growth_per_day": list(plan.worlds.growth_per_day),
        "knee": _peak(plan.knee),
        "now": _capacity(plan.now),
        "steps": [
            {
                "step": e.step.name,
                "changes": dict(e.step.changes),
                "helps": e.helps,
                "before": _capacity(e.before),
                "after": _capacity(e.after),
                "text": e.text,
            }
            for e in plan.effects
        ],
        "target": {
            "date": _day(plan.target),
            "demand_peak_per_s": asdict(plan.target_peak_per_s),
            "choice": _choice(plan),
        },
        "what_if": [
            {
                "question": a.what_if.text,
                "demand_peak_per_s": a.demand_peak_per_s,
                "result": _capacity(a.result),
                "full": _day(a.full.mid),
                "interval": [_day(a.full.low), _day(a.full.high)],
                "text": a.text,
            }
            for a in plan.answers
        ],
        "findings": list(plan.findings),
        "settings": settings(chosen_site(plan)),
        "events": [
            {
                "name": e.name,
                "start": at_utc(e.start).isoformat(),
                "end": at_utc(e.end).isoformat(),
                "factor": e.factor,
            }
            for e in plan.calendar.events
        ],
    }


def plan_text(plan: Plan) -> str:
    """The plan for people: statement, headroom, steps, answers, findings."""
    room = plan.capacity_per_s
    least = "at least " if plan.at_least else ""
    low, mid, high = plan.worlds.growth_per_day
    lines = [
        plan.statement,
        f"headroom {plan.headroom_ratio:.0%}: peak {plan.peak_now_per_s:.4g}/s of {least}"
        f"{room.mid:.4g}/s ({room.low:.4g} to {room.high:.4g}); growth {mid:+.2%} a day "
        f"({low:+.2%} to {high:+.2%})",
        *(f"  {e.helps:8}{e.text}" for e in plan.effects),
        *(f"what if {a.text}" for a in plan.answers),
        *(f"found: {f}" for f in plan.findings),
    ]
    if plan.choice:
        changes = ", ".join(f"{k} = {v}" for k, v in plan.choice.option.changes.items())
        lines.append(
            f"for {plan.target}: {changes or 'change nothing'}; enough in "
            f"{plan.choice.enough_probability:.0%} of the futures drawn"
        )
    return "\n".join(lines)


def _capacity(c: Capacity) -> dict[str, object]:
    return {**asdict(c), "past_knee": c.past_knee}


def _choice(plan: Plan) -> dict[str, object] | None:
    if plan.choice is None:
        return None
    return {
        "changes": dict(plan.choice.option.changes),
        "cost": plan.choice.option.cost,
        "surge_per_s": plan.choice.option.surge_per_s,
        "enough_probability": plan.choice.enough_probability,
        "regret": plan.choice.regret,
    }


def _peak(found: Peak) -> dict[str, object]:
    return {
        "n_max": found.n_max,
        "x_max": found.x_max,
        "abstained": found.abstained,
        "reason": found.reason,
        "intervals": {"n_max": _pair(found.n_interval), "x_max": _pair(found.x_interval)},
    }


def _pair(interval: Interval | None) -> list[float | None] | None:
    return None if interval is None else [_finite(interval.low), _finite(interval.high)]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _day(value: date | None) -> str | None:
    return None if value is None else value.isoformat()
