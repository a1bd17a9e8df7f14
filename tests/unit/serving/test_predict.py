"""``/predict``: requests that are understood, sentences about others, and the form of a response."""

import json
from pathlib import Path

import numpy as np
import pytest

from flts.contracts import Promotion
from flts.errors import BadInputError
from flts.models import bundle
from flts.models.forecasting import forecast_steps
from flts.models.intervals import Bounds
from flts.serving.forecasts import ForecastResult
from flts.serving.loading import LoadedModel
from flts.serving.protocols.predict import PredictRequest, choose_steps, read_predict, render_predict
from tests.support.bundles import DATA, prophet_bundle

PROMOTION = Promotion(
    model_uri="runs:/r/PROPHET",
    model_type="PROPHET",
    run_id="r",
    config_hash="c0ffee",
    composite_score=0.1,
    score=0.1,
    rmse=0.1,
    mae=0.1,
    mse=0.1,
    test_rmse=0.1,
    test_mae=0.1,
    test_mse=0.1,
    promotion_time="2024-01-01T00:00:00.000000Z",
    timestamp="2024-01-01T00:00:00.000000Z",
    identifier="run-001",
    experiment="flts",
)


@pytest.mark.parametrize("body", [b"", b" \n", b"{}", b'{"inference_length": null, "data": null}'])
def test_an_empty_request_asks_for_ten_steps_from_the_stored_data(body: bytes):
    assert read_predict(body, None) == PredictRequest(10)


def test_the_query_takes_precedence_over_the_body():
    assert read_predict(b'{"inference_length": 3}', 5).steps == 5


@pytest.mark.parametrize("asked", [b"[0.5, 0.05]", b'"0.05,0.5"'])
def test_quantiles_are_read_from_the_body_and_the_query(asked: bytes):
    body = b'{"quantiles": %s}' % asked
    assert read_predict(body, None) == PredictRequest(10, quantiles=(0.05, 0.5))
    assert read_predict(body, None, "0.9").quantiles == (0.9,)
    assert read_predict(body, None, "").quantiles == ()


def test_data_and_the_column_of_timestamps_are_read():
    asked = read_predict(b'{"data": {"when": ["2024-01-01"], "y": [1]}, "index_col": "when"}', None)
    assert asked == PredictRequest(10, {"when": ["2024-01-01"], "y": [1]}, "when")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"[]", "the body is not a JSON object: "),
        (b"{", "the body is not a JSON object: "),
        (b'{"steps": 3}', "unknown field 'steps'; the fields are inference_length, data, index_col, quantiles$"),
        (b'{"data": [1]}', "data must be a JSON object of columns, each a list of values$"),
        (b'{"data": {"y": 1}}', "data must be a JSON object of columns, each a list of values$"),
        (b'{"index_col": 1}', "index_col must be the name of the column with timestamps, got 1$"),
        (b'{"inference_length": 0}', "inference_length must be a whole number from 1 to 10000, got "),
        (b'{"inference_length": 10001}', "inference_length must be a whole number from 1 to 10000, got "),
        (b'{"inference_length": 1.5}', "inference_length must be a whole number from 1 to 10000, got "),
        (b'{"inference_length": true}', "inference_length must be a whole number from 1 to 10000, got "),
        (b'{"quantiles": [0.5, 1]}', "quantiles must be numbers between 0 and 1, such as 0.05,0.5,0.95, not 1$"),
        (b'{"quantiles": 3}', "quantiles must be numbers between 0 and 1, such as 0.05,0.5,0.95, not 3$"),
        (b'{"quantiles": "0.5,0.5"}', "quantiles must not name 0.5 twice$"),
        (b'{"inference_length": "3"}', "inference_length must be a whole number from 1 to 10000, got '3'"),
    ],
)
def test_another_body_is_one_sentence(body: bytes, sentence: str):
    with pytest.raises(BadInputError, match=f"^{sentence}"):
        read_predict(body, None)


def test_a_wrong_number_of_steps_is_refused_even_where_another_takes_precedence():
    with pytest.raises(BadInputError, match=r"got 0$"):
        choose_steps(5, 0)


@pytest.mark.parametrize("intervals", [True, False])
def test_a_response_names_the_model_and_has_every_step_with_its_bounds_and_mode(tmp_path: Path, intervals: bool):
    loaded = bundle.load(prophet_bundle(tmp_path / "bundle"))
    forecast = forecast_steps(loaded.forecaster, DATA, len(DATA), 3)
    bounds = Bounds(forecast.values - 1, forecast.values + 1) if intervals else None
    served = LoadedModel(PROMOTION, "etag", loaded, None, "2024-01-01T00:00:00.000000Z")

    answer = json.loads(render_predict(ForecastResult(forecast, bounds, served)))

    steps = answer.pop("predictions")
    assert answer == {
        "status": "SUCCESS",
        "identifier": "run-001",
        "run_id": "r",
        "model_type": "PROPHET",
        "config_hash": "c0ffee",
        "promotion_time": "2024-01-01T00:00:00.000000Z",
    }
    names = ["z_lower", "z_upper", "y_lower", "y_upper"] if intervals else []
    assert [list(step) for step in steps] == [["ts", "z", "y", *names, "mode"]] * 3
    assert [step["ts"] for step in steps] == [f"2024-01-01T{hour}:00:00Z" for hour in (10, 11, 12)]
    assert [step["mode"] for step in steps] == ["rolling", "rolling", "recursive"]
    np.testing.assert_array_equal([[step["z"], step["y"]] for step in steps], forecast.values)
    if intervals:
        np.testing.assert_array_equal([step["y_upper"] for step in steps], forecast.values[:, 1] + 1)
