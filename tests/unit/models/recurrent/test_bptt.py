"""The hand-written passes against automatic derivatives of PyTorch's own layers."""

import pytest
import torch
from torch import Tensor, nn

from flts.models.recurrent.bptt import Bptt
from flts.models.recurrent.network import RecurrentNet, SeriesTensors, TargetTensors, engine, stack

SHAPES = [  # inputs, hidden, layers, outputs, steps, windows
    (17, 128, 2, 1, 10, 64),
    (3, 8, 1, 2, 5, 7),
    (1, 5, 3, 4, 12, 2),
    (4, 6, 2, 1, 1, 3),
    (4, 1, 1, 1, 6, 1),
]


def network(model_type: str, shape: tuple[int, ...], dtype: torch.dtype, seed: int = 1) -> RecurrentNet:
    torch.manual_seed(seed)
    inputs, hidden, layers, outputs = shape[:4]
    return RecurrentNet(model_type, inputs, hidden, layers, outputs).to(dtype)


def windows(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(shape[4], shape[5], shape[0], generator=generator, dtype=torch.float64).to(dtype)


def passes(nets: list[RecurrentNet], shape: tuple[int, ...], *, keep_gates: bool = True) -> Bptt:
    matrix, weights, gradients = stack(nets)
    matrix.grad.fill_(torch.nan)
    return Bptt(nets[0].model_type, weights, gradients, shape[4], shape[5], keep_gates=keep_gates)


def relative(left: Tensor, right: Tensor) -> float:
    return float((left - right).abs().max() / right.abs().max().clamp_min(1e-30))


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("model_type", ["GRU", "LSTM"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_outputs_and_gradients_of_every_member_equal_pytorchs(
    model_type: str, shape: tuple[int, ...], dtype: torch.dtype, tolerance: float, members: int
) -> None:
    nets, expected = ([network(model_type, shape, dtype, seed) for seed in range(members)] for _ in range(2))
    run = passes(nets, shape)
    for seed in (1, 2):  # the second batch finds the buffers full of the first
        batches = [windows(shape, dtype, seed + 10 * member) for member in range(members)]
        weight = torch.randn(members, shape[5], shape[3], dtype=dtype)
        run.inputs.copy_(torch.stack([batch.flatten(0, 1) for batch in batches]))
        ours = run.forward().clone()
        run.backward(weight)
        for member, (net, plain) in enumerate(zip(nets, expected, strict=True)):
            plain.zero_grad()
            outputs = plain(batches[member])
            outputs.backward(weight[member])
            torch.testing.assert_close(ours[member], outputs.detach(), rtol=tolerance, atol=tolerance)
            for (name, own), theirs in zip(net.named_parameters(), plain.parameters(), strict=True):
                if theirs.grad.abs().max() == 0:  # the recurrent weights of a single step
                    assert not own.grad.any(), name
                else:
                    assert relative(own.grad, theirs.grad) < tolerance, name


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("model_type", ["GRU", "LSTM"])
@pytest.mark.parametrize("shape", SHAPES)
def test_outputs_without_kept_gates_equal_pytorchs(model_type: str, shape: tuple[int, ...], members: int) -> None:
    nets, expected = ([network(model_type, shape, torch.float64, seed) for seed in range(members)] for _ in range(2))
    run = passes(nets, shape, keep_gates=False)
    for seed in (1, 2):
        batch = windows(shape, torch.float64, seed)
        run.inputs.copy_(batch.flatten(0, 1).expand(members, -1, -1))
        outputs = torch.stack([net(batch) for net in expected]).detach()
        torch.testing.assert_close(run.forward(), outputs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("model_type", ["GRU", "LSTM"])
def test_gradients_equal_differences_of_the_loss(model_type: str) -> None:
    shape = (3, 4, 2, 2, 5, 6)
    net = network(model_type, shape, torch.float64)
    run = passes([net], shape)
    run.inputs.copy_(windows(shape, torch.float64, 3).flatten(0, 1)[None])
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
    parameters = engine([net]).parameters
    batch = torch.randn(5, 4, 3)
    torch.testing.assert_close(net(batch), expected(batch))
    assert sum(parameter.numel() for parameter in parameters) == sum(p.numel() for p in expected.parameters())
    parameters[0].zero_()
    assert not any(values.any() for values in net.state_dict().values())


def test_a_linear_head_reads_the_last_state() -> None:
    net = network("LSTM", (3, 8, 2, 2), torch.float32)
    states, _ = net.rnn(batch := torch.randn(5, 4, 3))
    assert torch.equal(net(batch), nn.functional.linear(states[-1], net.head.weight, net.head.bias))


@pytest.mark.parametrize("model_type", ["GRU", "LSTM"])
def test_members_train_as_each_does_by_itself_with_its_own_clipped_gradient(model_type: str) -> None:
    shape, random = (3, 8, 1, 2), torch.Generator().manual_seed(5)
    series = SeriesTensors(torch.randn(60, 3, generator=random), torch.arange(-4, 0)[:, None])
    labels = TargetTensors(20 * torch.randn(60, 2, generator=random), torch.rand(60, 2, generator=random))
    origins = torch.randint(4, 60, (3, 16), generator=random)
    nets, expected = ([network(model_type, shape, torch.float32, seed) for seed in range(3)] for _ in range(2))
    loss = engine(nets).train(series, labels, origins)
    losses = []
    for net, plain, rows in zip(nets, expected, origins, strict=True):
        error = plain(series.inputs[series.window_rows(rows)]) - labels.targets[rows]
        own = (labels.weights[rows] * error.square()).mean()
        own.backward()
        assert nn.utils.clip_grad_norm_(plain.parameters(), 1.0) > 1
        losses.append(own.item())
        for (name, ours), theirs in zip(net.named_parameters(), plain.parameters(), strict=True):
            assert relative(ours.grad, theirs.grad) < 1e-5, name
    assert loss.item() == pytest.approx(sum(losses) / 3, rel=1e-5)


def test_the_forecast_is_the_mean_of_the_members() -> None:
    series = SeriesTensors(torch.randn(60, 3), torch.arange(-4, 0)[:, None])
    nets, origins = [network("GRU", (3, 8, 1, 2), torch.float32, seed) for seed in range(3)], torch.arange(4, 60)
    each = torch.stack([engine([net]).predict(series, origins) for net in nets])
    torch.testing.assert_close(engine(nets).predict(series, origins), each.mean(0))
