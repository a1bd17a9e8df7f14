"""Naive and linear forecasts against numbers worked out by hand and independent solvers."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from flts.errors import BadInputError
from flts.models import baselines, linear_baseline
from flts.models.baselines import LearnedBaselines, exponential_smoothing, smoothing_weights
from flts.models.fitted_baselines import FittedBaselines
from flts.models.linear_baseline import LinearBaseline
from flts.params import TrainParams
from flts.timeseries.baseline import Baseline
from flts.timeseries.metrics import score, target_range
from flts.timeseries.windows import forecast_origins
from tests.support.processed import processed

NAN = float("nan")


def params(history: int) -> TrainParams:
    return TrainParams(config_hash="", config_json="", identifier="", input_seq_len=history)


def linear(data, given: TrainParams, origins):
    return LinearBaseline.learn(data, given).forecast(data, origins)


def rows(*numbers: int):
    return np.array(numbers, dtype=np.int64)


def test_persistence_is_the_value_before_the_forecast_row():
    data = processed({"y": [1, 2, 4, 8], "x": [0, 0, 0, 0], "z": [5, 6, 7, 8]}, targets=("y", "z"))
    assert baselines.persistence(data, rows(1, 3)).tolist() == [[1, 5], [4, 7]]


def test_persistence_takes_the_measured_value_and_the_cleaned_one_where_none_was_measured():
    data = processed({"y": [1, 2, 3]}, actual={"y": [10, NAN, 3]})  # clipped from 10, filled in
    assert baselines.persistence(data, rows(1, 2)).tolist() == [[10], [2]]


def test_persistence_forecasts_the_row_after_the_last():
    assert baselines.persistence(processed({"y": [1, 2, 3]}), rows(3)).tolist() == [[3]]


def test_seasonal_naive_is_the_value_of_one_day_before():
    data = processed({"y": range(50)})
    assert baselines.seasonal_naive(data, rows(24, 25, 49)).tolist() == [[0], [1], [25]]


def test_seasonal_naive_falls_back_to_persistence_where_the_day_before_has_no_measured_value():
    measured = [float(n) for n in range(30)]
    measured[2] = NAN
    data = processed({"y": range(30)}, actual={"y": measured})
    assert baselines.seasonal_naive(data, rows(23, 25, 26)).tolist() == [[22], [1], [25]]


def test_seasonal_naive_goes_by_time_and_not_by_row_number():
    hours = [*range(10), *range(15, 45)]  # rows 10 on are five hours later
    data = processed({"y": hours}, minutes=[60 * hour for hour in hours])
    # Hour 25 finds hour 1; hour 35 would need hour 11, which is missing: hour 34 it is.
    assert baselines.seasonal_naive(data, rows(hours.index(25), hours.index(35))).tolist() == [[1], [34]]


def test_seasonal_naive_further_ahead_goes_back_as_many_days_as_lie_before_the_origin():
    data = processed({"y": range(120)})
    ahead = np.array([0, 1, 23, 24, 25, 47, 48])
    forecast = baselines.seasonal_naive_ahead(data, rows(50, 60), rows(50, 60)[:, None] + ahead)
    assert forecast[0, :, 0].tolist() == [26, 27, 49, 26, 27, 49, 26]
    assert forecast[1, :, 0].tolist() == [36, 37, 59, 36, 37, 59, 36]


def test_seasonal_naive_further_ahead_is_persistence_where_nothing_was_measured():
    measured = [float(n) for n in range(60)]
    measured[26] = NAN
    data = processed({"y": range(60)}, actual={"y": measured})
    forecast = baselines.seasonal_naive_ahead(data, rows(10, 50), rows(10, 50)[:, None] + np.arange(3))
    assert forecast[:, :, 0].tolist() == [[9, 9, 9], [49, 27, 28]]


def test_linear_finds_an_exact_linear_law():
    generator = np.random.default_rng(1)
    x = generator.normal(size=300)
    y = np.zeros(300)
    for t in range(2, 300):
        y[t] = 0.5 * y[t - 1] - 0.3 * y[t - 2] + 2 * x[t - 1] + 7
    data = processed({"y": y, "x": x})
    forecast = linear(data, params(2), np.arange(260, 300))
    assert forecast[:, 0] == pytest.approx(y[260:], abs=1e-4)


def noisy(scaler: str = "MinMaxScaler"):
    generator = np.random.default_rng(2)
    walk = generator.normal(size=(400, 3)).cumsum(axis=0)
    columns = {"y": walk[:, 0] * 1e9, "x": walk[:, 1] * 1e-9, "constant": np.full(400, 0.1), "z": walk[:, 2]}
    minutes = np.arange(400) * 60.0
    minutes[150:] += 600  # a gap in the fit part
    measured = columns["z"].copy()
    measured[290:300] = NAN  # validation rows that do not count
    return processed(columns, targets=("y", "z"), actual={"z": measured}, minutes=minutes, scaler=scaler)


def naive_ridge(data, history: int, alpha: float, origins):
    """Window by window, as an augmented least-squares problem: no normal equations, no eigenvalues."""
    fit_end = data.parts.fit_end
    columns = data.frame.matrix(data.features)
    deviation = np.array([column[:fit_end].std() or 1.0 for column in columns.T])
    deviation[data.features.index("constant")] = 1.0
    standard = (columns - columns[:fit_end].mean(axis=0)) / deviation
    targets = data.frame.matrix(data.targets)

    def window(t: int):
        return standard[t - history : t].ravel()

    gap = np.flatnonzero(data.gap_before())
    fit = [t for t in range(history, fit_end) if not any(t - history < g <= t for g in gap)]
    x, y = np.array([window(t) for t in fit]), targets[fit]
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    left = np.vstack([x - x_mean, np.sqrt(alpha) * np.eye(x.shape[1])])
    right = np.vstack([y - y_mean, np.zeros((x.shape[1], y.shape[1]))])
    beta = np.linalg.lstsq(left, right)[0]
    return np.array([(window(t) - x_mean) @ beta for t in origins]) + y_mean


def test_linear_equals_a_naive_ridge_at_the_penalty_that_is_best_on_validation():
    data, origins = noisy(), np.arange(345, 400)
    validation = forecast_origins(data.gap_before(), data.parts.fit_end, data.parts.validation_end, 5)
    losses = {
        alpha: score(
            data.actual_matrix()[validation], naive_ridge(data, 5, alpha, validation), unit=target_range(data)
        ).rmse
        for alpha in linear_baseline.ALPHAS
    }
    best = min(losses, key=losses.__getitem__)
    assert best not in (max(losses), min(losses))
    expected = naive_ridge(data, 5, best, origins)
    assert linear(data, params(5), origins) == pytest.approx(expected, rel=1e-7)


def test_linear_does_not_hang_on_the_scaler():
    origins = np.arange(345, 400)
    first, second = (linear(noisy(scaler), params(5), origins) for scaler in ("none", "StandardScaler"))
    assert np.array_equal(first, second)


def test_linear_in_small_batches_is_the_same(monkeypatch: pytest.MonkeyPatch):
    data, origins = noisy(), np.arange(345, 400)
    whole = linear(data, params(5), origins)
    monkeypatch.setattr(linear_baseline, "BATCH", 7)
    assert linear(data, params(5), origins) == pytest.approx(whole, rel=1e-9)


def test_linear_learns_nothing_from_the_selection_part():
    data, origins = noisy(), rows(345)
    before = linear(data, params(5), origins)
    changed = {name: np.concatenate([column[:345], column[345:] * 3]) for name, column in data.frame.columns.items()}
    after = linear(replace(data, frame=replace(data.frame, columns=changed)), params(5), origins)
    assert np.array_equal(before, after)


def test_linear_forecasts_without_any_measured_validation_value():
    y = np.arange(40.0)
    measured = y.copy()
    measured[20:] = NAN
    data = processed({"y": y}, actual={"y": measured})
    assert np.isfinite(linear(data, params(2), rows(35))).all()


def test_linear_says_how_many_rows_it_needs():
    with pytest.raises(BadInputError, match=r"has 7 rows .* input_seq_len 10 needs at least 11 consecutive rows"):
        linear(processed({"y": range(10)}), params(10), rows())


def smoothed(values, weight, origins, **given):
    return exponential_smoothing(processed({"y": values}, **given), np.array([weight]), rows(*origins))[:, 0].tolist()


def test_exponential_smoothing_moves_its_level_towards_each_value():
    # Levels: 8; 8/2 + 4/2 = 6; 6/2 + 2/2 = 4.
    assert smoothed([8, 4, 2], 0.5, (1, 2, 3)) == [8, 6, 4]


def test_exponential_smoothing_begins_again_after_a_gap():
    assert smoothed([8, 4, 100, 50], 0.5, (2, 3, 4), minutes=[0, 60, 600, 660]) == [6, 100, 75]


def test_exponential_smoothing_takes_measured_values_as_persistence_does():
    measured = {"y": [8, NAN, 20]}  # filled in with 4; clipped to 2 from 20
    assert smoothed([8, 4, 2], 0.5, (2, 3), actual=measured) == [6, 13]


def test_exponential_smoothing_with_the_whole_weight_on_the_newest_value_is_persistence():
    data, origins = noisy(), np.arange(1, 400)
    forecast = exponential_smoothing(data, np.ones(2), origins)
    assert np.array_equal(forecast, baselines.persistence(data, origins))


def test_the_smoothing_weight_is_the_one_with_the_least_squared_errors_in_the_fit_part():
    """Against a loop per weight over the forecasts themselves, with a gap and values that were not measured."""
    generator = np.random.default_rng(3)
    level = generator.normal(size=(300, 2)).cumsum(axis=0)
    values = level * [0.1, 3.0] + generator.normal(size=(300, 2))
    measured = values.copy()
    measured[50:60, 0] = NAN
    minutes = np.arange(300) * 60.0
    minutes[100:] += 600
    columns = {"y": values[:, 0], "z": values[:, 1]}
    data = processed(columns, targets=("y", "z"), actual={"y": measured[:, 0]}, minutes=minutes)
    fit = np.array([t for t in range(1, data.parts.fit_end) if t != 100])
    for column, chosen in enumerate(smoothing_weights(data)):
        losses = {}
        for weight in baselines.SMOOTHING_WEIGHTS:
            error = exponential_smoothing(data, np.array([weight] * 2), fit)[:, column] - measured[fit, column]
            losses[weight] = np.nansum(error**2)
        assert chosen == min(losses, key=losses.__getitem__)
        assert 0.01 < chosen < 1


def test_the_smoothing_weight_of_pure_noise_is_low_and_that_of_a_random_walk_is_high():
    noise = np.random.default_rng(4).normal(size=(2000, 2))
    data = processed({"y": noise[:, 0], "z": noise[:, 1].cumsum()}, targets=("y", "z"))
    low, high = smoothing_weights(data)
    assert low < 0.05
    assert high > 0.9


@pytest.mark.parametrize("values", [[5.0] * 20, [3.0, 4.0]])
def test_without_any_error_to_choose_by_smoothing_is_persistence(values):
    assert smoothing_weights(processed({"y": values})).tolist() == [1]


def test_nothing_that_the_baselines_learn_comes_from_later_rows_than_it_should():
    data = noisy()
    selection = np.arange(len(data)) >= data.parts.validation_end
    later, measured = (
        {name: np.where(selection, 3 * values + 7, values) for name, values in columns.items()}
        for columns in (data.frame.columns, data.actual)
    )
    changed = replace(data, frame=replace(data.frame, columns=later), actual=measured)
    assert LearnedBaselines.learn(changed, params(5)).fitted(data.targets) == (
        LearnedBaselines.learn(data, params(5)).fitted(data.targets)
    )


def test_baselines_that_were_written_and_read_forecast_the_same():
    data, origins = noisy(), np.arange(345, 400)
    learned = LearnedBaselines.learn(data, params(5))
    text = learned.fitted(data.targets).model_dump_json()
    restored = LearnedBaselines.of(FittedBaselines.model_validate_json(text), data.targets)
    before, after = (each.forecasts(data, origins, 5) for each in (learned, restored))
    assert before.keys() == after.keys() == set(Baseline)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_linear_baseline_that_cannot_see_the_rows_that_it_needs_is_left_out(monkeypatch: pytest.MonkeyPatch):
    data, origins = noisy(), np.arange(345, 400)
    learned = LearnedBaselines.learn(data, params(5))
    assert Baseline.LINEAR not in learned.forecasts(data, origins, history=4)
    columns = {name: values for name, values in data.frame.columns.items() if name != "x"}
    without = replace(data, frame=replace(data.frame, columns=columns))
    assert Baseline.LINEAR not in learned.forecasts(without, origins, history=5)
    monkeypatch.setattr(baselines, "LARGEST_LINEAR", 10)
    assert learned.fitted(data.targets).linear is None


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("smoothing", {"y": 1.5, "z": 0.5}, "less than or equal to 1"),
        ("smoothing", {"y": 0.5}, "for the same targets"),
        ("naive_mae", {"y": -1.0, "z": 1.0}, "greater than or equal to 0"),
        ("mean", [0.0], "one mean and one deviation"),
        ("deviation", [0.0, 1.0, 1.0, 1.0], "greater than 0"),
        ("centre", [0.0], "one weight for each value"),
        ("level", {"y": 0.0}, "for the same targets"),
        ("history", 0, "greater than or equal to 1"),
    ],
)
def test_impossible_baselines_are_refused(field, value, message):
    document = LearnedBaselines.learn(noisy(), params(5)).fitted(("y", "z")).model_dump()
    (document if field in document else document["linear"])[field] = value
    with pytest.raises(ValidationError, match=message):
        FittedBaselines.model_validate(document)
