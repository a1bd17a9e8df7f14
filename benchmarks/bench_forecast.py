"""A rolling forecast of thousands of steps as one batch, against loops that forecast one window at a time.

There are two loops. One scales a window and puts it in a tensor for each step, and calls PyTorch's own network, as a
plain implementation would; the other calls FLTS' forecaster for one row at a time. All take turns; the best time of
each counts.

`python -m benchmarks forecast`
"""

import time
from collections.abc import Callable

import numpy as np
import torch

from flts.models.forecasting import forecast_steps
from flts.models.recurrent.forecaster import RecurrentForecaster
from flts.models.recurrent.network import RecurrentNet
from flts.models.recurrent.training import fit_recurrent
from flts.params import RecurrentParams
from flts.timeseries.arrays import Floats
from flts.timeseries.features import time_features
from flts.timeseries.frame import Frame, Parts
from flts.timeseries.processed import ProcessedData, fit_scaler

MEASURED_COLUMNS = 11
STEPS = 4000


def synthetic(rows: int) -> ProcessedData:
    """Random walks every two minutes with time features, as many columns as PobleSec has."""
    random = np.random.default_rng(0)
    time = np.datetime64("2018-02-05T23:40", "us") + np.arange(rows) * np.timedelta64(120, "s")
    columns = {f"column_{n}": random.normal(size=rows).cumsum() for n in range(MEASURED_COLUMNS)}
    frame, parts = Frame(time, {**columns, **time_features(time)}), Parts.of(rows)
    return ProcessedData(
        frame=frame,
        actual={"column_0": columns["column_0"]},
        targets=("column_0",),
        scaler=fit_scaler("MinMaxScaler", frame, parts),
        parts=parts,
        sampling_seconds=120.0,
        config_hash="",
        config_json="",
    )


def plain_loop(forecaster: RecurrentForecaster, data: ProcessedData, rows: range) -> Floats:
    """Forecast each row by PyTorch's network from a window of its own."""
    history, features = forecaster.input_seq_len, forecaster.features
    (trained,) = forecaster.networks
    net = RecurrentNet(
        "GRU", len(features), trained.rnn.hidden_size, trained.rnn.num_layers, outputs=len(forecaster.targets)
    )
    net.load_state_dict(trained.state_dict())
    matrix = data.frame.matrix(features)
    values = []
    with torch.inference_mode():
        for row in rows:
            window = torch.tensor(data.scaler.transform(features, matrix[row - history : row]), dtype=torch.float32)
            scaled = net(window[:, None]).numpy().astype(np.float64)
            values.append(data.scaler.inverse(data.targets, scaled.reshape(1, -1))[0])
    return np.array(values)


def one_at_a_time(forecaster: RecurrentForecaster, data: ProcessedData, rows: range) -> Floats:
    """Forecast each row by the forecaster that the batch uses."""
    return np.array([forecaster.forecast(data.frame, np.array([row]))[0, 0] for row in rows])


def timed(function: Callable[[], Floats]) -> tuple[float, Floats]:
    """Return the wall time of a call, and what it returns."""
    start = time.perf_counter()
    values = function()
    return time.perf_counter() - start, values


def measure(steps: int = STEPS, repeats: int = 5) -> dict[str, float]:
    """Return wall times, their ratios, and the largest difference between the forecasts in standard deviations."""
    params = RecurrentParams(
        config_hash="",
        config_json="",
        identifier="",
        epochs=1,
        members=1,
        linear_skip=False,
        volatility_weighting=False,
    )
    data = synthetic(steps + params.input_seq_len)
    forecaster = fit_recurrent("GRU", data, params).forecaster
    assert isinstance(forecaster, RecurrentForecaster)
    rows = range(params.input_seq_len, len(data))
    ways: dict[str, Callable[[], Floats]] = {
        "batch": lambda: forecast_steps(forecaster, data, rows.start, steps).values,
        "plain": lambda: plain_loop(forecaster, data, rows),
        "single": lambda: one_at_a_time(forecaster, data, rows),
    }
    ways["batch"]()
    turns = [{name: timed(way) for name, way in ways.items()} for _ in range(repeats)]
    batch_seconds, plain_seconds, single_seconds = (min(turn[name][0] for turn in turns) for name in ways)
    batch, plain, single = (turns[0][name][1] for name in ways)
    spread = np.std(data.actual["column_0"])
    return {
        "steps": steps,
        "batch_seconds": batch_seconds,
        "plain_loop_seconds": plain_seconds,
        "forecaster_loop_seconds": single_seconds,
        "ratio_to_plain_loop": plain_seconds / batch_seconds,
        "ratio_to_forecaster_loop": single_seconds / batch_seconds,
        "largest_difference": float(max(np.abs(batch - plain).max(), np.abs(batch - single).max()) / spread),
    }
