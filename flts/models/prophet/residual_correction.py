"""Residual correction of a curve over time: a ridge on its residuals in recent rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from flts.models.linear_skip import HALF_LIVES, RECENT_ROWS, LinearSkip, SkipInputs, check_labels
from flts.timeseries.arrays import Floats, Indices, Times
from flts.timeseries.features import TIME_FEATURES
from flts.timeseries.frame import Frame


class FittedResidualCorrection(BaseModel):
    """The JSON form of a correction."""

    model_config = ConfigDict(allow_inf_nan=False)

    columns: tuple[str, ...]
    calendar: tuple[str, ...]
    centre: list[float]
    scale: list[Annotated[float, Field(gt=0)]]
    coefficients: list[list[list[float]]]
    alphas: list[list[float]]

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if unknown := set(self.calendar) - set(TIME_FEATURES):
            raise ValueError(f"names {min(unknown)!r}, which is not a time feature, in field 'calendar'")
        columns = len(self.columns) + 1
        if len(self.centre) != columns or len(self.scale) != columns:
            raise ValueError("must have one centre and one scale for each column and for the residual")
        width = 1 + columns * (RECENT_ROWS + len(HALF_LIVES)) + len(self.calendar)
        if [[len(each) for each in step] for step in self.coefficients] != [[width]] * len(self.coefficients):
            raise ValueError(f"must have {width} coefficients for each step")
        if [len(step) for step in self.alphas] != [1] * len(self.coefficients):
            raise ValueError("must have one alpha for each step")
        return self


@dataclass(frozen=True)
class ResidualCorrection:
    """Forecasts of a residual ``r = y - yhat``: its last value, changed by a linear skip on it and other columns.

    Attributes:
        columns: Names of the measured columns that are inputs; the residual is the last input.
        skip: Forecasts ``r[t + h] - r[t]``, in the units of ``r``.
    """

    columns: tuple[str, ...]
    skip: LinearSkip

    @classmethod
    def learn(
        cls,
        frame: Frame,
        residual: Floats,
        origins: Indices,
        weights: Floats,
        *,
        columns: Sequence[str],
        calendar: Sequence[str],
        horizon: int,
        embargo: int,
        sampling_seconds: float,
        alphas: Floats | None = None,
    ) -> Self:
        """Fit to the forecasts that begin at (k,) ``origins``, weighted by (k,); see ``LinearSkip.learn``.

        Args:
            frame: Rows to fit on.
            residual: (n,) of these rows.
            origins: (k,) where forecasts begin.
            weights: (k,) of their squared errors, mean 1.
            columns: Measured columns to see.
            calendar: Time features to see.
            horizon: Rows to forecast.
            embargo: Rows on both sides of a block that are left out when it is forecast.
            sampling_seconds: Time between two rows.
            alphas: (horizon, 1) strengths of the penalty; ``None`` chooses them by blocks.

        Raises:
            BadInputError: So many rows to forecast would need too much memory.
        """
        check_labels(len(origins), horizon, targets=1)
        rows = _rows(frame, frame.time, columns, residual, sampling_seconds)
        change = residual[origins[:, None] + np.arange(horizon)] - residual[origins - 1][:, None]
        skip = LinearSkip.learn(
            rows, origins, change[..., None], weights[:, None], calendar=calendar, embargo=embargo, alphas=alphas
        )
        return cls(tuple(columns), skip)

    @classmethod
    def decay(cls, phi: float, horizon: int) -> Self:
        """Return the correction of older bundles, where a residual decays by the factor ``phi`` in every step."""
        coefficients = np.zeros((horizon, 1, 1 + RECENT_ROWS + len(HALF_LIVES)))
        coefficients[:, 0, 1] = phi ** np.arange(1, horizon + 1) - 1.0
        return cls((), LinearSkip(np.zeros(1), np.ones(1), (), coefficients, np.zeros((horizon, 1))))

    def __call__(
        self, frame: Frame, time: Times, residual: Floats, origins: Indices, sampling_seconds: float
    ) -> Floats:
        """Return (k, horizon) forecasts of the residuals from each of (k,) origins on.

        ``frame`` and ``residual`` (n,) end before the last origin; ``time`` goes on to the rows that are forecast.
        """
        rows = _rows(frame, time, self.columns, residual, sampling_seconds)
        expected: Floats = residual[origins - 1][:, None] + self.skip(rows, origins)[..., 0]
        return expected

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        tensors = {name: values.tolist() for name, values in self.skip.tensors().items()}
        return {"columns": list(self.columns), "calendar": list(self.skip.calendar), **tensors}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any], horizon: int) -> Self:
        """Restore a correction of ``horizon`` steps from its JSON form.

        Raises:
            pydantic.ValidationError: It is not such a form.
            ValueError: It has another number of steps.
        """
        fitted = FittedResidualCorrection.model_validate(fields)
        tensors = {name: np.array(getattr(fitted, name)) for name in ("centre", "scale", "coefficients", "alphas")}
        columns = len(fitted.columns) + 1
        skip = LinearSkip.of_tensors(tensors, fitted.calendar, columns=columns, horizon=horizon, targets=1)
        return cls(fitted.columns, skip)


def _rows(frame: Frame, time: Times, columns: Sequence[str], residual: Floats, sampling_seconds: float) -> SkipInputs:
    values = np.stack([*(frame.columns[name] for name in columns), residual]).T
    return SkipInputs.of(time, values, sampling_seconds)
