"""Training of GRU and LSTM forecasters."""

import math
from functools import partial

import numpy as np
import torch

from flts.contracts import canonical_json
from flts.errors import BadInputError
from flts.models.base import FitResult
from flts.models.linear_skip import check_labels
from flts.models.neural import device
from flts.models.neural.training_loop import BatchPlan, TrainingLoop
from flts.models.recurrent.forecaster import RecurrentForecaster
from flts.models.recurrent.network import (
    RecurrentType,
    SeriesTensors,
    TargetTensors,
    check_batch,
    engine,
    make_networks,
    predict_all,
    to_device,
)
from flts.models.recurrent.window_transform import LinearSkipTransform, ScalingTransform, WindowTransform
from flts.models.volatility import error_weights
from flts.params import RecurrentParams
from flts.progress import Progress, no_progress
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.processed import ProcessedData
from flts.timeseries.windows import forecast_origins


def fit_recurrent(
    model_type: RecurrentType, data: ProcessedData, params: RecurrentParams, progress: Progress = no_progress
) -> FitResult:
    """Train on the fit part, and keep the weights of the epoch that forecasts the validation part best.

    Adam on the squared error, weighted by recent volatility, with the gradients of each network clipped to norm 1.
    With a linear skip, the networks start at zero, and the state before the first epoch, the skip alone, may be best.
    Equal data, parameters, seed and thread count give equal weights, bit for bit.

    Args:
        model_type: ``GRU`` or ``LSTM``.
        data: Training data.
        params: Windows, networks and optimizer.
        progress: Told after every epoch.

    Raises:
        BadInputError: Too few rows for a window, a value is missing, or the training diverged.
    """
    bounds = data.parts
    validation = _origins(data, params, bounds.fit_end, bounds.validation_end, "validation part")
    trainer = RecurrentTrainer(model_type, data, params, stop=bounds.fit_end, part="fit part", validation=validation)
    untrained_loss, alphas = math.inf, None
    fit_info: dict[str, object] = {}
    if isinstance(trainer.transform, LinearSkipTransform):
        untrained_loss, alphas = trainer.loss(validation), trainer.transform.skip.alphas
        fit_info = {"skip_alpha": canonical_json(alphas.tolist()), "skip_validation_loss": untrained_loss}
    history = trainer.loop.fit(
        lambda: trainer.loss(validation),
        epochs=params.epochs,
        patience=params.patience if params.early_stopping else None,
        progress=progress,
        untrained_loss=untrained_loss,
    )
    return FitResult(
        forecaster=trainer.forecaster(),
        refit=lambda progress: refit_recurrent(model_type, data, params, history.best_epoch, progress, alphas=alphas),
        fit_info=fit_info,
        train_loss=history.train_loss,
        validation_loss=history.validation_loss,
        best_epoch=history.best_epoch,
        stopped_early=history.stopped_early,
    )


fit_gru, fit_lstm = partial(fit_recurrent, "GRU"), partial(fit_recurrent, "LSTM")


def refit_recurrent(
    model_type: RecurrentType,
    data: ProcessedData,
    params: RecurrentParams,
    epochs: int,
    progress: Progress = no_progress,
    *,
    alphas: Floats | None = None,
) -> RecurrentForecaster:
    """Train a new model on all rows, from the same seed, for as many epochs as were best in the fit.

    Args:
        model_type: ``GRU`` or ``LSTM``.
        data: Training data.
        params: Those of the fit.
        epochs: The number of epochs; 0 for the skip alone.
        progress: Told after every epoch.
        alphas: (horizon, targets) strengths of the skip's penalty, those of the fit; ``None`` chooses new ones.

    Raises:
        BadInputError: The training diverged.
    """
    trainer = RecurrentTrainer(model_type, data, params, stop=len(data), part="data", alphas=alphas)
    trainer.loop.refit(epochs, progress)
    return trainer.forecaster()


class RecurrentTrainer:
    """Recurrent networks in training on the forecasts whose rows all lie in [0, stop).

    Attributes:
        networks: The networks, with the present weights.
        transform: Their inputs, and the meaning of their outputs.
        series: All rows of the data, on the networks' device.
        labels: The outputs that they are trained on.
        origins: (k,) origins of the forecasts that they are trained on.
        loop: Trains them.
    """

    def __init__(
        self,
        model_type: RecurrentType,
        data: ProcessedData,
        params: RecurrentParams,
        *,
        stop: int,
        part: str,
        validation: Indices | None = None,
        alphas: Floats | None = None,
    ) -> None:
        """Draw new networks from the seed, and fit the window transform.

        Args:
            model_type: ``GRU`` or ``LSTM``.
            data: Training data.
            params: Windows, networks and optimizer.
            stop: The row after the last to train on.
            part: Name of these rows in errors.
            validation: (m,) further origins that ``loss`` is called with.
            alphas: (horizon, targets) strengths of the skip's penalty; ``None`` chooses them.

        Raises:
            BadInputError: Too few rows for a window, or too many steps, networks or windows at once for the memory.
        """
        device.prepare()
        check_labels(len(data), params.output_seq_len, len(data.targets))
        origins = _origins(data, params, 0, stop, part)
        self._data, self._params = data, params
        self._features = data.learnable_features()
        weights = error_weights(data, origins, stop, by_volatility=params.volatility_weighting)
        self.transform = self._fit_transform(origins, weights[origins], stop, alphas)
        inputs = self.transform.inputs(data.frame)
        self.series = SeriesTensors.of(inputs, params.input_seq_len, device.device())
        self.origins = self.series.origins(origins)
        known = origins if validation is None else np.concatenate([origins, validation])
        self.labels = self._labels(origins, known, weights[known])
        outputs = params.output_seq_len * len(data.targets)
        with torch.random.fork_rng(devices=[]):  # on the CPU, so that every device starts from the same weights
            torch.manual_seed(params.seed)
            networks = make_networks(
                model_type, inputs.shape[1], params.hidden_size, params.num_layers, outputs, params.members
            )
        check_batch(networks, params.input_seq_len, min(params.batch_size, len(origins)))
        if params.linear_skip:
            for net in networks:
                net.start_at_zero()
        self.networks = [net.to(device.device()) for net in networks]
        self._engine = engine(self.networks)
        plan = BatchPlan(self.origins, networks=params.members, batch_size=params.batch_size, seed=params.seed)
        step = partial(self._engine.train, self.series, self.labels)
        self.loop = TrainingLoop(self._engine.parameters, step, plan, params.learning_rate)

    def loss(self, rows: Indices) -> float:
        """Return the mean loss of the forecasts from these origins, which must be known from the start."""
        origins = self.series.origins(rows)
        error = predict_all(self._engine, self.series, origins) - self.labels.targets[origins]
        return float((self.labels.weights[origins] * error.square()).mean(dtype=torch.float64))

    def forecaster(self) -> RecurrentForecaster:
        """Return a forecaster with the present weights."""
        return RecurrentForecaster(
            self.networks,
            self.transform,
            input_seq_len=self._params.input_seq_len,
            output_seq_len=self._params.output_seq_len,
            features=self._features,
            targets=self._data.targets,
        )

    def _fit_transform(self, origins: Indices, weights: Floats, stop: int, alphas: Floats | None) -> WindowTransform:
        data, params = self._data, self._params
        if not params.linear_skip:
            return ScalingTransform(
                self._features,
                data.targets,
                data.scaler,
                input_seq_len=params.input_seq_len,
                output_seq_len=params.output_seq_len,
            )
        return LinearSkipTransform.learn(
            data.frame.rows(0, stop),
            self._features,
            data.targets,
            origins,
            weights,
            input_seq_len=params.input_seq_len,
            output_seq_len=params.output_seq_len,
            sampling_seconds=data.sampling_seconds,
            alphas=alphas,
        )

    def _labels(self, origins: Indices, known: Indices, weights: Floats) -> TargetTensors:
        """Return the labels of the ``known`` origins (k,), ``origins`` among them, weighted by (k, targets)."""
        targets = self.transform.training_targets(self._data.frame, known)
        balanced = np.repeat(weights[:, None], targets.shape[1], axis=1)
        if self._params.linear_skip:
            # The larger errors of later steps would dominate: each step is weighted by the error that the skip leaves.
            left = np.mean(balanced[: len(origins)] * targets[: len(origins)] ** 2, axis=0)
            balanced *= np.divide(left[0], left, out=np.ones_like(left), where=left > 0)
        by_row = np.zeros((2, len(self._data) + 1, targets[0].size))
        by_row[:, known] = np.stack([targets, balanced]).reshape(2, len(known), -1)
        return TargetTensors(*(to_device(values, device.device()) for values in by_row))


def _origins(data: ProcessedData, params: RecurrentParams, start: int, stop: int, part: str) -> Indices:
    """Return where forecasts of the rows [start, stop) may begin; ``BadInputError`` where there is no such row."""
    history, horizon = params.input_seq_len, params.output_seq_len
    origins = forecast_origins(data.gap_before(), start, stop, history, horizon)
    if len(origins) > 0:
        return origins
    raise BadInputError(
        f"the {part} of the training data (rows {start} to {stop - 1}) has no {history + horizon} rows in a row "
        f"without a gap in time: a shorter input_seq_len or output_seq_len, or more data with fewer gaps, is needed"
    )
