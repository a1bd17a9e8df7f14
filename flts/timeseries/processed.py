"""Processed data: the output of preprocess and the input of models."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from flts.timeseries.arrays import Flags, Floats
from flts.timeseries.features import TIME_FEATURES, learnable
from flts.timeseries.frame import Frame, Parts, gaps_before
from flts.timeseries.scaling import Scaler, ScalerKind


@dataclass(frozen=True)
class ProcessedData:
    """Processed columns, with the metadata that is needed to use them.

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

    def learnable_features(self) -> tuple[str, ...]:
        """Return the names of the columns that models can learn from; see ``flts.timeseries.features.learnable``."""
        return learnable(self.features, self.frame.time[: self.parts.fit_end])

    def actual_matrix(self) -> Floats:
        """Stack the measured target values to (n, targets)."""
        return np.stack([self.actual[name] for name in self.targets], axis=1)

    def gap_before(self) -> Flags:
        """Return (n,) flags: whether more than 1.5 sampling intervals lie between a row and the one before it."""
        return gaps_before(self.frame.time, self.sampling_seconds)


def fit_scaler(kind: ScalerKind, frame: Frame, parts: Parts) -> Scaler:
    """Fit a scaler on the fit part of every column but the time features."""
    fit = frame.rows(0, parts.fit_end).columns
    return Scaler.fit(kind, {name: values for name, values in fit.items() if name not in TIME_FEATURES})
