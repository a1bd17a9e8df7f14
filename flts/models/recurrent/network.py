"""The networks of the recurrent models, the tensors they read, and their computation on the CPU and on a GPU."""

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
from flts.models.neural.training_loop import MAX_GRADIENT_NORM, member_step
from flts.models.recurrent.bptt import Bptt, Weights
from flts.timeseries.arrays import Floats, Indices

RecurrentType = Literal["GRU", "LSTM"]
# Windows computed at once outside training, fewer where they are long: bounds memory.
FORECAST_BATCH, FORECAST_ROWS = 512, 65_536
# Weights of all members together: 1 GiB of float32. Training holds some six copies: weights, gradients, Adam's two
# moments, the best epoch's weights.
LARGEST_NETWORK = 1 << 28
# Numbers that the forward and backward pass over one batch may hold: 16 GiB of float32.
LARGEST_BATCH = 1 << 32


class RecurrentNet(nn.Module):
    """Recurrent layers whose last state goes through a linear head."""

    def __init__(self, model_type: RecurrentType, inputs: int, hidden_size: int, num_layers: int, outputs: int) -> None:
        """Make a network with PyTorch's initial weights, drawn from the global random state."""
        super().__init__()
        self.model_type: RecurrentType = model_type
        self.rnn = {"GRU": nn.GRU, "LSTM": nn.LSTM}[model_type](inputs, hidden_size, num_layers)
        self.head = nn.Linear(hidden_size, outputs)

    @torch.no_grad()
    def start_at_zero(self) -> None:
        """Make every output zero until the first step of training."""
        self.head.weight.zero_()
        self.head.bias.zero_()

    def forward(self, windows: Tensor) -> Tensor:
        """Return (B, outputs) for windows (T, B, inputs)."""
        states, _ = self.rnn(windows)
        outputs: Tensor = self.head(states[-1])
        return outputs


def make_networks(
    model_type: RecurrentType, inputs: int, hidden_size: int, num_layers: int, outputs: int, members: int
) -> list[RecurrentNet]:
    """Make ``members`` networks of one shape.

    Raises:
        BadInputError: They would have more weights than ``LARGEST_NETWORK``.
    """
    weights = members * weight_count(model_type, inputs, hidden_size, num_layers, outputs)
    if weights > LARGEST_NETWORK:
        one, has = (f"{members} networks, each a", "have") if members > 1 else ("a", "has")
        raise BadInputError(
            f"{one} {model_type} of {inputs} inputs, num_layers {num_layers}, hidden_size {hidden_size} and {outputs} "
            f"outputs {has} {weights:,} weights ({_gib(weights)}): at most {LARGEST_NETWORK:,} are accepted"
        )
    return [RecurrentNet(model_type, inputs, hidden_size, num_layers, outputs) for _ in range(members)]


def weight_count(model_type: RecurrentType, inputs: int, hidden_size: int, num_layers: int, outputs: int) -> int:
    """Return the number of weights of a ``RecurrentNet``."""
    gates = {"GRU": 3, "LSTM": 4}[model_type] * hidden_size
    layers = gates * (inputs + hidden_size + 2) + (num_layers - 1) * gates * (2 * hidden_size + 2)
    return layers + (hidden_size + 1) * outputs


@dataclass(frozen=True)
class SeriesTensors:
    """Inputs of networks in the device's memory, from which batches gather their windows.

    Attributes:
        inputs: (rows, inputs), float32.
        history: (T, 1) the rows of a window, relative to its origin.
    """

    inputs: Tensor
    history: Tensor

    @classmethod
    def of(cls, inputs: Floats, input_seq_len: int, device: torch.device) -> Self:
        """Bring (rows, inputs) to the device; a window is the ``input_seq_len`` rows before its origin."""
        return cls(to_device(inputs, device), torch.arange(-input_seq_len, 0, device=device)[:, None])

    def origins(self, rows: Indices) -> Tensor:
        """Bring origins (k,) to the device."""
        return torch.from_numpy(rows).to(self.inputs.device)

    def window_rows(self, origins: Tensor) -> Tensor:
        """Return (.., T, B): the rows of the windows that end just before the origins (.., B), by step."""
        return origins.unsqueeze(-2) + self.history


@dataclass(frozen=True)
class TargetTensors:
    """Training targets by origin: (rows, outputs) ``targets`` and ``weights`` of the squared errors, float32."""

    targets: Tensor
    weights: Tensor


def to_device(values: Floats, device: torch.device) -> Tensor:
    """Return float64 values as float32 on a device."""
    return torch.from_numpy(values.astype(np.float32)).to(device)


def check_batch(networks: Sequence[RecurrentNet], steps: int, windows: int) -> None:
    """Make sure that training each on ``windows`` windows of ``steps`` rows at once stays within ``LARGEST_BATCH``.

    Raises:
        BadInputError: It does not; the sentence says how much memory it would need.
    """
    rnn = networks[0].rnn
    numbers = steps * windows * numbers_per_row(networks, training=True)
    if numbers > LARGEST_BATCH:
        raise BadInputError(
            f"training on {windows} windows of {steps} rows at once with num_layers {rnn.num_layers}, hidden_size "
            f"{rnn.hidden_size} and members {len(networks)} needs {_gib(numbers)} of memory: at most "
            f"{_gib(LARGEST_BATCH)} are accepted; a smaller batch_size, input_seq_len or network, or fewer members, is "
            "needed"
        )


def numbers_per_row(networks: Sequence[RecurrentNet], *, training: bool) -> int:
    """Return how many numbers ``bptt`` holds for one row of a window of each network."""
    rnn, kind = networks[0].rnn, networks[0].model_type
    buffers = {"GRU": 4, "LSTM": 6}[kind] + (4 if training else 0)  # of each unit; the four are its gates
    return len(networks) * int(rnn.input_size + buffers * rnn.num_layers * rnn.hidden_size)


def _gib(numbers: int) -> str:
    return f"{numbers * 4 / 2**30:,.1f} GiB"


class Engine(Protocol):
    """Computes networks of one shape on windows of a series."""

    parameters: list[Tensor]
    """The parameters of the optimizer; ``train`` fills their gradients."""
    numbers_per_row: int
    """Numbers that a forecast holds for one row of a window."""

    def predict(self, series: SeriesTensors, origins: Tensor) -> Tensor:
        """Return (B, outputs), the mean of the networks, for the windows before the origins (B,)."""
        ...

    def train(self, series: SeriesTensors, labels: TargetTensors, origins: Tensor) -> Tensor:
        """Return the mean weighted squared error, and fill the gradients.

        The origins (M, B) are a batch for each of M networks. A network's gradient is that of its own mean error,
        clipped to norm 1.
        """
        ...


def engine(networks: Sequence[RecurrentNet]) -> Engine:
    """Return the engine for the device of the networks.

    On the CPU the parameters become views of one matrix; ``state_dict`` and ``load_state_dict`` work as before.
    """
    return _CudaEngine(networks) if networks[0].head.weight.is_cuda else _CpuEngine(networks)


def predict_all(computing: Engine, series: SeriesTensors, origins: Tensor, workers: int = 1) -> Tensor:
    """Return (k, outputs) for the windows before any number of origins (k,), in batches of bounded size.

    ``workers`` threads share the batches, whose size, and so the forecasts, do not depend on their number.
    """
    rows = min(FORECAST_ROWS, LARGEST_BATCH // computing.numbers_per_row)
    batches = torch.split(origins, max(1, min(FORECAST_BATCH, rows // len(series.history))))

    def predict(batch: Tensor) -> Tensor:
        return computing.predict(series, batch)

    if min(workers, len(batches)) <= 1:
        return torch.cat([predict(batch) for batch in batches])
    with ThreadPoolExecutor(min(workers, len(batches)), initializer=lambda: torch.set_num_threads(1)) as pool:
        return torch.cat(list(pool.map(predict, batches)))


class _Buffers(local):
    """The ``Bptt`` buffers of one thread, by the shape of their windows and by whether they keep the gates."""

    def __init__(self) -> None:
        self.by_shape: OrderedDict[tuple[torch.Size, bool], Bptt] = OrderedDict()


def stack(networks: Sequence[RecurrentNet]) -> tuple[Tensor, Weights, Weights]:
    """Make the parameters of M networks views of one (M, parameters) matrix, and their gradients views of its gradient.

    Clipping and the optimizer's step are few operations then, and the networks can be computed at once.

    Returns:
        The matrix, and its values and its gradient as (M, ..) tensors by the names of the networks' parameters.
    """
    matrix = torch.stack([torch.cat([part.detach().flatten() for part in net.parameters()]) for net in networks])
    matrix.grad = torch.zeros_like(matrix)
    names, shapes = zip(*((name, part.shape) for name, part in networks[0].named_parameters()), strict=True)
    sizes = [shape.numel() for shape in shapes]
    # Matrices lie column by column: they are multiplied transposed, and MKL is faster on rows.
    values, gradients = (
        {
            name: part.view(len(networks), *shape[::-1]).mT if len(shape) == 2 else part
            for name, shape, part in zip(names, shapes, torch.split(whole, sizes, dim=1), strict=True)
        }
        for whole in (matrix, matrix.grad)
    )
    for row, net in enumerate(networks):
        for name, parameter in net.named_parameters():
            parameter.data, parameter.grad = values[name][row].copy_(parameter.detach()), gradients[name][row]
    return matrix, values, gradients


class _CpuEngine:
    """Engine on ``flts.models.recurrent.bptt``. Several threads may predict at once; each has buffers of its own."""

    SHAPES = 16  # cached buffers: few are used in training; in a server as many as there are sizes of small batches
    SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)  # small batches are padded to these
    SMALL = 1024  # up to so many rows of all windows, keeping the gates is faster also without a backward pass

    def __init__(self, networks: Sequence[RecurrentNet]) -> None:
        self._kind, self._networks = networks[0].model_type, len(networks)
        matrix, self._weights, self._gradients = stack(networks)
        self.parameters = [matrix]
        self.numbers_per_row = numbers_per_row(networks, training=False)
        self._buffers = _Buffers()

    def predict(self, series: SeriesTensors, origins: Tensor) -> Tensor:
        count = len(origins)
        size = next((size for size in self.SIZES if size >= count), count)
        if size > count:
            origins = torch.cat([origins, origins[-1:].expand(size - count)])
        rows = series.window_rows(origins.expand(self._networks, -1))
        outputs = self._gather(series, rows, keep_gates=rows.numel() <= self.SMALL).forward().mean(0)
        return outputs[:count]

    def train(self, series: SeriesTensors, labels: TargetTensors, origins: Tensor) -> Tensor:
        bptt = self._gather(series, series.window_rows(origins), keep_gates=True)
        error = bptt.forward() - labels.targets[origins]
        weighted = error * labels.weights[origins]
        bptt.backward(weighted * (2 / error[0].numel()))
        gradient = self.parameters[0].grad
        assert gradient is not None  # noqa: S101 - for mypy
        norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
        gradient.mul_((MAX_GRADIENT_NORM / (norm + 1e-6)).clamp_(max=1.0))
        return weighted.mul_(error).mean()

    def _gather(self, series: SeriesTensors, rows: Tensor, *, keep_gates: bool) -> Bptt:
        """Return buffers whose inputs are (M, T, B) rows of the series."""
        cached, key = self._buffers.by_shape, (rows.shape, keep_gates)
        bptt = cached.get(key)
        if bptt is None:
            if len(cached) == self.SHAPES:
                cached.popitem(last=False)
            _, steps, batch = rows.shape
            bptt = Bptt(self._kind, self._weights, self._gradients, steps, batch, keep_gates=keep_gates)
            cached[key] = bptt
        cached.move_to_end(key)
        torch.index_select(series.inputs, 0, rows.flatten(), out=bptt.inputs.view(-1, series.inputs.shape[1]))
        return bptt


class _CudaEngine:
    """Engine on cuDNN's recurrent layers with automatic differentiation, one network after another."""

    def __init__(self, networks: Sequence[RecurrentNet]) -> None:
        self._networks = networks
        self.parameters: list[Tensor] = [parameter for net in networks for parameter in net.parameters()]
        self.numbers_per_row = numbers_per_row(networks, training=False)

    @torch.no_grad()
    def predict(self, series: SeriesTensors, origins: Tensor) -> Tensor:
        windows = series.inputs[series.window_rows(origins)]
        return torch.stack([net(windows) for net in self._networks]).mean(0)

    def train(self, series: SeriesTensors, labels: TargetTensors, origins: Tensor) -> Tensor:
        def loss(net: RecurrentNet, rows: Tensor) -> Tensor:
            error: Tensor = net(series.inputs[series.window_rows(rows)]) - labels.targets[rows]
            return (labels.weights[rows] * error.square()).mean()

        return member_step(self._networks, loss, origins)
