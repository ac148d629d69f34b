"""The table a drill exists for: the seeds' figures and both runs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from premortem.incidents.figures import Figure
from premortem.incidents.record import AS_IT_HAPPENED, PROTECTED

__all__ = ["NO_VALUE", "Row", "run_of", "side_by_side"]

NO_VALUE = "–"
"""What stands where a figure was not recorded."""

Run = Mapping[str, Any]


class Row(NamedTuple):
    """One line of the table, ready to print."""

    label: str
    seed: str
    as_it_happened: str
    protected: str


def run_of(result: Mapping[str, Any], mode: str) -> Run:
    """The run of that mode, or an empty one."""
    for run in result.get("runs") or ():
        if run.get("mode") == mode:
            return dict(run)
    return {}


def side_by_side(result: Mapping[str, Any]) -> list[Row]:
    """The rows (label, seeds' figure, run A, run B) of a ``result.json``.

    Moments count from the start of the ramp. The seeds counted minutes; ``speed_min_per_s`` of
    them pass in a second of the drill, so what people did is told in both.
    """
    runs = [run_of(result, mode) for mode in (AS_IT_HAPPENED, PROTECTED)]
    seed: Mapping[str, Any] = result.get("seed") or {}
    return [
        Row(label, figure(seed), *(tell(run, result) if run else NO_VALUE for run in runs))
        for label, figure, tell in _ROWS
    ]


def _of(value: object, unit: str) -> str:
    """The value with its unit; a value that is missing is said to be so."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return NO_VALUE
    return str(Figure(float(value), unit, "result"))


def _minute(name: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda seed: f"minute {seed[name]:g}" if seed.get(name) is not None else NO_VALUE


def _said(text: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda seed: text


def _figure(name: str, unit: str, absent: str = NO_VALUE) -> Callable[[Run, Run], str]:
    return lambda run, result: absent if run.get(name) is None else _of(run[name], unit)


def _warned(run: Run, result: Run) -> str:
    told, failed = run.get("detected_s"), run.get("first_failure_s")
    if told is None:
        return "none"
    if failed is None:
        theirs = run_of(result, AS_IT_HAPPENED).get("first_failure_s")
        if theirs is None or told >= theirs:
            return _of(told, "s")
        return f"{_of(told, 's')}, {_of(theirs - told, 's')} before users failed as it happened"
    ahead = (
        f"{_of(abs(failed - told), 's')} {'before' if told < failed else 'after'} the first failure"
    )
    return f"{_of(told, 's')}, {ahead}"


def _named(run: Run, result: Run) -> str:
    if run.get("named_s") is None:
        return "never"
    speed = result.get("speed_min_per_s")
    by_people = run.get("mode") == AS_IT_HAPPENED and speed is not None
    minute = f" (minute {run['named_s'] * speed:.0f})" if by_people else ""
    return _of(run["named_s"], "s") + minute


def _cause(run: Run, result: Run) -> str:
    cause, tier = run.get("cause"), run.get("tier")
    if cause and tier:
        return f"{cause} ({tier})"
    return str(cause or tier or "none")


def _ruled_out(run: Run, result: Run) -> str:
    return ", ".join(map(str, run.get("ruled_out") or ())) or "nothing"


def _goodput(run: Run, result: Run) -> str:
    served, knee = run.get("surge_goodput_rps"), result.get("knee_rps")
    share = f" ({_of(served / knee, '%')} of the knee)" if served is not None and knee else ""
    return _of(served, "requests/s") + share


def _recovered(run: Run, result: Run) -> str:
    if run.get("recovered_s") is not None:
        return f"{_of(run['recovered_s'], 's')} after the surge"
    after = run.get("recovered_after_restart_s")
    if after is not None:
        return f"not before the restart; {_of(after, 's')} after it"
    return "not before the restart" if run.get("restarts") else "not in this run"


def _writes(run: Run, result: Run) -> str:
    if run.get("writes_acknowledged") is None:
        return NO_VALUE
    lost = run.get("writes_lost")
    return f"{run['writes_acknowledged']:,} / {NO_VALUE if lost is None else f'{lost:,}'}"


def _answered(run: Run, result: Run) -> str:
    if run.get("p50_ms") is None and run.get("p99_ms") is None:
        return NO_VALUE
    return f"{_of(run.get('p50_ms'), 'ms')} / {_of(run.get('p99_ms'), 'ms')}"


_ROWS: tuple[tuple[str, Callable[[Mapping[str, Any]], str], Callable[[Run, Run], str]], ...] = (
    ("First warning", _said("with everyone already out"), _warned),
    ("First failed user", _said("not recorded"), _figure("first_failure_s", "s", "nobody failed")),
    ("Cause named", _minute("named_min"), _named),
    ("The cause", _said("database, overloaded"), _cause),
    ("Ruled out by then", _said("network, web: by trial"), _ruled_out),
    ("Users served in the surge", _said("0 %"), _figure("users_served_share_in_surge", "%")),
    ("Users refused at once", _said("none"), _figure("users_refused_share_in_surge", "%")),
    ("Users failed", _said("100 %"), _figure("users_failed_share_in_surge", "%")),
    ("Goodput in the surge", _said("none"), _goodput),
    ("Back to normal", _minute("recovered_min"), _recovered),
    ("Database restarts", _minute("mitigated_min"), _figure("restarts", "")),
    ("Writes acknowledged / lost", _said("not recorded"), _writes),
    ("Answered in, median / 99th", _said("not recorded"), _answered),
)
