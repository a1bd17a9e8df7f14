"""Numbers and times as the reports show them."""

import math

import numpy as np
import pytest

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
