import numpy as np
import pytest

from flts.timeseries.averages import TAPS, exponential_averages, exponential_averages_of, rows_since_gap


def test_rows_are_counted_from_the_last_gap():
    gaps = np.array([False, False, True, False, False, True])
    assert rows_since_gap(gaps).tolist() == [0, 1, 0, 1, 2, 0]


@pytest.mark.parametrize("half_life", [2.0, 15.0, 50.0])
def test_an_average_weighs_the_rows_since_the_gap_by_their_age_and_no_more_than_256(half_life: float):
    random = np.random.default_rng(1)
    values, gaps = random.normal(size=(700, 2)), np.zeros(700, dtype=bool)
    gaps[[40, 41, 600]] = True
    averages = exponential_averages(values, rows_since_gap(gaps), (half_life,))[:, 0]
    for row in (0, 1, 39, 40, 41, 50, 296, 297, 298, 599, 600, 699):
        start = max(*(gap for gap in (0, 40, 41, 600) if gap <= row), row - TAPS + 1)
        weights = 0.5 ** ((row - np.arange(start, row + 1)) / half_life)
        np.testing.assert_allclose(averages[row], weights @ values[start : row + 1] / weights.sum(), rtol=1e-12)


def test_the_last_256_rows_alone_give_the_same_bits():
    values = np.random.default_rng(2).normal(size=(1000, 3))
    since = rows_since_gap(np.zeros(1000, dtype=bool))
    whole = exponential_averages(values, since, (2.0, 50.0))
    part = exponential_averages(values[400 - TAPS : 400], rows_since_gap(np.zeros(TAPS, dtype=bool)), (2.0, 50.0))
    assert np.array_equal(part[-1], whole[399])


def test_a_row_that_nothing_counts_for_has_no_average():
    averages = exponential_averages(np.ones((2, 1)), np.array([-1, 0]), (5.0,))
    assert np.isnan(averages[0]).all()
    assert averages[1] == 1.0


def test_averages_of_single_rows_are_the_same_bits():
    random = np.random.default_rng(3)
    values, since = random.normal(size=(900, 3)), rows_since_gap(random.random(900) < 0.005) - 1
    rows = np.array([0, 899, 3, 255, 256, 257, 700, 3])
    whole = exponential_averages(values, since, (2.0, 50.0))
    np.testing.assert_array_equal(exponential_averages_of(rows, values, since, (2.0, 50.0)), whole[rows])
