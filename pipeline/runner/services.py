"""The object store and MLflow of a run: whether they can be used, and what they need before the first stage."""

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
    """Refuse a store and an MLflow that only this machine's own processes can open.

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


def make_ready(arguments: Mapping[str, Value], dataset: Dataset) -> None:
    """See to it that the store has the dataset and an MLflow server the experiment, which shows that both answer.

    One that is away is waited for as a stage does.

    Raises:
        ServiceUnavailableError: One of them stayed out of reach.
        BadInputError: One of them refuses the credentials, or the dataset cannot be read.
    """
    dataset.put(open_store(str(arguments["gateway_url"]), wait=True), str(arguments["input_bucket"]))
    uri = str(arguments["mlflow_tracking_uri"])
    if not uri.startswith(SQLITE):
        from flts.tracking import prepare

        prepare(uri, str(arguments["experiment_name"]), wait_seconds=retries.mlflow_wait_seconds())


@contextmanager
def preparing_mlflow(arguments: Mapping[str, Value], folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Make MLflow's database, where it is missing, while preprocess runs: it takes seconds of the trainers' time.

    Nobody waits for it here, and nobody asks whether it worked: the trainers do both.

    Args:
        arguments: The pipeline's parameters.
        folder: The run's folder, which gets a log.
        environment: Environment variables of the process that does it.
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
