"""Training and forecasting with GRU and LSTM, on small series that they can learn."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from flts.errors import BadInputError
from flts.models.neural import device
from flts.models.recurrent import network
from flts.models.recurrent.forecaster import RecurrentForecaster
from flts.models.recurrent.network import RecurrentNet
from flts.models.recurrent.training import RecurrentTrainer, fit_recurrent, refit_recurrent
from flts.params import RecurrentParams
from flts.timeseries.frame import Frame, Parts
from flts.timeseries.metrics import score
from flts.timeseries.processed import ProcessedData
from flts.timeseries.scaling import Scaler
from flts.timeseries.windows import forecast_origins

MODEL_TYPES = ["GRU", "LSTM"]


def series(rows: int = 400, targets: tuple[str, ...] = ("level",), **changes: object) -> ProcessedData:
    """A wave of 25 steps around 1000 with noise, and the column that drives it."""
    rng = np.random.default_rng(5)
    phase = 2 * np.pi * np.arange(rows) / 25
    columns = {
        "level": 1000 + 200 * np.sin(phase) + rng.normal(0, 5, rows),
        "load": 3 + np.cos(phase),
        "constant": np.full(rows, 7.0),
    }
    parts = Parts.of(rows)
    fit = {name: values[: parts.fit_end] for name, values in columns.items()}
    data = ProcessedData(
        frame=Frame(np.datetime64("2024-01-01", "us") + np.arange(rows) * np.timedelta64(60, "s"), columns),
        actual={name: columns[name] for name in targets},
        targets=targets,
        scaler=Scaler.fit("MinMaxScaler", fit),
        parts=parts,
        sampling_seconds=60.0,
        config_hash="",
        config_json="",
    )
    return replace(data, **changes)


def settings(**changes: object) -> RecurrentParams:
    """A small network alone, without what is added to it by default."""
    alone = {"linear_skip": False, "members": 1, "volatility_weighting": False}
    return recipe(**{**alone, **changes})


def recipe(**changes: object) -> RecurrentParams:
    small = {"hidden_size": 16, "num_layers": 2, "batch_size": 32, "epochs": 3, "learning_rate": 0.01}
    return RecurrentParams(config_hash="", config_json="", identifier="test", **{**small, **changes})


Made = Callable[..., RecurrentParams]
BOTH = pytest.mark.parametrize("made", [settings, recipe])


def weights(forecaster: RecurrentForecaster, folder: Path) -> bytes:
    folder.mkdir(exist_ok=True)
    forecaster.save(folder)
    return (folder / "model.safetensors").read_bytes()


def one_step_ahead(data: ProcessedData, params: RecurrentParams, start: int = 0) -> np.ndarray:
    return forecast_origins(data.gap_before(), start, len(data), params.input_seq_len, params.output_seq_len)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_a_model_learns_what_persistence_cannot_know(model_type: str) -> None:
    data, params = series(), settings(epochs=12, early_stopping=False)
    fit = fit_recurrent(model_type, data, params)
    origins = one_step_ahead(data, params, data.parts.validation_end)
    predicted = fit.forecaster.forecast(data.frame, origins)[:, 0]
    persistence = data.actual_matrix()[origins - 1]
    actual = data.actual_matrix()[origins]
    assert score(actual, predicted).rmse < 0.5 * score(actual, persistence).rmse
    assert fit.train_loss[-1] < 0.2 * fit.train_loss[0]


@BOTH
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_equal_seeds_give_equal_bytes_and_other_seeds_do_not(made: Made, model_type: str, tmp_path: Path) -> None:
    first, again, other = (fit_recurrent(model_type, series(), made(seed=seed)) for seed in (1, 1, 2))
    assert weights(first.forecaster, tmp_path) == weights(again.forecaster, tmp_path)
    assert (first.train_loss, first.validation_loss) == (again.train_loss, again.validation_loss)
    assert weights(first.forecaster, tmp_path) != weights(other.forecaster, tmp_path)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_an_epoch_equals_a_plain_pytorch_loop_over_the_same_batches(model_type: str) -> None:
    data, params = series(), settings(output_seq_len=2)
    learner = RecurrentTrainer(model_type, data, params, stop=data.parts.fit_end, part="fit part")
    torch.manual_seed(params.seed)
    net = RecurrentNet(model_type, 3, params.hidden_size, params.num_layers, 2)
    optimizer = torch.optim.Adam(net.parameters(), lr=params.learning_rate)
    scaled = torch.tensor(data.scaler.transform(data.features, data.frame.matrix(data.features)), dtype=torch.float32)
    origins = np.arange(10, data.parts.fit_end - 1)
    shuffle = torch.Generator().manual_seed(params.seed)
    for _ in range(2):
        losses = []
        for batch in torch.split(torch.randperm(len(origins), generator=shuffle), params.batch_size):
            windows = torch.stack([scaled[t - 10 : t] for t in origins[batch]], dim=1)
            wanted = torch.stack([scaled[t : t + 2, 0] for t in origins[batch]])
            loss = torch.nn.functional.mse_loss(net(windows), wanted)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            losses += [loss.item()] * len(batch)
        assert learner.loop.epoch() == pytest.approx(np.mean(losses), rel=1e-3)
    for name, weights in learner.networks[0].state_dict().items():
        torch.testing.assert_close(weights, net.state_dict()[name], rtol=0, atol=1e-3, msg=name)


def test_training_leaves_the_global_random_state_alone() -> None:
    before = torch.random.get_rng_state()
    fit_recurrent("GRU", series(), settings(epochs=1))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_best_epochs_weights_are_kept() -> None:
    data, params = series(), settings(epochs=8, learning_rate=0.3, early_stopping=False)
    fit = fit_recurrent("GRU", data, params)
    assert len(fit.validation_loss) == len(fit.train_loss) == 8
    assert fit.best_epoch == 1 + int(np.argmin(fit.validation_loss)) < 8
    assert not fit.stopped_early

    part = slice(data.parts.fit_end, data.parts.validation_end)
    origins = one_step_ahead(data, params)
    origins = origins[(origins >= part.start) & (origins < part.stop)]
    predicted = fit.forecaster.forecast(data.frame, origins)[:, 0]
    width = np.ptp(data.frame.columns["level"][: data.parts.fit_end])
    mse = score(data.actual_matrix()[origins], predicted, unit=width).mse
    assert mse == pytest.approx(min(fit.validation_loss), rel=1e-4)


def test_training_stops_when_validation_no_longer_improves() -> None:
    fit = fit_recurrent("GRU", series(), settings(epochs=200, learning_rate=0.3, patience=2))
    assert fit.stopped_early
    assert len(fit.validation_loss) == fit.best_epoch + 2 < 200


def test_training_sees_the_fit_part_alone_and_stops_on_validation() -> None:
    data, params = series(), settings()
    fit = fit_recurrent("GRU", data, params)

    def changed_from(row: int) -> ProcessedData:
        level = data.frame.columns["level"].copy()
        level[row:] = 1000.0
        frame = replace(data.frame, columns={**data.frame.columns, "level": level})
        return replace(data, frame=frame)

    after_fit = fit_recurrent("GRU", changed_from(data.parts.fit_end), params)
    assert after_fit.train_loss == fit.train_loss
    assert after_fit.validation_loss != fit.validation_loss
    after_validation = fit_recurrent("GRU", changed_from(data.parts.validation_end), params)
    assert after_validation.validation_loss == fit.validation_loss


@BOTH
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_forecasts_of_all_windows_at_once_equal_those_one_by_one(
    made: Made, model_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "FORECAST_BATCH", 64)  # several batches and a rest
    data, params = series(rows=300), made(epochs=1, output_seq_len=2)
    forecaster = fit_recurrent(model_type, data, params).forecaster
    origins = one_step_ahead(data, params)
    together = forecaster.forecast(data.frame, origins)
    alone = np.concatenate([forecaster.forecast(data.frame, origins[i : i + 1]) for i in range(len(origins))])
    assert together.shape == (len(origins), 2, 1)
    width = np.ptp(data.frame.columns["level"])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-6 * width)
    assert np.array_equal(together, forecaster.forecast(data.frame, origins))


def test_the_order_of_origins_is_the_order_of_forecasts() -> None:
    data = series()
    forecaster = fit_recurrent("GRU", data, settings(epochs=1)).forecaster
    origins = np.array([300, 20, 20, 400])  # the last is the row after the data
    forward = forecaster.forecast(data.frame, origins)
    np.testing.assert_allclose(forecaster.forecast(data.frame, origins[::-1]), forward[::-1], rtol=1e-6)
    assert np.array_equal(forward[1], forward[2])
    assert forecaster.forecast(data.frame, origins[:0]).shape == (0, 1, 1)


def test_a_forecast_sees_no_row_from_its_origin_on() -> None:
    data = series()
    forecaster = fit_recurrent("LSTM", data, settings(epochs=1)).forecaster
    blind = replace(
        data.frame, columns={name: np.r_[v[:200], v[200:] * np.nan] for name, v in data.frame.columns.items()}
    )
    origins = np.array([150, 200])
    assert np.array_equal(forecaster.forecast(blind, origins), forecaster.forecast(data.frame, origins))


def test_several_targets_and_steps_are_forecast_in_their_own_units() -> None:
    data = series(targets=("load", "level"))
    fit = fit_recurrent("GRU", data, settings(epochs=20, output_seq_len=3, early_stopping=False))
    values = fit.forecaster.forecast(data.frame, np.array([350, 360]))
    assert values.shape == (2, 3, 2)
    actual = np.stack([[data.frame.columns[n][t : t + 3] for n in data.targets] for t in (350, 360)]).swapaxes(1, 2)
    assert np.all(np.abs(values - actual) < [0.5, 100.0])


@BOTH
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_a_saved_model_forecasts_the_same_bits(made: Made, model_type: str, tmp_path: Path) -> None:
    data = series()
    forecaster = fit_recurrent(model_type, data, made(epochs=1)).forecaster
    forecaster.save(tmp_path)
    loaded = RecurrentForecaster.load(tmp_path, bundle_config(forecaster), data.scaler)
    origins = np.arange(10, 400)
    assert np.array_equal(loaded.forecast(data.frame, origins), forecaster.forecast(data.frame, origins))
    assert (loaded.model_type, loaded.features, loaded.targets) == (model_type, data.features, data.targets)
    assert weights(loaded, tmp_path / "again") == weights(forecaster, tmp_path / "first")


def test_a_bundle_from_before_there_were_skips_and_members_is_still_loaded(tmp_path: Path) -> None:
    data = series()
    forecaster = fit_recurrent("GRU", data, settings(epochs=1)).forecaster
    forecaster.save(tmp_path)
    then = bundle_config(forecaster, hyperparameters={"hidden_size": 16, "num_layers": 2})
    loaded = RecurrentForecaster.load(tmp_path, then, data.scaler)
    origins = np.arange(10, 400)
    assert np.array_equal(loaded.forecast(data.frame, origins), forecaster.forecast(data.frame, origins))


def bundle_config(forecaster: RecurrentForecaster, **changes: object) -> SimpleNamespace:
    names = ("model_type", "input_seq_len", "output_seq_len", "features", "targets")
    fields = {name: getattr(forecaster, name) for name in names}
    fields |= {"hyperparameters": forecaster.config(), "sampling_seconds": 60.0}
    return SimpleNamespace(**{**fields, **changes})


@pytest.mark.parametrize("damage", [lambda raw: raw[:-1], lambda raw: b"\x80\x04" + raw, lambda raw: b""])
def test_a_damaged_model_file_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    forecaster = fit_recurrent("GRU", series(), settings(epochs=1)).forecaster
    (tmp_path / "model.safetensors").write_bytes(damage(weights(forecaster, tmp_path)))
    with pytest.raises(BadInputError, match=r"model\.safetensors does not hold the weights of a GRU with 3 features"):
        RecurrentForecaster.load(tmp_path, bundle_config(forecaster), series().scaler)


@pytest.mark.parametrize(
    "changes",
    [{"model_type": "LSTM"}, {"hyperparameters": {"hidden_size": 16, "num_layers": 1}}, {"output_seq_len": 2}],
)
def test_weights_of_another_network_are_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    forecaster = fit_recurrent("GRU", series(), settings(epochs=1)).forecaster
    forecaster.save(tmp_path)
    with pytest.raises(BadInputError, match="does not hold the weights"):
        RecurrentForecaster.load(tmp_path, bundle_config(forecaster, **changes), series().scaler)


def test_the_fewest_rows_that_a_stage_accepts_are_enough() -> None:
    params = settings(epochs=1, input_seq_len=10, output_seq_len=3)
    with pytest.raises(BadInputError, match=r"^the fit part .*rows 0 to 11.* has no 13 rows in a row"):
        fit_recurrent("GRU", series(rows=18), params)
    assert fit_recurrent("GRU", series(rows=19), params).best_epoch == 1


def test_a_part_without_a_whole_window_is_named() -> None:
    data = series()
    time = data.frame.time.copy()
    time += np.arange(len(time)) // 8 * np.timedelta64(600, "s")  # a gap before every eighth row
    with pytest.raises(BadInputError, match=r"validation part .*rows 280 to 339.* no 11 rows .* gap"):
        fit_recurrent("GRU", replace(data, frame=replace(data.frame, time=time)), settings())


def test_a_training_that_diverges_says_which_learning_rate_to_leave() -> None:
    with pytest.raises(BadInputError, match=r"diverged in epoch 1: .* learning_rate below 1e\+30"):
        fit_recurrent("GRU", series(), settings(learning_rate=1e30))


def test_a_missing_value_is_named() -> None:
    data = series()
    load = data.frame.columns["load"].copy()
    load[7] = np.nan
    broken = replace(data, frame=replace(data.frame, columns={**data.frame.columns, "load": load}))
    with pytest.raises(BadInputError, match="column 'load' at 2024-01-01T00:07:00"):
        fit_recurrent("GRU", broken, settings())


def test_refitting_trains_on_all_rows_for_the_best_number_of_epochs(tmp_path: Path) -> None:
    data, params = series(), settings(epochs=4)
    fit = fit_recurrent("GRU", data, params)
    told: list[str] = []
    refitted = fit.refit(lambda fraction, message: told.append(message))
    assert len(told) == fit.best_epoch
    everything = replace(data, parts=Parts(400, 400, 400))
    again = refit_recurrent("GRU", everything, params, fit.best_epoch)
    assert weights(refitted, tmp_path) == weights(again, tmp_path) != weights(fit.forecaster, tmp_path)


def test_progress_is_told_after_every_epoch() -> None:
    told: list[tuple[float | None, str]] = []
    fit = fit_recurrent("GRU", series(), settings(epochs=2), lambda *said: told.append(said))
    expected = [f"epoch {i + 1}/2, validation loss {loss:.6f}" for i, loss in enumerate(fit.validation_loss)]
    assert told == list(zip([0.5, 1.0], expected, strict=True))


def test_threads_may_share_a_forecaster() -> None:
    data = series()
    forecaster = fit_recurrent("GRU", data, settings(epochs=1)).forecaster
    blocks = [np.arange(10, 100 + 7 * (i % 3)) for i in range(24)]
    expected = [forecaster.forecast(data.frame, block) for block in blocks]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda block: forecaster.forecast(data.frame, block), blocks))
    assert all(np.array_equal(result, wanted) for result, wanted in zip(results, expected, strict=True))


def test_long_windows_are_forecast_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    data = series()
    forecaster = fit_recurrent("GRU", data, settings(epochs=1)).forecaster
    origins = np.arange(10, 110, dtype=np.int64)
    expected = forecaster.forecast(data.frame, origins)
    sizes = []
    predict = network._CpuEngine.predict
    monkeypatch.setattr(
        network._CpuEngine, "predict", lambda self, series, rows: sizes.append(len(rows)) or predict(self, series, rows)
    )
    monkeypatch.setattr(network, "FORECAST_ROWS", 300)  # 30 windows of ten rows
    np.testing.assert_allclose(forecaster.forecast(data.frame, origins), expected, rtol=1e-5)
    assert sorted(sizes) == [10, 30, 30, 30]


@BOTH
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_forecasts_do_not_depend_on_the_number_of_cores(
    made: Made, model_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = series(rows=3 * network.FORECAST_BATCH + 50)
    forecaster = fit_recurrent(model_type, data, made(epochs=1)).forecaster
    origins = np.arange(10, len(data), dtype=np.int64)
    forecasts = []
    for cores in (1, 2, 5):
        monkeypatch.setattr(device, "cores", lambda count=cores: count)
        forecasts.append(forecaster.forecast(data.frame, origins))
    np.testing.assert_array_equal(forecasts[1], forecasts[0])
    np.testing.assert_array_equal(forecasts[2], forecasts[0])


def test_without_the_newer_defaults_a_network_is_that_of_version_0_1() -> None:
    """Numbers of version 0.1, whose networks forecast scaled targets from scaled columns."""
    known = {
        "GRU": (0.00962923, 363.15111, [1027.06146, 964.39337]),
        "LSTM": (0.03836635, 486.23661, [1003.73827, 981.38352]),
    }
    for model_type, (loss, size, values) in known.items():
        fit = fit_recurrent(model_type, series(), settings())
        assert fit.validation_loss[-1] == pytest.approx(loss, rel=1e-4)
        state = fit.forecaster.networks[0].state_dict()
        assert sum(part.double().abs().sum().item() for part in state.values()) == pytest.approx(size, rel=1e-6)
        forecasts = fit.forecaster.forecast(series().frame, np.array([200, 399]))[:, 0, 0]
        np.testing.assert_allclose(forecasts, values, rtol=1e-6)
