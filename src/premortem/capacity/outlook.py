"""The days ahead without a load test: what will be asked, how sure that is, how fast it grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from premortem.capacity.backtest import Backtest, Forecast, Trusted, backtest, forecast, trust
from premortem.capacity.demand import Calendar, Demand, DemandError, Event, at_utc
from premortem.capacity.growth import Seasonal
from premortem.capacity.inputs import public_holidays
from premortem.capacity.tables import demand_from_csv
from premortem.capacity.trend import futures

__all__ = ["Outlook", "look_ahead", "outlook_dict", "outlook_from_csv", "outlook_text"]

DAYS = 7
TESTED_DAYS_MAX = 60
"""Older back-tests speak of another site."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """A forecast with what its width and its model rest on. Rates per second."""

    forecast: Forecast
    tested: Backtest
    """One day ahead, over the last weeks."""
    trusted: Trusted
    growth_per_day: tuple[float, float, float] | None
    """5 %, median, 95 %; ``None`` with fewer than three weeks of ordinary days."""
    unknown_events: tuple[str, ...]
    """Events ahead with neither a declared nor a learned factor: forecast as ordinary days."""

    def peak(self) -> int:
        """Index of the highest step of the first day ahead."""
        step = self.forecast.at[1] - self.forecast.at[0] if len(self.forecast.at) > 1 else 86_400
        day = self.forecast.median[: max(1, int(86_400 // step))]
        return max(range(len(day)), key=day.__getitem__)


def look_ahead(
    demand: Demand, calendar: Calendar, *, days: int = DAYS, last_good: Seasonal | None = None
) -> Outlook:
    """Forecast ``days`` days with the new model, or the last good one if that is better.

    Raises :class:`DemandError` while the history is too short to say how wrong it would be.
    """
    trusted = trust(demand, calendar, last_good)
    have = len(demand.rates) // demand.per_day
    tested = backtest(
        demand, calendar, horizon=demand.per_day, first_day=max(8, have - TESTED_DAYS_MAX)
    )
    try:
        peaks = demand if demand.per_day == 1 else demand.daily_peaks(calendar.utc_offset_h)
        growth = futures(peaks, calendar, days=1).growth_per_day
    except DemandError:
        growth = None
    ahead = {e.name for e in calendar.events if e.end > demand.end}
    return Outlook(
        forecast(demand, days * demand.per_day, calendar, trusted.model),
        tested,
        trusted,
        growth,
        tuple(sorted(ahead - set(trusted.model.factors))),
    )


def outlook_from_csv(
    history: str,
    *,
    events: Sequence[Event] = (),
    country: str | None = None,
    utc_offset_h: float = 0.0,
    days: int = DAYS,
    last_good: Seasonal | None = None,
) -> Outlook:
    """The same from a CSV text. Raises ``ValueError`` (one line)."""
    demand = demand_from_csv(history, "history")
    years = range(at_utc(demand.start).year, at_utc(demand.end).year + 2)
    free = public_holidays(country, years) if country else frozenset()
    calendar = Calendar(utc_offset_h, free, tuple(events))
    return look_ahead(demand, calendar, days=days, last_good=last_good)


def outlook_dict(outlook: Outlook) -> dict[str, object]:
    """JSON-able; ``model`` may be stored and given back as the last good one."""
    told = outlook.forecast
    return {
        "at": [at_utc(t).isoformat() for t in told.at],
        "low": list(told.low),
        "median": list(told.median),
        "high": list(told.high),
        "coverage_90": outlook.tested.coverage_90,
        "mase": outlook.tested.mase,
        "backtest": asdict(outlook.tested),
        "fresh": outlook.trusted.fresh,
        "reason": outlook.trusted.reason,
        "growth_per_day": list(outlook.growth_per_day) if outlook.growth_per_day else None,
        "unknown_events": list(outlook.unknown_events),
        "model": asdict(outlook.trusted.model),
    }


def outlook_text(outlook: Outlook) -> str:
    """The same for people."""
    told, tested, i = outlook.forecast, outlook.tested, outlook.peak()
    when = f"{at_utc(told.at[i]):%Y-%m-%d %H:%M} UTC"
    lines = [
        f"next peak {told.median[i]:.4g}/s at {when}, 90 % interval {told.low[i]:.4g} to "
        f"{told.high[i]:.4g}",
        f"over {tested.origins} days of the past that interval covered {tested.coverage_90:.0%}; "
        f"error {tested.mase:.2f} of seasonal-naive ({outlook.trusted.reason})",
    ]
    if outlook.growth_per_day:
        low, mid, high = outlook.growth_per_day
        lines.append(f"daily peaks grow {mid:+.2%} a day (90 % interval {low:+.2%} to {high:+.2%})")
    lines += [
        f"event {name!r} has no factor and no past: forecast as an ordinary day; declare one"
        for name in outlook.unknown_events
    ]
    return "\n".join(lines)
