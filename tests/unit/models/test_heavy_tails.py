"""Models that learn targets with heavy tails on a logarithmic scale: GRU, LSTM and Prophet, from fit to bundle."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flts.errors import BadInputError
from flts.models import bundle
from flts.models.forecasting import forecast_steps, one_step
from flts.models.intervals import Intervals
from flts.models.prophet.training import fit_prophet
from flts.models.recurrent.training import fit_recurrent
from flts.models.target_transform import target_scales
from flts.params import ProphetParams, RecurrentParams
from flts.progress import no_progress
from flts.timeseries.features import time_features
from flts.timeseries.frame import Frame, Parts
from flts.timeseries.processed import ProcessedData, fit_scaler
from flts.timeseries.windows import forecast_origins

RECURRENT = {"hidden_size": 6, "num_layers": 1, "batch_size": 64, "epochs": 3, "learning_rate": 0.01, "members": 3}
PROPHET = {"growth": "flat", "n_changepoints": 0, "weekly_seasonality": "false", "yearly_seasonality": "false"}


def recurrent_params(**changes: object) -> RecurrentParams:
    given = {**RECURRENT, "target_transform": "log1p", **changes}
    return RecurrentParams(config_hash="", config_json="", identifier="test", **given)


def prophet_params(**changes: object) -> ProphetParams:
    given = {**PROPHET, "target_transform": "log1p", **changes}
    return ProphetParams(config_hash="", config_json="", identifier="test", **given)


def traffic(
    rows: int = 500, *, spread: float = 0.8, targets: tuple[str, ...] = ("load",), seed: int = 4
) -> ProcessedData:
    """A day's course times noise that persists a little, a covariate that spikes, and a steady column."""
    random = np.random.default_rng(seed)
    time = np.datetime64("2024-01-01", "us") + np.arange(rows) * np.timedelta64(3600, "s")
    noise = random.normal(0, spread, rows)
    level = 12 + 0.5 * np.sin(2 * np.pi * np.arange(rows) / 24)
    columns = {
        "load": np.exp(level + noise + 0.6 * np.roll(noise, 1)),
        "other": np.exp(random.normal(0, 3.0, rows)),
        "steady": 50 + random.normal(size=rows),
    }
    frame, parts = Frame(time, {**columns, **time_features(time)}), Parts.of(rows)
    return ProcessedData(
        frame=frame,
        actual={name: columns[name] for name in targets},
        targets=targets,
        scaler=fit_scaler("MinMaxScaler", frame, parts),
        parts=parts,
        sampling_seconds=3600.0,
        config_hash="0" * 64,
        config_json="{}",
    )


def changed(data: ProcessedData, row: int, value: float, column: str = "load") -> ProcessedData:
    values = data.frame.columns[column].copy()
    values[row] = value
    actual = {**data.actual, column: values} if column in data.targets else data.actual
    return replace(data, frame=replace(data.frame, columns={**data.frame.columns, column: values}), actual=actual)


def selection(data: ProcessedData) -> np.ndarray:
    return forecast_origins(data.gap_before(), data.parts.validation_end, len(data), 10)


def fitted(kind: str, data: ProcessedData, **changes: object):
    if kind == "PROPHET":
        return fit_prophet(data, prophet_params(**changes))
    return fit_recurrent(kind, data, recurrent_params(**changes))


def transform_of(forecaster: object):
    """Return the scales of a model's columns: of the first networks, where there are several groups."""
    return forecaster.scales if hasattr(forecaster, "scales") else forecaster.transforms[0].scales


@pytest.mark.parametrize("kind", ["GRU", "LSTM", "PROPHET"])
def test_a_model_on_the_logarithmic_scale_forecasts_the_mean_in_original_units(kind: str):
    data = traffic(rows=2000)
    fit = fitted(kind, data)
    origins = selection(data)
    actual, forecasts = data.actual_matrix()[origins], one_step(fit.forecaster, data, origins)
    persistence = data.actual_matrix()[origins - 1]
    assert np.abs(actual - forecasts).mean() < 0.9 * np.abs(actual - persistence).mean()
    assert forecasts.mean() == pytest.approx(actual.mean(), rel=0.15)
    factor = transform_of(fit.forecaster).scales["load"].mean_factor
    assert (factor > 1.05).all()  # the median lies below the mean
    assert fit.forecaster.non_negative == ("load",)
    assert json.loads(fit.fit_info["target_scales"]) == {"load": "log1p"}
    refitted = fit.refit(no_progress)
    assert np.array_equal(transform_of(refitted).scales["load"].mean_factor, factor)
    assert transform_of(refitted).scales["load"].limit == 2 * data.frame.columns["load"].max()


@pytest.mark.parametrize(
    ("kind", "chosen"),
    [
        ("GRU", {}),
        ("LSTM", {"target_transform": "auto"}),
        ("GRU", {"linear_skip": False}),
        ("GRU", {"linear_skip": False, "target_transform": "auto", "output_seq_len": 2}),
        ("PROPHET", {"output_seq_len": 2}),
    ],
)
def test_a_bundle_gives_the_same_forecasts(kind: str, chosen: dict[str, object], tmp_path: Path):
    data = traffic()
    fit = fitted(kind, data, epochs=1, **chosen) if kind != "PROPHET" else fitted(kind, data, **chosen)
    bundle.save(tmp_path, fit.forecaster, data)
    loaded = bundle.load(tmp_path).forecaster
    origins = np.arange(10, len(data))
    assert np.array_equal(loaded.forecast(data.frame, origins), fit.forecaster.forecast(data.frame, origins))
    assert loaded.non_negative == ("load",)


def test_where_both_scales_suit_a_target_the_forecast_is_the_mean_of_members_on_each():
    data = traffic()
    assert target_scales(data, "auto") == ("both",)
    fit = fitted("GRU", data, target_transform="auto")
    forecaster, origins = fit.forecaster, selection(data)
    assert len(forecaster.networks) == 3
    logarithmic, plain = forecaster.transforms
    assert set(logarithmic.scales.scales) == {"load", "other"}  # a covariate with heavy tails, too
    alone = []
    for transform, networks in ((logarithmic, forecaster.networks[:2]), (plain, forecaster.networks[2:])):
        sizes = {"input_seq_len": 10, "output_seq_len": 1, "features": forecaster.features, "targets": ("load",)}
        alone.append(type(forecaster)(networks, transform, **sizes).forecast(data.frame, origins))
    expected = np.maximum(np.mean(alone, axis=0), 0)
    np.testing.assert_allclose(forecaster.forecast(data.frame, origins), expected, rtol=1e-6)
    assert fitted("GRU", data, target_transform="auto", members=1, epochs=1).forecaster.non_negative == ("load",)


@pytest.mark.parametrize("kind", ["GRU", "PROPHET"])
def test_the_default_leaves_no_trace_in_a_model(kind: str):
    data = traffic()
    fit = fitted(kind, data, target_transform="none")
    assert "scales" not in fit.forecaster.config()
    assert "target_scales" not in fit.fit_info
    assert fit.forecaster.non_negative == ()


@settings(max_examples=5, deadline=None)
@given(row=st.integers(0, 60), value=st.floats(-1e9, 1e9), column=st.sampled_from(["load", "other"]))
def test_no_value_after_the_fit_part_changes_the_scales_or_what_is_learned_on_them(row: int, value: float, column: str):
    data = traffic(rows=260)
    learned = []
    for each in (data, changed(data, data.parts.fit_end + row, value, column)):
        fit = fitted("GRU", each, target_transform="auto", epochs=1)
        scales = {name: (scale.scale, scale.limit) for name, scale in transform_of(fit.forecaster).scales.items()}
        arrays = [
            values.tobytes() for transform in fit.forecaster.transforms for values in transform.tensors().values()
        ]
        learned.append((fit.train_loss, fit.fit_info["target_scales"], scales, arrays))
    assert learned[0] == learned[1]


@pytest.mark.parametrize("kind", ["GRU", "PROPHET"])
@pytest.mark.parametrize("row", [100, 349], ids=["fit part", "the last row"])
def test_a_spike_explodes_no_forecast_of_many_steps(kind: str, row: int):
    data = traffic(rows=350)
    data = changed(data, row, 1e9 * data.frame.columns["load"].max())
    forecaster = fitted(kind, data).refit(no_progress)
    steps = forecast_steps(forecaster, data, len(data) - 5, 300).values
    usual = np.median(data.frame.columns["load"])
    assert np.isfinite(steps).all()
    assert (steps >= 0).all()
    assert steps.max() <= 2 * data.frame.columns["load"].max()
    if row < 349:
        assert steps[-100:].max() < 100 * usual


@pytest.mark.parametrize("values", [np.zeros(350), np.full(350, 3.0), np.r_[np.zeros(349), 5.0]])
@pytest.mark.parametrize("kind", ["GRU", "PROPHET"])
def test_zeros_and_constants_are_learned(kind: str, values: np.ndarray):
    data = traffic(rows=350)
    columns = {**data.frame.columns, "load": values}
    data = replace(data, frame=replace(data.frame, columns=columns), actual={"load": values})
    forecasts = fitted(kind, data).refit(no_progress).forecast(data.frame, np.arange(300, 350))
    assert np.isfinite(forecasts).all()
    assert (forecasts >= 0).all()
    np.testing.assert_allclose(forecasts[:49, 0, 0], values[300:349], atol=0.5)


@pytest.mark.parametrize("kind", ["GRU", "PROPHET"])
def test_a_negative_target_is_named(kind: str):
    data = changed(traffic(), 30, -2.0)
    with pytest.raises(BadInputError, match=r"^target_transform log1p needs .* column 'load' is -2 at 2024-01-02T06"):
        fitted(kind, data)
    assert fitted(kind, data, target_transform="auto").forecaster.non_negative == ()


@pytest.mark.parametrize("kind", ["GRU", "PROPHET"])
@pytest.mark.parametrize(
    ("field", "value"), [("scale", 0.0), ("scale", -1.0), ("scale", "NaN"), ("limit", -1.0), ("mean_factor", [0.0])]
)
def test_a_damaged_scale_is_refused_by_one_sentence(kind: str, field: str, value: object, tmp_path: Path):
    data = traffic(rows=200)
    bundle.save(tmp_path, fitted(kind, data).forecaster, data)
    config = json.loads((tmp_path / "config.json").read_text())
    scales = config["hyperparameters"]["scales"]
    (scales if kind == "PROPHET" else scales[0]["columns"])["load"][field] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    checksums = json.loads((tmp_path / "checksums.json").read_text())
    checksums["config.json"] = hashlib.sha256((tmp_path / "config.json").read_bytes()).hexdigest()
    (tmp_path / "checksums.json").write_text(json.dumps(checksums))
    with pytest.raises(BadInputError, match=rf"config\.json has no hyperparameters of a {kind}: .*{field}") as refused:
        bundle.load(tmp_path)
    assert "\n" not in str(refused.value)


def test_no_bound_of_an_interval_is_below_zero(tmp_path: Path):
    data = traffic(spread=1.0)
    fit, origins = fitted("GRU", data), selection(data)
    predicted = one_step(fit.forecaster, data, origins)
    intervals = Intervals.learn(fit.forecaster, data, predicted, origins, 0.9)
    bundle.save(tmp_path, fit.forecaster, data, intervals=intervals)
    loaded = bundle.load(tmp_path)
    assert loaded.config.intervals.non_negative == ["load"]
    forecast = forecast_steps(loaded.forecaster, data, 400, 120)
    bounds = loaded.intervals.calibrated(data, predicted, origins).bounds(forecast)
    free = replace(loaded.intervals, non_negative=()).calibrated(data, predicted, origins).bounds(forecast)
    assert free.lower.min() < 0
    assert np.array_equal(bounds.lower, np.maximum(free.lower, 0))
    assert np.array_equal(bounds.upper, free.upper)
