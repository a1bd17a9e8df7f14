"""Time-indexed columns in memory, and the processed data that preprocess hands to models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from flts.timeseries.scaling import Scaler

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]

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

    def matrix(self, names: Sequence[str]) -> Floats:
        """Stack columns to (n, len(names)), C-contiguous."""
        return np.stack([self.columns[name] for name in names], axis=1)


@dataclass(frozen=True)
class Parts:
    """Row bounds of fit [0, fit_end), validation [fit_end, validation_end) and selection [validation_end, rows)."""

    fit_end: int
    validation_end: int
    rows: int

    @classmethod
    def of(cls, rows: int) -> Self:
        """Split ``rows`` training rows at 70 % and 85 %, rounded down."""
        return cls(fit_end=int(0.70 * rows), validation_end=int(0.85 * rows), rows=rows)


@dataclass(frozen=True)
class ProcessedData:
    """What preprocess wrote: the columns that models see, and what is needed to use them.

    Attributes:
        frame: Cleaned columns in original units: measured ones, then time features, then lags. No ``_actual`` column.
        actual: For each target the measured values (n,), before filling and clipping, NaN where missing.
        targets: Columns to forecast.
        scaler: Fitted on the fit part; covers every column but the time features.
        parts: Bounds of the training parts (of the training data, also when this is the test data).
        sampling_seconds: Usual time between two rows.
        config_hash: SHA-256 of ``config_json``, or of the file itself where it carries no configuration.
        config_json: Canonical JSON of the preprocessing configuration, or ``""``.
    """

    frame: Frame
    actual: Mapping[str, Floats]
    targets: tuple[str, ...]
    scaler: Scaler
    parts: Parts
    sampling_seconds: float
    config_hash: str
    config_json: str

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.frame)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns that models see, in order."""
        return tuple(self.frame.columns)

    def actual_matrix(self) -> Floats:
        """Stack the measured target values to (n, targets)."""
        return np.stack([self.actual[name] for name in self.targets], axis=1)

    def gap_before(self) -> NDArray[np.bool_]:
        """Return (n,) flags: whether more than 1.5 sampling intervals lie between a row and the one before it."""
        limit = np.timedelta64(round(GAP_FACTOR * self.sampling_seconds * 1e6), "us")
        return np.concatenate([[False], np.diff(self.frame.time) > limit])
