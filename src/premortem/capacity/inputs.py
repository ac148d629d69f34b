"""From texts and declared settings to a plan: everything here may be refused in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import date

from premortem.capacity.demand import Calendar, Event, at_utc
from premortem.capacity.intervals import peak
from premortem.capacity.plan import Plan, make_plan
from premortem.capacity.site import Database, Site
from premortem.capacity.tables import curve_from_csv, demand_from_csv
from premortem.capacity.usl import fit
from premortem.capacity.whatif import BadWords, WhatIf

__all__ = ["BadSetting", "plan_from_csv", "public_holidays", "site_from"]


class BadSetting(ValueError):
    """A declared setting of the site cannot be used; one line."""


def site_from(values: Mapping[str, object], database: Database) -> Site:
    """A site from declared settings. Raises :class:`BadSetting` for a name or type it cannot be."""
    known = {f.name: str(f.type) for f in fields(Site) if f.name != "database"}
    for name, value in values.items():
        if name not in known:
            raise BadSetting(f"site setting {name!r} is unknown; known are {', '.join(known)}")
        if value is None and "None" in known[name]:
            continue
        wanted = (
            (int,) if "int" in known[name] else (int, float) if "float" in known[name] else (str,)
        )
        if isinstance(value, bool) or not isinstance(value, wanted):
            raise BadSetting(
                f"site setting {name} = {value!r}: {known[name].split(' ')[0]} is needed"
            )
    return Site(database, **values)  # type: ignore[arg-type]


def plan_from_csv(
    *,
    history: str,
    usl: str,
    declared: Mapping[str, object],
    now: float | None = None,
    events: Sequence[Event] = (),
    what_ifs: Sequence[WhatIf] = (),
    target: date | None = None,
    country: str | None = None,
    utc_offset_h: float = 0.0,
    seed: int = 1,
) -> Plan:
    """The whole plan from two CSV texts and the declared settings.

    ``now`` is the end of the history unless given. Raises ``ValueError`` (one line) for anything
    that cannot be used.
    """
    demand = demand_from_csv(history, "history")
    curve = curve_from_csv(usl, "curve")
    fitted = fit(curve)
    database = Database.measured(curve, fitted.usl, peak(curve, fitted, seed=seed))
    years = range(at_utc(demand.start).year, at_utc(demand.end).year + 2)
    free = public_holidays(country, years) if country else frozenset()
    return make_plan(
        demand.end if now is None else now,
        demand,
        curve,
        site_from(declared, database),
        calendar=Calendar(utc_offset_h, free, tuple(events)),
        what_ifs=what_ifs,
        target=target,
        seed=seed,
    )


def public_holidays(country: str, years: Sequence[int]) -> frozenset[date]:
    """Public holidays by the ``holidays`` package (ISO code such as ``DE`` or ``KE``)."""
    import holidays  # noqa: PLC0415 - a heavy import that few plans need

    try:
        return frozenset(holidays.country_holidays(country, years=years))
    except NotImplementedError:  # what the package raises for a country it does not have
        raise BadWords(f"country {country!r}: not known; use an ISO code such as 'KE'") from None
