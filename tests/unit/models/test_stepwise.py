"""Forecasts that share the passes of their model: each is what it would be alone."""

import numpy as np
import pytest

from flts.errors import BadInputError
from flts.models.forecasting import forecast_steps
from flts.models.stepwise import ForecastCache, StepwiseForecast
from flts.timeseries.metrics import target_range
from tests.support.forecasters import FORECASTERS, truncated
from tests.support.series import ToyForecaster, make_data


def complete(forecasts: list[StepwiseForecast]) -> None:
    while at_work := [forecast for forecast in forecasts if not forecast.done]:
        StepwiseForecast.advance(at_work)


@pytest.mark.parametrize("lags", [(), (1, 9)])
@pytest.mark.parametrize("block", [1, 3])
@pytest.mark.parametrize("model", FORECASTERS)
def test_forecasts_made_together_equal_those_made_alone(model, block, lags):
    data = make_data(700, targets=("b", "a"), lags=lags, gaps=[310])
    make, tolerance = FORECASTERS[model]
    forecaster = make(data, block)
    # Histories of different lengths, some shorter than the model looks back, and different numbers of steps.
    asked = [(5, 7), (40, 1), (311, 12), (315, 2), (600, 20), (700, 5), (700, 5)]
    forecasts = [StepwiseForecast(forecaster, truncated(data, rows), steps) for rows, steps in asked]
    complete(forecasts)
    for (rows, steps), forecast in zip(asked, forecasts, strict=True):
        together, alone = forecast.forecast(), forecast_steps(forecaster, truncated(data, rows), rows, steps)
        unit = target_range(data)
        np.testing.assert_allclose(together.values / unit, alone.values / unit, atol=tolerance, rtol=0)
        for name in ("time", "recursive", "origin", "ahead", "after_gap"):
            np.testing.assert_array_equal(getattr(together, name), getattr(alone, name))


@pytest.mark.parametrize("model", FORECASTERS)
def test_a_forecast_made_by_itself_has_the_same_bits(model):
    data = make_data(700, targets=("b", "a"), lags=(2,))
    forecaster = FORECASTERS[model][0](data, 2)
    forecast = StepwiseForecast(forecaster, data, 11)
    complete([forecast])
    np.testing.assert_array_equal(forecast.forecast().values, forecast_steps(forecaster, data, 700, 11).values)


def test_one_may_join_while_others_are_at_work_and_each_block_of_all_is_one_batch():
    data = make_data(60)
    forecaster = ToyForecaster(data, input_seq_len=5, output_seq_len=2)
    first, second = StepwiseForecast(forecaster, data, 6), StepwiseForecast(forecaster, data, 3)
    StepwiseForecast.advance([first])
    StepwiseForecast.advance([first, second])
    StepwiseForecast.advance([first, second])
    assert first.done
    assert second.done
    assert forecaster.batches == [1, 2, 2]
    np.testing.assert_allclose(second.forecast().values, first.forecast().values[:3], rtol=1e-11)


@pytest.mark.parametrize("model", FORECASTERS)
def test_beginnings_give_forecasts_that_know_nothing_of_each_other(model):
    data = make_data(700, targets=("b", "a"), lags=(2,))
    forecaster = FORECASTERS[model][0](data, 2)
    begin = ForecastCache(forecaster, data)
    first, second, other = begin(11), begin(11), begin(4)
    complete([first])
    complete([second])
    complete([other, begin(11)])
    alone = forecast_steps(forecaster, data, 700, 11)
    for forecast in (first, second):
        np.testing.assert_array_equal(forecast.forecast().values, alone.values)
        np.testing.assert_array_equal(forecast.forecast().time, alone.time)
    third = begin(11)
    complete([third])
    np.testing.assert_array_equal(third.forecast().values, alone.values)


def test_data_shorter_than_a_window_are_refused():
    data = make_data(60)
    with pytest.raises(BadInputError, match="the data has 4 rows; the model needs 5"):
        StepwiseForecast(ToyForecaster(data, input_seq_len=5, output_seq_len=1), truncated(data, 4), 1)
