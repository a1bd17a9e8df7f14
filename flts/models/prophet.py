"""Prophet: one model of trend, seasons and holidays per target, corrected by the decaying last residual."""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np

from flts.contracts import ModelType, canonical_json
from flts.errors import BadInputError
from flts.models.base import Fit
from flts.models.config import BundleConfig
from flts.models.prophet_curve import Curve
from flts.params import ProphetParams
from flts.progress import Progress, no_progress
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.frame import Frame, time_of
from flts.timeseries.processed import ProcessedData
from flts.timeseries.scaling import Scaler

MODEL_FILE = "prophet.json"
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
    "seed",
)
# Prophet and CmdStanPy log every step of a fit, and that plotly is missing, each under its own logger.
LOGGERS = ("prophet", "prophet.models", "prophet.plot", "cmdstanpy")


class ProphetForecaster:
    """Fitted Prophets, one per target, each seeing only its target's own history.

    Prophet's curve ``yhat`` is a function of time alone: what happened after the fit does not move it, and other
    columns never do. Recent values enter in one way: the step h after the last known value ``y(t)`` is forecast as

        yhat(t + h) + phi^h (y(t) - yhat(t))

    which is Prophet with first-order autoregressive errors. So a level that has shifted is followed, and forgotten
    at the rate ``phi``; a change of slope, of the seasons, or of another column is not seen until the next training.
    ``phi`` zero is plain Prophet.

    Attributes:
        models: The fitted model of every target, as ``prophet.serialize.model_to_dict`` gives it.
        phi: Share of the last residual that is still there one step later, in [0, 1], by target.
        hyperparameters: The training parameters that shaped the models.
        sampling_seconds: Time between two steps beyond the end of a frame.
    """

    model_type: ModelType = "PROPHET"

    def __init__(
        self,
        models: Mapping[str, Mapping[str, Any]],
        *,
        phi: Mapping[str, float],
        input_seq_len: int,
        output_seq_len: int,
        sampling_seconds: float,
        hyperparameters: Mapping[str, Any],
    ) -> None:
        self.models = models
        self.phi = phi
        self.input_seq_len = input_seq_len
        self.output_seq_len = output_seq_len
        self.history_rows = input_seq_len
        self.targets = tuple(models)
        self.features = self.targets
        self.hyperparameters = hyperparameters
        self.sampling_seconds = sampling_seconds
        self._curves = [Curve.from_dict(model) for model in models.values()]

    def forecast(self, frame: Frame, origins: Indices) -> Floats:
        """Forecast blocks; see ``Forecaster.forecast``. Rows behind the frame follow at ``sampling_seconds``."""
        steps = np.arange(1, self.output_seq_len + 1)
        # Column 0 is the last known row, the others are the block.
        rows = origins[:, None] + np.arange(-1, self.output_seq_len)
        fitted = self._yhat(frame, rows)
        residual = frame.matrix(self.targets)[origins - 1] - fitted[:, 0]
        decay = np.array([self.phi[name] for name in self.targets]) ** steps[:, None]
        values: Floats = fitted[:, 1:] + decay * residual[:, None]
        return values

    def plain(self) -> Self:
        """Return the same models without the correction by the last residual."""
        return self._with(phi=dict.fromkeys(self.targets, 0.0))

    def config(self) -> dict[str, Any]:
        """Return the hyperparameters and ``phi``."""
        return {**self.hyperparameters, "phi": dict(self.phi)}

    def save(self, directory: Path) -> None:
        """Write ``prophet.json``: Prophet's own JSON of every target's model under ``models``."""
        (directory / MODEL_FILE).write_text(canonical_json({"models": self.models}) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: Path, config: BundleConfig, scaler: Scaler) -> Self:  # noqa: ARG003 - one way to load
        """Load what ``save`` wrote; Prophet itself is not needed, and the scaler neither: its models are unscaled."""
        models = json.loads((directory / MODEL_FILE).read_bytes())["models"]
        hyperparameters = dict(config.hyperparameters)
        return cls(
            {name: models[name] for name in config.targets},
            phi=hyperparameters.pop("phi"),
            input_seq_len=config.input_seq_len,
            output_seq_len=config.output_seq_len,
            sampling_seconds=config.sampling_seconds,
            hyperparameters=hyperparameters,
        )

    def _with(self, *, phi: Mapping[str, float]) -> Self:
        return type(self)(
            self.models,
            phi=phi,
            input_seq_len=self.input_seq_len,
            output_seq_len=self.output_seq_len,
            sampling_seconds=self.sampling_seconds,
            hyperparameters=self.hyperparameters,
        )

    def _yhat(self, frame: Frame, rows: Indices) -> Floats:
        """Return Prophet's curves (.., targets) at row numbers of any shape, each distinct row evaluated once."""
        distinct, position = np.unique(rows, return_inverse=True)
        time = time_of(distinct, frame.time, self.sampling_seconds)
        return np.stack([curve(time) for curve in self._curves], axis=1)[position.reshape(rows.shape)]


def fit_prophet(data: ProcessedData, params: ProphetParams, progress: Progress = no_progress) -> Fit:
    """Fit one Prophet per target on the fit part, in original units, and ``phi`` on the validation part.

    ``phi`` minimises the squared one-step error over the measured validation rows that no gap separates from the row
    before, then is clamped to [0, 1]: below zero or above one the correction would swing or grow with the horizon.

    Raises:
        BadInputError: The fit part has fewer than two rows, or ``holidays_country`` is unknown.
    """
    plain = _fit(data, data.parts.fit_end, params, progress).plain()
    phi = _residual_decay(plain, data) if params.residual_ar else plain.phi
    return Fit(
        forecaster=plain._with(phi=phi),
        refit=lambda progress: refit_prophet(phi, data, params, progress),
        plain=plain if params.residual_ar else None,
        learned={"phi": canonical_json(dict(phi))} if params.residual_ar else {},
    )


def refit_prophet(
    phi: Mapping[str, float], data: ProcessedData, params: ProphetParams, progress: Progress = no_progress
) -> ProphetForecaster:
    """Fit once more on all rows; ``phi`` stays, because no rows are left to learn it on."""
    return _fit(data, len(data), params, progress)._with(phi=phi)


def _fit(data: ProcessedData, stop: int, params: ProphetParams, progress: Progress) -> ProphetForecaster:
    if stop < 2:
        raise BadInputError(f"the training data's fit part has {stop} rows; Prophet needs at least 2")
    models = {}
    for done, name in enumerate(data.targets):
        progress(done / len(data.targets), f"fitting Prophet to {name}, {stop} rows")
        with _quiet():
            models[name] = _fit_one(data.frame.rows(0, stop), name, params)
    progress(1.0, f"fitted Prophet to {', '.join(data.targets)}")
    return ProphetForecaster(
        models,
        phi=dict.fromkeys(data.targets, 0.0),
        input_seq_len=params.input_seq_len,
        output_seq_len=params.output_seq_len,
        sampling_seconds=data.sampling_seconds,
        hyperparameters={name: getattr(params, name) for name in HYPERPARAMETERS},
    )


def _fit_one(frame: Frame, target: str, params: ProphetParams) -> dict[str, Any]:
    import pandas as pd
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
        _check_country(params.holidays_country)
        model.add_country_holidays(params.holidays_country)
    with TemporaryDirectory() as folder:  # for the files that CmdStan writes, also those of a fit that failed
        history = pd.DataFrame({"ds": frame.time, "y": frame.columns[target]})
        model.fit(history, seed=params.seed, output_dir=folder)
    fields: dict[str, Any] = model_to_dict(model)
    fields["fit_kwargs"] = {"seed": params.seed}  # the folder's name would make every fit another file
    return fields


def _seasonality(value: str) -> str | bool | int:
    named: dict[str, str | bool] = {"auto": "auto", "true": True, "false": False}
    return named[value] if value in named else int(value)


def _check_country(code: str) -> None:
    from holidays import list_supported_countries

    if code not in list_supported_countries():
        raise BadInputError(
            f"holidays_country {code!r} is not a country whose holidays are known: an ISO 3166 code such as ES or US "
            f"is expected"
        )


def _residual_decay(plain: ProphetForecaster, data: ProcessedData) -> dict[str, float]:
    """Return phi by target: the least-squares slope of a validation residual on the one before it."""
    rows = np.arange(max(data.parts.fit_end, 1), data.parts.validation_end)
    rows = rows[~data.gap_before()[rows]]
    before = data.frame.matrix(data.targets)[rows - 1] - plain._yhat(data.frame, rows - 1)
    now = data.actual_matrix()[rows] - plain._yhat(data.frame, rows)
    measured = ~np.isnan(now)
    covariance = np.sum(before * now, axis=0, where=measured)
    variance = np.sum(before**2, axis=0, where=measured)
    phi = np.divide(covariance, variance, out=np.zeros_like(variance), where=variance > 0)
    return dict(zip(data.targets, np.clip(phi, 0.0, 1.0).tolist(), strict=True))


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what Prophet and CmdStanPy log, and the pandas methods that Prophet calls by deprecated arguments."""
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
