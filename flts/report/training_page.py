"""Report of a trainer: its scores compared with the baselines, its losses and its forecasts."""

import math

import numpy as np

from flts.report.data import TrainingReport
from flts.report.forecast_charts import excerpt_chart, step_errors
from flts.report.marks import Chart, Line, VerticalLine
from flts.report.numbers import fixed, moment, number, plural, signed_percent
from flts.report.render import (
    BASELINES,
    Fact,
    Figure,
    change,
    compare_with_persistence,
    drawable,
    error_distribution,
    figure,
    finite,
    flatten,
    render,
    score_table,
)

TARGETS_CHARTED = 6


def training_page(report: TrainingReport) -> str:
    """Render the report of a trainer."""
    model = report.model_type
    labels = _labels(report)
    losses = _loss_figure(report)
    forecasts = _forecast_figures(report)
    errors = [drawing for index in range(min(2, len(report.targets))) if (drawing := _errors(report, index))]
    steps = step_errors(
        np.arange(1, len(report.step_mae) + 1), np.array(report.step_mae, dtype=np.float64), "horizon step"
    )
    return render(
        "training.html",
        figures=[item for item in (losses, *forecasts, *errors, steps) if item],
        title=compare_with_persistence(model, _share(report)) + ".",
        eyebrow=f"Training report \u00b7 {model}",
        lead=_lead(report),
        facts=_facts(report),
        notes=[*report.notes, *_model_notes(report)],
        scores=score_table(
            report.scores,
            next(iter(report.scores), ""),
            "One step ahead on the selection part, in min-max units of the fit part; lower is better.",
            composite=True,
            labels=labels,
        ),
        original_scores=score_table(
            report.original_scores,
            next(iter(report.original_scores), ""),
            "The same errors in original units, and errors without a unit.",
            unitless=True,
            labels=labels,
        ),
        losses=losses,
        learning=_learning(report),
        forecasts=forecasts,
        errors=errors,
        steps=steps,
        parameters=flatten(report.parameters),
        words=_words(report),
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


def training_plots(report: TrainingReport) -> dict[str, str]:
    """Draw the plots of the MLflow run: file name to HTML page; a plot with nothing to show is left out."""
    loss = _loss_figure(report)
    plots = {"loss.html": [loss] if loss else [], "forecast.html": _forecast_figures(report)}
    return {
        name: render(
            "charts.html", figures, title=figures[0].chart.title, eyebrow=f"Training \u00b7 {report.model_type}"
        )
        for name, figures in plots.items()
        if figures
    }


def _share(report: TrainingReport) -> float:
    scores = report.scores
    if not scores or "persistence" not in scores:
        return math.nan
    return change(next(iter(scores.values())).rmse, scores["persistence"].rmse)


def _lead(report: TrainingReport) -> str:
    if not len(report.time):
        return ""
    rows = plural(len(report.time), "row")
    targets = ", ".join(report.targets)
    return (
        f"One step ahead for {targets}, on {rows} of the selection part "
        f"({moment(report.time[0])} to {moment(report.time[-1])}); no model saw them in training."
    )


def _labels(report: TrainingReport) -> dict[str, str]:
    labels = dict(BASELINES)
    if "plain" in report.scores:
        labels |= dict.fromkeys(list(report.scores)[:1], f"{report.model_type} with residual correction")
    return labels


def _facts(report: TrainingReport) -> list[Fact]:
    facts = []
    if report.scores:
        scores = next(iter(report.scores.values()))
        facts += [
            Fact("RMSE", number(scores.rmse), "min-max units"),
            Fact("Against persistence", signed_percent(_share(report)), "RMSE; below zero is better"),
            Fact("Composite score", number(scores.composite), "what eval compares"),
        ]
    if report.original_scores:
        facts.append(Fact("MAE", number(next(iter(report.original_scores.values())).mae), "original units"))
    facts.append(Fact("Rows scored", fixed(len(report.time), 0), plural(len(report.targets), "target")))
    if report.validation_loss:
        detail = "stopped early" if report.stopped_early else "of all epochs run"
        facts.append(Fact("Best epoch", f"{report.best_epoch} of {len(report.validation_loss)}", detail))
    return facts


def _model_notes(report: TrainingReport) -> list[str]:
    notes = [report.remark] if report.remark else []
    if "plain" in report.scores:
        corrected, plain = next(iter(report.scores.values())).rmse, report.scores["plain"].rmse
        notes.append(
            f"The residual correction takes the RMSE from {number(plain)} (plain Prophet) to {number(corrected)}, "
            f"{signed_percent(change(corrected, plain))}."
        )
    return notes


def _loss_figure(report: TrainingReport) -> Figure | None:
    train, validation = (
        finite(np.array(values, dtype=np.float64)) for values in (report.train_loss, report.validation_loss)
    )
    if not drawable(train, validation):
        return None
    known = np.concatenate([train, validation])
    known = known[~np.isnan(known)]
    log = bool(known.min() > 0 and known.max() > 10 * known.min())
    chart = Chart(
        title=f"{report.model_type} loss by epoch",
        description="Training and validation loss of every epoch.",
        lines=[
            Line(name, np.arange(1, len(values) + 1), values, style)
            for name, values, style in (("training", train, "muted"), ("validation", validation, "model"))
            if len(values)
        ],
        rules=[VerticalLine(report.best_epoch, f"best epoch {report.best_epoch}")] if report.best_epoch else (),
        log=log,
        height=230,
        x_label="epoch",
        y_label="MSE, log scale" if log else "MSE",
    )
    return figure(chart, "Mean squared error on scaled values; the marked epoch's weights were kept and scored.", "")


def _learning(report: TrainingReport) -> str:
    if not report.validation_loss:
        return ""
    epochs = len(report.validation_loss) or len(report.train_loss)
    ended = (
        f"Stopped early after {plural(epochs, 'epoch')}" if report.stopped_early else f"Ran {plural(epochs, 'epoch')}"
    )
    if not report.best_epoch:
        return f"{ended}; none was better on the validation part than the linear skip, which forecasts alone."
    return f"{ended}; validation loss was lowest at epoch {report.best_epoch}."


def _forecast_figures(report: TrainingReport) -> list[Figure]:
    charts = (
        excerpt_chart(
            target,
            report.time,
            report.actual[:, index],
            report.predicted[:, index],
            report.persistence[:, index],
            report.model_type,
        )
        for index, target in enumerate(report.targets[:TARGETS_CHARTED])
    )
    return [figure(chart) for chart in charts if chart]


def _errors(report: TrainingReport, index: int) -> Figure | None:
    actual = report.actual[:, index]
    return error_distribution(
        {
            "persistence": (report.persistence[:, index] - actual, "persistence"),
            f"{report.model_type} forecast": (report.predicted[:, index] - actual, "model"),
        },
        f"{report.targets[index]}: forecast errors",
    )


def _words(report: TrainingReport) -> list[str]:
    words = ["Persistence", "Seasonal naive", "Exponential smoothing", "Linear (ridge)", "Min-max units"]
    words += ["RMSE, MAE, MSE", "MASE, sMAPE, NRMSE", "Composite score"]
    return words + (["Plain Prophet"] if "plain" in report.scores else [])
