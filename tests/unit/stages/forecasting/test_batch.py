"""A forecast as a message and as a table, against numbers worked out by hand."""

import hashlib
import struct
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flts.contracts import ForecastBatch
from flts.models.forecasting import Forecast
from flts.models.intervals import Bounds
from flts.stages.forecasting.batch import batch_metrics, batch_samples, predictions_parquet, step_maes

NAN = np.nan
TARGETS = ("down", "up")


@pytest.fixture
def forecast():
    return Forecast(
        time=np.array(
            ["2018-02-28T02:34", "2018-02-28T02:36", "2018-02-28T02:38", "2018-02-28T02:40:00.5"], "datetime64[us]"
        ),
        values=np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0], [4.0, 40.0]]),
        recursive=np.array([False, False, False, True]),
        origin=np.array([4, 5, 6, 6]),
        ahead=np.array([1, 1, 1, 2]),
        after_gap=np.array([False, False, True, False]),
    )


# Errors: down 1 and -2 (a third behind the gap), up 4; the last step was not measured.
WIDTH = np.array([1.0, 2.0])
ACTUAL = np.array([[0.0, 6.0], [4.0, NAN], [100.0, 100.0], [NAN, NAN]])


def bounds(forecast):
    return Bounds(forecast.values - WIDTH, forecast.values + WIDTH)


def test_metrics_leave_out_unmeasured_values_and_steps_behind_a_gap(forecast):
    metrics = batch_metrics(forecast, ACTUAL, TARGETS)
    assert metrics.pop("prediction_hash")
    assert metrics == {
        "overlap_rows": 2,
        "mae_mean": pytest.approx(7 / 3),
        "mse_mean": pytest.approx(7),
        "rmse": pytest.approx(7**0.5),
        "mae": {"down": 1.5, "up": 4.0},
        "mse": {"down": 2.5, "up": 16.0},
        "step_mae": [{"step": 1, "mae": 2.5}, {"step": 2, "mae": 2.0}],
        "rows_predicted": 4,
    }


def test_what_cannot_be_scored_is_absent_not_nan(forecast):
    metrics = batch_metrics(forecast, np.full((4, 2), NAN), TARGETS)
    assert {"mae_mean", "mse_mean", "rmse"}.isdisjoint(metrics)
    assert (metrics["overlap_rows"], metrics["mae"], metrics["mse"], metrics["step_mae"]) == (0, {}, {}, [])


def test_a_target_without_measured_values_is_absent(forecast):
    metrics = batch_metrics(forecast, np.array([[1.0, NAN]] * 4), TARGETS)
    assert list(metrics["mae"]) == list(metrics["mse"]) == ["down"]


def test_the_hash_is_over_little_endian_doubles_row_by_row(forecast):
    content = struct.pack("<8d", 1, 10, 2, 20, 3, 30, 4, 40)
    expected = hashlib.sha256(content).hexdigest()[:16]
    assert batch_metrics(forecast, ACTUAL, TARGETS)["prediction_hash"] == expected


def test_step_errors_are_means_over_the_targets_measured(forecast):
    assert step_maes(forecast, ACTUAL) == [(1, 2.5), (2, 2.0)]


def test_samples_hold_step_time_forecast_and_what_was_measured(forecast):
    assert batch_samples(forecast, ACTUAL, TARGETS, bounds(forecast)) == [
        {
            "step": 1,
            "ts": "2018-02-28T02:34:00Z",
            "pred": {"down": 1.0, "up": 10.0},
            "lower": {"down": 0.0, "up": 8.0},
            "upper": {"down": 2.0, "up": 12.0},
            "actual": {"down": 0.0, "up": 6.0},
            "abs_err": {"down": 1.0, "up": 4.0},
            "mode": "rolling",
            "after_gap": False,
        },
        {
            "step": 2,
            "ts": "2018-02-28T02:36:00Z",
            "pred": {"down": 2.0, "up": 20.0},
            "lower": {"down": 1.0, "up": 18.0},
            "upper": {"down": 3.0, "up": 22.0},
            "actual": {"down": 4.0, "up": None},
            "abs_err": {"down": 2.0},
            "mode": "rolling",
            "after_gap": False,
        },
        {
            "step": 3,
            "ts": "2018-02-28T02:38:00Z",
            "pred": {"down": 3.0, "up": 30.0},
            "lower": {"down": 2.0, "up": 28.0},
            "upper": {"down": 4.0, "up": 32.0},
            "actual": {"down": 100.0, "up": 100.0},
            "abs_err": {},
            "mode": "rolling",
            "after_gap": True,
        },
        {
            "step": 4,
            "ts": "2018-02-28T02:40:00.500000Z",
            "pred": {"down": 4.0, "up": 40.0},
            "lower": {"down": 3.0, "up": 38.0},
            "upper": {"down": 5.0, "up": 42.0},
            "actual": None,
            "abs_err": {},
            "mode": "recursive",
            "after_gap": False,
        },
    ]


def test_quantiles_are_in_each_sample_and_columns_of_the_table(forecast):
    quantiles = {0.05: forecast.values - WIDTH, 0.5: forecast.values}
    batch = ForecastBatch(
        timestamp="2025-01-31T12:00:00.000000Z",
        identifier="run-001",
        run_id="r",
        model_type="GRU",
        config_hash="c",
        status="SUCCESS",
        metrics={},
        samples=batch_samples(forecast, ACTUAL, TARGETS, replace(bounds(forecast), quantiles=quantiles)),
        quantiles="0.05,0.5",
    )
    assert batch.samples[0]["quantiles"] == {"0.05": {"down": 0.0, "up": 8.0}, "0.5": {"down": 1.0, "up": 10.0}}
    table = pq.read_table(pa.BufferReader(predictions_parquet(ForecastBatch.parse(batch.to_json(), source="r"))))
    assert table.schema.names[-3:] == ["after_gap", "q0.05", "q0.5"]
    assert table.column("q0.05").to_pylist() == (forecast.values - WIDTH).ravel().tolist()

    without = batch.model_copy(update={"samples": batch_samples(forecast, ACTUAL, TARGETS)})
    table = pq.read_table(pa.BufferReader(predictions_parquet(without)))
    assert table.column("q0.5").null_count == 8


@pytest.mark.parametrize("intervals", [True, False])
def test_the_table_has_a_row_per_step_and_target(forecast, intervals):
    batch = ForecastBatch(
        timestamp="2025-01-31T12:00:00.000000Z",
        identifier="run-001",
        run_id="r",
        model_type="GRU",
        config_hash="c",
        status="SUCCESS",
        metrics=batch_metrics(forecast, ACTUAL, TARGETS),
        samples=batch_samples(forecast, ACTUAL, TARGETS, bounds(forecast) if intervals else None),
    )
    content = predictions_parquet(ForecastBatch.parse(batch.to_json(), source="results.jsonl"))

    table = pq.read_table(pa.BufferReader(content))
    assert [(field.name, str(field.type)) for field in table.schema] == [
        ("ts", "timestamp[us]"),
        ("step", "int64"),
        ("mode", "string"),
        ("target", "string"),
        ("prediction", "double"),
        ("lower", "double"),
        ("upper", "double"),
        ("actual", "double"),
        ("after_gap", "bool"),
    ]
    assert table.column("step").to_pylist() == [1, 1, 2, 2, 3, 3, 4, 4]
    assert table.column("target").to_pylist() == ["down", "up"] * 4
    assert table.column("prediction").to_pylist() == forecast.values.ravel().tolist()
    upper = (forecast.values + WIDTH).ravel().tolist() if intervals else [None] * 8
    assert table.column("upper").to_pylist() == upper
    assert table.column("lower").null_count == (0 if intervals else 8)
    assert table.column("actual").to_pylist() == [0.0, 6.0, 4.0, None, 100.0, 100.0, None, None]
    assert table.column("mode").to_pylist() == ["rolling"] * 6 + ["recursive"] * 2
    assert table.column("after_gap").to_pylist() == [False] * 4 + [True] * 2 + [False] * 2
    assert table.column("ts").to_numpy().tolist() == np.repeat(forecast.time, 2).tolist()
    assert predictions_parquet(batch) == content
