"""Sampling of rows, missing values and outliers. Everything is fitted on the fit part alone."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flts.timeseries.arrays import Flags, Floats, Times
from flts.timeseries.frame import Frame

ClipMethod = Literal["iqr", "zscore", "quantile"]
SampleStrategy = Literal["head", "tail", "random"]
Rows = NDArray[np.intp]

# Candidates compared at once; bounds memory when many values are missing.
_BLOCK = 1 << 21


def sample(frame: Frame, rows: int, strategy: SampleStrategy, seed: int) -> Frame:
    """Keep ``rows`` consecutive rows: the first, the last, or a block at a random place; 0 keeps all."""
    spare = len(frame) - rows
    if rows == 0 or spare <= 0:
        return frame
    start = {"head": 0, "tail": spare, "random": int(np.random.default_rng(seed).integers(0, spare + 1))}[strategy]
    return frame.rows(start, start + rows)


def drop_rows(frame: Frame, threshold: float) -> Frame:
    """Drop the rows in which more than this fraction of the columns is missing."""
    missing = np.zeros(len(frame), dtype=np.int64)
    for values in frame.columns.values():
        missing += np.isnan(values)
    keep = missing / len(frame.columns) <= threshold
    if keep.all():
        return frame
    return Frame(frame.time[keep], {name: values[keep] for name, values in frame.columns.items()})


def fill_training(time: Times, values: Floats, fit_end: int, neighbours: int) -> None:
    """Fill missing values, in place, from the nearest observations in time, weighted by the inverse of their distance.

    Rows of the fit part [0, fit_end) are filled from both sides within it; rows from ``fit_end`` on from earlier rows.

    Args:
        time: (n,) ascending.
        values: (n,) with NaN where missing, and at least one observation in the fit part.
        fit_end: Row after the fit part.
        neighbours: The number of observations that fill one value, or as many as there are.
    """
    is_missing = np.isnan(values)
    missing = np.flatnonzero(is_missing)
    if missing.size == 0:
        return
    observed = np.flatnonzero(~is_missing)
    split, in_fit = np.searchsorted(missing, fit_end), observed[: np.searchsorted(observed, fit_end)]
    _fill_rows(time, values, missing[:split], in_fit, neighbours, ahead=neighbours)
    _fill_rows(time, values, missing[split:], observed, neighbours, ahead=0)


def fill_test(time: Times, values: Floats, before: tuple[Times, Floats], neighbours: int) -> None:
    """Fill missing values of the test part, in place, from earlier observations, also of the training data.

    NaN remains where there is no earlier observation.

    Args:
        time: (m,) ascending.
        values: (m,) with NaN where missing.
        before: Times and values, NaN where missing, of the training rows before the first test row.
        neighbours: As in ``fill_training``.
    """
    if not np.isnan(values).any():
        return
    tail = np.flatnonzero(~np.isnan(before[1]))[-neighbours:]
    times, joined = (
        np.concatenate([earlier[tail], later]) for earlier, later in zip(before, (time, values), strict=True)
    )
    missing = np.isnan(joined)
    _fill_rows(times, joined, np.flatnonzero(missing), np.flatnonzero(~missing), neighbours, ahead=0)
    values[:] = joined[len(tail) :]


def clip_bounds(values: Floats, method: ClipMethod, factor: float) -> tuple[float, float] | None:
    """Return the bounds outside which a value is an outlier.

    ``iqr``: quartiles -+ factor x their distance (Tukey's fences); ``zscore``: mean -+ factor x standard deviation;
    ``quantile``: the factor-th and (100 - factor)-th percentile.

    Returns:
        Lower and upper bound, or ``None`` when the values have no spread that outliers could be judged by.
    """
    if values.min() == values.max():
        # Rounding in the formulas below may leave a tiny spread.
        return None
    if method == "iqr":
        lower, upper = np.quantile(values, [0.25, 0.75])
        margin = factor * (upper - lower)
        bounds = float(lower - margin), float(upper + margin)
    elif method == "zscore":
        margin = factor * values.std()
        bounds = float(values.mean() - margin), float(values.mean() + margin)
    else:
        lower, upper = np.quantile(values, [factor / 100, 1 - factor / 100])
        bounds = float(lower), float(upper)
    return bounds if bounds[0] < bounds[1] else None


def outside_bounds(values: Floats, bounds: tuple[float, float]) -> Flags:
    """Return (n,) flags of the values beyond the bounds."""
    return (values < bounds[0]) | (values > bounds[1])


def _fill_rows(time: Times, values: Floats, rows: Rows, observed: Rows, neighbours: int, ahead: int) -> None:
    """Fill ``rows`` of ``values`` with the mean of their nearest observations, weighted by inverse distance in time.

    Args:
        time: (n,) ascending.
        values: (n,).
        rows: (m,) ascending row numbers to fill; those without a candidate stay as they are.
        observed: Ascending row numbers of the observations.
        neighbours: The number of observations that count.
        ahead: The number of observations after a row that are candidates; 0 for earlier ones only.
    """
    neighbours, ahead = min(neighbours, len(observed)), min(ahead, len(observed))
    offsets = np.arange(-neighbours, ahead)
    if len(offsets) == 0:
        return
    block = max(1, _BLOCK // len(offsets))
    for start in range(0, len(rows), block):
        now = rows[start : start + block, None]
        places = np.searchsorted(observed, now) + offsets
        exists = (places >= 0) & (places < len(observed))
        candidates = observed[np.clip(places, 0, len(observed) - 1)]
        distance = np.where(exists, np.abs(time[candidates] - time[now]).astype(float), np.inf)
        # Stable: of two observations at the same distance, the earlier one counts.
        nearest = np.argsort(distance, axis=1, kind="stable")[:, :neighbours]
        weight = 1 / np.take_along_axis(distance, nearest, axis=1)
        total = weight.sum(axis=1)
        mean = (weight * values[np.take_along_axis(candidates, nearest, axis=1)]).sum(axis=1)
        some = total > 0
        values[now[some, 0]] = mean[some] / total[some]
