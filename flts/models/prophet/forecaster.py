"""Prophet: one model of trend, seasons and holidays per target, corrected by a ridge on its residuals."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from flts.boundary.untrusted import json_object
from flts.contracts import ModelType, canonical_json
from flts.diagnostics.validation import first_problem, shown
from flts.errors import BadInputError
from flts.models.config import BundleConfig, read_hyperparameters
from flts.models.files import CONFIG_FILE
from flts.models.prophet.curve import Curve
from flts.models.prophet.residual_correction import ResidualCorrection
from flts.models.target_transform import FittedLog1p, TargetTransform
from flts.models.volatility import REACH
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.frame import Frame, time_of
from flts.timeseries.scaling import Scaler

MODEL_FILE = "prophet.json"


class ProphetHyperparameters(BaseModel):
    """Hyperparameters that loading needs, ``phi`` of older bundles and ``scales``; the others document the fit."""

    phi: dict[str, Annotated[float, Field(ge=0, le=1)]] | None = None
    scales: dict[str, FittedLog1p] = Field(default_factory=dict)


class ProphetForecaster:
    """Fitted Prophets, one per target.

    Prophet's curve ``yhat`` is a function of time alone: values after the fit and other columns do not change it.
    Recent rows enter through the correction: the residual ``r = y - yhat`` is forecast from its own last rows, those of
    the measured columns, and the calendar, and added to the curve.

    Attributes:
        models: The fitted model of every target, in the form of ``prophet.serialize.model_to_dict``.
        corrections: The residual correction of each target; none for plain Prophet.
        hyperparameters: The training parameters that shaped the models.
        sampling_seconds: Time between two steps beyond the end of a frame.
        scales: The scales of columns that models and corrections are fitted on.
    """

    model_type: ModelType = "PROPHET"

    def __init__(
        self,
        models: Mapping[str, Mapping[str, Any]],
        *,
        corrections: Mapping[str, ResidualCorrection],
        input_seq_len: int,
        output_seq_len: int,
        sampling_seconds: float,
        hyperparameters: Mapping[str, Any],
        scales: TargetTransform | None = None,
    ) -> None:
        self.models = models
        self.scales = scales or TargetTransform()
        self.corrections = corrections
        self.input_seq_len = input_seq_len
        self.output_seq_len = output_seq_len
        self.history_rows = max(input_seq_len, REACH) if corrections else input_seq_len
        self.targets = tuple(models)
        self.non_negative = tuple(name for name in models if name in self.scales.scales)
        seen = (name for correction in corrections.values() for name in correction.columns)
        self.features = tuple(dict.fromkeys((*self.targets, *seen)))
        self.hyperparameters = hyperparameters
        self.sampling_seconds = sampling_seconds
        self._curves = {name: Curve.from_dict(model) for name, model in models.items()}

    def forecast(self, frame: Frame, origins: Indices) -> Floats:
        """Forecast blocks; see ``Forecaster.forecast``. Rows after the frame follow at ``sampling_seconds``."""
        blocks = origins[:, None] + np.arange(self.output_seq_len)
        values = np.stack([self._curve(name, frame, blocks) for name in self.targets], axis=-1)
        if not len(origins) or not (self.corrections or self.scales):
            return values
        start, stop = max(0, int(origins.min()) - self.history_rows), int(origins.max())
        rows, near = frame.rows(start, stop), origins - start
        seen = self.scales.forward(rows)
        for position, name in enumerate(self.targets if self.corrections else ()):
            residual = seen.columns[name] - self.curve(name, seen)
            values[..., position] += self.corrections[name](
                seen, frame.time[start : stop + self.output_seq_len], residual, near, self.sampling_seconds
            )
        return self.scales.mean(self.targets, values, rows.matrix(self.targets)[near - 1])

    def curve(self, target: str, frame: Frame) -> Floats:
        """Return (n,) ``yhat`` of a target at the rows of a frame, on the target's scale."""
        # Successive windows share most of their rows.
        time, position = np.unique(frame.time, return_inverse=True)
        return self._curves[target](time)[position]

    def plain(self) -> Self:
        """Return the same models without the correction by recent rows."""
        return self.corrected({})

    def corrected(self, corrections: Mapping[str, ResidualCorrection]) -> Self:
        """Return the same models with these corrections, by target."""
        return self._with(corrections, self.scales)

    def on(self, scales: TargetTransform) -> Self:
        """Return the same models, which were fitted to columns on these scales, for columns in original units."""
        return self._with(self.corrections, scales)

    def _with(self, corrections: Mapping[str, ResidualCorrection], scales: TargetTransform) -> Self:
        return type(self)(
            self.models,
            corrections=corrections,
            input_seq_len=self.input_seq_len,
            output_seq_len=self.output_seq_len,
            sampling_seconds=self.sampling_seconds,
            hyperparameters=self.hyperparameters,
            scales=scales,
        )

    def config(self) -> dict[str, Any]:
        """Return the hyperparameters, and the scales where there are any."""
        return dict(self.hyperparameters) | ({"scales": self.scales.to_dict()} if self.scales else {})

    def save(self, directory: Path) -> None:
        """Write ``prophet.json``: Prophet's own JSON of every target's model, and its correction."""
        corrections = {name: correction.to_dict() for name, correction in self.corrections.items()}
        text = canonical_json({"models": self.models, "corrections": corrections})
        (directory / MODEL_FILE).write_text(f"{text}\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: Path, config: BundleConfig, scaler: Scaler) -> Self:  # noqa: ARG003 - every forecaster loads alike
        """Load what ``save`` wrote; neither Prophet nor the scaler is needed, because its models do not use it.

        Older bundles have a factor ``phi``, by which a residual decays, instead of corrections.

        Raises:
            BadInputError: The file or the hyperparameters in ``config`` are not those of a Prophet bundle.
        """
        path = directory / MODEL_FILE
        fitted = read_hyperparameters(ProphetHyperparameters, config, directory)
        phi = fitted.phi
        content = json_object(path.read_bytes(), str(path), "a file of fitted Prophets")
        models = _of_every_target(content.get("models"), config, f"{path} must hold a model")
        if phi is None:
            corrections = _corrections(content.get("corrections"), config, path)
        else:
            phi = _of_every_target(phi, config, f"{directory / CONFIG_FILE} must hold a phi")
            corrections = {
                name: ResidualCorrection.decay(factor, config.output_seq_len) for name, factor in phi.items()
            }
        try:
            scales = TargetTransform.of_fitted(fitted.scales, config.features, config.output_seq_len)
        except ValueError as error:
            raise BadInputError(f"{directory / CONFIG_FILE} holds no scales of this Prophet: {error}") from None
        shaping = {name: value for name, value in config.hyperparameters.items() if name not in {"phi", "scales"}}
        try:
            loaded = cls(
                models,
                corrections=corrections,
                input_seq_len=config.input_seq_len,
                output_seq_len=config.output_seq_len,
                sampling_seconds=config.sampling_seconds,
                hyperparameters=shaping,
                scales=scales,
            )
        except ValidationError as error:
            raise BadInputError(f"{path} holds no fitted Prophet: {first_problem(error)}") from None
        if unseen := [name for name in loaded.features if name not in config.features]:
            raise BadInputError(f"{path} forecasts from column {unseen[0]!r}, which is not among its features")
        for model in models.values():
            if model["country_holidays"]:
                check_country(model["country_holidays"], "country_holidays")
        return loaded

    def _curve(self, target: str, frame: Frame, rows: Indices) -> Floats:
        """Return Prophet's curve at row numbers of any shape, each distinct row evaluated once."""
        distinct, position = np.unique(rows, return_inverse=True)
        return self._curves[target](time_of(distinct, frame.time, self.sampling_seconds))[position.reshape(rows.shape)]


def check_country(code: str, name: str) -> None:
    """Make sure that the holidays of a country are known; ``name`` is the parameter that the error names.

    Raises:
        BadInputError: They are not.
    """
    from holidays import list_supported_countries

    if code not in list_supported_countries():
        raise BadInputError(
            f"{name} {shown(code, quoted=True)} is not a country whose holidays are known: an ISO 3166 code such as ES "
            "or US is expected"
        )


def _of_every_target(found: Any, config: BundleConfig, must: str) -> dict[str, Any]:
    """Return the entries of all targets, in their order; ``must`` begins the error where there are others."""
    if not isinstance(found, dict) or set(found) != set(config.targets):
        raise BadInputError(f"{must} of {', '.join(config.targets)} each, and of nothing else")
    return {name: found[name] for name in config.targets}


def _corrections(found: Any, config: BundleConfig, path: Path) -> dict[str, ResidualCorrection]:
    if found == {}:  # plain Prophet
        return {}
    learned = _of_every_target(found, config, f"{path} must hold a correction")
    try:
        return {name: ResidualCorrection.from_dict(fields, config.output_seq_len) for name, fields in learned.items()}
    except ValidationError as error:
        raise BadInputError(f"{path} holds no correction of a Prophet: {first_problem(error)}") from None
    except ValueError as error:
        raise BadInputError(f"{path} holds no correction of this Prophet: {error}") from None
