import numpy as np

from flts.models.volatility import REACH, Volatility, error_weights
from flts.timeseries.averages import rows_since_gap
from tests.support.series import changed_from, make_data


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
    assert (volatility.at(values, since(50)) > 0).all()
    assert Volatility.learn(values[:1], since(1)).mean.tolist() == [1.0]


def test_an_error_weighs_the_inverse_of_the_volatility_before_it_with_mean_one():
    data = make_data(100, targets=("a", "b"), gaps=(60,))
    origins = np.r_[10:55, 65:70]
    weights = error_weights(data, origins, 70, by_volatility=True)
    counted = since(100, 60)
    values = data.frame.matrix(("a", "b"))
    volatility = Volatility.learn(values[:70], counted[:70]).at(values, counted)
    np.testing.assert_allclose(weights[origins].mean(axis=0), 1.0)
    np.testing.assert_allclose(weights[20] / weights[100], volatility[99] / volatility[19])
    assert (error_weights(data, origins, 70, by_volatility=False) == 1.0).all()


def test_weights_up_to_a_row_do_not_depend_on_what_follows():
    data, origins = make_data(100), np.arange(10, 70)
    ours, theirs = (error_weights(each, origins, 70, by_volatility=True) for each in (data, changed_from(data, 80)))
    assert np.array_equal(ours[:81], theirs[:81])
