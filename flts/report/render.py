"""Shared parts of all pages: the template environment, figures, score tables and the glossary."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from flts.observability.redaction import redact
from flts.report import numbers
from flts.report.charts import Bar, cell_bar, line_chart, points_per_line
from flts.report.marks import Chart, Line
from flts.timeseries.arrays import Floats
from flts.timeseries.baseline import Baseline
from flts.timeseries.metrics import Scores

BASELINES: Mapping[str, str] = {
    Baseline.PERSISTENCE: "Persistence",
    Baseline.SEASONAL_NAIVE: "Seasonal naive",
    Baseline.EXPONENTIAL_SMOOTHING: "Exponential smoothing",
    Baseline.LINEAR: "Linear (ridge)",
    "plain": "Plain Prophet",
}

GLOSSARY: Mapping[str, str] = {
    "Persistence": "The forecast without a model: the next value is the last measured one.",
    "Seasonal naive": "The next value is the one measured a day earlier; persistence where there is none.",
    "Exponential smoothing": "The next value is an average of the last ones, in which older ones weigh less; how much "
    "less, the fit part decides. A model that loses to it is not worth its cost.",
    "Linear (ridge)": "A linear model on the same windows, solved in closed form. A deep model must beat it to be "
    "worth its cost.",
    "Plain Prophet": "Prophet without the correction by recent rows: it sees the calendar, not the last values.",
    "Min-max units": "Errors divided by the target's range (highest minus lowest value) on the fit part, so that "
    "targets and datasets can be compared.",
    "RMSE, MAE, MSE": "Root of the mean squared error, mean absolute error, mean squared error. Lower is better; RMSE "
    "and MSE punish large errors more.",
    "MASE, sMAPE, NRMSE": "Errors without a unit. MASE: the mean absolute error, divided by that of persistence on the "
    "fit part. sMAPE: each absolute error as a share of the mean of forecast and measured value, from 0 to 2. NRMSE: "
    "RMSE divided by the mean of the absolute measured values.",
    "Composite score": "Weighted sum of RMSE, MAE and MSE in min-max units; eval promotes the model with the lowest.",
    "Rolling and recursive": "A rolling step is forecast from measured values. A recursive step comes after the "
    "last of them and is forecast from the forecasts before it, so errors add up.",
    "Interval": "The range in which a measured value is expected. Its width comes from the model's errors on rows that "
    "it had not learned from, and follows recent errors and the volatility of recent rows.",
    "Quantile": "The value that a measured value does not exceed with this probability: 0.95 with 95 per cent. Made as "
    "intervals are, from errors below and above the forecast apart.",
    "WQL": "Weighted quantile loss: twice the pinball losses of a quantile, divided by the sum of the measured values' "
    "sizes; the mean over the quantiles. Lower is better.",
    "Backtest": "Every row of the test data forecast one step ahead from the measured rows before it, by a model that "
    "saw none of them in training.",
}


@dataclass(frozen=True)
class Fact:
    """A headline number."""

    name: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class LegendEntry:
    """A legend entry; ``kind`` is line, lane or ring."""

    name: str
    style: str
    kind: str


@dataclass(frozen=True)
class Figure:
    """A chart with its heading, legend and caption."""

    title: str
    chart: Chart
    legend: Sequence[LegendEntry] = ()
    caption: str = ""


@dataclass(frozen=True)
class ScoreRow:
    """A forecast's line in a score table; ``change`` is its RMSE against persistence, as a share."""

    label: str
    values: Sequence[float]
    bar: Markup
    change: float
    best: bool
    chosen: bool


@dataclass(frozen=True)
class ScoreTable:
    """Scores of several forecasts, one row each."""

    caption: str
    columns: Sequence[str]
    bar_title: str
    rows: Sequence[ScoreRow]


def render(template: str, figures: Sequence[Figure] = (), **values: Any) -> str:
    """Render a page with ``figures``, which share its size limit; every value is escaped unless it is ``Markup``."""
    defaults = {"lead": "", "facts": (), "notes": (), "identity": ()}
    points = points_per_line(item.chart for item in figures)
    return _environment().get_template(template).render(defaults | values, figures=figures, points=points)


def _finalize(value: object) -> object:
    """Hide secrets in a value of a page; markup is of this package."""
    return redact(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("flts.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": numbers.number,
        "signed_percent": numbers.signed_percent,
        "sentence": numbers.sentence,
        "draw": line_chart,
    }
    environment.globals |= {"glossary": GLOSSARY, "uplot": _uplot}
    return environment


def _uplot(name: str) -> Markup:
    return Markup(asset(name))  # noqa: S704 - a file of an installed package


def asset(name: str) -> str:
    """Return a script or style sheet of the pages by its file's name; those of uPlot begin with its name.

    The Python package around uPlot is not imported, because that would need further packages.
    """
    if not name.startswith("uPlot"):
        return Path(__file__).with_name("templates").joinpath(name).read_text(encoding="utf-8")
    spec = find_spec("uplot")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("charts need the package uplot-python: pip install flts[numeric]")
    return Path(spec.submodule_search_locations[0], "static", name).read_text(encoding="utf-8")


def figure(chart: Chart, caption: str = "", title: str | None = None) -> Figure:
    """Put a chart under a heading, with a legend that names every line and kind of ring, once."""
    entries = [
        *(LegendEntry(line.name, line.style, "line") for line in chart.lines),
        *(LegendEntry(dots.name, dots.style, "ring") for dots in chart.dots),
    ]
    named = {entry.name: entry for entry in entries}
    legend = tuple(named.values()) if len(named) > 1 else ()
    return Figure(chart.title if title is None else title, chart, legend, caption)


def drawable(*series: Floats) -> bool:
    """Return whether there is any value to draw."""
    # The first rows nearly always suffice; searching millions of rows costs more than drawing them.
    return any(bool(np.isfinite(part).any()) for values in series for part in (values[:100], values[100:]))


def finite(values: Floats) -> Floats:
    """Return values with infinities as NaN: a diverged forecast is drawn as missing; its score shows it."""
    return values if np.isfinite(values).all() else np.where(np.isfinite(values), values, np.nan)


def change(value: float, reference: float) -> float:
    """Return ``value / reference - 1``; NaN where it is undefined."""
    if not (math.isfinite(value) and math.isfinite(reference)) or reference <= 0:
        return math.nan
    return value / reference - 1


def compare_with_persistence(name: str, share: float) -> str:
    """Say in words how an RMSE that differs by ``share`` compares with persistence's."""
    if math.isnan(share):
        return f"{name} could not be compared with persistence"
    size = numbers.percent(abs(share))
    if abs(share) < 0.0005:
        return f"{name} equals persistence in RMSE"
    return f"{name} {'beats' if share < 0 else 'loses to'} persistence by {size} RMSE"


def index_of_lowest(values: Sequence[float]) -> int | None:
    """Return the index of the lowest finite value; the first of equal ones."""
    known = [index for index, value in enumerate(values) if math.isfinite(value)]
    return min(known, key=lambda index: values[index]) if known else None


def score_table(
    scores: Mapping[str, Scores],
    model: str,
    caption: str,
    *,
    composite: bool = False,
    unitless: bool = False,
    labels: Mapping[str, str] = BASELINES,
) -> ScoreTable:
    """Build the table of a model and its baselines, bars by RMSE, best RMSE marked.

    ``unitless`` adds those of MASE, sMAPE and NRMSE that are known.
    """
    columns = {"RMSE": "rmse", "MAE": "mae", "MSE": "mse"}
    columns |= {"Composite": "composite"} if composite else {}
    without_unit = {"MASE": "mase", "sMAPE": "smape", "NRMSE": "nrmse"} if unitless else {}
    columns |= {
        title: name
        for title, name in without_unit.items()
        if any(math.isfinite(getattr(entry, name)) for entry in scores.values())
    }
    rmse = [entry.rmse for entry in scores.values()]
    best = index_of_lowest(rmse)
    largest = max((value for value in rmse if math.isfinite(value)), default=0.0) or 1.0
    reference = scores["persistence"].rmse if "persistence" in scores else math.nan
    rows = [
        ScoreRow(
            label=labels.get(name, name),
            values=[getattr(entry, score) for score in columns.values()],
            bar=rmse_bar(entry.rmse, largest, "model" if name == model else "muted"),
            change=math.nan if name == "persistence" else change(entry.rmse, reference),
            best=index == best,
            chosen=name == model,
        )
        for index, (name, entry) in enumerate(scores.items())
    ]
    return ScoreTable(caption, list(columns), "RMSE (bar)", rows)


def rmse_bar(value: float, largest: float, style: str) -> Markup:
    """Draw an RMSE as a bar of which ``largest`` fills the cell."""
    width = value / largest if math.isfinite(value) else 0.0
    return cell_bar([Bar(0.0, width, style)], f"RMSE {numbers.number(value)}")


def error_distribution(errors: Mapping[str, tuple[Floats, str]], title: str) -> Figure | None:
    """Draw the distribution of forecast errors: a line per name, over common bins.

    Args:
        errors: For each name its errors, NaN where unknown, and the style of its line.
        title: The chart's title.

    Returns:
        The figure, or ``None`` with fewer than 20 errors. The outer bins hold everything beyond them.
    """
    known = {name: (values[np.isfinite(values)], style) for name, (values, style) in errors.items()}
    everything = np.abs(np.concatenate([values for values, _ in known.values()]))
    limit = float(np.quantile(everything, 0.98)) if everything.size else 0.0
    if everything.size < 20 * len(known) or limit == 0:
        return None
    edges = np.linspace(-limit, limit, 42)
    bins = np.arange(len(edges) - 1)
    lines = []
    for name, (values, style) in known.items():
        counts, _ = np.histogram(np.clip(values, -limit, limit), edges)
        shares = 100 * counts / max(1, len(values))
        lines.append(Line(name, bins, shares, style))
    chart = Chart(
        title,
        "Distribution of forecast errors; narrower and higher around zero is better.",
        lines,
        zero=True,
        y_label="% of rows",
        x_label="forecast minus actual",
        x_low=float(edges[0] + edges[1]) / 2,
        x_unit=float(edges[1] - edges[0]),
    )
    return figure(chart, "Narrower around zero is better. The outermost bins hold all larger errors.")


def flatten(values: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Flatten nested settings to names and texts, in their order."""
    items: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            items += flatten(value, f"{prefix}{name}.")
        else:
            items.append((f"{prefix}{name}", _text(value)))
    return items


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == "":
        return numbers.UNKNOWN
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value) or numbers.UNKNOWN
    return f"{value:g}" if isinstance(value, float) else str(value)
