"""Charts as JSON that `templates/chart.js` draws with uPlot, and small bars for table cells as HTML.

Numbers are written as whole numbers: ``n`` means ``low + n * unit`` of its axis, with a unit too fine to be seen. That
is compact, exact for round numbers, and keeps extreme values away from the drawing code.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from flts.report.marks import Chart, Lane, Line
from flts.report.sampling import ReducedSeries, density, reduce_series
from flts.timeseries.arrays import Floats, Indices

PAGE_BYTES = 180_000  # for the data of all charts of a page, so that it stays below 400 kB with script and tables
MOST_POINTS = 8192
LEAST_POINTS = 128
VALUE_BYTES = 6
STEP_BYTES = 14
LANE_CELLS = 600
LARGEST = 1e300  # the width of a range of larger values would overflow


@dataclass(frozen=True)
class Bar:
    """A part of a small bar: ``start`` and ``width`` are shares of the whole width."""

    start: float
    width: float
    style: str


def points_per_line(charts: Iterable[Chart]) -> int:
    """Return how many points each line may keep, so that all charts of one page together stay within its size limit."""
    lines = [line for chart in charts for line in chart.lines]
    points = MOST_POINTS
    while points > LEAST_POINTS and sum(_bytes(line, points) for line in lines) > PAGE_BYTES:
        points = points * 3 // 4
    return points


def _bytes(line: Line, points: int) -> int:
    """Estimate the size of a line: its values, and an entry wherever the step of its positions changes."""
    x = line.x
    if len(x) > points:
        return points * VALUE_BYTES
    return len(x) * VALUE_BYTES * (1 if line.top is None else 2) + int(np.count_nonzero(np.diff(x, 2))) * STEP_BYTES


def line_chart(chart: Chart, points: int) -> Markup:
    """Write a chart with about ``points`` values a line; the page's script draws it."""
    return Markup(
        '<div class="chart" role="img" aria-label="{}"><script type="application/json">{}</script></div>'
    ).format(
        f"{chart.title}. {chart.description}",
        htmlsafe_json_dumps(chart_data(chart, points), separators=(",", ":"), allow_nan=False),
    )


def chart_data(chart: Chart, points: int) -> dict[str, Any]:
    """Return the content for the script: the axes, and marks in whole numbers of their units."""
    parts = [_reduced(line, chart, points) for line in chart.lines]
    first = min(int(line.x[0]) for line in chart.lines if len(line.x))
    last = max(int(line.x[-1]) for line in chart.lines if len(line.x))
    unit = int(np.gcd.reduce([np.gcd.reduce(part.x - first, initial=0) for part in parts])) or 1
    low, y_unit, decimals = _y_axis(parts, chart)

    def at(x: float) -> float:
        return (x - first) / unit

    def positions(x: Indices) -> list[int]:
        return [int(position) for position in (x - first) // unit]

    def values(y: Floats) -> list[int | None]:
        numbers = np.rint((_drawable_values(y) - low) / y_unit)
        return [None if math.isnan(number) else int(number) for number in numbers.tolist()]

    return {
        "height": chart.height,
        "x": {
            "low": chart.x_low + first * chart.x_unit,
            "unit": unit * chart.x_unit,
            "size": at(last),
            "time": chart.time,
            "label": chart.x_label,
        },
        "y": {
            "low": low,
            "unit": y_unit,
            "decimals": decimals,
            "log": chart.log,
            "zero": chart.zero,
            "label": chart.y_label,
        },
        "lines": [
            {
                "name": line.name,
                "style": line.style,
                "x": _runs((part.x - first) // unit),
                "y": [values(part.lowest), values(part.highest)] if part.grouped else [values(part.lowest)],
            }
            for line, part in zip(chart.lines, parts, strict=True)
        ],
        "dots": [
            {"style": dots.style, "x": positions(dots.x), "y": values(_scaled(dots.y, chart))} for dots in chart.dots
        ],
        "bands": [[at(band.start), at(band.stop), band.label, band.style] for band in chart.bands],
        "rules": [[at(rule.x), rule.label] for rule in chart.rules],
        "lanes": [
            {
                "label": lane.label,
                "style": lane.style,
                "start": at(lane.x[0]),
                "stop": at(lane.x[-1]),
                "levels": _levels(lane),
            }
            for lane in chart.lanes
        ],
    }


def _reduced(line: Line, chart: Chart, points: int) -> ReducedSeries:
    bottom = reduce_series(line.x, _scaled(line.y, chart), points, line.breaks)
    if line.top is None:
        return bottom
    top = reduce_series(line.x, _scaled(line.top, chart), points, line.breaks)
    return ReducedSeries(bottom.x, bottom.lowest, top.highest)


def _levels(lane: Lane) -> str:
    """Write a digit per cell of a lane, 0 to 4: how large a share of its rows is flagged, rounded up."""
    low, high = int(lane.x[0]), int(lane.x[-1])
    shares = density(lane.x, lane.flags, low, high, min(len(lane.x), LANE_CELLS))
    return "".join(str(math.ceil(share * 4)) for share in shares)


def cell_bar(parts: Sequence[Bar], label: str) -> Markup:
    """Draw the parts of one small bar for a table cell; ``label`` is its text for screen readers."""
    return Markup('<span class="cell-bar" role="img" aria-label="{}">{}</span>').format(
        label,
        Markup("").join(
            Markup('<span class="{}" style="left:{:.2f}%;width:{:.2f}%"></span>').format(
                part.style, 100 * part.start, 100 * part.width
            )
            for part in parts
        ),
    )


def _scaled(y: Floats, chart: Chart) -> Floats:
    return np.log10(np.where(y > 0, y, np.nan)) if chart.log else y


def _drawable_values(y: Floats) -> Floats:
    return np.where(np.abs(y) <= LARGEST, y, np.nan)


def _y_axis(parts: Sequence[ReducedSeries], chart: Chart) -> tuple[float, float, int]:
    """Return the lowest value, the unit and its decimals: a power of ten, the range is at least 10,000 of it."""
    known = np.concatenate([_drawable_values(values) for part in parts for values in (part.lowest, part.highest)])
    low, high = (float(reduce(known, initial=np.nan)) for reduce in (np.fmin.reduce, np.fmax.reduce))
    if math.isnan(low):
        return 0.0, 1.0, 0
    if chart.zero:
        low = min(low, 0.0)
    span = high - low
    if span <= max(1e-9 * max(abs(low), abs(high)), 1e-290):  # nothing but rounding noise
        span = abs(high) * 0.1 or 1.0
    exponent = max(math.floor(math.log10(span)) - 4, -300)
    unit = 10.0**exponent
    return math.floor(low / unit) * unit, unit, max(0, -exponent)


def _runs(x: Indices) -> list[int]:
    """Write positions as the first one, then each step and how often it comes: 5, 7, 9, 12 as 5, 2, 2, 3, 1."""
    steps = np.diff(x)
    starts = np.flatnonzero(np.diff(steps, prepend=steps[:1] - 1))
    counts = np.diff(starts, append=len(steps))
    return [*x[:1].tolist(), *np.column_stack([steps[starts], counts]).ravel().tolist()]
