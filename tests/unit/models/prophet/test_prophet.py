"""Prophet: its curve against Prophet's own predict, and the residual correction against numbers by hand."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flts.errors import BadInputError
from flts.models import bundle
from flts.models.linear_skip import SkipInputs
from flts.models.prophet.forecaster import ProphetForecaster
from flts.models.prophet.residual_correction import ResidualCorrection
from flts.models.prophet.training import _correction, fit_prophet
from flts.models.volatility import REACH, error_weights
from flts.params import ProphetParams
from flts.progress import no_progress
from tests.support.processed import processed, prophet_line

NAN = float("nan")
# Prophet calls pandas by deprecated arguments; these tests call Prophet itself for comparison.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:prophet")


def params(**chosen: Any) -> ProphetParams:
    return ProphetParams(config_hash="", config_json="", identifier="", **chosen)


def forecaster(*, horizon: int = 1, **phi: float) -> ProphetForecaster:
    """Forecast lines 10, 11, 12, .. for every target."""
    return ProphetForecaster(
        dict.fromkeys(phi, prophet_line(1, 10)),
        corrections={name: ResidualCorrection.decay(factor, horizon) for name, factor in phi.items()},
        input_seq_len=1,
        output_seq_len=horizon,
        sampling_seconds=3600,
        hyperparameters={},
    )


def daily(rows: int = 24 * 20, seed: int = 0) -> np.ndarray:
    """A trend, a daily wave and errors of which half is left an hour later."""
    hours = np.arange(rows)
    errors = np.random.default_rng(seed).normal(size=rows) / 10
    for row in range(1, rows):
        errors[row] += errors[row - 1] / 2
    return 5 + hours / 200 + np.sin(2 * np.pi * hours / 24) + errors


def prophet_says(model: dict[str, Any], time: np.ndarray) -> np.ndarray:
    import pandas as pd
    from prophet.serialize import model_from_dict

    return model_from_dict(dict(model)).predict(pd.DataFrame({"ds": time}))["yhat"].to_numpy()


@pytest.fixture(scope="module")
def fitted():
    data = processed({"y": daily(), "x": np.zeros(480), "z": -3 * daily(seed=1)}, targets=("y", "z"))
    return data, fit_prophet(data, params(output_seq_len=3))


def test_the_last_residual_decays_over_the_block():
    data = processed({"y": [10, 11, 20]})  # yhat is 10, 11, 12, 13, ..
    model = forecaster(y=0.5, horizon=3)
    # Row 3 on: 13 + 8/2, 14 + 8/4, 15 + 8/8. Row 1 on: no residual at row 0.
    assert model.forecast(data.frame, np.array([3, 1])).tolist() == [[[17], [16], [16]], [[11], [12], [13]]]


def test_every_target_has_its_own_correction():
    data = processed({"y": [14, 0], "z": [14, 0]}, targets=("y", "z"))
    assert forecaster(y=0.5, z=1.0, horizon=2).forecast(data.frame, np.array([1])).tolist() == [[[13, 15], [13, 16]]]


def test_the_plain_forecaster_ignores_what_was_measured():
    data = processed({"y": [99, 99]})
    assert forecaster(y=0.5).plain().forecast(data.frame, np.array([1, 2])).tolist() == [[[11]], [[12]]]


def test_only_rows_before_the_origin_are_seen():
    model, data = forecaster(y=0.5, horizon=2), processed({"y": [14, 3, 4]})
    changed = replace(data.frame, columns={"y": np.array([14, NAN, NAN])})
    assert np.array_equal(model.forecast(data.frame, np.array([1])), model.forecast(changed, np.array([1])))


def test_no_origins_give_no_forecasts():
    assert forecaster(y=0.5, horizon=2).forecast(processed({"y": [1, 2]}).frame, np.array([], int)).shape == (0, 2, 1)


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"growth": "flat", "daily_seasonality": "2", "weekly_seasonality": "false"},
        {"seasonality_mode": "multiplicative", "holidays_country": "US", "weekly_seasonality": "true"},
        {"n_changepoints": 0, "daily_seasonality": "false", "weekly_seasonality": "false", "holidays_country": "ES"},
        {"changepoint_prior_scale": 5.0, "yearly_seasonality": "1"},
        {"daily_seasonality": "false", "weekly_seasonality": "false"},
    ],
    ids=lambda chosen: "-".join(chosen) or "defaults",
)
def test_the_curve_is_prophets_own(chosen: dict[str, Any]):
    data = processed({"y": daily() * 1e6}, start="2023-12-20")  # Christmas and New Year within
    model = fit_prophet(data, params(residual_ar=False, **chosen)).forecaster
    expected = prophet_says(model.models["y"], data.frame.time)
    forecast = model.forecast(data.frame, np.arange(1, len(data)))[:, 0, 0]
    assert forecast == pytest.approx(expected[1:], rel=1e-9)


def test_a_forecast_is_prophets_curve_plus_the_residual_that_the_ridge_expects(fitted):
    data, fit = fitted
    origins = np.array([30, 400, 477])
    forecast = fit.forecaster.forecast(data.frame, origins)
    for position, name in enumerate(("y", "z")):
        curve = prophet_says(fit.forecaster.models[name], data.frame.time)
        residual = data.frame.columns[name] - curve
        values = np.stack([*(data.frame.columns[other] for other in ("y", "x", "z")), residual], axis=1)
        skip = fit.forecaster.corrections[name].skip
        moved = skip(SkipInputs.of(data.frame.time, values, 3600.0), origins)[..., 0]
        for row, t in enumerate(origins):
            expected = curve[t : t + 3] + residual[t - 1] + moved[row]
            assert forecast[row, :, position] == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_time_goes_on_after_the_frame(fitted):
    data, fit = fitted
    whole = fit.forecaster.forecast(data.frame, np.array([470]))
    cut = fit.forecaster.forecast(data.frame.rows(0, 470), np.array([470]))
    assert np.array_equal(whole, cut)


def test_the_correction_beats_the_curve_alone(fitted):
    data, fit = fitted
    origins = np.arange(data.parts.validation_end, len(data) - 3)
    actual = data.frame.matrix(("y", "z"))[origins]
    corrected, plain = (
        np.abs(model.forecast(data.frame, origins)[:, 0] - actual).mean(axis=0) for model in (fit.forecaster, fit.plain)
    )
    assert (corrected < 0.97 * plain).all()


@pytest.mark.slow
def test_the_residuals_that_forecast_the_validation_part_better_teach_the_correction():
    random = np.random.default_rng(3)
    rows = 24 * 20
    level = np.repeat(random.normal(0, 3, rows // 24), 24)  # a flexible trend follows it in sample alone
    data = processed({"y": level + random.normal(size=rows) / 10})
    flexible = params(n_changepoints=100, changepoint_prior_scale=50.0, changepoint_range=1.0)
    fit = fit_prophet(data, flexible)
    crossed = json.loads(fit.fit_info["cross_fitted"])["y"]
    parts, target = data.parts, data.frame.columns["y"]
    origins = np.arange(parts.fit_end, parts.validation_end)
    weights = error_weights(data, np.arange(10, parts.fit_end), parts.fit_end, by_volatility=True)[origins, 0]

    losses = []
    for way in (False, True):
        correction = _correction(fit.plain, "y", data, flexible, parts.fit_end, cross_fitted=way)
        forecast = fit.plain.corrected({"y": correction}).forecast(data.frame, origins)[:, 0, 0]
        losses.append(np.mean(weights * (forecast - target[origins]) ** 2))
    assert crossed == (losses[1] < losses[0])


def test_nothing_but_the_choice_sees_the_validation_part_and_nothing_the_selection_part(fitted):
    data, fit = fitted

    def changed_from(row: int):
        columns = {n: np.where(np.arange(480) < row, v, 2 * v - 9) for n, v in data.frame.columns.items()}
        return replace(data, frame=replace(data.frame, columns=columns), actual={n: columns[n] for n in data.targets})

    settings = params(output_seq_len=3)
    same = fit_prophet(changed_from(data.parts.validation_end), settings)
    assert same.forecaster.models == fit.forecaster.models
    assert [c.to_dict() for c in same.forecaster.corrections.values()] == [
        c.to_dict() for c in fit.forecaster.corrections.values()
    ]
    after_fit = fit_prophet(changed_from(data.parts.fit_end), settings)
    assert after_fit.forecaster.models == fit.forecaster.models
    ours, theirs = (json.loads(each.fit_info["cross_fitted"]) for each in (fit, after_fit))
    for name in (name for name in data.targets if ours[name] == theirs[name]):
        one, other = (each.forecaster.corrections[name].to_dict() for each in (fit, after_fit))
        assert one == other


def test_a_forecast_from_the_rows_that_a_server_keeps_is_the_same(fitted, tmp_path: Path):
    data, fit = fitted
    bundle.save(tmp_path / "bundle", fit.forecaster, data)
    loaded = bundle.load(tmp_path / "bundle").forecaster
    assert loaded.features == ("y", "z", "x")
    origins = np.array([12, 200, 257, 300, 480])
    together = fit.forecaster.forecast(data.frame, origins)
    assert np.array_equal(loaded.forecast(data.frame, origins), together)
    for position, origin in enumerate(origins):
        first = max(0, origin - REACH)
        alone = loaded.forecast(data.frame.rows(first, origin), np.array([origin - first]))[0]
        np.testing.assert_allclose(alone, together[position], rtol=0, atol=1e-9)


def test_without_residual_ar_the_forecast_is_plain_prophet(fitted):
    data, fit = fitted
    off = fit_prophet(data, params(output_seq_len=3, residual_ar=False))
    origins = np.arange(10, 400, 50)
    assert off.plain is None
    assert off.forecaster.features == ("y", "z")
    assert np.array_equal(
        off.forecaster.forecast(data.frame, origins), fit.forecaster.plain().forecast(data.frame, origins)
    )


def test_the_fit_sees_the_fit_part_alone_and_the_refit_all_rows(fitted):
    data, fit = fitted
    history = json.loads(fit.forecaster.models["y"]["history_dates"])["data"]
    assert len(history) == data.parts.fit_end
    again = fit.refit(no_progress)
    assert len(json.loads(again.models["y"]["history_dates"])["data"]) == len(data)
    for name, correction in fit.forecaster.corrections.items():
        assert np.array_equal(again.corrections[name].skip.alphas, correction.skip.alphas)
        assert not np.array_equal(again.corrections[name].skip.coefficients, correction.skip.coefficients)


def test_a_repeat_writes_the_same_bytes(fitted, tmp_path: Path):
    data, fit = fitted
    again = fit_prophet(data, params(output_seq_len=3))
    for name, model in (("first", fit.forecaster), ("second", again.forecaster)):
        (tmp_path / name).mkdir()
        model.save(tmp_path / name)
    assert (tmp_path / "first/prophet.json").read_bytes() == (tmp_path / "second/prophet.json").read_bytes()


@pytest.mark.parametrize("value", [0.0, -2.5])
def test_a_constant_series_is_forecast_by_its_constant(value: float):
    data = processed({"y": [value] * 60})
    fit = fit_prophet(data, params())
    assert fit.forecaster.forecast(data.frame, np.array([30, 60]))[:, 0, 0] == pytest.approx([value, value], abs=1e-9)


def test_three_rows_are_enough_and_two_are_not():
    fit = fit_prophet(processed({"y": [1, 2, 3]}), params())  # two in the fit part
    assert np.isfinite(fit.forecaster.forecast(processed({"y": [1, 2, 3]}).frame, np.array([1]))).all()
    with pytest.raises(BadInputError, match="fit part has 1 rows; Prophet needs at least 2"):
        fit_prophet(processed({"y": [1, 2]}), params())


@pytest.mark.parametrize("country", ["XX", "HolidayBase", "es"])
def test_an_unknown_country_is_named(country: str):
    with pytest.raises(BadInputError, match=f"holidays_country '{country}' .* ISO 3166"):
        fit_prophet(processed({"y": range(40)}), params(holidays_country=country))


def test_a_fit_prints_and_logs_nothing_and_leaves_no_files(capfd: pytest.CaptureFixture, caplog, tmp_path, monkeypatch):
    import cmdstanpy

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with caplog.at_level(logging.DEBUG):
        fit_prophet(processed({"y": daily(100)}), params(yearly_seasonality="3"))
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert list(tmp_path.iterdir()) == []
    assert [path for path in Path(cmdstanpy._TMPDIR).rglob("*") if path.is_file()] == []
    assert not logging.getLogger("cmdstanpy").disabled


def test_progress_names_each_target():
    heard: list[tuple[float | None, str]] = []
    fit_prophet(
        processed({"y": [1] * 20, "z": [2] * 20}, targets=("y", "z")),
        params(),
        lambda fraction, message: heard.append((fraction, message)),
    )
    assert heard == [
        (0.0, "fitting Prophet to y, 14 rows"),
        (0.5, "fitting Prophet to z, 14 rows"),
        (1.0, "fitted Prophet to y, z"),
        (1.0, "fitting Prophet to y in 5 blocks"),
        (1.0, "fitting Prophet to z in 5 blocks"),
    ]
