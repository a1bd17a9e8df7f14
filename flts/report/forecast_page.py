"""Report of inference: the forecast, and the model's backtest on the whole test data."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flts.boundary.quantiles import quantile_text
from flts.report.data import ForecastReport
from flts.report.forecast_charts import (
    EXCERPT,
    comparison_chart,
    excerpt_chart,
    horizon_skill,
    interval_line,
    step_errors,
)
from flts.report.leaderboard import leaderboard_table
from flts.report.marks import Band, Chart, Dots, Line
from flts.report.numbers import fixed, moment, number, percent, plural, signed_percent
from flts.report.render import (
    Fact,
    Figure,
    change,
    compare_with_persistence,
    drawable,
    error_distribution,
    figure,
    finite,
    render,
    score_table,
)
from flts.report.sampling import gap_breaks, microseconds
from flts.timeseries.metrics import HorizonScores, score

TARGETS_CHARTED = 6
ROWS_LISTED = 200
LEADERBOARDS = {
    "test": "The test data: errors in original units, composite score in min-max units.",
    "selection": "The selection part: errors and composite score in min-max units.",
}
HORIZONS_LISTED = (1, 2, 3, 6, 12, 24, 48)


@dataclass(frozen=True)
class _Step:
    step: int
    time: str
    kind: str
    target: str
    predicted: float
    lower: float
    upper: float
    actual: float
    error: float


def forecast_page(report: ForecastReport) -> str:
    """Render the report of inference."""
    share = _share(report)
    steps = plural(len(report.time), "step")
    rows = _rows(report)
    total = len(report.time) * len(report.targets)
    forecasts = [
        drawing for index in range(min(TARGETS_CHARTED, len(report.targets))) if (drawing := _forecast(report, index))
    ]
    errors = step_errors(
        np.array([step for step, _ in report.step_mae], dtype=np.int64),
        np.array([error for _, error in report.step_mae], dtype=np.float64),
        "step of the forecast",
    )
    backtests = _backtests(report)
    skill = horizon_skill(report.backtest_horizons)
    return render(
        "forecast.html",
        title=f"{steps} ahead with {report.model_type}.",
        eyebrow="Forecast report",
        lead=compare_with_persistence("The model", share) + " in the backtest over the whole test data"
        if report.backtest_scores
        else "",
        facts=_facts(report, share),
        notes=report.notes,
        explanation=_explanation(report),
        figures=[*forecasts, *([errors] if errors else []), *backtests, *([skill] if skill else [])],
        forecasts=forecasts,
        steps=errors,
        backtest_scores=score_table(
            report.backtest_scores,
            next(iter(report.backtest_scores)),
            f"{plural(len(report.backtest_time), 'row')}, original units; lower is better.",
            unitless=True,
        )
        if report.backtest_scores
        else None,
        backtests=backtests,
        quantile_shares=[
            (quantile_text(level), percent(share)) for level, share in report.backtest_quantile_coverage.items()
        ],
        leaderboards=[
            table
            for part, caption in LEADERBOARDS.items()
            if (table := leaderboard_table(report.leaderboard, part, report.run_id, caption))
        ],
        horizons=_horizons(report.backtest_horizons),
        horizon_skill=skill,
        rows=rows,
        rows_total=fixed(total, 0),
        rows_left_out=total > len(rows),
        intervals=report.lower is not None,
        several=len(report.targets) > 1,
        words=[
            "Backtest",
            *(["Interval"] if report.lower is not None else []),
            *(["Quantile", "WQL"] if report.quantiles else []),
            "Rolling and recursive",
            *("Persistence", "Seasonal naive", "Exponential smoothing", "Linear (ridge)"),
            *("RMSE, MAE, MSE", "MASE, sMAPE, NRMSE", "Composite score"),
        ],
        identity=[
            (name, text)
            for name, text in (
                ("run", report.identifier),
                ("MLflow run", report.run_id),
                ("config_hash", report.config_hash),
            )
            if text
        ],
    )


def _share(report: ForecastReport) -> float:
    scores = report.backtest_scores
    if not scores or "persistence" not in scores:
        return math.nan
    return change(next(iter(scores.values())).rmse, scores["persistence"].rmse)


def _facts(report: ForecastReport, share: float) -> list[Fact]:
    recursive = int(np.count_nonzero(report.recursive))
    rolling = len(report.time) - recursive
    scored = ~report.after_gap
    known = score(report.actual[scored], report.predicted[scored])
    facts = [
        Fact("Steps", fixed(len(report.time), 0), f"{fixed(rolling, 0)} rolling, {fixed(recursive, 0)} recursive"),
        Fact("MAE of these steps", number(known.mae), "original units, where scored"),
        Fact("Backtest against persistence", signed_percent(share), "RMSE; below zero is better"),
    ]
    if report.backtest_scores:
        model = next(iter(report.backtest_scores.values()))
        facts.append(Fact("Backtest RMSE", number(model.rmse), "original units"))
    if math.isfinite(report.backtest_coverage):
        facts.append(
            Fact(
                f"Inside {_interval(report)}s",
                percent(report.backtest_coverage),
                "of the measured values in the backtest",
            )
        )
    if math.isfinite(report.backtest_wql):
        facts.append(Fact("Weighted quantile loss", number(report.backtest_wql), "in the backtest; lower is better"))
    facts.append(Fact("Rows in the backtest", fixed(len(report.backtest_time), 0)))
    return facts


def _interval(report: ForecastReport) -> str:
    return f"{100 * report.interval_level:g}\u202f% interval"


def _explanation(report: ForecastReport) -> str:
    parts = []
    if not report.recursive.all():
        parts.append("Rolling steps (solid) are forecast from measured values.")
    if report.recursive.any():
        parts.append(
            "Recursive steps (dashed, shaded) follow the last measured value and build on the forecasts before them."
        )
    if report.lower is not None:
        expected = f"{100 * report.interval_level:g} of 100"
        parts.append(f"The {_interval(report)}s are made so that {expected} measured values fall inside.")
    if len(report.quantiles) > 1:
        parts.append("The shaded areas lie between the quantiles that were asked for.")
    if report.after_gap.any():
        parts.append("Ringed steps follow a gap in time: their window is not complete, and they are not scored.")
    return " ".join(parts)


def _forecast(report: ForecastReport, index: int) -> Figure | None:
    """Draw one target's forecast, after some measured values that lead up to it."""
    x = microseconds(report.time)
    predicted, recursive = finite(report.predicted[:, index]), report.recursive
    before = np.flatnonzero(report.backtest_time < report.time[0])[-max(30, min(len(x), 200)) :]
    measured_x = np.concatenate([microseconds(report.backtest_time)[before], x])
    measured = np.concatenate([report.backtest_actual[before, index], report.actual[:, index]])
    breaks = gap_breaks(measured_x)
    lines = [Line("measured", measured_x, finite(measured), "actual under", breaks)]
    lines = [*_areas(report, index), *lines]
    if not recursive.all():
        lines.append(Line("rolling forecast", x, np.where(recursive, np.nan, predicted), "model", breaks))
    if recursive.any():
        # The dashed line begins at the last rolling step, so that the forecast reads as one.
        reached = recursive | np.append(recursive[1:], False)
        lines.append(Line("recursive forecast", x, np.where(reached, predicted, np.nan), "recursive", breaks))
    if not drawable(*(line.y for line in lines)):
        return None
    dots = []
    if report.after_gap.any():
        shown = np.flatnonzero(report.after_gap)[:EXCERPT]
        dots.append(Dots("after a gap", x[shown], predicted[shown], "filled"))
    first = np.flatnonzero(recursive)
    band = [Band(int(x[max(0, first[0] - 1)]), int(x[-1]), "recursive", "selection")] if len(first) else []
    return figure(
        Chart(
            title=report.targets[index],
            description=f"Forecast of {report.targets[index]} and measured values, in original units; "
            f"{fixed(len(first), 0)} of {plural(len(x), 'step')} recursive.",
            lines=lines,
            dots=dots,
            bands=band,
            time=True,
            height=280,
        )
    )


def _areas(report: ForecastReport, index: int) -> list[Line]:
    """Describe the areas between quantiles that lie opposite each other, the outer ones first; else the interval."""
    levels = list(report.quantiles)
    pairs = list(zip(levels, reversed(levels), strict=True))[: len(levels) // 2]
    areas = [
        (f"{quantile_text(low)} to {quantile_text(high)}", report.quantiles[low], report.quantiles[high])
        for low, high in pairs
    ]
    if not areas and report.lower is not None and report.upper is not None:
        areas = [(_interval(report), report.lower, report.upper)]
    return [
        line for name, low, high in areas for line in interval_line(name, report.time, low[:, index], high[:, index])
    ]


def _backtests(report: ForecastReport) -> list[Figure]:
    figures: list[Figure | None] = []
    for index, target in enumerate(report.targets[:TARGETS_CHARTED]):
        actual, predicted, persistence = (
            values[:, index]
            for values in (report.backtest_actual, report.backtest_predicted, report.backtest_persistence)
        )
        time, model = report.backtest_time, report.model_type
        bounds = (_interval(report), report.backtest_lower[:, index], report.backtest_upper[:, index])
        whole = (
            comparison_chart(target, time, actual, predicted, None, model, f"{target}: the whole test data")
            if len(time) > EXCERPT
            else None
        )
        charts = (whole, excerpt_chart(target, time, actual, predicted, persistence, model, bounds))
        figures += [figure(chart) for chart in charts if chart]
        figures.append(
            error_distribution(
                {
                    "persistence": (persistence - actual, "persistence"),
                    f"{model} forecast": (predicted - actual, "model"),
                },
                f"{target}: forecast errors",
            )
        )
    return [drawing for drawing in figures if drawing]


def _horizons(scores: Sequence[HorizonScores]) -> Sequence[HorizonScores]:
    """Return the scores to list: all, or those of some horizons where there are many."""
    if len(scores) <= len(HORIZONS_LISTED):
        return scores
    return [entry for entry in scores if entry.horizon in HORIZONS_LISTED]


def _rows(report: ForecastReport) -> list[_Step]:
    rows = []
    for step in range(min(len(report.time), max(1, ROWS_LISTED // max(1, len(report.targets))))):
        kind = "recursive" if report.recursive[step] else "rolling"
        for index, target in enumerate(report.targets):
            predicted, actual = float(report.predicted[step, index]), float(report.actual[step, index])
            lower, upper = (
                math.nan if bound is None else float(bound[step, index]) for bound in (report.lower, report.upper)
            )
            rows.append(
                _Step(
                    step=step + 1,
                    time=moment(report.time[step]),
                    kind=f"{kind}, after a gap" if report.after_gap[step] else kind,
                    target=target,
                    predicted=predicted,
                    lower=lower,
                    upper=upper,
                    actual=actual,
                    error=abs(predicted - actual),
                )
            )
    return rows
