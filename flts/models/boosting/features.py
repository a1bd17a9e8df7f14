"""Features of gradient boosting: what the rows before an origin say, the same for a whole series as for its last rows.

Where a feature reaches across a gap in time, or before the first row, it is NaN, which LightGBM's trees know.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flts.models.volatility import REACH
from flts.timeseries.arrays import Floats, Indices, Times
from flts.timeseries.averages import exponential_averages_at, rows_since_gap
from flts.timeseries.features import time_features
from flts.timeseries.frame import gaps_before

LAGS = 10
HALF_LIVES = (1.0, 2.0, 5.0, 15.0, 50.0, 150.0)
MEDIANS = (5, 11, 31)
EXTREMES = (10, 60)
WINDOW = max(EXTREMES)
VOLATILITIES = (5.0, 15.0, 50.0, 150.0)
COVARIATE_HALF_LIVES = (2.0, 5.0, 15.0, 50.0)
AROUND = 3  # rows on both sides of the row a day ago
# The most rows of a day: those of one a minute. Faster series do not see the day before.
MOST_DAY_ROWS = 1440
_SECONDS_OF_DAY = 86400.0


def day_rows(sampling_seconds: float) -> int:
    """Return the number of rows of a day, or 0 where the row a day ago is no feature: fewer than 2, or too many."""
    rows = round(_SECONDS_OF_DAY / sampling_seconds)
    return rows if 2 <= rows <= MOST_DAY_ROWS else 0


def reach(sampling_seconds: float) -> int:
    """Return the number of rows before an origin that its features depend on."""
    return max(REACH, day_rows(sampling_seconds) + AROUND + 1)


@dataclass(frozen=True)
class RecentRows:
    """The last rows before (k,) origins: ``last`` (k,) row numbers, ``since`` (k,) rows between a gap and each.

    ``of_all`` (n,) is the same of every row.
    """

    last: Indices
    since: Indices
    of_all: Indices

    def at(self, which: Indices) -> "RecentRows":
        """Return those before the (m,) origins at these positions."""
        return RecentRows(self.last[which], self.since[which], self.of_all)

    def averages(self, values: Floats, half_lives: Sequence[float], *, changes: bool = False) -> Floats:
        """Return (k, half-lives, columns) exponential averages of (n, columns) values, or NaN where there are none."""
        since = self.of_all - 1 if changes else self.of_all
        return exponential_averages_at(self.last, values, since, half_lives)

    def before(self, values: Floats, back: Indices) -> Floats:
        """Return (k, m) the (n,) values (m,) or (k, m) rows before the last, NaN where a gap lies between."""
        rows = self.last[:, None] - back
        known = (back <= self.since[:, None]) & (back >= 0)
        return np.where(known, values[np.where(known, rows, 0)], np.nan)


def rows_before(time: Times, origins: Indices, sampling_seconds: float, history_rows: int) -> RecentRows:
    """Return the last rows before (k,) origins in rows with these (n,) times."""
    since = np.minimum(rows_since_gap(gaps_before(time, sampling_seconds)), history_rows - 1)
    return RecentRows(origins - 1, since[origins - 1], since)


def volatilities(
    values: Floats, rows: RecentRows, half_lives: Sequence[float] = VOLATILITIES, limit: float = np.inf
) -> Floats:
    """Return (k, half-lives) averages of ``min(|x[t] - x[t-1]|, limit)``, NaN in the first row after a gap."""
    changes = np.minimum(np.abs(np.diff(values, prepend=values[:1])), limit)
    return rows.averages(changes[:, None], half_lives, changes=True)[:, :, 0]


def target_features(values: Floats, rows: RecentRows, unit: Floats) -> Floats:
    """Return (k, p) what a target's own last rows say, as differences to the last in a ``unit`` (k,)."""
    volatility = volatilities(values, rows)
    window = rows.before(values, np.arange(WINDOW))
    last = window[:, :1]
    averages = rows.averages(values[:, None], HALF_LIVES)[:, :, 0]
    columns = [window[:, 1 : LAGS + 1], averages]
    columns += [_median(window[:, :size]) for size in MEDIANS]
    columns += [extreme(window[:, :size], axis=1, keepdims=True) for size in EXTREMES for extreme in (np.max, np.min)]
    differences = (np.concatenate(columns, axis=1) - last) / unit[:, None]
    deviations = [_deviation(window[:, :size]) / unit[:, None] for size in EXTREMES]
    ratios = np.log(_positive(volatility[:, :2]) / _positive(volatility[:, 2:]))
    return np.concatenate([differences, *deviations, volatility, ratios], axis=1)


def day_features(values: Floats, rows: RecentRows, steps: Indices, rows_of_day: int, unit: Floats) -> Floats:
    """Return (k, 4) the values about whole days before the rows ``steps`` (k,) after the last, and their mean."""
    if not rows_of_day:
        return np.empty((len(rows.last), 0))
    ahead = steps[:, None]
    days = (ahead - 1) // rows_of_day + 1
    around = rows.before(values, days * rows_of_day - ahead - np.arange(-AROUND, AROUND + 1))
    mean = np.cumsum(around, axis=1)[:, -1:] / around.shape[1]
    near = around[:, AROUND - 1 : AROUND + 2]
    return (np.concatenate([near, mean], axis=1) - values[rows.last][:, None]) / unit[:, None]


def covariate_features(values: Floats, rows: RecentRows) -> Floats:
    """Return (k, p) what (n, columns) scaled covariates say: the last value, its change, differences to averages."""
    if not values.shape[1]:
        return np.empty((len(rows.last), 0))
    last = values[rows.last]
    change = np.where(rows.since[:, None] > 0, last - values[rows.last - (rows.since > 0)], np.nan)
    averages = rows.averages(values, COVARIATE_HALF_LIVES) - last[:, None]
    return np.concatenate([last, change, averages.reshape(len(last), -1)], axis=1)


def calendar_features(time: Times, names: Sequence[str]) -> Floats:
    """Return (k, p) of the rows that are forecast: time features, the second harmonic of the day, and the weekend."""
    computed = time_features(time)
    columns = [computed[name] for name in names]
    if "min_of_day_sin" in names:
        sine, cosine = computed["min_of_day_sin"], computed["min_of_day_cos"]
        columns += [2 * sine * cosine, cosine * cosine - sine * sine]
    if "day_of_week_sin" in names:
        days = time.astype("datetime64[D]").view(np.int64)
        columns.append(((days + 3) % 7 >= 5).astype(float))
    return np.stack(columns, axis=1) if columns else np.empty((len(time), 0))


def _median(window: Floats) -> Floats:
    size = window.shape[1]
    median = np.partition(window, size // 2, axis=1)[:, size // 2, None]
    return np.where(np.isnan(window[:, -1:]), np.nan, median)


def _deviation(window: Floats) -> Floats:
    """Return (k, 1) mean absolute deviations; cumulative sums add up in order, whatever the number of rows."""
    size = window.shape[1]
    mean = np.cumsum(window, axis=1)[:, -1:] / size
    deviation: Floats = np.cumsum(np.abs(window - mean), axis=1)[:, -1:] / size
    return deviation


def _positive(values: Floats) -> Floats:
    return np.where(values > 0, values, np.nan)
