"""How bad it was and by when its actions are due. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from premortem.incidents.record import Record, utc

__all__ = ["Severity", "due", "severity"]

MOST = 0.5
"""Where more than half of the users of the surge fail, the site is down for practical purposes."""

SEV_1_DAYS = 3
"""Calendar days to act on a Sev-1."""
OTHER_BUSINESS_DAYS = 5
"""Business days to act on anything milder."""

SATURDAY = 5


@dataclass(frozen=True, slots=True)
class Severity:
    name: str
    because: str


def severity(record: Record) -> Severity:
    """Sev-1 when most users of the surge failed, Sev-2 when some did, Sev-3 when none is known to.

    Without a share of failed users it is Sev-2: nobody has shown that it was harmless.
    """
    failed = record.figure("users_failed_share_in_surge")
    if failed is None:
        return Severity("Sev-2", "the record does not say how many users failed")
    if failed > MOST:
        return Severity("Sev-1", "more than half of the users of the surge failed")
    if failed > 0:
        return Severity("Sev-2", "some users of the surge failed")
    return Severity("Sev-3", "no user of the surge failed")


def due(record: Record) -> date:
    """The day by which every action must be done, counted from the end of the record.

    >>> due(Record("protected", ramp_at=1677668400.0))  # Wednesday 2023-03-01, not a Sev-1
    datetime.date(2023, 3, 8)
    """
    day = utc(max([record.ramp_at, *(e.at for e in record.events)])).date()
    if severity(record).name == "Sev-1":
        return day + timedelta(days=SEV_1_DAYS)
    left = OTHER_BUSINESS_DAYS
    while left:
        day += timedelta(days=1)
        left -= day.weekday() < SATURDAY
    return day
