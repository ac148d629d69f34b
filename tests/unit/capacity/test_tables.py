import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from premortem.capacity.tables import TableError, curve_from_csv, demand_from_csv

PLAIN = ((1, 2, 4, 8), (10, 18, 30, 40))


@pytest.mark.parametrize(
    "text",
    [
        "1,10\n2,18\n4,30\n8,40",
        "users,tps\n1,10\n2,18\n4,30\n8,40\n",
        "\ufeffClients;Throughput\r\n1;10,0\r\n2;18,0\r\n4;30,0\r\n8;40,0\r\n",
        "tps\tsessions\n10\t1\n18\t2\n30\t4\n40\t8\n",
        "# a comment\n\nfoo,bar\n8,40\n4,30\n2,18\n1,10\n0,0\n",
        "1 10\n2 18\n4 30\n8 40",
        'when,"N",X\n-,1,10\n-,2,18\n-,4,30\n-,8,40',
    ],
)
def test_any_shape_of_table(text):
    curve = curve_from_csv(text)
    assert (curve.loads, curve.throughputs) == PLAIN


def test_columns_may_be_named():
    text = "n,x,y\n1,0,10\n2,0,18\n4,0,30\n8,0,40"
    assert curve_from_csv(text, throughput="y").throughputs == PLAIN[1]
    with pytest.raises(TableError, match="no column 'z'; it has n, x, y"):
        curve_from_csv(text, load="z")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("load,throughput\n", "only a header"),
        ("1,2\n3,x", "line 2: 'x' is not a number"),
        ("1,2\n3,inf", "line 2: 'inf' is not finite"),
        ("1,2\n3", "line 2: 1 column"),
        ("1,2\n2,-3\n3,4\n4,5", "line 2: load 2 and throughput -3"),
        ("1,2\n2,3", "4 different loads"),
        ("\x00\x01", "not a text file"),
        ("a,b\n" + "1,2\n" * 1001, "average them"),
        ('1,2\n"' + "3" * 200_000 + '",4', "check the quotes"),
    ],
)
def test_bad_tables_are_refused_in_one_line(text, words):
    with pytest.raises(TableError, match=words) as caught:
        curve_from_csv(text, "FILE.csv")
    assert str(caught.value).startswith("FILE.csv: ")
    assert "\n" not in str(caught.value)


@given(st.text(max_size=200))
def test_any_text_is_a_curve_or_one_line(text):
    try:
        curve_from_csv(text)
    except TableError as error:
        assert len(str(error).splitlines()) == 1


@given(st.text(max_size=200))
def test_any_text_is_a_history_or_one_line(text):
    try:
        demand_from_csv(text)
    except TableError as error:
        assert len(str(error).splitlines()) == 1


def test_a_history_of_counts_becomes_rates():
    minutes = "\n".join(f"2026-01-01 00:{m:02d}:00,{60 * m}" for m in range(30))
    demand = demand_from_csv("period,count\n" + minutes)
    assert demand.step_s == 600
    assert demand.rates == pytest.approx((4.5, 14.5, 24.5))
    assert demand.start == 1767225600


def test_a_history_of_rates_stays_and_gaps_are_open():
    demand = demand_from_csv(
        "time,rate\n0,5\n3600,6\n10800,7\n14400,8\n7300,\n".replace("7300,\n", "")
    )
    assert demand.rates[:2] == (5, 6)
    assert math.isnan(demand.rates[2])
    assert demand.rates[3:] == (7, 8)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("time,rate\n0,5", "no history"),
        ("time,rate\n0,5\n0,6", "the same time"),
        ("time,rate\nyesterday,5\n0,6", "'yesterday' is no time"),
        ("time,rate\n0,5\n900000,6", "at least daily"),
        ("time,rate\n0,5\n600,6\n1200,7\n99999999999,6", "at most 1000000"),
        ("time,rate\n0,-5\n3600,6", "negative"),
    ],
)
def test_bad_histories_are_refused_in_one_line(text, words):
    with pytest.raises(TableError, match=words):
        demand_from_csv(text)
