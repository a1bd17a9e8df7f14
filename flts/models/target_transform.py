"""Targets with heavy tails: ``log1p(y / k)``, the rule that says which targets it is for, and forecasts of the mean.

Sources: Crow and Siddiqui, "Robust estimation of location" (JASA, 1967), for the weight of a tail; Snowdon, "A ratio
estimator for bias correction in logarithmic regressions" (Canadian Journal of Forest Research, 1991), for the mean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from flts.errors import BadInputError
from flts.params import MAX_WINDOW
from flts.timeseries.arrays import Flags, Floats
from flts.timeseries.features import TIME_FEATURES, parse_lag
from flts.timeseries.frame import Frame
from flts.timeseries.processed import ProcessedData, fit_scaler
from flts.timeseries.scaling import NORMAL_IQR

TargetScale = Literal["none", "log1p", "both"]

# Tail weights, (q.975 - q.025) / (q.75 - q.25), of Student's t with two degrees of freedom, the heaviest tails without
# a variance, and with one (Cauchy), without a mean.
NO_VARIANCE, NO_MEAN = 5.27, 12.71
# Robust standard deviations from the median beyond which a residual counts as this far away.
_FARTHEST = 6.0
# Forecasts are at most this many times the largest value that was learned from, or the last value.
_HEADROOM = 2.0
_LEAST_SCALE = 1e-200


class FittedLog1p(BaseModel):
    """The JSON form of ``Log1p``."""

    model_config = ConfigDict(allow_inf_nan=False)

    scale: Annotated[float, Field(gt=_LEAST_SCALE)]
    limit: Annotated[float, Field(ge=0)]
    mean_factor: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1, max_length=MAX_WINDOW)]


@dataclass(frozen=True)
class Log1p:
    """The scale ``z = log1p(y / k)`` of a target that is never negative, and the way back.

    Attributes:
        scale: ``k``, in the units of ``y``.
        limit: Forecasts above it are cut off, unless the last value is higher: what is forecast again and again cannot
            grow without bounds.
        mean_factor: (horizon,) by steps ahead, of ``1 + y / k``: turns forecasts of the median into those of the mean.
    """

    scale: float
    limit: float
    mean_factor: Floats

    @classmethod
    def learn(cls, values: Floats, largest: float, horizon: int) -> Self:
        """Take ``k``, a quarter of the lower quartile of the positive ones, from (n,) values."""
        positive = values[values > 0]
        scale = float(np.quantile(positive, 0.25)) / 4 if len(positive) else 1.0
        # In units that are too small, the quotient would overflow.
        scale = max(scale, float(np.finfo(float).eps) * max(largest, 0.0), 2 * _LEAST_SCALE)
        return cls(scale, _HEADROOM * max(largest, 0.0), np.ones(horizon))

    def forward(self, values: Floats) -> Floats:
        """Return ``z``; what is below zero counts as zero."""
        transformed: Floats = np.log1p(np.maximum(values, 0.0) / self.scale)
        return transformed

    def mean(self, forecasts: Floats, last: Floats) -> Floats:
        """Return (k, horizon) forecasts of the mean of ``y`` for those of ``z``, after the last values (k,)."""
        most = np.maximum(self.limit, last)[:, None]
        ratio = np.exp(np.minimum(forecasts, self.forward(most))) * self.mean_factor
        values: Floats = np.clip(self.scale * (ratio - 1.0), 0.0, most)
        return values


@dataclass(frozen=True)
class TargetTransform:
    """Scales of targets and of covariates with heavy tails; other columns stay as they are.

    Attributes:
        scales: By the name of the column.
    """

    scales: Mapping[str, Log1p] = field(default_factory=dict)

    @classmethod
    def learn(cls, data: ProcessedData, names: Sequence[str], *, stop: int, horizon: int) -> Self:
        """Learn ``k`` of the named columns on the fit part, and the limit of forecasts on the rows [0, stop)."""
        columns, fit_end = data.frame.columns, data.parts.fit_end
        return cls({name: Log1p.learn(columns[name][:fit_end], columns[name][:stop].max(), horizon) for name in names})

    def __bool__(self) -> bool:
        """Return whether it changes any column."""
        return bool(self.scales)

    def of(self, name: str) -> Log1p | None:
        """Return the scale of a column, which may be a lag of another."""
        lag = parse_lag(name)
        return self.scales.get(name) or (self.scales.get(lag[0]) if lag else None)

    def forward(self, frame: Frame) -> Frame:
        """Return a frame with the columns, and their lags, on their scales."""
        if not self:
            return frame
        columns = {
            name: scale.forward(values) if (scale := self.of(name)) else values
            for name, values in frame.columns.items()
        }
        return replace(frame, columns=columns)

    def of_data(self, data: ProcessedData) -> ProcessedData:
        """Return training data with the columns on their scales, and a scaler that is fitted to these."""
        if not self:
            return data
        frame = self.forward(data.frame)
        return replace(data, frame=frame, scaler=fit_scaler(data.scaler.kind, frame, data.parts))

    def mean(self, targets: Sequence[str], forecasts: Floats, last: Floats) -> Floats:
        """Return (k, horizon, targets) forecasts of the mean in original units.

        Args:
            targets: Names of the targets.
            forecasts: (k, horizon, targets) on their scales.
            last: (k, targets) the last values, in original units.
        """
        if not self:
            return forecasts
        values = forecasts.copy()
        for position, name in enumerate(targets):
            if scale := self.scales.get(name):
                values[..., position] = scale.mean(forecasts[..., position], last[:, position])
        return values

    def calibrated(self, targets: Sequence[str], forecasts: Floats, values: Floats) -> Self:
        """Return the same transform with factors that make forecasts of the median those of the mean.

        Args:
            targets: Names of the targets.
            forecasts: (k, horizon, targets) on their scales, of rows that the model was not fitted on: those that it
                was fitted on are forecast better than later ones.
            values: (k, horizon, targets) what was measured, on the same scales.
        """
        scales = dict(self.scales)
        for position, name in enumerate(targets):
            if scale := scales.get(name):
                factor = mean_factor(forecasts[..., position], values[..., position])
                scales[name] = replace(scale, mean_factor=factor)
        return replace(self, scales=scales)

    def calibrated_as(self, other: "TargetTransform") -> Self:
        """Return the same transform with the factors of another, of the same columns."""
        scales = {name: replace(each, mean_factor=other.scales[name].mean_factor) for name, each in self.scales.items()}
        return replace(self, scales=scales)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            name: FittedLog1p(scale=each.scale, limit=each.limit, mean_factor=each.mean_factor.tolist()).model_dump()
            for name, each in self.scales.items()
        }

    @classmethod
    def of_fitted(cls, fitted: Mapping[str, FittedLog1p], columns: Sequence[str], horizon: int) -> Self:
        """Restore a transform from its JSON form.

        Raises:
            ValueError: It is of other columns, or of another number of steps.
        """
        for name, each in fitted.items():
            if name not in columns:
                raise ValueError(f"transforms {name!r}, which is no column of the model")
            if len(each.mean_factor) != horizon:
                raise ValueError(f"must have one mean factor of {name!r} for each of {horizon} steps")
        return cls({name: Log1p(each.scale, each.limit, np.array(each.mean_factor)) for name, each in fitted.items()})


def target_scales(data: ProcessedData, requested: Literal["none", "log1p", "auto"]) -> tuple[TargetScale, ...]:
    """Return on which scale each target is to be learned; ``both`` where both are as good, and models are averaged.

    ``auto`` looks at the fit part alone; see ``suitable_scale``.

    Raises:
        BadInputError: ``log1p`` is requested, and a target is negative somewhere.
    """
    if requested == "auto":
        stop = data.parts.fit_end
        gaps = data.gap_before()[:stop]
        return tuple(suitable_scale(data.frame.columns[name][:stop], gaps) for name in data.targets)
    if requested == "log1p":
        for name in data.targets:
            values = data.frame.columns[name]
            if (negative := np.flatnonzero(values < 0)).size:
                raise BadInputError(
                    f"target_transform log1p needs targets that are never negative: column {name!r} is "
                    f"{values[negative[0]]:g} at {data.frame.time[negative[0]]}; none or auto is needed"
                )
    return tuple(requested for _ in data.targets)


def heavy_covariates(data: ProcessedData) -> list[str]:
    """Return the names of the measured columns, no targets, that ``suitable_scale`` does not leave as they are.

    Where a target is on a logarithmic scale, they would be outliers among the inputs of linear models.
    """
    columns, stop = data.frame.columns, data.parts.fit_end
    others = [name for name in columns if name not in {*data.targets, *TIME_FEATURES} and not parse_lag(name)]
    gaps = data.gap_before()[:stop]
    return [name for name in others if suitable_scale(columns[name][:stop], gaps) != "none"]


def suitable_scale(values: Floats, gap_before: Flags) -> TargetScale:
    """Return the scale for (n,) values of a target: how heavy are the tails of its changes from row to row?

    Where they are lighter than those of a distribution without a variance, squared errors measure something, and the
    target stays as it is. Where they are heavier than those of a distribution without a mean, a few rows would decide
    what is learned: ``log1p``. In between it is both. A target that is negative anywhere, or whose tails would not be
    lighter, stays as it is, too.
    """
    if len(values) == 0 or values.min() < 0:
        return "none"
    known = ~gap_before[1:]
    weight = tail_weight(np.diff(values)[known])
    scale = Log1p.learn(values, float(values.max()), 1)
    if weight < NO_VARIANCE or tail_weight(np.diff(scale.forward(values))[known]) >= weight:
        return "none"
    return "log1p" if weight >= NO_MEAN else "both"


def tail_weight(changes: Floats) -> float:
    """Return ``(q.975 - q.025) / (q.75 - q.25)`` of (n,) values that are not zero: 2.91 if they are normal.

    Zero where there are too few to say; the quotient is infinite where most are equal.
    """
    moving = changes[changes != 0]
    if len(moving) < 40:  # the outer quantiles lie between single values
        return 0.0
    least, lower, upper, most = np.quantile(moving, [0.025, 0.25, 0.75, 0.975])
    return float((most - least) / (upper - lower)) if upper > lower else np.inf


def mean_factor(forecasts: Floats, values: Floats) -> Floats:
    """Return (horizon,) the mean of ``exp(values)`` over that of ``exp(forecasts)``, (k, horizon) each; 1 without rows.

    A value that is far from its forecast counts as less far: else one spike would multiply every forecast.
    """
    if len(forecasts) == 0:
        return np.ones(forecasts.shape[1])
    residuals = values - forecasts
    lower, median, upper = np.quantile(residuals, [0.25, 0.5, 0.75], axis=0)
    reach = _FARTHEST * (upper - lower) / NORMAL_IQR
    near = np.clip(residuals, median - reach, median + reach)
    # Relative to the largest forecast, so that no power overflows.
    weights = np.exp(forecasts - forecasts.max(axis=0))
    factors: Floats = (weights * np.exp(near)).sum(axis=0) / weights.sum(axis=0)
    return factors
