"""The linear skip against scikit-learn, and what it may see."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from flts.models import ridge
from flts.models.linear_skip import HALF_LIVES, LinearSkip, SkipInputs, skip_columns
from flts.timeseries.averages import TAPS
from flts.timeseries.features import time_features

MINUTE = np.timedelta64(60, "s")
CALENDAR = ("min_of_day_sin", "min_of_day_cos")


def series(rows: int = 900, gap: int | None = 500, columns: int = 3) -> SkipInputs:
    random = np.random.default_rng(3)
    time = np.datetime64("2024-03-01", "us") + np.arange(rows) * 5 * MINUTE
    if gap:
        time[gap:] += 600 * MINUTE
    values = 50 + random.normal(size=(rows, columns)).cumsum(axis=0) * [1.0, 20.0, 0.1][:columns]
    return SkipInputs.of(time, values, 300.0)


def learned(
    rows: SkipInputs, origins: np.ndarray, horizon: int = 2, **changes: object
) -> tuple[LinearSkip, np.ndarray, np.ndarray]:
    targets = rows.values[:, :2]
    labels = targets[origins[:, None] + np.arange(horizon)] - targets[origins - 1][:, None]
    weights = np.random.default_rng(4).uniform(0.2, 1.8, size=(len(origins), 2))
    weights /= weights.mean(axis=0)
    skip = LinearSkip.learn(rows, origins, labels, weights, **{"calendar": CALENDAR, "embargo": 10, **changes})
    return skip, labels, weights


def by_hand(rows: SkipInputs, origin: int, step: int) -> np.ndarray:
    """The features of one forecast, written out."""
    values = (rows.values - rows.values.mean(axis=0)) / rows.values.std(axis=0)
    last = origin - 1
    start = max(last - rows.since[last], last - TAPS + 1)
    parts = [values[max(last - back, last - rows.since[last])] for back in range(3)]
    ages = np.arange(last - start, -1, -1)
    parts += [np.average(values[start : last + 1], axis=0, weights=0.5 ** (ages / hl)) for hl in HALF_LIVES]
    moment = time_features(rows.time[origin + step : origin + step + 1])
    return np.concatenate([*parts, *(moment[name] for name in CALENDAR)])


def test_numbers_equal_scikit_learns_ridge_with_sample_weights():
    rows = series()
    origins = np.r_[10:500, 510:899]
    skip, labels, weights = learned(rows, origins)
    forecasts = skip(rows, origins)
    for h in range(2):
        features = np.array([by_hand(rows, origin, h) for origin in origins])
        for j in range(2):
            expected = Ridge(alpha=skip.alphas[h, j], solver="svd").fit(features, labels[:, h, j], weights[:, j])
            np.testing.assert_allclose(skip.coefficients[h, j, 1:], expected.coef_, rtol=1e-6, atol=1e-9)
            np.testing.assert_allclose(skip.coefficients[h, j, 0], expected.intercept_, rtol=1e-6, atol=1e-9)
            np.testing.assert_allclose(forecasts[:, h, j], expected.predict(features), rtol=1e-7, atol=1e-9)


def test_alpha_is_the_one_that_forecasts_blocks_best_from_what_lies_further_away_than_the_embargo():
    rows = series(gap=None)
    origins = np.arange(10, 899)
    skip, labels, weights = learned(rows, origins)
    edges = np.linspace(10, 899, 6).astype(int)
    for h in range(2):
        features = np.array([by_hand(rows, origin, h) for origin in origins])
        for j in range(2):
            errors = []
            for alpha in ridge.ALPHAS:
                error = 0.0
                for start, stop in itertools.pairwise(edges):
                    block = (origins >= start) & (origins < stop)
                    others = (origins < start - 10) | (origins >= stop + 10)
                    model = Ridge(alpha=alpha).fit(features[others], labels[others, h, j], weights[others, j])
                    error += weights[block, j] @ (model.predict(features[block]) - labels[block, h, j]) ** 2
                errors.append(error)
            assert skip.alphas[h, j] == ridge.ALPHAS[int(np.argmin(errors))]
    assert ridge.ALPHAS[0] == 1e-2
    assert ridge.ALPHAS[-1] == pytest.approx(1e6)
    np.testing.assert_allclose(np.diff(np.log10(ridge.ALPHAS)), 0.5)


def test_all_origins_at_once_equal_each_from_the_rows_that_a_server_keeps():
    rows = series()
    skip, _, _ = learned(rows, np.r_[10:500, 510:899])
    origins = np.array([3, 20, 255, 256, 257, 400, 502, 700, 756, 757, 899, 900])
    together = skip(rows, origins)
    for position, origin in enumerate(origins):
        first = max(0, origin - TAPS)
        kept = SkipInputs.of(rows.time[first : origin + 1], rows.values[first:origin], 300.0) if origin < 900 else None
        kept = kept or SkipInputs.of(rows.time[first:], rows.values[first:], 300.0)
        np.testing.assert_allclose(skip(kept, np.array([origin - first]))[0], together[position], rtol=0, atol=1e-9)


def test_no_row_after_the_origins_and_their_labels_changes_a_fit():
    rows = series()
    origins = np.arange(10, 480)
    skip, labels, weights = learned(replace(rows, values=rows.values[:482], since=rows.since[:482]), origins)
    assert np.isfinite(skip(rows, np.array([900]))).all()
    again = LinearSkip.learn(
        SkipInputs.of(rows.time[:482], rows.values[:482], 300.0),
        origins,
        labels,
        weights,
        calendar=CALENDAR,
        embargo=10,
    )
    assert np.array_equal(again.coefficients, skip.coefficients)


def test_too_few_rows_for_blocks_get_the_strongest_penalty():
    rows = series(rows=16, gap=None)
    skip, _, _ = learned(rows, np.arange(10, 15), calendar=())
    assert (skip.alphas == ridge.ALPHAS[-1]).all()
    assert np.abs(skip.coefficients[:, :, 1:]).max() < 1e-3


def test_given_strengths_are_kept():
    rows = series()
    skip, _, _ = learned(rows, np.arange(10, 480), alphas=np.array([[1.0, 10.0], [100.0, 1e3]]))
    assert skip.alphas.tolist() == [[1.0, 10.0], [100.0, 1e3]]


def test_a_constant_column_and_a_constant_target_are_no_trouble():
    rows = series()
    rows.values[:, 0] = 7.0
    skip, _, _ = learned(rows, np.arange(10, 480))
    assert np.abs(skip(rows, np.arange(10, 900))[:, :, 0]).max() < 1e-9


def test_lags_and_time_features_are_not_measured():
    names = ("a", "b_lag_2", "a_lag_1", "min_of_day_sin", "day_of_week_cos")
    assert skip_columns(names) == ("a", "b_lag_2")
