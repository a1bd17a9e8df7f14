"""Exponential averages over the rows since the last gap, the same for a whole series as for its last rows."""

from collections.abc import Sequence

import numpy as np

from flts.timeseries.arrays import Flags, Floats, Indices

# Rows that an average reaches back: eight doublings.
TAPS = 256
_FEW = 32  # with more rows than this for each that is asked for, averages of single rows are faster than those of all
_NUMBERS = 1 << 13  # summed up at once for averages of few rows


def rows_since_gap(gap_before: Flags) -> Indices:
    """Return (n,) the number of rows between each row and the first one after the last gap, or the first of all."""
    row = np.arange(len(gap_before))
    return row - np.maximum.accumulate(np.where(gap_before, row, 0))


def exponential_averages(values: Floats, since: Indices, half_lives: Sequence[float]) -> Floats:
    """Average each row with those before it, back to ``since`` (n,) rows, at most ``TAPS`` in all.

    The row k rows back weighs ``2^(-k / half_life)``, and the weights of the existing rows sum to one. An average
    depends on the rows that it averages alone, bit for bit: sums over n rows are computed from those over n / 2,
    ``A_2n[t] = A_n[t] + 2^(-n / half_life) A_n[t - n]``.

    Args:
        values: (n, columns).
        since: Rows before each row that count; see ``rows_since_gap``. Where it is negative, the average is NaN.
        half_lives: (m,) in rows.

    Returns:
        (n, m, columns).
    """
    decay = _decay(half_lives)
    sums = np.repeat(values[:, None], len(half_lives), axis=1)
    span = 1
    while span < TAPS:
        earlier = np.where((since >= span)[span:, None, None], sums[:-span], 0.0)
        # Not in place, which would read sums that already have twice the span.
        sums = np.concatenate([sums[:span], sums[span:] + decay**span * earlier])
        span *= 2
    return _normalise(sums, since, decay)


def exponential_averages_at(rows: Indices, values: Floats, since: Indices, half_lives: Sequence[float]) -> Floats:
    """Return (k, m, columns) the ``exponential_averages`` of (k,) ``rows``, the faster way for so many of all rows."""
    if _FEW * len(rows) < len(values):  # as in a sequence of separate windows
        return exponential_averages_of(rows, values, since, half_lives)
    return exponential_averages(values, since, half_lives)[rows]


def exponential_averages_of(rows: Indices, values: Floats, since: Indices, half_lives: Sequence[float]) -> Floats:
    """Return the ``exponential_averages`` of (k,) ``rows``, bit for bit; for few of many rows this is faster.

    Returns:
        (k, m, columns).
    """
    decay = _decay(half_lives)
    factor = decay[:, None]
    back = np.arange(TAPS - 1, -1, -1)[:, None]
    window, unseen = np.maximum(rows - back, 0), back > since[rows]
    averages = np.empty((len(rows), len(half_lives), values.shape[1]))
    # Few columns at a time and in place: fresh memory would cost more than the sums.
    at_once = max(1, _NUMBERS // max(1, window.size))
    for first in range(0, values.shape[1], at_once):
        part = slice(first, first + at_once)
        sums, span = values.T[part, window], 1
        sums[:, unseen] = 0.0
        sums = sums[:, None]
        while span < TAPS:
            earlier = factor**span * sums[..., ::2, :]
            sums = np.add(sums[..., 1::2, :], earlier, out=earlier)
            span *= 2
        averages[:, :, part] = sums[:, :, 0].transpose(2, 1, 0)
    return _normalise(averages, since[rows], decay)


def _decay(half_lives: Sequence[float]) -> Floats:
    decay: Floats = np.exp2(-1.0 / np.asarray(half_lives))[:, None]
    return decay


def _normalise(sums: Floats, since: Indices, decay: Floats) -> Floats:
    """Divide (n, m, columns) sums by the weights of the rows in them."""
    rows = np.minimum(since + 1, TAPS)[:, None, None]
    with np.errstate(invalid="ignore"):
        averages: Floats = np.where(rows > 0, sums * (1 - decay) / (1 - decay ** np.maximum(rows, 1)), np.nan)
    return averages
