"""What the local runner says at the end: what failed, what came of it, and where it lies."""

import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

from flts.promotion import owner
from flts.store.file import FileStore
from pipeline.runner.compiled import Value
from pipeline.runner.state import Status, TaskState
from pipeline.runner.summary import Summary

Place = Path | str  # a file, or the address of what lies in a store elsewhere


def places(states: Mapping[str, TaskState], arguments: Mapping[str, Value]) -> dict[str, Place]:
    """Return where a run's results lie in the store, by what they are; those that there are.

    Args:
        states: The run's tasks.
        arguments: The pipeline's parameters.
    """
    found: dict[str, Place] = {}
    store = str(arguments["gateway_url"])
    if _in_production(states["eval"]):
        pointer = PurePosixPath(str(arguments["promotion_bucket"]), owner(str(arguments["identifier"])), "current.json")
        found["Promotion"] = _place(store, pointer)
    if predictions := states["inference"].outputs.artifacts.get("predictions"):
        log = PurePosixPath(str(predictions.metadata["log_bucket"]), str(predictions.metadata["log_object_key"]))
        found["Forecasts"] = _place(store, log.with_name("predictions.parquet"))
    return found


def _in_production(evaluation: TaskState) -> bool:
    """Whether there is a pointer: the winner was promoted, or held while something else is in production."""
    made = evaluation.outputs.artifacts
    if "promotion_metadata" not in made:
        return False
    decided = made["promotion_metadata"].metadata
    stands_in = "selected_model" in made and made["selected_model"].metadata.get("run_id") != decided.get("run_id")
    return decided.get("status") != "HELD" or stands_in


def failures(states: Mapping[str, TaskState]) -> Iterator[str]:
    """Say which stages failed and why, and which did not run."""
    for state in states.values():
        if state.status is Status.FAILED:
            yield f"{state.task.title} failed: {state.error}"
            if state.log.exists():
                yield f"  its log: {shown(state.log)}"
    for status in (Status.STOPPED, Status.NOT_RUN):
        if titles := [state.task.title for state in states.values() if state.status is status]:
            yield f"{status.value.capitalize()}: {', '.join(titles)}"


def ending(summary: Summary, titles: Mapping[str, str], results: Mapping[str, Place]) -> Iterator[str]:
    """Say what was promoted, or held and why, and where everything lies.

    Args:
        summary: The run's summary.
        titles: What people call the stages.
        results: Where results lie.
    """
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
    for name, place in results.items():
        yield f"{name:<11}{place if isinstance(place, str) else shown(place)}"
    if summary.run_ids:
        yield f"{'MLflow':<11}{_mlflow(str(summary.parameters['mlflow_tracking_uri']))}"


def shown(path: Path) -> str:
    """Show a path as the user would type it: relative where it lies below the current folder."""
    with suppress(ValueError):
        return str(path.absolute().relative_to(Path.cwd()))
    return str(path)


def _place(store: str, path: PurePosixPath) -> Place:
    if store.startswith("file://"):
        return FileStore.from_url(store).root / path
    if store.startswith("s3://"):
        return f"{store}{path}"
    return f"{store.rstrip('/')}/download/{path}"


def _mlflow(uri: str) -> str:
    if not uri.startswith("sqlite:"):
        return uri
    return shlex.join([shown(Path(sys.executable).with_name("mlflow")), "ui", "--backend-store-uri", uri])
