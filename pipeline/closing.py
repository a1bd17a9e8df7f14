"""What the local runner says at the end: what failed, what came of it, and where it lies."""

import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from pipeline.ir import Value
from pipeline.state import Status, TaskState
from pipeline.summary import Summary


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


def ending(
    summary: Summary, states: Mapping[str, TaskState], arguments: Mapping[str, Value], home: Path, folder: Path
) -> Iterator[str]:
    """Say what was promoted and where everything lies.

    Args:
        summary: The run's summary.
        states: Its tasks.
        arguments: The pipeline's parameters.
        home: Folder of the store and of MLflow.
        folder: Folder of the run.
    """
    cached = [states[name].task.title for name, stage in summary.stages.items() if stage.cached]
    if cached:
        yield f"Reused from earlier runs: {', '.join(cached)}"
    yield ""
    if summary.promotion is not None:
        others = ", ".join(
            f"{name} {model.composite_score:.4g}" if model.composite_score is not None else f"{name} without scores"
            for name, model in summary.models.items()
            if name != summary.promotion.model_type
        )
        winner = f"{summary.promotion.model_type}, composite score {summary.promotion.composite_score:.4g}"
        yield f"Promoted   {winner} ({others})"
        owner = str(arguments["identifier"]) or "."
        yield f"Promotion  {shown(home / 'store' / str(arguments['promotion_bucket']) / owner / 'current.json')}"
    if predictions := states["inference"].outputs.artifacts.get("predictions"):
        log = home / "store" / str(predictions.metadata["log_bucket"]) / str(predictions.metadata["log_object_key"])
        yield f"Forecasts  {shown(log.with_name('predictions.parquet'))}"
    yield f"Report     {shown(folder / 'index.html')}"
    yield f"Summary    {shown(folder / 'summary.json')}"
    yield f"MLflow     {_mlflow(str(arguments['mlflow_tracking_uri']))}"


def _mlflow(uri: str) -> str:
    if not uri.startswith("sqlite:"):
        return uri
    program = Path(sys.executable).with_name("mlflow")
    return shlex.join([shown(program), "ui", "--backend-store-uri", uri])


def shown(path: Path) -> str:
    """Show a path as the user would type it: relative where it lies below the current folder."""
    with suppress(ValueError):
        return str(path.absolute().relative_to(Path.cwd()))
    return str(path)
