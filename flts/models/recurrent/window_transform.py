"""Window transforms: the inputs of a network from a series, and forecasts from its outputs."""

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
from flts.timeseries.scaling import Scaler, robust_statistics, standard_deviation


class WindowTransform(Protocol):
    """Turns columns in original units into the inputs of a network, and its outputs into forecasts."""

    @property
    def history_rows(self) -> int:
        """Return how many rows before an origin its forecast depends on, where there are so many."""
        ...

    @property
    def width(self) -> int:
        """Return the number of inputs of a network."""
        ...

    @property
    def skip(self) -> LinearSkip | None:
        """Return the linear skip that networks add to, if there is one."""
        ...

    def inputs(self, frame: Frame) -> Floats:
        """Return (n, inputs) of every row.

        Raises:
            BadInputError: A value is missing or not finite.
        """
        ...

    def forecasts(self, frame: Frame, time: Times, origins: Indices, outputs: Floats) -> Floats:
        """Return forecasts in original units for outputs, both (k, horizon, targets).

        ``frame`` ends before the last of the (k,) origins; ``time`` also holds the rows that are forecast.
        """
        ...

    def training_targets(self, frame: Frame, origins: Indices) -> Floats:
        """Return the outputs (k, horizon, targets) that forecast the frame's values from the origins on exactly."""
        ...

    def tensors(self) -> Mapping[str, Floats]:
        """Return the fitted arrays by name, without the bundle's scaler."""
        ...


class ScalingTransform:
    """A transform whose inputs are scaled columns, and whose outputs are scaled targets."""

    skip = None

    def __init__(
        self,
        features: Sequence[str],
        targets: Sequence[str],
        scaler: Scaler,
        *,
        input_seq_len: int,
        output_seq_len: int,
    ) -> None:
        self.scaler = scaler
        self._features, self._targets = features, targets
        self._horizon = output_seq_len
        self.history_rows, self.width = input_seq_len, len(features)

    def inputs(self, frame: Frame) -> Floats:
        """See ``WindowTransform.inputs``."""
        return _finite(self.scaler.transform(self._features, frame.matrix(self._features)), self._features, frame)

    def forecasts(self, frame: Frame, time: Times, origins: Indices, outputs: Floats) -> Floats:  # noqa: ARG002
        """See ``WindowTransform.forecasts``."""
        return self.scaler.inverse(self._targets, outputs)

    def training_targets(self, frame: Frame, origins: Indices) -> Floats:
        """See ``WindowTransform.training_targets``."""
        return self.scaler.transform(self._targets, blocks(frame.matrix(self._targets), origins, self._horizon))

    def tensors(self) -> Mapping[str, Floats]:
        """See ``WindowTransform.tensors``."""
        return {}


@dataclass(frozen=True)
class LinearSkipTransform:
    """The transform ``y[t+h] = y[t] + s (skip(x[t]) + network(window[t]))``: networks correct a linear model.

    A network sees every column standardised, and again as ``asinh((x - median) / (IQR / 1.35))``, which resolves usual
    values well and compresses outliers; and the time features unchanged.

    Attributes:
        features: Input columns.
        targets: Columns that are forecast.
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
        """Fit to all rows of a frame, the skip to the forecasts that begin at (k,) ``origins``.

        Args:
            frame: Rows to fit on.
            features: Input columns.
            targets: Columns to forecast.
            origins: (k,) rows where forecasts begin.
            weights: (k, targets) of their squared errors, mean 1.
            input_seq_len: Rows of a window.
            output_seq_len: Rows that are forecast.
            sampling_seconds: Time between two rows.
            alphas: (horizon, targets) strengths of the skip's penalty; ``None`` chooses them.
        """
        names = [name for name in features if name not in TIME_FEATURES]
        seen = _finite(frame.matrix(names), names, frame)
        deviation = standard_deviation(seen)
        median, spread = robust_statistics(seen)
        values = frame.matrix(targets)
        scale = standard_deviation(values)
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
        """Restore what ``tensors`` gave; ``KeyError`` or ``ValueError`` where it does not fit the columns."""
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
        """Return the number of inputs of a network."""
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
        # With columns contiguous in memory, most work on many rows and few columns is twice as fast.
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


def _finite(values: Floats, names: Sequence[str], frame: Frame) -> Floats:
    """Return (n, names) values if all are finite; ``BadInputError`` names the first that is not."""
    finite = np.isfinite(values.astype(np.float32))
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise BadInputError(
            f"column {names[column]!r} at {frame.time[row]} is missing or not finite: recurrent models need every value"
        )
    return values
