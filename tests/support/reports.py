"""Made-up reports of every kind, and their pages as a reader gets them."""

import json
from html.parser import HTMLParser
from typing import Any

import numpy as np

from flts.contracts import SCORE_WEIGHTS
from flts.models.registry import MODELS
from flts.report.data import (
    CandidateScores,
    EvaluationReport,
    ForecastReport,
    PreprocessReport,
    SeriesReport,
    TrainingReport,
)
from flts.timeseries.metrics import HorizonScores, Scores, score

PROPHET = Scores(0.0391, 0.0202, 0.00153)
Attributes = list[tuple[str, str | None]]
_VOID = {"meta", "br", "img", "link", "input", "hr", "col"}


class Page(HTMLParser):
    """Collects what a browser would see, and fails on tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.charts: list[dict[str, Any]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Attributes) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Attributes) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in {"style", "script"}:
            self.words.append(data.strip())
        elif self.tags and self.tags[-1] == ("script", {"type": "application/json"}):
            self.charts.append(json.loads(data))

    def named(self, tag: str) -> list[dict[str, str]]:
        """The attributes of every such tag; one without a value is empty."""
        found = (attributes for name, attributes in self.tags if name == tag)
        return [{name: value or "" for name, value in attributes.items()} for attributes in found]

    @property
    def said(self) -> str:
        return " ".join(word for word in self.words if word)

    @property
    def data(self) -> list[float]:
        return [float(attributes["value"]) for attributes in self.named("data")]


def drawn(chart: dict[str, Any], line: int, edge: str = "bottom") -> np.ndarray:
    """The values of a line as the page's script reads them; the lowest ones where points stand for several rows."""
    numbers = np.array(chart["lines"][line]["y"][-1 if edge == "top" else 0], dtype=np.float64)
    values: np.ndarray = chart["y"]["low"] + numbers * chart["y"]["unit"]
    return values


def times(rows: int, start: str = "2020-01-01") -> np.ndarray:
    return np.datetime64(start, "us") + np.arange(rows) * np.timedelta64(120, "s")


def preprocess_report(rows: int = 500, columns: int = 3, name: str = "demo") -> PreprocessReport:
    rng = np.random.default_rng(0)
    none = np.zeros(rows, bool)
    missing, clipped = none.copy(), none.copy()
    missing[rows // 3 : rows // 3 + 2] = True
    clipped[rows // 2 : rows // 2 + 1] = True
    series = [
        SeriesReport(
            f"c{index}", rng.normal(size=rows), missing if index == 0 else none, clipped if index == 1 else none
        )
        for index in range(columns)
    ]
    time = times(rows)
    return PreprocessReport(
        dataset_name=name,
        identifier="run-001",
        config_hash="ab" * 32,
        config={"scaler": "MinMaxScaler", "dataset_name": name, "nans_knn": 2},
        time=time,
        test_time=times(rows // 5, "2021-01-01"),
        series=series,
        test_series={entry.name: entry.values[: rows // 5] for entry in series},
        targets=["c0"],
        fit_end=int(0.7 * rows),
        validation_end=int(0.85 * rows),
        sampling_seconds=120.0,
        gaps=[(time[rows // 4], time[rows // 4 + 1])] if rows > 8 else [],
        notes=["c2 is constant"],
    )


def training_report(rows: int = 400, targets: tuple[str, ...] = ("down",), model: str = "GRU") -> TrainingReport:
    rng = np.random.default_rng(1)
    actual = rng.normal(size=(rows, len(targets))).cumsum(axis=0) + 50
    persistence = np.roll(actual, 1, axis=0)
    predicted = persistence + 0.3 * (actual - persistence)
    scores = {model: score(actual, predicted, unit=100.0), "persistence": score(actual, persistence, unit=100.0)}
    scores |= {"seasonal_naive": Scores(0.3, 0.2, 0.09), "linear": Scores(0.1, 0.07, 0.01)}
    if model == "PROPHET":
        scores["plain"] = Scores(0.5, 0.4, 0.25)
    return TrainingReport(
        model_type=model,
        identifier="run-001",
        run_id="0a" * 16,
        config_hash="ab" * 32,
        parameters={"epochs": 10, "learning_rate": 1e-4, "refit": False},
        targets=targets,
        time=times(rows),
        actual=actual,
        predicted=predicted,
        persistence=persistence,
        scores=scores,
        original_scores={name: Scores(s.rmse * 100, s.mae * 100, s.mse * 1e4) for name, s in scores.items()},
        train_loss=() if model == "PROPHET" else [0.4, 0.03, 0.009, 0.008],
        validation_loss=() if model == "PROPHET" else [0.3, 0.02, 0.01, 0.011],
        best_epoch=0 if model == "PROPHET" else 3,
        stopped_early=model != "PROPHET",
        step_mae=[0.1, 0.15, 0.2],
        remark=MODELS[model].remark,
    )


def evaluation_report(prophet: Scores = PROPHET) -> EvaluationReport:
    baselines = {"persistence": Scores(0.0402, 0.0212, 0.0016), "linear": Scores(0.0351, 0.0188, 0.00123)}
    given = {"GRU": Scores(0.0354, 0.0186, 0.00125), "LSTM": Scores(0.0359, 0.0191, 0.00129), "PROPHET": prophet}
    return EvaluationReport(
        identifier="run-001",
        config_hash="ab" * 32,
        candidates=[CandidateScores(name, f"run-of-{name}", s, s.composite, baselines) for name, s in given.items()],
        winner="GRU",
        reason="GRU has the lowest composite score",
        weights=SCORE_WEIGHTS,
        promotion_time="2025-01-02T03:04:05.000000Z",
        notes=["GRU is worse than the linear model"],
    )


def forecast_report(
    steps: int = 20, rolling: int = 12, targets: tuple[str, ...] = ("down",), rows: int = 400
) -> ForecastReport:
    training = training_report(rows + 1, targets)
    start = training.time[rows - rolling] if rows else np.datetime64("2020-01-01", "us")
    actual = np.full((steps, len(targets)), np.nan)
    known = min(rolling, steps)
    actual[:known] = training.actual[rows - rolling : rows - rolling + known]
    numbers = np.arange(steps)
    return ForecastReport(
        identifier="run-001",
        run_id="0a" * 16,
        model_type="GRU",
        config_hash="ab" * 32,
        targets=targets,
        time=start + numbers * np.timedelta64(120, "s"),
        predicted=np.full((steps, len(targets)), 50.0) + numbers[:, None],
        actual=actual,
        lower=np.full((steps, len(targets)), 48.0) + numbers[:, None],
        upper=np.full((steps, len(targets)), 52.0) + numbers[:, None],
        recursive=numbers >= rolling,
        after_gap=numbers == 2,
        step_mae=[(1, 0.5), (2, 0.75)],
        backtest_time=training.time[:rows],
        backtest_actual=training.actual[:rows],
        backtest_predicted=training.predicted[:rows],
        backtest_lower=training.predicted[:rows] - 1.5,
        backtest_upper=training.predicted[:rows] + 1.5,
        backtest_coverage=0.895,
        interval_level=0.9,
        backtest_persistence=training.persistence[:rows],
        backtest_scores={"GRU": Scores(2.5, 1.25, 6.25), "persistence": Scores(5.0, 3.5, 25.0)},
        backtest_horizons=[
            HorizonScores(h, h > 3, 400 - h, rmse=3.0 + h, persistence_rmse=5.0 + h, seasonal_naive_rmse=20.0)
            for h in range(1, 25)
        ],
    )


def run_summary() -> dict[str, object]:
    stage = {"seconds": 2.0, "message": "15 927 rows", "notes": [], "error": None, "cached": False, "exit_code": 0}
    scores = {"rmse": 0.0354, "mae": 0.0186, "mse": 0.00125}
    return {
        "v": 1,
        "status": "done",
        "identifier": "run-001",
        "dataset_name": "demo",
        "config_hash": "ab" * 32,
        "started": "2025-01-02T03:04:05.000000Z",
        "seconds": 10.0,
        "parameters": {"epochs": 10},
        "stages": {
            "preprocess": stage | {"status": "cached", "started_after": 0.0},
            "train-gru": stage | {"status": "done", "started_after": 5.0, "notes": ["the learning rate is high"]},
        },
        "models": {
            "GRU": {"run_id": "0a", "composite_score": 0.02353, "test": scores, "persistence": {"rmse": 0.0402}},
        },
        "promotion": {"model_type": "GRU", "composite_score": 0.02353},
        "forecast": {
            **{"inference_count": 24, "rmse": 8.0, "mae": 7.0, "mse": 64.0, "timestamp": "2025-01-02"},
            **{"backtest_rows": 1602, "backtest_rmse": 9.0, "backtest_mae": 6.0, "backtest_mse": 81.0},
            **{"backtest_persistence_rmse": 10.0, "backtest_persistence_mae": 6.5, "backtest_persistence_mse": 100.0},
        },
        "versions": {"flts": "0.1.0"},
    }
