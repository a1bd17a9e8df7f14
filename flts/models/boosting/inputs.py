"""Feature matrices of boosters, for many origins or for one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from flts.models.boosting.features import (
    RecentRows,
    calendar_features,
    covariate_features,
    day_features,
    day_rows,
    reach,
    rows_before,
    target_features,
)
from flts.models.boosting.views import SeenTarget
from flts.models.linear_skip import skip_columns
from flts.timeseries.arrays import Floats, Indices, Times
from flts.timeseries.features import TIME_FEATURES
from flts.timeseries.frame import Frame, time_of
from flts.timeseries.scaling import robust_statistics

BATCH = 8192  # origins whose features are in memory at once


@dataclass(frozen=True)
class ColumnScaling:
    """Scaling ``asinh((x - median) / (IQR / 1.35))`` of measured columns, which compresses outliers.

    Attributes:
        columns: Their names.
        median: (columns,).
        spread: (columns,) ``IQR / 1.35``, or the standard deviation where that is zero.
    """

    columns: tuple[str, ...]
    median: Floats
    spread: Floats

    @classmethod
    def learn(cls, frame: Frame, names: Sequence[str]) -> Self:
        """Learn from all rows of a frame."""
        columns = skip_columns(names)
        values = frame.matrix(columns)
        return cls(columns, *robust_statistics(values))

    def scaled(self, frame: Frame) -> Floats:
        """Return (n, columns) of a frame."""
        scaled: Floats = np.arcsinh((frame.matrix(self.columns) - self.median) / self.spread)
        return scaled


@dataclass(frozen=True)
class FeatureBuilder:
    """Builds the features of boosters.

    Attributes:
        scaling: Of the measured columns.
        calendar: Names of the time features.
        sampling_seconds: Time between two rows.
        input_seq_len: Rows of a window; features may reach back farther.
    """

    scaling: ColumnScaling
    calendar: tuple[str, ...]
    sampling_seconds: float
    input_seq_len: int

    @classmethod
    def learn(cls, frame: Frame, names: Sequence[str], *, sampling_seconds: float, input_seq_len: int) -> Self:
        """Learn from all rows of a frame; ``names`` are the columns that may be seen."""
        calendar = tuple(name for name in names if name in TIME_FEATURES)
        return cls(ColumnScaling.learn(frame, names), calendar, sampling_seconds, input_seq_len)

    @property
    def history_rows(self) -> int:
        """Number of rows before an origin that its features depend on."""
        return max(self.input_seq_len, reach(self.sampling_seconds))

    @property
    def width(self) -> int:
        """Number of features."""
        frame = Frame(np.zeros(1, "datetime64[us]"), {name: np.zeros(1) for name in self.scaling.columns})
        [(_, batch)] = self.batches(frame, np.ones(1, np.int64))
        nothing = SeenTarget(batch.rows, np.zeros(1), np.ones(1))
        return len(batch.features(nothing, batch.shared(nothing), np.zeros(1, np.int64), np.ones(1, np.int64))[0])

    def batches(self, frame: Frame, origins: Indices) -> Iterator[tuple[slice, "FeatureBatch"]]:
        """Yield slices of (k,) origins with what their features are built from; times may go on after the origins."""
        for start in range(0, len(origins), BATCH):
            part = slice(start, start + BATCH)
            rows = origins[part]
            first, last = max(0, int(rows.min()) - self.history_rows), int(rows.max())
            yield part, FeatureBatch(self, frame.rows(first, last), frame.time[first:], rows - first)


class FeatureBatch:
    """The rows before (k,) origins, in a ``frame`` that ends before the last of them, and their features."""

    def __init__(self, builder: FeatureBuilder, frame: Frame, time: Times, origins: Indices) -> None:
        self.frame = frame
        self.rows: RecentRows = rows_before(frame.time, origins, builder.sampling_seconds, builder.history_rows)
        self._builder, self._time, self._origins = builder, time, origins
        self._columns = covariate_features(builder.scaling.scaled(frame), self.rows)

    def shared(self, seen: SeenTarget) -> Floats:
        """Return (k, p) the features of a target that all steps share."""
        return np.concatenate([target_features(seen.values, self.rows, seen.unit), self._columns], axis=1)

    def features(self, seen: SeenTarget, shared: Floats, which: Indices, steps: Indices) -> Floats:
        """Return (m, features) for steps (m,), from 1, after the origins at positions ``which`` (m,).

        ``shared`` are the features that ``shared`` returns; the number of the step is the last one.
        """
        builder, rows = self._builder, self.rows.at(which)
        time = time_of(self._origins[which] + steps - 1, self._time, builder.sampling_seconds)
        day = day_features(seen.values, rows, steps, day_rows(builder.sampling_seconds), seen.unit[which])
        calendar = calendar_features(time, builder.calendar)
        return np.concatenate([shared[which], day, calendar, steps[:, None]], axis=1)
