"""Time-indexed columns in memory, and the parts of the training rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from flts.timeseries.arrays import Flags, Floats, Indices, Times

TIME_COLUMN = "time"
ACTUAL_SUFFIX = "_actual"
GAP_FACTOR = 1.5


@dataclass(frozen=True)
class Frame:
    """Columns over time: ``time`` (n,) datetime64[us], ascending; every column (n,) float64, NaN where missing."""

    time: Times
    columns: Mapping[str, Floats]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.time)

    def rows(self, start: int, stop: int) -> Self:
        """Return rows ``start`` to ``stop`` as views."""
        return replace(
            self,
            time=self.time[start:stop],
            columns={name: values[start:stop] for name, values in self.columns.items()},
        )

    def at(self, rows: Indices) -> Self:
        """Return copies of these (k,) rows."""
        columns = {name: values[rows] for name, values in self.columns.items()}
        return replace(self, time=self.time[rows], columns=columns)

    def matrix(self, names: Sequence[str]) -> Floats:
        """Stack columns to (n, len(names)), C-contiguous."""
        return np.stack([self.columns[name] for name in names], axis=1)


@dataclass(frozen=True)
class Parts:
    """Row bounds of fit [0, fit_end), validation [fit_end, validation_end) and selection [validation_end, rows)."""

    fit_end: int
    validation_end: int
    rows: int

    def __post_init__(self) -> None:
        """Check the bounds, which may come from a file; ``ValueError`` where they are out of order."""
        if not 0 <= self.fit_end <= self.validation_end <= self.rows:
            raise ValueError("must have 0 <= fit_end <= validation_end <= rows")

    @classmethod
    def of(cls, rows: int) -> Self:
        """Split ``rows`` training rows at 70 % and 85 %, rounded down."""
        return cls(fit_end=int(0.70 * rows), validation_end=int(0.85 * rows), rows=rows)


def usual_interval(time: Times) -> float:
    """Return the median time between two rows in seconds; 1 where there are fewer than two rows."""
    steps = np.diff(time.view(np.int64))
    return float(np.median(steps)) / 1e6 if steps.size else 1.0


def gaps_before(time: Times, sampling_seconds: float) -> Flags:
    """Return (n,) flags: whether a row does not follow the one before it within 1.5 sampling intervals.

    Time that repeats or goes back, as between separate windows, is a gap too.
    """
    limit = np.timedelta64(round(GAP_FACTOR * sampling_seconds * 1e6), "us")
    step = np.diff(time)
    return np.concatenate([[False], (step > limit) | (step <= np.timedelta64(0))])


def time_of(rows: Indices, time: Times, sampling_seconds: float) -> Times:
    """Return the times of rows of any shape; rows after the last of (n,) ``time`` follow at the sampling interval."""
    last = len(time) - 1
    interval = np.timedelta64(round(sampling_seconds * 1e6), "us")
    return time[np.minimum(rows, last)] + np.maximum(rows - last, 0) * interval
