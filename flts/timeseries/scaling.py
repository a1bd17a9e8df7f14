"""Column scaling: fitted on the fit part, stored as JSON, applied by the models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from flts.timeseries.arrays import Floats

ScalerKind = Literal["MinMaxScaler", "StandardScaler", "RobustScaler", "MaxAbsScaler", "none"]

# Distance between the quartiles of a normal distribution, in standard deviations.
NORMAL_IQR = 1.35
# Division by a smaller scale can overflow.
_LEAST_SCALE = 1e-200


class FittedScaler(BaseModel):
    """The JSON form of a scaler."""

    model_config = ConfigDict(allow_inf_nan=False)

    kind: ScalerKind
    columns: tuple[str, ...]
    center: list[float]
    scale: list[Annotated[float, Field(gt=_LEAST_SCALE)]]

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if not len(set(self.columns)) == len(self.columns) == len(self.center) == len(self.scale):
            raise ValueError("must have one center and one scale for each column, and name no column twice")
        return self


@dataclass(frozen=True)
class Scaler:
    """Scaling ``(value - center) / scale`` per column; except with ``none``, a constant column scales to zero."""

    kind: ScalerKind
    columns: tuple[str, ...]
    center: Floats
    scale: Floats

    @classmethod
    def fit(cls, kind: ScalerKind, columns: Mapping[str, Floats]) -> Self:
        """Fit center and scale of each column (n,) to its values that are not NaN, as scikit-learn defines them."""
        centers, scales = zip(*(_fit(kind, _observed(values)) for values in columns.values()), strict=True)
        return cls(kind, tuple(columns), np.array(centers), np.array(scales))

    def transform(self, names: Sequence[str], values: Floats) -> Floats:
        """Scale (.., len(names)); columns that the scaler does not know stay unchanged."""
        center, scale = self._of(names)
        return (values - center) / scale

    def inverse(self, names: Sequence[str], values: Floats) -> Floats:
        """Convert scaled values (.., len(names)) to original units."""
        center, scale = self._of(names)
        return values * scale + center

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form: kind, columns and the fitted parameters."""
        return {
            "kind": self.kind,
            "columns": list(self.columns),
            "center": self.center.tolist(),
            "scale": self.scale.tolist(),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Restore a scaler from its JSON form.

        Raises:
            pydantic.ValidationError: It is not such a form.
        """
        fitted = FittedScaler.model_validate(fields)
        return cls(fitted.kind, fitted.columns, np.array(fitted.center), np.array(fitted.scale))

    def _of(self, names: Sequence[str]) -> tuple[Floats, Floats]:
        known = {
            name: (center, scale) for name, center, scale in zip(self.columns, self.center, self.scale, strict=True)
        }
        pairs = np.array([known.get(name, (0.0, 1.0)) for name in names])
        return pairs[:, 0], pairs[:, 1]


def standard_deviation(values: Floats) -> Floats:
    """Return (columns,) standard deviations of (n, columns) values; 1 for a constant, whose may be a rounding error."""
    return np.where(np.ptp(values, axis=0) > 0, values.std(axis=0), 1.0)


def robust_statistics(values: Floats) -> tuple[Floats, Floats]:
    """Return the median (columns,) of (n, columns) values, and ``IQR / 1.35``; the deviation where that is zero."""
    lower, median, upper = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
    return median, np.where(upper > lower, (upper - lower) / NORMAL_IQR, standard_deviation(values))


def _observed(values: Floats) -> Floats:
    missing = np.isnan(values)
    return values[~missing] if missing.any() else values


def _fit(kind: ScalerKind, values: Floats) -> tuple[float, float]:
    """Return center and scale of one column; a scale of nearly zero becomes 1."""
    if kind == "none":
        return 0.0, 1.0
    lowest, highest = float(values.min()), float(values.max())
    if lowest == highest:
        # The formulas below give another result for some kinds, and round.
        return lowest, 1.0
    center: float
    scale: float
    if kind == "MinMaxScaler":
        center, scale = lowest, highest - lowest
    elif kind == "StandardScaler":
        center, scale = float(values.mean()), float(values.std())
    elif kind == "RobustScaler":
        lower, center, upper = map(float, np.quantile(values, [0.25, 0.5, 0.75]))
        scale = upper - lower
    else:
        center, scale = 0.0, max(abs(lowest), abs(highest))
    return center, scale if scale > _LEAST_SCALE else 1.0
