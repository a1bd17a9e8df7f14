"""The training loop with a network that is not recurrent: an MLP on windows of a wave."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from flts.errors import BadInputError
from flts.models.neural import device
from flts.models.neural.training_loop import MAX_GRADIENT_NORM, BatchPlan, TrainingHistory, TrainingLoop, member_step
from flts.progress import no_progress

WINDOW, MEMBERS = 8, 2
WAVE = torch.sin(torch.arange(300) / 5)
FIT, VALIDATION = torch.arange(WINDOW, 200), torch.arange(200, 300)


def loss(net: nn.Module, origins: Tensor) -> Tensor:
    """Return the mean squared error of one-step forecasts."""
    windows = WAVE[origins[:, None] + torch.arange(-WINDOW, 0)]
    error = net(windows)[:, 0] - WAVE[origins]
    return error.square().mean()


@dataclass(frozen=True)
class Training:
    """MLPs and the loop that trains them."""

    networks: list[nn.Module]
    loop: TrainingLoop

    @torch.no_grad()
    def validation_loss(self) -> float:
        return float(torch.stack([loss(net, VALIDATION) for net in self.networks]).mean())

    def fit(self, *, epochs: int, untrained_loss: float = math.inf) -> TrainingHistory:
        return self.loop.fit(
            self.validation_loss, epochs=epochs, patience=None, progress=no_progress, untrained_loss=untrained_loss
        )

    def weights(self) -> list[Tensor]:
        return [parameter.detach().clone() for net in self.networks for parameter in net.parameters()]


def training(*, learning_rate: float = 1e-2, seed: int = 0) -> Training:
    device.prepare()
    torch.manual_seed(seed)
    networks: list[nn.Module] = [
        nn.Sequential(nn.Linear(WINDOW, 16), nn.Tanh(), nn.Linear(16, 1)) for _ in range(MEMBERS)
    ]
    parameters: list[Tensor] = [parameter for net in networks for parameter in net.parameters()]
    plan = BatchPlan(FIT, networks=MEMBERS, batch_size=32, seed=seed)
    return Training(networks, TrainingLoop(parameters, partial(member_step, networks, loss), plan, learning_rate))


def test_an_mlp_learns() -> None:
    mlps = training()
    before = mlps.validation_loss()
    history = mlps.fit(epochs=10)
    assert mlps.validation_loss() < 0.05 * before
    assert history.train_loss[-1] < 0.1 * history.train_loss[0]
    assert not history.stopped_early


def test_equal_seeds_give_equal_weights() -> None:
    first, again, other = (training(seed=seed) for seed in (1, 1, 2))
    for each in (first, again, other):
        each.fit(epochs=2)
    pairs = list(zip(first.weights(), again.weights(), other.weights(), strict=True))
    assert all(torch.equal(one, same) for one, same, _ in pairs)
    assert not any(torch.equal(one, different) for one, _, different in pairs)


def fit_with_losses(mlps: Training, losses: Sequence[float], patience: int | None) -> TrainingHistory:
    """Fit for as many epochs as there are validation losses."""
    given = iter(losses)
    return mlps.loop.fit(lambda: next(given), epochs=len(losses), patience=patience, progress=no_progress)


def test_the_weights_of_the_best_epoch_are_kept() -> None:
    mlps, two_epochs = training(), training()
    history = fit_with_losses(mlps, [3.0, 1.0, 2.0, 1.0], patience=None)
    assert (history.best_epoch, history.stopped_early) == (2, False)
    assert history.validation_loss == (3.0, 1.0, 2.0, 1.0)
    two_epochs.loop.refit(2, no_progress)
    assert all(torch.equal(one, other) for one, other in zip(mlps.weights(), two_epochs.weights(), strict=True))


def test_training_stops_early() -> None:
    history = fit_with_losses(training(), [3.0, 1.0, 2.0, 1.0, 0.5], patience=2)
    assert (history.best_epoch, history.stopped_early) == (2, True)
    assert len(history.train_loss) == len(history.validation_loss) == 4


def test_untrained_networks_are_kept_where_no_epoch_is_better() -> None:
    mlps = training()
    before = mlps.weights()
    history = mlps.fit(epochs=3, untrained_loss=0.0)
    assert history.best_epoch == 0
    assert all(torch.equal(one, other) for one, other in zip(before, mlps.weights(), strict=True))


def test_epochs_are_told() -> None:
    mlps = training()
    told: list[tuple[float | None, str]] = []
    mlps.loop.fit(lambda: 0.5, epochs=1, patience=None, progress=lambda *said: told.append(said))
    mlps.loop.refit(1, lambda *said: told.append(said))
    assert told[0] == (1.0, "epoch 1/1, validation loss 0.500000")
    assert told[1][1].startswith("refit epoch 1/1, training loss 0.")


@pytest.mark.parametrize("how", ["fit", "refit"])
def test_a_training_that_diverges_is_a_sentence(how: str) -> None:
    diverging = training(learning_rate=1e30)
    with pytest.raises(BadInputError, match="training diverged in epoch 1: the loss is no longer finite; a learning_"):
        diverging.fit(epochs=2) if how == "fit" else diverging.loop.refit(2, no_progress)


def test_gradients_are_clipped_for_each_network() -> None:
    mlps = training()
    steep, flat = mlps.networks
    value = member_step(
        mlps.networks,
        lambda net, origins: loss(net, origins) * (1e6 if net is steep else 1e-6),
        torch.stack([FIT[:32], FIT[32:64]]),
    )
    norms = [float(nn.utils.get_total_norm([part.grad for part in net.parameters()])) for net in (steep, flat)]
    assert norms[0] == pytest.approx(MAX_GRADIENT_NORM, rel=1e-4)
    assert 0 < norms[1] < 1e-4
    assert math.isfinite(value)


def test_a_plan_gives_every_network_every_sample_once_in_an_order_of_its_own() -> None:
    plan = BatchPlan(FIT, networks=MEMBERS, batch_size=50, seed=3)
    first, second = (torch.cat(list(plan.epoch()), dim=1) for _ in range(2))
    for order in (*first, *second):
        assert torch.equal(order.sort().values, FIT)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, second)
