"""The command ``python -m pipeline.runner``."""

import argparse
import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from rich.console import Console

from flts.boundary.environment import threads
from flts.contracts import utc_timestamp
from flts.diagnostics.terminal import printable
from flts.errors import BadInputError
from flts.observability.exit_codes import run_command
from flts.observability.redaction import redact
from flts.store import open_store
from pipeline.runner.arguments import choose_arguments, split_pairs
from pipeline.runner.compiled import Pipeline, load_pipeline
from pipeline.runner.console_summary import display_path, failure_lines, result_locations, summary_lines
from pipeline.runner.containers import Containers, open_engine
from pipeline.runner.dataset import RECOMMENDED, Dataset, LocalDataset, StoredDataset
from pipeline.runner.home import check_home, make_run_folder, write_results
from pipeline.runner.processes import Processes
from pipeline.runner.run import Run, Starter
from pipeline.runner.services import check_for_containers, initialize_mlflow, prepare_services
from pipeline.runner.summary import summarise, versions
from pipeline.runner.view import open_view
from pipeline.runner.watchdog import VARIABLE, watchdog

ROOT = Path(__file__).resolve().parents[2]
PIPELINES = {path.stem: path for path in sorted((ROOT / "pipeline").glob("*.yaml"))}
DEMO = ROOT / "examples" / "data" / "jfk_weather.csv"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the pipeline as the command line says, and return the exit code."""
    options = _parser().parse_args(argv)
    # Libraries log every attempt of a retry; users get one sentence about the outcome.
    logging.basicConfig(handlers=[logging.NullHandler()])
    logging.getLogger("flts").handlers = [_WaitLogHandler()]
    return run_command("run", lambda: run_pipeline(options))


def run_pipeline(options: argparse.Namespace) -> int:
    """Run every stage, in processes or containers of this machine, and print the results.

    Args:
        options: Parsed command line.

    Returns:
        0, or the exit code of the stage that failed first.

    Raises:
        BadInputError: The dataset or a parameter cannot be used, ``home`` is not writable, or a service refuses access.
        ServiceUnavailableError: The store, MLflow or the Docker engine is unreachable.
    """
    console = Console(highlight=False)
    pipeline = load_pipeline(PIPELINES[options.pipeline])
    home = options.home.absolute()
    store = options.store or (home / "store").as_uri()
    dataset = _find_dataset(options, pipeline, store)
    arguments = choose_arguments(
        pipeline,
        dataset,
        home,
        params=options.param,
        identifier=options.identifier,
        store=store,
        mlflow=options.mlflow,
    )
    # More processes would not finish sooner in total, and would slow the longest one down.
    max_parallel = max(1, len(os.sched_getaffinity(0)) // threads())
    with ExitStack() as stack:
        engine = None
        if options.runner == "docker":
            check_for_containers(arguments)
            engine = stack.enter_context(closing(open_engine({task.image for task in pipeline.tasks.values()})))
        check_home(home)

        _print_lines(console, _dataset_lines(dataset))
        started, clock = utc_timestamp(), time.monotonic()
        prepare_services(arguments, dataset)
        folder = make_run_folder(home, str(arguments["identifier"]))
        environment = {"FLTS_THREADS": "1", **os.environ, VARIABLE: str(folder)}
        starter: Starter = Containers(engine, folder, environment) if engine else Processes(environment)
        stack.enter_context(watchdog(folder, containers=engine is not None))
        stack.enter_context(initialize_mlflow(arguments, folder, environment))
        view = stack.enter_context(open_view(console, pipeline.tasks.values()))
        run = Run(pipeline, arguments, folder, starter=starter, max_parallel=max_parallel, observer=view.changed)
        exit_code = run.execute()

    for line in failure_lines(run.states):
        _print_stderr(line)
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
    results = result_locations(run.states, arguments)
    try:
        results = write_results(home, folder, summary, run.states, results)
    except BadInputError as error:
        _print_error(str(error))
        exit_code = exit_code or error.exit_code
    titles = {name: task.title for name, task in pipeline.tasks.items()}
    _print_lines(console, summary_lines(summary, titles, results))
    return exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.runner",
        description="Run the whole pipeline on this machine: preprocess, train, promote the best model and forecast.",
    )
    parser.add_argument(
        "--pipeline",
        choices=PIPELINES,
        default="pipeline",
        help="the compiled pipeline to run: the six stages (pipeline), or these and train-lightgbm (boosted); "
        "default: pipeline",
    )
    parser.add_argument(
        "--runner",
        choices=["local", "docker"],
        default="local",
        help="run stages as processes (local) or as containers of the images flts-*:kfp (docker); default: local",
    )
    parser.add_argument(
        "--store",
        metavar="URL",
        help="object store: s3:// with the usual AWS variables, or file:///dir; default: a folder in --home",
    )
    parser.add_argument(
        "--mlflow",
        metavar="URI",
        help="MLflow: http://host:port or sqlite:///file.db; default: a database in --home",
    )
    datasets = parser.add_mutually_exclusive_group()
    datasets.add_argument(
        "--dataset",
        type=Path,
        default=DEMO,
        metavar="X.csv",
        help="training data, CSV or Parquet; X_test.csv in the same folder, if any, is the test data, and X.toml holds "
        "parameters (without one: pipeline/recommended.toml); default: the demo, hourly weather at JFK airport",
    )
    datasets.add_argument(
        "--stored-dataset",
        metavar="NAME",
        help="use a dataset that is already in the store, in the bucket input_bucket: NAME.csv or NAME.parquet, with "
        "NAME_test and NAME.toml as above",
    )
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a pipeline parameter, for example epochs=5; may be repeated",
    )
    parser.add_argument("--identifier", metavar="NAME", help="name of the run; default: the dataset's name")
    parser.add_argument(
        "--home",
        type=Path,
        default=ROOT / ".flts",
        metavar="DIR",
        help="folder for the store, the MLflow database and the runs; default: .flts",
    )
    return parser


def _find_dataset(options: argparse.Namespace, pipeline: Pipeline, store: str) -> Dataset:
    if options.stored_dataset is None:
        return LocalDataset.find(options.dataset)
    default = str(pipeline.parameters["input_bucket"].default)
    bucket = split_pairs(options.param).get("input_bucket", default)
    return StoredDataset.find(options.stored_dataset, open_store(store, wait=True), bucket)


def _dataset_lines(dataset: Dataset) -> Iterator[str]:
    if isinstance(dataset, StoredDataset):
        yield f"Dataset {dataset.location} in the store"
        in_store = f"{dataset.name}.toml in the store"
        yield f"Parameters from {display_path(RECOMMENDED) if dataset.settings is None else in_store}"
        return
    assert isinstance(dataset, LocalDataset)  # noqa: S101 - for mypy
    yield f"Dataset {display_path(dataset.train)}"
    if dataset.test is None:
        missing = f"{dataset.name}_test{dataset.train.suffix}"
        yield f"There is no {missing} next to it: the last 20 % of its rows become the test data"
    yield f"Parameters from {display_path(dataset.settings or RECOMMENDED)}"


def _print_lines(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        console.print(printable(redact(line)), markup=False, soft_wrap=True)


def _print_error(line: str) -> None:
    _print_stderr(f"run: {line}")


class _WaitLogHandler(logging.Handler):
    """Prints log messages about services that the runner waits for before the first stage."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message."""
        _print_error(record.getMessage())


def _print_stderr(line: str) -> None:
    print(printable(redact(line)), file=sys.stderr)
