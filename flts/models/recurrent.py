"""GRU and LSTM forecasters: training, forecasting, saving and loading."""

import math
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, Self, cast

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from flts.contracts import ModelType
from flts.errors import BadInputError
from flts.models import compute
from flts.models.adam import Adam
from flts.models.base import Fit
from flts.models.config import BundleConfig, read_hyperparameters
from flts.models.network import RecurrentNet, RecurrentType, Series, check_batch, engine, predict_all
from flts.params import MAX_HIDDEN_SIZE, MAX_LAYERS, RecurrentParams
from flts.progress import Progress, no_progress
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.frame import Frame
from flts.timeseries.processed import ProcessedData
from flts.timeseries.scaling import Scaler
from flts.timeseries.windows import forecast_origins

MODEL_FILE = "model.safetensors"
MAX_GRADIENT_NORM = 1.0


class RecurrentHyperparameters(BaseModel):
    """What ``RecurrentForecaster.config`` gives."""

    hidden_size: Annotated[int, Field(ge=1, le=MAX_HIDDEN_SIZE)]
    num_layers: Annotated[int, Field(ge=1, le=MAX_LAYERS)]


class RecurrentForecaster:
    """A trained GRU or LSTM. It sees all columns, scaled, and forecasts in original units.

    Threads may share it; their forecasts are computed one after another.
    """

    def __init__(
        self,
        net: RecurrentNet,
        *,
        input_seq_len: int,
        output_seq_len: int,
        features: tuple[str, ...],
        targets: tuple[str, ...],
        scaler: Scaler,
    ) -> None:
        """Forecast with ``net``, whose outputs are ``output_seq_len x targets`` scaled values."""
        compute.prepare()
        self.model_type: ModelType = net.model_type
        self.input_seq_len = input_seq_len
        self.output_seq_len = output_seq_len
        self.features = features
        self.targets = targets
        self._scaler = scaler
        self.net = net.to(compute.device())
        self._engine = engine(self.net)
        self._lock = Lock()

    def forecast(self, frame: Frame, origins: Indices) -> Floats:
        """Forecast blocks; see ``Forecaster.forecast``.

        The same call gives the same bits. A different number of origins in the call moves a forecast by rounding
        alone (around 1e-7 of the scaled range): matrix products of another size add up in another order.
        """
        if len(origins) == 0:
            return np.empty((0, self.output_seq_len, len(self.targets)))
        start = int(origins.min()) - self.input_seq_len
        series = Series.of(
            frame.rows(start, int(origins.max())),
            self.features,
            self.targets,
            self._scaler,
            input_seq_len=self.input_seq_len,
            output_seq_len=self.output_seq_len,
            device=compute.device(),
        )
        with self._lock:
            scaled = predict_all(self._engine, series, series.origins(origins - start), compute.cores())
        values = scaled.cpu().numpy().astype(np.float64)
        return self._scaler.inverse(self.targets, values.reshape(len(origins), self.output_seq_len, len(self.targets)))

    def config(self) -> dict[str, Any]:
        """Return the size of the network."""
        rnn = self.net.rnn
        return RecurrentHyperparameters(hidden_size=rnn.hidden_size, num_layers=rnn.num_layers).model_dump()

    def save(self, directory: Path) -> None:
        """Write ``model.safetensors``: the weights under PyTorch's names. Equal weights give equal bytes."""
        from safetensors.torch import save

        state = self.net.state_dict()
        weights = {name: values.cpu().clone(memory_format=torch.contiguous_format) for name, values in state.items()}
        (directory / MODEL_FILE).write_bytes(save(weights))

    @classmethod
    def load(cls, directory: Path, config: BundleConfig, scaler: Scaler) -> Self:
        """Load what ``save`` wrote.

        Raises:
            BadInputError: ``config`` describes no network, or one that is too large; or the file is not safetensors,
                or does not hold the weights of that network.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        path = directory / MODEL_FILE
        model_type = cast(RecurrentType, config.model_type)
        size = read_hyperparameters(RecurrentHyperparameters, config, directory)
        if unseen := [name for name in config.targets if name not in config.features]:
            raise BadInputError(f"{path} forecasts column {unseen[0]!r}, which is not among its features")
        outputs = config.output_seq_len * len(config.targets)
        with torch.device("meta"):  # no weights are drawn only to be replaced
            net = RecurrentNet(model_type, len(config.features), size.hidden_size, size.num_layers, outputs)
        try:
            net.load_state_dict(load(path.read_bytes()), assign=True)
        except (SafetensorError, RuntimeError) as error:
            raise BadInputError(
                f"{path} does not hold the weights of a {model_type} with {len(config.features)} features, "
                f"{size.num_layers} layers of {size.hidden_size} units and {outputs} outputs"
            ) from error
        return cls(
            net.float(),
            input_seq_len=config.input_seq_len,
            output_seq_len=config.output_seq_len,
            features=config.features,
            targets=config.targets,
            scaler=scaler,
        )


def fit_recurrent(
    model_type: RecurrentType, data: ProcessedData, params: RecurrentParams, progress: Progress = no_progress
) -> Fit:
    """Train on the fit part, and keep the weights of the epoch that forecasts the validation part best.

    Adam on the mean squared error of scaled targets, with gradients clipped to norm 1. Equal data, parameters, seed
    and thread count give equal weights, bit for bit.

    Args:
        model_type: ``GRU`` or ``LSTM``.
        data: Training data.
        params: Windows, network and optimizer.
        progress: Told after every epoch.

    Raises:
        BadInputError: Too few rows for a window, a value is missing, or the training diverged.
    """
    bounds = data.parts
    validation = _origins(data, params, bounds.fit_end, bounds.validation_end, "validation part")
    learner = Learner(model_type, data, params, stop=bounds.fit_end, part="fit part")
    train_loss: list[float] = []
    validation_loss: list[float] = []
    best_epoch, best_weights = 0, learner.weights()
    for epoch in range(1, params.epochs + 1):
        train_loss.append(learner.epoch())
        loss = learner.loss(validation)
        if not math.isfinite(loss):
            raise _diverged(params, epoch)
        if best_epoch == 0 or loss < validation_loss[best_epoch - 1]:
            best_epoch, best_weights = epoch, learner.weights()
        validation_loss.append(loss)
        progress(epoch / params.epochs, f"epoch {epoch}/{params.epochs}, validation loss {loss:.6f}")
        if params.early_stopping and epoch - best_epoch >= params.patience:
            break
    learner.net.load_state_dict(best_weights)
    return Fit(
        forecaster=learner.forecaster(),
        refit=lambda progress: refit_recurrent(model_type, data, params, best_epoch, progress),
        train_loss=tuple(train_loss),
        validation_loss=tuple(validation_loss),
        best_epoch=best_epoch,
        stopped_early=len(train_loss) < params.epochs,
    )


fit_gru, fit_lstm = partial(fit_recurrent, "GRU"), partial(fit_recurrent, "LSTM")


def refit_recurrent(
    model_type: RecurrentType,
    data: ProcessedData,
    params: RecurrentParams,
    epochs: int,
    progress: Progress = no_progress,
) -> RecurrentForecaster:
    """Train a new model on all rows, from the same seed, for as many epochs as served the fit best.

    Raises:
        BadInputError: The training diverged.
    """
    learner = Learner(model_type, data, params, stop=len(data), part="data")
    for epoch in range(1, epochs + 1):
        loss = learner.epoch()
        if not math.isfinite(loss):
            raise _diverged(params, epoch)
        progress(epoch / epochs, f"refit epoch {epoch}/{epochs}, training loss {loss:.6f}")
    return learner.forecaster()


class Learner:
    """A network in training on the forecasts whose rows all lie in [0, stop).

    Attributes:
        net: The network, with the present weights.
        series: All rows of the data, on the network's device.
        origins: (k,) where the forecasts that it learns from begin.
    """

    def __init__(
        self, model_type: RecurrentType, data: ProcessedData, params: RecurrentParams, *, stop: int, part: str
    ) -> None:
        """Draw a new network from the seed; ``part`` is what error sentences call the rows."""
        compute.prepare()
        origins = _origins(data, params, 0, stop, part)
        self._data, self._params = data, params
        self.series = Series.of(
            data.frame,
            data.features,
            data.targets,
            data.scaler,
            input_seq_len=params.input_seq_len,
            output_seq_len=params.output_seq_len,
            device=compute.device(),
        )
        self.origins = self.series.origins(origins)
        outputs = params.output_seq_len * len(data.targets)
        with torch.random.fork_rng(devices=[]):  # drawn on the CPU, so that every device starts from the same weights
            torch.manual_seed(params.seed)
            net = RecurrentNet(model_type, len(data.features), params.hidden_size, params.num_layers, outputs)
        check_batch(net, params.input_seq_len, min(params.batch_size, len(origins)))
        self.net = net.to(compute.device())
        self._engine = engine(self.net)
        self._optimizer = Adam(self._engine.parameters, params.learning_rate)
        self._shuffle = torch.Generator().manual_seed(params.seed)

    def epoch(self) -> float:
        """Take one optimizer step for every batch; return the mean loss."""
        order = torch.randperm(len(self.origins), generator=self._shuffle).to(self.origins.device)
        total = torch.zeros((), dtype=torch.float64, device=order.device)
        for batch in torch.split(self.origins[order], self._params.batch_size):
            loss = self._engine.train(self.series, batch)
            nn.utils.clip_grad_norm_(self._engine.parameters, MAX_GRADIENT_NORM)
            self._optimizer.step()
            total += loss * len(batch)
        return float(total) / len(self.origins)

    def loss(self, rows: Indices) -> float:
        """Return the mean loss of the forecasts from these origins."""
        origins = self.series.origins(rows)
        error = predict_all(self._engine, self.series, origins) - self.series.wanted(origins)
        return float(error.square().mean(dtype=torch.float64))

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of the weights."""
        return {name: values.clone() for name, values in self.net.state_dict().items()}

    def forecaster(self) -> RecurrentForecaster:
        """Return what forecasts with the present weights."""
        return RecurrentForecaster(
            self.net,
            input_seq_len=self._params.input_seq_len,
            output_seq_len=self._params.output_seq_len,
            features=self._data.features,
            targets=self._data.targets,
            scaler=self._data.scaler,
        )


def _origins(data: ProcessedData, params: RecurrentParams, start: int, stop: int, part: str) -> Indices:
    """Return where forecasts of the rows [start, stop) may begin, or say why there are none."""
    history, horizon = params.input_seq_len, params.output_seq_len
    origins = forecast_origins(data.gap_before(), start, stop, history, horizon)
    if len(origins) > 0:
        return origins
    raise BadInputError(
        f"the {part} of the training data (rows {start} to {stop - 1}) has no {history + horizon} rows in a row "
        f"without a gap in time: a shorter input_seq_len or output_seq_len, or more data with fewer gaps, is needed"
    )


def _diverged(params: RecurrentParams, epoch: int) -> BadInputError:
    return BadInputError(
        f"training diverged in epoch {epoch}: the loss is no longer finite; "
        f"a learning_rate below {params.learning_rate:g} is needed"
    )
