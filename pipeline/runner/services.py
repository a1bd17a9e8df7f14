"""The object store and MLflow of a run: checks and preparation before the first stage."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from flts.boundary import retries
from flts.errors import BadInputError
from flts.store import open_store
from pipeline.runner.compiled import Value
from pipeline.runner.dataset import Dataset

SQLITE = "sqlite:///"


def check_for_containers(arguments: Mapping[str, Value]) -> None:
    """Refuse a store or an MLflow database that containers cannot open.

    Raises:
        BadInputError: One of them is a folder or a file.
    """
    for flag, name, expected in (
        ("--store", "gateway_url", "s3://"),
        ("--mlflow", "mlflow_tracking_uri", "http://host:port"),
    ):
        value = str(arguments[name])
        if value.startswith(("file:", "sqlite:")):
            raise BadInputError(
                f"--runner docker needs a service that containers can reach, such as {flag} {expected}, not {value}"
            )


def prepare_services(arguments: Mapping[str, Value], dataset: Dataset) -> None:
    """Put the dataset into the store and create the experiment on the MLflow server, which also shows that both work.

    Waits for services that are unreachable, as the stages do.

    Raises:
        ServiceUnavailableError: One of them stayed unreachable.
        BadInputError: One of them refuses the credentials, or the dataset cannot be read.
    """
    dataset.put(open_store(str(arguments["gateway_url"]), wait=True), str(arguments["input_bucket"]))
    uri = str(arguments["mlflow_tracking_uri"])
    if not uri.startswith(SQLITE):
        from flts.tracking import prepare

        prepare(uri, str(arguments["experiment_name"]), wait_seconds=retries.mlflow_wait_seconds())


@contextmanager
def initialize_mlflow(arguments: Mapping[str, Value], folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Create MLflow's database, if it is missing, in the background while preprocess runs, because it takes seconds.

    Nothing here waits for the result or checks it: the trainers do both.

    Args:
        arguments: The pipeline's parameters.
        folder: The run's folder, which gets a log.
        environment: Environment variables of the background process.
    """
    uri = str(arguments["mlflow_tracking_uri"])
    database = Path(uri.removeprefix(SQLITE))
    if not uri.startswith(SQLITE) or database.exists():
        yield
        return
    command = [sys.executable, "-m", "flts.tracking", uri, str(arguments["experiment_name"])]
    with (folder / "mlflow.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - the interpreter that runs this
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait()
