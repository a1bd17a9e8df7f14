"""Windows over rows: forecast origins, and the history before them."""

from itertools import count
from math import ceil, gcd

import numpy as np

from flts.timeseries.arrays import Flags, Indices

SPREAD = 500
_WEEK = 7 * 86400


def forecast_origins(gap_before: Flags, start: int, stop: int, history: int, horizon: int = 1) -> Indices:
    """Return the rows in [start, stop - horizon] at which a forecast may begin, ascending.

    Args:
        gap_before: (n,) flags: a gap in time lies between a row and the one before it.
        start: First row that may be forecast.
        stop: Row after the last that may be forecast.
        history: Rows before the origin that a forecast sees; they may lie before ``start``.
        horizon: Rows forecast from the origin on.

    Returns:
        Origins ``t`` whose rows [t - history, t + horizon) all exist with no gap among them.
    """
    origins = np.arange(max(start, history), stop - horizon + 1, dtype=np.int64)
    gaps = np.concatenate([[0], np.cumsum(gap_before)])
    contiguous = gaps[origins + horizon] == gaps[origins - history + 1]
    return np.compress(contiguous, origins)


def spread_origins(gap_before: Flags, start: int, stop: int, history: int, sampling_seconds: float) -> Indices:
    """Return every k-th of the rows that ``forecast_origins`` gives for one step ahead; at most ``SPREAD``.

    k has no divisor in common with a week of rows, so that they are not all at the same few times of the day.
    """
    week = max(1, round(_WEEK / sampling_seconds))
    least = max(1, ceil((stop - start) / SPREAD))
    every = next(k for k in count(least) if gcd(k, week) == 1)
    origins = forecast_origins(gap_before, start, stop, history)
    return np.compress((origins - start) % every == 0, origins)


def window_rows(origins: Indices, history: int) -> Indices:
    """Return (len(origins), history) row numbers of the windows that end just before the origins."""
    return origins[:, None] + np.arange(-history, 0, dtype=np.int64)


def spans_gap(gap_before: Flags, first: Indices, last: Indices) -> Flags:
    """Return whether a gap lies anywhere between rows ``first`` and ``last``, of any shape."""
    gaps = np.cumsum(gap_before)
    end = len(gaps) - 1
    return gaps[np.minimum(last, end)] > gaps[np.minimum(first, end)]
