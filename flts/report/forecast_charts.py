"""Charts of forecasts and measured values, shared by the training and the forecast page."""

from collections.abc import Sequence

import numpy as np

from flts.report.marks import Band, Chart, Line
from flts.report.numbers import fixed
from flts.report.render import Figure, drawable, figure, finite
from flts.report.sampling import gap_breaks, microseconds
from flts.timeseries.arrays import Floats, Indices, Times
from flts.timeseries.metrics import HorizonScores

EXCERPT = 200


def interval_line(name: str, time: Times, lower: Floats, upper: Floats) -> list[Line]:
    """Describe the area between the bounds (n,) of intervals; nothing where the model has none."""
    x, known = microseconds(time), np.isfinite(lower) & np.isfinite(upper)
    if not known.any():
        return []
    bounds = (np.where(known, each, np.nan) for each in (finite(lower), finite(upper)))
    return [Line(name, x, next(bounds), "interval", gap_breaks(x), next(bounds))]


def comparison_chart(
    target: str,
    time: Times,
    actual: Floats,
    predicted: Floats,
    persistence: Floats | None,
    model: str,
    title: str,
    interval: Sequence[Line] = (),
) -> Chart | None:
    """Describe predicted and actual values (n,), and persistence's where given; ``None`` with nothing to draw.

    ``interval`` comes from ``interval_line``, and is drawn under them.
    """
    x = microseconds(time)
    breaks = gap_breaks(x)
    lines = [*interval, Line("actual", x, finite(actual), "actual under", breaks)]
    if persistence is not None:
        lines.append(Line("persistence", x, finite(persistence), "persistence thin", breaks))
    lines.append(Line(f"{model} forecast", x, finite(predicted), "model thin", breaks))
    if not drawable(*(line.y for line in lines)):
        return None
    return Chart(
        title=title,
        description=f"{target}: measured values and one-step forecasts of {model}"
        f"{' and persistence' if persistence is not None else ''}, in original units.",
        lines=lines,
        time=True,
        height=260,
    )


def excerpt_chart(
    target: str,
    time: Times,
    actual: Floats,
    predicted: Floats,
    persistence: Floats,
    model: str,
    bounds: tuple[str, Floats, Floats] | None = None,
) -> Chart | None:
    """Describe the last rows of a longer comparison, few enough to tell the lines apart.

    ``bounds`` are the name of the intervals, and their lower and upper bounds (n,).
    """
    rows = slice(max(0, len(time) - EXCERPT), None)
    shown = len(time[rows])
    which = f"last {fixed(shown, 0)} scored rows" if shown < len(time) else "every scored row"
    interval = interval_line(bounds[0], time[rows], bounds[1][rows], bounds[2][rows]) if bounds else ()
    return comparison_chart(
        target, time[rows], actual[rows], predicted[rows], persistence[rows], model, f"{target}: {which}", interval
    )


def horizon_skill(scores: Sequence[HorizonScores]) -> Figure | None:
    """Draw the skill over both naive forecasts by horizon, recursive ones shaded; ``None`` with fewer than two."""
    horizons = np.array([entry.horizon for entry in scores], dtype=np.int64)
    skills = {
        "over persistence": ([entry.skill_over_persistence for entry in scores], "model"),
        "over seasonal naive": ([entry.skill_over_seasonal_naive for entry in scores], "seasonal"),
    }
    lines = [
        Line(name, horizons, finite(100 * np.array(values, dtype=np.float64)), style)
        for name, (values, style) in skills.items()
    ]
    if len(scores) < 2 or not drawable(*(line.y for line in lines)):
        return None
    recursive = [entry.horizon for entry in scores if entry.recursive]
    return figure(
        Chart(
            "Skill by horizon",
            "How much lower the model's RMSE is than that of persistence and of seasonal naive, by steps ahead, in "
            "per cent; above zero is better.",
            lines,
            bands=[Band(recursive[0], scores[-1].horizon, "recursive", "selection")] if recursive else [],
            zero=True,
            y_label="skill, %",
            x_label="steps ahead",
        )
    )


def step_errors(steps: Indices, errors: Floats, x_label: str) -> Figure | None:
    """Draw the mean absolute error by step (k,) of the horizon or the forecast; ``None`` with fewer than two."""
    if len(steps) < 2 or not drawable(errors):
        return None
    return figure(
        Chart(
            f"Error by {x_label}",
            f"Mean absolute error by {x_label}, in original units.",
            [Line("MAE", steps, finite(errors), "model")],
            zero=True,
            y_label="MAE",
            x_label=x_label,
            height=180,
        )
    )
