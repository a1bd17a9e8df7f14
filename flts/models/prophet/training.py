"""Training of Prophet: one curve per target, and the ridge that corrects it by recent rows."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np

from flts.contracts import canonical_json
from flts.errors import BadInputError
from flts.models.base import FitResult, Forecaster
from flts.models.linear_skip import skip_columns
from flts.models.prophet.curve import Curve
from flts.models.prophet.forecaster import ProphetForecaster, check_country
from flts.models.prophet.residual_correction import ResidualCorrection
from flts.models.ridge import BLOCKS
from flts.models.target_transform import TargetTransform, target_scales
from flts.models.volatility import error_weights
from flts.params import ProphetParams
from flts.progress import Progress, no_progress
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.features import TIME_FEATURES
from flts.timeseries.frame import Frame
from flts.timeseries.processed import ProcessedData
from flts.timeseries.windows import forecast_origins

HYPERPARAMETERS = (
    "growth",
    "n_changepoints",
    "changepoint_range",
    "changepoint_prior_scale",
    "seasonality_mode",
    "seasonality_prior_scale",
    "daily_seasonality",
    "weekly_seasonality",
    "yearly_seasonality",
    "holidays_country",
    "residual_ar",
    "volatility_weighting",
    "seed",
)
# Loggers of Prophet and CmdStanPy, which report every step of a fit, and that plotly is missing.
LOGGERS = ("prophet", "prophet.models", "prophet.plot", "cmdstanpy")


@dataclass(frozen=True)
class _Chosen:
    """Choices for the correction of a target: cross-fitted residuals or not, and the strengths of the penalty."""

    cross_fitted: bool
    alphas: Floats


def fit_prophet(data: ProcessedData, params: ProphetParams, progress: Progress = no_progress) -> FitResult:
    """Fit one Prophet per target on the fit part, in original units or on a logarithmic scale, and its correction.

    Raises:
        BadInputError: The fit part has fewer than two rows, ``holidays_country`` is unknown, or a target is negative
            but shall be fitted on a logarithmic scale.
    """
    chosen = target_scales(data, params.target_transform)
    names = [name for name, scale in zip(data.targets, chosen, strict=True) if scale != "none"]
    parts, horizon = data.parts, params.output_seq_len
    scales = TargetTransform.learn(data, names, stop=parts.fit_end, horizon=horizon)
    scaled = scales.of_data(data)
    fit = _fit_on_scales(scaled, params, progress)
    if params.target_transform != "none":
        told = {name: "log1p" if name in names else "none" for name in data.targets}
        fit = replace(fit, fit_info={**fit.fit_info, "target_scales": canonical_json(told)})
    if not scales:
        return fit
    origins = _origins(data, params, parts.fit_end, parts.validation_end)
    values = scaled.frame.matrix(data.targets)[origins[:, None] + np.arange(horizon)]

    def in_original_units(forecaster: Forecaster) -> ProphetForecaster:
        forecasts = forecaster.forecast(scaled.frame, origins)
        return cast(ProphetForecaster, forecaster).on(scales.calibrated(data.targets, forecasts, values))

    fitted = in_original_units(fit.forecaster)

    def refit(progress: Progress) -> ProphetForecaster:
        known = TargetTransform.learn(data, names, stop=len(data), horizon=horizon)
        return cast(ProphetForecaster, fit.refit(progress)).on(known.calibrated_as(fitted.scales))

    plain = in_original_units(fit.plain) if fit.plain else None
    return replace(fit, forecaster=fitted, refit=refit, plain=plain)


def _fit_on_scales(data: ProcessedData, params: ProphetParams, progress: Progress) -> FitResult:
    """Fit one Prophet per target on the fit part, and the ridge that corrects it.

    A curve follows the rows that it was fitted to, so that their residuals are smaller than later ones. The ridge is
    therefore fitted twice: to these residuals, and to cross-fitted ones, those of each of five blocks from a curve that
    was fitted to the others. The one that forecasts the validation part better is kept; the selection part must not
    choose, because it is what the reported scores are measured on.
    """
    stop = data.parts.fit_end
    plain = _fit(data, stop, params, progress)
    origins = _origins(data, params, 0, stop)
    if not params.residual_ar or not len(origins):
        return FitResult(forecaster=plain, refit=lambda progress: _fit(data, len(data), params, progress))
    corrections, chosen = {}, {}
    for name in data.targets:
        learned = [_correction(plain, name, data, params, stop, cross_fitted=False)]
        if stop >= 2 * BLOCKS:
            progress(1.0, f"fitting Prophet to {name} in {BLOCKS} blocks")
            learned.append(_correction(plain, name, data, params, stop, cross_fitted=True))
        losses = [_validation_errors(plain, name, correction, data, params) for correction in learned]
        # Relative to the first, so that every step counts equally.
        crossed = len(learned) > 1 and bool(np.mean(losses[1] / np.where(losses[0] > 0, losses[0], 1.0)) < 1)
        corrections[name] = learned[crossed]
        chosen[name] = _Chosen(crossed, learned[crossed].skip.alphas)
    return FitResult(
        forecaster=plain.corrected(corrections),
        refit=lambda progress: refit_prophet(chosen, data, params, progress),
        plain=plain,
        fit_info={
            "residual_alpha": canonical_json({name: each.alphas[:, 0].tolist() for name, each in chosen.items()}),
            "cross_fitted": canonical_json({name: each.cross_fitted for name, each in chosen.items()}),
        },
    )


def refit_prophet(
    chosen: Mapping[str, _Chosen], data: ProcessedData, params: ProphetParams, progress: Progress = no_progress
) -> ProphetForecaster:
    """Fit curves and ridges once more on all rows, with the choices that the first fit made."""
    plain = _fit(data, len(data), params, progress)
    corrections = {
        name: _correction(plain, name, data, params, len(data), cross_fitted=each.cross_fitted, alphas=each.alphas)
        for name, each in chosen.items()
    }
    return plain.corrected(corrections)


def _fit(data: ProcessedData, stop: int, params: ProphetParams, progress: Progress) -> ProphetForecaster:
    if stop < 2:
        raise BadInputError(f"the training data's fit part has {stop} rows; Prophet needs at least 2")
    models = {}
    for done, name in enumerate(data.targets):
        progress(done / len(data.targets), f"fitting Prophet to {name}, {stop} rows")
        models[name] = _fit_one(data.frame.rows(0, stop), name, params)
    progress(1.0, f"fitted Prophet to {', '.join(data.targets)}")
    return ProphetForecaster(
        models,
        corrections={},
        input_seq_len=params.input_seq_len,
        output_seq_len=params.output_seq_len,
        sampling_seconds=data.sampling_seconds,
        hyperparameters={name: getattr(params, name) for name in HYPERPARAMETERS},
    )


def _correction(
    plain: ProphetForecaster,
    target: str,
    data: ProcessedData,
    params: ProphetParams,
    stop: int,
    *,
    cross_fitted: bool,
    alphas: Floats | None = None,
) -> ResidualCorrection:
    """Fit the ridge of a target to its residuals in the rows [0, stop)."""
    frame = data.frame.rows(0, stop)
    fitted = _cross_fitted(frame, target, params) if cross_fitted else plain.curve(target, frame)
    names, origins = data.learnable_features(), _origins(data, params, 0, stop)
    weights = error_weights(data, origins, stop, by_volatility=params.volatility_weighting)
    return ResidualCorrection.learn(
        frame,
        frame.columns[target] - fitted,
        origins,
        weights[origins, data.targets.index(target)],
        columns=skip_columns(names),
        calendar=[name for name in names if name in TIME_FEATURES],
        horizon=params.output_seq_len,
        embargo=params.input_seq_len,
        sampling_seconds=data.sampling_seconds,
        alphas=alphas,
    )


def _cross_fitted(frame: Frame, target: str, params: ProphetParams) -> Floats:
    """Return (n,) ``yhat`` of each of five blocks of rows from a curve that was fitted to the others."""
    values = np.empty(len(frame))
    for start, stop in pairwise(np.linspace(0, len(frame), BLOCKS + 1).astype(int)):
        others = np.r_[0:start, stop : len(frame)]
        rest = Frame(frame.time[others], {target: frame.columns[target][others]})
        values[start:stop] = Curve.from_dict(_fit_one(rest, target, params))(frame.time[start:stop])
    return values


def _validation_errors(
    plain: ProphetForecaster, target: str, correction: ResidualCorrection, data: ProcessedData, params: ProphetParams
) -> Floats:
    """Return (horizon,) the weighted squared error of a target on the validation part; zero where it has no origin."""
    parts, horizon = data.parts, params.output_seq_len
    origins = _origins(data, params, parts.fit_end, parts.validation_end)
    if not len(origins):
        return np.zeros(horizon)
    position = data.targets.index(target)
    only = ProphetForecaster(
        {target: plain.models[target]},
        corrections={target: correction},
        input_seq_len=params.input_seq_len,
        output_seq_len=horizon,
        sampling_seconds=data.sampling_seconds,
        hyperparameters={},
    )
    error = (
        only.forecast(data.frame, origins)[..., 0] - data.frame.columns[target][origins[:, None] + np.arange(horizon)]
    )
    known = _origins(data, params, 0, parts.fit_end)
    weights = error_weights(data, known, parts.fit_end, by_volatility=params.volatility_weighting)
    errors: Floats = np.mean(weights[origins, position][:, None] * error**2, axis=0)
    return errors


def _origins(data: ProcessedData, params: ProphetParams, start: int, stop: int) -> Indices:
    return forecast_origins(data.gap_before()[:stop], start, stop, params.input_seq_len, params.output_seq_len)


def _fit_one(frame: Frame, target: str, params: ProphetParams) -> dict[str, Any]:
    import pandas as pd

    with _without_library_logs():
        from prophet import Prophet
        from prophet.serialize import model_to_dict

    model = Prophet(
        growth=params.growth,
        n_changepoints=params.n_changepoints,
        changepoint_range=params.changepoint_range,
        changepoint_prior_scale=params.changepoint_prior_scale,
        seasonality_mode=params.seasonality_mode,
        seasonality_prior_scale=params.seasonality_prior_scale,
        daily_seasonality=_seasonality(params.daily_seasonality),
        weekly_seasonality=_seasonality(params.weekly_seasonality),
        yearly_seasonality=_seasonality(params.yearly_seasonality),
        uncertainty_samples=0,
    )
    if params.holidays_country:
        check_country(params.holidays_country, "holidays_country")
        model.add_country_holidays(params.holidays_country)
    with _without_library_logs(), TemporaryDirectory() as folder:  # for CmdStan's files, also of a failed fit
        history = pd.DataFrame({"ds": frame.time, "y": frame.columns[target]})
        model.fit(history, seed=params.seed, output_dir=folder)
    fields: dict[str, Any] = model_to_dict(model)
    fields["fit_kwargs"] = {"seed": params.seed}  # without the folder's name, which differs in every fit
    return fields


def _seasonality(value: str) -> str | bool | int:
    named: dict[str, str | bool] = {"auto": "auto", "true": True, "false": False}
    return named[value] if value in named else int(value)


@contextmanager
def _without_library_logs() -> Iterator[None]:
    """Hide the logs of Prophet and CmdStanPy, and warnings of pandas about arguments that Prophet uses."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    disabled = [logger.disabled for logger in loggers]
    try:
        for logger in loggers:
            logger.disabled = True
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"prophet\.")
            yield
    finally:
        for logger, before in zip(loggers, disabled, strict=True):
            logger.disabled = before
