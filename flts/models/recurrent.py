"""GRU and LSTM forecasters: forecasting, saving and loading."""

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Self, cast

import numpy as np
import torch

from flts.contracts import ModelType
from flts.errors import BadInputError
from flts.models import compute
from flts.models.config import BundleConfig
from flts.models.framing import Framing, ScaledFraming, SkipFraming
from flts.models.network import RecurrentNet, RecurrentType, Series, engine, predict_all
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.frame import Frame
from flts.timeseries.scaling import Scaler

MODEL_FILE = "model.safetensors"


class RecurrentForecaster:
    """Trained GRUs or LSTMs whose mean is the forecast. They see all columns; forecasts are in original units.

    Threads may share it; their forecasts are computed one after another.
    """

    def __init__(
        self,
        networks: Sequence[RecurrentNet],
        framing: Framing,
        *,
        input_seq_len: int,
        output_seq_len: int,
        features: tuple[str, ...],
        targets: tuple[str, ...],
    ) -> None:
        """Forecast with networks of one shape, whose outputs are ``output_seq_len x targets`` values."""
        compute.prepare()
        self.model_type: ModelType = networks[0].model_type
        self.input_seq_len = input_seq_len
        self.output_seq_len = output_seq_len
        self.history_rows = framing.history_rows
        self.features = features
        self.targets = targets
        self.framing = framing
        self.networks = [net.to(compute.device()) for net in networks]
        self._engine = engine(self.networks)
        self._lock = Lock()

    def forecast(self, frame: Frame, origins: Indices) -> Floats:
        """Forecast blocks; see ``Forecaster.forecast``.

        The same call gives the same bits. A different number of origins in the call moves a forecast by rounding
        alone (around 1e-7 of the scaled range): matrix products of another size add up in another order.
        """
        if len(origins) == 0:
            return np.empty((0, self.output_seq_len, len(self.targets)))
        start, stop = max(0, int(origins.min()) - self.history_rows), int(origins.max())
        seen, near = frame.rows(start, stop), origins - start
        series = Series.of(self.framing.inputs(seen), self.input_seq_len, compute.device())
        with self._lock:
            outputs = predict_all(self._engine, series, series.origins(near), compute.cores())
        values = outputs.cpu().numpy().astype(np.float64)
        return self.framing.forecasts(
            seen,
            frame.time[start : stop + self.output_seq_len],
            near,
            values.reshape(len(origins), self.output_seq_len, len(self.targets)),
        )

    def config(self) -> dict[str, Any]:
        """Return the size of the networks, how many there are, and whether they add to a linear skip."""
        rnn = self.networks[0].rnn
        return {
            "hidden_size": rnn.hidden_size,
            "num_layers": rnn.num_layers,
            "members": len(self.networks),
            "linear_skip": isinstance(self.framing, SkipFraming),
        }

    def save(self, directory: Path) -> None:
        """Write ``model.safetensors``: weights under PyTorch's names, and what the framing learned.

        Where there are several networks, the names of each begin with its number. Equal weights give equal bytes.
        """
        from safetensors.torch import save

        tensors = {
            f"{_prefix(number, len(self.networks))}{name}": values.cpu().clone(memory_format=torch.contiguous_format)
            for number, net in enumerate(self.networks)
            for name, values in net.state_dict().items()
        }
        tensors |= {name: torch.from_numpy(values.copy()) for name, values in self.framing.tensors().items()}
        (directory / MODEL_FILE).write_bytes(save(tensors))

    @classmethod
    def load(cls, directory: Path, config: BundleConfig, scaler: Scaler) -> Self:
        """Load what ``save`` wrote, also before there were several networks and linear skips.

        Raises:
            BadInputError: The file is not safetensors, or does not hold the weights of the network in ``config``.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        path, model_type, sizes = directory / MODEL_FILE, cast(RecurrentType, config.model_type), config.hyperparameters
        hidden_size, num_layers, members = sizes["hidden_size"], sizes["num_layers"], sizes.get("members", 1)
        try:
            tensors = load(path.read_bytes())
            framing: Framing
            if sizes.get("linear_skip", False):
                arrays = {name: tensors.pop(name).numpy() for name in list(tensors) if name.startswith("framing.")}
                framing = SkipFraming.of_tensors(
                    arrays,
                    config.features,
                    config.targets,
                    config.output_seq_len,
                    input_seq_len=config.input_seq_len,
                    sampling_seconds=config.sampling_seconds,
                )
                inputs = framing.width
            else:
                framing = ScaledFraming(
                    config.features,
                    config.targets,
                    scaler,
                    input_seq_len=config.input_seq_len,
                    output_seq_len=config.output_seq_len,
                )
                inputs = len(config.features)
            networks = []
            for number in range(members):
                with torch.device("meta"):  # no weights are drawn only to be replaced
                    net = RecurrentNet(
                        model_type, inputs, hidden_size, num_layers, config.output_seq_len * len(config.targets)
                    )
                prefix = _prefix(number, members)
                own = {
                    name: tensors.pop(f"{prefix}{name}") for name in net.state_dict() if f"{prefix}{name}" in tensors
                }
                net.load_state_dict(own, assign=True)
                networks.append(net.float())
            if tensors:
                raise ValueError(f"unknown tensors {sorted(tensors)}")
        except (SafetensorError, RuntimeError, KeyError, ValueError) as error:
            raise BadInputError(
                f"{path} does not hold the weights of a {model_type} with {len(config.features)} features, "
                f"{num_layers} layers of {hidden_size} units and {config.output_seq_len * len(config.targets)} outputs"
            ) from error
        return cls(
            networks,
            framing,
            input_seq_len=config.input_seq_len,
            output_seq_len=config.output_seq_len,
            features=config.features,
            targets=config.targets,
        )


def _prefix(number: int, networks: int) -> str:
    return f"{number}." if networks > 1 else ""
