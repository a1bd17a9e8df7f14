"""LightGBM forecasters: against LightGBM's own predictor, saved and loaded, without leakage, on odd series."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flts.models import bundle
from flts.models.boosting.features import reach
from flts.models.boosting.training import fit_lightgbm
from flts.models.boosting.trees import Trees
from flts.params import LightGBMParams
from flts.timeseries.processed import ProcessedData
from tests.support.processed import processed

ORIGINS = np.array([12, 200, 257, 300, 480])


def params(**changed) -> LightGBMParams:
    small = {"min_data_in_leaf": 10, "num_boost_round": 60, "early_stopping_round": 10, "target_transform": "log1p"}
    return LightGBMParams(config_hash="", config_json="", identifier="x", **small | changed)


def series(rows: int = 600, **options) -> ProcessedData:
    """Return two positive targets that follow a covariate, every hour, with a gap and daily waves."""
    generator = np.random.default_rng(7)
    hours = np.arange(rows) + np.where(np.arange(rows) > 400, 7, 0)
    wave = np.sin(2 * np.pi * hours / 24)
    driver = generator.normal(size=rows)
    y = np.exp(1 + wave + 0.4 * np.roll(driver, 1) + 0.1 * generator.normal(size=rows))
    z = 50 + 20 * wave + 2 * generator.normal(size=rows)
    columns = {"y": y, "z": z, "x": driver}
    columns |= {"min_of_day_sin": wave, "min_of_day_cos": np.cos(2 * np.pi * hours / 24)}
    return processed(columns, targets=("y", "z"), minutes=hours * 60.0, **options)


@pytest.fixture(scope="module")
def fitted():
    data = series()
    return data, fit_lightgbm(data, params(output_seq_len=2))


def all_trees(forecaster) -> list[Trees]:
    return [trees for views in forecaster.boosters.values() for each in views for trees in each.steps if trees]


def test_trees_give_the_bits_of_lightgbm_itself(fitted):
    import lightgbm as lgb

    _, fit = fitted
    found = all_trees(fit.forecaster)
    assert len(found) >= 4
    generator = np.random.default_rng(0)
    for trees in found:
        rows = generator.normal(size=(500, trees.features)) * 10.0 ** generator.integers(-3, 3, size=(500, 1))
        rows[generator.random(rows.shape) < 0.2] = np.nan
        assert np.array_equal(trees(rows), lgb.Booster(model_str=trees.text).predict(rows, raw_score=True))
        assert np.array_equal(trees(rows[7:8]), trees(rows)[7:8])


def test_a_bundle_forecasts_the_same_bits(fitted, tmp_path: Path):
    data, fit = fitted
    bundle.save(tmp_path / "bundle", fit.forecaster, data)
    loaded = bundle.load(tmp_path / "bundle").forecaster
    assert np.array_equal(loaded.forecast(data.frame, ORIGINS), fit.forecaster.forecast(data.frame, ORIGINS))
    assert loaded.history_rows == fit.forecaster.history_rows == reach(3600)
    assert json.loads((tmp_path / "bundle/config.json").read_text())["hyperparameters"] == fit.forecaster.config()


def test_it_beats_persistence_by_far_where_there_is_a_pattern(fitted):
    data, fit = fitted
    origins = np.arange(data.parts.validation_end, len(data))
    predicted = fit.forecaster.forecast(data.frame, origins)[:, 0]
    values = data.frame.matrix(data.targets)
    error = np.sqrt(np.mean((predicted - values[origins]) ** 2, axis=0))
    assert (error < 0.8 * np.sqrt(np.mean((values[origins - 1] - values[origins]) ** 2, axis=0))).all()


def test_a_forecast_is_the_same_from_the_rows_that_a_server_keeps(fitted):
    data, fit = fitted
    together = fit.forecaster.forecast(data.frame, ORIGINS)
    for position, origin in enumerate(ORIGINS):
        first = max(0, origin - fit.forecaster.history_rows)
        alone = fit.forecaster.forecast(data.frame.rows(first, origin), np.array([origin - first]))
        assert np.array_equal(alone[0], together[position])


def test_values_from_the_origin_on_change_no_forecast(fitted):
    data, fit = fitted
    origin = 300
    changed = {name: np.where(np.arange(len(data)) >= origin, 1e6, v) for name, v in data.frame.columns.items()}
    there = np.array([origin])
    assert np.array_equal(
        fit.forecaster.forecast(replace(data.frame, columns=changed), there), fit.forecaster.forecast(data.frame, there)
    )


def test_values_before_a_gap_change_no_forecast(fitted):
    data, fit = fitted
    gap = 401
    changed = {name: np.where(np.arange(len(data)) < gap, 1e6, v) for name, v in data.frame.columns.items()}
    origins = np.array([gap + 10, gap + 100])
    assert np.array_equal(
        fit.forecaster.forecast(replace(data.frame, columns=changed), origins),
        fit.forecaster.forecast(data.frame, origins),
    )
