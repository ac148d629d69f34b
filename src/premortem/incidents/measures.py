"""What should change, each measure with the observation it follows from. Pure.

A rule looks at one thing in the record and keeps silent when the record does not show it: no
measure is a platitude, and each names the command that would prove it done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from premortem.incidents.figures import Facts, facts, fill
from premortem.incidents.lifecycle import remedied
from premortem.incidents.record import AS_IT_HAPPENED, Record

__all__ = ["Measure", "measures"]

NEARLY_FULL = 0.8
"""Sessions above this share of the limit leave no room for a second pool or a monitor."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One action: why (from the record), what, who by role, and the command that closes it."""

    why: str
    task: str
    kind: str
    """``prevent``, ``detect``, ``diagnose`` or ``mitigate``."""
    owner: str
    """A role, never a person's name."""
    priority: str
    verified_by: str


def measures(record: Record) -> tuple[Measure, ...]:
    """Everything the record gives a reason for, in the order of the rules."""
    held = facts(record)
    found = (rule(record, held) for rule in _RULES)
    return tuple(measure for measure in found if measure is not None and measure.why)


def _drill(record: Record) -> str:
    return f"`premortem drill {record.scenario or 'shop'}`"


def _over(held: Facts, name: str, floor: float = 0.0) -> bool:
    return name in held and held[name].value > floor


def _cap(record: Record, held: Facts) -> Measure | None:
    """The surge asked for more than the knee: refuse the excess, or keep doing so."""
    if not _over(held, "surge_over_knee", 1.0) or "surge_goodput_rps" not in held:
        return None
    size = _setting(held, ("in_flight_cap", "cap", "in_flight_max"))
    to = f"at {size}, which calibration found" if size else "at what the load test found"
    asked = "The surge asked for {surge_offered_rps}, {surge_over_knee} the knee of {knee_rps}; "
    if record.mode == AS_IT_HAPPENED:
        end = "nothing refused the excess, and {surge_goodput_rps} were answered."
        task = f"Cap the requests in flight {to}; refuse the rest at once with Retry-After"
        priority = "high"
    else:
        end = "the guard let {surge_goodput_rps} through, {goodput_over_knee} of the knee."
        task = f"Keep the cap on requests in flight {to}; calibrate again after each release"
        priority = "medium"
    return Measure(fill(asked + end, held), task, "prevent", "web team", priority, _drill(record))


def _setting(held: Facts, names: tuple[str, ...]) -> str:
    return next((str(held[f"setting.{n}"]) for n in names if f"setting.{n}" in held), "")


def _pool(record: Record, held: Facts) -> Measure | None:
    if "sessions.peak" not in held or not held["sessions.max"].value:
        return None
    if held["sessions.peak"].value < NEARLY_FULL * held["sessions.max"].value:
        return None
    size = _setting(held, ("pool_size", "pool_max"))
    to = f"at {size} connections in total" if size else "at what the load test found at the knee"
    why = fill(
        "The database held up to {sessions.peak} where the server allows {sessions.max}.", held
    )
    return Measure(
        why, f"Fix the connection pool {to}, far below the server's limit",
        "prevent", "database team", "high", _drill(record),
    )  # fmt: skip


def _warn(record: Record, held: Facts) -> Measure | None:
    """The signal that came first is the one to page on, if it came in time."""
    signal = next(
        (e for e in record.ordered() if e.kind == "signal" and e.at >= record.ramp_at), None
    )
    if signal is not None and "detected_s" in held:
        metric = str(signal.data.get("metric", "its metric"))
        ahead = _over(held, "warned_ahead_s")
        why = f"`{metric}` gave the first warning " + (
            fill("at +{detected_s}, {warned_ahead_s} before the first user failed.", held)
            if ahead
            else fill("at +{detected_s}.", held)
        )
        return Measure(
            why, f"Page on `{metric}`", "detect", "on-call lead", "medium", _drill(record)
        )
    late = fill("The first user failed at +{first_failure_s}; ", held)
    if record.mode != AS_IT_HAPPENED or not late:
        return None
    told = fill("people were told at +{detected_s}, and no signal had come before.", held)
    return Measure(
        late + (told or "the record holds no signal that came before."),
        "Watch saturation (sessions against their limit, work in flight), not only failures",
        "detect", "on-call lead", "high", _drill(record),
    )  # fmt: skip


def _ledger(record: Record, held: Facts) -> Measure | None:
    if not _over(held, "lost_minutes"):
        return None
    return Measure(
        fill("{lost_minutes} went into hypotheses that were struck off later.", held),
        "Start from the ledger: rule a tier out by a measured fact before the next one is blamed",
        "diagnose", "on-call lead", "high",
        "`premortem diagnose --recording recording-a.jsonl`",
    )  # fmt: skip


def _workers(record: Record, held: Facts) -> Measure | None:
    for n, done in enumerate(remedied(record.events)):
        if done.event.data.get("action") != "add_workers":
            continue
        before, after = held.get(f"act.{n}.before"), held.get(f"act.{n}.after")
        if (
            before is None or after is None or after.value > before.value + 1
        ):  # one user a second: noise
            return None
        return Measure(
            f"Web workers added at +{held[f'act.{n}.at']}: {before} served before, {after} after.",
            "Add web capacity only when the web tier is confirmed and the database is ruled out",
            "mitigate", "web team", "medium", _drill(record),
        )  # fmt: skip
    return None


def _retries(record: Record, held: Facts) -> Measure | None:
    """No recovery after the surge without a restart: the overload fed itself."""
    if "recovered_s" in held or not _over(held, "restarts"):
        return None
    late = "users were served again only after the restart at +{at.mitigated}"
    if "recovered_after_restart_s" not in held:
        late = "the record shows no recovery, not even after the restart at +{at.mitigated}"
    why = "The surge was over at +{at.surge_end}, yet " + late + ", {surge_to_mitigated_s} later."
    task = "Let the site recover by itself: bound every queue, budget retries, drop abandoned work"
    return Measure(fill(why, held), task, "mitigate", "web team", "high", _drill(record))


def _grow(record: Record, held: Facts) -> Measure | None:
    if record.mode == AS_IT_HAPPENED or not _over(held, "users_refused_share_in_surge"):
        return None
    return Measure(
        fill("{users_refused_share_in_surge} of the users of the surge had to be refused.", held),
        "Decide what capacity the next surge is worth, and load-test it before the day",
        "prevent", "capacity owner", "medium", _drill(record),
    )  # fmt: skip


def _failed(record: Record, held: Facts) -> Measure | None:
    if record.mode == AS_IT_HAPPENED or not _over(held, "users_failed_share_in_surge"):
        return None
    return Measure(
        fill("{users_failed_share_in_surge} of the users of the surge still failed.", held),
        "Find why these users were not refused in time",
        "prevent", "web team", "high", _drill(record),
    )  # fmt: skip


def _blind(record: Record, held: Facts) -> Measure | None:
    open_ = [v for v in record.final_ledger if v.state == "cannot_exclude" and v.check]
    if not open_:
        return None
    return Measure(
        f"`{open_[0].cause}` could not be excluded: {open_[0].because}",
        f"Collect what is missing: {open_[0].check}",
        "diagnose", "monitoring owner", "medium", "`premortem diagnose`",
    )  # fmt: skip


def _lost(record: Record, held: Facts) -> Measure | None:
    if not _over(held, "writes_lost"):
        return None
    return Measure(
        fill("{writes_lost} of {writes_acknowledged} acknowledged are not in the database.", held),
        "Find why a write was acknowledged before it was safe",
        "prevent", "database team", "high", _drill(record),
    )  # fmt: skip


_RULES: tuple[Callable[[Record, Facts], Measure | None], ...] = (
    _lost, _cap, _pool, _warn, _ledger, _workers, _retries, _failed, _grow, _blind,
)  # fmt: skip
