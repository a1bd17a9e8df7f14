"""MLflow as people run it: behind a path prefix, with a login, and with an artifact store that it leaves to stages."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import boto3
import pytest

from flts.contracts import TrainedModel
from flts.datafiles.processed_parquet import write_processed
from flts.errors import RefusedError, ServiceUnavailableError
from flts.models import bundle
from flts.tracking import download_bundle
from flts.tracking.artifact_keys import set_artifact_keys
from tests.support.commands import run
from tests.support.series import make_data
from tests.support.services import S3, mlflow_server
from tests.support.training import Place

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("mlflow_deployments")]

LOGIN = {"MLFLOW_TRACKING_USERNAME": "flts", "MLFLOW_TRACKING_PASSWORD": "a-long-password"}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, s3: S3) -> Iterator[str]:
    """An MLflow behind a path prefix that asks for a login and hands no artifacts on."""
    folder = tmp_path_factory.mktemp("mlflow")
    settings = {
        "default_permission": "READ",
        "database_uri": f"sqlite:///{folder}/users.db",
        "admin_username": LOGIN["MLFLOW_TRACKING_USERNAME"],
        "admin_password": LOGIN["MLFLOW_TRACKING_PASSWORD"],
        "auth_cache_ttl_seconds": "300",  # else a password is hashed with every request
    }
    lines = "".join(f"{name} = {value}\n" for name, value in settings.items())
    (folder / "login.ini").write_text(f"[mlflow]\n{lines}")
    with mlflow_server(
        folder,
        s3,
        options={
            "app-name": "basic-auth",
            "static-prefix": "/mlflow",
            "no-serve-artifacts": None,
            "default-artifact-root": "s3://mlflow/direct",
        },
        environ={"MLFLOW_AUTH_CONFIG_PATH": str(folder / "login.ini"), "MLFLOW_FLASK_SERVER_SECRET_KEY": "of a test"},
    ) as uri:
        assert uri.endswith("/mlflow")
        yield uri


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, str]], None]]:
    """Set what this process knows of S3, and nothing else; boto3 and MLflow forget what they had read."""

    def forget() -> None:
        from mlflow.store.artifact.s3_artifact_repo import _cached_get_s3_client

        _cached_get_s3_client.cache_clear()
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)

    def set_keys(variables: dict[str, str]) -> None:
        known = {name for name in os.environ if name.startswith(("AWS_", "MLFLOW_S3_", "FLTS_S3_"))}
        for name in {*known, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MLFLOW_S3_ENDPOINT_URL"}:
            monkeypatch.setenv(name, "")  # remembered, so that it is as before afterwards
            monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        forget()

    yield set_keys
    forget()


@pytest.fixture
def place(tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> Place:
    for name, value in LOGIN.items():
        monkeypatch.setenv(name, value)
    write_processed(tmp_path / "data.parquet", make_data(150))
    return Place(tmp_path / "data.parquet", address, f"file://{tmp_path}/store", 600)


def wrong(s3: S3) -> dict[str, str]:
    return s3.environ | {"AWS_SECRET_ACCESS_KEY": "wrong-secret"}


def told(result) -> TrainedModel:
    return TrainedModel.parse(result.artifacts["model"].content, source="model")


def test_stages_with_a_login_and_keys_train_and_hand_on_and_without_read_nothing(place, s3, keys, tmp_path):
    keys(s3.environ)
    first = place.train()
    assert told(first).artifact_uri.startswith("s3://mlflow/direct/")
    assert place.train().cached
    folder = download_bundle(place.tracking_uri, told(first), tmp_path / "bundle")
    assert bundle.load(folder).config.model_type == "GRU"
    keys({})
    with pytest.raises(RefusedError, match="there are no credentials for the artifact store"):
        download_bundle(place.tracking_uri, told(first), tmp_path / "bundle")
    keys(wrong(s3))
    with pytest.raises(RefusedError, match="refused the credentials of AWS_ACCESS_KEY_ID"):
        download_bundle(place.tracking_uri, told(first), tmp_path / "bundle")


def test_the_store_s_keys_are_enough(place, s3, keys):
    keys({"FLTS_S3_ENDPOINT_URL": s3.endpoint, "FLTS_S3_ACCESS_KEY_ID": s3.access_key}
         | {"FLTS_S3_SECRET_ACCESS_KEY": s3.secret_key, "FLTS_S3_REGION": "us-east-1"})  # fmt: skip
    set_artifact_keys(os.environ)  # as opening MLflow does, once in a process
    assert told(place.train(identifier="lent")).artifact_uri.startswith("s3://")


@pytest.mark.parametrize("password", ["", "wrong"])
def test_a_wrong_login_is_a_sentence(place, password, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
    with pytest.raises(RefusedError, match=r"^MLflow at .*/mlflow refused the credentials, or what they may do$"):
        place.train(identifier="login")


@pytest.mark.parametrize("known", ["no keys", "wrong keys"])
def test_keys_that_cannot_write_are_found_before_training(place, s3, keys, known):
    keys({} if known == "no keys" else wrong(s3))
    steps: list[str] = []
    with pytest.raises(RefusedError) as caught:
        place.train(identifier=known.replace(" ", "-"), progress=steps.append)
    said = {
        "no keys": f"there are no credentials for the artifact store of MLflow at {place.tracking_uri}, which does not "
        "proxy artifacts: set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and MLFLOW_S3_ENDPOINT_URL, or start MLflow "
        "with --artifacts-destination",
        "wrong keys": f"the artifact store of MLflow at {place.tracking_uri} refused the credentials of "
        "AWS_ACCESS_KEY_ID, or what they may do: SignatureDoesNotMatch",
    }
    assert str(caught.value) == said[known]
    assert not any(step.startswith("epoch") for step in steps)


def test_a_stage_without_keys_ends_with_one_sentence_and_exit_code_2(place, tmp_path):
    command = "flts-train-gru --training-data data.parquet --output-dir out --hidden-size 4 --num-layers 1 --epochs 2"
    services = ("--mlflow-tracking-uri", place.tracking_uri)
    ended = run(tmp_path, *command.split(), *services, **LOGIN, AWS_EC2_METADATA_DISABLED="true")
    assert ended.code == 2
    assert ended.error().startswith("there are no credentials for the artifact store of MLflow at ")


def test_a_model_whose_keys_expired_meanwhile_is_kept_and_published_by_the_next_try(place, s3, keys, tmp_path):
    keys(s3.environ)

    def expire(message: str) -> None:
        if message.startswith("logging"):
            keys(wrong(s3))

    with pytest.raises(RefusedError, match=r"the trained model is kept in model-promotion/") as caught:
        place.train(identifier="expired", progress=expire)
    assert caught.value.exit_code == 2

    keys(s3.environ)
    steps: list[str] = []
    result = place.train(identifier="expired", progress=steps.append)
    assert result.cached
    assert not any(step.startswith("epoch") for step in steps)
    assert bundle.load(download_bundle(place.tracking_uri, told(result), tmp_path / "bundle"))


def test_an_artifact_store_that_is_away_is_a_service_out_of_reach(place, s3, keys):
    keys(s3.environ | {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"})
    place = replace(place, wait_seconds=1)
    with pytest.raises(ServiceUnavailableError, match=r"^the artifact store of MLflow at .* cannot be reached: "):
        place.train(identifier="away")


def test_a_server_that_cannot_write_its_artifacts_is_found_before_training(place, s3, tmp_path):
    with mlflow_server(tmp_path / "mlflow", s3, environ={"AWS_SECRET_ACCESS_KEY": "wrong-secret"}) as uri:
        steps: list[str] = []
        with pytest.raises(ServiceUnavailableError) as caught:
            Place(place.training_data, uri, place.store_url, 1).train(progress=steps.append)
        assert str(caught.value) == (
            f"MLflow at {uri} cannot write to its artifact store: it answers with HTTP status 500; its log says more"
        )
        assert not any(step.startswith("epoch") for step in steps)
