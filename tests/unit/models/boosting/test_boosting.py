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
from flts.progress import no_progress
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
    return [each.trees for views in forecaster.boosters.values() for each in views if each.trees]


def test_trees_give_the_bits_of_lightgbm_itself(fitted):
    import lightgbm as lgb

    _, fit = fitted
    found = all_trees(fit.forecaster)
    assert len(found) == 4  # two targets in two views
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


def test_values_after_the_fit_part_change_nothing_learned_but_the_number_of_trees(fitted):
    data, fit = fitted
    stop = data.parts.fit_end
    later = np.arange(len(data)) >= stop
    # Where the first values of the validation part remain, the numbers of trees differ at most.
    changed = {name: np.where(later, values[::-1], values) for name, values in data.frame.columns.items()}
    other = fit_lightgbm(replace(data, frame=replace(data.frame, columns=changed)), params(output_seq_len=2))
    builder, other_builder = fit.forecaster.builder, other.forecaster.builder
    assert np.array_equal(builder.scaling.median, other_builder.scaling.median)
    assert np.array_equal(builder.scaling.spread, other_builder.scaling.spread)
    for name, views in fit.forecaster.boosters.items():
        for view, other_view in zip(views, other.forecaster.boosters[name], strict=True):
            assert view.view == other_view.view
            texts = [each.trees.text.split("\nTree=")[1:-1] if each.trees else [] for each in (view, other_view)]
            for one, another in zip(*texts, strict=False):
                assert one == another


def test_a_repeat_writes_the_same_bytes(fitted, tmp_path: Path):
    data, fit = fitted
    again = fit_lightgbm(data, params(output_seq_len=2))
    for name, model in (("first", fit.forecaster), ("second", again.forecaster)):
        (tmp_path / name).mkdir()
        model.save(tmp_path / name)
    assert (tmp_path / "first/lightgbm.json").read_bytes() == (tmp_path / "second/lightgbm.json").read_bytes()


def test_the_refit_sees_all_rows_and_keeps_the_numbers_of_trees(fitted):
    _, fit = fitted
    again = fit.refit(no_progress)
    assert not np.array_equal(again.builder.scaling.median, fit.forecaster.builder.scaling.median)
    numbers = json.loads(fit.fit_info["trees"])
    for name, views in again.boosters.items():
        for each in views:
            assert (len(each.trees.roots) if each.trees else 0) == numbers[name][each.view.name]


def test_targets_that_are_never_negative_are_never_forecast_below_zero():
    generator = np.random.default_rng(1)
    y = np.where(generator.random(600) < 0.5, 0.0, np.exp(3 * generator.normal(size=600)))
    for transform in ("none", "log1p"):
        fit = fit_lightgbm(processed({"y": y}), params(target_transform=transform))
        assert fit.forecaster.non_negative == ("y",)
        assert fit.forecaster.forecast(processed({"y": y}).frame, np.arange(10, 600)).min() >= 0


def test_forecasts_on_the_log_scale_are_of_the_mean():
    noise = np.random.default_rng(2).normal(size=3000)
    logarithm = np.zeros(3000)
    for row in range(1, 3000):
        logarithm[row] = 0.8 * logarithm[row - 1] + noise[row]
    data = processed({"y": np.exp(logarithm)})
    fit = fit_lightgbm(data, params(min_data_in_leaf=40))
    [log1p] = [each for each in fit.forecaster.boosters["y"] if each.view.name == "log1p"]
    origins = np.arange(data.parts.fit_end, len(data))
    [(_, batch)] = fit.forecaster.builder.batches(data.frame, origins)
    mean = log1p.forecast(batch, "y", 1).mean() / np.exp(logarithm[origins]).mean()
    # The median of the noise is 1, its mean exp(1 / 2).
    assert 0.85 < mean < 1.15


@pytest.mark.parametrize("value", [0.0, 5.0, -2.5, 1e-250, 1e250])
@pytest.mark.parametrize("transform", ["none", "auto"])
def test_a_constant_is_forecast_by_its_constant(value: float, transform: str):
    data = processed({"y": [value] * 60})
    fit = fit_lightgbm(data, params(target_transform=transform))
    assert fit.forecaster.forecast(data.frame, np.array([30, 60]))[:, 0, 0] == pytest.approx([value] * 2, rel=1e-12)


@pytest.mark.parametrize("rows", [40, 300])
def test_where_nothing_can_be_learned_it_is_hardly_worse_than_persistence(rows: int):
    values = 100 + np.cumsum(np.random.default_rng(3).normal(size=rows))
    data = processed({"y": values})
    fit = fit_lightgbm(data, params(min_data_in_leaf=40))
    origins = np.arange(data.parts.validation_end, rows)
    error = fit.forecaster.forecast(data.frame, origins)[:, 0, 0] - values[origins]
    assert np.sqrt(np.mean(error**2)) < 1.03 * np.sqrt(np.mean((values[origins - 1] - values[origins]) ** 2))


@pytest.mark.parametrize("row", [200, 450])
@pytest.mark.parametrize("transform", ["none", "log1p"])
def test_one_spike_spoils_no_later_forecast(row: int, transform: str):
    values = np.exp(np.random.default_rng(4).normal(size=600))
    values[row] = 1e9
    data = processed({"y": values})
    fit = fit_lightgbm(data, params(target_transform=transform))
    origins = np.arange(data.parts.validation_end, 600)
    error = np.abs(fit.forecaster.forecast(data.frame, origins)[:, 0, 0] - values[origins])
    assert np.mean(error) <= 1.1 * np.mean(np.abs(values[origins - 1] - values[origins]))


def test_a_split_between_missing_and_known_values_gives_the_bits_of_lightgbm():
    import lightgbm as lgb

    generator = np.random.default_rng(5)
    rows = generator.normal(size=(400, 2))
    rows[:200, 0] = np.nan
    options = {"min_data_in_leaf": 5, "verbosity": -1, "num_threads": 1}
    booster = lgb.train(options, lgb.Dataset(rows, np.isnan(rows[:, 0]) * 1.0), 5)
    text = booster.model_to_string()
    assert "threshold=inf" in text
    rows[0, 1], rows[300] = 1e308, -1e308
    assert np.array_equal(Trees.parse(text, 2)(rows), lgb.Booster(model_str=text).predict(rows))
