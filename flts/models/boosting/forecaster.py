"""The LightGBM forecaster: the mean of boosters in several views, evaluated without LightGBM."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import ValidationError

from flts.boundary.untrusted import json_object
from flts.contracts import ModelType, canonical_json
from flts.diagnostics.validation import first_problem
from flts.errors import BadInputError
from flts.models.boosting.fitted import FittedBooster, FittedBoosting, FittedView
from flts.models.boosting.inputs import ColumnScaling, FeatureBatch, FeatureBuilder
from flts.models.boosting.trees import Trees
from flts.models.boosting.views import Log1pView, SquaredView, TargetView, VolatilityView
from flts.models.config import BundleConfig
from flts.models.target_transform import Log1p
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.frame import Frame
from flts.timeseries.scaling import Scaler

MODEL_FILE = "lightgbm.json"


@dataclass(frozen=True)
class Booster:
    """The trees of one target, view and step, and the ``offset`` of their sum."""

    trees: Trees
    offset: float = 0.0

    def __call__(self, features: Floats) -> Floats:
        """Return (k,) outputs for (k, features)."""
        return self.trees(features) + self.offset


@dataclass(frozen=True)
class Boosters:
    """The boosters of a target in one view, one for each step; ``None``, which says no change, where none helped."""

    view: TargetView
    steps: tuple[Booster | None, ...]

    def forecast(self, batch: FeatureBatch, target: str) -> Floats:
        """Return (k, horizon) forecasts of a target in original units."""
        seen = self.view.seen(batch.frame.columns[target], batch.rows)
        shared = batch.shared(seen) if any(self.steps) else np.empty((len(seen.last), 0))
        columns = []
        for step, booster in enumerate(self.steps, start=1):
            outputs = np.zeros(len(seen.last))
            if booster is not None:
                outputs = booster(np.concatenate([shared, batch.of_step(seen, step)], axis=1))
            columns.append(self.view.forecast(seen, outputs))
        return np.stack(columns, axis=1)


class LightGBMForecaster:
    """Boosters that forecast the change from the last value, each step directly; the mean of the views is the forecast.

    Thread-safe. A forecast has the same bits, whatever other origins are in the call.

    Attributes:
        boosters: By target, then by view.
        builder: Builds their features.
        non_negative: Targets whose forecasts are never below zero.
        hyperparameters: The training parameters that shaped the boosters.
    """

    model_type: ModelType = "LIGHTGBM"

    def __init__(
        self,
        boosters: Mapping[str, Sequence[Boosters]],
        builder: FeatureBuilder,
        *,
        features: Sequence[str],
        non_negative: Sequence[str],
        hyperparameters: Mapping[str, Any],
    ) -> None:
        self.boosters = boosters
        self.builder = builder
        self.targets = tuple(boosters)
        self.features = tuple(features)
        self.non_negative = tuple(non_negative)
        self.input_seq_len = builder.input_seq_len
        self.output_seq_len = len(next(iter(boosters.values()))[0].steps)
        self.history_rows = builder.history_rows
        self.hyperparameters = hyperparameters

    def forecast(self, frame: Frame, origins: Indices) -> Floats:
        """Forecast blocks; see ``Forecaster.forecast``."""
        values = np.empty((len(origins), self.output_seq_len, len(self.targets)))
        for part, batch in self.builder.batches(frame, origins):
            for position, (name, views) in enumerate(self.boosters.items()):
                total = sum(each.forecast(batch, name) for each in views)
                mean = total / len(views)
                values[part, :, position] = np.maximum(mean, 0.0) if name in self.non_negative else mean
        return values

    def config(self) -> dict[str, Any]:
        """Return the hyperparameters."""
        return dict(self.hyperparameters)

    def save(self, directory: Path) -> None:
        """Write ``lightgbm.json``: LightGBM's own text of every booster, and the statistics of features and views."""
        scaling = self.builder.scaling
        fitted = FittedBoosting(
            columns=scaling.columns,
            median=scaling.median.tolist(),
            spread=scaling.spread.tolist(),
            calendar=self.builder.calendar,
            non_negative=list(self.non_negative),
            targets={name: [_fitted(each) for each in views] for name, views in self.boosters.items()},
        )
        (directory / MODEL_FILE).write_text(f"{canonical_json(fitted.model_dump())}\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: Path, config: BundleConfig, scaler: Scaler) -> Self:  # noqa: ARG003 - every forecaster loads alike
        """Load what ``save`` wrote; neither LightGBM nor the scaler is needed, because its features are unscaled.

        Raises:
            BadInputError: The file does not hold boosters of the targets, columns and steps in ``config``.
        """
        path = directory / MODEL_FILE
        content = json_object(path.read_bytes(), str(path), "a file of boosters")
        try:
            fitted = FittedBoosting.model_validate(content)
        except ValidationError as error:
            raise BadInputError(f"{path} holds no boosters: {first_problem(error)}") from None
        if set(fitted.targets) != set(config.targets):
            raise BadInputError(f"{path} must hold boosters of {', '.join(config.targets)} each, and of nothing else")
        seen = (*fitted.columns, *fitted.calendar, *config.targets)
        if unseen := [name for name in seen if name not in config.features]:
            raise BadInputError(f"{path} forecasts from column {unseen[0]!r}, which is not among its features")
        scaling = ColumnScaling(fitted.columns, np.array(fitted.median), np.array(fitted.spread))
        builder = FeatureBuilder(scaling, fitted.calendar, config.sampling_seconds, config.input_seq_len)
        boosters = {}
        for name in config.targets:
            try:
                boosters[name] = [
                    _restored(each, builder.width, config.output_seq_len) for each in fitted.targets[name]
                ]
            except ValueError as error:
                raise BadInputError(
                    f"{path} holds no booster of {name!r} that this version reads: it {error}"
                ) from None
        return cls(
            boosters,
            builder,
            features=config.features,
            non_negative=fitted.non_negative,
            hyperparameters=config.hyperparameters,
        )


def _fitted(boosters: Boosters) -> FittedView:
    view, steps = boosters.view, boosters.steps
    texts = [None if each is None else FittedBooster(text=each.trees.text, offset=each.offset) for each in steps]
    return FittedView(name=view.name, unit=view.scale, limit=view.limit, boosters=texts)


def _restored(fitted: FittedView, features: int, horizon: int) -> Boosters:
    """Return the boosters of a view; ``ValueError``, which completes "one ..", where it has none."""
    if len(fitted.boosters) != horizon:
        raise ValueError(f"lacks a booster for each of {horizon} steps")
    view: TargetView
    if fitted.name == "log1p":
        view = Log1pView(Log1p(fitted.unit, fitted.limit, np.ones(1)))
    else:
        view = VolatilityView(fitted.unit, fitted.limit) if fitted.name == "volatility" else SquaredView(fitted.unit)
    return Boosters(view, tuple(_booster(each, features) for each in fitted.boosters))


def _booster(fitted: FittedBooster | None, features: int) -> Booster | None:
    return None if fitted is None else Booster(Trees.parse(fitted.text, features), fitted.offset)
