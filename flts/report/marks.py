"""What a chart shows; `flts.report.plot` draws it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from flts.report.sampling import Floats

Positions = NDArray[np.int64] | Floats


@dataclass(frozen=True)
class Line:
    """A series (n,) over ascending positions; ``style`` is the CSS class that colours it."""

    name: str
    x: Positions
    y: Floats
    style: str
    breaks: Positions = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True)
class Dots:
    """Single points worth marking; hollow ones show the line beneath."""

    name: str
    x: Positions
    y: Floats
    style: str
    hollow: bool = False


@dataclass(frozen=True)
class Band:
    """A shaded, labelled span of the x axis."""

    start: float
    stop: float
    label: str
    style: str


@dataclass(frozen=True)
class Rule:
    """A labelled vertical line."""

    x: float
    label: str


@dataclass(frozen=True)
class Lane:
    """A strip under the plot that shows where flagged rows are, darker where a larger share is flagged."""

    label: str
    x: Positions
    flags: NDArray[np.bool_]
    style: str


@dataclass(frozen=True)
class Chart:
    """A chart's content; ``time``: x is microseconds since 1970. At least one line must hold a value."""

    title: str
    description: str
    lines: Sequence[Line]
    dots: Sequence[Dots] = ()
    bands: Sequence[Band] = ()
    rules: Sequence[Rule] = ()
    lanes: Sequence[Lane] = ()
    time: bool = False
    log: bool = False
    zero: bool = False
    height: int = 220
    buckets: int = 600
    y_label: str = ""
    x_label: str = ""
