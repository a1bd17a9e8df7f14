"""A forecaster of every kind for small data, and how far rounding may move its forecasts in units of the range."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
import torch

from flts.models.base import Forecaster
from flts.models.prophet.forecaster import ProphetForecaster
from flts.models.prophet.residual_correction import ResidualCorrection
from flts.models.recurrent.forecaster import RecurrentForecaster
from flts.models.recurrent.network import RecurrentNet
from flts.models.recurrent.window_transform import LinearSkipTransform, ScalingTransform, WindowTransform
from flts.timeseries.processed import ProcessedData
from tests.support.processed import prophet_line
from tests.support.series import ToyForecaster


def truncated(data: ProcessedData, rows: int) -> ProcessedData:
    actual = {name: values[:rows] for name, values in data.actual.items()}
    return replace(data, frame=data.frame.rows(0, rows), actual=actual)


def recurrent(model_type: Literal["GRU", "LSTM"], skip: bool, data: ProcessedData, block: int) -> RecurrentForecaster:
    transform: WindowTransform = ScalingTransform(
        data.features, data.targets, data.scaler, input_seq_len=5, output_seq_len=block
    )
    if skip:
        origins = np.arange(5, 50)
        transform = LinearSkipTransform.learn(
            data.frame,
            data.features,
            data.targets,
            origins,
            np.ones((len(origins), len(data.targets))),
            sampling_seconds=data.sampling_seconds,
            input_seq_len=5,
            output_seq_len=block,
        )
    torch.manual_seed(3)
    nets = [RecurrentNet(model_type, transform.width, 8, 2, block * len(data.targets)) for _ in range(2 if skip else 1)]
    return RecurrentForecaster(
        nets, transform, features=data.features, targets=data.targets, input_seq_len=5, output_seq_len=block
    )


def prophet(ridge: bool, data: ProcessedData, block: int) -> ProphetForecaster:
    lines = {name: prophet_line(slope=0.3 + position, level=4.0) for position, name in enumerate(data.targets)}
    corrections = {name: ResidualCorrection.decay(0.8, block) for name in lines}
    if ridge:
        origins = np.arange(5, 50)
        corrections = {
            name: ResidualCorrection.learn(
                data.frame,
                data.frame.columns[name] - 3.0,
                origins,
                np.ones(len(origins)),
                columns=("a", "b", "c"),
                calendar=("min_of_day_sin",),
                horizon=block,
                embargo=5,
                sampling_seconds=data.sampling_seconds,
            )
            for name in lines
        }
    return ProphetForecaster(
        lines,
        corrections=corrections,
        input_seq_len=5,
        output_seq_len=block,
        sampling_seconds=data.sampling_seconds,
        hyperparameters={},
    )


FORECASTERS: dict[str, tuple[Callable[[ProcessedData, int], Forecaster], float]] = {
    "toy": (lambda data, block: ToyForecaster(data, input_seq_len=5, output_seq_len=block), 1e-9),
    "GRU": (partial(recurrent, "GRU", False), 1e-6),
    "LSTM": (partial(recurrent, "LSTM", False), 1e-6),
    "GRUs and a skip": (partial(recurrent, "GRU", True), 1e-6),
    "LSTMs and a skip": (partial(recurrent, "LSTM", True), 1e-6),
    "Prophet": (partial(prophet, False), 1e-9),
    "Prophet and a ridge": (partial(prophet, True), 1e-9),
}
