"""The pages as a reader, a browser and a screen reader get them."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from flts.report.data import Champion
from flts.report.pages import (
    evaluation_page,
    forecast_page,
    preprocess_page,
    run_page,
    training_page,
    training_plots,
)
from flts.timeseries.metrics import Scores
from tests.support.reports import (
    Page,
    drawn,
    evaluation_report,
    forecast_report,
    preprocess_report,
    run_summary,
    times,
    training_report,
)

HOSTILE = """<script>alert(1)</script>"'&{{ 7*7 }}"""
NAN = Scores(np.nan, np.nan, np.nan)
PAGES = {
    "preprocess": lambda: preprocess_page(preprocess_report()),
    "training": lambda: training_page(training_report(targets=("down", "up"))),
    "training prophet": lambda: training_page(training_report(model="PROPHET")),
    "evaluation": lambda: evaluation_page(evaluation_report()),
    "forecast": lambda: forecast_page(forecast_report()),
    "run": lambda: run_page(run_summary(), {"preprocess": "preprocess/report.html", "log": "logs/a.log"}),
}


@pytest.mark.parametrize("page", PAGES)
def test_pages_are_well_formed_and_fetch_nothing(page):
    text = PAGES[page]()
    parsed = Page(text)
    assert text.startswith("<!DOCTYPE html>")
    assert parsed.named("html")[0]["lang"] == "en"
    assert any(meta.get("name") == "viewport" for meta in parsed.named("meta"))
    assert "prefers-color-scheme: dark" in text
    assert "default-src 'none'" in parsed.named("meta")[2]["content"]
    assert not re.search(r"https?://|//[a-z]|@import|url\(", re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL))
    for _, attributes in parsed.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert "src" not in attributes


@pytest.mark.parametrize("page", PAGES)
def test_the_same_report_gives_the_same_bytes(page):
    assert PAGES[page]() == PAGES[page]()


@pytest.mark.parametrize("page", PAGES)
def test_charts_and_bars_carry_their_meaning_in_words(page):
    parsed = Page(PAGES[page]())
    pictures = [attributes for _, attributes in parsed.tags if attributes.get("class") in {"chart", "cell-bar"}]
    assert pictures
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in pictures)


@pytest.mark.parametrize("page", PAGES)
def test_the_drawing_library_is_in_pages_with_charts_once_and_in_no_other(page):
    parsed = Page(PAGES[page]())
    assert parsed.text.count("var uPlot = ") == (1 if parsed.charts else 0)
    assert len(parsed.named("noscript")) == (1 if parsed.charts else 0)


def test_hostile_names_are_shown_and_never_run():
    preprocess = preprocess_report(name=HOSTILE)
    hostile = replace(preprocess.series[0], name=HOSTILE, note=HOSTILE)
    preprocess = replace(
        preprocess, series=[hostile], targets=[HOSTILE], notes=[HOSTILE], test_series={HOSTILE: np.ones(100)}
    )
    training = replace(
        training_report(),
        targets=[HOSTILE],
        identifier=HOSTILE,
        notes=[HOSTILE],
        parameters={HOSTILE: HOSTILE},
        model_type=HOSTILE,
    )
    evaluation = replace(evaluation_report(), reason=HOSTILE, identifier=HOSTILE, winner=HOSTILE)
    forecast = replace(forecast_report(), targets=[HOSTILE], model_type=HOSTILE, notes=[HOSTILE])
    summary = run_summary() | {"dataset_name": HOSTILE, "stages": {HOSTILE: {"status": "failed", "error": HOSTILE}}}
    for text in (
        preprocess_page(preprocess),
        training_page(training),
        evaluation_page(evaluation),
        forecast_page(forecast),
        run_page(summary, {HOSTILE: HOSTILE}),
    ):
        parsed = Page(text)
        assert len([tag for tag in parsed.named("script") if "type" not in tag]) in {0, 3}
        assert HOSTILE in parsed.said
    for plot in training_plots(training).values():
        assert len(Page(plot).named("script")) == 4


def test_links_that_would_leave_the_page_are_text():
    text = run_page(
        run_summary(), {"preprocess": "javascript:alert(1)", "a": "https://example.org/x", "b": "b/report.html"}
    )
    assert [attributes["href"] for attributes in Page(text).named("a")] == ["b/report.html"]


def test_training_scores_are_the_given_numbers_and_the_best_is_marked():
    report = training_report()
    parsed = Page(training_page(report))
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
    report = training_report()
    scores = dict(report.scores) | {"GRU": Scores(0.5, 0.4, 0.25), "persistence": Scores(0.4, 0.3, 0.16)}
    assert "GRU loses to persistence by 25.0\u202f% RMSE" in training_page(replace(report, scores=scores))


def test_scores_without_a_number_are_dashes_and_never_the_best():
    report = replace(training_report(), scores={"GRU": NAN, "persistence": NAN, "linear": Scores(0.1, 0.1, 0.01)})
    text = training_page(report)
    assert "could not be compared with persistence" in text
    assert "nan" not in Page(text).said.lower()
    assert re.search(r"Linear \(ridge\) <span class=\"tag\">best", text)


def test_the_loss_chart_marks_the_best_epoch_and_is_logarithmic_when_losses_span_decades():
    parsed = Page(training_page(training_report()))
    loss = parsed.charts[0]
    assert loss["rules"] == [[2, "best epoch 3"]]
    assert loss["y"]["log"]
    np.testing.assert_allclose(10 ** drawn(loss, 0), [0.4, 0.03, 0.009, 0.008], rtol=1e-3)
    assert "Stopped early after 4 epochs" in parsed.said
    flat = Page(training_page(replace(training_report(), train_loss=[3.0, 2.0], validation_loss=[3.0, 0.0]))).charts[0]
    assert not flat["y"]["log"]


def test_a_report_says_where_no_epoch_was_better_than_the_linear_skip():
    text = Page(training_page(replace(training_report(), best_epoch=0))).said
    assert "none was better on the validation part than the linear skip" in text
    assert "0 of 4" in text


def test_prophet_says_what_it_sees_and_shows_plain_prophet_beside_it():
    text = Page(training_page(training_report(model="PROPHET"))).said
    assert "Prophet's curve sees the time and its target only" in text
    assert "Plain Prophet" in text
    assert "PROPHET with residual correction" in text
    assert "Learning" not in text


def test_a_diverged_training_still_has_a_report():
    report = training_report()
    broken = replace(
        report,
        predicted=np.full_like(report.predicted, np.inf),
        train_loss=[1.0, np.nan],
        validation_loss=[1.0, np.inf],
        scores=dict(report.scores) | {"GRU": NAN},
    )
    Page(training_page(broken))
    assert set(training_plots(broken)) == {"loss.html", "forecast.html"}


def test_training_plots_are_pages_with_the_report_s_charts():
    report = training_report()
    plots = {name: Page(text).charts for name, text in training_plots(report).items()}
    assert sorted(plots) == ["forecast.html", "loss.html"]
    charts = Page(training_page(report)).charts
    assert plots["loss.html"] == charts[:1]
    assert plots["forecast.html"] == charts[1:2]
    assert list(training_plots(training_report(model="PROPHET"))) == ["forecast.html"]


def test_the_evaluation_shows_how_the_weights_add_up():
    report = evaluation_report()
    parsed = Page(evaluation_page(report))
    for candidate in report.candidates:
        for number in (candidate.scores.rmse, candidate.scores.mae, candidate.scores.mse, candidate.composite):
            assert number in parsed.data
    bars = [
        attributes["aria-label"] for attributes in parsed.named("span") if "adds" in attributes.get("aria-label", "")
    ]
    assert bars[0] == "RMSE adds 0.01770, MAE adds 0.005580, MSE adds 0.0002500"
    assert "0.5 \u00d7 RMSE + 0.3 \u00d7 MAE + 0.2 \u00d7 MSE" in parsed.said
    assert parsed.said.count("GRU promoted") == 1
    assert parsed.said.count("Persistence") == 2  # once beside the models that share it, once in the glossary


def test_baselines_that_differ_are_listed_with_each_model():
    report = evaluation_report()
    first = replace(report.candidates[0], baselines={"persistence": Scores(0.05, 0.03, 0.0025)})
    parsed = Page(evaluation_page(replace(report, candidates=[first, *report.candidates[1:]])))
    assert parsed.said.count("Persistence") == 4


def test_a_candidate_without_scores_has_no_valid_score_and_comes_last():
    text = Page(evaluation_page(evaluation_report(prophet=Scores(np.nan, 0.01, 0.0001)))).said
    assert text.count("no valid score") == 1
    assert text.index("LSTM") < text.index("PROPHET")
    assert "2 of 3" in text


def test_the_forecast_tells_rolling_from_recursive_and_rings_steps_after_a_gap():
    text = forecast_page(forecast_report())
    parsed = Page(text)
    forecast = parsed.charts[0]
    names = ["90\u202f% interval", "measured", "rolling forecast", "recursive forecast"]
    assert [line["name"] for line in forecast["lines"]] == names
    np.testing.assert_allclose(drawn(forecast, 2), np.arange(50, 62))
    np.testing.assert_allclose(drawn(forecast, 3), np.arange(61, 70))  # it begins where the rolling steps end
    assert [(dots["style"], len(dots["x"])) for dots in forecast["dots"]] == [("filled", 1)]
    assert [band[2] for band in forecast["bands"]] == ["recursive"]
    assert "12 rolling, 8 recursive" in parsed.said
    assert parsed.said.count("rolling, after a gap") == 1
    assert "The model beats persistence by 50.0" in parsed.said
    assert {2.5, 1.25, 6.25, 5.0, 3.5, 25.0} <= set(parsed.data)


def test_the_forecast_page_draws_intervals_as_areas_and_tells_how_many_values_they_hold():
    text = forecast_page(forecast_report())
    parsed = Page(text)
    around, backtest = (
        parsed.charts[0],
        next(chart for chart in parsed.charts if len(chart["lines"]) == 4 and not chart["bands"]),
    )
    np.testing.assert_allclose(drawn(around, 0), np.arange(48, 68))
    np.testing.assert_allclose(drawn(around, 0, "top"), np.arange(52, 72))
    np.testing.assert_allclose(drawn(backtest, 0, "top") - drawn(backtest, 0), 3, atol=0.01)
    assert "Inside 90\u202f% intervals 89.5\u202f%" in parsed.said
    assert parsed.said.count("Lower Upper") == 1


def test_a_model_without_intervals_has_none_on_its_page():
    report = forecast_report()
    without = np.full_like(report.backtest_lower, np.nan)
    bounds = {"lower": None, "upper": None, "backtest_lower": without, "backtest_upper": without}
    report = replace(report, **bounds, backtest_coverage=np.nan)
    parsed = Page(forecast_page(replace(report, interval_level=np.nan)))
    assert "nterval" not in parsed.said
    assert "nan" not in parsed.said
    assert parsed.charts[0]["lines"][0]["name"] == "measured"


def test_the_forecast_page_shows_the_skill_at_some_horizons_and_draws_it_at_all():
    text = forecast_page(forecast_report())
    table = text.partition('aria-label="Backtest by horizon"')[2].partition("</table>")[0]
    lines = [
        " ".join(Page(line).said.split()) for line in re.findall(r"<tr><th scope=\"row\".*?</tr>", table, re.DOTALL)
    ]
    assert [line.split()[0] for line in lines] == ["1", "2", "3", "6", "12", "24"]
    assert [line.split()[1] for line in lines] == ["direct"] * 3 + ["recursive"] * 3
    assert lines[0] == "1 direct 399 4 6 20 +33.3 % +80.0 %"
    assert lines[-1].endswith(" \u221235.0 %")
    assert "Skill by horizon over persistence over seasonal naive" in Page(text).said


def test_a_forecast_without_horizons_has_no_section_of_them():
    assert "several steps ahead" not in forecast_page(replace(forecast_report(), backtest_horizons=[]))


def test_the_headline_error_of_a_forecast_leaves_out_steps_after_a_gap():
    report = forecast_report(steps=3, rolling=3)
    actual = report.predicted + np.array([[1.0], [2.0], [1000.0]])
    assert "MAE of these steps 1.500" in " ".join(Page(forecast_page(replace(report, actual=actual))).said.split())


def test_every_step_of_the_forecast_is_listed_with_its_numbers():
    report = forecast_report(steps=6, rolling=3)
    parsed = Page(forecast_page(report))
    for step in range(6):
        assert report.predicted[step, 0] in parsed.data
    for step in range(3):
        assert abs(report.predicted[step, 0] - report.actual[step, 0]) in parsed.data


def test_a_long_forecast_says_where_the_rest_of_its_steps_is():
    text = forecast_page(forecast_report(steps=5000, rolling=100, targets=("down", "up")))
    assert "The first 200 rows of 10\u202f000" in text


def test_a_forecast_of_4000_steps_holds_every_one_of_them():
    report = forecast_report(steps=4000, rolling=2000, rows=4000)
    text = forecast_page(report)
    forecast = Page(text).charts[0]
    assert [len(line["y"]) for line in forecast["lines"]] == [2, 1, 1, 1]
    np.testing.assert_allclose(drawn(forecast, 2), report.predicted[:2000, 0], atol=0.1)
    assert len(text) < 400_000


@pytest.mark.parametrize("jitter", [0, 10**6])
def test_no_page_outgrows_400_kb(jitter):
    """Many targets and rows; the time between rows may be different every time."""
    targets = tuple(f"target {index}" for index in range(8))
    report = forecast_report(steps=10_000, rolling=9000, targets=targets, rows=10_000)
    shift = np.random.default_rng(0).integers(0, jitter + 1, 10_000).astype("timedelta64[us]")
    report = replace(report, time=report.time + shift, backtest_time=report.backtest_time + shift)
    assert len(forecast_page(report).encode()) < 400_000
    data = preprocess_report(rows=20_000, columns=25)
    time = data.time + np.resize(shift, 20_000)
    data = replace(data, time=time, series=[replace(series, missing=series.values > 0) for series in data.series])
    assert len(preprocess_page(data).encode()) < 400_000


@pytest.mark.parametrize(("steps", "rolling"), [(1, 1), (1, 0), (3, 0), (3, 3)])
def test_forecasts_of_any_length_have_a_page(steps, rolling):
    Page(forecast_page(forecast_report(steps=steps, rolling=rolling)))


def test_a_backtest_without_rows_is_said_not_drawn():
    report = replace(forecast_report(rows=0, rolling=0), backtest_scores={})
    assert "No row of the test data could be scored." in forecast_page(report)


def test_the_data_page_counts_and_marks_what_was_filled_and_clipped():
    text = preprocess_page(preprocess_report())
    parsed = Page(text)
    assert "2 (0.40\u202f%)" in parsed.said
    assert "1 (0.20\u202f%)" in parsed.said
    dots = [(dots["style"], len(dots["x"])) for chart in parsed.charts for dots in chart["dots"]]
    assert dots == [("filled", 2), ("clipped", 1)]
    lanes = [(lane["label"], lane["levels"].count("4")) for chart in parsed.charts for lane in chart["lanes"]]
    assert lanes == [("filled", 2), ("clipped", 1)]
    for chart in parsed.charts:
        assert [band[2] for band in chart["bands"]] == ["fit", "validation", "selection", "test"]
    assert "MinMaxScaler" in parsed.said


def test_many_marks_become_a_strip_and_none_is_hidden():
    report = preprocess_report(rows=1000)
    missing = np.zeros(1000, bool)
    missing[::10] = True
    text = preprocess_page(replace(report, series=[replace(report.series[0], missing=missing)]))
    chart = Page(text).charts[0]
    assert chart["dots"] == []
    assert len(chart["lanes"][0]["levels"].replace("0", "")) == 100
    assert "100 values filled; strips under the chart show where." in text


def test_columns_beyond_the_drawn_ones_are_in_the_table():
    report = preprocess_report(rows=50, columns=60)
    parsed = Page(preprocess_page(report))
    assert "40 more are in the table only" in parsed.said
    assert all(f"c{index}" in parsed.said for index in range(60))


@pytest.mark.parametrize(
    "values", [np.full(20, 3.5), np.zeros(20), np.full(20, np.nan), np.linspace(-1, 1, 20) * 1e308]
)
def test_constant_missing_and_extreme_columns_have_a_page(values):
    report = preprocess_report(rows=20, columns=1)
    text = preprocess_page(replace(report, series=[replace(report.series[0], values=values)], test_series={}))
    parsed = Page(text)
    assert not re.search(r"\b(nan|inf)\b", parsed.said)
    for chart in parsed.charts:
        shown = drawn(chart, 0)
        known = values[np.abs(values) <= 1e300]
        np.testing.assert_allclose(shown[~np.isnan(shown)], known, atol=1e-3)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_the_shortest_data_has_a_page(rows):
    report = replace(preprocess_report(rows=rows, columns=1), test_time=times(0), test_series={})
    Page(preprocess_page(report))


def test_a_page_of_a_million_rows_stays_small():
    assert len(preprocess_page(preprocess_report(rows=1_000_000, columns=4))) < 400_000


def test_the_run_page_leads_to_the_reports_and_names_notes():
    parsed = Page(PAGES["run"]())
    assert [attributes["href"] for attributes in parsed.named("a")] == ["preprocess/report.html", "logs/a.log"]
    assert "GRU is promoted and beats persistence by 10.0" in parsed.said
    assert "train-gru: the learning rate is high." in parsed.said
    assert {0.0354, 0.02353, 0.0402} <= set(parsed.data)
    labels = [attributes["aria-label"] for attributes in parsed.named("span") if attributes.get("class") == "cell-bar"]
    assert "from 5\u202fs to 7\u202fs" in labels


def test_the_run_page_compares_the_backtest_with_persistence():
    parsed = Page(PAGES["run"]())
    assert parsed.data[-6:] == [9.0, 6.0, 81.0, 10.0, 6.5, 100.0]
    said = " ".join(parsed.said.split())
    assert "24 steps forecast; on the measured ones RMSE 8, MAE 7, in original units." in said
    assert "Backtest: 1 602 rows of the test data" in said


WEAK = {
    **{"backtest_exponential_smoothing_rmse": 8.5, "backtest_exponential_smoothing_mae": 5.5},
    **{"backtest_exponential_smoothing_mse": 72.25, "backtest_linear_rmse": 9.5, "backtest_mase": 0.75},
}


def test_the_first_line_of_a_run_says_that_a_baseline_was_not_beaten():
    forecast = run_summary()["forecast"] | WEAK
    said = Page(run_page(run_summary() | {"forecast": forecast}, {})).said
    lost = "does not beat exponential smoothing on the test data: backtest RMSE 9 against 8.500."
    assert f"GRU is promoted, but {lost}" in said
    promotion = {"model_type": "GRU", "composite_score": 0.1, "status": "HELD"}
    held = Page(run_page(run_summary() | {"forecast": forecast, "promotion": promotion}, {})).said
    assert f"GRU is held; the forecast {lost}" in held
    better = forecast | {"backtest_exponential_smoothing_rmse": 9.01}
    assert "GRU is promoted and beats persistence" in Page(run_page(run_summary() | {"forecast": better}, {})).said


def test_the_backtest_of_a_run_has_every_baseline_and_score_that_is_known():
    parsed = Page(run_page(run_summary() | {"forecast": run_summary()["forecast"] | WEAK}, {}))
    said = " ".join(parsed.said.split())
    assert "MASE RMSE (bar)" in said  # and no column of scores that are unknown
    assert {0.75, 8.5, 5.5, 72.25, 9.5} <= set(parsed.data)


def test_a_run_shows_the_leaderboard_of_the_test_data():
    entries = [
        {"model": "GRU", "run_id": "0a", "part": "test", "rank": 1, "composite": 0.0125, "rmse": 9.0, "skill": 0.1},
        {"model": "LSTM", "run_id": "0b", "part": "test", "rank": 2, "composite": 0.0135, "rmse": 9.2, "skill": -0.08},
        {"model": "linear", "part": "test"},
        {"model": "PROPHET", "run_id": "0c", "part": "selection", "rank": 1, "composite": 0.5},
    ]
    promotion = {"model_type": "GRU", "run_id": "0a", "composite_score": 0.02353}
    given = {"forecast": run_summary()["forecast"] | {"leaderboard": json.dumps(entries)}, "promotion": promotion}
    text = run_page(run_summary() | given, {})
    board = text[text.index("<h2>Leaderboard</h2>") :]
    said = " ".join(Page(text).said.split())
    assert "1 GRU promoted 0.01250 9" in said
    assert "2 LSTM 0.01350 9.200" in said
    assert "\u2013 Linear (ridge) \u2013" in said
    assert '<span class="bad">\u22128.0\u202f%</span>' in board
    assert "PROPHET" not in board
    assert "Leaderboard" not in run_page(run_summary() | {"forecast": {"leaderboard": '[{"part": 1}]'}}, {})


def test_a_run_whose_steps_lie_in_the_future_says_that_nothing_is_measured():
    summary = run_summary() | {"forecast": {"inference_count": 1, "rmse": None, "backtest_rmse": None}}
    said = " ".join(Page(run_page(summary, {})).said.split())
    assert "1 step forecast; none of them is measured yet." in said
    assert "Backtest: " not in said


def test_a_held_winner_is_not_called_promoted_and_the_forecast_not_its_own():
    promotion = {"model_type": "GRU", "composite_score": 0.1, "status": "HELD"}
    text = run_page(run_summary() | {"promotion": promotion}, {})
    assert '<span class="tag held">held</span>' in text
    assert ">promoted<" not in text
    assert "GRU is held; the forecast" in Page(text).said
    assert "GRU" not in text[text.index("<h2>Forecast</h2>") : text.index("<h2>Parameters</h2>")]


def test_a_decision_is_on_the_page_once():
    scores = Scores(0.1, 0.2, 0.3)
    champion = Champion("LSTM", "run-1", "2025-01-02T03:04:05.000000Z", scores, scores, 60)
    decision = "GRU is held: it does not beat the champion LSTM (run run-1) on the same 60 rows"
    report = replace(evaluation_report(), held=True, decision=decision, champion=champion)
    text = " ".join(Page(evaluation_page(report)).said.split())
    assert text.count(decision) == 1
    assert "LSTM, run run-1 , promoted 2025-01-02 03:04:05 UTC." in text
    assert "One step ahead on the same 60 rows" in text
    obstacle = replace(champion, scores=None, challenger=None, obstacle="its bundle is gone")
    text = " ".join(Page(evaluation_page(replace(report, champion=obstacle))).said.split())
    assert "It cannot be compared with the winner: its bundle is gone." in text


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
    text = Page(run_page(summary, {})).said
    assert "The run failed." in text
    assert text.count("data.csv has no column time.") == 1
    assert "not run" in text
    Page(run_page({}, {}))
