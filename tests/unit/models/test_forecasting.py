"""Forecasts of any length against an independent loop that goes one block at a time and rebuilds everything."""

import numpy as np
import pytest

from flts.errors import BadInputError
from flts.models.forecasting import forecast_from, forecast_steps, one_step
from flts.timeseries.features import time_features
from flts.timeseries.frame import Frame
from flts.timeseries.metrics import target_range
from tests.support.forecasters import FORECASTERS, truncated
from tests.support.series import MINUTE, ToyForecaster, changed_from, make_data


def naive_forecast(forecaster, data, start, steps):
    """Forecast block by block from columns that are built anew, as lists, before each."""
    rows = len(data)
    time = data.frame.time.tolist()
    interval = MINUTE.tolist()
    base = {name: data.frame.columns[name].tolist() for name in "abc"}
    lags = [(name, *name.split("_lag_")) for name in data.features if "_lag_" in name]
    predicted = []
    modes = []
    for origin in range(start, start + steps, forecaster.output_seq_len):
        window_time = time[:origin] + [time[-1] + (k + 1) * interval for k in range(max(0, origin - rows))]
        columns = {}
        for name in "abc":
            values = base[name][:origin]
            for row in range(rows, origin):
                held = base[name][-1]
                values.append(predicted[row - start][name] if name in data.targets else held)
            columns[name] = values
        columns |= {name: v.tolist() for name, v in time_features(np.array(window_time, "datetime64[us]")).items()}
        for name, of, n in lags:
            known = data.frame.columns[name].tolist()[:origin]
            columns[name] = known + [columns[of][row - int(n)] for row in range(rows, origin)]
        arrays = {name: np.array(columns[name]) for name in data.features}
        frame = Frame(np.array(window_time, "datetime64[us]"), arrays)
        block = forecaster.forecast(frame, np.array([origin]))[0]
        predicted += [dict(zip(data.targets, row, strict=True)) for row in block]
        modes += [origin > rows] * len(block)
    values = np.array([[step[name] for name in data.targets] for step in predicted[:steps]])
    return values, np.array(modes[:steps])


@pytest.mark.parametrize("lags", [(), (1, 4)])
@pytest.mark.parametrize("block", [1, 3])
@pytest.mark.parametrize("targets", [("a",), ("b", "a")])
@pytest.mark.parametrize(("start", "steps"), [(10, 7), (10, 30), (28, 40), (30, 25), (5, 1)])
def test_any_stretch_of_steps_equals_the_naive_loop(targets, block, lags, start, steps):
    data = make_data(30, targets=targets, lags=lags, gaps=[17])
    forecaster = ToyForecaster(data, input_seq_len=5, output_seq_len=block)
    expected, recursive = naive_forecast(forecaster, data, start, steps)

    forecast = forecast_steps(forecaster, data, start, steps)

    # A batch of one and a batch of many may differ in the last bits of their matrix products.
    np.testing.assert_allclose(forecast.values, expected, rtol=1e-11)
    np.testing.assert_array_equal(forecast.recursive, recursive)


def test_lags_longer_than_the_window_are_followed_recursively():
    data = make_data(30, lags=(12,))
    forecaster = ToyForecaster(data, input_seq_len=2, output_seq_len=1)
    expected, _ = naive_forecast(forecaster, data, 30, 20)
    np.testing.assert_allclose(forecast_steps(forecaster, data, 30, 20).values, expected, rtol=1e-11)


def test_a_lag_longer_than_the_data_is_held_until_it_is_known():
    data = make_data(30, lags=(20,))
    short = ToyForecaster(data, input_seq_len=3, output_seq_len=1)
    tail = type(data)(**{**vars(data), "frame": data.frame.rows(25, 30), "actual": {"a": data.actual["a"][25:]}})
    forecast = forecast_steps(short, tail, 5, 40)
    assert np.isfinite(forecast.values).all()


def test_all_rolling_blocks_are_one_batch():
    data = make_data(60)
    forecaster = ToyForecaster(data, input_seq_len=5, output_seq_len=3)
    forecast_steps(forecaster, data, 5, 56)
    assert forecaster.batches == [19]


@pytest.mark.parametrize("row", [20, 22, 30])
def test_values_from_the_origin_on_change_nothing_before_the_next_block(row):
    data = make_data(30, lags=(1,))
    forecaster = ToyForecaster(data, input_seq_len=5, output_seq_len=1)
    steps = row - 10 + 1  # the last step is the one at ``row``
    before = forecast_steps(forecaster, data, 10, steps)
    after = forecast_steps(forecaster, changed_from(data, row), 10, steps)
    np.testing.assert_array_equal(before.values, after.values)


def test_a_changed_row_does_change_the_step_after_it():
    data = make_data(30)
    forecaster = ToyForecaster(data, input_seq_len=5, output_seq_len=1)
    before = forecast_steps(forecaster, data, 10, 15).values
    after = forecast_steps(forecaster, changed_from(data, 20), 10, 15).values
    np.testing.assert_array_equal((before != after)[:, 0], np.arange(10, 25) > 20)


def test_a_recursive_forecast_leaves_the_data_alone():
    data = make_data(20, lags=(1,))
    before = {name: values.copy() for name, values in data.frame.columns.items()}
    forecast_steps(ToyForecaster(data, input_seq_len=5, output_seq_len=2), data, 15, 20)
    for name, values in before.items():
        np.testing.assert_array_equal(data.frame.columns[name], values)


def test_time_goes_on_at_the_sampling_interval_after_the_data():
    data = make_data(20)
    forecast = forecast_steps(ToyForecaster(data, input_seq_len=5, output_seq_len=2), data, 18, 5)
    np.testing.assert_array_equal(forecast.time, data.frame.time[18] + np.arange(5) * MINUTE)


def test_steps_are_after_a_gap_while_it_lies_in_their_window_or_before_them():
    data = make_data(30, gaps=[12])
    forecaster = ToyForecaster(data, input_seq_len=4, output_seq_len=1)
    flags = forecast_steps(forecaster, data, 4, 26).after_gap
    # The window of row 12 ends before the gap, but the step lies after it; that of row 16 begins at row 12.
    assert np.flatnonzero(flags).tolist() == [row - 4 for row in (12, 13, 14, 15)]


def test_a_gap_within_a_block_marks_only_the_steps_after_it():
    data = make_data(30, gaps=[12])
    forecaster = ToyForecaster(data, input_seq_len=4, output_seq_len=3)
    flags = forecast_steps(forecaster, data, 11, 9).after_gap
    # Blocks begin at rows 11, 14 and 17; the window of the last begins at row 13, after the gap.
    assert flags.tolist() == [False, True, True, True, True, True, False, False, False]


def test_recursive_steps_are_after_a_gap_while_their_window_holds_one():
    data = make_data(20, gaps=[18])
    forecaster = ToyForecaster(data, input_seq_len=4, output_seq_len=1)
    forecast = forecast_steps(forecaster, data, 20, 5)
    assert forecast.recursive.tolist() == [False, True, True, True, True]
    assert forecast.after_gap.tolist() == [True, True, False, False, False]


def test_one_step_is_the_first_step_of_every_origin():
    data = make_data(30, targets=("a", "c"))
    forecaster = ToyForecaster(data, input_seq_len=5, output_seq_len=3)
    origins = np.array([5, 9, 30])
    np.testing.assert_array_equal(one_step(forecaster, data, origins), forecaster.forecast(data.frame, origins)[:, 0])


@pytest.mark.parametrize("targets", [("a",), ("b", "a")])
@pytest.mark.parametrize("lags", [(), (1, 2, 9)])
@pytest.mark.parametrize("block", [1, 3])
@pytest.mark.parametrize("model", FORECASTERS)
def test_forecasts_from_many_origins_equal_those_from_each_alone(model, block, lags, targets):
    data = make_data(60, targets=targets, lags=lags, gaps=[31])
    make, tolerance = FORECASTERS[model]
    forecaster = make(data, block)
    # Lags of the first reach before the data; the last follows its end.
    origins = np.array([5, 6, 29, 31, 33, 50, 60])
    alone = [forecast_steps(forecaster, truncated(data, t), t, 20).values for t in origins.tolist()]

    together = forecast_from(forecaster, data, origins, 20)

    np.testing.assert_allclose(together / target_range(data), alone / target_range(data), atol=tolerance, rtol=0)


@pytest.mark.parametrize("model", FORECASTERS)
def test_forecasts_from_many_origins_with_long_histories_equal_those_from_each_alone(model):
    data = make_data(700, targets=("b", "a"), gaps=[310])
    make, tolerance = FORECASTERS[model]
    forecaster = make(data, 2)
    # So close and so far apart that windows are less, as much and more than a history apart.
    origins = np.array([5, 200, 256, 257, 258, 320, 517, 600, 700])
    alone = [forecast_steps(forecaster, truncated(data, t), t, 9).values for t in origins.tolist()]

    together = forecast_from(forecaster, data, origins, 9)

    np.testing.assert_allclose(together / target_range(data), alone / target_range(data), atol=tolerance, rtol=0)


def test_forecasts_from_many_origins_are_one_batch_a_block():
    data = make_data(60)
    forecaster = ToyForecaster(data, input_seq_len=5, output_seq_len=3)
    assert forecast_from(forecaster, data, np.arange(5, 45), 7).shape == (40, 7, 1)
    assert forecaster.batches == [40, 40, 40]


def test_forecasts_from_an_origin_see_nothing_from_it_on():
    data = make_data(40, lags=(1, 9))
    forecaster = ToyForecaster(data, input_seq_len=5, output_seq_len=2)
    before, after = (forecast_from(forecaster, seen, np.array([20]), 9) for seen in (data, changed_from(data, 20)))
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("start", [4, 31])
def test_a_start_without_a_window_before_it_is_refused(start):
    data = make_data(30)
    with pytest.raises(BadInputError, match=f"row {start} of 30"):
        forecast_steps(ToyForecaster(data, input_seq_len=5, output_seq_len=1), data, start, 3)
