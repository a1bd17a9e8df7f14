"""The linear skip: a frozen ridge on recent rows that forecasts the change of a value.

Networks add to it, and it corrects the residuals of Prophet.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from flts.errors import BadInputError
from flts.models import ridge
from flts.timeseries.arrays import Floats, Indices, Times
from flts.timeseries.averages import TAPS, exponential_averages_at, rows_since_gap
from flts.timeseries.features import TIME_FEATURES, parse_lag, time_features
from flts.timeseries.frame import gaps_before, time_of
from flts.timeseries.scaling import standard_deviation

RECENT_ROWS = 3  # rows whose values are features
HALF_LIVES = (2.0, 5.0, 15.0, 50.0)
BATCH = 8192  # origins whose features are in memory at once
# Numbers that fitting may hold at once: 16 GiB of float64. Labels are held in some eight copies.
MAX_NUMBERS, COPIES_OF_LABELS = 1 << 31, 8


@dataclass(frozen=True)
class SkipInputs:
    """Measured columns (n, columns) over time, where ``since`` counts the rows since the last gap.

    ``time`` and ``since`` may go on after the last of the ``values``, to the rows that are forecast.
    """

    time: Times
    values: Floats
    since: Indices
    sampling_seconds: float

    @classmethod
    def of(cls, time: Times, values: Floats, sampling_seconds: float) -> Self:
        """Make the inputs, with the gaps that ``time`` has."""
        return cls(time, values, rows_since_gap(gaps_before(time, sampling_seconds)), sampling_seconds)

    def batches(self, origins: Indices) -> Iterator[tuple[slice, Self, Indices]]:
        """Yield slices of (k,) origins with the rows that their features need and the origins among these."""
        for start in range(0, len(origins), BATCH):
            part = slice(start, start + BATCH)
            rows = origins[part]
            first, last = max(0, int(rows.min()) - TAPS), int(rows.max())
            # The times after the origins are those of the rows that are forecast.
            yield (
                part,
                type(self)(self.time[first:], self.values[first:last], self.since[first:last], self.sampling_seconds),
                rows - first,
            )


@dataclass(frozen=True)
class LinearSkip:
    """Forecasts of ``horizon`` steps of several targets, each a linear function of its own.

    Features of a forecast from row ``t`` on are, of every standardised column, the rows t - 1, t - 2 and t - 3 and the
    exponential averages up to row t - 1 with half-lives of 2, 5, 15 and 50 rows, over the last 256 rows since a gap;
    and the time features of the row that is forecast. Where there are fewer rows, the first is repeated.

    Attributes:
        centre: (columns,) mean of each column on the rows that it was fitted on.
        scale: (columns,) its standard deviation; 1 for a constant.
        calendar: Names of the time features.
        coefficients: (horizon, targets, 1 + features), the intercept first.
        alphas: (horizon, targets) strength of the penalty.
    """

    centre: Floats
    scale: Floats
    calendar: tuple[str, ...]
    coefficients: Floats
    alphas: Floats

    @classmethod
    def learn(
        cls,
        rows: SkipInputs,
        origins: Indices,
        labels: Floats,
        weights: Floats,
        *,
        calendar: Sequence[str],
        embargo: int,
        alphas: Floats | None = None,
    ) -> Self:
        """Fit every target and horizon.

        Args:
            rows: Rows to fit on; columns are standardised on all of them.
            origins: (k,) where forecasts begin, ascending.
            labels: (k, horizon, targets) the values to forecast.
            weights: (k, targets) of the squared errors, mean 1.
            calendar: Names of the time features to use.
            embargo: Rows on both sides of a block that are left out when it is forecast.
            alphas: (horizon, targets) strengths of the penalty; ``None`` chooses them by blocks.

        Raises:
            BadInputError: So many steps would need more memory than ``MAX_NUMBERS``.
        """
        _, horizon, targets = labels.shape
        centre, scale = rows.values.mean(axis=0), standard_deviation(rows.values)
        features = rows.values.shape[1] * (RECENT_ROWS + len(HALF_LIVES)) + len(calendar)
        nothing = np.zeros((horizon, targets, 1 + features))
        skip = cls(centre, scale, tuple(calendar), nothing, np.zeros((horizon, targets)))
        folds = ridge.Folds(int(origins[0]), int(origins[-1]) + 1, embargo)
        pieces = skip._moments(rows, origins, labels, weights, folds.cuts)
        if alphas is None:
            alphas = np.array([[folds.choose(pieces[h, j]) for j in range(targets)] for h in range(horizon)])
        totals = pieces.sum(axis=2)
        coefficients = [
            [ridge.solve(totals[h, j], alphas[h, j : j + 1])[0] for j in range(targets)] for h in range(horizon)
        ]
        return cls(centre, scale, tuple(calendar), np.array(coefficients), alphas)

    def __call__(self, rows: SkipInputs, origins: Indices) -> Floats:
        """Return (k, horizon, targets) for the rows from each of (k,) origins on, which may follow the last row."""
        horizon, targets, _ = self.coefficients.shape
        values = np.empty((len(origins), horizon, targets))
        for part, near, local in rows.batches(origins):
            recent = self._recent(near, local)
            width = 1 + recent.shape[1]
            calendar = self._calendar(near, local)
            values[part] = self.coefficients[:, :, 0] + np.einsum(
                "kp,hjp->khj", recent, self.coefficients[:, :, 1:width]
            )
            values[part] += np.einsum("khp,hjp->khj", calendar, self.coefficients[:, :, width:])
        return values

    def tensors(self) -> Mapping[str, Floats]:
        """Return the arrays that ``calendar`` completes to this skip, by name."""
        return {name: getattr(self, name) for name in ("centre", "scale", "coefficients", "alphas")}

    @classmethod
    def of_tensors(
        cls, tensors: Mapping[str, Floats], calendar: tuple[str, ...], *, columns: int, horizon: int, targets: int
    ) -> Self:
        """Restore what ``tensors`` gave; ``KeyError``, or ``ValueError`` where it is of other columns or not finite."""
        features = columns * (RECENT_ROWS + len(HALF_LIVES)) + len(calendar)
        shapes = {
            "centre": (columns,),
            "scale": (columns,),
            "coefficients": (horizon, targets, 1 + features),
            "alphas": (horizon, targets),
        }
        for name, shape in shapes.items():
            if tensors[name].shape != shape:
                raise ValueError(f"{name} of a linear skip must have the shape {shape}, not {tensors[name].shape}")
            if not np.isfinite(tensors[name]).all():
                raise ValueError(f"{name} of a linear skip must be finite numbers")
        if not (tensors["scale"] > 0).all():
            raise ValueError("scale of a linear skip must be above zero")
        return cls(calendar=calendar, **{name: tensors[name] for name in shapes})

    def _moments(self, rows: SkipInputs, origins: Indices, labels: Floats, weights: Floats, cuts: Indices) -> Floats:
        """Return (horizon, targets, pieces, p + 2, p + 2) of the origins between two cuts each."""
        horizon, targets, width = self.coefficients.shape
        _check_memory(horizon * targets * (len(cuts) - 1) * (width + 1) ** 2, horizon, targets)
        totals = np.zeros((horizon, targets, len(cuts) - 1, width + 1, width + 1))
        for part, near, local in rows.batches(origins):
            recent, calendar = self._recent(near, local), self._calendar(near, local)
            bounds = np.searchsorted(origins[part], cuts)
            for h in range(horizon):
                features = np.concatenate([recent, calendar[:, h]], axis=1)
                for piece, (first, last) in enumerate(itertools.pairwise(bounds)):
                    for j in range(targets if last > first else 0):
                        totals[h, j, piece] += ridge.moments(
                            features[first:last], labels[part][first:last, h, j], weights[part][first:last, j]
                        )
        return totals

    def _recent(self, rows: SkipInputs, origins: Indices) -> Floats:
        """Return (k, columns x (RECENT + averages)) features of the rows before the origins."""
        last = origins - 1
        recent = [rows.values[last - np.minimum(back, rows.since[last])] for back in range(RECENT_ROWS)]
        averages = exponential_averages_at(last, rows.values, rows.since, HALF_LIVES)
        # The average of standardised rows is the standardised average, and there are far fewer averages than rows.
        seen = np.concatenate([np.stack(recent, axis=1), averages], axis=1)
        return ((seen - self.centre) / self.scale).reshape(len(origins), -1)

    def _calendar(self, rows: SkipInputs, origins: Indices) -> Floats:
        """Return (k, horizon, time features) of the rows that are forecast."""
        horizon = len(self.coefficients)
        if not self.calendar:
            return np.empty((len(origins), horizon, 0))
        time = time_of(origins[:, None] + np.arange(horizon), rows.time, rows.sampling_seconds)
        computed = time_features(time.ravel())
        return np.stack([computed[name] for name in self.calendar], axis=1).reshape(*time.shape, -1)


def check_labels(rows: int, horizon: int, targets: int) -> None:
    """Make sure that fitting forecasts of so many steps of so many targets on so many rows fits into memory.

    Raises:
        BadInputError: The labels would need more than ``MAX_NUMBERS``.
    """
    _check_memory(COPIES_OF_LABELS * rows * horizon * targets, horizon, targets)


def _check_memory(numbers: int, horizon: int, targets: int) -> None:
    if numbers > MAX_NUMBERS:
        of_targets = f" of {targets} targets" if targets > 1 else ""
        raise BadInputError(
            f"learning to forecast {horizon} steps{of_targets} at once needs {numbers * 8 / 2**30:,.1f} GiB of memory: "
            f"at most {MAX_NUMBERS * 8 / 2**30:g} GiB are accepted; a smaller output_seq_len, or fewer columns, "
            "are needed"
        )


def skip_columns(features: Sequence[str]) -> tuple[str, ...]:
    """Return the names of ``features`` that are neither time features nor lags of another."""
    lags = {name for name in features if (lag := parse_lag(name)) and lag[0] in features}
    return tuple(name for name in features if name not in TIME_FEATURES and name not in lags)
