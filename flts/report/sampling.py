"""Series of any length as a bounded number of points, with no extreme and no mark lost."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flts.timeseries.frame import GAP_FACTOR

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Reduced:
    """A series as groups of points at one ``x`` each: (k,) first, lowest, highest and last value.

    ``joined`` (k,) says whether a group connects to the one before it.
    """

    x: Floats
    first: Floats
    lowest: Floats
    highest: Floats
    last: Floats
    joined: NDArray[np.bool_]


def reduce_series(
    x: NDArray[np.int64] | Floats, y: Floats, low: float, high: float, buckets: int, breaks: NDArray[np.int64] | Floats
) -> Reduced:
    """Reduce a series to at most ``2 * buckets`` groups.

    Up to ``2 * buckets`` rows are kept as they are; more are grouped by pixel column into first, lowest, highest and
    last value, which draws the same line as all of them would ("M4", Jugel et al., VLDB 2014).

    Args:
        x: (n,) positions, ascending.
        y: (n,) values; NaN interrupts the line.
        low: Left end of the axis, at most ``x[0]``.
        high: Right end, at least ``x[-1]``, more than ``low``.
        buckets: Pixel columns of the whole axis.
        breaks: Positions, ascending, at which the line is interrupted: just after the last row before a gap.
    """
    if len(x) <= 2 * buckets:
        known = np.flatnonzero(~np.isnan(y))
        values = y[known]
        joined = np.diff(known, prepend=-2) == 1
        joined[1:] &= np.diff(np.searchsorted(breaks, x[known])) == 0
        return Reduced(x[known].astype(np.float64), values, values, values, values, joined)
    edges = bucket_edges(x, low, high, buckets)
    used = np.flatnonzero(np.diff(edges))
    starts, stops = edges[used], edges[used + 1]
    lowest, highest = np.fmin.reduceat(y, starts), np.fmax.reduceat(y, starts)
    first, last = y[starts], y[stops - 1]
    keep = ~np.isnan(lowest)
    used, starts, stops = used[keep], starts[keep], stops[keep]
    first, lowest, highest, last = first[keep], lowest[keep], highest[keep], last[keep]
    # A gap narrower than a pixel column cannot be seen; one that leaves columns empty can.
    same = np.searchsorted(breaks, x[starts[1:]]) == np.searchsorted(breaks, x[stops[:-1] - 1])
    skipped_nan = starts[1:] != stops[:-1]
    joined = np.concatenate([[False], (np.diff(used) == 1) | (same & ~skipped_nan)])
    return Reduced(
        x=np.asarray(low + (used + 0.5) * ((high - low) / buckets), np.float64),
        first=np.where(np.isnan(first), lowest, first),
        lowest=lowest,
        highest=highest,
        last=np.where(np.isnan(last), highest, last),
        joined=joined,
    )


def bucket_edges(x: NDArray[np.int64] | Floats, low: float, high: float, buckets: int) -> Indices:
    """Return (buckets + 1,) row numbers: rows [edges[i], edges[i + 1]) lie in bucket ``i`` of [low, high]."""
    inner = low + (high - low) * np.arange(1, buckets) / buckets
    if x.dtype.kind == "i":  # or searchsorted would copy all of x to float
        inner = np.ceil(inner).astype(np.int64)
    return np.concatenate([[0], np.searchsorted(x, inner), [len(x)]])


def density(x: NDArray[np.int64] | Floats, flags: NDArray[np.bool_], low: float, high: float, buckets: int) -> Floats:
    """Return (buckets,) the share of flagged rows among the rows of each bucket; 0 where there are none."""
    edges = bucket_edges(x, low, high, buckets)
    bounds = zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    return np.array([np.count_nonzero(flags[start:stop]) / max(1, stop - start) for start, stop in bounds])


def gap_breaks(x: NDArray[np.int64], usual: float | None = None) -> NDArray[np.int64]:
    """Return where lines over ``x`` are interrupted: after rows with more than 1.5 usual intervals to the next.

    Args:
        x: (n,) microseconds, ascending.
        usual: The usual interval in microseconds; default: the median.
    """
    steps = np.diff(x)
    if not len(steps):
        return x[:0]
    return np.asarray(x[:-1][steps > GAP_FACTOR * (np.median(steps) if usual is None else usual)] + 1)


def microseconds(time: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Return times as microseconds since 1970; a view where they are stored so."""
    return time.astype("datetime64[us]", copy=False).view(np.int64)
