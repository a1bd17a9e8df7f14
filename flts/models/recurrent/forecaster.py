"""GRU and LSTM forecasters: forecasting, saving and loading."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self, cast

import numpy as np
import torch
from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn

from flts.contracts import ModelType
from flts.errors import BadInputError
from flts.models.config import BundleConfig, read_hyperparameters
from flts.models.neural import device
from flts.models.recurrent.network import (
    Engine,
    RecurrentNet,
    RecurrentType,
    SeriesTensors,
    engine,
    make_networks,
    predict_all,
)
from flts.models.recurrent.rescaled_transform import RescaledTransform
from flts.models.recurrent.window_transform import LinearSkipTransform, ScalingTransform, WindowTransform
from flts.models.target_transform import FittedLog1p, TargetTransform
from flts.params import MAX_HIDDEN_SIZE, MAX_LAYERS, MAX_MEMBERS
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.frame import Frame
from flts.timeseries.scaling import FittedScaler, Scaler

MODEL_FILE = "model.safetensors"
# Begins the names of the arrays of the second window transform, where there are two.
SECOND = "second."


class FittedScales(BaseModel):
    """The scales that some networks see columns on, and the scaler of these, where there is no linear skip."""

    columns: dict[str, FittedLog1p]
    scaler: FittedScaler | None = None


class RecurrentHyperparameters(BaseModel):
    """Hyperparameters of ``RecurrentForecaster.config``; older bundles have one network, no skip and neither field.

    There are as many ``scales`` as window transforms; none where the only one sees columns as they are.
    """

    hidden_size: Annotated[int, Field(ge=1, le=MAX_HIDDEN_SIZE)]
    num_layers: Annotated[int, Field(ge=1, le=MAX_LAYERS)]
    members: Annotated[int, Field(ge=1, le=MAX_MEMBERS)] = 1
    linear_skip: bool = False
    scales: Annotated[list[FittedScales], Field(min_length=1, max_length=2)] | None = None

    @model_validator(mode="after")
    def _networks_for_each(self) -> Self:
        if self.scales and len(self.scales) > self.members:
            raise ValueError("must have at least one network for each of the scales")
        return self


class RecurrentForecaster:
    """Trained GRUs or LSTMs whose mean is the forecast. They see all columns; forecasts are in original units.

    Where there are two window transforms, the first networks belong to the first, as many to each as ``shares`` says,
    and the forecast is the mean of both.

    Thread-safe: each thread computes in buffers of its own.
    """

    def __init__(
        self,
        networks: Sequence[RecurrentNet],
        *transforms: WindowTransform,
        input_seq_len: int,
        output_seq_len: int,
        features: tuple[str, ...],
        targets: tuple[str, ...],
    ) -> None:
        """Forecast with networks of one shape, whose outputs are ``output_seq_len x targets`` values each."""
        device.prepare()
        self.model_type: ModelType = networks[0].model_type
        self.input_seq_len = input_seq_len
        self.output_seq_len = output_seq_len
        self.history_rows = max(transform.history_rows for transform in transforms)
        self.features = features
        self.targets = targets
        self.transforms = transforms
        first = transforms[0]
        scaled = first.scales.scales if isinstance(first, RescaledTransform) else {}
        self.non_negative = tuple(name for name in targets if name in scaled)
        self._least = np.array([0.0 if name in scaled else -np.inf for name in targets])
        self.networks = [net.to(device.device()) for net in networks]
        self._engines = [engine(group) for group in shares(self.networks, len(transforms))]

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
        time = frame.time[start : stop + self.output_seq_len]
        forecasts = [
            transform.forecasts(seen, time, near, self._outputs(transform, computing, seen, rows, near))
            for transform, computing in zip(self.transforms, self._engines, strict=True)
        ]
        mean: Floats = sum(forecasts[1:], forecasts[0]) / len(forecasts)
        values: Floats = np.maximum(mean, self._least)
        return values

    def _outputs(
        self, transform: WindowTransform, computing: Engine, seen: Frame, rows: Indices, origins: Indices
    ) -> Floats:
        """Return (k, horizon, targets) outputs of the networks of a transform; ``rows`` lie in any window."""
        series = SeriesTensors.of(transform.inputs(seen.at(rows)), self.input_seq_len, device.device())
        origins_there = np.searchsorted(rows, origins - 1) + 1
        outputs = predict_all(computing, series, series.origins(origins_there), device.cores())
        values: Floats = outputs.cpu().numpy().astype(np.float64)
        return values.reshape(len(origins), self.output_seq_len, len(self.targets))

    def config(self) -> dict[str, Any]:
        """Return the size and number of the networks, whether they add to a linear skip, and the scales they see."""
        rnn = self.networks[0].rnn
        scales = [_fitted_scales(transform) for transform in self.transforms]
        return RecurrentHyperparameters(
            hidden_size=rnn.hidden_size,
            num_layers=rnn.num_layers,
            members=len(self.networks),
            linear_skip=self.transforms[0].skip is not None,
            scales=scales if any(each.columns for each in scales) else None,
        ).model_dump(exclude_none=True)

    def save(self, directory: Path) -> None:
        """Write ``model.safetensors``: weights under PyTorch's names, and the fitted arrays of the window transform.

        Where there are several networks, the names of each begin with its number. Equal weights give equal bytes.
        """
        from safetensors.torch import save

        state = _as_module(self.networks).state_dict()
        tensors = {name: values.cpu().clone(memory_format=torch.contiguous_format) for name, values in state.items()}
        for prefix, transform in zip(("", SECOND), self.transforms, strict=False):
            arrays = transform.tensors().items()
            tensors |= {f"{prefix}{name}": torch.from_numpy(values.copy()) for name, values in arrays}
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
            transforms = [
                _transform(tensors, prefix, config, scaler, scales, linear_skip=size.linear_skip)
                for prefix, scales in zip(("", SECOND), size.scales or [FittedScales(columns={})], strict=False)
            ]
            with torch.device("meta"):  # without drawing weights that are replaced at once
                networks = make_networks(
                    model_type, transforms[0].width, size.hidden_size, size.num_layers, outputs, size.members
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
            *transforms,
            input_seq_len=config.input_seq_len,
            output_seq_len=config.output_seq_len,
            features=config.features,
            targets=config.targets,
        )


def shares(networks: Sequence[RecurrentNet], groups: int) -> list[list[RecurrentNet]]:
    """Divide networks into as many groups, in their order, as equal in number as may be."""
    return [[networks[i] for i in part] for part in np.array_split(np.arange(len(networks)), groups)]


def _rows_of_windows(origins: Indices, length: int) -> Indices:
    """Return the rows that lie in any window of ``length`` rows before the origins, ascending."""
    edges = np.zeros(int(origins.max()) + 1, dtype=np.int64)
    np.add.at(edges, origins - length, 1)
    np.subtract.at(edges, origins, 1)
    return np.flatnonzero(np.cumsum(edges))


def _as_module(networks: Sequence[RecurrentNet]) -> nn.Module:
    """Return one module; where there are several networks, the names of its weights begin with a network's number."""
    return nn.ModuleList(networks) if len(networks) > 1 else networks[0]


def _fitted_scales(transform: WindowTransform) -> FittedScales:
    if not isinstance(transform, RescaledTransform):
        return FittedScales(columns={})
    inner = transform.inner
    scaler = inner.scaler.to_dict() if isinstance(inner, ScalingTransform) else None
    return FittedScales.model_validate({"columns": transform.scales.to_dict(), "scaler": scaler})


def _transform(
    tensors: dict[str, Tensor],
    prefix: str,
    config: BundleConfig,
    scaler: Scaler,
    scales: FittedScales,
    *,
    linear_skip: bool,
) -> WindowTransform:
    """Take a window transform out of a file's tensors; ``KeyError`` or ``ValueError`` where it is not there."""
    if scales.scaler:
        scaler = Scaler.from_dict(scales.scaler.model_dump())
    transform: WindowTransform = ScalingTransform(
        config.features,
        config.targets,
        scaler,
        input_seq_len=config.input_seq_len,
        output_seq_len=config.output_seq_len,
    )
    if linear_skip:
        begin = f"{prefix}framing."
        names = [name for name in sorted(tensors) if name.startswith(begin)]
        transform = LinearSkipTransform.of_tensors(
            {name.removeprefix(prefix): tensors.pop(name).double().numpy() for name in names},
            config.features,
            config.targets,
            config.output_seq_len,
            input_seq_len=config.input_seq_len,
            sampling_seconds=config.sampling_seconds,
        )
    if not scales.columns:
        return transform
    fitted = TargetTransform.of_fitted(scales.columns, config.features, config.output_seq_len)
    return RescaledTransform(transform, fitted, config.targets)
