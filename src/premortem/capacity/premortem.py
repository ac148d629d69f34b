"""The postmortem of the outage you would have, written before it: every number from the plan."""

from __future__ import annotations

from collections.abc import Iterator

from premortem.capacity.outage import WARN_RATIO, Outage, outage
from premortem.capacity.plan import Plan
from premortem.capacity.settings import chosen_site, settings

__all__ = ["write_premortem"]

REHEARSE_RATIO = 1.5
"""Shopify's habit: a drill at 150 % of the highest peak."""


def write_premortem(plan: Plan) -> str:
    """Markdown in the order of the two postmortems that began this: Issue Summary, Timeline, Root
    Cause and Resolution, Corrective and Preventative Measures, tasks.
    """
    told = outage(plan)
    parts = [
        f"# Premortem: the outage of {told.day}",
        "This has not happened. It is what the plan expects if nothing is changed: "
        + plan.statement
        + ".",
        "## Issue Summary",
        _summary(plan, told),
        "## Timeline",
        "\n".join(_timeline(plan, told)),
        "## Root Cause and Resolution",
        _root_cause(plan, told),
        "## Corrective and Preventative Measures",
        "\n".join(f"- {line}" for line in _measures(plan)),
        "### List of tasks",
        "\n".join(f"- [ ] {line}" for line in _tasks(plan, told)),
        "### What the numbers rest on",
        "\n".join(f"- {line}" for line in _evidence(plan)),
    ]
    return "\n\n".join(parts) + "\n"


def _clock(minute: int) -> str:
    return f"{minute // 60 % 24:02d}:{minute % 60:02d}"


def _zone(plan: Plan) -> str:
    offset = plan.calendar.utc_offset_h
    return "UTC" if offset == 0 else f"UTC{offset:+g}"


def _summary(plan: Plan, o: Outage) -> str:
    chance = (
        f"The middle forecast is {plan.full.mid}, the 90 % interval {plan.full.low} to "
        f"{plan.full.high or f'after {plan.full.horizon}'}."
        if o.dated
        else f"No date is forecast up to {plan.full.horizon}; this is the next day with a surge of "
        f"{o.surge:.2f} times the usual peak."
    )
    if o.start_min is None or o.end_min is None:
        return (
            f"On {o.day} demand reaches {_r(o.peak_per_s)} against a capacity of "
            f"{_r(o.capacity_per_s)}; {_r(o.left_per_s)} of it is served while the overload lasts. "
            f"{chance}"
        )
    return (
        f"On {o.day}, from {_clock(o.start_min)} to {_clock(o.end_min)} {_zone(plan)} "
        f"({o.minutes} minutes), the website fails {o.failed / o.arrived:.0%} of its requests: "
        f"{o.failed:,.0f} of {o.arrived:,.0f}, without counting retries. {chance}"
    )


def _timeline(plan: Plan, o: Outage) -> Iterator[str]:
    now = plan.now
    if o.start_min is None or o.end_min is None or o.worst_min is None or o.warn_min is None:
        yield (
            "- The history holds one value a day, so no hour can be given; hourly rates "
            "(`premortem plan --csv`) would give one."
        )
        return
    yield (
        f"- {_clock(o.warn_min)}: demand passes {WARN_RATIO:.0%} of the capacity of "
        f"{_r(o.capacity_per_s)}. Nobody is looking; this is when the alert should come."
    )
    yield f"- {_clock(o.start_min)}: demand passes {_r(o.capacity_per_s)}. First full: {now.first}."
    if now.past_knee:
        excess = max(o.peak_per_s - o.capacity_per_s, 1e-9)
        yield (
            f"- {_clock(o.start_min)}: requests pile up until all {now.sessions} sessions are "
            f"taken, past the knee at {now.knee:.0f}; throughput falls to {_most(plan)}"
            f"{_r(o.left_per_s)}. "
            f"At the day's peak this takes {(now.sessions - now.knee) / excess:.1f} s."
        )
    if now.refused_connections:
        yield (
            f"- {_clock(o.start_min)}: the database refuses up to {now.refused_connections} "
            "connections."
        )
    worst = 1 - min(1.0, o.left_per_s / o.peak_per_s)
    yield (
        f"- {_clock(o.worst_min)}: the peak, {_r(o.peak_per_s)}; {worst:.0%} of the requests fail."
    )
    harmful = [e.text for e in plan.effects if e.helps in ("no", "harms")]
    if harmful:
        yield f"- Meanwhile, tried in vain: {harmful[-1]}."
    yield (
        f"- {_clock(o.end_min)}: demand is below {_r(o.left_per_s)} again and the site recovers."
    )


def _root_cause(plan: Plan, o: Outage) -> str:
    now = plan.now
    text = (
        f"The root cause is that {now.first} is full at {_r(o.capacity_per_s)} while demand "
        f"reaches {_r(o.peak_per_s)}."
    )
    if now.past_knee:
        text += (
            f" It becomes an outage because {now.sessions} sessions may meet the database, and "
            f"beyond {now.knee:.0f} more of them make it slower: it serves {_most(plan)}"
            f"{_r(o.left_per_s)}, {1 - o.left_per_s / o.capacity_per_s:.0%} less than it could."
        )
    text += " A restart would clear the sessions and be full again while demand stays: it is "
    return text + "mitigation. It is resolved by the measures below, before it happens."


def _measures(plan: Plan) -> Iterator[str]:
    for e in plan.effects:
        if e.helps == "yes":
            yield f"Helps. {e.text}."
    for e in plan.effects:
        if e.helps in ("no", "harms"):
            yield f"Does not help. {e.text}."
    for e in plan.effects:
        if e.helps == "unknown":
            yield f"Not known. {e.text}."
    yield from (f"Found in the settings: {f}." for f in plan.findings)


def _tasks(plan: Plan, o: Outage) -> Iterator[str]:
    owed = f"Owner: (name a role). Due: {plan.full.low or plan.target}."
    site = chosen_site(plan)
    if plan.choice and plan.choice.option.changes:
        changed = ", ".join(f"{k} = {v}" for k, v in plan.choice.option.changes.items())
        yield (
            f"Set {changed} (enough until {plan.target} in {plan.choice.enough_probability:.0%} of "
            f"the futures drawn). {owed} Verified by: a load search that shows at least "
            f"{_r(plan.target_peak_per_s.mid)}."
        )
    for name in settings(site):
        yield f"Write {name} as planned. {owed} Verified by: `premortem drill`."
    yield (
        f"Rehearse {REHEARSE_RATIO:.0%} of the peak to come, "
        f"{_r(REHEARSE_RATIO * plan.target_peak_per_s.mid)}. {owed} Verified by: `premortem drill`."
    )
    yield (
        f"Alert at {_r(WARN_RATIO * o.capacity_per_s)}. {owed} Verified by: a replay "
        "of this timeline."
    )
    if plan.at_least:
        yield f"Measure further: {plan.knee.reason}. {owed}"


def _evidence(plan: Plan) -> Iterator[str]:
    usl, growth = plan.fitted.usl, plan.worlds.growth_per_day
    yield (
        f"Scalability curve: σ {usl.sigma:.4g}, κ {usl.kappa:.4g}, λ {usl.lam:.4g}/s, from "
        f"{len(plan.fitted.residuals)} loads up to {plan.site.database.n_top:g} sessions."
    )
    room = plan.capacity_per_s
    if plan.at_least:
        yield f"Capacity: {plan.knee.reason}."
    else:
        yield f"Capacity: {_r(room.mid)}, 90 % interval {_r(room.low)} to {_r(room.high)}."
    yield (
        f"Demand: busiest moment of the last week {_r(plan.peak_now_per_s)} (headroom "
        f"{plan.headroom_ratio:.0%}); growth {growth[1]:+.2%} a day ({growth[0]:+.2%} to "
        f"{growth[2]:+.2%})."
    )
    events = [f"{e.name} {e.factor:g}x" for e in plan.calendar.events if e.factor is not None]
    yield f"Declared events: {', '.join(events) or 'none'}."


def _most(plan: Plan) -> str:
    return "at most " if plan.now.surge_at_most else ""


def _r(rate: float) -> str:
    return f"{rate:,.0f} requests/s" if rate >= 10 else f"{rate:.2g} requests/s"
