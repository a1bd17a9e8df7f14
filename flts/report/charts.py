"""Charts as SVG text: lines over time or numbers, bars, and small bars for table cells.

An SVG here has no viewBox: it takes the width it is given, its lines stretch, and its text keeps its size, so that a
chart reads the same on a phone and on a wide screen. Colours are CSS variables of the page (`templates/chart.css`).
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup

from flts.report.axes import linear_ticks
from flts.report.marks import Chart, Line
from flts.report.plot import Scale, draw, lanes_height, x_title, y_axis
from flts.report.sampling import Floats

STYLE = Path(__file__).parent / "templates" / "chart.css"


@dataclass(frozen=True)
class Bar:
    """A part of a small bar: ``start`` and ``width`` are shares of the whole width."""

    start: float
    width: float
    style: str


def line_chart(chart: Chart) -> Markup:
    """Draw a chart that fills the width of its container."""
    x_scale, y_scale, body = draw(chart)
    axes = {
        "x": [x_scale.low, x_scale.high],
        "y": [y_scale.low, y_scale.high],
        "height": chart.height,
        "time": chart.time,
        "log": chart.log,
    }
    return Markup(
        '<div class="chart" data-axes="{}"><svg class="plot" role="img" height="{}">'
        "<title>{}</title><desc>{}</desc>{}</svg></div>"
    ).format(json.dumps(axes), _full_height(chart), chart.title, chart.description, body)


def standalone(charts: Sequence[Chart], width: int = 920) -> str:
    """Draw charts one below the other as one SVG file that needs nothing else, dark where the viewer is dark."""
    style = Markup(STYLE.read_text(encoding="utf-8"))  # noqa: S704 - our own style sheet
    left, right, head = 64, 24, 56
    top = 8
    parts = []
    for chart in charts:
        _, _, body = draw(chart)
        parts.append(
            Markup(
                '<text class="heading" x="16" y="{}">{}</text>{}'
                '<svg x="{}" y="{}" width="{}" height="{}" overflow="visible"><desc>{}</desc>{}</svg>'
            ).format(
                top + 20,
                chart.title,
                _legend(chart.lines, width - right, top + 20),
                left,
                top + head,
                width - left - right,
                chart.height,
                chart.description,
                body,
            )
        )
        top += head + _full_height(chart)
    return str(
        Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" role="img" class="plot" width="{0}" height="{1}" '
            'viewBox="0 0 {0} {1}"><title>{2}</title><style>{3}</style><rect class="paper" width="100%" height="100%"/>'
            "{4}</svg>\n"
        ).format(width, top, "; ".join(chart.title for chart in charts), style, Markup("").join(parts))
    )


def bar_chart(
    title: str, description: str, labels: Sequence[str], values: Floats, *, y_label: str = "", x_label: str = ""
) -> Markup:
    """Draw one vertical bar per value, from zero; at most some forty stay legible."""
    height = 180
    top = float(np.nanmax(values, initial=0.0)) or 1.0
    y_scale = Scale(0.0, top * 1.12, height, inverted=True)
    slot = 100 / len(values)
    every = math.ceil(len(values) / 10)
    parts = [y_axis(linear_ticks(0.0, y_scale.high, 4), y_scale, y_label)]
    for index, (label, value) in enumerate(zip(labels, values, strict=True)):
        middle = (index + 0.5) * slot
        if math.isfinite(value):
            y = y_scale.at(float(value))
            parts.append(
                Markup(
                    '<rect class="model fill" x="{:.2f}%" y="{:.1f}" width="{:.2f}%" height="{:.1f}" rx="2"/>'
                ).format(middle - 0.36 * slot, y, 0.72 * slot, height - y)
            )
        if index % every == 0:
            parts.append(Markup('<text x="{:.2f}%" y="{}" class="mid">{}</text>').format(middle, height + 18, label))
    parts.append(x_title(x_label, height + 36))
    return Markup(
        '<div class="chart"><svg class="plot" role="img" height="{}"><title>{}</title><desc>{}</desc>{}</svg></div>'
    ).format(height + (42 if x_label else 26), title, description, Markup("").join(parts))


def cell_bar(parts: Sequence[Bar], label: str) -> Markup:
    """Draw the parts of one small bar for a table cell; ``label`` is read out in its place."""
    rects = Markup("").join(
        Markup('<rect class="fill {}" x="{:.2f}%" width="{:.2f}%" height="100%" rx="2"/>').format(
            part.style, 100 * part.start, 100 * part.width
        )
        for part in parts
    )
    return Markup('<svg class="cell-bar" role="img" aria-label="{}">{}</svg>').format(label, rects)


def _legend(lines: Sequence[Line], right: int, y: int) -> Markup:
    """Name the lines in one row that ends at ``right``."""
    parts = []
    for line in reversed(lines):
        right -= 7 * len(line.name) + 34
        parts.append(
            Markup('<path class="line {}" d="M{} {}h22"/><text x="{}" y="{}">{}</text>').format(
                line.style, right, y - 4, right + 28, y, line.name
            )
        )
    return Markup("").join(reversed(parts))


def _full_height(chart: Chart) -> int:
    return chart.height + lanes_height(chart) + (38 if chart.time or chart.x_label else 24)
