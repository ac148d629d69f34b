"""How good the demand forecast is on the World Cup 98 traffic.

``python -m benchmarks.forecast [--json] [--peer]``; the last line of output is one JSON object.
Exit code 1 when coverage or error miss their bar.

Back-tested with a rolling origin, one a day at 00:00 UTC from the 15th day on; only what was known
then is used. Declared events are the 27 days on which matches were played, as whole UTC days from
the tournament's schedule (published beforehand); each stretch of consecutive days is one event
without a factor, so its multiple is learned from earlier ones. They are left out of coverage and
error; what happened inside them is printed beside it, and so is the whole with nothing declared.
The model's constants were chosen on this very series, so a new series may do worse; the widths are
measured anew on each series.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import sys
import warnings
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from premortem.capacity.backtest import Backtest, backtest
from premortem.capacity.demand import Calendar, Demand
from premortem.capacity.growth import event_logs, fit_seasonal
from premortem.capacity.tables import demand_from_csv
from premortem.capacity.whatif import whole_day

DATA = Path(__file__).parent / "data" / "worldcup98_requests_per_minute.csv.gz"
FIRST_MINUTE = "1998-05-01"
"""The recording begins in the evening of 30 April; the first whole day is 1 May."""
MATCH_DAYS = (
    (date(1998, 6, 10), date(1998, 6, 30)),  # group stage and round of 16, a match every day
    (date(1998, 7, 3), date(1998, 7, 4)),  # quarter-finals
    (date(1998, 7, 7), date(1998, 7, 8)),  # semi-finals
    (date(1998, 7, 11), date(1998, 7, 12)),  # third place and final
)
COVERAGE = (0.85, 0.95)
MASE_MAX = 1.0
HOUR_S = 3600.0


def hourly(text: str, step_s: float = HOUR_S) -> Demand:
    """The recording as requests per second, from its first whole day on."""
    rows = csv.reader(io.StringIO(text))
    head = next(rows)
    kept = "\n".join(",".join(r) for r in [head, *(r for r in rows if r[0] >= FIRST_MINUTE)])
    return demand_from_csv(kept, "World Cup 98").averaged(step_s)


def calendar() -> Calendar:
    return Calendar(events=tuple(whole_day("match days", a, b, None) for a, b in MATCH_DAYS))


def against_holt_winters(demand: Demand, known: Calendar) -> dict[str, float]:
    """Error over that of the day before, outside events, with the events known and without.

    The peer is statsmodels' damped Holt-Winters on logarithms of the last two weeks. It has no
    place for events: where they are known its history is divided by the multiples learned here.
    """
    # imported here: heavy, and only the peer needs it
    from statsmodels.tsa.holtwinters import (  # type: ignore[import-untyped]  # noqa: PLC0415
        ExponentialSmoothing,
    )

    def peer(log: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = ExponentialSmoothing(
                log, trend="add", damped_trend=True, seasonal="add", seasonal_periods=day
            )
            return np.exp(model.fit().forecast(day))

    day, y, none = demand.per_day, demand.array, Calendar()
    missed: dict[str, list[Any]] = {}
    for count in range(14 * day, len(y) - day + 1, day):
        at, past = demand.times(count, count + day), demand.times(count - 14 * day, count)
        calm, actual, log = (
            ~known.during(at),
            y[count : count + day],
            np.log(y[count - 14 * day : count]),
        )
        if not calm.any():
            continue
        ours, blind = (
            fit_seasonal(demand.until(count), known),
            fit_seasonal(demand.until(count), none),
        )
        for name, told in (
            ("naive", y[count - day : count]),
            ("known", ours.median(at, known)),
            ("holt_winters_known", peer(log - event_logs(past, known, ours.factors))),
            ("blind", blind.median(at, none)),
            ("holt_winters_blind", peer(log)),
        ):
            missed.setdefault(name, []).append(np.abs(actual - told)[calm])
    error = {name: float(np.concatenate(found).mean()) for name, found in missed.items()}
    return {name: value / error["naive"] for name, value in error.items() if name != "naive"}


def measure(*, peer: bool) -> dict[str, Any]:
    demand = hourly(gzip.decompress(DATA.read_bytes()).decode())
    known = calendar()
    day_ahead = backtest(demand, known, horizon=24)
    week_ahead = backtest(demand, known, horizon=168)
    undeclared = backtest(demand, Calendar(), horizon=24)
    result: dict[str, Any] = {
        "coverage_90": day_ahead.coverage_90,
        "mase": day_ahead.mase,
        "n": day_ahead.n,
        "origins": day_ahead.origins,
        "day_ahead": asdict(day_ahead),
        "week_ahead": asdict(week_ahead),
        "nothing_declared": asdict(undeclared),
        "events_excluded": [f"{a} to {b}" for a, b in MATCH_DAYS],
        "events_declared": "days with matches by the published schedule, whole UTC days, "
        "multiple learned from earlier match days",
        "steps": "hourly means of requests per minute",
    }
    if peer:
        result["against_holt_winters"] = against_holt_winters(demand, known)
    result["ok"] = all(
        COVERAGE[0] <= t.coverage_90 <= COVERAGE[1] and t.mase < MASE_MAX
        for t in (day_ahead, week_ahead)
    )
    return result


def line(name: str, b: Backtest | dict[str, Any]) -> str:
    d = asdict(b) if isinstance(b, Backtest) else b
    return (
        f"{name:18} coverage {d['coverage_90']:.3f}  error/naive {d['mase']:.3f} "
        f"(day {d['mase_day']:.3f}, week {d['mase_week']:.3f})  n {d['n']}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON object")
    parser.add_argument("--peer", action="store_true", help="also fit Holt-Winters (a minute)")
    chosen = parser.parse_args()
    result = measure(peer=chosen.peer)
    if not chosen.json:
        for name in ("day_ahead", "week_ahead", "nothing_declared"):
            print(line(name.replace("_", " "), result[name]))
        if chosen.peer:
            print("error/naive (day):", result["against_holt_winters"])
    print(json.dumps(result))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
