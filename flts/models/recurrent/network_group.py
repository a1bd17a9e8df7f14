"""Networks in training that see the data on the same scales: one group, or two where both scales suit a target."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from flts.models.neural import device
from flts.models.recurrent.network import (
    Engine,
    RecurrentNet,
    SeriesTensors,
    TargetTensors,
    engine,
    predict_all,
    to_device,
)
from flts.models.recurrent.rescaled_transform import RescaledTransform
from flts.models.recurrent.window_transform import LinearSkipTransform, ScalingTransform, WindowTransform, blocks
from flts.models.target_transform import TargetScale, TargetTransform, heavy_covariates
from flts.models.volatility import error_weights
from flts.params import RecurrentParams
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.processed import ProcessedData


@dataclass(frozen=True)
class ScaledSeries:
    """Training data on the scales of one group, and the window transform that was fitted to it.

    Attributes:
        data: The columns on their scales.
        scales: The scales.
        inner: The window transform of columns on their scales.
        weights: (rows + 1, targets) of the squared errors of forecasts from each row on.
    """

    data: ProcessedData
    scales: TargetTransform
    inner: WindowTransform
    weights: Floats

    @classmethod
    def learn(
        cls,
        original: ProcessedData,
        names: Sequence[str],
        origins: Indices,
        params: RecurrentParams,
        *,
        stop: int,
        like: WindowTransform | None,
    ) -> Self:
        """Fit to the forecasts from (k,) ``origins``, whose rows all lie in [0, stop).

        Args:
            original: Training data, in original units.
            names: Columns to put on a logarithmic scale.
            origins: (k,) where forecasts begin.
            params: Windows, networks and optimizer.
            stop: The row after the last to fit to.
            like: The transform of an earlier fit, whose penalties and factors of the mean are kept.
        """
        horizon = params.output_seq_len
        scales = TargetTransform.learn(original, names, stop=stop, horizon=horizon)
        if isinstance(like, RescaledTransform):
            scales = scales.calibrated_as(like.scales)
        data = scales.of_data(original)
        weights = error_weights(data, origins, stop, by_volatility=params.volatility_weighting)
        features = data.learnable_features()
        inner: WindowTransform = ScalingTransform(
            features, data.targets, data.scaler, input_seq_len=params.input_seq_len, output_seq_len=horizon
        )
        if params.linear_skip:
            inner = LinearSkipTransform.learn(
                data.frame.rows(0, stop),
                features,
                data.targets,
                origins,
                weights[origins],
                input_seq_len=params.input_seq_len,
                output_seq_len=horizon,
                sampling_seconds=data.sampling_seconds,
                alphas=like.skip.alphas if like and like.skip else None,
            )
        return cls(data, scales, inner, weights)

    def transform(self) -> WindowTransform:
        """Return the window transform of columns in original units."""
        return RescaledTransform(self.inner, self.scales, self.data.targets) if self.scales else self.inner


class NetworkGroup:
    """Networks in training on the same scales.

    Attributes:
        networks: The networks, with the present weights.
        scaled: What they are trained on.
        series: The inputs of all rows, on the networks' device.
        labels: The outputs that they are trained on.
        engine: Computes them.
    """

    def __init__(
        self,
        networks: Sequence[RecurrentNet],
        scaled: ScaledSeries,
        origins: Indices,
        params: RecurrentParams,
        validation: Indices | None,
    ) -> None:
        """Prepare to train on (k,) ``origins``; ``loss`` may be asked for the (m,) ``validation``, too."""
        self.networks, self.scaled = networks, scaled
        self.series = SeriesTensors.of(scaled.inner.inputs(scaled.data.frame), params.input_seq_len, device.device())
        known = origins if validation is None else np.concatenate([origins, validation])
        self.labels = _labels(scaled, origins, known, each_step_alike=params.linear_skip)
        self.engine: Engine = engine(networks)

    def train(self, batch: Tensor) -> Tensor:
        """Fill the gradients for a batch (networks, B), and return its mean loss."""
        return self.engine.train(self.series, self.labels, batch)

    def loss(self, origins: Tensor) -> float:
        """Return the mean loss of the forecasts from (k,) origins."""
        error = predict_all(self.engine, self.series, origins) - self.labels.targets[origins]
        return float((self.labels.weights[origins] * error.square()).mean(dtype=torch.float64))

    def calibrate(self, rows: Indices) -> None:
        """Learn the factors of the mean from the forecasts from (k,) held-out rows on."""
        data, inner = self.scaled.data, self.scaled.inner
        horizon = self.labels.targets.shape[1] // len(data.targets)
        outputs = predict_all(self.engine, self.series, self.series.origins(rows)).cpu().numpy().astype(np.float64)
        outputs = outputs.reshape(len(rows), horizon, len(data.targets))
        forecasts = inner.forecasts(data.frame, data.frame.time, rows, outputs)
        values = blocks(data.frame.matrix(data.targets), rows, horizon)
        self.scaled = replace(self.scaled, scales=self.scaled.scales.calibrated(data.targets, forecasts, values))


def columns_of_groups(data: ProcessedData, scales: Sequence[TargetScale], members: int) -> list[list[str]]:
    """Return the columns that each group of networks sees on a logarithmic scale.

    Args:
        data: Training data.
        scales: The scale of each target; one that is learned on both is on the logarithmic one in the first group.
        members: Number of networks; a lone one cannot be divided.
    """
    groups = [[name for name, scale in zip(data.targets, scales, strict=True) if scale != "none"]]
    if "both" in scales and members > 1:
        groups.append([name for name, scale in zip(data.targets, scales, strict=True) if scale == "log1p"])
    return [[*names, *heavy_covariates(data)] if names else [] for names in groups]


def _labels(scaled: ScaledSeries, origins: Indices, known: Indices, *, each_step_alike: bool) -> TargetTensors:
    """Return the labels of the ``known`` origins (k,), which begin with ``origins``."""
    targets = scaled.inner.training_targets(scaled.data.frame, known)
    balanced = np.repeat(scaled.weights[known][:, None], targets.shape[1], axis=1)
    if each_step_alike:
        # The larger errors of later steps would dominate: each step is weighted by the error that the skip leaves.
        left = np.mean(balanced[: len(origins)] * targets[: len(origins)] ** 2, axis=0)
        balanced *= np.divide(left[0], left, out=np.ones_like(left), where=left > 0)
    by_row = np.zeros((2, len(scaled.data) + 1, targets[0].size))
    by_row[:, known] = np.stack([targets, balanced]).reshape(2, len(known), -1)
    return TargetTensors(*(to_device(values, device.device()) for values in by_row))
