import numpy as np

from flts.models.volatility import REACH, Volatility, relative_weights
from flts.timeseries.averages import rows_since_gap


def since(rows: int, *gaps: int) -> np.ndarray:
    before = np.zeros(rows, dtype=bool)
    before[list(gaps)] = True
    return rows_since_gap(before)


def test_volatility_is_the_average_change_and_a_tenth_of_its_mean():
    values = np.random.default_rng(1).normal(size=(100, 1)).cumsum(axis=0)
    volatility = Volatility.learn(values, since(100))
    average = [
        np.average(np.abs(np.diff(values[: t + 1, 0])), weights=0.5 ** (np.arange(t)[::-1] / 15)) for t in range(1, 100)
    ]
    np.testing.assert_allclose(volatility.mean, [np.mean(average)])
    expected = np.array([volatility.mean[0], *average]) + 0.1 * np.mean(average)
    np.testing.assert_allclose(volatility.at(values, since(100))[:, 0], expected)


def test_volatility_sees_no_later_row_no_change_across_a_gap_and_no_more_rows_than_its_reach():
    values = np.random.default_rng(2).normal(size=(700, 2)).cumsum(axis=0)
    counted = since(700, 300)
    volatility = Volatility.learn(values, counted)
    known = volatility.at(values, counted)
    later = np.where(np.arange(700)[:, None] < 650, values, values + 1e6)
    assert np.array_equal(volatility.at(later, counted)[:650], known[:650])
    shifted = np.where(np.arange(700)[:, None] < 300, values, values + 2.0**20)
    np.testing.assert_allclose(volatility.at(shifted, counted), known, rtol=1e-6)
    assert np.array_equal(known[300], 1.1 * volatility.mean)
    assert np.array_equal(volatility.at(values[690 - REACH : 690], since(REACH))[-1], known[689])


def test_a_target_that_never_moves_has_a_volatility():
    values = np.full((50, 1), 7.0)
    volatility = Volatility.learn(values, since(50))
    assert np.isfinite(relative_weights(volatility.at(values, since(50)))).all()
    assert Volatility.learn(values[:1], since(1)).mean.tolist() == [1.0]


def test_weights_fall_with_volatility_and_have_mean_one():
    weights = relative_weights(np.array([[1.0, 5.0], [2.0, 5.0], [4.0, 5.0]]))
    np.testing.assert_allclose(weights.mean(axis=0), 1.0)
    np.testing.assert_allclose(weights[0, 0] / weights[2, 0], 4.0)
    np.testing.assert_allclose(weights[:, 1], 1.0)
