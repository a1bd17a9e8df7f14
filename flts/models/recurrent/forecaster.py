"""GRU and LSTM forecasters: forecasting, saving and loading."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self, cast

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from flts.contracts import ModelType
from flts.errors import BadInputError
from flts.models.config import BundleConfig, read_hyperparameters
from flts.models.neural import device
from flts.models.recurrent.network import RecurrentNet, RecurrentType, SeriesTensors, engine, make_networks, predict_all
from flts.models.recurrent.window_transform import LinearSkipTransform, ScalingTransform, WindowTransform
from flts.params import MAX_HIDDEN_SIZE, MAX_LAYERS, MAX_MEMBERS
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.frame import Frame
from flts.timeseries.scaling import Scaler

MODEL_FILE = "model.safetensors"


class RecurrentHyperparameters(BaseModel):
    """Hyperparameters of ``RecurrentForecaster.config``; older bundles have one network, no skip and neither field."""

    hidden_size: Annotated[int, Field(ge=1, le=MAX_HIDDEN_SIZE)]
    num_layers: Annotated[int, Field(ge=1, le=MAX_LAYERS)]
    members: Annotated[int, Field(ge=1, le=MAX_MEMBERS)] = 1
    linear_skip: bool = False


class RecurrentForecaster:
    """Trained GRUs or LSTMs whose mean is the forecast. They see all columns; forecasts are in original units.

    Thread-safe: each thread computes in buffers of its own.
    """

    def __init__(
        self,
        networks: Sequence[RecurrentNet],
        transform: WindowTransform,
        *,
        input_seq_len: int,
        output_seq_len: int,
        features: tuple[str, ...],
        targets: tuple[str, ...],
    ) -> None:
        """Forecast with networks of one shape, whose outputs are ``output_seq_len x targets`` values."""
        device.prepare()
        self.model_type: ModelType = networks[0].model_type
        self.input_seq_len = input_seq_len
        self.output_seq_len = output_seq_len
        self.history_rows = transform.history_rows
        self.features = features
        self.targets = targets
        self.transform = transform
        self.networks = [net.to(device.device()) for net in networks]
        self._engine = engine(self.networks)

    def forecast(self, frame: Frame, origins: Indices) -> Floats:
        """Forecast blocks; see ``Forecaster.forecast``.

        The same call gives the same bits. With a different number of origins in the call, a forecast differs by
        rounding (around 1e-7 of the scaled range): matrix products of another size add up in another order.
        """
        if len(origins) == 0:
            return np.empty((0, self.output_seq_len, len(self.targets)))
        start, stop = max(0, int(origins.min()) - self.history_rows), int(origins.max())
        seen, near = frame.rows(start, stop), origins - start
        rows = _rows_of_windows(near, self.input_seq_len)
        series = SeriesTensors.of(self.transform.inputs(seen.at(rows)), self.input_seq_len, device.device())
        origins_there = np.searchsorted(rows, near - 1) + 1
        outputs = predict_all(self._engine, series, series.origins(origins_there), device.cores())
        values = outputs.cpu().numpy().astype(np.float64)
        return self.transform.forecasts(
            seen,
            frame.time[start : stop + self.output_seq_len],
            near,
            values.reshape(len(origins), self.output_seq_len, len(self.targets)),
        )

    def config(self) -> dict[str, Any]:
        """Return the size and number of the networks, and whether they add to a linear skip."""
        rnn = self.networks[0].rnn
        return RecurrentHyperparameters(
            hidden_size=rnn.hidden_size,
            num_layers=rnn.num_layers,
            members=len(self.networks),
            linear_skip=isinstance(self.transform, LinearSkipTransform),
        ).model_dump()

    def save(self, directory: Path) -> None:
        """Write ``model.safetensors``: weights under PyTorch's names, and the fitted arrays of the window transform.

        Where there are several networks, the names of each begin with its number. Equal weights give equal bytes.
        """
        from safetensors.torch import save

        state = _as_module(self.networks).state_dict()
        tensors = {name: values.cpu().clone(memory_format=torch.contiguous_format) for name, values in state.items()}
        tensors |= {name: torch.from_numpy(values.copy()) for name, values in self.transform.tensors().items()}
        (directory / MODEL_FILE).write_bytes(save(tensors))

    @classmethod
    def load(cls, directory: Path, config: BundleConfig, scaler: Scaler) -> Self:
        """Load what ``save`` wrote, also in versions without several networks and linear skips.

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
        features, outputs = len(config.features), config.output_seq_len * len(config.targets)
        try:
            tensors = load(path.read_bytes())
            transform = _transform(tensors, config, scaler, linear_skip=size.linear_skip)
            with torch.device("meta"):  # without drawing weights that are replaced at once
                networks = make_networks(
                    model_type, transform.width, size.hidden_size, size.num_layers, outputs, size.members
                )
            _as_module(networks).load_state_dict(tensors, assign=True)
        except (SafetensorError, RuntimeError, KeyError, ValueError) as error:
            several = f"{size.members} networks, each " if size.members > 1 else ""
            skip = " next to a linear skip" if size.linear_skip else ""
            raise BadInputError(
                f"{path} does not hold the weights of {several}a {model_type} with {features} features, "
                f"{size.num_layers} layers of {size.hidden_size} units and {outputs} outputs{skip}"
            ) from error
        networks = [net.float() for net in networks]
        if not all(weights.isfinite().all() for net in networks for weights in net.parameters()):
            raise BadInputError(f"{path} holds weights that are not finite numbers")
        return cls(
            networks,
            transform,
            input_seq_len=config.input_seq_len,
            output_seq_len=config.output_seq_len,
            features=config.features,
            targets=config.targets,
        )


def _rows_of_windows(origins: Indices, length: int) -> Indices:
    """Return the rows that lie in any window of ``length`` rows before the origins, ascending."""
    edges = np.zeros(int(origins.max()) + 1, dtype=np.int64)
    np.add.at(edges, origins - length, 1)
    np.subtract.at(edges, origins, 1)
    return np.flatnonzero(np.cumsum(edges))


def _as_module(networks: Sequence[RecurrentNet]) -> nn.Module:
    """Return one module; where there are several networks, the names of its weights begin with a network's number."""
    return nn.ModuleList(networks) if len(networks) > 1 else networks[0]


def _transform(
    tensors: dict[str, Tensor], config: BundleConfig, scaler: Scaler, *, linear_skip: bool
) -> WindowTransform:
    """Take the window transform out of a file's tensors; ``KeyError`` or ``ValueError`` where it is not there."""
    if not linear_skip:
        return ScalingTransform(
            config.features,
            config.targets,
            scaler,
            input_seq_len=config.input_seq_len,
            output_seq_len=config.output_seq_len,
        )
    fitted = {name: tensors.pop(name).double().numpy() for name in sorted(tensors) if name.startswith("framing.")}
    return LinearSkipTransform.of_tensors(
        fitted,
        config.features,
        config.targets,
        config.output_seq_len,
        input_seq_len=config.input_seq_len,
        sampling_seconds=config.sampling_seconds,
    )
