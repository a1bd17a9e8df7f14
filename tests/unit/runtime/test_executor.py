"""KFP's executor input to parameters and paths, and results to the files KFP reads."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kfp.pipeline_spec import pipeline_spec_pb2

from flts.errors import BadInputError
from flts.runtime.executor import local_path, read_executor_input, write_executor_output
from flts.stage_interface import Artifact, Result
from flts.stages import PREPROCESS, STAGES

TRAIN_GRU = STAGES["train-gru"]

REQUIRED = {"config_hash": "ab", "config_json": "{}", "identifier": "run-001"}


def artifact(path: Path | str, **fields: Any) -> dict[str, Any]:
    return {"artifacts": [{"name": "any", "uri": str(path), **fields}]}


def executor_input(folder: Path, **parameters: Any) -> dict[str, Any]:
    data = folder / "training_data"
    data.write_text("{}")
    return {
        "inputs": {
            "parameterValues": REQUIRED | parameters,
            "artifacts": {"training_data": artifact(data, metadata={"row_count": 50.0})},
        },
        "outputs": {
            "artifacts": {name: artifact(folder / "deep" / name) for name in ("model", "metrics", "report")},
            "parameters": {"run_id": {"outputFile": str(folder / "params" / "run_id")}},
            "outputFile": str(folder / "meta" / "executor_output.json"),
        },
    }


def read(document: dict[str, Any]) -> Any:
    return read_executor_input(TRAIN_GRU, json.dumps(document))


def sentence(document: dict[str, Any] | str) -> str:
    with pytest.raises(BadInputError) as caught:
        read_executor_input(TRAIN_GRU, document if isinstance(document, str) else json.dumps(document))
    assert "\n" not in str(caught.value)
    return str(caught.value)


RESULT = Result(
    artifacts={
        "model": Artifact('{"v":1}\n', {"test_rmse": 0.5, "rows": 3, "run_id": "r1"}),
        "metrics": Artifact("{}\n", {"composite_score": 0.25}),
        "report": Artifact("<!doctype html>ü"),
    },
    parameters={"run_id": "r1"},
    message="Trained.",
)


@pytest.mark.parametrize(
    ("given", "name", "expected"),
    [
        (10, "epochs", 10),
        (10.0, "epochs", 10),
        ("10", "epochs", 10),
        (True, "refit", True),
        ("true", "refit", True),
        ("False", "refit", False),
        (1e-4, "learning_rate", 1e-4),
        ("0.001", "learning_rate", 1e-3),
        (1, "learning_rate", 1.0),
    ],
)
def test_parameters_are_read_however_a_backend_spells_them(tmp_path, given, name, expected):
    value = getattr(read(executor_input(tmp_path, **{name: given})).params, name)
    assert value == expected
    assert type(value) is type(expected)


def test_missing_and_null_parameters_have_the_models_defaults(tmp_path):
    params = read(executor_input(tmp_path, epochs=None)).params
    assert (params.epochs, params.hidden_size, params.experiment_name) == (10, 128, "flts")


def test_parts_of_a_composed_argument_are_not_parameters(tmp_path):
    assert read(executor_input(tmp_path, **{"pipelinechannel--name": "x"})).params.identifier == "run-001"


def read_first(folder: Path, **later: Any) -> Any:
    document = executor_input(folder)
    document["outputs"]["artifacts"] = {}
    document["outputs"]["parameters"] = {}
    document["inputs"] = {"parameterValues": {"dataset_name": "a", "identifier": "run-001"}}
    document["inputs"]["parameterValues"] |= {f"pipelinechannel--check--{name}": value for name, value in later.items()}
    return read_executor_input(PREPROCESS, json.dumps(document))


@pytest.mark.parametrize(
    ("later", "said"),
    [
        ({"gate": "bogus"}, "parameter gate of eval must be none, baseline, champion or both, got bogus"),
        ({"epochs": 2.5}, "parameter epochs of train-gru must be a whole number, got 2.5"),
        ({"n_changepoints": "many"}, "parameter n_changepoints of train-prophet must be a whole number, got many"),
        ({"sample_idx": -1}, "parameter sample_idx of inference must be at least 0, got -1"),
        ({"seed": -1, "gate": "bogus"}, "parameter seed of train-gru must be at least 0, got -1"),
    ],
)
def test_parameters_of_later_stages_are_checked_where_the_pipeline_hands_them_over(later, said, tmp_path):
    with pytest.raises(BadInputError) as caught:
        read_first(tmp_path, **later)
    assert str(caught.value) == said


def test_right_parameters_of_later_stages_change_nothing(tmp_path):
    later = {"gate": "both", "epochs": 3.0, "experiment_name": '"', "refit": "false", "min_gain": 0, "seed": None}
    assert read_first(tmp_path, **later, no_stage_has_it="x") == read_first(tmp_path)


def test_what_kfp_takes_a_pods_resources_and_image_from_is_no_parameter(tmp_path):
    added = {
        name: f"{{{{$.inputs.parameters['pipelinechannel--{name}']}}}}"
        for name in ("cpu_request", "cpu_limit", "memory_request", "memory_limit", "base_image")
    }
    added |= {"accelerator_type": "nvidia.com/gpu", "accelerator_count": "1"}

    assert read(executor_input(tmp_path, **added)).params.identifier == "run-001"


def test_input_artifacts_come_with_uri_and_metadata(tmp_path):
    given = read(executor_input(tmp_path)).inputs["training_data"]
    assert (given.path, given.uri, given.metadata) == (
        tmp_path / "training_data",
        str(tmp_path / "training_data"),
        {"row_count": 50.0},
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"uri": "s3://kfp-artifacts/a/model"}, "/s3/kfp-artifacts/a/model"),
        ({"uri": "gs://b/a"}, "/gcs/b/a"),
        ({"uri": "minio://b/a"}, "/minio/b/a"),
        ({"uri": "/data/a b"}, "/data/a b"),
        ({"uri": "file:///data/a%20b"}, "/data/a b"),
        ({"uri": "s3://b/a", "customPath": "/mnt/a"}, "/mnt/a"),
        ({"uri": "s3://b/a", "customPath": ""}, "/s3/b/a"),
    ],
)
def test_local_path_follows_the_launchers_rule(fields, expected):
    assert local_path(fields, "artifact") == Path(expected)


def test_outputs_are_what_kfp_reads(tmp_path):
    document = executor_input(tmp_path)
    write_executor_output(read(document), RESULT)
    written = (tmp_path / "meta" / "executor_output.json").read_text()
    json_format.Parse(written, pipeline_spec_pb2.ExecutorOutput())
    model = {"name": "model", "uri": str(tmp_path / "deep" / "model"), "metadata": RESULT.artifacts["model"].metadata}
    assert json.loads(written)["artifacts"]["model"] == {"artifacts": [model]}
    assert json.loads(written)["parameterValues"] == {"run_id": "r1"}
    assert (tmp_path / "params" / "run_id").read_text() == "r1"
    assert (tmp_path / "deep" / "model").read_text() == '{"v":1}\n'
    assert (tmp_path / "deep" / "report").read_text(encoding="utf-8") == "<!doctype html>ü"


def test_small_numbers_are_also_text_with_all_digits_but_for_metrics(tmp_path):
    document = executor_input(tmp_path)
    document["outputs"]["artifacts"]["scores"] = artifact(tmp_path / "scores")
    numbers = {"test_mse": 0.00022653417, "tiny": -4e-7, "zero": 0.0, "enough": 0.01, "rows": 0, "test_rmse": 0.5}
    artifacts = RESULT.artifacts | {"metrics": Artifact("{}\n", numbers), "scores": Artifact("{}\n", numbers)}
    write_executor_output(read(document), Result(artifacts, "Trained.", RESULT.parameters))
    written = json.loads((tmp_path / "meta" / "executor_output.json").read_text())["artifacts"]
    texts = {"test_mse_text": "0.00022653417", "tiny_text": "-4e-07"}
    assert written["metrics"]["artifacts"][0]["metadata"] == numbers | texts
    assert written["scores"]["artifacts"][0]["metadata"] == numbers


def test_an_output_uri_is_handed_back_unchanged_where_the_file_lies_elsewhere(tmp_path):
    document = executor_input(tmp_path)
    custom = str(tmp_path / "custom" / "model")
    document["outputs"]["artifacts"]["model"] = artifact("s3://kfp-artifacts/x/model", customPath=custom)
    write_executor_output(read(document), RESULT)
    written = json.loads((tmp_path / "meta" / "executor_output.json").read_text())
    assert written["artifacts"]["model"]["artifacts"][0]["uri"] == "s3://kfp-artifacts/x/model"
    assert Path(custom).read_text() == '{"v":1}\n'


def test_an_older_component_that_asks_for_fewer_outputs_gets_those(tmp_path):
    document = executor_input(tmp_path)
    del document["outputs"]["artifacts"]["report"]
    write_executor_output(read(document), RESULT)
    assert set(json.loads((tmp_path / "meta" / "executor_output.json").read_text())["artifacts"]) == {
        "model",
        "metrics",
    }


def test_no_output_file_is_written_when_an_artifact_cannot_be(tmp_path):
    document = executor_input(tmp_path)
    (tmp_path / "deep" / "report").mkdir(parents=True)
    with pytest.raises(BadInputError, match="report cannot be written: is a directory"):
        write_executor_output(read(document), RESULT)
    assert not (tmp_path / "meta").exists()
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["metrics", "model", "report"]


def test_a_second_write_replaces_the_first_and_leaves_no_temporary_files(tmp_path):
    task = read(executor_input(tmp_path))
    write_executor_output(task, RESULT)
    first = sorted(path for path in tmp_path.rglob("*"))
    write_executor_output(task, RESULT)
    assert sorted(path for path in tmp_path.rglob("*")) == first
    assert not [path for path in first if path.name.startswith(".")]


def test_what_does_not_fit_is_one_sentence(tmp_path):
    document = executor_input(tmp_path)
    assert sentence('{"a"\n:,') == ("--executor-input is not JSON: unexpected text at line 2, column 2")
    assert sentence("[" * 100_000) == "--executor-input is not JSON that can be read: it is nested too deeply"
    assert sentence("9" * 5000) == "--executor-input is not JSON that can be read: a number in it is too long"
    assert sentence("[]") == "--executor-input: the document must be a JSON object"
    assert sentence(executor_input(tmp_path, epochs=0)) == "parameter epochs must be at least 1, got 0"
    assert sentence(executor_input(tmp_path, epochs=1.5)) == "parameter epochs must be a whole number, got 1.5"
    assert sentence(executor_input(tmp_path, epoch=3)) == (
        "parameter epoch is not a parameter of this stage; did you mean epochs?"
    )
    assert sentence(executor_input(tmp_path, identifier=None)) == "parameter identifier is required: name of this run"
    assert sentence(document | {"inputs": {"parameterValues": REQUIRED}}) == (
        "input artifact training_data is missing: training data of preprocess: claim check, Parquet or CSV"
    )
    document["inputs"]["artifacts"] = {"training_data": artifact("s3://b/nothing/here")}
    assert sentence(document) == "input artifact training_data: /s3/b/nothing/here does not exist"
    document["inputs"]["artifacts"] = {"training_data": artifact("oci://b/image")}
    assert sentence(document) == (
        "--executor-input gives input artifact training_data the address oci://b/image, "
        "which has no path on this machine"
    )
    document["inputs"]["artifacts"] = {"trainingdata": artifact("/a")}
    assert sentence(document) == (
        "input artifact 'trainingdata' is not an input of flts-train-gru; did you mean training_data?"
    )


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["\0", "\ud800", "/"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def places(document: Any) -> list[tuple[Any, Any]]:
    """Every value inside a document, as the container that holds it and its key there."""
    found = []
    for key in list(document) if isinstance(document, dict) else range(len(document)):
        found.append((document, key))
        if isinstance(document[key], dict | list):
            found += places(document[key])
    return found


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_stands_anywhere_in_the_document_is_read_or_refused_in_one_sentence(data, tmp_path):
    document = executor_input(tmp_path, epochs=3, learning_rate=0.1, refit=True)
    holder, key = data.draw(st.sampled_from(places(document)))
    holder[key] = data.draw(JSON)
    with suppress(BadInputError):
        read(document)


@given(JSON)
def test_any_json_is_read_or_refused_in_one_sentence(document):
    with pytest.raises(BadInputError):
        read_executor_input(TRAIN_GRU, json.dumps(document))


@pytest.mark.parametrize("path", ["a\0b", "\ud800", "", 3, None, ["/a"]])
def test_outputs_that_no_file_can_be_are_refused_before_the_stage_runs(path, tmp_path):
    for place in ("artifact", "parameter"):
        document = executor_input(tmp_path)
        if place == "artifact":
            document["outputs"]["artifacts"]["model"] = {"artifacts": [{"uri": path}]}
        else:
            document["outputs"]["parameters"]["run_id"] = {"outputFile": path}
        assert "model" in (said := sentence(document)) or "run_id" in said


@pytest.mark.parametrize(
    "fields",
    [
        {"artifacts": [{"name": "executor-logs", "uri": "s3://kfp-artifacts/a/executor-logs-0"}]},
        {"artifacts": [{"uri": "oci://no/path/on/this/machine"}]},
        {"artifacts": [{"uri": "mlflow://x"}, {"uri": 3}]},
        {},
        None,
        "whatever",
    ],
)
def test_outputs_that_kfp_adds_are_left_alone_whatever_they_are(fields, tmp_path):
    document = executor_input(tmp_path)
    document["outputs"]["artifacts"]["executor-logs"] = fields
    document["outputs"]["parameters"]["kfp-cost"] = fields
    task = read(document)
    assert task.ignored_outputs == ("kfp-cost", "executor-logs")
    write_executor_output(task, RESULT)
    written = json.loads((tmp_path / "meta" / "executor_output.json").read_text())
    assert written["artifacts"].keys() == {"model", "metrics", "report"}
    assert written["parameterValues"].keys() == {"run_id"}
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"model", "metrics", "report"}
    assert {path.name for path in (tmp_path / "params").iterdir()} == {"run_id"}


@pytest.mark.parametrize(
    ("kind", "name", "hint"),
    [
        ("artifacts", "modell", "model"),
        ("artifacts", "modl", "model"),
        ("artifacts", "mdoel", "model"),
        ("artifacts", "Model", "model"),
        ("artifacts", "odel", "model"),
        ("artifacts", "reports", "report"),
        ("artifacts", "run_id", "run_id among outputs.parameters"),
        ("parameters", "run_idd", "run_id"),
        ("parameters", "run-id", "run_id"),
        ("parameters", "metrics", "metrics among outputs.artifacts"),
    ],
)
def test_an_output_one_letter_off_is_refused_before_the_stage_runs(kind, name, hint, tmp_path):
    document = executor_input(tmp_path)
    document["outputs"][kind][name] = artifact("/a") if kind == "artifacts" else {"outputFile": "/a"}
    assert sentence(document) == (
        f"--executor-input asks for {name!r} among outputs.{kind}, which flts-train-gru does not make; "
        f"did you mean {hint}?"
    )


@pytest.mark.parametrize("name", ["executor-logs", "logs", "modelcard", "m", "", "mo", "run_time", "trepor"])
def test_a_name_two_letters_off_is_none_of_the_stages(name, tmp_path):
    document = executor_input(tmp_path)
    document["outputs"]["artifacts"][name] = artifact("/a")
    assert read(document).ignored_outputs == (name,)


def test_inputs_that_only_the_command_line_has_are_not_kfp_inputs(tmp_path):
    document = {"inputs": {"parameterValues": {"dataset_name": "a", "identifier": "b"}}}
    document["inputs"]["artifacts"] = {"input": artifact(tmp_path)}
    with pytest.raises(BadInputError, match="input artifact 'input' is not an input of flts-preprocess"):
        read_executor_input(PREPROCESS, json.dumps(document))
