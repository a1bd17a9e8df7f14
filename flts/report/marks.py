"""Contents of a chart; `flts.report.charts` writes them as JSON for the page's script, which draws them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from flts.timeseries.arrays import Flags, Floats, Indices


@dataclass(frozen=True)
class Line:
    """A series (n,) over ascending positions; ``style`` names its colour, then ``thin`` or ``under``.

    With ``top`` (n,), NaN where ``y`` is, it is the area between the two.
    """

    name: str
    x: Indices
    y: Floats
    style: str
    breaks: Indices = field(default_factory=lambda: np.zeros(0, np.int64))
    top: Floats | None = None


@dataclass(frozen=True)
class Dots:
    """Rows of a line that are marked with a ring."""

    name: str
    x: Indices
    y: Floats
    style: str


@dataclass(frozen=True)
class Band:
    """A shaded, labelled span of the x axis."""

    start: int
    stop: int
    label: str
    style: str


@dataclass(frozen=True)
class VerticalLine:
    """A labelled vertical line."""

    x: int
    label: str


@dataclass(frozen=True)
class Lane:
    """A strip under the plot that marks flagged rows, darker where a larger share is flagged."""

    label: str
    x: Indices
    flags: Flags
    style: str


@dataclass(frozen=True)
class Chart:
    """A chart's content. At least one line must hold a value.

    A position ``x`` means ``x_low + x * x_unit``; with ``time``, microseconds since 1970.
    """

    title: str
    description: str
    lines: Sequence[Line]
    dots: Sequence[Dots] = ()
    bands: Sequence[Band] = ()
    rules: Sequence[VerticalLine] = ()
    lanes: Sequence[Lane] = ()
    time: bool = False
    log: bool = False
    zero: bool = False
    height: int = 220
    y_label: str = ""
    x_label: str = ""
    x_low: float = 0
    x_unit: float = 1
