"""Index page of a run: its stages, the promoted model and its scores, and links to everything else."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from markupsafe import Markup
from pydantic import TypeAdapter, ValidationError

from flts.contracts import LeaderboardEntry
from flts.report.charts import Bar, cell_bar
from flts.report.leaderboard import LeaderboardTable, floors_sentence, leaderboard_table
from flts.report.numbers import duration, number, plural, signed_percent
from flts.report.render import (
    BASELINES,
    Fact,
    ScoreTable,
    change,
    compare_with_persistence,
    flatten,
    render,
    rmse_bar,
    score_table,
)
from flts.timeseries.baseline import Baseline
from flts.timeseries.metrics import Scores

_ENTRIES = TypeAdapter(list[LeaderboardEntry])
STYLES = {"done": "best", "cached": "model", "failed": "worse", "stopped": "filled"}


@dataclass(frozen=True)
class _Stage:
    name: str
    status: str
    style: str
    time: str
    bar: Markup
    message: str
    link: str


@dataclass(frozen=True)
class _Failure:
    name: str
    error: str


@dataclass(frozen=True)
class _Model:
    name: str
    rmse: float
    composite: float
    baselines: list[float]
    bar: Markup
    change: float
    promoted: bool


@dataclass(frozen=True)
class _Link:
    name: str
    text: str
    href: str


def run_page(summary: Mapping[str, Any], links: Mapping[str, str]) -> str:
    """Render the index of a run.

    Args:
        summary: The content of ``summary.json``; parts that a failed run lacks may be missing or ``None``.
        links: Addresses relative to the page, by name. A stage's name leads to its report; others are listed.
    """
    stages = _part(summary, "stages")
    promoted = str(_part(summary, "promotion").get("model_type") or "")
    forecast = _part(summary, "forecast")
    return render(
        "run.html",
        title=_title(summary, promoted, forecast),
        eyebrow=" \u00b7 ".join(
            ["Run", *(str(summary[key]) for key in ("dataset_name", "identifier") if summary.get(key))]
        ),
        lead=_lead(summary),
        facts=_facts(summary, promoted, forecast),
        notes=[f"{name}: {note}" for name, stage in stages.items() for note in (stage.get("notes") or ())],
        failures=[
            _Failure(name, str(stage.get("error") or "no reason was given"))
            for name, stage in stages.items()
            if stage.get("status") == "failed"
        ],
        stages=_stages(summary, stages, links),
        models=_models(_part(summary, "models"), promoted),
        decided=_decided(summary),
        baseline_names=[BASELINES[name] for name in Baseline],
        forecast_steps=_forecast_steps(forecast),
        board=_leaderboard(summary, forecast),
        backtest=_backtest(forecast, promoted if _decided(summary) == "promoted" else "Forecast"),
        links=[
            _Link(name, target, target if _is_relative(target) else "")
            for name, target in links.items()
            if name not in stages
        ],
        parameters=flatten(_part(summary, "parameters")),
        versions=flatten(_part(summary, "versions")),
        words=[
            *("Persistence", "Seasonal naive", "Exponential smoothing", "Linear (ridge)", "Min-max units"),
            *("MASE, sMAPE, NRMSE", "Composite score", "Backtest"),
        ],
        identity=[("config_hash", str(summary["config_hash"]))] if summary.get("config_hash") else [],
    )


def _part(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return fields.get(name) or {}


def _float(fields: Mapping[str, Any], name: str) -> float:
    value = fields.get(name)
    return float(value) if isinstance(value, int | float) else math.nan


def _title(summary: Mapping[str, Any], promoted: str, forecast: Mapping[str, Any]) -> str:
    status = summary.get("status", "")
    if status == "done" and promoted:
        share = _backtest_share(forecast)
        if math.isnan(share):
            return f"{promoted} is {_decided(summary)}."
        # Where it is held, the forecast may be the champion's.
        held = f"{promoted} is held; the forecast" if _decided(summary) == "held" else ""
        lost = floors_sentence(held or f"{promoted} is promoted, but", forecast)
        return (lost or compare_with_persistence(held or f"{promoted} is promoted and", share)) + "."
    return {"done": "The run is done.", "failed": "The run failed.", "stopped": "The run was stopped."}.get(
        status, "A run."
    )


def _decided(summary: Mapping[str, Any]) -> str:
    return str(_part(summary, "promotion").get("status") or "promoted").lower()


def _backtest_share(forecast: Mapping[str, Any]) -> float:
    return change(_float(forecast, "backtest_rmse"), _float(forecast, "backtest_persistence_rmse"))


def _lead(summary: Mapping[str, Any]) -> str:
    started = str(summary.get("started") or "")
    when = started.replace("T", " ").split(".")[0].removesuffix("Z")
    return f"Started {when} UTC." if when else ""


def _facts(summary: Mapping[str, Any], promoted: str, forecast: Mapping[str, Any]) -> list[Fact]:
    facts = [Fact("Duration", duration(_float(summary, "seconds")), str(summary.get("status", "")))]
    if promoted:
        score = _float(_part(summary, "promotion"), "composite_score")
        facts.append(Fact(_decided(summary).capitalize(), promoted, f"composite score {number(score)}"))
    share = _backtest_share(forecast)
    if not math.isnan(share):
        facts.append(Fact("Backtest against persistence", signed_percent(share), "RMSE; below zero is better"))
        facts.append(Fact("Backtest RMSE", number(_float(forecast, "backtest_rmse")), "original units"))
    return facts


def _stages(summary: Mapping[str, Any], stages: Mapping[str, Any], links: Mapping[str, str]) -> list[_Stage]:
    ends = [_float(stage, "started_after") + _float(stage, "seconds") for stage in stages.values()]
    total = max([end for end in [*ends, _float(summary, "seconds")] if math.isfinite(end)], default=0.0) or 1.0
    rows = []
    for name, stage in stages.items():
        status, seconds, after = str(stage.get("status", "")), _float(stage, "seconds"), _float(stage, "started_after")
        style = STYLES.get(status, "muted")
        ran = math.isfinite(seconds) and math.isfinite(after)
        rows.append(
            _Stage(
                name=name,
                status=status,
                style=style,
                time=duration(seconds),
                bar=cell_bar(
                    # A very short stage must stay visible.
                    [Bar(min(after / total, 0.99), max(seconds / total, 0.01), style)] if ran else [],
                    f"from {duration(after)} to {duration(after + seconds)}" if ran else "did not run",
                ),
                message="see above" if status == "failed" else str(stage.get("message") or ""),
                link=links.get(name, "") if _is_relative(links.get(name, "")) else "",
            )
        )
    return rows


def _models(models: Mapping[str, Any], promoted: str) -> list[_Model]:
    rmse = {name: _float(_part(model, "test"), "rmse") for name, model in models.items()}
    largest = max((value for value in rmse.values() if math.isfinite(value)), default=0.0) or 1.0
    rows = []
    for name, model in sorted(models.items(), key=lambda item: (math.isnan(rmse[item[0]]), rmse[item[0]])):
        baselines = [_float(_part(model, baseline), "rmse") for baseline in Baseline]
        rows.append(
            _Model(
                name=name,
                rmse=rmse[name],
                composite=_float(model, "composite_score"),
                baselines=baselines,
                bar=rmse_bar(rmse[name], largest, "model" if name == promoted else "muted"),
                change=change(rmse[name], baselines[0]),
                promoted=name == promoted,
            )
        )
    return rows


def _leaderboard(summary: Mapping[str, Any], forecast: Mapping[str, Any]) -> LeaderboardTable | None:
    try:
        entries = _ENTRIES.validate_json(str(forecast.get("leaderboard", "[]")))
    except ValidationError:
        return None  # of another version
    caption = "One step ahead on the test data: errors in original units, composite score in min-max units."
    return leaderboard_table(entries, "test", str(_part(summary, "promotion").get("run_id")), caption)


def _backtest(forecast: Mapping[str, Any], model: str) -> ScoreTable | None:
    scores = {model: _scores(forecast, "backtest_")}
    scores |= {name: _scores(forecast, f"backtest_{name}_") for name in Baseline}
    if math.isnan(scores[model].rmse):
        return None
    scores = {name: entry for name, entry in scores.items() if not math.isnan(entry.rmse)}
    rows = _float(forecast, "backtest_rows")
    scored = "rows" if math.isnan(rows) else plural(int(rows), "row")
    caption = f"Backtest: {scored} of the test data one step ahead, in original units."
    return score_table(scores, model, caption, unitless=True)


def _forecast_steps(forecast: Mapping[str, Any]) -> str:
    steps, scores = _float(forecast, "inference_count"), _scores(forecast, "")
    if math.isnan(steps):
        return ""
    ahead = f"{plural(int(steps), 'step')} forecast"
    if math.isnan(scores.rmse):
        return f"{ahead}; none of them is measured yet"
    return f"{ahead}; on the measured ones RMSE {number(scores.rmse)}, MAE {number(scores.mae)}, in original units"


def _scores(fields: Mapping[str, Any], prefix: str) -> Scores:
    return Scores(*(_float(fields, f"{prefix}{name}") for name in ("rmse", "mae", "mse", "mase", "smape", "nrmse")))


def _is_relative(address: str) -> bool:
    """Tell whether an address is relative to the page: no scheme such as ``javascript:``, no other host."""
    parts = urlsplit(address)
    return bool(address) and not parts.scheme and not parts.netloc
