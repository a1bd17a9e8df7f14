"""Training of GRU and LSTM forecasters."""

import math
from collections.abc import Sequence
from functools import partial
from itertools import zip_longest
from statistics import fmean

import torch
from torch import Tensor

from flts.contracts import canonical_json
from flts.errors import BadInputError
from flts.models.base import FitResult
from flts.models.linear_skip import check_labels
from flts.models.neural import device
from flts.models.neural.training_loop import BatchPlan, TrainingLoop
from flts.models.recurrent.forecaster import RecurrentForecaster, shares
from flts.models.recurrent.network import RecurrentType, check_batch, make_networks
from flts.models.recurrent.network_group import NetworkGroup, ScaledSeries, columns_of_groups
from flts.models.recurrent.window_transform import WindowTransform
from flts.models.target_transform import target_scales
from flts.params import RecurrentParams
from flts.progress import Progress, no_progress
from flts.timeseries.arrays import Indices
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
        BadInputError: Too few rows for a window, a value is missing, a target is negative but shall be learned on a
            logarithmic scale, or the training diverged.
    """
    bounds = data.parts
    validation = _origins(data, params, bounds.fit_end, bounds.validation_end, "validation part")
    trainer = RecurrentTrainer(model_type, data, params, stop=bounds.fit_end, part="fit part", validation=validation)
    untrained_loss = math.inf
    fit_info: dict[str, object] = {}
    if params.linear_skip:
        untrained_loss = trainer.loss(validation)
        alphas = [each.skip.alphas.tolist() for each in trainer.transforms() if each.skip]
        fit_info = {
            "skip_alpha": canonical_json(alphas[0] if len(alphas) == 1 else alphas),
            "skip_validation_loss": untrained_loss,
        }
    history = trainer.loop.fit(
        lambda: trainer.loss(validation),
        epochs=params.epochs,
        patience=params.patience if params.early_stopping else None,
        progress=progress,
        untrained_loss=untrained_loss,
    )
    for group in trainer.groups:
        group.calibrate(validation)
    transforms = trainer.transforms()
    if params.target_transform != "none":
        fit_info["target_scales"] = canonical_json(dict(zip(data.targets, trainer.target_scales, strict=True)))
    return FitResult(
        forecaster=trainer.forecaster(),
        refit=lambda progress: refit_recurrent(model_type, data, params, history.best_epoch, progress, like=transforms),
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
    like: Sequence[WindowTransform] = (),
) -> RecurrentForecaster:
    """Train a new model on all rows, from the same seed, for as many epochs as were best in the fit.

    Args:
        model_type: ``GRU`` or ``LSTM``.
        data: Training data.
        params: Those of the fit.
        epochs: The number of epochs; 0 for the skip alone.
        progress: Told after every epoch.
        like: The window transforms of the fit, whose skips' penalties and factors of the mean are kept.

    Raises:
        BadInputError: The training diverged.
    """
    trainer = RecurrentTrainer(model_type, data, params, stop=len(data), part="data", like=like)
    trainer.loop.refit(epochs, progress)
    return trainer.forecaster()


class RecurrentTrainer:
    """Recurrent networks in training on the forecasts whose rows all lie in [0, stop).

    Attributes:
        networks: The networks, with the present weights.
        groups: The same, by the scales that they learn the targets on.
        target_scales: By target.
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
        like: Sequence[WindowTransform] = (),
    ) -> None:
        """Draw new networks from the seed, and fit the window transforms.

        Args:
            model_type: ``GRU`` or ``LSTM``.
            data: Training data.
            params: Windows, networks and optimizer.
            stop: The row after the last to train on.
            part: Name of these rows in errors.
            validation: (m,) further origins that ``loss`` is called with.
            like: Window transforms of an earlier training, whose skips' penalties and factors of the mean are kept.

        Raises:
            BadInputError: Too few rows for a window; too many steps, networks or windows at once for the memory; or a
                target is negative but shall be learned on a logarithmic scale.
        """
        device.prepare()
        check_labels(len(data), params.output_seq_len, len(data.targets))
        origins = _origins(data, params, 0, stop, part)
        self._data, self._params = data, params
        self.target_scales = target_scales(data, params.target_transform)
        groups = columns_of_groups(data, self.target_scales, params.members)
        series = [
            ScaledSeries.learn(data, names, origins, params, stop=stop, like=before)
            for names, before in zip_longest(groups, like)
        ]
        outputs = params.output_seq_len * len(data.targets)
        with torch.random.fork_rng(devices=[]):  # on the CPU, so that every device starts from the same weights
            torch.manual_seed(params.seed)
            networks = make_networks(
                model_type, series[0].inner.width, params.hidden_size, params.num_layers, outputs, params.members
            )
        check_batch(networks, params.input_seq_len, min(params.batch_size, len(origins)))
        if params.linear_skip:
            for net in networks:
                net.start_at_zero()
        self.networks = [net.to(device.device()) for net in networks]
        self.groups = [
            NetworkGroup(nets, scaled, origins, params, validation)
            for nets, scaled in zip(shares(self.networks, len(series)), series, strict=True)
        ]
        self.origins = self.groups[0].series.origins(origins)
        plan = BatchPlan(self.origins, networks=params.members, batch_size=params.batch_size, seed=params.seed)
        parameters = [each for group in self.groups for each in group.engine.parameters]
        self.loop = TrainingLoop(parameters, self._step, plan, params.learning_rate)

    def transforms(self) -> list[WindowTransform]:
        """Return the window transform of each group, of columns in original units."""
        return [group.scaled.transform() for group in self.groups]

    def loss(self, rows: Indices) -> float:
        """Return the mean loss of the forecasts from these origins, which must be known from the start."""
        return fmean(group.loss(group.series.origins(rows)) for group in self.groups)

    def forecaster(self) -> RecurrentForecaster:
        """Return a forecaster with the present weights."""
        return RecurrentForecaster(
            self.networks,
            *self.transforms(),
            input_seq_len=self._params.input_seq_len,
            output_seq_len=self._params.output_seq_len,
            features=self._data.learnable_features(),
            targets=self._data.targets,
        )

    def _step(self, batch: Tensor) -> Tensor:
        """Fill the gradients for a batch (networks, B), and return its mean loss."""
        parts = torch.split(batch, [len(group.networks) for group in self.groups])
        losses = [group.train(part) for group, part in zip(self.groups, parts, strict=True)]
        return losses[0] if len(losses) == 1 else torch.stack(losses).mean()


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
