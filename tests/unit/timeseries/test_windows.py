"""Forecast origins and windows."""

import numpy as np
import pytest

from flts.timeseries.windows import forecast_origins, spans_gap, window_rows


def flags(rows, *gaps):
    found = np.zeros(rows, dtype=bool)
    found[list(gaps)] = True
    return found


def test_every_row_with_its_history_may_be_forecast():
    np.testing.assert_array_equal(forecast_origins(flags(6), 0, 6, history=2), [2, 3, 4, 5])


def test_history_may_lie_before_the_part_that_is_forecast():
    np.testing.assert_array_equal(forecast_origins(flags(6), 3, 5, history=3), [3, 4])


def test_a_gap_within_history_or_horizon_rules_a_window_out():
    # The gap lies between rows 3 and 4: a window may end before it or begin after it.
    np.testing.assert_array_equal(forecast_origins(flags(9, 4), 0, 9, history=2, horizon=1), [2, 3, 6, 7, 8])
    np.testing.assert_array_equal(forecast_origins(flags(9, 4), 0, 9, history=2, horizon=2), [2, 6, 7])


def test_a_stretch_spans_a_gap_that_lies_after_its_first_row():
    first, last = np.array([[0], [3], [4], [2]]), np.array([[3, 4], [4, 9], [8, 9], [2, 3]])
    expected = [[False, True], [True, True], [False, False], [False, False]]
    np.testing.assert_array_equal(spans_gap(flags(9, 4), first, last), expected)


def test_too_few_rows_have_no_window():
    assert len(forecast_origins(flags(3), 0, 3, history=3)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_origins_equal_a_search_row_by_row(seed):
    random = np.random.default_rng(seed)
    gap_before = random.random(60) < 0.1
    start, stop, history, horizon = 10, 55, int(random.integers(1, 6)), int(random.integers(1, 4))
    expected = [
        row
        for row in range(max(start, history), stop - horizon + 1)
        if not gap_before[row - history + 1 : row + horizon].any()
    ]
    np.testing.assert_array_equal(forecast_origins(gap_before, start, stop, history, horizon), expected)


def test_the_rows_of_a_window_end_just_before_its_origin():
    np.testing.assert_array_equal(window_rows(np.array([3, 7]), 3), [[0, 1, 2], [4, 5, 6]])
