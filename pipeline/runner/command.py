"""The command line: ``python -m pipeline.runner --help``."""

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
from pipeline.runner.closing import ending, failures, places, shown
from pipeline.runner.compiled import Pipeline, load_pipeline
from pipeline.runner.containers import Containers, open_engine
from pipeline.runner.dataset import RECOMMENDED, Dataset, LocalDataset, StoredDataset
from pipeline.runner.home import check_home, make_run_folder, write_results
from pipeline.runner.processes import Processes
from pipeline.runner.run import Run, Starter
from pipeline.runner.services import check_for_containers, make_ready, preparing_mlflow
from pipeline.runner.summary import summarise, versions
from pipeline.runner.view import open_view
from pipeline.runner.watchdog import VARIABLE, watchdog

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = ROOT / "pipeline" / "pipeline.yaml"
DEMO = ROOT / "examples" / "data" / "jfk_weather.csv"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the pipeline as the command line says, and return the exit code."""
    options = _parser().parse_args(argv)
    # Libraries that try again log each attempt; what comes of it is one sentence.
    logging.basicConfig(handlers=[logging.NullHandler()])
    logging.getLogger("flts").handlers = [_Waiting()]
    return run_command("run", lambda: run_pipeline(options))


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
    # More processes would not end sooner together, and the longest of them later.
    at_once = max(1, len(os.sched_getaffinity(0)) // threads())
    with ExitStack() as stack:
        engine = None
        if options.runner == "docker":
            check_for_containers(arguments)
            engine = stack.enter_context(closing(open_engine({task.image for task in pipeline.tasks.values()})))
        check_home(home)

        _say(console, _beginning(dataset))
        started, clock = utc_timestamp(), time.monotonic()
        make_ready(arguments, dataset)
        folder = make_run_folder(home, str(arguments["identifier"]))
        environment = {"FLTS_THREADS": "1", **os.environ, VARIABLE: str(folder)}
        starter: Starter = Containers(engine, folder, environment) if engine else Processes(environment)
        stack.enter_context(watchdog(folder, containers=engine is not None))
        stack.enter_context(preparing_mlflow(arguments, folder, environment))
        view = stack.enter_context(open_view(console, pipeline.tasks.values()))
        run = Run(pipeline, arguments, folder, starter=starter, at_once=at_once, observer=view.changed)
        exit_code = run.execute()

    for line in failures(run.states):
        _complain(line)
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
    results = places(run.states, arguments)
    try:
        results = write_results(home, folder, summary, run.states, results)
    except BadInputError as error:
        _tell(str(error))
        exit_code = exit_code or error.exit_code
    titles = {name: task.title for name, task in pipeline.tasks.items()}
    _say(console, ending(summary, titles, results))
    return exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline.runner", description="Run the compiled pipeline.")
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
    datasets = parser.add_mutually_exclusive_group()
    datasets.add_argument(
        "--dataset",
        type=Path,
        default=DEMO,
        metavar="X.csv",
        help="training data, CSV or Parquet; X_test.csv beside it is the test part, X.toml beside it holds parameters, "
        "without which pipeline/recommended.toml does (default: the demo, hourly weather at JFK airport)",
    )
    datasets.add_argument(
        "--stored-dataset",
        metavar="NAME",
        help="train with what the store's bucket of datasets has already: NAME.csv or NAME.parquet, with NAME_test and "
        "NAME.toml beside it as above",
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


def _find_dataset(options: argparse.Namespace, pipeline: Pipeline, store: str) -> Dataset:
    if options.stored_dataset is None:
        return LocalDataset.find(options.dataset)
    default = str(pipeline.parameters["input_bucket"].default)
    bucket = split_pairs(options.param).get("input_bucket", default)
    return StoredDataset.find(options.stored_dataset, open_store(store, wait=True), bucket)


def _beginning(dataset: Dataset) -> Iterator[str]:
    if isinstance(dataset, StoredDataset):
        yield f"Dataset {dataset.place} of the store"
        yield f"Parameters from {shown(RECOMMENDED) if dataset.settings is None else f'{dataset.name}.toml beside it'}"
        return
    assert isinstance(dataset, LocalDataset)  # noqa: S101 - for mypy
    yield f"Dataset {shown(dataset.train)}"
    if dataset.test is None:
        missing = f"{dataset.name}_test{dataset.train.suffix}"
        yield f"There is no {missing} beside it: the last 20 % of its rows are the test part"
    yield f"Parameters from {shown(dataset.settings or RECOMMENDED)}"


def _say(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        console.print(printable(redact(line)), markup=False, soft_wrap=True)


def _tell(line: str) -> None:
    _complain(f"run: {line}")


class _Waiting(logging.Handler):
    """Tells what is waited for before the first stage."""

    def emit(self, record: logging.LogRecord) -> None:
        """Tell it."""
        _tell(record.getMessage())


def _complain(line: str) -> None:
    print(printable(redact(line)), file=sys.stderr)
