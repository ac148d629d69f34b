"""Curves of the literature, and one small site that is past its knee."""

import math
from datetime import UTC, datetime

import numpy as np
import pytest

from premortem.capacity.demand import Demand
from premortem.capacity.intervals import peak
from premortem.capacity.site import Database, Site
from premortem.capacity.usl import Curve, fit

PG15 = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@pytest.fixture(scope="session")
def curves() -> dict[str, Curve]:
    return {
        "specsdm91": Curve(
            (1, 18, 36, 72, 108, 144, 216), (64.9, 995.9, 1652.4, 1853.2, 1828.9, 1775.0, 1702.2)
        ),
        "raytracer": Curve(
            (1, 4, 8, 12, 16, 20, 24, 28, 32, 48, 64),
            (20, 78, 130, 170, 190, 200, 210, 230, 260, 280, 310),
        ),
        "synthetic": Curve((1, 2, 4, 6, 8, 10), (1, 1.8868, 3.0769, 3.5294, 3.5398, 3.3557)),
        "pg91": Curve(
            (1, 4, 8, 12, 16, 20, 24),
            (4373.30, 15582.91, 27353.51, 37502.23, 45365.16, 46926.75, 42854.19),
        ),
        "select": Curve(PG15, (8514, 12573, 21027, 23755, 18963, 14025, 11733, 6245, 4003)),
        "tpcb": Curve(PG15, (400, 486, 456, 599, 871, 1042, 919, 752, 624)),
    }


@pytest.fixture(scope="session")
def select_database(curves: dict[str, Curve]) -> Database:
    """PostgreSQL 15 on two cores, a request being twenty selects."""
    select = curves["select"]
    curve = Curve(select.loads, tuple(x / 20 for x in select.throughputs))
    fitted = fit(curve)
    return Database.measured(curve, fitted.usl, peak(curve, fitted))


@pytest.fixture
def shop(select_database: Database) -> Site:
    """Two web servers of four processes with pools of five: 40 sessions, knee at 8.7."""
    return Site(
        select_database,
        web_servers=2,
        pool_size=5,
        web_cpu_s=0.002,
        web_cores=2,
        db_cores=2,
        db_cores_measured=2,
        read_ratio=0.8,
    )


@pytest.fixture(scope="session")
def growing() -> Demand:
    """Sixty days of hourly rates with a daily wave, growing 0.6 % a day to a peak of 860/s."""
    dice = np.random.default_rng(3)
    hours = np.arange(60 * 24)
    wave = 1 + 0.5 * np.sin(2 * math.pi * (hours % 24 - 9) / 24)
    rates = 400 * np.exp(0.006 * hours / 24) * wave * np.exp(dice.normal(0, 0.05, len(hours)))
    start = datetime(2026, 9, 20, tzinfo=UTC).timestamp()
    return Demand(start, 3600.0, tuple(map(float, rates)))
