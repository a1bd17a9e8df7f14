"""Report of eval: the scores of the candidates, and the decision about the winner."""

import math
from dataclasses import dataclass

from markupsafe import Markup

from flts.report.charts import Bar, cell_bar
from flts.report.data import CandidateScores, EvaluationReport
from flts.report.leaderboard import leaderboard_table
from flts.report.numbers import UNKNOWN, number, signed_percent
from flts.report.render import BASELINES, Fact, LegendEntry, change, render, rmse_bar
from flts.timeseries.metrics import Scores

PARTS = {"rmse": "model", "mae": "seasonal", "mse": "persistence"}


@dataclass(frozen=True)
class _Row:
    name: str
    run_id: str
    scores: Scores
    composite: float
    valid: bool
    winner: bool
    bar: Markup


@dataclass(frozen=True)
class _ComparisonRow:
    label: str
    scores: Scores
    bar: Markup
    change: float
    chosen: bool
    baseline: bool


def evaluation_page(report: EvaluationReport) -> str:
    """Render the report of eval."""
    ordered = sorted(report.candidates, key=lambda candidate: _rank(candidate.composite))
    return render(
        "evaluation.html",
        title=f"{report.winner} is {_decided(report)}." if report.winner else "No model is promoted.",
        eyebrow="Evaluation report",
        lead=report.reason,
        facts=_facts(report),
        notes=report.notes,
        formula=" + ".join(f"{weight:g} \u00d7 {name.upper()}" for name, weight in report.weights.items()),
        candidates=[_row(report, candidate) for candidate in ordered],
        legend=[
            LegendEntry(f"{weight:g} \u00d7 {name.upper()}", PARTS.get(name, "muted"), "lane")
            for name, weight in report.weights.items()
        ],
        groups=_groups(report, ordered),
        decided=_decided(report),
        decision=report.decision,
        champion=report.champion,
        champion_time=_utc(report.champion.promotion_time) if report.champion else "",
        winner=report.winner,
        board=leaderboard_table(
            report.leaderboard,
            "selection",
            next((one.run_id for one in report.candidates if one.model_type == report.winner), ""),
            "Models and baselines one step ahead on the selection part, in min-max units, by composite score.",
        ),
        memberships=report.memberships,
        words=[
            "Persistence",
            "Seasonal naive",
            "Exponential smoothing",
            "Linear (ridge)",
            "Min-max units",
            "RMSE, MAE, MSE",
            "MASE, sMAPE, NRMSE",
            "Composite score",
            "Backtest",
        ],
        identity=[
            (name, text)
            for name, text in (
                ("run", report.identifier),
                ("config_hash", report.config_hash),
                ("promotion_time", report.promotion_time),
            )
            if text
        ],
    )


def _utc(timestamp: str) -> str:
    return f"{timestamp.replace('T', ' ').split('.')[0].removesuffix('Z')} UTC"


def _decided(report: EvaluationReport) -> str:
    return "held" if report.held else "promoted"


def _rank(composite: float) -> float:
    return composite if math.isfinite(composite) else math.inf


def _persistence(candidate: CandidateScores) -> float:
    return candidate.baselines["persistence"].rmse if "persistence" in candidate.baselines else math.nan


def _against_persistence(candidate: CandidateScores) -> float:
    return change(candidate.scores.rmse, _persistence(candidate))


def _facts(report: EvaluationReport) -> list[Fact]:
    winner = next((candidate for candidate in report.candidates if candidate.model_type == report.winner), None)
    valid = [candidate.composite for candidate in report.candidates if math.isfinite(candidate.composite)]
    facts = [Fact("Candidates", f"{len(valid)} of {len(report.candidates)}", "with a valid score")]
    if winner:
        others = sorted(valid)
        if winner.composite in others:
            others.remove(winner.composite)
        lead = change(winner.composite, others[0]) if others else math.nan
        facts = [
            Fact(_decided(report).capitalize(), winner.model_type),
            Fact("Composite score", number(winner.composite), "min-max units; lower is better"),
            Fact("Against persistence", signed_percent(_against_persistence(winner)), "RMSE; below zero is better"),
            Fact("Against the best other", signed_percent(lead) if others else UNKNOWN, "composite score"),
            *facts,
        ]
    return facts


def _row(report: EvaluationReport, candidate: CandidateScores) -> _Row:
    valid = math.isfinite(candidate.composite)
    largest = (
        max((entry.composite for entry in report.candidates if math.isfinite(entry.composite)), default=0.0) or 1.0
    )
    parts, start = [], 0.0
    for name, weight in report.weights.items() if valid else ():
        width = weight * getattr(candidate.scores, name) / largest
        parts.append(Bar(start, width, PARTS.get(name, "muted")))
        start += width
    words = ", ".join(
        f"{name.upper()} adds {number(weight * getattr(candidate.scores, name))}"
        for name, weight in report.weights.items()
    )
    return _Row(
        name=candidate.model_type,
        run_id=candidate.run_id,
        scores=candidate.scores,
        composite=candidate.composite,
        valid=valid,
        winner=candidate.model_type == report.winner,
        bar=cell_bar(parts, words),
    )


def _groups(report: EvaluationReport, ordered: list[CandidateScores]) -> list[list[_ComparisonRow]]:
    """Put models and baselines in groups: one where all models share their baselines, else one per model."""
    rmse = [scores.rmse for candidate in ordered for scores in (candidate.scores, *candidate.baselines.values())]
    largest = max((value for value in rmse if math.isfinite(value)), default=0.0) or 1.0
    models = [
        _ComparisonRow(
            label=candidate.model_type,
            scores=candidate.scores,
            bar=rmse_bar(candidate.scores.rmse, largest, "model"),
            change=_against_persistence(candidate),
            chosen=candidate.model_type == report.winner,
            baseline=False,
        )
        for candidate in ordered
    ]
    baselines = [_baselines(candidate, largest) for candidate in ordered]
    if ordered and all(candidate.baselines == ordered[0].baselines for candidate in ordered):
        return [models + baselines[0]]
    return [[model, *own] for model, own in zip(models, baselines, strict=True)]


def _baselines(candidate: CandidateScores, largest: float) -> list[_ComparisonRow]:
    return [
        _ComparisonRow(
            label=BASELINES.get(name, name),
            scores=scores,
            bar=rmse_bar(scores.rmse, largest, "muted"),
            change=math.nan if name == "persistence" else change(scores.rmse, _persistence(candidate)),
            chosen=False,
            baseline=True,
        )
        for name, scores in candidate.baselines.items()
    ]
