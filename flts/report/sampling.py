"""Reduction of series of any length to a bounded number of points that keeps every extreme and mark."""

from dataclasses import dataclass

import numpy as np

from flts.timeseries.arrays import Flags, Floats, Indices, Times
from flts.timeseries.frame import GAP_FACTOR


@dataclass(frozen=True)
class ReducedSeries:
    """A series as (k,) points: ``lowest`` and ``highest`` are one array where every row is a point of its own.

    NaN interrupts the line; it begins and ends with a value.
    """

    x: Indices
    lowest: Floats
    highest: Floats

    @property
    def grouped(self) -> bool:
        """True if a point represents several rows."""
        return self.lowest is not self.highest


def reduce_series(x: Indices, y: Floats, points: int, breaks: Indices) -> ReducedSeries:
    """Reduce a series to about ``points`` values.

    Up to ``points`` rows are kept as they are; more are grouped into ``points // 2`` spans of x of one width, each with
    its lowest and highest value.

    Args:
        x: (n,) positions, ascending.
        y: (n,) values; NaN interrupts the line.
        points: How many values may be kept.
        breaks: Indices, ascending, at which the line is interrupted: just after the last row before a gap.
    """
    if len(x) <= points:
        rows = np.searchsorted(x, breaks)
        rows = rows[(rows > 0) & (rows < len(x))]
        between = x[rows - 1] + (x[rows] - x[rows - 1]) // 2
        values = np.insert(y, rows, np.nan)
        return _trimmed(np.insert(x, rows, between), values)
    step = int(x[1] - x[0])
    # Whole steps, so that groups of a regular series are regular too.
    width = -(-int(x[-1] - x[0] + 1) // (points // 2 * step)) * step
    edges = np.searchsorted(x, np.arange(x[0], x[-1] + width, width))
    used = np.flatnonzero(np.diff(edges, append=len(x)))
    starts = edges[used]
    lowest, highest = np.fmin.reduceat(y, starts), np.fmax.reduceat(y, starts)
    stops = np.append(starts[1:], len(x))
    known = ~np.isnan(lowest)
    used, starts, stops, lowest, highest = (part[known] for part in (used, starts, stops, lowest, highest))
    # A gap narrower than a group cannot be seen; one that leaves groups empty can.
    apart = np.searchsorted(breaks, x[starts[1:]]) != np.searchsorted(breaks, x[stops[:-1] - 1])
    apart |= starts[1:] != stops[:-1]
    gaps = np.flatnonzero(apart & (np.diff(used) > 1)) + 1
    centres = x[0] + used * width + width // step // 2 * step
    return ReducedSeries(
        np.insert(centres, gaps, centres[gaps - 1] + step),
        np.insert(lowest, gaps, np.nan),
        np.insert(highest, gaps, np.nan),
    )


def _trimmed(x: Indices, values: Floats) -> ReducedSeries:
    known = np.flatnonzero(~np.isnan(values))
    rows = slice(known[0], known[-1] + 1) if len(known) else slice(0, 0)
    values = values[rows]
    return ReducedSeries(x[rows], values, values)


def density(x: Indices, flags: Flags, low: int, high: int, cells: int) -> Floats:
    """Return (cells,) the share of flagged rows among the rows of each cell of [low, high]; 0 where there are none."""
    inner = np.ceil(low + (high - low) * np.arange(1, cells) / cells).astype(np.int64)
    edges = np.concatenate([[0], np.searchsorted(x, inner), [len(x)]])
    bounds = zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    return np.array([np.count_nonzero(flags[start:stop]) / max(1, stop - start) for start, stop in bounds])


def gap_breaks(x: Indices, usual: float | None = None) -> Indices:
    """Return where lines over ``x`` are interrupted: after rows with more than 1.5 usual intervals to the next.

    Args:
        x: (n,) microseconds, ascending.
        usual: The usual interval in microseconds; default: the median.
    """
    steps = np.diff(x)
    if not len(steps):
        return x[:0]
    return np.asarray(x[:-1][steps > GAP_FACTOR * (np.median(steps) if usual is None else usual)] + 1)


def microseconds(time: Times) -> Indices:
    """Return times as microseconds since 1970; a view where they are stored so."""
    return time.astype("datetime64[us]", copy=False).view(np.int64)
