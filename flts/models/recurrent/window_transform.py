"""What a network sees of a series, and what its outputs mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from flts.errors import BadInputError
from flts.models.linear_skip import LinearSkip, SkipInputs, skip_columns
from flts.models.volatility import REACH
from flts.timeseries.arrays import Floats, Indices, Times
from flts.timeseries.features import TIME_FEATURES
from flts.timeseries.frame import Frame
from flts.timeseries.scaling import Scaler

# Of a normal distribution the quartiles lie so many standard deviations apart.
_NORMAL_IQR = 1.35


class WindowTransform(Protocol):
    """Turns columns in original units into the inputs of a network, and its outputs into forecasts."""

    @property
    def history_rows(self) -> int:
        """Rows before an origin that its forecast depends on, where there are so many."""
        ...

    @property
    def width(self) -> int:
        """Inputs of a network."""
        ...

    def inputs(self, frame: Frame) -> Floats:
        """Return (n, inputs) of every row.

        Raises:
            BadInputError: A value is missing or not finite.
        """
        ...

    def forecasts(self, frame: Frame, time: Times, origins: Indices, outputs: Floats) -> Floats:
        """Return forecasts in original units for outputs, both (k, horizon, targets).

        ``frame`` ends before the last of the (k,) origins; ``time`` goes on to the rows that are forecast.
        """
        ...

    def training_targets(self, frame: Frame, origins: Indices) -> Floats:
        """Return the outputs (k, horizon, targets) that would forecast what the frame holds from the origins on."""
        ...

    def tensors(self) -> Mapping[str, Floats]:
        """Return what was learned beside the bundle's scaler, by name."""
        ...


class ScalingTransform:
    """Scaled columns in, scaled targets out."""

    def __init__(
        self,
        features: Sequence[str],
        targets: Sequence[str],
        scaler: Scaler,
        *,
        input_seq_len: int,
        output_seq_len: int,
    ) -> None:
        self._features, self._targets, self._scaler = features, targets, scaler
        self._horizon = output_seq_len
        self.history_rows, self.width = input_seq_len, len(features)

    def inputs(self, frame: Frame) -> Floats:
        """See ``WindowTransform.inputs``."""
        return _finite(self._scaler.transform(self._features, frame.matrix(self._features)), self._features, frame)

    def forecasts(self, frame: Frame, time: Times, origins: Indices, outputs: Floats) -> Floats:  # noqa: ARG002
        """See ``WindowTransform.forecasts``."""
        return self._scaler.inverse(self._targets, outputs)

    def training_targets(self, frame: Frame, origins: Indices) -> Floats:
        """See ``WindowTransform.training_targets``."""
        return self._scaler.transform(self._targets, blocks(frame.matrix(self._targets), origins, self._horizon))

    def tensors(self) -> Mapping[str, Floats]:
        """See ``WindowTransform.tensors``."""
        return {}


@dataclass(frozen=True)
class LinearSkipTransform:
    """``y[t+h] = y[t] + s (skip(x[t]) + network(window[t]))``: a network learns what a linear model leaves.

    A network sees every column standardised, and again as ``asinh((x - median) / (IQR / 1.35))``, which keeps apart
    what is usual without being blinded by what is not; and the time features as they are.

    Attributes:
        features: Columns that are seen.
        targets: Those that are forecast.
        columns: (4, columns) mean, standard deviation, median and IQR / 1.35 of every column but the time features.
        scale: (targets,) ``s``, the standard deviations.
        skip: The linear skip.
        input_seq_len: Rows of a window.
        sampling_seconds: Time between two rows.
    """

    features: tuple[str, ...]
    targets: tuple[str, ...]
    columns: Floats
    scale: Floats
    skip: LinearSkip
    input_seq_len: int
    sampling_seconds: float

    @classmethod
    def learn(
        cls,
        frame: Frame,
        features: Sequence[str],
        targets: Sequence[str],
        origins: Indices,
        weights: Floats,
        *,
        input_seq_len: int,
        output_seq_len: int,
        sampling_seconds: float,
        alphas: Floats | None = None,
    ) -> Self:
        """Learn from all rows of a frame, the skip from the forecasts that begin at (k,) ``origins``.

        Args:
            frame: Rows to learn from.
            features: Columns to see.
            targets: Columns to forecast.
            origins: (k,) where forecasts begin.
            weights: (k, targets) of their squared errors, mean 1.
            input_seq_len: Rows of a window.
            output_seq_len: Rows that are forecast.
            sampling_seconds: Time between two rows.
            alphas: (horizon, targets) strengths of the skip's penalty; ``None`` chooses them.
        """
        names = [name for name in features if name not in TIME_FEATURES]
        seen = _finite(frame.matrix(names), names, frame)
        deviation = _deviation(seen)
        lower, median, upper = np.quantile(seen, [0.25, 0.5, 0.75], axis=0)
        spread = np.where(upper > lower, (upper - lower) / _NORMAL_IQR, deviation)
        values = frame.matrix(targets)
        scale = _deviation(values)
        change = blocks(values, origins, output_seq_len) - values[origins - 1][:, None]
        rows = SkipInputs.of(frame.time, frame.matrix(skip_columns(features)), sampling_seconds)
        skip = LinearSkip.learn(
            rows,
            origins,
            change / scale,
            weights,
            calendar=[name for name in features if name in TIME_FEATURES],
            embargo=input_seq_len,
            alphas=alphas,
        )
        columns = np.stack([seen.mean(axis=0), deviation, median, spread])
        return cls(tuple(features), tuple(targets), columns, scale, skip, input_seq_len, sampling_seconds)

    @classmethod
    def of_tensors(
        cls,
        tensors: Mapping[str, Floats],
        features: tuple[str, ...],
        targets: tuple[str, ...],
        output_seq_len: int,
        *,
        input_seq_len: int,
        sampling_seconds: float,
    ) -> Self:
        """Restore what ``tensors`` gave; ``KeyError`` or ``ValueError`` where it does not suit the columns."""
        calendar = tuple(name for name in features if name in TIME_FEATURES)
        columns, scale = tensors["framing.columns"], tensors["framing.scale"]
        if columns.shape != (4, len(features) - len(calendar)) or scale.shape != (len(targets),):
            raise ValueError("the statistics are of other columns")
        if not (np.isfinite(columns).all() and np.isfinite(scale).all() and (columns[[1, 3]] > 0).all()):
            raise ValueError("the statistics are no finite numbers, or a deviation is not above zero")
        skip = LinearSkip.of_tensors(
            {name: tensors[f"framing.skip.{name}"] for name in ("centre", "scale", "coefficients", "alphas")},
            calendar,
            columns=len(skip_columns(features)),
            horizon=output_seq_len,
            targets=len(targets),
        )
        return cls(features, targets, columns, scale, skip, input_seq_len, sampling_seconds)

    @property
    def width(self) -> int:
        """Inputs of a network."""
        return int(self.columns.shape[1]) + len(self.features)

    @property
    def history_rows(self) -> int:
        """See ``WindowTransform.history_rows``."""
        return max(self.input_seq_len, REACH)

    def inputs(self, frame: Frame) -> Floats:
        """See ``WindowTransform.inputs``."""
        names = [name for name in self.features if name not in TIME_FEATURES]
        calendar = [name for name in self.features if name in TIME_FEATURES]
        values = _finite(frame.matrix(names), names, frame)
        mean, deviation, median, spread = self.columns
        parts = [(values - mean) / deviation, np.arcsinh((values - median) / spread)]
        if calendar:
            parts.append(_finite(frame.matrix(calendar), calendar, frame))
        return np.concatenate(parts, axis=1)

    def forecasts(self, frame: Frame, time: Times, origins: Indices, outputs: Floats) -> Floats:
        """See ``WindowTransform.forecasts``."""
        last = frame.matrix(self.targets)[origins - 1]
        values: Floats = last[:, None] + self.scale * (self._skip(frame, time, origins) + outputs)
        return values

    def training_targets(self, frame: Frame, origins: Indices) -> Floats:
        """See ``WindowTransform.training_targets``."""
        values, horizon = frame.matrix(self.targets), len(self.skip.coefficients)
        change = blocks(values, origins, horizon) - values[origins - 1][:, None]
        targets: Floats = change / self.scale - self._skip(frame, frame.time, origins)
        return targets

    def _skip(self, frame: Frame, time: Times, origins: Indices) -> Floats:
        names = skip_columns(self.features)
        # Column by column in memory, most work on many rows and few columns is twice as fast.
        values = np.stack([frame.columns[name] for name in names]).T
        return self.skip(SkipInputs.of(time, values, self.sampling_seconds), origins)

    def tensors(self) -> Mapping[str, Floats]:
        """See ``WindowTransform.tensors``."""
        skip = {f"framing.skip.{name}": values for name, values in self.skip.tensors().items()}
        return {"framing.columns": self.columns, "framing.scale": self.scale, **skip}


def blocks(values: Floats, origins: Indices, horizon: int) -> Floats:
    """Return (k, horizon, columns): the rows of (n, columns) values from each origin on."""
    found: Floats = values[origins[:, None] + np.arange(horizon)]
    return found


def _deviation(values: Floats) -> Floats:
    """Return (columns,) standard deviations of (n, columns) values; 1 for a constant, whose may be a rounding error."""
    return np.where(np.ptp(values, axis=0) > 0, values.std(axis=0), 1.0)


def _finite(values: Floats, names: Sequence[str], frame: Frame) -> Floats:
    """Return (n, names) values that a network can read, or say which it cannot."""
    finite = np.isfinite(values.astype(np.float32))
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise BadInputError(
            f"column {names[column]!r} at {frame.time[row]} is missing or not finite: recurrent models need every value"
        )
    return values
