"""``summary.json``, the machine-readable result of a run; the models here are its schema, see docs/summary.md."""

import json
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from flts.timeseries.baseline import Baseline
from flts.version import __version__
from pipeline.runner.compiled import Value
from pipeline.runner.state import Status, TaskState

PACKAGES = ("torch", "prophet", "lightgbm", "mlflow", "numpy", "pandas", "pyarrow", "kfp")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class StageSummary(_Part):
    """One stage of the run."""

    status: Literal["done", "cached", "failed", "not run", "stopped"] = Field(
        description="how the stage ended; cached: an earlier result was reused; not run: an earlier stage failed"
    )
    seconds: float | None = Field(description="run time in seconds; null if it did not run")
    started_after: float | None = Field(description="seconds from the start of the run; null if it did not run")
    cached: bool = Field(description="true if an earlier result was reused")
    message: str = Field(description="result of the stage, one sentence")
    notes: list[str] = Field(description="warnings")
    error: str | None = Field(description="reason of the failure, one sentence")
    exit_code: int | None = Field(description="exit code of its process; null if it did not run or was stopped")


class ScoreSummary(_Part):
    """One-step forecast errors on the selection part of the training data; null if unknown.

    Those without a unit are not repeated in `test_original`.
    """

    rmse: float | None = Field(description="root of the mean squared error")
    mae: float | None = Field(description="mean absolute error")
    mse: float | None = Field(description="mean squared error")
    mase: float | None = Field(default=None, description="mean absolute scaled error, which has no unit")
    smape: float | None = Field(default=None, description="symmetric mean absolute percentage error, from 0 to 2")
    nrmse: float | None = Field(default=None, description="rmse divided by the mean of the absolute measured values")


class ModelSummary(_Part):
    """A trained model and the baselines on the same rows, in min-max units of the fit part."""

    run_id: str = Field(description="id of the MLflow run with the model")
    composite_score: float | None = Field(description="0.5 rmse + 0.3 mae + 0.2 mse of `test`; the lowest is promoted")
    test: ScoreSummary = Field(description="the model's own errors")
    test_original: ScoreSummary = Field(description="the model's own errors in original units")
    persistence: ScoreSummary = Field(description="errors of repeating the last value")
    seasonal_naive: ScoreSummary = Field(description="errors of repeating the value of one day earlier")
    exponential_smoothing: ScoreSummary = Field(description="errors of simple exponential smoothing")
    linear: ScoreSummary = Field(description="errors of a ridge regression on the same windows")


class PromotionSummary(_Part):
    """The best model, promoted or held back."""

    model_type: str = Field(description="model type, for example GRU")
    run_id: str = Field(description="id of the MLflow run with the model")
    model_uri: str = Field(description="address of the model in MLflow")
    composite_score: float = Field(description="composite score, the lowest of all models")
    promotion_time: str = Field(description="time when training of the last candidate ended")
    status: Literal["PROMOTED", "HELD"] = Field(
        default="PROMOTED",
        description="HELD: the gate held it back, and the model in production stays",
    )
    reason: str | None = Field(default=None, description="reason of the decision, if a gate made it")


class Summary(_Part):
    """The result of a run."""

    v: Literal[1] = Field(default=1, description="version of this schema")
    status: Literal["done", "failed", "stopped"] = Field(description="how the run ended; stopped: by a signal")
    exit_code: int = Field(description="exit code of the run: 0, or that of the stage that failed first")
    identifier: str = Field(description="name of the run; part of every message and storage key")
    dataset_name: str = Field(description="name of the dataset in the store")
    config_hash: str | None = Field(description="SHA-256 of the preprocessing configuration; null if preprocess failed")
    started: str = Field(description="start of the run, ISO 8601, UTC")
    seconds: float = Field(description="duration of the run in seconds")
    parameters: dict[str, Value] = Field(description="value of every pipeline parameter")
    stages: dict[str, StageSummary] = Field(description="result of each stage, by name, in the order of the pipeline")
    run_ids: dict[str, str] = Field(description="id of the MLflow run, by model type")
    models: dict[str, ModelSummary] = Field(description="trained models, by model type")
    promotion: PromotionSummary | None = Field(description="the best model; null if evaluation did not finish")
    forecast: dict[str, float | int | str] | None = Field(
        description="the inference stage's metrics: `mae`, `rmse`, `mse` of the forecast steps and `backtest_*` of the "
        "whole test file one step ahead, in original units, with `backtest_horizons` as JSON text; null if there is no "
        "forecast"
    )
    versions: dict[str, str] = Field(
        description="versions of flts, Python and main packages, and the git commit if any"
    )


def summarise(
    states: Mapping[str, TaskState],
    arguments: Mapping[str, Value],
    *,
    exit_code: int,
    stopped: bool,
    started: str,
    clock: float,
    seconds: float,
    versions: Mapping[str, str],
) -> Summary:
    """Summarise a run, successful or not.

    Args:
        states: States of its tasks.
        arguments: The pipeline's parameters.
        exit_code: Exit code of the run.
        stopped: True if a signal ended it.
        started: Start time, ISO 8601.
        clock: The same moment in ``time.monotonic()`` seconds.
        seconds: Duration.
        versions: Versions of the installed software.
    """
    models = _models(states)
    return Summary(
        status="stopped" if stopped else "failed" if exit_code else "done",
        exit_code=exit_code,
        identifier=str(arguments["identifier"]),
        dataset_name=str(arguments["dataset_name"]),
        config_hash=_config_hash(states),
        started=started,
        seconds=round(seconds, 3),
        parameters=dict(arguments),
        stages={name: _stage(state, clock) for name, state in states.items()},
        run_ids={name: model.run_id for name, model in models.items()},
        models=models,
        promotion=_promotion(states),
        forecast=_output(states, "inference", "metrics"),
        versions=dict(versions),
    )


def versions(root: Path) -> dict[str, str]:
    """Return versions of the installed software, and the commit of the repository at ``root`` if there is one."""
    found = {"flts": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    commit = _git(root, "rev-parse", "HEAD")
    if commit:
        found["commit"] = commit + ("-dirty" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    return found


def _stage(state: TaskState, clock: float) -> StageSummary:
    return StageSummary.model_validate(
        {
            "status": state.status.value,
            "seconds": None if state.seconds is None else round(state.seconds, 3),
            "started_after": None if state.started is None else round(state.started - clock, 3),
            "cached": state.status is Status.CACHED,
            "message": state.message if state.succeeded else "",
            "notes": state.notes,
            "error": state.error,
            "exit_code": state.exit_code,
        }
    )


def _config_hash(states: Mapping[str, TaskState]) -> str | None:
    value = states["preprocess"].outputs.parameters.get("config_hash")
    return None if value is None else str(value)


def _models(states: Mapping[str, TaskState]) -> dict[str, ModelSummary]:
    models = {}
    for name, state in states.items():
        if not {"model", "metrics"} <= state.task.output_artifacts.keys():  # not a trainer
            continue
        trained, metrics = _output(states, name, "model"), _output(states, name, "metrics")
        if trained is None or metrics is None:
            continue
        models[trained["model_type"]] = ModelSummary(
            run_id=trained["run_id"],
            composite_score=metrics.get("composite_score"),
            test=_scores(metrics, "test_{}"),
            test_original=_scores(metrics, "test_{}_original"),
            **{baseline: _scores(metrics, f"{baseline}_test_{{}}") for baseline in Baseline},
        )
    return models


def _scores(metrics: Mapping[str, Any], metric_name: str) -> ScoreSummary:
    return ScoreSummary(**{kind: metrics.get(metric_name.format(kind)) for kind in ScoreSummary.model_fields})


def _promotion(states: Mapping[str, TaskState]) -> PromotionSummary | None:
    promotion = _output(states, "eval", "promotion_metadata")
    if promotion is None:
        return None
    return PromotionSummary(**{name: promotion[name] for name in PromotionSummary.model_fields if name in promotion})


def _output(states: Mapping[str, TaskState], task: str, name: str) -> dict[str, Any] | None:
    artifact = states[task].outputs.artifacts.get(name)
    if artifact is None:
        return None
    content: dict[str, Any] = json.loads(artifact.path.read_bytes())
    return content


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603
            ["git", "-C", str(root), *arguments],  # noqa: S607 - whichever git the user has
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
