"""Views of a target's change: what a booster is trained on, and the forecast that its output means.

Views fail differently, and their mean fails less. Each forecasts a mean, so that none has to be made of a median.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np

from flts.models.boosting.features import RecentRows, volatilities
from flts.models.target_transform import Log1p, mean_factor
from flts.models.volatility import FLOOR, HALF_LIFE
from flts.timeseries.arrays import Flags, Floats

ViewName = Literal["log1p", "volatility", "squared"]
HUBER_DELTA = 1.5
LIMIT = 0.99


@dataclass(frozen=True)
class SeenTarget:
    """A target before (k,) origins: ``values`` (n,) on a view's scale, and the ``unit`` (k,) of their changes."""

    rows: RecentRows
    values: Floats
    unit: Floats

    @property
    def last(self) -> Floats:
        """The last values (k,) before the origins."""
        return self.values[self.rows.last]


@dataclass(frozen=True)
class TrainingLabels:
    """Labels (k,) that LightGBM fits, and the raw scores (k,) that mean no change."""

    values: Floats
    start: Floats

    def at(self, rows: Flags) -> "TrainingLabels":
        """Return those of some rows."""
        return TrainingLabels(self.values[rows], self.start[rows])

    @classmethod
    def joined(cls, labels: "Sequence[TrainingLabels]") -> Self:
        """Return the labels of successive rows as one."""
        return cls(np.concatenate([each.values for each in labels]), np.concatenate([each.start for each in labels]))


class TargetView(Protocol):
    """A view of a target."""

    name: ClassVar[ViewName]
    objective: ClassVar[Mapping[str, Any]]
    """LightGBM's parameters of its loss."""
    weighted: ClassVar[bool]
    """Whether errors are weighted by the inverse of recent volatility."""

    @property
    def scale(self) -> float:
        """Return the unit of changes."""
        ...

    @property
    def limit(self) -> float:
        """Return a limit of changes or forecasts; see there."""
        ...

    def seen(self, values: Floats, rows: RecentRows) -> SeenTarget:
        """Return (n,) values before the origins of ``rows``, on this view's scale."""
        ...

    def labels(self, seen: SeenTarget, later: Floats) -> TrainingLabels:
        """Return what is fitted to ``later`` (k,) values of the target, one for each origin."""
        ...

    def changes(self, labels: TrainingLabels) -> Floats:
        """Return the outputs (k,) that mean the labels exactly."""
        ...

    def losses(self, labels: TrainingLabels, outputs: Floats) -> Floats:
        """Return (k,) losses of a booster's outputs (k,), before weights."""
        ...

    def offset(self, labels: TrainingLabels, outputs: Floats) -> float:
        """Return what is to be added to outputs, that forecasts are of the mean; from (k,) not fitted on."""
        ...

    def forecast(self, seen: SeenTarget, outputs: Floats) -> Floats:
        """Return (k, steps) forecasts in original units for a booster's outputs (k, steps)."""
        ...


@dataclass(frozen=True)
class Log1pView:
    """The ratio ``(y + k) / (y[t-1] + k)``, fitted by the deviance of gamma distributions.

    It is least where the output is the logarithm of the *mean* ratio; a squared error of logarithms would have to be
    transformed back. Source: McCullagh and Nelder, "Generalized linear models" (1989), chapter 8.
    """

    transform: Log1p
    name: ClassVar[ViewName] = "log1p"
    objective: ClassVar[Mapping[str, Any]] = MappingProxyType({"objective": "gamma"})
    weighted: ClassVar[bool] = False

    @property
    def scale(self) -> float:
        """The constant ``k``."""
        return self.transform.scale

    @property
    def limit(self) -> float:
        """The limit of its forecasts."""
        return self.transform.limit

    def seen(self, values: Floats, rows: RecentRows) -> SeenTarget:
        """See ``TargetView.seen``."""
        return SeenTarget(rows, self.transform.forward(values), np.ones(len(rows.last)))

    def labels(self, seen: SeenTarget, later: Floats) -> TrainingLabels:
        """See ``TargetView.labels``."""
        return TrainingLabels(np.exp(self.transform.forward(later)), seen.last)

    def changes(self, labels: TrainingLabels) -> Floats:
        """See ``TargetView.changes``."""
        return np.log(labels.values) - labels.start

    def losses(self, labels: TrainingLabels, outputs: Floats) -> Floats:
        """See ``TargetView.losses``."""
        log_mean = outputs + labels.start
        losses: Floats = labels.values * np.exp(-log_mean) + log_mean
        return losses

    def offset(self, labels: TrainingLabels, outputs: Floats) -> float:
        """See ``TargetView.offset``: boosting stops before the last of the bias is gone."""
        [factor] = mean_factor((labels.start + outputs)[:, None], np.log(labels.values)[:, None])
        return float(np.log(factor))

    def forecast(self, seen: SeenTarget, outputs: Floats) -> Floats:
        """See ``TargetView.forecast``."""
        last = self.scale * np.expm1(seen.last)
        return self.transform.mean(seen.last[:, None] + outputs, last)


class _ViewInUnits:
    """Views of the change ``y - y[t-1]`` in the unit that ``seen`` gives."""

    def labels(self, seen: SeenTarget, later: Floats) -> TrainingLabels:
        """See ``TargetView.labels``."""
        return TrainingLabels((later - seen.last) / seen.unit, np.zeros(len(later)))

    def changes(self, labels: TrainingLabels) -> Floats:
        """See ``TargetView.changes``."""
        return labels.values

    def offset(self, labels: TrainingLabels, outputs: Floats) -> float:  # noqa: ARG002
        """See ``TargetView.offset``."""
        return 0.0

    def forecast(self, seen: SeenTarget, outputs: Floats) -> Floats:
        """See ``TargetView.forecast``."""
        return seen.last[:, None] + seen.unit[:, None] * outputs


@dataclass(frozen=True)
class VolatilityView(_ViewInUnits):
    """The change ``(y - y[t-1]) / v``, fitted by Huber's loss.

    The volatility ``v`` is the average of recent changes and a tenth of its mean, as elsewhere; but a change counts at
    most as much as ``limit``: else ``v`` would be useless for a long time after a spike.

    Attributes:
        scale: Mean of the average on the rows that it was learned from.
        limit: The 99 % quantile of their changes.
    """

    scale: float
    limit: float
    name: ClassVar[ViewName] = "volatility"
    objective: ClassVar[Mapping[str, Any]] = MappingProxyType({"objective": "huber", "alpha": HUBER_DELTA})
    weighted: ClassVar[bool] = False

    @classmethod
    def learn(cls, values: Floats, rows: RecentRows) -> Self:
        """Learn from the changes of (n,) values up to ``rows``, which do not follow a gap."""
        changes = np.abs(np.diff(values, prepend=values[:1]))[rows.last[rows.since > 0]]
        # Zero where nearly nothing changes: then every change counts.
        limit = float(np.quantile(changes, LIMIT)) if len(changes) else 0.0
        average = volatilities(values, rows, (HALF_LIFE,), limit or np.inf)
        usual = float(average[rows.since > 0].mean()) if len(changes) else 0.0
        return cls(usual or 1.0, limit)

    def seen(self, values: Floats, rows: RecentRows) -> SeenTarget:
        """See ``TargetView.seen``."""
        recent = volatilities(values, rows, (HALF_LIFE,), self.limit or np.inf)[:, 0]
        return SeenTarget(rows, values, np.where(np.isnan(recent), self.scale, recent) + FLOOR * self.scale)

    def losses(self, labels: TrainingLabels, outputs: Floats) -> Floats:
        """See ``TargetView.losses``."""
        error = np.abs(labels.values - outputs)
        return np.where(error <= HUBER_DELTA, error**2 / 2, HUBER_DELTA * (error - HUBER_DELTA / 2))


@dataclass(frozen=True)
class SquaredView(_ViewInUnits):
    """The change ``(y - y[t-1]) / s``, fitted by the squared error, weighted as that of the other trainers.

    Attributes:
        scale: ``s``, the standard deviation on the rows that it was learned from.
        limit: None.
    """

    scale: float
    limit: float = 0.0
    name: ClassVar[ViewName] = "squared"
    objective: ClassVar[Mapping[str, Any]] = MappingProxyType({"objective": "regression"})
    weighted: ClassVar[bool] = True

    @classmethod
    def learn(cls, values: Floats) -> Self:
        """Learn ``s`` from (n,) values."""
        largest = float(np.abs(values).max())
        # Squares of very small or large values would not be finite numbers above zero.
        deviation = largest * float((values / largest).std()) if largest > 0 else 0.0
        return cls(deviation or 1.0)

    def seen(self, values: Floats, rows: RecentRows) -> SeenTarget:
        """See ``TargetView.seen``."""
        return SeenTarget(rows, values, np.full(len(rows.last), self.scale))

    def losses(self, labels: TrainingLabels, outputs: Floats) -> Floats:
        """See ``TargetView.losses``."""
        losses: Floats = (labels.values - outputs) ** 2
        return losses
