"""The hand-written passes against automatic derivatives of PyTorch's own layers."""

import pytest
import torch
from torch import Tensor, nn

from flts.models.bptt import Bptt
from flts.models.network import RecurrentNet, engine

SHAPES = [  # inputs, hidden, layers, outputs, steps, windows
    (17, 128, 2, 1, 10, 64),
    (3, 8, 1, 2, 5, 7),
    (1, 5, 3, 4, 12, 2),
    (4, 6, 2, 1, 1, 3),
    (4, 1, 1, 1, 6, 1),
]


def network(model_type: str, shape: tuple[int, ...], dtype: torch.dtype) -> RecurrentNet:
    torch.manual_seed(1)
    inputs, hidden, layers, outputs = shape[:4]
    return RecurrentNet(model_type, inputs, hidden, layers, outputs).to(dtype)


def windows(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(shape[4], shape[5], shape[0], generator=generator, dtype=torch.float64).to(dtype)


def passes(net: RecurrentNet, shape: tuple[int, ...], *, keep_gates: bool = True) -> Bptt:
    for parameter in net.parameters():
        parameter.grad = torch.full_like(parameter, torch.nan)
    return Bptt(net.rnn, net.head, shape[4], shape[5], keep_gates=keep_gates)


def relative(left: Tensor, right: Tensor) -> float:
    return float((left - right).abs().max() / right.abs().max().clamp_min(1e-30))


@pytest.mark.parametrize("model_type", ["GRU", "LSTM"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_outputs_and_gradients_equal_pytorchs(
    model_type: str, shape: tuple[int, ...], dtype: torch.dtype, tolerance: float
) -> None:
    net, expected = (network(model_type, shape, dtype) for _ in range(2))
    run = passes(net, shape)
    for seed in (1, 2):  # the second batch finds the buffers full of the first
        batch = windows(shape, dtype, seed)
        weight = torch.randn(shape[5], shape[3], dtype=dtype)
        expected.zero_grad()
        outputs = expected(batch)
        outputs.backward(weight)

        run.inputs.copy_(batch.flatten(0, 1))
        torch.testing.assert_close(run.forward(), outputs.detach(), rtol=tolerance, atol=tolerance)
        run.backward(weight)
        for (name, ours), theirs in zip(net.named_parameters(), expected.parameters(), strict=True):
            if theirs.grad.abs().max() == 0:  # the recurrent weights of a single step
                assert not ours.grad.any(), name
            else:
                assert relative(ours.grad, theirs.grad) < tolerance, name


@pytest.mark.parametrize("model_type", ["GRU", "LSTM"])
@pytest.mark.parametrize("shape", SHAPES)
def test_outputs_without_kept_gates_equal_pytorchs(model_type: str, shape: tuple[int, ...]) -> None:
    net, expected = (network(model_type, shape, torch.float64) for _ in range(2))
    run = passes(net, shape, keep_gates=False)
    for seed in (1, 2):
        batch = windows(shape, torch.float64, seed)
        run.inputs.copy_(batch.flatten(0, 1))
        torch.testing.assert_close(run.forward(), expected(batch).detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("model_type", ["GRU", "LSTM"])
def test_gradients_equal_differences_of_the_loss(model_type: str) -> None:
    shape = (3, 4, 2, 2, 5, 6)
    net = network(model_type, shape, torch.float64)
    run = passes(net, shape)
    run.inputs.copy_(windows(shape, torch.float64, 3).flatten(0, 1))
    run.backward(run.forward().clone())  # of half the sum of squares
    step = 1e-6
    for name, parameter in net.named_parameters():
        direction = torch.randn_like(parameter)
        losses = []
        for sign in (1, -1):
            parameter.data.add_(direction, alpha=sign * step)
            losses.append(float(run.forward().square().sum() / 2))
            parameter.data.add_(direction, alpha=-sign * step)
        slope = (losses[0] - losses[1]) / (2 * step)
        assert slope == pytest.approx(float((parameter.grad * direction).sum()), rel=1e-6, abs=1e-9), name


@pytest.mark.parametrize("model_type", ["GRU", "LSTM"])
def test_the_cpu_engine_leaves_the_network_as_it_was(model_type: str) -> None:
    net, expected = (network(model_type, (3, 8, 2, 2), torch.float32) for _ in range(2))
    parameters = engine(net).parameters
    batch = torch.randn(5, 4, 3)
    torch.testing.assert_close(net(batch), expected(batch))
    assert sum(parameter.numel() for parameter in parameters) == sum(p.numel() for p in expected.parameters())
    parameters[0].zero_()
    assert not any(values.any() for values in net.state_dict().values())


def test_a_linear_head_reads_the_last_state() -> None:
    net = network("LSTM", (3, 8, 2, 2), torch.float32)
    states, _ = net.rnn(batch := torch.randn(5, 4, 3))
    assert torch.equal(net(batch), nn.functional.linear(states[-1], net.head.weight, net.head.bias))
