"""Training of LightGBM forecasters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flts.boundary.environment import threads
from flts.contracts import canonical_json
from flts.errors import BadInputError
from flts.models.base import FitResult
from flts.models.boosting.features import rows_before
from flts.models.boosting.forecaster import Booster, Boosters, LightGBMForecaster
from flts.models.boosting.inputs import FeatureBuilder
from flts.models.boosting.trees import Trees
from flts.models.boosting.views import Log1pView, SquaredView, TrainingLabels, TargetView, VolatilityView
from flts.models.target_transform import Log1p, target_scales
from flts.models.volatility import error_weights
from flts.params import LightGBMParams
from flts.progress import Progress, no_progress
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.processed import ProcessedData
from flts.timeseries.windows import forecast_origins

HYPERPARAMETERS = (
    "num_boost_round",
    "early_stopping_round",
    "shrinkage_rate",
    "num_leaves",
    "min_data_in_leaf",
    "target_transform",
    "volatility_weighting",
    "seed",
)
# Chosen on parts of training rows: docs/decisions/0018-gradient-boosting.md.
_FIXED = {"feature_fraction": 0.6, "bagging_fraction": 0.8, "bagging_freq": 1, "lambda_l2": 1.0}

# What the fit chose by target, view and step: the number of trees, and the offset.
Choice = tuple[int, float]
Choices = Mapping[str, Mapping[str, Sequence[Choice]]]


def fit_lightgbm(data: ProcessedData, params: LightGBMParams, progress: Progress = no_progress) -> FitResult:
    """Fit boosters on the fit part, each with the number of trees that forecasts the validation part best.

    A booster that forecasts the validation part worse than no change has no tree at all. Equal data, parameters, seed
    and thread count give equal boosters, bit for bit.

    Raises:
        BadInputError: Too few rows for a window, or ``target_transform`` does not suit a target.
    """
    bounds = data.parts
    trainer = BoostingTrainer(data, params, stop=bounds.fit_end)
    validation = _origins(data, params, bounds.fit_end, bounds.validation_end)
    boosters, choices = trainer.fit(validation, None, progress)
    return FitResult(
        forecaster=trainer.forecaster(boosters),
        refit=lambda progress: refit_lightgbm(data, params, choices, progress),
        fit_info={"trees": canonical_json(_trees(choices))},
    )


def refit_lightgbm(
    data: ProcessedData, params: LightGBMParams, choices: Choices, progress: Progress = no_progress
) -> LightGBMForecaster:
    """Fit boosters once more, on all rows, with the number of trees that was best in the fit."""
    trainer = BoostingTrainer(data, params, stop=len(data))
    boosters, _ = trainer.fit(np.empty(0, np.int64), choices, progress)
    return trainer.forecaster(boosters)


@dataclass(frozen=True)
class Examples:
    """Features (k, p), labels and weights (k,) of (k,) forecasts."""

    features: Floats
    labels: TrainingLabels
    weights: Floats

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.features)

    def split(self, count: int) -> tuple["Examples", "Examples"]:
        """Return the first ``count`` examples, and the others."""
        parts = slice(0, count), slice(count, None)
        first, others = (Examples(self.features[part], self.labels.at(part), self.weights[part]) for part in parts)
        return first, others

    def dataset(self, options: Mapping[str, Any], reference: Any = None) -> Any:
        """Return LightGBM's form of the examples; ``reference`` is the one whose bins it takes over."""
        import lightgbm as lgb

        return lgb.Dataset(
            self.features,
            self.labels.values,
            weight=self.weights,
            init_score=self.labels.start,
            reference=reference,
            params=dict(options),
        )

    def loss(self, view: TargetView, outputs: Floats) -> float:
        """Return the mean loss of a booster's outputs (k,)."""
        return float(np.mean(self.weights * view.losses(self.labels, outputs)))


class BoostingTrainer:
    """Boosters in training on the forecasts whose rows all lie in [0, stop)."""

    def __init__(self, data: ProcessedData, params: LightGBMParams, *, stop: int) -> None:
        """Learn the statistics of features and views.

        Raises:
            BadInputError: There is no row to forecast, or ``target_transform`` does not suit a target.
        """
        self._data, self._params, self._stop = data, params, stop
        self._origins = _origins(data, params, 0, stop)
        if not len(self._origins):
            raise BadInputError(
                f"rows 0 to {stop - 1} of the training data have no {params.input_seq_len + params.output_seq_len} "
                "rows in a row without a gap in time: a shorter input_seq_len or output_seq_len, or more data with "
                "fewer gaps, is needed"
            )
        self._builder = FeatureBuilder.learn(
            data.frame.rows(0, stop),
            data.learnable_features(),
            sampling_seconds=data.sampling_seconds,
            input_seq_len=params.input_seq_len,
        )
        scales = target_scales(data, params.target_transform)
        self._views = {
            name: self._target_views(name, heavy_tails=scale != "none")
            for name, scale in zip(data.targets, scales, strict=True)
        }

    def fit(
        self, validation: Indices, choices: Choices | None, progress: Progress
    ) -> tuple[dict[str, list[Boosters]], Choices]:
        """Fit every booster; returns them, and what was chosen.

        Args:
            validation: (m,) origins whose forecasts choose the number of trees.
            choices: Those of the fit, for a refit; ``None`` chooses.
            progress: Told before every booster.
        """
        boosters: dict[str, list[Boosters]] = {}
        chosen: dict[str, dict[str, list[Choice]]] = {}
        total = self._params.output_seq_len * sum(map(len, self._views.values()))
        done = 0
        known = np.concatenate([self._origins, validation])
        weights = error_weights(self._data, self._origins, self._stop, by_volatility=self._params.volatility_weighting)
        for position, (name, views) in enumerate(self._views.items()):
            boosters[name], chosen[name] = [], {}
            for view in views:
                builder = ExampleBuilder(self._builder, self._data, name, view, known, weights[known, position])
                steps = []
                for step in range(1, self._params.output_seq_len + 1):
                    progress(done / total, f"boosting {name}, {view.name}, step {step}")
                    given = None if choices is None else choices[name][view.name][step - 1]
                    steps.append(self._booster(builder.of_step(step), view, given))
                    done += 1
                boosters[name].append(Boosters(view, tuple(steps)))
                chosen[name][view.name] = [(len(each.trees.roots), each.offset) if each else (0, 0.0) for each in steps]
        progress(1.0, f"boosted {', '.join(self._views)}")
        return boosters, chosen

    def forecaster(self, boosters: Mapping[str, Sequence[Boosters]]) -> LightGBMForecaster:
        """Return a forecaster with these boosters."""
        fitted = self._data.frame.rows(0, self._stop).columns
        return LightGBMForecaster(
            boosters,
            self._builder,
            features=self._data.learnable_features(),
            non_negative=[name for name in self._data.targets if fitted[name].min() >= 0],
            hyperparameters={name: getattr(self._params, name) for name in HYPERPARAMETERS},
        )

    def _target_views(self, name: str, *, heavy_tails: bool) -> list[TargetView]:
        data = self._data
        values = data.frame.columns[name][: self._stop]
        rows = rows_before(
            data.frame.time[: self._stop], self._origins, data.sampling_seconds, self._builder.history_rows
        )
        volatility = VolatilityView.learn(values, rows)
        if not heavy_tails:
            return [SquaredView.learn(values), volatility]
        scale = Log1p.learn(data.frame.columns[name][: data.parts.fit_end], float(values.max()), 1)
        return [Log1pView(scale), volatility]

    def _booster(self, examples: Examples, view: TargetView, choice: Choice | None) -> Booster | None:
        """Fit a booster to the first examples, those of the origins; the others choose the number of trees."""
        import lightgbm as lgb

        fitted, judged = examples.split(len(self._origins))
        params, options = self._params, self._options(view)
        width = fitted.features.shape[1]
        if choice is not None:
            trees, offset = choice
            if trees == 0:
                return None
            booster = lgb.train(options, fitted.dataset(options), trees)
            return Booster(Trees.parse(booster.model_to_string(), width), offset)
        if not len(judged):
            return None  # without rows that judge it, no booster is trusted
        dataset = fitted.dataset(options)
        booster = lgb.train(
            options,
            dataset,
            params.num_boost_round,
            valid_sets=[judged.dataset(options, reference=dataset)],
            callbacks=[lgb.early_stopping(params.early_stopping_round, verbose=False)],
        )
        best = Trees.parse(booster.model_to_string(num_iteration=booster.best_iteration), width)
        outputs = best(judged.features)
        if judged.loss(view, outputs) >= judged.loss(view, np.zeros(len(judged))):
            return None
        return Booster(best, view.offset(judged.labels, outputs))

    def _options(self, view: TargetView) -> dict[str, object]:
        params = self._params
        return {
            **view.objective,
            **_FIXED,
            "learning_rate": params.shrinkage_rate,
            "num_leaves": params.num_leaves,
            "min_data_in_leaf": params.min_data_in_leaf,
            "seed": params.seed % 2**31,
            "num_threads": threads(),
            "boost_from_average": False,  # no tree means no change
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }


class ExampleBuilder:
    """Builds the examples of a target in a view, at (k,) origins with ``weights`` (k,)."""

    def __init__(
        self,
        builder: FeatureBuilder,
        data: ProcessedData,
        target: str,
        view: TargetView,
        origins: Indices,
        weights: Floats,
    ) -> None:
        self._view, self._values, self._origins = view, data.frame.columns[target], origins
        self._weights = weights if view.weighted else np.ones(len(origins))
        self._batches = []
        for part, batch in builder.batches(data.frame, origins):
            seen = view.seen(batch.frame.columns[target], batch.rows)
            self._batches.append((part, batch, seen, batch.shared(seen)))

    def of_step(self, step: int) -> Examples:
        """Return the examples of a step, from 1."""
        features, labels = [], []
        for part, batch, seen, shared in self._batches:
            features.append(np.concatenate([shared, batch.of_step(seen, step)], axis=1))
            labels.append(self._view.labels(seen, self._values[self._origins[part] + step - 1]))
        return Examples(np.concatenate(features), TrainingLabels.joined(labels), self._weights)


def _trees(choices: Choices) -> dict[str, dict[str, list[int]]]:
    return {
        name: {view: [trees for trees, _ in steps] for view, steps in views.items()} for name, views in choices.items()
    }


def _origins(data: ProcessedData, params: LightGBMParams, start: int, stop: int) -> Indices:
    return forecast_origins(data.gap_before()[:stop], start, stop, params.input_seq_len, params.output_seq_len)
