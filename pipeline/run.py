"""Runs the compiled pipeline: ``python -m pipeline.run --help``. ``make run`` calls this."""

import argparse
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console

from flts.contracts import utc_timestamp
from flts.environment import threads
from flts.errors import BadInputError, FltsError
from flts.os_errors import environment_trouble
from flts.promotion import owner
from flts.runtime.parameters import check_params
from flts.stages import STAGES
from pipeline.closing import ending, failures, places, shown
from pipeline.containers import DockerRun, open_engine
from pipeline.dataset import RECOMMENDED, LocalDataset
from pipeline.ir import Pipeline, Value, load_pipeline
from pipeline.local import LocalRun
from pipeline.running import Run
from pipeline.services import SQLITE, check_for_containers, make_ready, preparing_mlflow
from pipeline.state import TaskState
from pipeline.summary import Summary, summarise, versions
from pipeline.view import open_view

ROOT = Path(__file__).resolve().parents[1]
PIPELINE = ROOT / "pipeline" / "pipeline.yaml"
DEMO = ROOT / "examples" / "data" / "jfk_weather.csv"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the pipeline as the command line says, and return the exit code."""
    options = _parser().parse_args(argv)
    # Libraries that try again log each attempt; what comes of it is one sentence.
    logging.basicConfig(handlers=[logging.NullHandler()])
    try:
        return run_pipeline(options)
    except FltsError as error:
        print(f"run: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        if trouble := environment_trouble(error):
            print(f"run: {trouble}", file=sys.stderr)
            return BadInputError.exit_code
        raise
    except KeyboardInterrupt:
        return 130


def run_pipeline(options: argparse.Namespace) -> int:
    """Run every stage, on this machine's processes or in its containers, and say what came of it.

    Args:
        options: What the command line says.

    Returns:
        0, or the exit code of the stage that failed first.

    Raises:
        BadInputError: The dataset or a parameter cannot be used, ``home`` cannot be written, or a service refuses.
        ServiceUnavailableError: The store, MLflow or the Docker engine is out of reach.
    """
    console = Console(highlight=False)
    pipeline = load_pipeline(PIPELINE)
    dataset = LocalDataset.find(options.dataset)
    home = options.home.absolute()
    arguments = _arguments(pipeline, dataset, home, options)
    # More processes would not end sooner together, and the longest of them later.
    at_once = max(1, len(os.sched_getaffinity(0)) // threads())
    engine = None
    if options.runner == "docker":
        check_for_containers(arguments)
        engine = open_engine({task.image for task in pipeline.tasks.values()})

    for line in _beginning(dataset):
        console.print(line, markup=False, soft_wrap=True)
    started, clock = utc_timestamp(), time.monotonic()
    make_ready(arguments, dataset)
    folder = _make_run_folder(home, str(arguments["identifier"]))
    environment = {"FLTS_THREADS": "1", **os.environ}
    with preparing_mlflow(arguments, folder), open_view(console, pipeline.tasks.values()) as view:
        run: Run
        if engine is None:
            run = LocalRun(pipeline, arguments, folder, environment=environment, at_once=at_once, observer=view.changed)
        else:
            run = DockerRun(
                pipeline,
                arguments,
                folder,
                engine=engine,
                path=PIPELINE,
                environment=environment,
                observer=view.changed,
            )
        exit_code = run.execute()

    summary = summarise(
        run.states,
        arguments,
        exit_code=exit_code,
        stopped=run.stopped,
        started=started,
        clock=clock,
        seconds=time.monotonic() - clock,
        versions=versions(ROOT),
    )
    results = places(run.states, arguments, folder)
    report = _write_results(summary, run.states, results, folder)
    for line in failures(run.states):
        print(line, file=sys.stderr)
    titles = {name: task.title for name, task in pipeline.tasks.items()}
    for line in ending(summary, titles, results, report):
        console.print(line, markup=False, soft_wrap=True)
    return exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline.run", description="Run the compiled pipeline.")
    parser.add_argument(
        "--runner",
        choices=["local", "docker"],
        default="local",
        help="how the stages run; local: processes on this machine, docker: the images flts-*:kfp (default: local)",
    )
    parser.add_argument(
        "--store",
        metavar="URL",
        help="object store: s3:// with the usual AWS variables, or file:///dir (default: a folder in --home)",
    )
    parser.add_argument(
        "--mlflow",
        metavar="URI",
        help="MLflow: http://host:port or sqlite:///file.db (default: a database in --home)",
    )
    parser.add_argument(
        "--dataset",
        type=Path,
        default=DEMO,
        metavar="X.csv",
        help="training data, CSV or Parquet; X_test.csv beside it is the test part, X.toml beside it holds parameters, "
        "without which pipeline/recommended.toml does (default: the demo, hourly weather at JFK airport)",
    )
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a parameter of the pipeline, for example epochs=5; may be repeated",
    )
    parser.add_argument("--identifier", help="name of the run (default: the dataset's name)")
    parser.add_argument(
        "--home", type=Path, default=ROOT / ".flts", help="folder of the store, MLflow and the runs (default: .flts)"
    )
    return parser


def _arguments(pipeline: Pipeline, dataset: LocalDataset, home: Path, options: argparse.Namespace) -> dict[str, Value]:
    """Put the pipeline's parameters together: the command line wins over the dataset's file, that over the defaults."""
    chosen: dict[str, Any] = {
        "sample_train_rows": 0,
        "sample_test_rows": 0,
        **dataset.parameters(),
        **dict(_split(pair) for pair in options.param),
    }
    own: dict[str, Any] = {
        "dataset_name": dataset.name,
        "identifier": dataset.name if options.identifier is None else options.identifier,
        "gateway_url": options.store or (home / "store").as_uri(),
    }
    if options.mlflow:
        own["mlflow_tracking_uri"] = options.mlflow
    else:
        chosen.setdefault("mlflow_tracking_uri", f"{SQLITE}{home / 'mlflow.db'}")
    for name in own.keys() & chosen.keys():
        raise BadInputError(f"parameter {name} cannot be set here: --dataset, --identifier, --store and --mlflow do")
    arguments = pipeline.arguments({**chosen, **own})
    # What a late stage would refuse is better refused before the first one starts.
    for stage in STAGES.values():
        fields = stage.params.model_fields
        made_by_stages = {name: "" for name in fields if name not in arguments}
        check_params(
            stage.params,
            made_by_stages | {name: arguments[name] for name in fields if name in arguments},
            lambda name: f"parameter {name}",
        )
    return arguments


def _split(pair: str) -> tuple[str, str]:
    name, equals, value = pair.partition("=")
    if not equals:
        raise BadInputError(f"--param {pair!r} must be NAME=VALUE")
    return name.strip(), value


def _beginning(dataset: LocalDataset) -> Iterator[str]:
    yield f"Dataset {shown(dataset.train)}"
    if dataset.test is None:
        missing = f"{dataset.name}_test{dataset.train.suffix}"
        yield f"There is no {missing} beside it: the last 20 % of its rows are the test part"
    yield f"Parameters from {shown(dataset.settings or RECOMMENDED)}"


def _make_run_folder(home: Path, identifier: str) -> Path:
    """Make ``runs/<identifier>-<time>``; a second run in the same second gets a number."""
    name = f"{owner(identifier)}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    for suffix in ("", *(f"-{number}" for number in range(2, 100))):
        folder = home / "runs" / f"{name}{suffix}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise BadInputError(f"--home {home} cannot be written: {error.strerror}") from None
        return folder
    raise BadInputError(f"there are too many runs named {name} in {home / 'runs'}")


def _write_results(
    summary: Summary, states: Mapping[str, TaskState], results: Mapping[str, Path | str], folder: Path
) -> Path:
    """Write ``summary.json`` and the report into the run's folder, point ``latest`` to it, and return the report."""
    from flts.report.pages import run_page

    (folder / "summary.json").write_text(summary.model_dump_json(indent=2) + "\n", encoding="utf-8")
    reports = {name: state.folder / "report.html" for name, state in states.items()}
    links = {
        name: quote(os.path.relpath(path, folder))
        for name, path in {**reports, **results}.items()
        if isinstance(path, Path) and path.is_file()
    }
    report = folder / "index.html"
    report.write_text(run_page(summary.model_dump(mode="json"), links), encoding="utf-8")
    home = folder.parents[1]
    pointer = home / f".latest-{os.getpid()}"
    pointer.symlink_to(folder.relative_to(home), target_is_directory=True)
    pointer.replace(home / "latest")
    return report


if __name__ == "__main__":
    sys.exit(main())
