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
from flts.models.boosting.fitted import FittedBooster, FittedBoosting
from flts.models.boosting.inputs import BATCH, ColumnScaling, FeatureBatch, FeatureBuilder
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
    """The booster of a target in one view, for all steps: the step is one of its features.

    Attributes:
        view: The view.
        trees: ``None``, which says no change, where none helped.
        offset: Added to the sum of the trees.
    """

    view: TargetView
    trees: Trees | None
    offset: float = 0.0

    def forecast(self, batch: FeatureBatch, target: str, horizon: int) -> Floats:
        """Return (k, horizon) forecasts of a target in original units."""
        seen = self.view.seen(batch.frame.columns[target], batch.rows)
        count = len(seen.last)
        values = np.empty((count, horizon))
        shared = None if self.trees is None else batch.shared(seen)
        at_once = max(1, BATCH // count)
        for first in range(0, horizon, at_once):
            steps = np.arange(first, min(horizon, first + at_once))
            outputs = np.zeros((count, len(steps)))
            if self.trees is not None and shared is not None:
                which = np.repeat(np.arange(count), len(steps))
                features = batch.features(seen, shared, which, np.tile(steps + 1, count))
                outputs = (self.trees(features) + self.offset).reshape(outputs.shape)
            values[:, steps] = self.view.forecast(seen, outputs)
        return values


class LightGBMForecaster:
    """Boosters that forecast the change from the last value, each step directly; the mean of two views is the forecast.

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
        boosters: Mapping[str, Sequence[Booster]],
        builder: FeatureBuilder,
        *,
        features: Sequence[str],
        non_negative: Sequence[str],
        output_seq_len: int,
        hyperparameters: Mapping[str, Any],
    ) -> None:
        self.boosters = boosters
        self.builder = builder
        self.targets = tuple(boosters)
        self.features = tuple(features)
        self.non_negative = tuple(non_negative)
        self.input_seq_len = builder.input_seq_len
        self.output_seq_len = output_seq_len
        self.history_rows = builder.history_rows
        self.hyperparameters = hyperparameters

    def forecast(self, frame: Frame, origins: Indices) -> Floats:
        """Forecast blocks; see ``Forecaster.forecast``."""
        values = np.empty((len(origins), self.output_seq_len, len(self.targets)))
        for part, batch in self.builder.batches(frame, origins):
            for position, (name, views) in enumerate(self.boosters.items()):
                total = sum(each.forecast(batch, name, self.output_seq_len) for each in views)
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
                boosters[name] = [_restored(each, builder.width) for each in fitted.targets[name]]
            except ValueError as error:
                raise BadInputError(
                    f"{path} holds no booster of {name!r} that this version reads: it {error}"
                ) from None
        return cls(
            boosters,
            builder,
            features=config.features,
            non_negative=fitted.non_negative,
            output_seq_len=config.output_seq_len,
            hyperparameters=config.hyperparameters,
        )


def _fitted(booster: Booster) -> FittedBooster:
    view = booster.view
    text = None if booster.trees is None else booster.trees.text
    return FittedBooster(view=view.name, unit=view.scale, limit=view.limit, offset=booster.offset, text=text)


def _restored(fitted: FittedBooster, features: int) -> Booster:
    """Return a booster; ``ValueError``, which completes "one ..", where it is none."""
    view: TargetView
    if fitted.view == "log1p":
        view = Log1pView(Log1p(fitted.unit, fitted.limit, np.ones(1)))
    else:
        view = VolatilityView(fitted.unit, fitted.limit) if fitted.view == "volatility" else SquaredView(fitted.unit)
    trees = None if fitted.text is None else Trees.parse(fitted.text, features)
    return Booster(view, trees, fitted.offset)
