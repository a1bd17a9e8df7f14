"""The scale of targets with heavy tails: the way there and back, the rule, and what it must not see."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flts.errors import BadInputError
from flts.models.target_transform import (
    NO_MEAN,
    NO_VARIANCE,
    FittedLog1p,
    Log1p,
    TargetTransform,
    mean_factor,
    suitable_scale,
    tail_weight,
    target_scales,
)
from flts.timeseries.frame import Frame
from flts.timeseries.processed import ProcessedData
from tests.support.series import make_data

AMOUNTS = st.lists(st.floats(0, 1e12), min_size=1, max_size=60).map(np.array)


def amounts(rows: int = 400, *, spread: float = 1.0, seed: int = 1) -> np.ndarray:
    return 1e6 * np.exp(np.random.default_rng(seed).normal(0, spread, rows))


def with_targets(**columns: np.ndarray) -> ProcessedData:
    rows = len(next(iter(columns.values())))
    data = make_data(rows)
    frame = Frame(data.frame.time, {**data.frame.columns, **columns})
    return replace(data, frame=frame, actual=columns, targets=tuple(columns))


@given(values=AMOUNTS)
@settings(max_examples=60, deadline=None)
def test_there_and_back_is_the_value_and_the_order_stays(values):
    scale = Log1p.learn(values, float(values.max()), 1)
    there = scale.forward(values)
    assert np.isfinite(there).all()
    assert (np.diff(there[np.argsort(values)]) >= 0).all()
    back = scale.mean(there[:, None], values)[:, 0]
    np.testing.assert_allclose(back, values, rtol=1e-9, atol=1e-12 * (1 + values.max()))


@given(
    forecasts=st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=20).map(np.array),
    factor=st.floats(1e-3, 1e3),
    values=AMOUNTS,
)
@settings(max_examples=60, deadline=None)
def test_no_forecast_is_negative_or_without_bounds_whatever_the_model_says(forecasts, factor, values):
    scale = replace(Log1p.learn(values, float(values.max()), 1), mean_factor=np.array([factor]))
    last = values[: len(forecasts)].repeat(-(-len(forecasts) // len(values[: len(forecasts)])))[: len(forecasts)]
    back = scale.mean(forecasts[:, None], last)
    assert (back >= 0).all()
    assert (back <= 2 * values.max()).all()


def test_forecasts_follow_a_target_that_has_left_the_range_it_was_learned_on():
    scale = Log1p.learn(np.arange(1.0, 101.0), 100.0, 1)
    there = scale.forward(np.array([150.0, 5e9]))
    np.testing.assert_allclose(scale.mean(there[:, None], np.array([0.0, 5e9]))[:, 0], [150.0, 5e9])
    np.testing.assert_allclose(scale.mean(there[:, None], np.array([0.0, 300.0]))[:, 0], [150.0, 300.0])


@pytest.mark.parametrize("values", [np.zeros(50), np.full(50, 7.0), np.full(50, 5e-324), np.r_[np.zeros(49), 1e300]])
def test_zeros_constants_and_extreme_units_have_a_scale(values):
    scale = Log1p.learn(values, values.max(), 1)
    np.testing.assert_allclose(scale.mean(scale.forward(values)[:, None], values)[:, 0], values, atol=1e-190)
    assert suitable_scale(values, np.zeros(len(values), dtype=bool)) == "none"


@pytest.mark.parametrize("spread", [0.2, 0.6, 1.2])
def test_forecasts_of_the_mean_have_the_mean_of_the_values(spread):
    values = amounts(4000, spread=spread)
    scale = Log1p.learn(values, values.max(), 1)
    level = np.full((len(values), 1), np.log1p(1e6 / scale.scale))  # the median
    there = scale.forward(values)[:, None]
    median = scale.mean(level, values).mean()
    mean = replace(scale, mean_factor=mean_factor(level, there)).mean(level, values).mean()
    assert mean == pytest.approx(values.mean(), rel=0.02)
    assert abs(mean - values.mean()) < abs(median - values.mean())


def test_a_spike_hardly_changes_the_factor_of_all_forecasts():
    values = np.log(amounts(500, spread=0.3))[:, None]
    forecasts = np.full_like(values, np.log(1e6))
    usual = mean_factor(forecasts, values)
    values[250] += np.log(1e9)
    assert mean_factor(forecasts, values) == pytest.approx(usual, rel=0.05)
    assert mean_factor(np.empty((0, 3)), np.empty((0, 3))).tolist() == [1.0, 1.0, 1.0]


def test_the_rule_goes_by_the_tails_of_the_changes():
    random = np.random.default_rng(3)
    no_gap = np.zeros(20_001, dtype=bool)

    def series(changes: np.ndarray) -> np.ndarray:
        # Every second value is the level, so that successive changes are draws and their opposites.
        values = np.full(20_001, 1e6)
        values[1::2] += changes[:10_000]
        return values

    normal, between, heavy = random.normal(size=10_000), random.standard_t(1.5, 10_000), random.standard_t(0.6, 10_000)
    assert tail_weight(normal) == pytest.approx(2.91, rel=0.05)
    assert tail_weight(random.standard_t(2, 200_000)) == pytest.approx(NO_VARIANCE, rel=0.02)
    assert tail_weight(random.standard_cauchy(200_000)) == pytest.approx(NO_MEAN, rel=0.02)
    assert suitable_scale(series(normal), no_gap) == "none"
    assert suitable_scale(series(np.abs(between)), no_gap) == "both"
    assert suitable_scale(series(np.abs(heavy)), no_gap) == "log1p"
    assert suitable_scale(series(np.abs(heavy)) - 2e6, no_gap) == "none"
    assert suitable_scale(np.array([]), np.zeros(0, dtype=bool)) == "none"


@given(row=st.integers(0, 29), value=st.floats(-1e9, 1e12))
@settings(max_examples=30, deadline=None)
def test_no_value_after_the_fit_part_changes_the_rule_or_the_scale(row, value):
    steady, heavy = 1e6 + np.arange(100.0), amounts(100, spread=2.0)
    first = with_targets(steady=steady, heavy=heavy)
    end = first.parts.fit_end
    changed = heavy.copy()
    changed[end + row] = value
    second = with_targets(steady=steady, heavy=changed)
    assert ("none", "none") != target_scales(first, "auto") == target_scales(second, "auto")
    learned = [TargetTransform.learn(data, ["heavy"], stop=end, horizon=2).to_dict() for data in (first, second)]
    assert learned[0] == learned[1]


def test_a_negative_target_is_refused_where_the_logarithm_is_asked_for_and_left_alone_by_auto():
    values = amounts(100, spread=2.0)
    values[60] = -3.5
    data = with_targets(load=values)
    with pytest.raises(BadInputError, match=r"column 'load' is -3\.5 at 2024-03-01T23:00.*; none or auto is needed"):
        target_scales(data, "log1p")
    assert target_scales(data, "auto") == ("none",)
    assert target_scales(data, "none") == ("none",)


def test_targets_and_their_lags_are_transformed_and_nothing_else():
    data = with_targets(load=amounts(50), other=amounts(50), load_lag_2=amounts(50))
    transform = TargetTransform.learn(data, ["load"], stop=50, horizon=2)
    there = transform.forward(data.frame)
    changed = {name for name in there.columns if not np.array_equal(there.columns[name], data.frame.columns[name])}
    assert changed == {"load", "load_lag_2"}
    forecasts = np.stack([there.columns["load"][:2], data.frame.columns["other"][:2]], axis=-1)[None]
    last = np.array([[data.frame.columns[name][0] for name in ("load", "other")]])
    expected = np.stack([data.frame.columns[name][:2] for name in ("load", "other")], axis=-1)[None]
    np.testing.assert_allclose(transform.mean(("load", "other"), forecasts, last), expected)


def test_the_json_form_gives_the_same_transform():
    data = with_targets(load=amounts(50), other=amounts(50))
    learned = TargetTransform.learn(data, ["other"], stop=40, horizon=2)
    there = learned.forward(data.frame).matrix(data.targets)[:, None].repeat(2, axis=1)
    learned = learned.calibrated(data.targets, there + 0.1, there)
    fitted = {name: FittedLog1p.model_validate(each) for name, each in learned.to_dict().items()}
    assert TargetTransform.of_fitted(fitted, data.targets, 2).to_dict() == learned.to_dict()
    for targets, horizon in ((("load",), 2), (data.targets, 3)):
        with pytest.raises(ValueError, match="other"):
            TargetTransform.of_fitted(fitted, targets, horizon)
