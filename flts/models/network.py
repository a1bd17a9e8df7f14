"""The network of the recurrent models, the series it reads, and how it is computed on the CPU and on a GPU."""

from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import local
from typing import Literal, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from flts.errors import BadInputError
from flts.models.bptt import Bptt
from flts.timeseries.arrays import Indices
from flts.timeseries.frame import Frame
from flts.timeseries.scaling import Scaler

RecurrentType = Literal["GRU", "LSTM"]
# Outside training, so many windows are computed at once, and fewer of long ones: bounds memory.
FORECAST_BATCH, FORECAST_ROWS = 512, 65_536
# 1 GiB of float32. Training holds some six copies: weights, gradients, Adam's two moments, the best epoch's weights.
LARGEST_NETWORK = 1 << 28
# Numbers that the passes over one batch may hold at once: 16 GiB of float32.
LARGEST_BATCH = 1 << 32


def weight_count(model_type: RecurrentType, inputs: int, hidden_size: int, num_layers: int, outputs: int) -> int:
    """Return how many numbers a ``RecurrentNet`` learns."""
    gates = {"GRU": 3, "LSTM": 4}[model_type] * hidden_size
    layers = gates * (inputs + hidden_size + 2) + (num_layers - 1) * gates * (2 * hidden_size + 2)
    return layers + (hidden_size + 1) * outputs


class RecurrentNet(nn.Module):
    """Recurrent layers whose last state goes through a linear head."""

    def __init__(self, model_type: RecurrentType, inputs: int, hidden_size: int, num_layers: int, outputs: int) -> None:
        """Make a network with PyTorch's initial weights, drawn from the global random state.

        Raises:
            BadInputError: It would have more weights than ``LARGEST_NETWORK``.
        """
        weights = weight_count(model_type, inputs, hidden_size, num_layers, outputs)
        if weights > LARGEST_NETWORK:
            raise BadInputError(
                f"a {model_type} of {inputs} inputs, num_layers {num_layers}, hidden_size {hidden_size} and {outputs} "
                f"outputs has {weights:,} weights ({_gib(weights)}): at most {LARGEST_NETWORK:,} are accepted"
            )
        super().__init__()
        self.model_type: RecurrentType = model_type
        self.rnn = {"GRU": nn.GRU, "LSTM": nn.LSTM}[model_type](inputs, hidden_size, num_layers)
        self.head = nn.Linear(hidden_size, outputs)

    def forward(self, windows: Tensor) -> Tensor:
        """Return (B, outputs) for windows (T, B, inputs)."""
        states, _ = self.rnn(windows)
        outputs: Tensor = self.head(states[-1])
        return outputs


@dataclass(frozen=True)
class Series:
    """A scaled series that stays in the device's memory; batches gather their windows from it.

    Attributes:
        values: (rows, features), float32.
        target_values: (rows, targets), float32.
        history: Rows before an origin that a window holds.
        horizon: Rows from the origin on that are forecast.
    """

    values: Tensor
    target_values: Tensor
    history: Tensor
    horizon: Tensor

    @classmethod
    def of(
        cls,
        frame: Frame,
        features: Sequence[str],
        targets: Sequence[str],
        scaler: Scaler,
        *,
        input_seq_len: int,
        output_seq_len: int,
        device: torch.device,
    ) -> Self:
        """Scale a frame, and lay out the windows of ``input_seq_len`` rows before forecasts of ``output_seq_len``.

        Raises:
            BadInputError: A value is missing or not finite.
        """
        scaled = scaler.transform(features, frame.matrix(features)).astype(np.float32)
        if not np.isfinite(scaled).all():
            row, column = np.argwhere(~np.isfinite(scaled))[0]
            raise BadInputError(
                f"column {features[column]!r} at {frame.time[row]} is missing or not finite: "
                f"recurrent models need every value"
            )
        values = torch.from_numpy(scaled).to(device)
        return cls(
            values,
            values[:, [features.index(name) for name in targets]],
            torch.arange(-input_seq_len, 0, device=device)[:, None],
            torch.arange(output_seq_len, device=device)[:, None],
        )

    def origins(self, rows: Indices) -> Tensor:
        """Bring origins (k,) to the device."""
        return torch.from_numpy(rows).to(self.values.device)

    def window_rows(self, origins: Tensor) -> Tensor:
        """Return (input_seq_len, B): the rows of the windows that end just before the origins, by step."""
        return origins + self.history

    def wanted(self, origins: Tensor) -> Tensor:
        """Return (B, output_seq_len x targets): the values to forecast."""
        return self.target_values[(origins + self.horizon).t()].flatten(1)


def check_batch(net: RecurrentNet, steps: int, windows: int) -> None:
    """Make sure that training on ``windows`` windows of ``steps`` rows at once stays within ``LARGEST_BATCH``.

    Raises:
        BadInputError: It does not; the sentence says what it would need.
    """
    rnn = net.rnn
    numbers = steps * windows * numbers_per_row(net, training=True)
    if numbers > LARGEST_BATCH:
        raise BadInputError(
            f"training on {windows} windows of {steps} rows at once with num_layers {rnn.num_layers} and hidden_size "
            f"{rnn.hidden_size} needs {_gib(numbers)} of memory: at most {_gib(LARGEST_BATCH)} are accepted; a smaller "
            "batch_size, input_seq_len or network is needed"
        )


def numbers_per_row(net: RecurrentNet, *, training: bool) -> int:
    """Return how many numbers the passes of ``flts.models.bptt`` hold for a row of a window."""
    buffers = {"GRU": 4, "LSTM": 6}[net.model_type] + (4 if training else 0)  # of each unit; the four are its gates
    return int(net.rnn.input_size + buffers * net.rnn.num_layers * net.rnn.hidden_size)


def _gib(numbers: int) -> str:
    return f"{numbers * 4 / 2**30:,.1f} GiB"


class Engine(Protocol):
    """Computes a network on windows of a series."""

    parameters: list[Tensor]
    """What the optimizer steps; ``train`` fills their gradients."""
    numbers_per_row: int
    """How many numbers a forecast holds for a row of a window."""

    def predict(self, series: Series, origins: Tensor) -> Tensor:
        """Return (B, outputs) for the windows before the origins (B,); valid until the next call."""
        ...

    def train(self, series: Series, origins: Tensor) -> Tensor:
        """Return the mean squared error of the windows before the origins (B,), and fill the gradients."""
        ...


def engine(net: RecurrentNet) -> Engine:
    """Return what computes ``net`` where its parameters are.

    On the CPU the parameters become views of one vector; ``state_dict`` and ``load_state_dict`` work as before.
    """
    return _CudaEngine(net) if net.head.weight.is_cuda else _CpuEngine(net)


def predict_all(computing: Engine, series: Series, origins: Tensor, workers: int = 1) -> Tensor:
    """Return (k, outputs) for the windows before any number of origins (k,), in batches of bounded size.

    ``workers`` threads share the batches. Their size does not depend on it, so that the forecasts do not either.
    """
    rows = min(FORECAST_ROWS, LARGEST_BATCH // computing.numbers_per_row)
    batches = torch.split(origins, max(1, min(FORECAST_BATCH, rows // len(series.history))))

    def predict(batch: Tensor) -> Tensor:
        return computing.predict(series, batch).clone()

    if min(workers, len(batches)) <= 1:
        return torch.cat([predict(batch) for batch in batches])
    with ThreadPoolExecutor(min(workers, len(batches)), initializer=lambda: torch.set_num_threads(1)) as pool:
        return torch.cat(list(pool.map(predict, batches)))


class _Buffers(local):
    """The passes of one thread, by the shape of their windows and by whether they keep the gates."""

    def __init__(self) -> None:
        self.passes: OrderedDict[tuple[torch.Size, bool], Bptt] = OrderedDict()


class _CpuEngine:
    """Runs the passes of ``flts.models.bptt``. Threads may predict at once; each has buffers of its own."""

    SHAPES = 4  # that are kept: full and last batch, of training and of validation
    SMALL = 1024  # rows of all windows whose gates are kept even if nobody needs them

    def __init__(self, net: RecurrentNet) -> None:
        """Move the parameters of ``net`` into one vector: clipping and the optimizer's step are few operations then."""
        self._net = net
        parameters = list(net.parameters())
        vector = torch.cat([parameter.detach().flatten() for parameter in parameters])
        vector.grad = torch.zeros_like(vector)
        sizes = [parameter.numel() for parameter in parameters]
        for parameter, *parts in zip(
            parameters, torch.split(vector, sizes), torch.split(vector.grad, sizes), strict=True
        ):
            # Matrices lie column by column: they are multiplied transposed, and MKL is faster on rows.
            values, gradient = (part.view(parameter.shape[::-1]).t() for part in parts)
            parameter.data, parameter.grad = values.copy_(parameter.detach()), gradient
        self.parameters = [vector]
        self.numbers_per_row = numbers_per_row(net, training=False)
        self._buffers = _Buffers()

    def predict(self, series: Series, origins: Tensor) -> Tensor:
        return self._gather(series, origins, training=False).forward()

    def train(self, series: Series, origins: Tensor) -> Tensor:
        passes = self._gather(series, origins, training=True)
        error = passes.forward() - series.wanted(origins)
        passes.backward(error * (2 / error.numel()))
        return error.square().mean()

    def _gather(self, series: Series, origins: Tensor, *, training: bool) -> Bptt:
        rows = series.window_rows(origins)
        keep_gates = training or rows.numel() <= self.SMALL
        kept, key = self._buffers.passes, (rows.shape, keep_gates)
        passes = kept.get(key)
        if passes is None:
            if len(kept) == self.SHAPES:
                kept.popitem(last=False)
            passes = kept[key] = Bptt(self._net.rnn, self._net.head, *rows.shape, keep_gates=keep_gates)
        kept.move_to_end(key)
        torch.index_select(series.values, 0, rows.flatten(), out=passes.inputs)
        return passes


class _CudaEngine:
    """Runs cuDNN's recurrent layers with automatic derivatives."""

    def __init__(self, net: RecurrentNet) -> None:
        self._net = net
        self.parameters: list[Tensor] = list(net.parameters())
        self.numbers_per_row = numbers_per_row(net, training=False)

    @torch.no_grad()
    def predict(self, series: Series, origins: Tensor) -> Tensor:
        outputs: Tensor = self._net(series.values[series.window_rows(origins)])
        return outputs

    def train(self, series: Series, origins: Tensor) -> Tensor:
        self._net.zero_grad()
        outputs = self._net(series.values[series.window_rows(origins)])
        loss = nn.functional.mse_loss(outputs, series.wanted(origins))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()
