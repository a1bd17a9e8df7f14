"""The table that MLflow's pyfunc forecasts: features computed from raw columns, and what is wrong with a history."""

import numpy as np
import pandas as pd
import pytest

from flts.errors import BadInputError
from flts.models.bundle import Bundle, BundleConfig
from flts.models.forecasting import forecast_steps
from flts.models.prophet.forecaster import ProphetForecaster
from flts.models.prophet.residual_correction import ResidualCorrection
from flts.models.pyfunc import SIGNATURE, forecast_table
from tests.support.processed import processed, prophet_line
from tests.support.series import ToyForecaster, make_data


def bundle_of(forecaster, data) -> Bundle:
    config = BundleConfig(
        model_type=forecaster.model_type,
        input_seq_len=forecaster.input_seq_len,
        output_seq_len=forecaster.output_seq_len,
        features=forecaster.features,
        targets=forecaster.targets,
        hyperparameters={},
        sampling_seconds=data.sampling_seconds,
        parts=data.parts,
        config_hash=data.config_hash,
        preprocess_config=data.config_json,
        target_range=dict.fromkeys(data.targets, 1.0),
    )
    return Bundle(forecaster, data.scaler, config, "0" * 64)


@pytest.fixture
def line() -> Bundle:
    """Prophet's 10, 11, 12, .. an hour from 2024 on; half of the last residual is left an hour later."""
    data = processed({"y": range(10)})
    model = ProphetForecaster(
        {"y": prophet_line(1, 10)},
        corrections={"y": ResidualCorrection.decay(0.5, 1)},
        input_seq_len=2,
        output_seq_len=1,
        sampling_seconds=3600,
        hyperparameters={},
    )
    return bundle_of(model, data)


def hours(*values: object) -> pd.DataFrame:
    return pd.DataFrame({"time": pd.date_range("2024-01-01", periods=len(values), freq="h"), "y": values})


def sentence(bundle: Bundle, history: pd.DataFrame, **params: object) -> str:
    with pytest.raises(BadInputError) as caught:
        forecast_table(bundle, history, params)
    return str(caught.value)


def test_a_forecast_follows_the_history_in_original_units(line: Bundle):
    forecast = forecast_table(line, hours(10, 15), {"inference_length": 3})  # the residual is 4, then 2, 1, 0.5
    assert list(forecast.columns) == ["time", "y"]
    assert forecast["time"].tolist() == [pd.Timestamp(f"2024-01-01 0{hour}:00") for hour in (2, 3, 4)]
    assert forecast["y"].tolist() == [14, 14, 14.5]


def test_ten_steps_are_the_default_and_the_signature_says_so(line: Bundle):
    from mlflow.models import ModelSignature

    assert len(forecast_table(line, hours(1, 2))) == 10
    signature = ModelSignature.from_dict(SIGNATURE)
    assert [(one.name, one.default) for one in signature.params] == [("inference_length", 10), ("quantiles", "")]
    assert signature.to_dict() == SIGNATURE


def test_time_may_be_text_and_zones_become_utc(line: Bundle):
    expected = forecast_table(line, hours(10, 15))
    texts = ["2024-01-01T00:00:00", "2024-01-01 01:00"], ["2024-01-01T02:00:00+02:00", "2024-01-01T01:00:00Z"]
    for text in texts:
        assert forecast_table(line, hours(10, 15).assign(time=text)).equals(expected)
    zoned = hours(10, 15)
    zoned["time"] = zoned["time"].dt.tz_localize("UTC").dt.tz_convert("Europe/Madrid")
    assert forecast_table(line, zoned).equals(expected)


def test_columns_that_the_model_does_not_see_and_the_order_of_columns_change_nothing(line: Bundle):
    history = hours(10, 15).assign(other="text")[["y", "other", "time"]]
    assert forecast_table(line, history).equals(forecast_table(line, hours(10, 15)))


def test_time_features_and_lags_are_computed_from_the_raw_columns():
    data = make_data(60, targets=("a", "c"), lags=(1, 3))
    toy = ToyForecaster(data, input_seq_len=4, output_seq_len=2)
    raw = pd.DataFrame({"time": data.frame.time, **{name: data.frame.columns[name] for name in "abc"}})
    expected = forecast_steps(toy, data, start=60, steps=9)
    # Seven rows are just enough: a window of four, and three before it for the lags.
    for history in (raw, raw.tail(7).reset_index(drop=True)):
        forecast = forecast_table(bundle_of(toy, data), history, {"inference_length": 9})
        assert np.array_equal(forecast[["a", "c"]], expected.values)
        assert np.array_equal(forecast["time"], expected.time)
    assert "has 6 rows; the model needs 7" in sentence(bundle_of(toy, data), raw.tail(6))
    assert "no column 'b', 'c': the model needs ['a', 'b', 'c']" in sentence(bundle_of(toy, data), raw[["time", "a"]])


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (hours(1, 2).drop(columns="time"), "no column 'time'"),
        (hours(1, 2).drop(columns="y"), "no column 'y'"),
        (hours(1), "has 1 rows; the model needs 2"),
        (hours(1, 2, None), "row 2 of the history has no number in column 'y': 'nan'; fill missing values first"),
        (hours(1, "two", 3), "row 1 of the history has no number in column 'y': 'two'"),
        (hours(1, float("inf")), "row 1 of the history has no number in column 'y': 'inf'"),
        (hours(1, 2).assign(time=["2024-01-01", "soon"]), "row 1 of the history has no timestamp in column 'time'"),
        (hours(1, 2).assign(time=[pd.NaT, pd.NaT]), "row 0 of the history has no timestamp"),
        (hours(1, 2, 3).iloc[[0, 2, 1]], "row 2 of the history is not later than the row before it"),
        (hours(1, 2).iloc[[0, 1, 1]], "row 2 of the history is not later than the row before it"),
    ],
)
def test_a_wrong_history_is_one_sentence(line: Bundle, history: pd.DataFrame, expected: str):
    assert expected in sentence(line, history)


@pytest.mark.parametrize("length", [0, -1, 2.5, "3", True, None])
def test_a_length_that_is_not_a_whole_number_from_1_on_is_refused(line: Bundle, length: object):
    assert f"steps must be a whole number from 1 on, not {length!r}" in sentence(
        line, hours(1, 2), inference_length=length
    )
