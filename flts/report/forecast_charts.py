"""Charts of forecasts beside what was measured, shared by the training and the forecast page."""

from flts.report.marks import Chart, Line
from flts.report.numbers import fixed
from flts.report.render import Figure, drawable, figure, finite
from flts.report.sampling import gap_breaks, microseconds
from flts.timeseries.arrays import Floats, Indices, Times

EXCERPT = 200


def comparison_chart(
    target: str, time: Times, actual: Floats, predicted: Floats, persistence: Floats | None, model: str, title: str
) -> Chart | None:
    """Describe predicted beside actual values (n,), and persistence's where given; ``None`` with nothing to draw."""
    x = microseconds(time)
    breaks = gap_breaks(x)
    lines = [Line("actual", x, finite(actual), "actual under", breaks)]
    if persistence is not None:
        lines.append(Line("persistence", x, finite(persistence), "persistence thin", breaks))
    lines.append(Line(f"{model} forecast", x, finite(predicted), "model thin", breaks))
    if not drawable(*(line.y for line in lines)):
        return None
    return Chart(
        title=title,
        description=f"{target}: measured values beside one-step forecasts of {model}"
        f"{' and persistence' if persistence is not None else ''}, in original units.",
        lines=lines,
        time=True,
        height=260,
    )


def excerpt_chart(
    target: str, time: Times, actual: Floats, predicted: Floats, persistence: Floats, model: str
) -> Chart | None:
    """Describe the last rows of a longer comparison, few enough to tell the lines apart."""
    rows = slice(max(0, len(time) - EXCERPT), None)
    shown = len(time[rows])
    which = f"last {fixed(shown, 0)} scored rows" if shown < len(time) else "every scored row"
    return comparison_chart(
        target, time[rows], actual[rows], predicted[rows], persistence[rows], model, f"{target}: {which}"
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
