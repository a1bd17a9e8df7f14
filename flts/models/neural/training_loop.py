"""The training loop of neural forecasters: it takes any networks, a loss and a plan of batches."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from flts.errors import BadInputError
from flts.models.neural.adam import Adam
from flts.progress import Progress

N = TypeVar("N", bound=nn.Module)

MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class TrainingHistory:
    """The course of a training; the attributes are those of ``flts.models.base.FitResult``."""

    train_loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    best_epoch: int
    stopped_early: bool


class BatchPlan:
    """Batches of samples, in another random order for every network and every epoch."""

    def __init__(self, samples: Tensor, *, networks: int, batch_size: int, seed: int) -> None:
        """Plan batches of ``batch_size`` of the (k,) samples, whose device does not change the order."""
        self.samples = samples
        self._networks = networks
        self._batch_size = batch_size
        self._shuffle = torch.Generator().manual_seed(seed)

    def epoch(self) -> Iterator[Tensor]:
        """Yield the batches of the next epoch, (networks, batch_size) each; the last may be smaller."""
        count = len(self.samples)
        orders = torch.stack([torch.randperm(count, generator=self._shuffle) for _ in range(self._networks)])
        yield from torch.split(self.samples[orders.to(self.samples.device)], self._batch_size, dim=1)


class TrainingLoop:
    """Trains parameters with Adam on the batches of a plan."""

    def __init__(
        self, parameters: list[Tensor], step: Callable[[Tensor], Tensor], plan: BatchPlan, learning_rate: float
    ) -> None:
        """Prepare a training.

        Args:
            parameters: The parameters to train.
            step: Fills their gradients for a batch (networks, B) and returns its mean loss, such as ``member_step`` of
                some networks and a loss.
            plan: The batches.
            learning_rate: Adam's.
        """
        self._parameters, self._step, self._plan = parameters, step, plan
        self._learning_rate = learning_rate
        self._optimizer = Adam(parameters, learning_rate)

    def fit(
        self,
        validation_loss: Callable[[], float],
        *,
        epochs: int,
        patience: int | None,
        progress: Progress,
        untrained_loss: float = math.inf,
    ) -> TrainingHistory:
        """Train, and keep the parameters of the epoch with the lowest validation loss.

        Args:
            validation_loss: Returns the validation loss of the present parameters.
            epochs: The largest number of epochs.
            patience: Epochs without a lower validation loss after which training stops; ``None`` never stops early.
            progress: Told after every epoch.
            untrained_loss: Validation loss before the first epoch, where the untrained networks may be the best.

        Raises:
            BadInputError: The validation loss is no longer finite.
        """
        train_losses: list[float] = []
        validation_losses: list[float] = []
        lowest, best_epoch, best_parameters = untrained_loss, 0, self._copy()
        for epoch in range(1, epochs + 1):
            train_losses.append(self.epoch())
            loss = validation_loss()
            self._check_finite(loss, epoch)
            if loss < lowest:
                lowest, best_epoch, best_parameters = loss, epoch, self._copy()
            validation_losses.append(loss)
            progress(epoch / epochs, f"epoch {epoch}/{epochs}, validation loss {loss:.6f}")
            if patience is not None and epoch - best_epoch >= patience:
                break
        self._restore(best_parameters)
        return TrainingHistory(
            tuple(train_losses), tuple(validation_losses), best_epoch, stopped_early=len(train_losses) < epochs
        )

    def refit(self, epochs: int, progress: Progress) -> None:
        """Train for a given number of epochs, without validation.

        Raises:
            BadInputError: The training loss is no longer finite.
        """
        for epoch in range(1, epochs + 1):
            loss = self.epoch()
            self._check_finite(loss, epoch)
            progress(epoch / epochs, f"refit epoch {epoch}/{epochs}, training loss {loss:.6f}")

    def epoch(self) -> float:
        """Take one optimizer step for every batch; return the mean loss."""
        samples = self._plan.samples
        total = torch.zeros((), dtype=torch.float64, device=samples.device)
        for batch in self._plan.epoch():
            total += self._step(batch) * batch.shape[1]
            self._optimizer.step()
        return float(total) / len(samples)

    def _check_finite(self, loss: float, epoch: int) -> None:
        if not math.isfinite(loss):
            raise BadInputError(
                f"training diverged in epoch {epoch}: the loss is no longer finite; "
                f"a learning_rate below {self._learning_rate:g} is needed"
            )

    def _copy(self) -> list[Tensor]:
        return [parameter.detach().clone() for parameter in self._parameters]

    @torch.no_grad()
    def _restore(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self._parameters, values, strict=True):
            parameter.copy_(value)


def member_step(networks: Sequence[N], loss: Callable[[N, Tensor], Tensor], batch: Tensor) -> Tensor:
    """Fill the gradients of networks by automatic differentiation, and return their mean loss.

    Args:
        networks: M networks.
        loss: Returns a network's mean loss on samples (B,).
        batch: (M, B) samples for each network. Its gradient is that of its own loss, clipped to norm 1.
    """
    losses = []
    for net, samples in zip(networks, batch, strict=True):
        net.zero_grad()
        value = loss(net, samples)
        value.backward()  # type: ignore[no-untyped-call, unused-ignore]
        nn.utils.clip_grad_norm_(net.parameters(), MAX_GRADIENT_NORM)
        losses.append(value.detach())
    return torch.stack(losses).mean()
