"""Windows over rows: where forecasts may begin, and the history before them."""

import numpy as np

from flts.timeseries.arrays import Flags, Indices


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


def window_rows(origins: Indices, history: int) -> Indices:
    """Return (len(origins), history) row numbers of the windows that end just before the origins."""
    return origins[:, None] + np.arange(-history, 0, dtype=np.int64)


def spans_gap(gap_before: Flags, first: Indices, last: Indices) -> Flags:
    """Return whether a gap lies anywhere between rows ``first`` and ``last``, of any shape; none behind the data."""
    gaps = np.cumsum(gap_before)
    end = len(gaps) - 1
    return gaps[np.minimum(last, end)] > gaps[np.minimum(first, end)]
