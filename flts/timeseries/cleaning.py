"""Rows to keep, missing values and outliers. Whatever is learned is learned on the fit part alone."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flts.timeseries.frame import Floats, Frame, Times

ClipMethod = Literal["iqr", "zscore", "quantile"]
SampleStrategy = Literal["head", "tail", "random"]
Flags = NDArray[np.bool_]

# Candidates looked at in one go; bounds memory when many values are missing.
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


def fill_training(time: Times, values: Floats, fit_end: int, neighbours: int) -> Floats:
    """Fill missing values from the observations nearest in time, weighted by the inverse of their distance.

    Rows of the fit part [0, fit_end) look to both sides within it; rows from ``fit_end`` on only look back.

    Args:
        time: (n,) ascending.
        values: (n,) with NaN where missing, and at least one observation in the fit part.
        fit_end: Row after the fit part.
        neighbours: Observations that fill one value, or as many as there are.

    Returns:
        (n,) without NaN; ``values`` itself when nothing is missing.
    """
    missing = np.flatnonzero(np.isnan(values))
    if missing.size == 0:
        return values
    observed = np.flatnonzero(~np.isnan(values))
    in_fit = observed[: np.searchsorted(observed, fit_end)]
    split = np.searchsorted(missing, fit_end)
    filled = values.copy()
    for rows, sources, ahead in ((missing[:split], in_fit, neighbours), (missing[split:], observed, 0)):
        filled[rows] = _nearest(time[rows], time[sources], values[sources], neighbours, ahead)
    return filled


def fill_test(time: Times, values: Floats, before: tuple[Times, Floats], neighbours: int) -> Floats:
    """Fill missing values of the test part from earlier observations, those of the training data included.

    Args:
        time: (m,) ascending.
        values: (m,) with NaN where missing.
        before: Times and values, NaN where missing, of the training rows before the first test row.
        neighbours: As in ``fill_training``.

    Returns:
        (m,) with NaN only where nothing was observed before; ``values`` itself when nothing is missing.
    """
    missing = np.isnan(values)
    if not missing.any():
        return values
    tail = np.flatnonzero(~np.isnan(before[1]))[-neighbours:]
    times = np.concatenate([before[0][tail], time[~missing]])
    observed = np.concatenate([before[1][tail], values[~missing]])
    filled = values.copy()
    filled[missing] = _nearest(time[missing], times, observed, neighbours, ahead=0)
    return filled


def clip_bounds(values: Floats, method: ClipMethod, factor: float) -> tuple[float, float] | None:
    """Learn the bounds outside which a value is an outlier.

    ``iqr``: quartiles -+ factor x their distance (Tukey's fences); ``zscore``: mean -+ factor x standard deviation;
    ``quantile``: the factor-th and (100 - factor)-th percentile.

    Returns:
        Lower and upper bound, or ``None`` when the values show no spread to judge outliers by.
    """
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


def outside(values: Floats, bounds: tuple[float, float]) -> Flags:
    """Return (n,) flags of the values beyond the bounds."""
    return (values < bounds[0]) | (values > bounds[1])


def _nearest(at: Times, times: Times, values: Floats, neighbours: int, ahead: int) -> Floats:
    """Return (len(at),) means of the nearest values weighted by inverse distance; NaN where there are none.

    Args:
        at: Times to fill, none of them among ``times``.
        times: Ascending times of the observations ``values``.
        values: The observations.
        neighbours: How many observations count.
        ahead: How many observations after a time are candidates; 0 looks back only.
    """
    count = len(times)
    neighbours, ahead = min(neighbours, count), min(ahead, count)
    offsets = np.arange(-neighbours, ahead)
    result = np.full(len(at), np.nan)
    if count == 0:
        return result
    block = max(1, _BLOCK // len(offsets))
    for start in range(0, len(at), block):
        now = at[start : start + block, None]
        candidates = np.searchsorted(times, now) + offsets
        exists = (candidates >= 0) & (candidates < count)
        candidates = np.clip(candidates, 0, count - 1)
        distance = np.where(exists, np.abs(times[candidates] - now).view(np.int64).astype(float), np.inf)
        # Stable: of two observations equally far, the earlier one counts.
        nearest = np.argsort(distance, axis=1, kind="stable")[:, :neighbours]
        weight = 1 / np.take_along_axis(distance, nearest, axis=1)
        total = weight.sum(axis=1)
        weighted = weight * values[np.take_along_axis(candidates, nearest, axis=1)]
        np.divide(weighted.sum(axis=1), total, out=result[start : start + block], where=total > 0)
    return result
