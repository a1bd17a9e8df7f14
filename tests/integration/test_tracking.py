"""Opening MLflow: addresses and databases that are refused, servers that are away, and one that is there."""

import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from flts.contracts import TrainedModel
from flts.datafiles.processed_parquet import write_processed
from flts.errors import BadInputError, ServiceUnavailableError
from flts.models import bundle, pyfunc
from flts.models.files import LARGEST_DOCUMENTS
from flts.tracking import ModelFromCode, Tracking, access, download_bundle
from flts.tracking.__main__ import main
from tests.support.bundles import ensemble_bundle
from tests.support.series import make_data
from tests.support.training import Place
from tests.support.waiting import wait_until

pytestmark = pytest.mark.xdist_group("training_runs")


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "mlflow:5000",
        "file:///tmp/mlruns",
        "databricks",
        "http://",
        "sqlite://",
        "sqlite:///",
        "postgresql://h/d",
        "http://[",
        "http://h:x",
    ],
)
def test_an_address_of_another_kind_is_refused(uri):
    with pytest.raises(BadInputError, match="is not an MLflow address: expected http"):
        Tracking(uri)


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("these are notes")
    with pytest.raises(BadInputError, match=r"notes\.txt is not an SQLite database"):
        Tracking(f"sqlite:///{tmp_path}/notes.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_database_in_a_place_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInputError, match=r"MLflow database .*file/mlflow\.db cannot be opened: "):
        Tracking(f"sqlite:///{tmp_path}/file/mlflow.db")


def test_a_database_that_a_killed_process_left_half_made_is_made_anew(database):
    """Half made is what another name says: only a whole database gets its own."""
    folder = Path(database.removeprefix("sqlite:///")).parent
    (folder / ".new.db.unfinished").write_bytes(b"SQLite format 3\0 and no more")
    (folder / ".new.db.unfinished-journal").write_bytes(b"half")
    Tracking(f"sqlite:///{folder}/new.db").experiment("flts")
    assert not list(folder.glob(".new.db*"))


@pytest.mark.parametrize("damage", ["one page", "every page but the first", "cut"])
def test_a_damaged_database_is_refused_when_it_is_opened_and_left_alone(damage, database, tmp_path):
    Tracking(database)
    data = bytearray(Path(database.removeprefix("sqlite:///")).read_bytes())
    page = 4096
    match damage:
        case "one page":
            data[100 * page : 101 * page] = bytes(page)
        case "every page but the first":
            data[page:] = b"\xa5" * (len(data) - page)
        case "cut":
            del data[len(data) // 2 :]
    (tmp_path / "damaged.db").write_bytes(data)
    with pytest.raises(
        BadInputError, match=r"^the MLflow database .*damaged\.db is damaged: restore a copy of it, or "
    ):
        Tracking(f"sqlite:///{tmp_path}/damaged.db")
    assert (tmp_path / "damaged.db").read_bytes() == data


def test_a_database_that_others_write_to_is_opened(database):
    tracking = Tracking(database)
    with closing(sqlite3.connect(database.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        Tracking(database)
        other.execute("ROLLBACK")
    assert tracking.experiment("flts")


def test_a_deleted_experiment_is_named_with_the_way_to_restore_it(database):
    tracking = Tracking(database)
    tracking._client.delete_experiment(tracking.experiment("old"))
    with pytest.raises(BadInputError, match="MLflow experiment 'old' was deleted: restore it"):
        tracking.experiment("old")


def test_nothing_is_written_to_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    tracking = Tracking("sqlite:///../state/mlflow.db")
    for name in ("Default", "flts"):
        run_id = tracking.create_run(tracking.experiment(name), "run", {})
        tracking.log_text(run_id, "note.txt", "here")
        (note,) = (tmp_path / "state" / "mlartifacts").glob(f"**/{run_id}/artifacts/note.txt")
        assert note.read_text() == "here"
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize(
    ("code", "text", "kind", "said"),
    [
        ("TEMPORARILY_UNAVAILABLE", "(sqlite3.OperationalError) database or disk is full", BadInputError, "be written"),
        (
            "TEMPORARILY_UNAVAILABLE",
            "(sqlite3.OperationalError) database is locked",
            ServiceUnavailableError,
            "reached",
        ),
        (
            "INTERNAL_ERROR",
            "API request to endpoint /x failed with error code 502 != 200",
            ServiceUnavailableError,
            "reached",
        ),
        ("UNAUTHENTICATED", "API request to endpoint /x failed with error code 401", BadInputError, "credentials"),
        ("INTERNAL_ERROR", "(sqlite3.DatabaseError) database disk image is malformed", BadInputError, "is damaged"),
        ("INVALID_STATE", "Detected out-of-date database schema (found version a)", BadInputError, "mlflow db upgrade"),
    ],
)
def test_what_people_can_mend_is_told_in_a_sentence(database, code, text, kind, said):
    Tracking(database)
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import ErrorCode

    with pytest.raises(kind, match=said), access.translate_errors(database):
        raise MlflowException(text, error_code=ErrorCode.Value(code))


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")


def test_a_server_that_is_away_is_a_service_out_of_reach(impatient):
    with pytest.raises(ServiceUnavailableError, match=r"MLflow at http://127\.0\.0\.1:9 cannot be reached"):
        Tracking("http://127.0.0.1:9").experiment("flts")


def test_preparing_ends_with_the_error_s_exit_code(database, capsys, impatient):
    assert main([database, "prepared"]) == 0
    assert main(["nonsense", "flts"]) == 2
    assert main(["http://127.0.0.1:9", "flts"]) == 3
    assert main([]) == 2
    assert "usage: python -m flts.tracking URI EXPERIMENT" in capsys.readouterr().err


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A real MLflow server that keeps its artifacts itself, as in a cluster."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {
        "--backend-store-uri": f"sqlite:///{folder}/server.db",
        "--artifacts-destination": f"{folder}/kept",
        "--workers": "1",
        "--port": str(port),
    }
    command = [sys.executable, "-m", "mlflow", "server", *(text for option in options.items() for text in option)]
    plain = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=os.environ | plain)
    try:
        wait_until(lambda: process.poll() is not None or _healthy(port), pause=0.2)
        assert process.poll() is None, (folder / "log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def _healthy(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as response:
            return response.status == 200
    except (URLError, OSError):
        return False


@pytest.mark.slow
@pytest.mark.parametrize("with_store", [True, False], ids=["store", "no store"])
def test_a_training_is_kept_found_and_handed_out_by_a_server(server, tmp_path, monkeypatch, with_store):
    write_processed(tmp_path / "data.parquet", make_data(150))
    place = Place(tmp_path / "data.parquet", server, f"file://{tmp_path}/store" if with_store else None)
    name = f"server-{with_store}"
    first = place.train(identifier=name)
    message = TrainedModel.parse(first.artifacts["model"].content, source="model")
    assert message.artifact_uri.startswith("mlflow-artifacts:/")
    assert place.train(identifier=name).cached
    folder = download_bundle(server, message, tmp_path / "bundle")
    assert bundle.load(folder).config.config_hash == message.config_hash
    with pytest.raises(BadInputError, match=r"has no model runs:/.*/LSTM"):
        download_bundle(server, replace_model(message, "LSTM"), tmp_path / "bundle")

    tracking = Tracking(server)
    (model,) = tracking.models(message.run_id, "GRU")
    with monkeypatch.context() as patch:
        patch.setitem(LARGEST_DOCUMENTS, "config.json", 10)
        with pytest.raises(BadInputError, match=r"runs:/.*/GRU/config\.json has [\d,]+ bytes: at most 10 are accepted"):
            download_bundle(server, message, tmp_path / "large")
    (tmp_path / "more" / "artifacts" / "bundle").mkdir(parents=True)
    (tmp_path / "more" / "artifacts" / "bundle" / "more.pkl").write_bytes(b"\x80\x05.")
    tracking._client.log_model_artifacts(model.model_id, str(tmp_path / "more"))
    with pytest.raises(BadInputError, match=r"runs:/.*/GRU/more\.pkl is not part of the model bundle"):
        download_bundle(server, message, tmp_path / "more-than-a-bundle")
    assert not list(tmp_path.glob("large/bundle/*")) + list(tmp_path.glob("more-than-a-bundle/bundle/*"))
    tracking.delete_model(model)
    again = place.train(identifier=name)
    assert (again.cached, again.parameters) == (False, first.parameters)
    assert len(tracking.models(message.run_id, "GRU")) == 1


@pytest.mark.slow
def test_a_server_hands_out_an_ensemble_with_its_members_and_nothing_else(server, tmp_path):
    folder, tracking = ensemble_bundle(tmp_path / "made" / "ensemble"), Tracking(server)
    run_id = tracking.create_run(tracking.experiment("flts"), "ENSEMBLE", {})
    given = ModelFromCode(folder, pyfunc.CODE_PATH, pyfunc.SIGNATURE, ["flts"])
    model = tracking.upload_model(run_id, "ENSEMBLE", given, tmp_path)
    tracking.keep_model(run_id, "ENSEMBLE", model.location)
    fetched = tracking.download_bundle(run_id, "ENSEMBLE", tmp_path / "fetched")
    assert bundle.digest(fetched) == bundle.digest(folder)
    assert bundle.verify(fetched).hyperparameters == {"members": ["GRU", "PROPHET"]}
    more = tmp_path / "more" / "artifacts" / "bundle" / "members" / "gru" / "members"
    more.mkdir(parents=True)
    (more / "more.json").write_bytes(b"{}")
    tracking._client.log_model_artifacts(model.model_id, str(tmp_path / "more"))
    with pytest.raises(BadInputError, match="ENSEMBLE/members/gru/members is not part of the model bundle"):
        tracking.download_bundle(run_id, "ENSEMBLE", tmp_path / "again")
    assert not list(tmp_path.glob("again/bundle/**/*.json"))


def replace_model(message: TrainedModel, name: str) -> TrainedModel:
    return message.model_copy(update={"model_uri": f"runs:/{message.run_id}/{name}"})


@pytest.mark.slow
def test_what_is_no_mlflow_server_is_named(server, impatient):
    with pytest.raises(BadInputError, match="/somewhere does not answer as an MLflow server"):
        Tracking(f"{server}/somewhere").experiment("flts")
