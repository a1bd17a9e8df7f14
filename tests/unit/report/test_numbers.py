"""Numbers, times and ticks as the reports show them."""

import math

import numpy as np
import pytest

from flts.report.axes import linear_ticks, log_ticks, time_ticks
from flts.report.numbers import duration, moment, number, percent, plural, sentence, signed_percent

THIN, MINUS, UNKNOWN = "\u202f", "\u2212", "\u2013"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.040214, "0.04021"),
        (0.0016, "0.001600"),
        (-12.3456, f"{MINUS}12.35"),
        (109934672.0, f"109{THIN}934{THIN}672"),
        (1234.5678, f"1{THIN}235"),
        (0.0, "0"),
        (-0.0, "0"),
        (9.99996, "10.00"),
        (math.nan, UNKNOWN),
        (None, UNKNOWN),
        (math.inf, "\u221e"),
        (3.6e-7, "3.600\u00d710\u207b\u2077"),
        (5.344e15, "5.344\u00d710\u00b9\u2075"),
    ],
)
def test_numbers_keep_four_significant_digits_and_group_thousands(value, text):
    assert number(value) == text


def test_a_share_that_is_not_zero_never_reads_as_zero():
    assert percent(1e-7, 2) == f"<0.01{THIN}%"
    assert percent(0.0) == f"0.0{THIN}%"
    assert percent(0.119) == f"11.9{THIN}%"


def test_changes_carry_their_sign_with_a_real_minus():
    assert signed_percent(-0.119) == f"{MINUS}11.9{THIN}%"
    assert signed_percent(0.78) == f"+78.0{THIN}%"
    assert signed_percent(math.nan) == UNKNOWN


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.42 s"), (39.7, "39.7 s"), (120, "2 min"), (5400, "1 h 30 min"), (86400 * 22 + 7300, "22 d 2 h")],
)
def test_durations_name_their_two_largest_units(seconds, text):
    assert duration(seconds).replace(THIN, " ") == text


def test_times_are_shown_as_fine_as_they_are():
    assert moment(np.datetime64("2018-02-05T23:40:00", "us")) == "2018-02-05 23:40"
    assert moment(np.datetime64("2018-02-05T23:00:07", "s")) == "2018-02-05 23:00:07"
    assert moment(np.datetime64("2018-02-05", "D")) == "2018-02-05 00:00"
    assert moment(np.datetime64("NaT")) == UNKNOWN


def test_words_follow_the_count():
    assert (plural(1, "row"), plural(0, "row"), plural(1200, "row")) == ("1 row", "0 rows", f"1{THIN}200 rows")


def test_a_sentence_ends_with_one_full_stop_and_keeps_its_first_letter():
    assert sentence("down is constant") == "down is constant."
    assert sentence("Done.") == "Done."


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.0, 1.0, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0.0, 533e6, ["0", f"200{THIN}M", f"400{THIN}M"]),
        (0.0, 1.6e9, ["0.0", f"0.5{THIN}G", f"1.0{THIN}G", f"1.5{THIN}G"]),
        (990.0, 1040.0, ["990", f"1{THIN}000", f"1{THIN}010", f"1{THIN}020", f"1{THIN}030", f"1{THIN}040"]),
        (-3.0, 3.0, [f"{MINUS}2", "0", "2"]),
        (
            0.0,
            4.1e-8,
            ["0", "1\u00d710\u207b\u2078", "2\u00d710\u207b\u2078", "3\u00d710\u207b\u2078", "4\u00d710\u207b\u2078"],
        ),
    ],
)
def test_ticks_lie_at_round_numbers(low, high, labels):
    assert [tick.label for tick in linear_ticks(low, high, 5)] == labels


@pytest.mark.parametrize(("low", "high"), [(0.0, 1e-300), (-1e308, 1e308), (1e9, 1e9 + 1), (-5e-7, 3e5)])
def test_extreme_ranges_have_a_few_distinct_ticks_within(low, high):
    ticks = linear_ticks(low, high, 5)
    assert 2 <= len(ticks) <= 6
    assert all(low * 1.0001 <= tick.position <= high * 1.0001 or low <= tick.position <= high for tick in ticks)


def test_epochs_have_no_fractions():
    assert [tick.label for tick in linear_ticks(1, 3, 8, whole=True)] == ["1", "2", "3"]


def test_log_ticks_are_powers_when_the_range_is_wide():
    assert [tick.label for tick in log_ticks(0.002, 0.05)] == ["0.002", "0.005", "0.01", "0.02", "0.05"]
    assert 2 <= len(log_ticks(1e-9, 1e9)) <= 7


def _time_labels(start: str, stop: str, count: int = 6) -> list[tuple[str, str]]:
    low, high = (int(np.datetime64(text, "us").astype(np.int64)) for text in (start, stop))
    ticks = time_ticks(low, high, count)
    assert all(low <= tick.position <= high for tick in ticks)
    return [(tick.label, tick.context) for tick in ticks]


def test_time_ticks_name_the_day_once_and_the_clock_time_each():
    assert _time_labels("2018-02-05T22:10", "2018-02-06T04:00") == [
        ("23:00", "5 Feb 2018"),
        ("00:00", "6 Feb 2018"),
        ("01:00", ""),
        ("02:00", ""),
        ("03:00", ""),
        ("04:00", ""),
    ]


def test_time_ticks_over_weeks_fall_on_mondays():
    assert _time_labels("2018-02-05", "2018-03-06", 5) == [
        ("5 Feb", "2018"),
        ("12 Feb", ""),
        ("19 Feb", ""),
        ("26 Feb", ""),
        ("5 Mar", ""),
    ]


def test_time_ticks_over_years_fall_on_months_and_new_years():
    assert _time_labels("2019-11-05", "2020-06-01", 4) == [("Jan", "2020"), ("Mar", ""), ("May", "")]
    years = [label for label, _ in _time_labels("1996-03-01", "2024-01-01", 6)]
    assert years == ["2000", "2005", "2010", "2015", "2020"]


@pytest.mark.parametrize("span", [1, 40, 5_000, 10**6, 10**8, 10**11, 10**13, 10**15, 10**17])
def test_every_time_span_has_a_bounded_number_of_ticks(span):
    low = 1_517_874_000_000_000
    assert len(time_ticks(low, low + span, 8)) <= 10


def test_times_before_1970_have_ticks():
    assert [label for label, _ in _time_labels("1949-01-01", "1961-01-01", 6)] == [
        "1950",
        "1952",
        "1954",
        "1956",
        "1958",
        "1960",
    ]
