"""Prediction intervals: they hold as many values as they promise, and see nothing of what is to come."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flts.errors import BadInputError
from flts.models import bundle
from flts.models.base import Forecaster
from flts.models.config import RECENT_SCORES, STEPS, FittedIntervals
from flts.models.forecasting import forecast_from, forecast_steps, one_step
from flts.models.intervals import Intervals, running_quantiles
from flts.models.prophet.forecaster import ProphetForecaster
from flts.models.prophet.residual_correction import ResidualCorrection
from flts.models.table import forecast_table
from flts.stages.forecasting.backtest import backtest
from flts.timeseries.frame import Frame
from flts.timeseries.processed import ProcessedData
from flts.timeseries.windows import forecast_origins
from tests.support.bundles import edit
from tests.support.processed import processed, prophet_line
from tests.support.series import ToyForecaster

WINDOW = 4


class LastValue:
    """Persistence: on a random walk its errors are the steps of the walk."""

    model_type = "GRU"
    input_seq_len = history_rows = WINDOW

    def __init__(self, data: ProcessedData, output_seq_len: int = 1) -> None:
        self.targets = self.features = data.targets
        self.output_seq_len = output_seq_len

    def forecast(self, frame: Frame, origins: np.ndarray) -> np.ndarray:
        return np.repeat(frame.matrix(self.targets)[origins - 1][:, None], self.output_seq_len, axis=1)


def walk(changes: np.ndarray, targets: tuple[str, ...] = ("y",)) -> ProcessedData:
    """Random walks of given steps (n,) or (n, targets)."""
    values = np.cumsum(changes.reshape(len(changes), -1), axis=0)
    return processed(dict(zip(targets, values.T, strict=True)), targets=targets)


def noise(kind: str, rows: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    if kind == "heavy-tailed":
        return random.standard_t(3, rows)
    if kind == "fivefold":  # quiet and loud spells of 300 rows
        return random.normal(size=rows) * np.where(np.arange(rows) // 300 % 2, 5.0, 1.0)
    return random.normal(size=rows)


def learned(forecaster: Forecaster, data: ProcessedData, level: float = 0.9) -> Intervals:
    origins = forecast_origins(data.gap_before(), data.parts.validation_end, len(data), WINDOW)
    return Intervals.learn(forecaster, data, one_step(forecaster, data, origins), origins, level)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("kind", ["gaussian", "heavy-tailed", "fivefold"])
def test_one_step_intervals_hold_what_they_promise(kind, level):
    train, test = walk(noise(kind, 6000, 1)), walk(noise(kind, 4000, 2))
    tested, _ = backtest(LastValue(train), test, learned(LastValue(train), train, level))
    # Three standard errors of the share, and of the quantile of 500 scores.
    assert tested.coverage == pytest.approx(level, abs=3 * np.sqrt(level * (1 - level) * (1 / 4000 + 1 / 500)))


@pytest.mark.parametrize("kind", ["gaussian", "heavy-tailed", "fivefold"])
def test_intervals_of_forty_steps_hold_what_they_promise(kind):
    train, test = walk(noise(kind, 8000, 3)), walk(noise(kind, 8000, 4))
    model = LastValue(train)
    origins = np.arange(300, 7900, 61)  # at all times of a spell of 300
    calibrated = learned(model, train).calibrated(test, np.empty((0, 1)), np.array([], dtype=np.int64))
    for ahead in (2, 12, 40):
        error = np.abs(test.actual_matrix()[origins + ahead - 1] - forecast_from(model, test, origins, ahead)[:, -1])
        inside = error <= calibrated.half_widths(origins, np.full(len(origins), ahead))
        assert inside.mean() == pytest.approx(0.9, abs=0.1)


def test_they_are_wider_where_values_move_more():
    changes = noise("gaussian", 4000, 5) * np.where(np.arange(4000) < 2000, 1.0, 5.0)
    data = walk(changes)
    tested, _ = backtest(LastValue(data), data, learned(LastValue(data), walk(noise("gaussian", 4000, 6))))
    quiet, loud = tested.half_width[:1900].mean(), tested.half_width[2200:].mean()
    assert loud / quiet == pytest.approx(5, rel=0.2)


def test_recalibration_follows_a_model_that_grew_worse():
    """Errors twice as large for the volatility as they were: half of the values would be outside for good."""
    train = walk(noise("gaussian", 4000, 7))

    class Worse(LastValue):
        def forecast(self, frame: Frame, origins: np.ndarray) -> np.ndarray:
            return super().forecast(frame, origins) + 2.0

    test = walk(noise("gaussian", 4000, 8))
    tested, _ = backtest(Worse(train), test, learned(LastValue(train), train))
    inside = np.abs(tested.actual - tested.predicted) <= tested.half_width
    assert inside[:100].mean() < 0.75
    assert inside[1000:].mean() == pytest.approx(0.9, abs=0.03)


@settings(max_examples=30, deadline=None)
@given(row=st.integers(WINDOW, 299), seed=st.integers(0, 5))
def test_no_interval_sees_its_own_row_or_a_later_one(row, seed):
    train, data = walk(noise("gaussian", 400, 9)), walk(noise("gaussian", 300, seed))
    intervals = learned(LastValue(train), train)
    changed = np.where(np.arange(300) < row, data.frame.columns["y"], 1e6)
    other = replace(data, frame=Frame(data.frame.time, {"y": changed}), actual={"y": changed})
    before, after = (backtest(LastValue(train), each, intervals)[0] for each in (data, other))
    upto = before.origins <= row
    assert np.array_equal(before.half_width[upto], after.half_width[upto])


def test_nothing_but_the_scored_rows_teaches_widths_and_the_fit_part_the_unit():
    data = walk(noise("gaussian", 1000, 10))
    intervals = learned(LastValue(data), data)
    values = data.frame.columns["y"].copy()
    values[700:850] += np.linspace(0, 3, 150)  # the validation part, which ends where it did
    values[850:] += 3
    moved = replace(data, frame=Frame(data.frame.time, {"y": values}), actual={"y": values})
    again = learned(LastValue(moved), moved)
    assert np.array_equal(again.volatility.mean, intervals.volatility.mean)
    assert len(intervals.recent[0]) == 150
    np.testing.assert_allclose(again.recent[0][-50:], intervals.recent[0][-50:], rtol=0.05)


def test_running_quantiles_are_those_of_the_last_500_scores_before_each():
    random = np.random.default_rng(11)
    before, arriving = random.random(700), random.random(300)
    arriving[::7] = np.nan
    found = running_quantiles(before.tolist(), arriving, 0.9)
    for row in range(301):
        known = np.concatenate([before, arriving[:row]])
        last = np.sort(known[~np.isnan(known)][-RECENT_SCORES:])
        assert found[row] == last[451 - 1]  # ceil(501 * 0.9)


def test_few_scores_give_their_largest():
    assert running_quantiles([], np.array([3.0, 1.0, np.nan]), 0.9).tolist()[1:] == [3, 3, 3]
    assert np.isnan(running_quantiles([], np.array([3.0]), 0.9)[0])


@pytest.mark.parametrize("output_seq_len", [1, 5])
def test_two_hundred_rows_of_several_targets_are_enough(output_seq_len):
    random = np.random.default_rng(12)
    data = walk(random.normal(size=(200, 2)) * [1.0, 100.0], ("y", "z"))
    intervals = learned(LastValue(data, output_seq_len), data)
    assert intervals.widths.shape[1] == 2
    assert 1 < len(intervals.widths) <= 30
    forecast = forecast_steps(LastValue(data, output_seq_len), data, start=len(data), steps=60)
    bounds = intervals.calibrated_on_recent(LastValue(data), data).bounds(forecast)
    assert bounds.upper.shape == (60, 2)
    widths = (bounds.upper - bounds.lower)[0]
    assert 50 < widths[1] / widths[0] < 200


def test_a_constant_tail_has_narrow_intervals_and_no_nan():
    changes = np.where(np.arange(1000) < 400, noise("gaussian", 1000, 13), 0.0)
    data = walk(changes)
    intervals = learned(LastValue(data), data)
    forecast = forecast_steps(LastValue(data), data, start=len(data), steps=5)
    bounds = intervals.calibrated_on_recent(LastValue(data), data).bounds(forecast)
    assert np.array_equal(bounds.lower, forecast.values)
    # One step of one moves what has been constant: the interval opens for the rows that follow.
    moved = walk(np.where(np.arange(600) == 50, 1.0, 0.0))
    tested, _ = backtest(LastValue(data), moved, intervals)
    assert np.isfinite(tested.half_width).all()


def test_a_drop_of_the_level_widens_intervals_for_a_while():
    changes = noise("gaussian", 1000, 16)
    changes[500] = -100.0
    data = walk(changes)
    tested, _ = backtest(LastValue(data), data, learned(LastValue(data), walk(noise("gaussian", 2000, 17))))
    at = {int(row): half for row, half in zip(tested.origins, tested.half_width[:, 0], strict=True)}
    assert at[500] == pytest.approx(at[499], rel=0.3)  # nothing of it is known yet
    assert at[501] > 3 * at[499]
    assert at[700] < 1.3 * at[499]


def test_steps_past_the_last_known_have_its_width():
    data = walk(noise("gaussian", 2000, 14))
    intervals = learned(LastValue(data), data)
    assert len(intervals.widths) == STEPS
    calibrated = intervals.calibrated_on_recent(LastValue(data), data)
    ends = np.full(3, len(data))
    widths = calibrated.half_widths(ends, np.array([STEPS, STEPS + 1, 10_000]))[:, 0]
    assert widths[0] == widths[1] == widths[2]


def test_forecasts_of_the_table_and_of_the_backtest_have_the_same_bounds(saved: Path):
    loaded = bundle.load(saved)
    data = series()
    forecast = forecast_steps(loaded.forecaster, data, start=len(data), steps=12)
    _, calibrated = backtest(loaded.forecaster, data, loaded.intervals)
    bounds = calibrated.bounds(forecast)
    history = pd.DataFrame({"time": data.frame.time, "y": data.frame.columns["y"], "x": data.frame.columns["x"]})
    table = forecast_table(loaded, history, 12)
    assert list(table.columns) == ["time", "y", "y_lower", "y_upper"]
    np.testing.assert_allclose(table["y_lower"], bounds.lower[:, 0], rtol=1e-6)
    np.testing.assert_allclose(table["y_upper"], bounds.upper[:, 0], rtol=1e-6)


def test_a_bundle_gives_back_its_intervals_and_an_older_one_has_none(saved: Path):
    loaded = bundle.load(saved)
    assert loaded.intervals.fitted() == made().fitted()
    fields = json.loads((saved / "config.json").read_text())
    assert fields["intervals"]["level"] == 0.9
    edit(saved, "config.json", lambda document: {k: v for k, v in document.items() if k != "intervals"})
    older = bundle.load(saved)
    assert older.intervals is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("level", 1.0),
        ("level", 0.2),
        ("volatility", {"y": 0.0}),
        ("volatility", {"other": 1.0}),
        ("widths", {"y": [-1.0]}),
        ("widths", {"y": []}),
        ("widths", {"y": [1.0] * (STEPS + 1)}),
        ("widths", {"y": ["wide"]}),
        ("recent", {"y": [1.0] * (RECENT_SCORES + 1)}),
        ("recent", {"y": [float("nan")]}),
        ("recent", None),
    ],
)
def test_intervals_that_cannot_be_are_refused_in_one_sentence(saved: Path, field, value):
    edit(saved, "config.json", lambda document: document | {"intervals": document["intervals"] | {field: value}})
    with pytest.raises(BadInputError, match="interval") as caught:
        bundle.load(saved)
    assert "\n" not in str(caught.value)


def test_a_target_measured_less_often_has_the_bounds_of_the_backtest_too():
    random = np.random.default_rng(18)
    train, data = (walk(random.normal(size=(3000, 2)) * scale, ("y", "z")) for scale in (1.0, [3.0, 1.0]))
    seldom = data.actual["y"].copy()
    seldom[-400:-100] = np.nan
    data = replace(data, actual=data.actual | {"y": seldom})
    model, intervals = LastValue(train), learned(LastValue(train), train)
    forecast = forecast_steps(model, data, start=len(data), steps=3)
    _, calibrated = backtest(model, data, intervals)
    expected, found = calibrated.bounds(forecast), intervals.calibrated_on_recent(model, data).bounds(forecast)
    np.testing.assert_allclose(found.upper, expected.upper, rtol=1e-9)


@cache
def series() -> ProcessedData:
    random = np.random.default_rng(15)
    return processed({"y": random.normal(size=300).cumsum(), "x": random.normal(size=300)})


@cache
def made() -> Intervals:
    return learned(ToyForecaster(series(), WINDOW, 1), series())


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A bundle with the intervals of another model: what they are is no matter of the weights."""
    model = ProphetForecaster(
        {"y": prophet_line(0, 1)},
        corrections={"y": ResidualCorrection.decay(0.5, 1)},
        input_seq_len=WINDOW,
        output_seq_len=1,
        sampling_seconds=3600,
        hyperparameters={},
    )
    bundle.save(tmp_path / "bundle", model, series(), intervals=made())
    return tmp_path / "bundle"


def test_the_json_form_is_small():
    assert isinstance(made().fitted(), FittedIntervals)
    assert len(made().fitted().model_dump_json()) < 20_000
