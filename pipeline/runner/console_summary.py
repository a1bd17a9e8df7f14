"""Lines that the local runner prints at the end: failures, the promoted model and the locations of results."""

import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

from flts.promotion import owner
from flts.report.leaderboard import floors_sentence
from flts.store.file import FileStore
from pipeline.runner.compiled import Value
from pipeline.runner.state import Status, TaskState
from pipeline.runner.summary import PromotionSummary, Summary

Location = Path | str  # a file on this machine, or an address in a store


def result_locations(states: Mapping[str, TaskState], arguments: Mapping[str, Value]) -> dict[str, Location]:
    """Return the locations of a run's results in the store, as far as they exist, by their titles.

    Args:
        states: The run's tasks.
        arguments: The pipeline's parameters.
    """
    found: dict[str, Location] = {}
    store = str(arguments["gateway_url"])
    if _in_production(states["eval"]):
        pointer = PurePosixPath(str(arguments["promotion_bucket"]), owner(str(arguments["identifier"])), "current.json")
        found["Promotion"] = _location(store, pointer)
    if predictions := states["inference"].outputs.artifacts.get("predictions"):
        log = PurePosixPath(str(predictions.metadata["log_bucket"]), str(predictions.metadata["log_object_key"]))
        found["Forecasts"] = _location(store, log.with_name("predictions.parquet"))
    return found


def _in_production(evaluation: TaskState) -> bool:
    """Tell whether a model is in production: the best one, or an earlier one if the gate held the best one back."""
    made = evaluation.outputs.artifacts
    if "promotion_metadata" not in made:
        return False
    decided = made["promotion_metadata"].metadata
    stands_in = "selected_model" in made and made["selected_model"].metadata.get("run_id") != decided.get("run_id")
    return decided.get("status") != "HELD" or stands_in


def failure_lines(states: Mapping[str, TaskState]) -> Iterator[str]:
    """Yield lines about the stages that failed, with reasons, and those that did not run."""
    for state in states.values():
        if state.status is Status.FAILED:
            yield f"{state.task.title} failed: {state.error}"
            if state.log.exists():
                yield f"  its log: {display_path(state.log)}"
    for status in (Status.STOPPED, Status.NOT_RUN):
        if titles := [state.task.title for state in states.values() if state.status is status]:
            yield f"{status.value.capitalize()}: {', '.join(titles)}"


def summary_lines(summary: Summary, titles: Mapping[str, str], results: Mapping[str, Location]) -> Iterator[str]:
    """Yield lines about the promotion and the locations of all results; the first warns of a model that is too weak.

    Args:
        summary: The run's summary.
        titles: Display names of the stages.
        results: Locations of the results, by title.
    """
    if summary.promotion and (lost := floors_sentence(_subject(summary.promotion), summary.forecast or {})):
        yield lost
    if cached := [titles[name] for name, stage in summary.stages.items() if stage.cached]:
        yield f"Reused from earlier runs: {', '.join(cached)}"
    yield ""
    if summary.promotion is not None:
        others = ", ".join(
            f"{name} {'without a score' if model.composite_score is None else f'{model.composite_score:.4g}'}"
            for name, model in summary.models.items()
            if name != summary.promotion.model_type
        )
        winner = f"{summary.promotion.model_type}, composite score {summary.promotion.composite_score:.4g}"
        yield f"{summary.promotion.status.capitalize():<11}{winner} ({others})"
        if summary.promotion.reason:
            yield f"{'':<11}{summary.promotion.reason}"
    for name, location in results.items():
        yield f"{name:<11}{location if isinstance(location, str) else display_path(location)}"
    if summary.run_ids:
        yield f"{'MLflow':<11}{_mlflow(str(summary.parameters['mlflow_tracking_uri']))}"


def _subject(promotion: PromotionSummary) -> str:
    # The forecast of a run that holds its best model may be that of the champion.
    return "The forecast" if promotion.status == "HELD" else f"{promotion.model_type}, which is promoted,"


def display_path(path: Path) -> str:
    """Return a path as the user would type it: relative if it is inside the current folder."""
    with suppress(ValueError):
        return str(path.absolute().relative_to(Path.cwd()))
    return str(path)


def _location(store: str, path: PurePosixPath) -> Location:
    if store.startswith("file://"):
        return FileStore.from_url(store).root / path
    if store.startswith("s3://"):
        return f"{store}{path}"
    return f"{store.rstrip('/')}/download/{path}"


def _mlflow(uri: str) -> str:
    if not uri.startswith("sqlite:"):
        return uri
    return shlex.join([display_path(Path(sys.executable).with_name("mlflow")), "ui", "--backend-store-uri", uri])
