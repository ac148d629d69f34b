"""Is the database's CPU saturated? Asked by its own causes, and by shallower ones to exonerate."""

from __future__ import annotations

import math
from dataclasses import dataclass

from premortem.causes._users import hurt
from premortem.causes._verdict import fact, held, level, num, once, percent
from premortem.model import Evidence, History

__all__ = ["Pressure", "idle", "pressure", "stuck"]

BUSY_MIN = 0.9
"""CPU share that counts as used up: 1 s samples of a full core read 0.93 to 1.0."""
OVER_CORES = 1.5
"""Sessions on CPU for each core, once the CPU itself is known to be full."""
OVER_CORES_ALONE = 10.0
"""Sessions on CPU for each core that prove saturation alone: at 70 % load of one core ten or
more are there 3 % of the time (0.7^10), never in most samples of four seconds."""
BUSY_FELT_MIN = 0.85
"""Mean CPU share that is full once users are refused: they come and go, so no second is whole."""
CROWD_S = 20.0
"""A drowned site is judged over this long: it alternates between floods and gaps."""
CROWD_OVER_CORES = 5.0
"""Mean sessions a core over 20 s; at 70 % load it is 2.3 with a deviation of 0.7."""
STUCK_SHARE_MIN = 0.7
"""Of the active sessions: the rest have just begun."""
_WAITS = ("db.wait.lock", "db.wait.io", "db.wait.lwlock", "db.wait.other")
SPREADS = 5.0
"""Without CPU figures: cores + 5 * sqrt(cores) in the median; random arrivals stay below it."""


@dataclass(frozen=True, slots=True)
class Pressure:
    """Average active sessions without a wait event against the cores they share."""

    sessions: float | None
    cores: float | None
    busy: float | None
    saturated: bool | None
    """``None`` where sessions or cores are not measured."""
    evidence: Evidence | None = None

    @property
    def crowded(self) -> bool:
        """So many want CPU that the crowd itself makes each transaction dearer."""
        return (self.sessions or 0.0) > OVER_CORES_ALONE * (self.cores or 1.0)

    @property
    def words(self) -> str:
        """The measured state in words."""
        if self.sessions is None or self.cores is None:
            return "sessions on CPU are not measured"
        busy = "" if self.busy is None else f", its CPU {percent(self.busy)} busy"
        return f"{num(self.sessions)} sessions want CPU on {num(self.cores)} core(s){busy}"


@once
def pressure(history: History) -> Pressure:
    """The database's CPU pressure over the last seconds."""
    sessions, cores = level(history, "db.wait.cpu"), history.value("db.cores", max_age_s=60.0)
    busy = level(history, "db.cpu.busy_ratio")
    if sessions is None or cores is None or cores <= 0:
        return Pressure(sessions, None, busy, None)
    full = _full(history, sessions, cores, busy)
    if full:  # of a drowned site the mean tells, not the gap between two floods
        sessions = max(sessions, history.mean("db.wait.cpu", CROWD_S) or 0.0)
    plain = Pressure(sessions, cores, busy, full)
    limit = cores * OVER_CORES
    return Pressure(
        sessions, cores, busy, full, fact(history, "db.wait.cpu", sessions, limit, plain.words)
    )


def _full(history: History, sessions: float, cores: float, busy: float | None) -> bool:
    if sessions > cores * OVER_CORES_ALONE:
        return True
    if busy is None and sessions > cores + SPREADS * math.sqrt(cores):
        return True
    if sessions > cores * OVER_CORES and held(history, "db.cpu.busy_ratio", above=BUSY_MIN):
        return True
    return _full_and_felt(history, cores)


def _full_and_felt(history: History, cores: float) -> bool:
    """Users are turned away or fail, and the database has been full on average.

    A guard keeps few sessions inside, a drowned site feeds the database in gulps: there the mean
    over some seconds tells what single samples do not.
    """
    now = history.mean("db.cpu.busy_ratio", 3.5) or 0.0
    lately = history.mean("db.cpu.busy_ratio", 10.0) or 0.0
    crowd = history.mean("db.wait.cpu", CROWD_S) or 0.0
    guarded = max(now, lately) >= BUSY_FELT_MIN
    return (guarded or crowd > CROWD_OVER_CORES * cores) and hurt(history) is not None


def idle(history: History) -> bool | None:
    """Whether the database plainly has room: nothing inside it holds its sessions.

    ``None`` where CPU pressure is not measured, or where sessions are active and the class of
    waits they may be in is not; else a class that is not measured counts as no wait.
    """
    load = pressure(history)
    if load.sessions is None or load.cores is None:
        return None
    found = [level(history, metric) for metric in _WAITS]
    waits = sum(wait or 0.0 for wait in found)
    active = level(history, "db.sessions.active") or 0.0
    if None in found and active > load.sessions + waits + 1.0:
        return None
    return not load.saturated and load.sessions <= max(load.cores, 1.0) and waits < 1.0


@once
def stuck(history: History) -> bool:
    """Whether its sessions wait inside it for something that no load makes: a lock, a replica.

    A database that is full of work is busy; one that stands still is not full of retries.
    """
    active = level(history, "db.sessions.active")
    if pressure(history).saturated is not False or active is None or active < 2.0:
        return False
    waits = sum(level(history, metric) or 0.0 for metric in _WAITS)
    return waits >= STUCK_SHARE_MIN * active
