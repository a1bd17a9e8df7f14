"""Skill of the models: improvement over persistence on unseen rows, one step ahead.

Skill is ``1 - RMSE / RMSE of persistence`` on the test part: that of a file of its own where there is one, as for
PobleSec, elsewhere the last 20 % of the rows. Skill of MAE is the same with MAE. Models are trained as the pipeline
does it, with ``pipeline/recommended.toml``, and refitted on all training rows. By seed, the mean is that of the models
that eval would average (``choose_members``), and the promoted model is the one with the best composite score on the
selection part, the mean included. Coverage is the share of measured values within the promoted model's intervals, 90 %
by default, which are recalibrated row by row. No value was chosen on these test parts.

`make bench-skill`, or `python -m benchmarks.bench_skill --series temp --models GRU --seeds 1 --station X.csv`
"""

import argparse
import json
import os
import statistics
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.series import preprocessed, sources
from flts.models.base import FitResult, Forecaster
from flts.models.baselines import LearnedBaselines, persistence
from flts.models.ensemble.forecaster import EnsembleForecaster
from flts.models.forecasting import one_step
from flts.models.intervals import Intervals
from flts.models.recurrent.forecaster import RecurrentForecaster
from flts.models.registry import ENSEMBLE, TRAINED_MODELS
from flts.params import TrainerParams
from flts.progress import no_progress
from flts.stages.evaluation.membership import choose_members
from flts.stages.forecasting.backtest import backtest
from flts.stages.preprocessing.transforms import PreparedDataset
from flts.stages.training.scoring import scored_origins
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.baseline import Baseline
from flts.timeseries.metrics import one_step_naive_mae, score, skill, target_range
from flts.timeseries.processed import ProcessedData
from flts.timeseries.windows import forecast_origins
from pipeline.runner.dataset import RECOMMENDED

RESULTS = Path(__file__).resolve().parents[1] / "build" / "bench_skill.json"
SEEDS = (1, 2, 3)
MEAN = ENSEMBLE.model_type


@dataclass(frozen=True)
class Trained:
    """A model before and after its refit, and the figures of it."""

    scored: Forecaster
    refitted: Forecaster
    figures: Mapping[str, Any]


@dataclass(frozen=True)
class Series:
    """A series and the rows that its models are compared on."""

    train: ProcessedData
    test: ProcessedData
    selection: Indices
    origins: Indices

    @classmethod
    def of(cls, data: PreparedDataset) -> "Series":
        """Choose the rows: those that the trainers score, and all measured rows of the test part."""
        params = trainer_params("GRU", SEEDS[0])
        history, test = params.input_seq_len, data.test
        origins = forecast_origins(test.gap_before(), history, len(test), history)
        origins = origins[~np.isnan(test.actual_matrix()[origins]).all(axis=1)]
        return cls(data.train, test, scored_origins(data.train, params), origins)

    def figures(self, forecast: Floats) -> dict[str, float]:
        """Score (k, targets) forecasts of the test part."""
        actual = self.test.actual_matrix()[self.origins]
        scores = score(actual, forecast, naive_mae=one_step_naive_mae(self.train))
        naive = score(actual, persistence(self.test, self.origins))
        return {
            "skill": skill(scores.rmse, naive.rmse),
            "mae_skill": skill(scores.mae, naive.mae),
            **{name: getattr(scores, name) for name in ("rmse", "mae", "mase", "smape", "nrmse")},
        }

    def selection_forecasts(self, model: Forecaster) -> Floats:
        """Forecast (k, targets) the rows of the selection part."""
        return one_step(model, self.train, self.selection)

    def measure(self, name: str, scored: Forecaster, refitted: Forecaster, level: float) -> dict[str, Any]:
        """Score a model on both parts, with intervals of this level."""
        selected = self.selection_forecasts(scored)
        intervals = Intervals.learn(scored, self.train, selected, self.selection, level)
        tested, _ = backtest(refitted, self.test, intervals)
        actual, unit = self.train.actual_matrix()[self.selection], target_range(self.train)
        return {
            "model": name,
            **self.figures(one_step(refitted, self.test, self.origins)),
            "coverage": tested.coverage,
            "interval_width": tested.interval_width,
            "composite_score": score(actual, selected, unit=unit).composite,
        }


def trainer_params(name: str, seed: int) -> TrainerParams:
    """Return the recommended parameters of a trainer."""
    params = TRAINED_MODELS[name].params
    recommended = tomllib.loads(RECOMMENDED.read_text())["parameters"]
    chosen = {key: value for key, value in recommended.items() if key in params.model_fields}
    return params(config_hash="", config_json="", identifier="bench", seed=seed, **chosen)


def measure_series(data: PreparedDataset, models: Sequence[str], seeds: Sequence[int]) -> dict[str, Any]:
    """Return the figures of every model, baseline and mean on the test part, and how long trainings took."""
    series = Series.of(data)
    params = trainer_params("GRU", seeds[0])
    forecasts = LearnedBaselines.learn(series.train, params).forecasts(
        series.test, series.origins, params.input_seq_len
    )
    trained: dict[str, list[Trained]] = {}
    for name in models:
        # Prophet has no seed, and is the same for all of them.
        trained[name] = [measure_model(name, seed, series) for seed in (seeds[:1] if name == "PROPHET" else seeds)]
    by_seed = [
        [trainings[min(position, len(trainings) - 1)] for trainings in trained.values()]
        for position in range(len(seeds))
    ]
    means = [measure_mean(each, series, params.interval_level) for each in by_seed]
    competing = [
        [*(one.figures for one in each), *([mean] if mean else [])] for each, mean in zip(by_seed, means, strict=True)
    ]
    return {
        "rows": len(series.train),
        "test_rows": len(series.origins),
        "baselines": {name: series.figures(forecast) for name, forecast in forecasts.items()},
        "models": {name: [dict(one.figures) for one in trainings] for name, trainings in trained.items()},
        "mean": means,
        "promoted": [dict(min(each, key=lambda figures: float(figures["composite_score"]))) for each in competing],
    }


def measure_model(name: str, seed: int, series: Series) -> Trained:
    """Train a model as the pipeline does, and score it."""
    params = trainer_params(name, seed)
    start, cpu = time.perf_counter(), time.process_time()
    fit: FitResult = TRAINED_MODELS[name].fit(series.train, params, no_progress)
    refitted = fit.refit(no_progress)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    skip = without_networks(refitted, series.test, series.origins)
    figures = series.measure(name, fit.forecaster, refitted, params.interval_level) | {
        "seed": seed,
        "skip": None if skip is None else series.figures(skip)["skill"],
        "best_epoch": fit.best_epoch,
        "epochs": len(fit.train_loss),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
    }
    return Trained(fit.forecaster, refitted, figures)


def measure_mean(trained: Sequence[Trained], series: Series, level: float) -> dict[str, Any] | None:
    """Score the mean of the models that eval would average; ``None`` where it would average fewer than two."""
    actual, unit = series.train.actual_matrix()[series.selection], target_range(series.train)
    forecasts = {one.figures["model"]: series.selection_forecasts(one.scored) for one in trained}
    members = [one.model_type for one in choose_members(actual, forecasts, unit) if one.member]
    chosen = [one for one in trained if one.figures["model"] in members]
    if len(chosen) < 2:
        return None
    scored, refitted = (EnsembleForecaster([getattr(one, form) for one in chosen]) for form in ("scored", "refitted"))
    return series.measure(MEAN, scored, refitted, level) | {
        "members": members,
        "cpu_seconds": sum(one.figures["cpu_seconds"] for one in chosen),
    }


def without_networks(forecaster: Forecaster, data: ProcessedData, origins: Indices) -> Floats | None:
    """Return (k, targets) what the linear skip of a forecaster says alone; ``None`` where it has none."""
    if not isinstance(forecaster, RecurrentForecaster) or not all(each.skip for each in forecaster.transforms):
        return None
    nothing = np.zeros((len(origins), forecaster.output_seq_len, len(forecaster.targets)))
    alone = [each.forecasts(data.frame, data.frame.time, origins, nothing) for each in forecaster.transforms]
    mean: Floats = np.mean(alone, axis=0)
    return mean[:, 0]


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a markdown table; skill and coverage in percent, MASE as it is."""
    models = list(dict.fromkeys(name for result in results.values() for name in result["models"]))
    shown = [Baseline.EXPONENTIAL_SMOOTHING, Baseline.LINEAR]
    head = [
        *("series", "exponential smoothing", "linear", "skip alone"),
        *(TRAINED_MODELS[name].title for name in models),
        *("mean", "promoted", "promoted: MAE skill", "MASE", "coverage", "s of CPU"),
    ]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, result in results.items():
        promoted, means = result["promoted"], [mean for mean in result["mean"] if mean]
        names = "/".join(dict.fromkeys(each["model"] for each in promoted))
        cells = [
            *(f"{100 * result['baselines'][baseline]['skill']:.1f}" for baseline in shown),
            spread([each["skip"] for each in result["models"].get("GRU", [])]),
            *(spread([each["skill"] for each in result["models"].get(model, [])]) for model in models),
            spread([mean["skill"] for mean in means]),
            f"{spread([each['skill'] for each in promoted])} {names}",
            spread([each["mae_skill"] for each in promoted]),
            f"{statistics.mean(each['mase'] for each in promoted):.3f}",
            spread([each["coverage"] for each in promoted]),
            f"{sum(trainings[0]['cpu_seconds'] for trainings in result['models'].values()):.0f}",
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: Sequence[float | None]) -> str:
    """Return the mean in percent, and the least and the greatest where they differ; nothing where one is unknown."""
    percent = [100 * value for value in values if value is not None]
    if not percent or len(percent) < len(values):
        return ""
    if max(percent) - min(percent) < 0.05:
        return f"{percent[0]:.1f}"
    return f"{statistics.mean(percent):.1f} ({min(percent):.1f} to {max(percent):.1f})"


def main() -> None:
    """Measure what the command line asks for, print the table, and write the figures."""
    parser = argparse.ArgumentParser(description="Skill over persistence of every model.")
    parser.add_argument("--series", nargs="*", default=[], help="only these, such as 'JFK temp' or temp")
    parser.add_argument("--models", nargs="*", default=list(TRAINED_MODELS), help="only these")
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS), help="of all models but Prophet")
    parser.add_argument(
        "--station",
        metavar="FILE",
        action="append",
        type=Path,
        default=[],
        help="add a CSV file of your own; repeatable",
    )
    options = parser.parse_args()
    os.environ.setdefault("FLTS_THREADS", "1")
    results: dict[str, Any] = {}
    for source in sources(options.station):
        for target in source.targets:
            name = f"{source.name} {target}"
            if options.series and not {name, target, source.name} & set(options.series):
                continue
            results[name] = measure_series(preprocessed(source, target), options.models, options.seeds)
            print(table({name: results[name]}).splitlines()[-1], flush=True)
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(table(results))
    outside = [name for name, result in results.items() if not all(_covers(each) for each in result["promoted"])]
    print(f"coverage outside of 87 to 93 %: {', '.join(outside) or 'none'}")


def _covers(trained: Mapping[str, Any]) -> bool:
    return 0.87 <= float(trained["coverage"]) <= 0.93


if __name__ == "__main__":
    main()
