import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from premortem.capacity.usl import BeyondCapacity, Curve, Usl, fit

sigmas = st.floats(0, 0.9)
kappas = st.floats(1e-7, 0.1)
lams = st.floats(0.01, 1e5)


def test_the_published_parameters_of_specsdm91_and_their_errors(curves):
    found = fit(curves["specsdm91"])
    assert found.usl.sigma == pytest.approx(0.0277285, abs=5e-7)
    assert found.usl.kappa == pytest.approx(0.0001044, abs=5e-8)
    assert found.usl.lam == pytest.approx(89.9952, abs=5e-4)
    assert found.se_sigma == pytest.approx(0.0091217, abs=5e-7)
    assert found.se_kappa == pytest.approx(0.0000199, abs=5e-8)
    assert found.se_lam == pytest.approx(14.2135, abs=5e-4)
    assert found.usl.n_max == pytest.approx(96.52, abs=0.005)
    assert found.usl.x_max == pytest.approx(1884, abs=0.5)


def test_a_curve_without_coherency_is_held_at_zero(curves):
    found = fit(curves["raytracer"])
    assert found.usl.kappa == 0
    assert math.isnan(found.se_kappa)
    assert found.usl.sigma == pytest.approx(0.05777, abs=5e-6)
    assert found.usl.lam == pytest.approx(21.849, abs=5e-4)
    assert found.usl.n_max == math.inf
    assert found.usl.x_max == pytest.approx(found.usl.lam / found.usl.sigma)


def test_the_synthetic_curve_gives_its_parameters_back(curves):
    found = fit(curves["synthetic"]).usl
    assert (found.sigma, found.kappa, found.lam) == pytest.approx((0.02, 0.02, 1.0), abs=1e-4)


@given(sigmas, kappas, lams)
def test_an_exact_curve_is_recovered(sigma, kappa, lam):
    true = Usl(sigma, kappa, lam)
    assume(true.n_max > 3)
    loads = tuple(true.n_max * share for share in (0.1, 0.3, 0.6, 0.9, 1.2, 2.0))
    assume(loads[0] >= 1)
    found = fit(Curve(loads, tuple(map(true.throughput, loads)))).usl
    assert found.n_max == pytest.approx(true.n_max, rel=1e-3)
    assert found.x_max == pytest.approx(true.x_max, rel=1e-3)


@given(sigmas, kappas, lams, st.floats(0.01, 1))
def test_inverses_by_round_trip(sigma, kappa, lam, share):
    usl = Usl(sigma, kappa, lam)
    assume(usl.n_max >= 1 and abs(sigma - kappa) > 1e-9)
    n = 1 + share * (0.999 * usl.n_max - 1)
    assume(n >= 1)
    x, r = usl.throughput(n), usl.response(n)
    assert usl.load_at_response(r) == pytest.approx(n, rel=1e-6)
    assert usl.throughput_at_response(r) == pytest.approx(x, rel=1e-6)
    assert usl.load_at_throughput(x) == pytest.approx(n, rel=1e-3)
    assert usl.response_at_throughput(x) == pytest.approx(r, rel=1e-3)


def test_the_response_inverse_holds_beyond_the_peak_too():
    usl = Usl(0.1, 0.01, 50.0)
    assert usl.load_at_response(usl.response(40.0)) == pytest.approx(40.0)


def test_the_inverse_is_the_quadratic_of_the_reference():
    usl, x = Usl(0.03, 0.001, 90.0), 900.0
    b = usl.lam - usl.sigma * x + usl.kappa * x
    root = math.sqrt(b * b - 4 * usl.kappa * x * x * (1 - usl.sigma))
    assert usl.response_at_throughput(x) == pytest.approx((b - root) / (2 * usl.kappa * x * x))


def test_beyond_capacity_is_said_so():
    usl = Usl(0.03, 0.001, 90.0)
    with pytest.raises(BeyondCapacity, match="beyond the capacity"):
        usl.response_at_throughput(usl.x_max * 1.001)
    with pytest.raises(BeyondCapacity, match="one alone"):
        usl.load_at_response(0.5 / usl.lam)
    with pytest.raises(BeyondCapacity):
        Usl(0.1, 0.0, 10.0).load_at_throughput(101.0)
    with pytest.raises(BeyondCapacity, match="never changes"):
        Usl(0.0, 0.0, 10.0).load_at_response(0.2)


def test_without_coherency_the_inverses_are_linear():
    usl = Usl(0.1, 0.0, 10.0)
    assert usl.load_at_response(usl.response(7.0)) == pytest.approx(7.0)
    assert usl.load_at_throughput(usl.throughput(7.0)) == pytest.approx(7.0)


@given(sigmas, kappas, lams, st.floats(1, 1e4))
def test_nothing_exceeds_the_peak(sigma, kappa, lam, n):
    usl = Usl(sigma, kappa, lam)
    assume(usl.n_max >= 1)
    assert usl.throughput(n) <= usl.x_max * (1 + 1e-9)


def test_twice_the_server_has_twice_the_knee():
    usl = Usl(0.02, 0.0005, 10.0)
    assert usl.scaled(2).n_max == pytest.approx(2 * usl.n_max, rel=0.02)
    assert usl.scaled(2).x_max == pytest.approx(2 * usl.x_max, rel=0.03)


@pytest.mark.parametrize(
    ("loads", "throughputs", "words"),
    [
        ((1, 2, 3), (1, 2, 3), "4 different loads"),
        ((1, 1, 1, 1), (1, 2, 3, 4), "4 different loads"),
        ((1, 2, 3, 4), (1, 2, 3), "one throughput for every load"),
        ((1, 2, 3, 4), (1, 2, 3, -4), "positive"),
        ((1, 2, 3, math.nan), (1, 2, 3, 4), "positive"),
    ],
)
def test_a_curve_that_is_none_is_refused(loads, throughputs, words):
    with pytest.raises(ValueError, match=words):
        Curve(loads, throughputs)


def test_a_curve_is_sorted_and_averages_repeated_loads():
    curve = Curve((4, 1, 2, 3, 4), (8, 1, 2, 3, 10))
    assert curve.loads == (1, 2, 3, 4, 4)
    assert curve.means()[-1] == (4, 9)


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_the_unit_of_the_throughput_does_not_matter(curves, unit):
    plain = curves["specsdm91"]
    scaled = Curve(plain.loads, tuple(x * unit for x in plain.throughputs))
    assert fit(scaled).usl.kappa == pytest.approx(fit(plain).usl.kappa, rel=1e-6)
    assert fit(scaled).se_lam == pytest.approx(fit(plain).se_lam * unit, rel=1e-6)
