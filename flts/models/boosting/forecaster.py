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
from flts.models.boosting.fitted import FittedBoosting, FittedView
from flts.models.boosting.inputs import ColumnScaling, FeatureBatch, FeatureBuilder
from flts.models.boosting.trees import Trees
from flts.models.boosting.views import Log1pView, SeenTarget, SquaredView, View, VolatilityView
from flts.models.config import BundleConfig
from flts.models.target_transform import Log1p
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.frame import Frame
from flts.timeseries.scaling import Scaler

MODEL_FILE = "lightgbm.json"


@dataclass(frozen=True)
class Boosters:
    """The boosters of a target in one view, one for each step; ``None``, which says no change, where none helped."""

    view: View
    steps: tuple[Trees | None, ...]

    def forecast(self, batch: FeatureBatch, target: str) -> Floats:
        """Return (k, horizon) forecasts of a target in original units."""
        seen = self.view.seen(batch.frame.columns[target], batch.rows)
        shared = batch.shared(seen)
        columns = [
            self.view.forecast(seen, _outputs(trees, batch, seen, shared, step))
            for step, trees in enumerate(self.steps, start=1)
        ]
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


def _outputs(trees: Trees | None, batch: FeatureBatch, seen: SeenTarget, shared: Floats, step: int) -> Floats:
    if trees is None:
        return np.zeros(len(shared))
    return trees(np.concatenate([shared, batch.of_step(seen, step)], axis=1))


def _fitted(boosters: Boosters) -> FittedView:
    view = boosters.view
    texts = [None if trees is None else trees.text for trees in boosters.steps]
    limit = view.transform.limit if isinstance(view, Log1pView) else 0.0
    return FittedView(name=view.name, unit=view.scale, limit=limit, boosters=texts)


def _restored(fitted: FittedView, features: int, horizon: int) -> Boosters:
    """Return the boosters of a view; ``ValueError``, which completes "it ..", where it has none."""
    if len(fitted.boosters) != horizon:
        raise ValueError(f"must have a booster for each of {horizon} steps")
    view: View
    if fitted.name == "log1p":
        view = Log1pView(Log1p(fitted.unit, fitted.limit, np.ones(1)))
    else:
        view = VolatilityView(fitted.unit) if fitted.name == "volatility" else SquaredView(fitted.unit)
    return Boosters(view, tuple(None if text is None else Trees.parse(text, features) for text in fitted.boosters))
