"""The inside of a plot as SVG: scales, axes, lines, shades and marks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from flts.report.axes import Tick, linear_ticks, log_ticks, time_ticks
from flts.report.marks import Chart, Dots, Lane, Rule
from flts.report.sampling import Floats, Reduced, density, reduce_series

WIDTH = 1000  # units along x of the part that stretches
LANE_HEIGHT = 10
LANE_MARGIN = 5  # so that the lowest label of the y axis and that of the first lane stay apart
LANE_CELLS = 250


@dataclass(frozen=True)
class Scale:
    """Maps data to [0, size]; an inverted scale grows upwards."""

    low: float
    high: float
    size: float
    log: bool = False
    inverted: bool = False

    def __call__(self, values: Floats) -> Floats:
        """Map values (n,)."""
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        # In halves, because the width of a range may overflow where its ends do not.
        width = high / 2 - low / 2
        share = ((np.log(values) if self.log else values) / 2 - low / 2) / width
        return (1 - share if self.inverted else share) * self.size

    def at(self, value: float) -> float:
        """Map one value."""
        return float(self(np.array([value]))[0])


def lanes_height(chart: Chart) -> int:
    """Return the height of the strips under a plot."""
    return LANE_MARGIN + LANE_HEIGHT * len(chart.lanes) if chart.lanes else 0


def draw(chart: Chart) -> tuple[Scale, Scale, Markup]:
    """Draw everything inside the plot area and around its edges; return the x and y scales with it."""
    x_scale = _x_scale(chart)
    reduced = [
        reduce_series(line.x, line.y, x_scale.low, x_scale.high, chart.buckets, line.breaks) for line in chart.lines
    ]
    y_scale = _y_scale(chart, reduced)
    stretched = [
        Markup('<path class="line {}" data-name="{}" d="{}"/>').format(
            line.style, line.name, _path(part, x_scale, y_scale)
        )
        for line, part in zip(chart.lines, reduced, strict=True)
    ]
    bottom = chart.height + (LANE_MARGIN if chart.lanes else 0)
    lanes, lane_labels = [], []
    for lane in chart.lanes:
        lanes.append(_lane(lane, x_scale, bottom + 2))
        lane_labels.append(
            Markup('<text class="end small" x="-6" y="{}">{}</text>').format(bottom + LANE_HEIGHT, lane.label)
        )
        bottom += LANE_HEIGHT
    bands, band_labels = _bands(chart, x_scale)
    y_ticks = (log_ticks if chart.log else _linear_y_ticks)(y_scale.low, y_scale.high)
    body = [
        _stretch(bands, chart.height),
        y_axis(y_ticks, y_scale, chart.y_label),
        _x_axis(chart, x_scale, bottom),
        _stretch([*stretched, *lanes], chart.height),
        *(_dots(dots, x_scale, y_scale) for dots in chart.dots),
        *band_labels,
        *lane_labels,
        *(_rule(rule, x_scale, chart.height) for rule in chart.rules),
    ]
    return x_scale, y_scale, Markup("").join(body)


def _stretch(parts: Sequence[Markup], height: int) -> Markup:
    return Markup(
        '<svg width="100%" height="{0}" viewBox="0 0 {1} {0}" preserveAspectRatio="none" overflow="visible">{2}</svg>'
    ).format(height, WIDTH, Markup("").join(parts))


def _x_scale(chart: Chart) -> Scale:
    ends = [float(line.x[index]) for line in chart.lines for index in (0, -1) if len(line.x)]
    low, high = min(ends), max(ends)
    if low == high:
        margin = 30e6 if chart.time else 0.5
        low, high = low - margin, high + margin
    return Scale(low, high, WIDTH)


def _y_scale(chart: Chart, reduced: Sequence[Reduced]) -> Scale:
    lowest = [part.lowest for part in reduced] + [dots.y for dots in chart.dots]
    highest = [part.highest for part in reduced] + [dots.y for dots in chart.dots]
    low, high = float(np.nanmin(np.concatenate(lowest))), float(np.nanmax(np.concatenate(highest)))
    if chart.log:
        margin = max((high / low) ** 0.06, 1.1)
        return Scale(low / margin, high * margin, chart.height, log=True, inverted=True)
    if chart.zero:
        low = min(low, 0.0)
    constant = high / 2 - low / 2 <= 1e-9 * max(abs(low), abs(high))  # nothing but rounding noise
    margin = (abs(high) * 0.1 or 1.0) if constant else (high / 2 - low / 2) * 0.1
    return Scale(low if chart.zero and low == 0 else low - margin, high + margin, chart.height, inverted=True)


def _linear_y_ticks(low: float, high: float) -> list[Tick]:
    return linear_ticks(low, high, 5)


def _path(part: Reduced, x_scale: Scale, y_scale: Scale) -> str:
    """Write the path: a point per group, and where a group has a range, a vertical stroke through it."""
    xs = x_scale(part.x)
    ys = [y_scale(values) for values in (part.first, part.lowest, part.highest, part.last)]
    pieces = []
    starts = ~part.joined
    alone = starts & np.append(starts[1:], True)
    for x, first, lowest, highest, last, start, single in zip(
        xs.tolist(), *(y.tolist() for y in ys), starts.tolist(), alone.tolist(), strict=True
    ):
        pieces.append(f"{'M' if start else 'L'}{x:.4g} {first:.4g}")
        if lowest != highest:
            pieces.append(f"V{lowest:.4g}V{highest:.4g}V{last:.4g}")
        elif single:
            pieces.append("h0")  # with round caps, a line of no length is a dot
    return "".join(pieces)


def _lane(lane: Lane, x_scale: Scale, top: int) -> Markup:
    shares = density(lane.x, lane.flags, x_scale.low, x_scale.high, LANE_CELLS)
    levels = np.ceil(shares * 4).astype(int)
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(levels)) + 1, [LANE_CELLS]])
    paths = dict.fromkeys(range(1, 5), "")
    unit = WIDTH // LANE_CELLS
    for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        if level := int(levels[start]):
            width = (stop - start) * unit
            paths[level] += f"M{start * unit} {top}h{width}v{LANE_HEIGHT - 3}h-{width}z"
    return Markup("").join(
        Markup('<path class="fill {} level{}" d="{}"/>').format(lane.style, level, path)
        for level, path in paths.items()
        if path
    )


def _bands(chart: Chart, x_scale: Scale) -> tuple[list[Markup], list[Markup]]:
    shapes, labels = [], []
    for band in chart.bands:
        start, stop = (min(max(x_scale.at(edge), 0.0), float(WIDTH)) for edge in (band.start, band.stop))
        shapes.append(
            Markup('<rect class="band {}" x="{:.1f}" y="0" width="{:.1f}" height="{}"/>').format(
                band.style, start, max(stop - start, 0.0), chart.height
            )
        )
        share = (stop - start) / WIDTH
        if band.label and share > 0.05:
            # Six pixels a letter: a label that its band cannot hold on a phone is only shown where there is room.
            fits = "" if share * 260 > 6 * len(band.label) else " wide"
            labels.append(
                Markup('<text class="small mid{}" x="{:.2f}%" y="-6">{}</text>').format(
                    fits, (start + stop) / 2 * 100 / WIDTH, band.label
                )
            )
    return shapes, labels


def _rule(rule: Rule, x_scale: Scale, height: int) -> Markup:
    at = x_scale.at(rule.x) * 100 / WIDTH
    anchor, shift = ("end", -5) if at > 60 else ("start", 5)
    return Markup(
        '<line class="rule" x1="{0:.2f}%" x2="{0:.2f}%" y1="0" y2="{1}"/>'
        '<text class="{2} rule-label" x="{0:.2f}%" dx="{3}" y="12">{4}</text>'
    ).format(at, height, anchor, shift, rule.label)


def _dots(dots: Dots, x_scale: Scale, y_scale: Scale) -> Markup:
    xs, ys = x_scale(dots.x.astype(np.float64)) * (100 / WIDTH), y_scale(dots.y)
    return Markup('<g class="{} {}">{}</g>').format(
        dots.style,
        "hollow" if dots.hollow else "solid",
        Markup("").join(
            Markup('<circle cx="{:.2f}%" cy="{:.1f}" r="3"/>').format(x, y)
            for x, y in zip(xs.tolist(), ys.tolist(), strict=True)
            if math.isfinite(y)
        ),
    )


def y_axis(ticks: Sequence[Tick], y_scale: Scale, label: str) -> Markup:
    """Draw grid lines with their labels left of the plot, and the axis label above them."""
    parts = []
    for tick in ticks:
        y = y_scale.at(tick.position)
        parts.append(
            Markup(
                '<line class="grid" x1="0" x2="100%" y1="{0:.1f}" y2="{0:.1f}"/>'
                '<text class="end" x="-8" y="{1:.1f}">{2}</text>'
            ).format(y, y + 4, tick.label)
        )
    if label:
        parts.append(Markup('<text class="small" x="-48" y="-6">{}</text>').format(label))
    return Markup("").join(parts)


def _x_axis(chart: Chart, x_scale: Scale, bottom: int) -> Markup:
    groups = []
    for name, count in (("wide", 8), ("narrow", 4)):
        if chart.time:
            ticks = time_ticks(math.ceil(x_scale.low), math.floor(x_scale.high), count)
        else:
            whole = all(line.x.dtype.kind == "i" for line in chart.lines)
            ticks = linear_ticks(x_scale.low, x_scale.high, count, whole=whole)
        groups.append(
            Markup('<g class="{}">{}</g>').format(
                name, Markup("").join(_x_tick(tick, x_scale, chart.height, bottom) for tick in ticks)
            )
        )
    return Markup("").join([*groups, x_title(chart.x_label, bottom + 34)])


def _x_tick(tick: Tick, x_scale: Scale, height: int, bottom: int) -> Markup:
    at = x_scale.at(tick.position) * 100 / WIDTH
    anchor = "end" if at > 97 else "mid"
    context = (
        Markup('<text class="{} soft" x="{:.2f}%" y="{}">{}</text>').format(anchor, at, bottom + 31, tick.context)
        if tick.context
        else ""
    )
    return Markup(
        '<line class="tick" x1="{0:.2f}%" x2="{0:.2f}%" y1="{1}" y2="{2}"/>'
        '<text class="{3}" x="{0:.2f}%" y="{4}">{5}</text>{6}'
    ).format(at, height, height + 4 if bottom == height else bottom, anchor, bottom + 17, tick.label, context)


def x_title(label: str, y: int) -> Markup:
    """Draw the label of the x axis, centred."""
    return Markup('<text class="small mid" x="50%" y="{}">{}</text>').format(y, label) if label else Markup("")
