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
from flts.models.boosting.forecaster import Booster, LightGBMForecaster
from flts.models.boosting.inputs import FeatureBuilder
from flts.models.boosting.trees import Trees
from flts.models.boosting.views import Log1pView, SquaredView, TargetView, TrainingLabels, VolatilityView
from flts.models.target_transform import Log1p, target_scales
from flts.models.volatility import error_weights
from flts.params import LightGBMParams
from flts.progress import Progress, no_progress
from flts.timeseries.arrays import Flags, Floats, Indices
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

# Steps of every origin that are fitted: so many examples are as good as all, and cost less.
STEPS = 2

# What the fit chose by target and view: the number of trees, and the offset.
Choice = tuple[int, float]
Choices = Mapping[str, Mapping[str, Choice]]


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
    boosters = trainer.fit(validation, None, progress)
    choices: Choices = {
        name: {each.view.name: (len(each.trees.roots) if each.trees else 0, each.offset) for each in views}
        for name, views in boosters.items()
    }
    trees = {name: {view: count for view, (count, _) in views.items()} for name, views in choices.items()}
    return FitResult(
        forecaster=trainer.forecaster(boosters),
        refit=lambda progress: refit_lightgbm(data, params, choices, progress),
        fit_info={"trees": canonical_json(trees)},
    )


def refit_lightgbm(
    data: ProcessedData, params: LightGBMParams, choices: Choices, progress: Progress = no_progress
) -> LightGBMForecaster:
    """Fit boosters once more, on all rows, with the number of trees that was best in the fit."""
    trainer = BoostingTrainer(data, params, stop=len(data))
    return trainer.forecaster(trainer.fit(np.empty(0, np.int64), choices, progress))


@dataclass(frozen=True)
class Examples:
    """Features (k, p), labels and weights (k,) of (k,) forecasts."""

    features: Floats
    labels: TrainingLabels
    weights: Floats

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.features)

    def split(self, count: int, times: int) -> tuple["Examples", "Examples"]:
        """Return the examples of the first ``count`` origins, and of the others, where all come ``times`` times."""
        first = np.arange(len(self)) % (len(self) // times) < count
        return self._at(first), self._at(~first)

    def _at(self, rows: Flags) -> "Examples":
        return Examples(self.features[rows], self.labels.at(rows), self.weights[rows])

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

    def fit(self, validation: Indices, choices: Choices | None, progress: Progress) -> dict[str, list[Booster]]:
        """Fit and return every booster, by target and view.

        Args:
            validation: (m,) origins whose forecasts choose the number of trees.
            choices: Those of the fit, for a refit; ``None`` chooses.
            progress: Told before every booster.
        """
        boosters: dict[str, list[Booster]] = {}
        total, done = sum(map(len, self._views.values())), 0
        known = np.concatenate([self._origins, validation])
        weights = error_weights(self._data, self._origins, self._stop, by_volatility=self._params.volatility_weighting)
        for position, (name, views) in enumerate(self._views.items()):
            boosters[name] = []
            for view in views:
                progress(done / total, f"boosting {name} in the view {view.name}, {len(known)} rows")
                examples = self._examples(name, view, known, weights[known, position])
                choice = None if choices is None else choices[name][view.name]
                boosters[name].append(self._booster(examples, view, choice))
                done += 1
        progress(1.0, f"boosted {', '.join(self._views)}")
        return boosters

    def forecaster(self, boosters: Mapping[str, Sequence[Booster]]) -> LightGBMForecaster:
        """Return a forecaster with these boosters."""
        fitted = self._data.frame.rows(0, self._stop).columns
        return LightGBMForecaster(
            boosters,
            self._builder,
            features=self._data.learnable_features(),
            non_negative=[name for name in self._data.targets if fitted[name].min() >= 0],
            output_seq_len=self._params.output_seq_len,
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

    def _examples(self, name: str, view: TargetView, origins: Indices, weights: Floats) -> Examples:
        """Return examples of a target: every origin (k,) with weights (k,), then again, each time with another step."""
        horizon = self._params.output_seq_len
        times = min(STEPS, horizon)
        first = np.random.default_rng(self._params.seed).integers(horizon, size=len(origins))
        values = self._data.frame.columns[name]
        parts: list[list[tuple[Floats, TrainingLabels]]] = [[] for _ in range(times)]
        steps = np.concatenate([(first + time * horizon // times) % horizon for time in range(times)])
        for part, batch in self._builder.batches(self._data.frame, origins):
            seen = view.seen(batch.frame.columns[name], batch.rows)
            shared, which = batch.shared(seen), np.arange(len(seen.last))
            for time, examples in enumerate(parts):
                step = steps[len(origins) * time : len(origins) * (time + 1)][part]
                features = batch.features(seen, shared, which, step + 1)
                examples.append((features, view.labels(seen, values[origins[part] + step])))
        built = [each for examples in parts for each in examples]
        labels = TrainingLabels.joined([each for _, each in built])
        used = np.tile(weights if view.weighted else np.ones(len(weights)), times)
        # The larger errors of later steps would dominate: each step is weighted by the size of its changes.
        change = view.changes(labels)
        fitted = np.tile(np.arange(len(origins)) < len(self._origins), times)
        size = np.bincount(steps[fitted], (change**2)[fitted], horizon) / np.bincount(steps[fitted], None, horizon)
        used = used / np.where(size > 0, size / size.max(), 1.0)[steps] if horizon > 1 else used
        return Examples(np.concatenate([each for each, _ in built]), labels, used)

    def _booster(self, examples: Examples, view: TargetView, choice: Choice | None) -> Booster:
        """Fit a booster to the examples of the first origins; the others choose the number of trees."""
        import lightgbm as lgb

        params, options, none = self._params, self._options(view), Booster(view, None)
        count = len(self._origins)
        fitted, judged = examples.split(count, min(STEPS, params.output_seq_len))
        width = fitted.features.shape[1]
        if choice is not None:
            trees, offset = choice
            if trees == 0:
                return none
            booster = lgb.train(options, fitted.dataset(options), trees)
            return Booster(view, Trees.parse(booster.model_to_string(), width), offset)
        if not len(judged):
            return none  # without rows that judge it, no booster is trusted
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
            return none
        return Booster(view, best, view.offset(judged.labels, outputs))

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


def _origins(data: ProcessedData, params: LightGBMParams, start: int, stop: int) -> Indices:
    return forecast_origins(data.gap_before()[:stop], start, stop, params.input_seq_len, params.output_seq_len)
