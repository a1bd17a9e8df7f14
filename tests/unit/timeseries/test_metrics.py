"""Scores against numbers worked out by hand."""

import math

import numpy as np
import pytest

from flts.timeseries.metrics import Scores, one_step_naive_mae, score
from tests.support.processed import processed

NAN = float("nan")


def column(*values: float):
    return np.array(values, dtype=float)[:, None]


def test_scores_without_a_unit_by_hand():
    # Errors -1, 0, +2 and 0; naive errors of 2 on average. Mean |actual| is (4 + 5 + 0 + 3) / 4 = 3.
    scores = score(column(4, 5, 0, 3, NAN), column(3, 5, 2, 3, 9), naive_mae=np.array([2.0]))
    assert scores.mae == pytest.approx(3 / 4)
    assert scores.mase == pytest.approx(3 / 4 / 2)
    assert scores.smape == pytest.approx((2 * 1 / 7 + 0 + 2 * 2 / 2 + 0) / 4)
    assert scores.rmse == pytest.approx(math.sqrt(5 / 4))
    assert scores.nrmse == pytest.approx(math.sqrt(5 / 4) / 3)


def test_zero_forecast_as_zero_has_no_percentage_error():
    scores = score(column(0, 0, -2), column(0, 0, 2), naive_mae=np.array([1.0]))
    assert scores.smape == pytest.approx((0 + 0 + 2) / 3)  # 2 is the most that there is


def test_scores_without_a_unit_do_not_change_with_the_unit_of_the_others():
    actual, predicted = column(1, 2, 4), column(2, 2, 2)
    one, other = (score(actual, predicted, unit=unit, naive_mae=np.array([0.5])) for unit in (1.0, 10.0))
    assert (one.mase, one.smape, one.nrmse) == (other.mase, other.smape, other.nrmse)
    assert one.mae == pytest.approx(10 * other.mae)


def test_each_target_is_scaled_by_its_own_unit():
    actual, predicted = np.array([[1.0, 100.0], [3.0, 300.0]]), np.array([[2.0, 200.0], [3.0, 300.0]])
    scores = score(actual, predicted, naive_mae=np.array([1.0, 50.0]))
    assert scores.mase == pytest.approx((1 / 1 + 0 + 100 / 50 + 0) / 4)
    assert scores.nrmse == pytest.approx(math.sqrt(((1 / 2) ** 2 + (100 / 200) ** 2) / 4))


def test_a_target_whose_unit_is_zero_does_not_count():
    actual, predicted = np.array([[1.0, 0.0], [3.0, 0.0]]), np.array([[2.0, 9.0], [3.0, 9.0]])
    scores = score(actual, predicted, naive_mae=np.array([2.0, 0.0]))
    assert scores.mase == pytest.approx((1 / 2 + 0) / 2)
    assert scores.nrmse == pytest.approx(math.sqrt(((1 / 2) ** 2) / 2))
    alone = score(actual[:, 1:], predicted[:, 1:], naive_mae=np.array([0.0]))
    assert math.isnan(alone.mase)
    assert math.isnan(alone.nrmse)
    assert alone.smape == 2


def test_a_forecast_that_is_not_a_number_makes_every_score_one():
    scores = score(column(1, 2), column(NAN, 2), naive_mae=np.array([1.0]))
    assert all(math.isnan(value) for value in (scores.rmse, scores.mae, scores.mse))
    assert all(math.isnan(value) for value in (scores.mase, scores.smape, scores.nrmse))


def test_scores_without_a_unit_are_unknown_where_they_are_not_asked_for():
    assert score(column(1, 2), column(1, 3)) == Scores(math.sqrt(0.5), 0.5, 0.5)
    assert math.isnan(score(column(NAN), column(1), naive_mae=np.array([1.0])).smape)


def test_the_naive_error_is_of_successive_measured_values_of_the_fit_part():
    values = [1, 2, 4, NAN, 7, 10, 100, 103, 0, 0, 0, 0]
    minutes = [60.0 * row + (600 if row >= 6 else 0) for row in range(12)]
    data = processed({"y": np.nan_to_num(values)}, actual={"y": values}, minutes=minutes)
    assert data.parts.fit_end == 8
    # |2 - 1|, |4 - 2|, |10 - 7|, |103 - 100|; not to and from the missing value, not across the gap, nothing after 103.
    assert one_step_naive_mae(data).tolist() == [9 / 4]


def test_the_naive_error_is_zero_where_there_is_none():
    assert one_step_naive_mae(processed({"y": [5.0, 6.0]})).tolist() == [0]
    assert one_step_naive_mae(processed({"y": [5.0] * 9})).tolist() == [0]
