"""``config.json`` of a model bundle: the model, and the data that it was trained on."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from flts.contracts import ConfigHash, Message, ModelType
from flts.diagnostics.validation import first_problem
from flts.errors import BadInputError
from flts.models.files import CONFIG_FILE
from flts.models.fitted_baselines import FittedBaselines
from flts.params import MAX_WINDOW
from flts.timeseries.frame import Parts

H = TypeVar("H", bound=BaseModel)
Window = Annotated[int, Field(ge=1, le=MAX_WINDOW)]
Columns = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
# Of seconds between two rows: time is kept in microseconds, and forecasts reach 100,000 rows ahead.
SHORTEST_INTERVAL, LONGEST_INTERVAL = 1e-6, 100 * 366 * 86400.0

STEPS = 48  # ahead with a width of their own; steps farther ahead have the width of the last
RECENT_SCORES = 500  # scores that intervals are recalibrated by
Score = Annotated[float, Field(ge=0)]
# The quantiles that describe the signed scores of each step ahead; others lie between them, or beyond in proportion.
LEVELS = (0.02, 0.05, *(tenth / 10 for tenth in range(1, 10)), 0.95, 0.98)
ERROR_FEATURES = 8  # that explain the size of errors
_Quantiles = Annotated[list[float], Field(min_length=len(LEVELS), max_length=len(LEVELS))]
_Features = Annotated[list[float], Field(min_length=ERROR_FEATURES, max_length=ERROR_FEATURES)]
_Weights = Annotated[list[float], Field(min_length=ERROR_FEATURES + 1, max_length=ERROR_FEATURES + 1)]
_Positive = Annotated[float, Field(gt=0)]


class FittedErrorScale(BaseModel):
    """The JSON form of the scale of one target's errors; see ``flts.models.error_scale.ErrorScale``."""

    model_config = ConfigDict(allow_inf_nan=False)

    floor: _Positive
    near_zero: _Positive
    centre: _Features
    spread: Annotated[list[_Positive], Field(min_length=ERROR_FEATURES, max_length=ERROR_FEATURES)]
    weights: tuple[_Weights, _Weights]
    bounds: tuple[tuple[float, float], tuple[float, float]]


class FittedSignedScores(BaseModel):
    """The JSON form of signed scores, by target: their unit, recent ones, and ``LEVELS`` of each step ahead."""

    model_config = ConfigDict(allow_inf_nan=False)

    scale: dict[str, FittedErrorScale]
    recent: dict[str, Annotated[list[float], Field(min_length=1, max_length=RECENT_SCORES)]]
    ahead: dict[str, Annotated[list[_Quantiles], Field(min_length=1, max_length=STEPS)]]

    @model_validator(mode="after")
    def _alike(self) -> Self:
        if not set(self.scale) == set(self.recent) == set(self.ahead):
            raise ValueError("must give a scale, recent signed scores and their quantiles for the same targets")
        if len({len(steps) for steps in self.ahead.values()}) != 1:
            raise ValueError("must give every target the same number of steps")
        if any(quantiles != sorted(quantiles) for steps in self.ahead.values() for quantiles in steps):
            raise ValueError("must give quantiles in ascending order")
        return self


class FittedIntervals(BaseModel):
    """The JSON form of intervals: for each target its mean volatility, the width of each step, and recent scores.

    Bundles of older versions lack ``signed``. ``non_negative`` names the targets whose intervals end at zero.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    level: Annotated[float, Field(ge=0.5, lt=1)]
    volatility: dict[str, Annotated[float, Field(gt=0)]]
    widths: dict[str, Annotated[list[Score], Field(min_length=1, max_length=STEPS)]]
    recent: dict[str, Annotated[list[Score], Field(max_length=RECENT_SCORES)]]
    signed: FittedSignedScores | None = None
    non_negative: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _alike(self) -> Self:
        if not set(self.volatility) == set(self.widths) == set(self.recent):
            raise ValueError("must give a volatility, widths and recent scores for the same targets")
        if len({len(steps) for steps in self.widths.values()}) != 1:
            raise ValueError("must give every target the same number of widths")
        if self.signed and set(self.signed.recent) != set(self.widths):
            raise ValueError("must give signed scores for the same targets as widths")
        if unknown := set(self.non_negative) - set(self.widths):
            raise ValueError(f"names {min(unknown)!r}, which has no widths, in field 'non_negative'")
        return self


class BundleConfig(Message):
    """Description of the model of a bundle.

    ``preprocess_config`` is canonical JSON or ``""``; ``target_range`` the width of each target on the fit part,
    the unit of the reported scores. ``trained_until`` is the time of the last row that shaped its forecasts; bundles
    of older versions lack it, and have no ``intervals`` and no ``baselines``.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    kind: ClassVar[str] = "bundle configuration that this version reads"
    v: Literal[1] = 1
    model_type: ModelType
    input_seq_len: Window
    output_seq_len: Window
    features: Columns
    targets: Columns
    hyperparameters: dict[str, Any]
    sampling_seconds: Annotated[float, Field(ge=SHORTEST_INTERVAL, le=LONGEST_INTERVAL)]
    parts: Parts
    config_hash: ConfigHash
    preprocess_config: str
    target_range: dict[str, Annotated[float, Field(gt=0)]]
    trained_until: str | None = None
    intervals: FittedIntervals | None = None
    baselines: FittedBaselines | None = None

    @model_validator(mode="after")
    def _names_columns_once(self) -> Self:
        for field, names in (("features", self.features), ("targets", self.targets)):
            if twice := [
                name for name, before in zip(sorted(names), sorted(names)[1:], strict=False) if name == before
            ]:
                raise ValueError(f"names column {twice[0]!r} twice in field '{field}'")
        if set(self.target_range) != set(self.targets):
            raise ValueError("must have a field 'target_range' for exactly the columns of field 'targets'")
        if self.intervals and set(self.intervals.widths) != set(self.targets):
            raise ValueError("must have intervals for exactly the columns of field 'targets'")
        if self.baselines and set(self.baselines.smoothing) != set(self.targets):
            raise ValueError("must have baselines for exactly the columns of field 'targets'")
        return self


def read_hyperparameters(model: type[H], config: BundleConfig, directory: Path) -> H:
    """Check the hyperparameters of a bundle against ``model``.

    Raises:
        BadInputError: They do not fit it; the sentence names the first that is wrong.
    """
    try:
        return model.model_validate(config.hyperparameters)
    except ValidationError as error:
        raise BadInputError(
            f"{directory / CONFIG_FILE} has no hyperparameters of a {config.model_type}: {first_problem(error)}"
        ) from None
