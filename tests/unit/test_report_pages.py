"""The pages as a reader, a browser and a screen reader get them."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.parsers.expat import ParserCreate

import numpy as np
import pytest

from flts.contracts import SCORE_WEIGHTS
from flts.report.data import (
    Candidate,
    EvaluationReport,
    ForecastReport,
    PreprocessReport,
    SeriesReport,
    TrainingReport,
)
from flts.report.pages import (
    evaluation_page,
    forecast_page,
    preprocess_page,
    run_page,
    training_page,
    training_plots,
)
from flts.timeseries.metrics import Scores, score

HOSTILE = """<script>alert(1)</script>"'&{{ 7*7 }}"""
VOID = {"meta", "br", "img", "link", "input", "hr", "col"}
NAN = Scores(np.nan, np.nan, np.nan)


class _Page(HTMLParser):
    """Collects what a browser would see, and fails on tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in {"style", "script"}:
            self.words.append(data.strip())

    def named(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def said(self) -> str:
        return " ".join(word for word in self.words if word)

    @property
    def data(self) -> list[float]:
        return [float(attributes["value"]) for attributes in self.named("data")]


def _times(rows: int, start: str = "2020-01-01") -> np.ndarray:
    return np.datetime64(start, "us") + np.arange(rows) * np.timedelta64(120, "s")


def _preprocess(rows: int = 500, columns: int = 3, name: str = "demo") -> PreprocessReport:
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
    time = _times(rows)
    return PreprocessReport(
        dataset_name=name,
        identifier="run-001",
        config_hash="ab" * 32,
        config={"scaler": "MinMaxScaler", "dataset_name": name, "nans_knn": 2},
        time=time,
        test_time=_times(rows // 5, "2021-01-01"),
        series=series,
        test_series={entry.name: entry.values[: rows // 5] for entry in series},
        targets=["c0"],
        fit_end=int(0.7 * rows),
        validation_end=int(0.85 * rows),
        sampling_seconds=120.0,
        gaps=[(time[rows // 4], time[rows // 4 + 1])] if rows > 8 else [],
        notes=["c2 is constant"],
    )


def _training(rows: int = 400, targets: tuple[str, ...] = ("down",), model: str = "GRU") -> TrainingReport:
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
        time=_times(rows),
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
    )


PROPHET = Scores(0.0391, 0.0202, 0.00153)


def _evaluation(prophet: Scores = PROPHET) -> EvaluationReport:
    baselines = {"persistence": Scores(0.0402, 0.0212, 0.0016), "linear": Scores(0.0351, 0.0188, 0.00123)}
    given = {"GRU": Scores(0.0354, 0.0186, 0.00125), "LSTM": Scores(0.0359, 0.0191, 0.00129), "PROPHET": prophet}
    return EvaluationReport(
        identifier="run-001",
        config_hash="ab" * 32,
        candidates=[Candidate(name, f"run-of-{name}", s, s.composite, baselines) for name, s in given.items()],
        winner="GRU",
        reason="GRU has the lowest composite score",
        weights=SCORE_WEIGHTS,
        promotion_time="2025-01-02T03:04:05.000000Z",
        notes=["GRU is worse than the linear model"],
    )


def _forecast(
    steps: int = 20, rolling: int = 12, targets: tuple[str, ...] = ("down",), rows: int = 400
) -> ForecastReport:
    training = _training(rows + 1, targets)
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
        recursive=numbers >= rolling,
        after_gap=numbers == 2,
        step_mae=[(1, 0.5), (2, 0.75)],
        backtest_time=training.time[:rows],
        backtest_actual=training.actual[:rows],
        backtest_predicted=training.predicted[:rows],
        backtest_persistence=training.persistence[:rows],
        backtest_scores={"GRU": Scores(2.5, 1.25, 6.25), "persistence": Scores(5.0, 3.5, 25.0)},
    )


def _summary() -> dict[str, object]:
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
        "forecast": {"backtest_rmse": 9.0, "backtest_persistence_rmse": 10.0, "mae": None, "timestamp": "2025-01-02"},
        "versions": {"flts": "0.1.0"},
    }


PAGES = {
    "preprocess": lambda: preprocess_page(_preprocess()),
    "training": lambda: training_page(_training(targets=("down", "up"))),
    "training prophet": lambda: training_page(_training(model="PROPHET")),
    "evaluation": lambda: evaluation_page(_evaluation()),
    "forecast": lambda: forecast_page(_forecast()),
    "run": lambda: run_page(_summary(), {"preprocess": "preprocess/report.html", "log": "logs/a.log"}),
}


@pytest.mark.parametrize("page", PAGES)
def test_pages_are_well_formed_and_fetch_nothing(page):
    text = PAGES[page]()
    parsed = _Page(text)
    assert text.startswith("<!DOCTYPE html>")
    assert parsed.named("html")[0]["lang"] == "en"
    assert any(meta.get("name") == "viewport" for meta in parsed.named("meta"))
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"https?://|//[a-z]|@import|url\(", re.sub(r"// .*", "", text))
    for _, attributes in parsed.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert "src" not in attributes


@pytest.mark.parametrize("page", PAGES)
def test_the_same_report_gives_the_same_bytes(page):
    assert PAGES[page]() == PAGES[page]()


@pytest.mark.parametrize("page", PAGES)
def test_charts_carry_their_meaning_in_words(page):
    parsed = _Page(PAGES[page]())
    charts = [attributes for attributes in parsed.named("svg") if attributes.get("class") == "plot"]
    assert all(attributes["role"] == "img" for attributes in charts)
    assert len(parsed.named("desc")) == len(charts)
    assert len(parsed.named("title")) == len(charts) + 1
    for bar in (attributes for attributes in parsed.named("svg") if attributes.get("class") == "cell-bar"):
        assert bar["aria-label"]


def test_hostile_names_are_shown_and_never_run():
    preprocess = _preprocess(name=HOSTILE)
    hostile = replace(preprocess.series[0], name=HOSTILE, note=HOSTILE)
    preprocess = replace(
        preprocess, series=[hostile], targets=[HOSTILE], notes=[HOSTILE], test_series={HOSTILE: np.ones(100)}
    )
    training = replace(
        _training(),
        targets=[HOSTILE],
        identifier=HOSTILE,
        notes=[HOSTILE],
        parameters={HOSTILE: HOSTILE},
        model_type=HOSTILE,
    )
    evaluation = replace(_evaluation(), reason=HOSTILE, identifier=HOSTILE, winner=HOSTILE)
    forecast = replace(_forecast(), targets=[HOSTILE], model_type=HOSTILE, notes=[HOSTILE])
    summary = _summary() | {"dataset_name": HOSTILE, "stages": {HOSTILE: {"status": "failed", "error": HOSTILE}}}
    for text in (
        preprocess_page(preprocess),
        training_page(training),
        evaluation_page(evaluation),
        forecast_page(forecast),
        run_page(summary, {HOSTILE: HOSTILE}),
    ):
        parsed = _Page(text)
        assert len(parsed.named("script")) == 1
        assert HOSTILE in parsed.said
    for plot in training_plots(training).values():
        assert "<script" not in plot
        ParserCreate().Parse(plot, True)


def test_links_that_would_leave_the_page_are_text():
    text = run_page(
        _summary(), {"preprocess": "javascript:alert(1)", "a": "https://example.org/x", "b": "b/report.html"}
    )
    assert [attributes["href"] for attributes in _Page(text).named("a")] == ["b/report.html"]


def test_training_scores_are_the_given_numbers_and_the_best_is_marked():
    report = _training()
    parsed = _Page(training_page(report))
    expected = [
        number
        for scores in report.scores.values()
        for number in (scores.rmse, scores.mae, scores.mse, scores.composite)
    ] + [number for scores in report.original_scores.values() for number in (scores.rmse, scores.mae, scores.mse)]
    assert parsed.data == expected
    assert parsed.said.count("best ") >= 2
    ratio = report.scores["GRU"].rmse / report.scores["persistence"].rmse
    assert f"GRU beats persistence by {(1 - ratio) * 100:.1f}" in parsed.said


def test_a_model_that_loses_says_so_in_its_headline():
    report = _training()
    scores = dict(report.scores) | {"GRU": Scores(0.5, 0.4, 0.25), "persistence": Scores(0.4, 0.3, 0.16)}
    assert "GRU loses to persistence by 25.0\u202f% RMSE" in training_page(replace(report, scores=scores))


def test_scores_without_a_number_are_dashes_and_never_the_best():
    report = replace(_training(), scores={"GRU": NAN, "persistence": NAN, "linear": Scores(0.1, 0.1, 0.01)})
    text = training_page(report)
    assert "could not be compared with persistence" in text
    assert "nan" not in _Page(text).said.lower()
    assert re.search(r"Linear \(ridge\) <span class=\"tag\">best", text)


def test_the_loss_chart_marks_the_best_epoch_and_is_logarithmic_when_losses_span_decades():
    text = training_page(_training())
    assert "best epoch 3" in text
    assert "MSE, log scale" in text
    assert "Stopped early after 4 epochs" in text
    assert "MSE, log scale" not in training_page(
        replace(_training(), train_loss=[3.0, 2.0], validation_loss=[3.0, 0.0])
    )


def test_prophet_says_what_it_sees_and_shows_plain_prophet_beside_it():
    text = _Page(training_page(_training(model="PROPHET"))).said
    assert "its target only; GRU and LSTM see every measured column" in text
    assert "Plain Prophet" in text
    assert "PROPHET with residual correction" in text
    assert "Learning" not in text


def test_a_diverged_training_still_has_a_report():
    report = _training()
    broken = replace(
        report,
        predicted=np.full_like(report.predicted, np.inf),
        train_loss=[1.0, np.nan],
        validation_loss=[1.0, np.inf],
        scores=dict(report.scores) | {"GRU": NAN},
    )
    _Page(training_page(broken))
    assert set(training_plots(broken)) == {"loss.svg", "forecast.svg"}


def test_training_plots_are_svg_files_that_need_nothing_else():
    plots = training_plots(_training())
    assert sorted(plots) == ["forecast.svg", "loss.svg"]
    for text in plots.values():
        ParserCreate().Parse(text, True)
        assert text.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
        assert "prefers-color-scheme: dark" in text
        assert set(re.findall(r"https?://[^\"]*", text)) == {"http://www.w3.org/2000/svg"}
    assert list(training_plots(_training(model="PROPHET"))) == ["forecast.svg"]


def test_the_evaluation_shows_how_the_weights_add_up():
    report = _evaluation()
    parsed = _Page(evaluation_page(report))
    for candidate in report.candidates:
        for number in (candidate.scores.rmse, candidate.scores.mae, candidate.scores.mse, candidate.composite):
            assert number in parsed.data
    bars = [
        attributes["aria-label"] for attributes in parsed.named("svg") if "adds" in attributes.get("aria-label", "")
    ]
    assert bars[0] == "RMSE adds 0.01770, MAE adds 0.005580, MSE adds 0.0002500"
    assert "0.5 \u00d7 RMSE + 0.3 \u00d7 MAE + 0.2 \u00d7 MSE" in parsed.said
    assert parsed.said.count("GRU promoted") == 1
    assert parsed.said.count("Persistence") == 2  # once beside the models that share it, once in the glossary


def test_baselines_that_differ_stand_beside_each_model():
    report = _evaluation()
    first = replace(report.candidates[0], baselines={"persistence": Scores(0.05, 0.03, 0.0025)})
    parsed = _Page(evaluation_page(replace(report, candidates=[first, *report.candidates[1:]])))
    assert parsed.said.count("Persistence") == 4


def test_a_candidate_without_scores_has_no_valid_score_and_comes_last():
    text = _Page(evaluation_page(_evaluation(prophet=Scores(np.nan, 0.01, 0.0001)))).said
    assert text.count("no valid score") == 1
    assert text.index("LSTM") < text.index("PROPHET")
    assert "2 of 3" in text


def test_the_forecast_tells_rolling_from_recursive_and_rings_steps_after_a_gap():
    text = forecast_page(_forecast())
    parsed = _Page(text)
    names = [attributes["data-name"] for attributes in parsed.named("path") if "data-name" in attributes]
    assert names[:3] == ["measured", "rolling forecast", "recursive forecast"]
    assert "12 rolling, 8 recursive" in parsed.said
    assert parsed.said.count("rolling, after a gap") == 1
    assert "The model beats persistence by 50.0" in parsed.said
    assert {2.5, 1.25, 6.25, 5.0, 3.5, 25.0} <= set(parsed.data)


def test_the_headline_error_of_a_forecast_leaves_out_steps_after_a_gap():
    report = _forecast(steps=3, rolling=3)
    actual = report.predicted + np.array([[1.0], [2.0], [1000.0]])
    assert "MAE of these steps 1.500" in " ".join(_Page(forecast_page(replace(report, actual=actual))).said.split())


def test_every_step_of_the_forecast_is_listed_with_its_numbers():
    report = _forecast(steps=6, rolling=3)
    parsed = _Page(forecast_page(report))
    for step in range(6):
        assert report.predicted[step, 0] in parsed.data
    for step in range(3):
        assert abs(report.predicted[step, 0] - report.actual[step, 0]) in parsed.data


def test_a_long_forecast_says_where_the_rest_of_its_steps_is():
    text = forecast_page(_forecast(steps=5000, rolling=100, targets=("down", "up")))
    assert "The first 200 rows of 10\u202f000" in text
    assert len(text) < 400_000


@pytest.mark.parametrize(("steps", "rolling"), [(1, 1), (1, 0), (3, 0), (3, 3)])
def test_forecasts_of_any_length_have_a_page(steps, rolling):
    _Page(forecast_page(_forecast(steps=steps, rolling=rolling)))


def test_a_backtest_without_rows_is_said_not_drawn():
    report = replace(_forecast(rows=0, rolling=0), backtest_scores={})
    assert "No row of the test data could be scored." in forecast_page(report)


def test_the_data_page_counts_and_marks_what_was_filled_and_clipped():
    text = preprocess_page(_preprocess())
    parsed = _Page(text)
    assert "2 (0.40\u202f%)" in parsed.said
    assert "1 (0.20\u202f%)" in parsed.said
    dots = re.findall(r'<g class="(filled|clipped) hollow">(.*?)</g>', text)
    assert [(name, marks.count("<circle")) for name, marks in dots] == [("filled", 2), ("clipped", 1)]
    assert text.count('class="fill filled level') == 1
    for part in ("fit", "validation", "selection", "test"):
        assert f"band {part}" in text
    assert "MinMaxScaler" in parsed.said


def test_many_marks_become_a_strip_and_none_is_hidden():
    report = _preprocess(rows=1000)
    missing = np.zeros(1000, bool)
    missing[::10] = True
    text = preprocess_page(replace(report, series=[replace(report.series[0], missing=missing)]))
    assert "<circle" not in text
    assert "100 values filled; strips under the chart show where." in text


def test_columns_beyond_the_drawn_ones_are_in_the_table():
    report = _preprocess(rows=50, columns=60)
    parsed = _Page(preprocess_page(report))
    assert "40 more are in the table only" in parsed.said
    assert all(f"c{index}" in parsed.said for index in range(60))


@pytest.mark.parametrize(
    "values", [np.full(20, 3.5), np.zeros(20), np.full(20, np.nan), np.linspace(-1, 1, 20) * 1e308]
)
def test_constant_missing_and_extreme_columns_have_a_page(values):
    report = _preprocess(rows=20, columns=1)
    text = preprocess_page(replace(report, series=[replace(report.series[0], values=values)], test_series={}))
    assert not re.search(r"\b(nan|inf)\b", _Page(text).said)
    assert "nan" not in "".join(re.findall(r' d="([^"]*)"', text))


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_the_shortest_data_has_a_page(rows):
    report = replace(_preprocess(rows=rows, columns=1), test_time=_times(0), test_series={})
    _Page(preprocess_page(report))


def test_a_page_of_a_million_rows_stays_small():
    assert len(preprocess_page(_preprocess(rows=1_000_000, columns=4))) < 120_000


def test_the_run_page_leads_to_the_reports_and_names_notes():
    parsed = _Page(PAGES["run"]())
    assert [attributes["href"] for attributes in parsed.named("a")] == ["preprocess/report.html", "logs/a.log"]
    assert "GRU is promoted and beats persistence by 10.0" in parsed.said
    assert "train-gru: the learning rate is high." in parsed.said
    assert {0.0354, 0.02353, 0.0402} <= set(parsed.data)
    labels = [attributes["aria-label"] for attributes in parsed.named("svg") if attributes.get("class") == "cell-bar"]
    assert "from 5\u202fs to 7\u202fs" in labels


def test_a_failed_run_says_what_failed_and_needs_no_other_part():
    summary = {
        "v": 1,
        "status": "failed",
        "stages": {
            "preprocess": {
                "status": "failed",
                "error": "data.csv has no column time",
                "seconds": 1.0,
                "started_after": 0.0,
            },
            "eval": {"status": "not run", "seconds": None, "started_after": None},
        },
        "models": {},
        "promotion": None,
        "forecast": None,
    }
    text = _Page(run_page(summary, {})).said
    assert "The run failed." in text
    assert text.count("data.csv has no column time.") == 1
    assert "not run" in text
    _Page(run_page({}, {}))
