"""GRU and LSTM with a linear skip, several members and volatility weights, as they are trained by default."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flts.models import bundle
from flts.models.forecasting import forecast_steps
from flts.models.prophet.residual_correction import ResidualCorrection
from flts.models.recurrent.training import RecurrentTrainer, fit_recurrent
from flts.models.recurrent.window_transform import LinearSkipTransform
from flts.models.table import forecast_table
from flts.models.volatility import REACH, error_weights
from flts.params import RecurrentParams
from flts.timeseries.features import time_features
from flts.timeseries.frame import Frame, Parts
from flts.timeseries.metrics import score
from flts.timeseries.processed import ProcessedData, fit_scaler
from flts.timeseries.windows import forecast_origins

SMALL = {"hidden_size": 8, "num_layers": 1, "batch_size": 64, "epochs": 6, "learning_rate": 0.01, "members": 2}


def params(**changes: object) -> RecurrentParams:
    return RecurrentParams(config_hash="", config_json="", identifier="test", **{**SMALL, **changes})


def series(rows: int = 700, targets: tuple[str, ...] = ("load",), every: int = 3600, seed: int = 5) -> ProcessedData:
    """A day's course that reverts from shocks, and two more columns."""
    random = np.random.default_rng(seed)
    time = np.datetime64("2024-01-01", "us") + np.arange(rows) * np.timedelta64(every, "s")
    shock = random.normal(0, 5, rows)
    load = 100 + 20 * np.sin(2 * np.pi * np.arange(rows) / 24) + shock + 0.5 * np.roll(shock, 1)
    columns = {"load": load, "other": random.normal(size=rows).cumsum(), "constant": np.full(rows, 7.0)}
    frame, parts = Frame(time, {**columns, **time_features(time)}), Parts.of(rows)
    return ProcessedData(
        frame=frame,
        actual={name: columns[name] for name in targets},
        targets=targets,
        scaler=fit_scaler("MinMaxScaler", frame, parts),
        parts=parts,
        sampling_seconds=float(every),
        config_hash="0" * 64,
        config_json="{}",
    )


def changed_from(data: ProcessedData, row: int) -> ProcessedData:
    columns = {
        name: values if name not in ("load", "other") else np.where(np.arange(len(data)) < row, values, values * 3 - 50)
        for name, values in data.frame.columns.items()
    }
    return replace(data, frame=replace(data.frame, columns=columns), actual={n: columns[n] for n in data.targets})


def saved(forecaster: object, folder: Path) -> bytes:
    folder.mkdir(exist_ok=True)
    forecaster.save(folder)
    return (folder / "model.safetensors").read_bytes()


def skip_alone(forecaster: object, data: ProcessedData, origins: np.ndarray) -> np.ndarray:
    nothing = np.zeros((len(origins), forecaster.output_seq_len, len(forecaster.targets)))
    return forecaster.transforms[0].forecasts(data.frame, data.frame.time, origins, nothing)


@pytest.mark.parametrize("model_type", ["GRU", "LSTM"])
def test_a_model_beats_persistence_and_is_not_worse_than_its_skip(model_type: str):
    data = series()
    fit = fit_recurrent(model_type, data, params())
    origins = forecast_origins(data.gap_before(), data.parts.validation_end, len(data), 10)
    actual = data.actual_matrix()[origins]
    ours, skip = (
        score(actual, values[:, 0]).rmse
        for values in (fit.forecaster.forecast(data.frame, origins), skip_alone(fit.forecaster, data, origins))
    )
    persistence = score(actual, data.actual_matrix()[origins - 1]).rmse
    assert skip < 0.8 * persistence
    assert ours < 1.02 * skip


def test_before_the_first_epoch_a_model_is_its_skip_which_may_stay_the_best():
    data = series()
    fit = fit_recurrent("GRU", data, params(learning_rate=3.0, patience=2))
    assert fit.best_epoch == 0
    assert len(fit.train_loss) == 2
    assert fit.stopped_early
    assert min(fit.validation_loss) >= fit.fit_info["skip_validation_loss"]
    origins = np.arange(10, len(data))
    np.testing.assert_allclose(
        fit.forecaster.forecast(data.frame, origins), skip_alone(fit.forecaster, data, origins), rtol=1e-12
    )
    assert (
        fit.refit(lambda *told: None).transforms[0].skip.alphas.tolist()
        == fit.forecaster.transforms[0].skip.alphas.tolist()
    )


@pytest.mark.parametrize("part", ["fit_end", "validation_end"])
def test_no_row_after_a_part_changes_a_fit_on_it(part: str, tmp_path: Path):
    data = series(targets=("load", "other"))
    end = getattr(data.parts, part)
    chosen = params(output_seq_len=2, epochs=1)
    first, other = (fit_recurrent("GRU", each, chosen) for each in (data, changed_from(data, end)))
    assert first.train_loss == other.train_loss
    ours, theirs = first.forecaster.transforms[0], other.forecaster.transforms[0]
    assert {name: values.tobytes() for name, values in ours.tensors().items()} == {
        name: values.tobytes() for name, values in theirs.tensors().items()
    }
    if part == "validation_end":
        assert saved(first.forecaster, tmp_path) == saved(other.forecaster, tmp_path)
        assert first.validation_loss == other.validation_loss


@settings(max_examples=12, deadline=None)
@given(
    row=st.integers(0, 209),
    column=st.sampled_from(["load", "other", "constant"]),
    value=st.floats(-1e6, 1e6),
    horizon=st.integers(1, 2),
)
def test_no_value_after_the_fit_part_changes_a_fit_on_it(row: int, column: str, value: float, horizon: int):
    data = series(targets=("load", "other"))
    end = data.parts.fit_end
    values = data.frame.columns[column].copy()
    values[end + row] = value
    changed = replace(data, frame=replace(data.frame, columns={**data.frame.columns, column: values}))
    chosen, learned = params(output_seq_len=horizon, epochs=1), []
    for each in (data, changed):
        learner = RecurrentTrainer("GRU", each, chosen, stop=end, part="fit part")
        losses = learner.loop.epoch()
        known = np.arange(10, end - horizon + 1)
        weights = error_weights(each, known, end, by_volatility=True)[: end + row + 1]
        rows = each.frame.rows(0, end)
        correction = ResidualCorrection.learn(
            rows,
            rows.columns["load"] - 100.0,
            known,
            weights[known, 0],
            columns=("load", "other"),
            calendar=(),
            horizon=horizon,
            embargo=10,
            sampling_seconds=each.sampling_seconds,
        )
        network_weights = [part.detach().numpy() for net in learner.networks for part in net.parameters()]
        arrays = [*learner.transforms()[0].tensors().values(), *network_weights, weights]
        learned.append((losses, each.learnable_features(), correction.to_dict(), [a.tobytes() for a in arrays]))
    assert learned[0] == learned[1]


def test_a_refit_keeps_alpha_and_epochs_and_learns_everything_else_from_all_rows():
    data = series()
    fit = fit_recurrent("GRU", data, params())
    told: list[str] = []
    refitted = fit.refit(lambda fraction, message: told.append(message))
    assert len(told) == fit.best_epoch
    assert isinstance(refitted.transforms[0], LinearSkipTransform)
    np.testing.assert_allclose(refitted.transforms[0].scale, data.frame.columns["load"].std())
    assert np.array_equal(refitted.transforms[0].skip.alphas, fit.forecaster.transforms[0].skip.alphas)
    assert refitted.features == fit.forecaster.features


def test_members_differ_and_the_first_is_the_lone_one():
    data = series()
    lone, pair = (fit_recurrent("GRU", data, params(epochs=1, members=count)) for count in (1, 2))
    nets = (*pair.forecaster.networks, *lone.forecaster.networks)
    first, second, alone = (net.state_dict()["rnn.weight_hh_l0"].numpy() for net in nets)
    assert np.abs(first - second).max() > 0.3
    assert np.abs(first - alone).max() < 0.1


def test_volatility_weights_change_the_fit():
    data = series()
    weighted, plain = (fit_recurrent("GRU", data, params(epochs=1, volatility_weighting=on)) for on in (True, False))
    ours, theirs = (fit.forecaster.transforms[0].skip.coefficients for fit in (weighted, plain))
    assert not np.allclose(ours, theirs)


def test_time_features_whose_period_the_fit_part_does_not_span_twice_are_not_seen():
    fit = fit_recurrent("GRU", series(rows=700), params(epochs=1))  # 20 days are fitted
    assert [name for name in fit.forecaster.features if "_of_" in name] == [
        "min_of_day_sin",
        "min_of_day_cos",
        "day_of_week_sin",
        "day_of_week_cos",
    ]


@pytest.mark.parametrize("horizon", [1, 3])
def test_batch_rolling_single_window_recursive_and_pyfunc_forecasts_agree(horizon: int, tmp_path: Path):
    data = series(targets=("load", "other"))
    gap = data.frame.time.copy()
    gap[400:] += np.timedelta64(5, "h")
    data = replace(data, frame=Frame(gap, {**data.frame.columns, **time_features(gap)}))
    forecaster = fit_recurrent("GRU", data, params(output_seq_len=horizon, epochs=2)).forecaster
    bundle.save(tmp_path / "bundle", forecaster, data)
    loaded = bundle.load(tmp_path / "bundle")
    origins = np.array([10, 11, 200, 299, 411, 600, 700])
    together = forecaster.forecast(data.frame, origins)
    tolerance = {"rtol": 0, "atol": 1e-5}
    np.testing.assert_allclose(loaded.forecaster.forecast(data.frame, origins), together, **tolerance)
    for position, origin in enumerate(origins):
        first = max(0, origin - REACH)
        kept = data.frame.rows(first, origin + horizon)
        alone = loaded.forecaster.forecast(kept, np.array([origin - first]))[0]
        np.testing.assert_allclose(alone, together[position], **tolerance)

    steps = 2 * horizon + 4
    whole = forecast_steps(forecaster, data, len(data), steps)
    short = replace(
        data,
        frame=data.frame.rows(700 - REACH, 700),
        actual={name: data.actual[name][-REACH:] for name in data.targets},
    )
    np.testing.assert_allclose(forecast_steps(forecaster, short, REACH, steps).values, whole.values, **tolerance)
    np.testing.assert_allclose(whole.values[:horizon], together[-1], **tolerance)
    history = pd.DataFrame(
        {"time": data.frame.time, **{n: data.frame.columns[n] for n in ("load", "other", "constant")}}
    )
    table = forecast_table(loaded, history, steps)
    np.testing.assert_allclose(table[["load", "other"]].to_numpy(), whole.values, **tolerance)


def test_recursive_forecasts_see_their_own_forecasts_as_if_they_were_measured():
    data = series()
    forecaster = fit_recurrent("GRU", data, params(epochs=2)).forecaster
    steps = forecast_steps(forecaster, data, len(data), 3).values[:, 0]
    time = data.frame.time[-1] + np.arange(1, 4) * np.timedelta64(3600, "s")
    longer = {name: np.r_[values, np.repeat(values[-1], 2)] for name, values in data.frame.columns.items()}
    longer |= {name: np.r_[data.frame.columns[name], v[:2]] for name, v in time_features(time).items()}
    longer["load"][-2:] = steps[:2]
    frame = Frame(np.r_[data.frame.time, time[:2]], longer)
    np.testing.assert_allclose(forecaster.forecast(frame, np.array([702]))[0, 0, 0], steps[2], rtol=1e-6)


def awkward(name: str) -> ProcessedData:
    data = series(rows=200 if name == "200 rows" else 700)
    load = data.frame.columns["load"].copy()
    if name == "a drop of level":
        load[500:] -= 80
    if name == "a constant tail":
        load[450:] = load[449]
    if name == "a constant target":
        load[:] = 5.0
    if name == "mostly one value":
        load[np.arange(len(load)) % 10 != 0] = 0.0
    frame = replace(data.frame, columns={**data.frame.columns, "load": load})
    return replace(data, frame=frame, actual={"load": load})


@pytest.mark.parametrize(
    "name", ["a drop of level", "a constant tail", "a constant target", "mostly one value", "200 rows"]
)
@pytest.mark.parametrize("horizon", [1, 4])
def test_awkward_series_are_learned_and_forecast(name: str, horizon: int):
    data = awkward(name)
    fit = fit_recurrent("GRU", data, params(output_seq_len=horizon, epochs=3))
    for forecaster in (fit.forecaster, fit.refit(lambda *told: None)):
        values = forecast_steps(forecaster, data, 10, len(data) + 20).values
        assert np.isfinite(values).all()
        load = data.frame.columns["load"]
        spread = np.ptp(load) or 1.0
        assert load.min() - spread < values.min() <= values.max() < load.max() + spread


def test_a_bundle_says_what_loading_needs(tmp_path: Path):
    data = series()
    bundle.save(tmp_path / "bundle", fit_recurrent("LSTM", data, params(epochs=1)).forecaster, data)
    config = json.loads((tmp_path / "bundle" / "config.json").read_text())
    assert config["hyperparameters"] == {"hidden_size": 8, "num_layers": 1, "members": 2, "linear_skip": True}
