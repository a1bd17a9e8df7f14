"""Trainings on a real MLflow server: its answers lost, the server restarted, gone for good, and what it may not do."""

import logging
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from flts.contracts import TrainedModel
from flts.datafiles.processed_parquet import write_processed
from flts.errors import BadInputError, ServiceUnavailableError
from flts.models import bundle
from flts.stage_interface import Result
from flts.store import open_store
from flts.tracking import Tracking, download_bundle
from tests.support import faults
from tests.support.series import make_data
from tests.support.services import Services, free_ports, mlflow_server
from tests.support.training import Place

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("mlflow_server")]


@pytest.fixture
def place(tmp_path: Path, services_environ: Services) -> Place:
    """Data and a store of the test's own, and the MLflow server that all share."""
    return place_at(tmp_path, services_environ.mlflow_uri)


@pytest.fixture
def identifier(request: pytest.FixtureRequest) -> str:
    return "".join(character if character.isalnum() else "-" for character in request.node.name)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give services up within a second or two."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("FLTS_PATIENCE_SECONDS", "1")


def place_at(folder: Path, tracking_uri: str) -> Place:
    write_processed(folder / "data.parquet", make_data(150))
    return Place(folder / "data.parquet", tracking_uri, f"file://{folder}/store")


def told(result: Result) -> TrainedModel:
    return TrainedModel.parse(result.artifacts["model"].content, source="model")


def assert_one_whole_run(tracking_uri: str, identifier: str, result: Result) -> None:
    """There is one finished run of the identifier, with one model, once among its outputs, and its bundle loads."""
    tracking = Tracking(tracking_uri)
    (run,) = tracking._client.search_runs([tracking.experiment("flts")], f"tags.identifier = '{identifier}'")
    (model,) = tracking.models(run.info.run_id, "GRU")
    message = told(result)
    assert (run.info.run_id, run.info.status) == (message.run_id, "FINISHED")
    assert (model.location, model.ready) == (message.artifact_uri, True)
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    assert [metric.step for metric in tracking._client.get_metric_history(message.run_id, "train_loss")] == [1, 2]
    assert len(run.inputs.dataset_inputs) == 1


def test_a_training_is_kept_found_and_handed_out(place: Place, identifier: str, tmp_path: Path) -> None:
    first = place.train(identifier=identifier)
    again = place.train(identifier=identifier)

    assert (first.cached, again.cached) == (False, True)
    assert again.artifacts == first.artifacts
    assert told(first).artifact_uri.startswith("mlflow-artifacts:/")
    assert_one_whole_run(place.tracking_uri, identifier, first)
    folder = download_bundle(place.tracking_uri, told(first), tmp_path / "bundle")
    assert bundle.load(folder).config.model_type == "GRU"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "runs/create"),
        ("POST", "mlflow/logged-models"),
        ("PATCH", "mlflow/logged-models"),
        ("POST", "runs/outputs"),
        ("POST", "runs/log-batch"),
        ("POST", "runs/log-inputs"),
        ("POST", "runs/update"),
        ("PUT", "mlflow-artifacts/artifacts"),
    ],
    ids=lambda text: text.rpartition("/")[2],
)
def test_a_request_whose_answer_is_lost_leaves_no_second_copy(
    place: Place, identifier: str, method: str, path: str, tmp_path: Path
) -> None:
    plan = faults.in_turn("lost", "lost", method=method, path=path)
    with faults.proxy(place.tracking_uri, plan) as proxy:
        result = place_at(tmp_path, proxy.url).train(identifier=identifier)

    assert proxy.seen["lost"] == 2
    assert_one_whole_run(place.tracking_uri, identifier, result)


def test_a_download_that_breaks_off_is_repeated(place: Place, identifier: str, tmp_path: Path) -> None:
    message = told(place.train(identifier=identifier))
    plan = faults.in_turn("truncate", "reset", "truncate", method="GET", path="/artifacts/bundle/model.safetensors")
    with faults.proxy(place.tracking_uri, plan) as proxy:
        folder = download_bundle(proxy.url, message, tmp_path / "bundle")

    assert proxy.seen["truncate"] == 2
    assert bundle.digest(folder) == bundle.digest(download_bundle(place.tracking_uri, message, tmp_path / "whole"))
    bundle.verify(folder)


def test_a_download_that_never_ends_well_is_a_service_out_of_reach(
    place: Place, identifier: str, tmp_path: Path, hurried: None
) -> None:
    message = told(place.train(identifier=identifier))
    with (
        faults.proxy(place.tracking_uri, faults.in_turn(*["truncate"] * 20, path="/model.safetensors")) as proxy,
        pytest.raises(ServiceUnavailableError, match="its answers break off"),
    ):
        download_bundle(proxy.url, message, tmp_path / "bundle")


def test_a_host_name_that_the_server_does_not_know_is_named(services: Services) -> None:
    address = f"http://127.1:{urlsplit(services.mlflow_uri).port}"  # the same machine by another name
    with pytest.raises(BadInputError) as caught:
        Tracking(address).experiment("flts")

    host = address.removeprefix("http://")
    assert str(caught.value) == (
        f"MLflow at {address} does not answer to the name {host}: add {host} to the server's --allowed-hosts"
    )


PICKLED = """
import os, sys, mlflow
mlflow.set_experiment("pickled")
with mlflow.start_run() as run:
    class Model(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input):
            return model_input
    mlflow.pyfunc.log_model(name="GRU", python_model=Model(), pip_requirements=[])
    print(run.info.run_id)
"""
LOADING = """
import sys
from flts.tracking import Tracking
Tracking(sys.argv[1])  # as any stage opens it
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
mlflow.pyfunc.load_model(sys.argv[2])
"""


def test_a_pickled_model_is_refused(services_environ: Services, tmp_path: Path) -> None:
    uri = services_environ.mlflow_uri
    logged = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PICKLED], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    run_id = logged.stdout.split()[0]

    loaded = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOADING, uri, f"runs:/{run_id}/GRU"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )

    assert loaded.returncode == 1
    assert "Deserializing model using pickle is disallowed" in loaded.stderr
    reference = TrainedModel.model_construct(model_uri=f"runs:/{run_id}/GRU", artifact_uri="")
    with pytest.raises(BadInputError, match="has no artifacts/bundle: only models that FLTS logged have one"):
        download_bundle(uri, reference, tmp_path / "bundle")


class Restartable:
    """An MLflow server that can be stopped and started again on its port."""

    def __init__(self, folder: Path, services: Services) -> None:
        self.stack = ExitStack()
        self._folder, self._s3, self._port = folder, services.s3, free_ports(1)[0]
        self.uri = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        self.stack.enter_context(mlflow_server(self._folder, self._s3, self._port))

    def stop(self) -> None:
        self.stack.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, services: Services):
    server = Restartable(tmp_path_factory.mktemp("restarted"), services)
    server.start()
    yield server
    server.stop()


@pytest.mark.timeout(600)
def test_a_restart_in_the_middle_of_a_training_is_waited_for(
    server: Restartable, tmp_path: Path, identifier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    told_to_wait: list[str] = []

    class Restart(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("waiting"):
                if not told_to_wait:
                    server.start()
                told_to_wait.append(record.getMessage())

    def stop(message: str) -> None:
        if message.startswith("epoch 1"):
            server.stop()

    handler = Restart()
    logging.getLogger("flts").addHandler(handler)
    try:
        result = place_at(tmp_path, server.uri).train(identifier=identifier, progress=stop)
    finally:
        logging.getLogger("flts").removeHandler(handler)

    assert told_to_wait == [f"waiting, 180 s at most: MLflow at {server.uri} cannot be reached: nothing listens there"]
    assert not result.cached
    assert_one_whole_run(server.uri, identifier, result)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("wait_seconds", [None, 1], ids=["a worker's", "a stage's"])
def test_without_the_server_the_trained_model_is_kept_and_published_later(
    server: Restartable,
    tmp_path: Path,
    identifier: str,
    hurried: None,
    wait_seconds: int | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = replace(place_at(tmp_path, server.uri), wait_seconds=wait_seconds)

    def leave(message: str) -> None:
        if message.startswith("logging"):
            server.stop()

    with pytest.raises(ServiceUnavailableError) as caught:
        place.train(identifier=identifier, progress=leave)
    assert caught.value.exit_code == 3
    away = f"MLflow at {server.uri} cannot be reached: nothing listens there"
    assert str(caught.value).startswith(f"{away}; the trained model is kept in ")
    said = [record.getMessage() for record in caplog.records if record.name == "flts"]
    assert said == [f"waiting, 1 s at most: {away}"]
    kept = next(word for word in str(caught.value).split() if word.startswith("model-promotion/")).rstrip(",")
    assert bundle.load(tmp_path / "store" / kept).config.model_type == "GRU"

    server.start()
    steps: list[str] = []
    result = place.train(identifier=identifier, progress=steps.append)

    assert result.cached
    assert not any(step.startswith("epoch") for step in steps)
    assert_one_whole_run(server.uri, identifier, result)
    assert bundle.digest(download_bundle(server.uri, told(result), tmp_path / "bundle"))
    bucket, _, prefix = kept.partition("/")
    assert not list(open_store(f"file://{tmp_path}/store").list(bucket, prefix.removesuffix("bundle/")))
