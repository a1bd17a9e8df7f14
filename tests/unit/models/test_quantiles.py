"""Quantiles: they hold what they promise, never cross, and see nothing of what is to come."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flts.errors import BadInputError
from flts.models import bundle, pyfunc
from flts.models.config import LEVELS, FittedIntervals
from flts.models.forecasting import forecast_steps, one_step
from flts.models.intervals import Intervals
from flts.models.table import forecast_table
from flts.stages.forecasting.backtest import backtest
from flts.timeseries.frame import Frame
from flts.timeseries.processed import ProcessedData
from flts.timeseries.windows import forecast_origins
from tests.support.bundles import edit
from tests.support.processed import processed
from tests.unit.models.test_intervals import WINDOW, LastValue, learned, noise, saved, series, walk

__all__ = ["saved"]  # a fixture

LEVELS_ASKED = (0.05, 0.25, 0.5, 0.75, 0.95)


def skewed(rows: int, seed: int) -> ProcessedData:
    """Positive values around one whose size grows with the level of the last, and that jump up more than down."""
    random = np.random.default_rng(seed)
    level = np.exp(np.sin(np.arange(rows) / 40) * 1.5)
    return processed({"y": level * random.lognormal(0, 0.6, rows)})


class Level(LastValue):
    """The mean of the last rows."""

    def forecast(self, frame: Frame, origins: np.ndarray) -> np.ndarray:
        values = frame.matrix(self.targets)
        means = np.mean([values[origins - back] for back in range(1, WINDOW + 1)], axis=0)
        return np.repeat(means[:, None], self.output_seq_len, axis=1)


@cache
def intervals_of_skewed() -> Intervals:
    data = skewed(6000, 1)
    return learned(Level(data), data)


def test_each_quantile_of_a_skewed_series_covers_its_share():
    test = skewed(4000, 2)
    tested, _ = backtest(Level(test), test, intervals_of_skewed(), LEVELS_ASKED)
    for level, share in tested.quantile_coverage.items():
        assert share == pytest.approx(level, abs=0.03)
    assert tested.coverage == pytest.approx(0.9, abs=0.03)


def test_intervals_of_a_skewed_series_are_narrower_at_the_same_coverage():
    test = skewed(4000, 2)
    today, _ = backtest(Level(test), test, intervals_of_skewed())
    signed, _ = backtest(Level(test), test, intervals_of_skewed(), LEVELS_ASKED)
    assert signed.coverage == pytest.approx(today.coverage, abs=0.02)
    assert signed.interval_width < 0.9 * today.interval_width
    below, above = (np.abs(each - signed.predicted).mean() for each in (signed.bounds.lower, signed.bounds.upper))
    assert above > 1.2 * below


def test_without_quantiles_nothing_is_other_than_it_was():
    data = skewed(400, 3)
    forecast = forecast_steps(Level(data), data, start=len(data), steps=60)
    calibrated = intervals_of_skewed().calibrated_on_recent(Level(data), data)
    half = calibrated.half_widths(forecast.origin, forecast.ahead)
    bounds = calibrated.bounds(forecast)
    assert np.array_equal(bounds.lower, forecast.values - half)
    assert np.array_equal(bounds.upper, forecast.values + half)
    assert not bounds.quantiles
    older = replace(intervals_of_skewed(), signed=None)
    assert np.array_equal(older.calibrated_on_recent(Level(data), data).bounds(forecast).lower, bounds.lower)
    tested, _ = backtest(Level(data), data, older)
    assert not any("_q0" in name or "wql" in name for name in tested.metrics())


SERIES = {
    "skewed": lambda seed: skewed(300, seed).frame.columns["y"],
    "constant": lambda _: np.full(300, 5.0),
    "counts": lambda seed: np.random.default_rng(seed).poisson(0.1, 300).astype(float),
    "spike": lambda seed: np.where(np.arange(300) == 250, 1e9, noise("gaussian", 300, seed)),
    "steps": lambda seed: np.repeat(noise("gaussian", 25, seed), 12),
    "below zero": lambda seed: np.cumsum(noise("heavy-tailed", 300, seed)),
}


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(sorted(SERIES)),
    seed=st.integers(0, 3),
    levels=st.lists(st.floats(0.001, 0.999), min_size=2, max_size=9, unique=True).map(sorted),
    older=st.booleans(),
)
def test_quantiles_never_cross(kind, seed, levels, older):
    data = processed({"y": SERIES[kind](seed)})
    intervals = learned(LastValue(data), data)
    intervals = replace(intervals, signed=None) if older else intervals
    forecast = forecast_steps(LastValue(data), data, start=len(data) - 3, steps=60)
    bounds = intervals.calibrated_on_recent(LastValue(data), data).bounds(forecast, levels)
    found = np.array([bounds.quantiles[level] for level in levels])
    assert np.isfinite(found).all()
    assert (np.diff(found, axis=0) >= 0).all()
    assert (bounds.lower <= bounds.upper).all()


@settings(max_examples=20, deadline=None)
@given(row=st.integers(WINDOW, 299), seed=st.integers(0, 3))
def test_no_quantile_sees_its_own_row_or_a_later_one(row, seed):
    data = skewed(300, seed)
    changed = np.where(np.arange(300) < row, data.frame.columns["y"], 1e6)
    other = replace(data, frame=Frame(data.frame.time, {"y": changed}), actual={"y": changed})
    before, after = (backtest(Level(each), each, intervals_of_skewed(), LEVELS_ASKED)[0] for each in (data, other))
    upto = before.origins <= row
    for level in LEVELS_ASKED:
        assert np.array_equal(before.bounds.quantiles[level][upto], after.bounds.quantiles[level][upto])


def test_nothing_learned_depends_on_values_before_the_selection_part_but_the_unit_and_the_history_of_its_rows():
    data = skewed(2000, 4)
    values = data.frame.columns["y"].copy()
    values[1400:1440] *= 7  # in the validation part, far from the selection part
    moved = replace(data, frame=Frame(data.frame.time, {"y": values}), actual={"y": values})
    first, again = learned(Level(data), data).signed, learned(Level(moved), moved).signed
    assert first.recent == again.recent
    assert np.array_equal(first.ahead, again.ahead)


def test_quantiles_of_what_is_never_negative_are_not_below_zero():
    data = skewed(2000, 5)
    model = Level(data)
    model.non_negative = ("y",)
    quiet = skewed(400, 6)
    tested, _ = backtest(model, quiet, learned(model, data), (0.001, 0.05, 0.5))
    free, _ = backtest(model, quiet, replace(learned(model, data), non_negative=()), (0.001, 0.05, 0.5))
    assert min(each.min() for each in free.bounds.arrays) < 0
    assert min(each.min() for each in tested.bounds.arrays) == 0
    assert np.array_equal(tested.bounds.quantiles[0.001], np.maximum(free.bounds.quantiles[0.001], 0))


def test_quantiles_follow_a_model_that_grew_worse_on_one_side():
    train, test = walk(noise("gaussian", 4000, 7)), walk(noise("gaussian", 4000, 8))

    class Low(LastValue):
        def forecast(self, frame: Frame, origins: np.ndarray) -> np.ndarray:
            return super().forecast(frame, origins) - 2.0

    tested, _ = backtest(Low(train), test, learned(LastValue(train), train), (0.05, 0.95))
    inside = (tested.bounds.lower <= tested.actual) & (tested.actual <= tested.bounds.upper)
    assert inside[:100].mean() < 0.75
    assert inside[1000:].mean() == pytest.approx(0.9, abs=0.03)
    assert (tested.bounds.upper - tested.predicted)[-1] > 2 * (tested.predicted - tested.bounds.lower)[-1]


@pytest.mark.parametrize("kind", ["gaussian", "heavy-tailed", "fivefold"])
def test_intervals_are_smooth_and_not_narrower_with_the_distance(kind):
    data = walk(noise(kind, 4000, 9))
    forecast = forecast_steps(LastValue(data), data, start=len(data), steps=60)
    bounds = learned(LastValue(data), data).calibrated_on_recent(LastValue(data), data).bounds(forecast, LEVELS_ASKED)
    inner = (bounds.quantiles[0.75] - bounds.quantiles[0.25])[:, 0]
    assert (np.diff(inner) >= -0.01 * inner.max()).all()
    width = (bounds.upper - bounds.lower)[:, 0]
    assert (np.diff(width) >= -0.01 * width.max()).all()
    assert width[40] > 3 * width[0]
    assert np.abs(np.diff(width[1:], n=2)).max() < 0.1 * width.max()
    assert width[47] == width[59]


def test_quantiles_several_steps_ahead_cover_their_share():
    train, test = (
        walk(np.random.default_rng(10).exponential(size=16000) - 1),
        walk(np.random.default_rng(11).exponential(size=16000) - 1),
    )
    model = LastValue(train)
    origins = np.arange(300, 15900, 13)
    rows = forecast_origins(test.gap_before(), WINDOW, len(test), WINDOW)
    calibrated = learned(model, train).calibrated(test, one_step(model, test, rows), rows)
    values = test.frame.matrix(("y",))[origins - 1]
    for ahead in (2, 12, 40):
        actual = test.actual_matrix()[origins + ahead - 1]
        bounds = calibrated.around(values, origins, np.full(len(origins), ahead), LEVELS_ASKED)
        for level, forecast in bounds.quantiles.items():
            assert (actual <= forecast).mean() == pytest.approx(level, abs=0.12)


def test_a_bundle_gives_back_the_same_quantiles():
    intervals, data = intervals_of_skewed(), skewed(400, 3)
    again = Intervals.of(FittedIntervals.model_validate_json(intervals.fitted().model_dump_json()), ("y",))
    forecast = forecast_steps(Level(data), data, start=len(data), steps=60)
    one, two = (
        each.calibrated_on_recent(Level(data), data).bounds(forecast, LEVELS_ASKED) for each in (intervals, again)
    )
    assert all(np.array_equal(first, second) for first, second in zip(one.arrays, two.arrays, strict=True))
    assert len(intervals.fitted().model_dump_json()) < 30_000


def test_an_older_bundle_has_symmetric_quantiles_until_values_are_measured():
    train, test = skewed(6000, 1), skewed(1200, 2)
    older = replace(learned(Level(train), train), signed=None)
    tested, _ = backtest(Level(test), test, older, (0.05, 0.95))
    below, above = tested.predicted - tested.bounds.lower, tested.bounds.upper - tested.predicted
    np.testing.assert_allclose(below[0], above[0], rtol=1e-9)
    assert above[-100:].mean() > 1.2 * below[-100:].mean()
    for level, share in tested.quantile_coverage.items():
        assert share == pytest.approx(level, abs=0.03)


def test_intervals_of_one_step_widen_like_those_of_others():
    data = walk(noise("heavy-tailed", 4000, 12))
    rows = forecast_origins(data.gap_before(), data.parts.validation_end, len(data), WINDOW)
    whole = learned(LastValue(data), data)
    alone = Intervals.of_one_step(data, one_step(LastValue(data), data, rows), rows, 0.9)
    assert alone.signed.ahead.shape == (1, 1, len(LEVELS))
    widened = alone.widening_like([whole, whole])
    np.testing.assert_allclose(widened.signed.ahead[0], whole.signed.ahead[0])
    growth = [each.signed.ahead[-1, 0, -1] - each.signed.ahead[-1, 0, 0] for each in (widened, whole)]
    assert growth[0] == pytest.approx(growth[1], rel=0.1)
    assert FittedIntervals.model_validate_json(widened.fitted().model_dump_json()).signed


def test_a_target_measured_less_often_has_the_quantiles_of_the_backtest_too():
    random = np.random.default_rng(18)
    train, data = (walk(random.normal(size=(3000, 2)) * scale, ("y", "z")) for scale in (1.0, [3.0, 1.0]))
    seldom = data.actual["y"].copy()
    seldom[-400:-100] = np.nan
    data = replace(data, actual=data.actual | {"y": seldom})
    model, intervals = LastValue(train), learned(LastValue(train), train)
    forecast = forecast_steps(model, data, start=len(data), steps=3)
    _, calibrated = backtest(model, data, intervals)
    expected = calibrated.bounds(forecast, LEVELS_ASKED)
    found = intervals.calibrated_on_recent(model, data).bounds(forecast, LEVELS_ASKED)
    for one, other in zip(found.arrays, expected.arrays, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


def history() -> pd.DataFrame:
    data = series()
    return pd.DataFrame({"time": data.frame.time, "y": data.frame.columns["y"], "x": data.frame.columns["x"]})


def test_a_table_has_a_column_for_each_quantile(saved):
    loaded = bundle.load(saved)
    table = forecast_table(loaded, history(), 12, quantiles="0.9, 0.05")
    assert list(table.columns) == ["time", "y", "y_lower", "y_upper", "y_q0.05", "y_q0.9"]
    assert np.array_equal(table["y_lower"], table["y_q0.05"])  # of 90 per cent
    same = pyfunc.forecast_table(loaded, history(), {"inference_length": 12, "quantiles": "0.05,0.9"})
    pd.testing.assert_frame_equal(same, table)
    with pytest.raises(BadInputError, match=r"^quantiles must be numbers between 0 and 1, .* not 2$"):
        forecast_table(loaded, history(), 12, quantiles=[2])


def test_a_model_without_intervals_refuses_quantiles_in_one_sentence(saved):
    edit(saved, "config.json", lambda document: {k: v for k, v in document.items() if k != "intervals"})
    with pytest.raises(
        BadInputError, match=r"^this PROPHET model has no intervals, and so no quantiles: train it again$"
    ):
        forecast_table(bundle.load(saved), history(), 12, quantiles="0.5")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("recent", {"y": []}),
        ("recent", {"other": [1.0]}),
        ("ahead", {"y": [[0.0] * (len(LEVELS) - 1)]}),
        ("ahead", {"y": [[1.0, *[0.0] * (len(LEVELS) - 1)]]}),
        ("ahead", {"y": [[0.0] * len(LEVELS)] * 49}),
        ("scale", {"y": {"floor": 0.0}}),
        ("scale", {}),
    ],
)
def test_signed_scores_that_cannot_be_are_refused_in_one_sentence(saved, field, value):
    def damage(document):
        signed = document["intervals"]["signed"] | {field: value}
        return document | {"intervals": document["intervals"] | {"signed": signed}}

    edit(saved, "config.json", damage)
    with pytest.raises(BadInputError, match=r"intervals\.signed") as caught:
        bundle.load(saved)
    assert "\n" not in str(caught.value)
