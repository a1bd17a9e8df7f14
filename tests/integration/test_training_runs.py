"""One training, one MLflow run, one model: repeated, killed, raced, deleted."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from flts.contracts import TrainedModel
from flts.datafiles.processed_parquet import read_processed, write_processed
from flts.errors import BadInputError
from flts.models import bundle
from flts.models.forecasting import forecast_steps
from flts.store import open_store
from flts.tracking import Tracking, download_bundle, prepare
from tests.support.series import make_data
from tests.support.training import SERVER, Place

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("training_runs")]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    """Data, an SQLite MLflow and a store that all tests share; each has an identifier of its own."""
    folder = tmp_path_factory.mktemp("training")
    write_processed(folder / "processed_data.parquet", make_data(150))
    return Place(folder / "processed_data.parquet", f"sqlite:///{folder}/mlflow/mlflow.db", f"file://{folder}/store")


@pytest.fixture(params=["with a store", "without a store"])
def either(place, request) -> Place:
    return place if request.param == "with a store" else replace(place, store_url=None)


@pytest.fixture
def identifier(request) -> str:
    return "".join(character if character.isalnum() else "-" for character in request.node.name)


def told(result) -> TrainedModel:
    return TrainedModel.parse(result.artifacts["model"].content, source="model")


def runs(place: Place, identifier: str):
    """Every run of an identifier that is not deleted."""
    tracking = Tracking(place.tracking_uri)
    return tracking._client.search_runs([tracking.experiment("flts")], f"tags.identifier = '{identifier}'")


def models(place: Place, run_id: str):
    return Tracking(place.tracking_uri).models(run_id, "GRU")


def assert_one_finished(place: Place, identifier: str, result) -> None:
    """There is one run with one model, whole, and it is the one that ``result`` tells of."""
    (run,) = runs(place, identifier)
    (model,) = models(place, run.info.run_id)
    message = told(result)
    assert run.info.status == "FINISHED"
    assert run.info.run_id == message.run_id == result.parameters["run_id"]
    assert model.ready
    assert model.location == message.artifact_uri
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    assert run.data.metrics["test_rmse"] == message.test_rmse
    assert len(run.inputs.dataset_inputs) == 1
    history = Tracking(place.tracking_uri)._client.get_metric_history(message.run_id, "validation_loss")
    assert [point.step for point in history] == [1, 2]


def test_a_run_shows_parameters_losses_scores_data_plots_scaler_and_report(place, identifier):
    result = place.train(identifier=identifier, epochs=3)
    (run,) = runs(place, identifier)
    tracking = Tracking(place.tracking_uri)
    client = tracking._client
    assert run.data.params["hidden_size"] == "4"
    assert {"model_type": "GRU", "config_hash": "c" * 64, "identifier": identifier}.items() <= run.data.tags.items()
    for loss in ("train_loss", "validation_loss"):
        assert [point.step for point in client.get_metric_history(run.info.run_id, loss)] == [1, 2, 3]
    reported = result.artifacts["metrics"].metadata
    assert {name: run.data.metrics[name] for name in reported} == pytest.approx(reported)
    files = {file.path for folder in ("", "plots", "scaler") for file in client.list_artifacts(run.info.run_id, folder)}
    assert files == {
        "metrics.json",
        "plots",
        "plots/forecast.html",
        "plots/loss.html",
        "preprocess_config.json",
        "selection.json",
        "report.html",
        "scaler",
        "scaler/scaler.json",
    }
    (dataset,) = (entry.dataset for entry in run.inputs.dataset_inputs)
    assert (dataset.name, json.loads(dataset.profile)) == ("processed_data", {"num_rows": 150})


def test_a_repeat_returns_the_finished_training(either, identifier):
    first = either.train(identifier=identifier)
    trained = []
    again = either.train(identifier=identifier, progress=trained.append)
    assert (first.cached, again.cached) == (False, True)
    for name in ("model", "metrics", "report"):
        assert again.artifacts[name] == first.artifacts[name]
    assert not any("epoch" in message for message in trained)
    assert_one_finished(either, identifier, again)


def test_another_seed_is_another_training(place, identifier):
    first, second = (place.train(identifier=identifier, seed=seed) for seed in (1, 2))
    assert not second.cached
    assert told(first).run_id != told(second).run_id


def test_the_bucket_of_trainings_is_a_parameter_and_no_part_of_the_fingerprint(place, identifier):
    first = place.train(identifier=identifier)
    second = place.train(identifier=identifier, promotion_bucket="our-promotions")
    assert told(first).run_id == told(second).run_id
    store = open_store(place.store_url)
    keys = [[info.key for info in store.list(name, f"{identifier}/")] for name in ("model-promotion", "our-promotions")]
    assert keys[0] == keys[1]
    assert len(keys[0]) == 1


MOMENTS = {
    "with a store": [
        {"die_after": "create_run"},
        {"die_at": "epoch 1"},
        {"die_at": "logging to MLflow"},
        {"die_after": "upload_model"},
        {"die_after": "log"},
        {"die_after": "log_folder"},
        {"die_at": "keep_model"},
        {"die_after": "keep_model"},
    ],
    "without a store": [
        {"die_after": "create_run"},
        {"die_after": "log_folder"},
        {"die_at": "keep_model"},
    ],
}


@pytest.mark.parametrize(
    ("either", "moment"),
    [(kind, moment) for kind, moments in MOMENTS.items() for moment in moments],
    ids=lambda value: value if isinstance(value, str) else "-".join(*value.items()).replace(" ", "_"),
    indirect=["either"],
)
def test_a_killed_training_is_taken_over(either, identifier, moment):
    process = either.start(identifier=identifier, **moment)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    begun = {run.info.run_id for run in runs(either, identifier)}
    result = either.train(identifier=identifier)
    assert {told(result).run_id} == begun
    assert_one_finished(either, identifier, result)


def test_processes_that_train_the_same_at_once_agree_on_one_run_and_model(place, identifier):
    barrier = SERVER.Barrier(2)
    processes = [place.start(identifier=identifier, barrier=barrier) for _ in range(2)]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0, place.failures.read_text()
    again = place.train(identifier=identifier)
    assert again.cached
    assert_one_finished(place, identifier, again)


def test_the_first_of_two_to_finish_wins_and_the_other_takes_its_result(place, identifier, monkeypatch):
    """The second begins, trains and ends while the first is about to write its finished message."""
    from flts.stages.publishing.run_lock import StoreLock

    write, others = StoreLock.write, []

    def late(record, message):
        if message.status == "SUCCESS" and not others:
            others.append(None)
            others[0] = place.train(identifier=identifier)
        return write(record, message)

    monkeypatch.setattr(StoreLock, "write", late)
    result = place.train(identifier=identifier)
    assert result.artifacts == others[0].artifacts
    assert_one_finished(place, identifier, result)


def test_a_training_that_fails_says_so_in_mlflow_and_can_be_repeated(place, identifier, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("flts.stages.training.stage.training_page", lambda report: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            place.train(identifier=identifier)
    (failed,) = runs(place, identifier)
    assert failed.info.status == "FAILED"
    assert_one_finished(place, identifier, place.train(identifier=identifier))


def test_a_model_that_was_deleted_in_mlflow_is_trained_again(either, identifier):
    first = told(either.train(identifier=identifier))
    tracking = Tracking(either.tracking_uri)
    (model,) = models(either, first.run_id)
    tracking.delete_model(model)
    again = either.train(identifier=identifier)
    assert not again.cached
    assert again.notes == ("an earlier training like this one is gone from MLflow: trained again",)
    assert told(again).run_id == first.run_id
    assert told(again).test_rmse == first.test_rmse


def test_a_deleted_database_is_made_again_and_the_model_trained_again(place, identifier, tmp_path):
    first = told(place.train(identifier=identifier))
    moved = replace(place, tracking_uri=f"sqlite:///{tmp_path}/new/mlflow.db")
    again = moved.train(identifier=identifier)
    assert told(again).run_id != first.run_id
    assert again.notes == ("an earlier training like this one is gone from MLflow: trained again",)
    assert_one_finished(moved, identifier, again)
    assert moved.train(identifier=identifier).cached


def test_the_claim_is_the_finished_message(place, identifier):
    result = place.train(identifier=identifier)
    store = open_store(place.store_url)
    (key,) = (found.key for found in store.list("model-promotion", f"{identifier}/trainings/"))
    assert store.get("model-promotion", key)[0].decode() == result.artifacts["model"].content
    (run,) = runs(place, identifier)
    assert key == f"{identifier}/trainings/{run.data.tags['flts.fingerprint']}.json"


def test_a_run_joins_the_run_of_the_pipeline(place, identifier, monkeypatch):
    tracking = Tracking(place.tracking_uri)
    experiment = tracking.experiment("pipeline")
    parent = tracking.create_run(experiment, "pipeline", {})
    monkeypatch.setenv("MLFLOW_RUN_ID", parent)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment)
    result = place.train(identifier=identifier)
    run = tracking._client.get_run(told(result).run_id)
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert run.info.experiment_id == experiment


@pytest.fixture
def lacking(place, request) -> tuple[str, str]:
    """A variable of KFP's MLflow plugin, and a value of it that this MLflow does not have."""
    tracking = Tracking(place.tracking_uri)
    client, (variable, kind) = tracking._client, request.param
    if kind != "deleted":
        return variable, kind
    experiment = tracking.experiment(f"deleted {variable}")
    if variable == "MLFLOW_EXPERIMENT_ID":
        client.delete_experiment(experiment)
        return variable, experiment
    run_id = tracking.create_run(experiment, "deleted", {})
    client.delete_run(run_id)
    return variable, run_id


@pytest.mark.parametrize(
    "lacking",
    [(variable, kind) for variable in ("MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID") for kind in ("77", "no-id", "deleted")],
    ids="-".join,
    indirect=True,
)
def test_an_experiment_or_a_run_of_the_pipeline_that_mlflow_lacks_is_a_sentence(
    place, identifier, lacking, monkeypatch
):
    variable, value = lacking
    monkeypatch.setenv(variable, value)
    steps = []
    with pytest.raises(BadInputError) as caught:
        place.train(identifier=identifier, progress=steps.append)
    kind = "run" if variable == "MLFLOW_RUN_ID" else "experiment"
    assert str(caught.value) == (
        f"environment variable {variable} names {kind} {value!r}, which MLflow at {place.tracking_uri} does not have, "
        "or which was deleted; where KFP sets it, mlflow_tracking_uri must be empty, so that the same MLflow is asked"
    )
    assert not any(step.startswith("epoch") for step in steps)
    assert not runs(place, identifier)


@pytest.mark.parametrize("known", ["model_uri", "artifact_uri too"])
def test_the_bundle_comes_back_byte_for_byte(place, identifier, tmp_path, known):
    message = told(place.train(identifier=identifier))
    if known == "model_uri":
        message = message.model_copy(update={"artifact_uri": ""})
    folder = download_bundle(place.tracking_uri, message, tmp_path / "here")
    assert bundle.load(folder).config.model_type == "GRU"
    logged = Path(told(place.train(identifier=identifier)).artifact_uri.removeprefix("file://")) / "artifacts/bundle"
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {p.name: p.read_bytes() for p in logged.iterdir()}


def test_a_message_without_digest_is_not_taken_at_its_word_where_the_model_lies(place, identifier, tmp_path):
    """Else it could hand out any bundle of this machine as the model of any run."""
    message = told(place.train(identifier=identifier))
    other = told(place.train(identifier=identifier, seed=7))
    older = message.model_copy(update={"artifact_uri": other.artifact_uri, "bundle_sha256": None})
    folder = download_bundle(place.tracking_uri, older, tmp_path / "here")
    assert bundle.load(folder).digest == message.bundle_sha256 != other.bundle_sha256


@pytest.mark.parametrize("wrong", ["more", "link"])
def test_a_bundle_in_mlflow_with_anything_else_is_not_copied(place, identifier, tmp_path, wrong):
    message = told(place.train(identifier=identifier, seed=8 + len(wrong)))
    logged = Path(message.artifact_uri.removeprefix("file://")) / "artifacts/bundle"
    if wrong == "more":
        (logged / "more.pkl").write_bytes(b"\x80\x05.")
    else:
        (logged / "config.json").unlink()
        (logged / "config.json").symlink_to("/etc/hostname")
    said = {"more": r"more\.pkl is not part of the model bundle", "link": r"config\.json is a link"}[wrong]
    for known in (message, message.model_copy(update={"artifact_uri": ""})):
        with pytest.raises(BadInputError, match=said):
            download_bundle(place.tracking_uri, known, tmp_path / "here")
    assert not list((tmp_path / "here" / "bundle").iterdir())


@pytest.mark.parametrize("run_id", ["' OR '1'='1", "%27", "../..", "a" * 300, "a b"])
def test_a_run_that_has_no_name_of_a_run_is_a_sentence(place, tmp_path, run_id):
    message = TrainedModel.model_construct(model_uri=f"runs:/{run_id}/GRU", artifact_uri="")
    with pytest.raises(BadInputError, match="is not an MLflow model: expected runs:/"):
        download_bundle(place.tracking_uri, message, tmp_path)


OUTSIDER = """
import json, sys
import mlflow, pandas
uri, history, model_uri = sys.argv[1:]
mlflow.set_tracking_uri(uri)
model = mlflow.pyfunc.load_model(model_uri)
forecast = model.predict(pandas.read_parquet(history), params={"inference_length": 3})
print(json.dumps({"run_id": model.metadata.run_id, "a": forecast["a"].tolist()}))
"""


def test_an_outsider_loads_the_logged_model_with_pyfunc(place, identifier, tmp_path):
    message = told(place.train(identifier=identifier))
    outsider = subprocess.run(
        [sys.executable, "-c", OUTSIDER, place.tracking_uri, place.training_data, message.model_uri],
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outsider.returncode == 0, outsider.stderr
    assert "WARNING" not in outsider.stderr  # nothing that the model requires is missing
    model = bundle.load(download_bundle(place.tracking_uri, message, tmp_path / "here")).forecaster
    data = read_processed(place.training_data)
    expected = forecast_steps(model, data, start=len(data), steps=3).values[:, 0]
    said = json.loads(outsider.stdout.splitlines()[-1])
    assert said == {"run_id": message.run_id, "a": pytest.approx(expected.tolist(), rel=1e-12)}


def test_a_pickled_model_is_refused(place, identifier, tmp_path):
    tracking = Tracking(place.tracking_uri)
    client = tracking._client
    run_id = tracking.create_run(tracking.experiment("flts"), "foreign", {})
    (tmp_path / "MLmodel").write_text("flavors: {python_function: {python_model: python_model.pkl}}\n")
    (tmp_path / "python_model.pkl").write_bytes(b"\x80\x05.")
    foreign = client.create_logged_model(tracking.experiment("flts"), name="GRU", source_run_id=run_id)
    client.log_model_artifacts(foreign.model_id, str(tmp_path))
    tracking.keep_model(run_id, "GRU", foreign.artifact_location)
    message = told(place.train(identifier=identifier)).model_copy(
        update={"model_uri": f"runs:/{run_id}/GRU", "artifact_uri": ""}
    )
    with pytest.raises(BadInputError, match="has no artifacts/bundle: only models that FLTS logged have one"):
        download_bundle(place.tracking_uri, message, tmp_path / "here")


@pytest.mark.parametrize("model_uri", ["runs:/0123456789abcdef0123456789abcdef/GRU", "models:/GRU/1", "bundle"])
def test_a_model_that_is_not_there_is_named(place, identifier, tmp_path, model_uri):
    message = told(place.train(identifier=identifier)).model_copy(update={"model_uri": model_uri, "artifact_uri": ""})
    with pytest.raises(BadInputError, match=model_uri):
        download_bundle(place.tracking_uri, message, tmp_path)


def test_processes_that_prepare_at_once_make_one_database_and_experiment(tmp_path):
    uri = f"sqlite:///{tmp_path}/new/mlflow.db"
    processes = [SERVER.Process(target=prepare, args=(uri, "flts")) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    found = [one for one in Tracking(uri)._client.search_experiments() if one.name == "flts"]
    assert [one.artifact_location for one in found] == [f"file://{tmp_path}/new/mlartifacts"]
