"""Clients of the field work unchanged: MLflow's own, SageMaker's probes, tables as CSV, the Open Inference Protocol."""

import json
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import httpx
import pandas as pd
import pytest

import flts
from tests.support.serving import IDENTIFIER, Place, Server, history, make_place, serving

CLOSE = {"rel": 1e-5, "abs": 1e-5}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    made = make_place(tmp_path_factory.mktemp("place") / "of")
    made.promote("GRU")
    return made


@pytest.fixture(scope="module")
def server(place: Place) -> Iterator[Server]:
    with serving(place.url, "--identifier", IDENTIFIER) as running:
        running.wait_until_ready()
        yield running


@pytest.fixture
def table() -> pd.DataFrame:
    frame = pd.DataFrame(history(300))
    frame["time"] = pd.to_datetime(frame["time"])
    return frame


def expected(place: Place, table: pd.DataFrame, steps: int) -> pd.DataFrame:
    return flts.load_model(place.folder / "models" / "GRU").forecast(table, steps)


def assert_alike(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    assert list(found.columns) == list(wanted.columns)
    assert pd.to_datetime(found["time"]).tolist() == wanted["time"].tolist()
    for name in wanted.columns.drop("time"):
        assert found[name].tolist() == pytest.approx(wanted[name].tolist(), **CLOSE)


def test_mlflows_own_client_gets_what_the_pyfunc_model_gives(place: Place, server: Server, table: pd.DataFrame):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's, of its own type hints
        from mlflow.pyfunc.scoring_server.client import ScoringServerClient
    port = int(server.url.rpartition(":")[2])
    client = ScoringServerClient("127.0.0.1", port)
    client.wait_server_ready(timeout=10)
    assert client.get_version() == version("mlflow")
    found = client.invoke(table, params={"inference_length": 5}).get_predictions()
    assert_alike(found, expected(place, table, 5))
    assert len(client.invoke(table).get_predictions()) == 10


@pytest.mark.parametrize("shape", ["records", "csv", "split with text"])
def test_tables_come_in_every_shape(place: Place, server: Server, table: pd.DataFrame, shape: str):
    query = {"params": {"inference_length": 4}}
    if shape == "csv":
        text = table.to_csv(index=False)
        headers = {"Content-Type": "text/csv; charset=utf-8"}
        address = f"{server.url}/invocations?inference_length=4"
        answer = httpx.post(address, content=text, headers=headers, timeout=30)
    else:
        written = table.assign(time=table["time"].astype(str))
        body = {"dataframe_records": written.to_dict("records")}
        if shape == "split with text":
            body = {"dataframe_split": written.assign(note="text").to_dict("split")}
        answer = httpx.post(f"{server.url}/invocations", json=body | query, timeout=30)
    assert answer.status_code == 200, answer.text
    assert_alike(pd.DataFrame(answer.json()["predictions"]), expected(place, table, 4))


JSON, CSV = "application/json", "text/csv"


@pytest.mark.parametrize(
    ("content_type", "body", "status", "sentence"),
    [
        (JSON, "{}", 400, "the body must have exactly one of the fields dataframe_split and dataframe_records"),
        (
            JSON,
            json.dumps({"dataframe_records": [], "dataframe_split": {}}),
            400,
            "must have exactly one of the fields",
        ),
        (JSON, json.dumps({"dataframe_split": [1]}), 400, "must have the fields columns and data"),
        (
            JSON,
            json.dumps({"dataframe_split": {"columns": ["time"], "data": [[1, 2]]}}),
            400,
            "row 0 of dataframe_split",
        ),
        (JSON, json.dumps({"dataframe_split": {"columns": [1], "data": []}}), 400, "must be strings"),
        (JSON, json.dumps({"dataframe_records": [1]}), 400, "must be a list of JSON objects"),
        (JSON, json.dumps({"dataframe_records": [{"time": "2024-01-01"}]}), 400, "no column 'down', 'up'"),
        (JSON, json.dumps({"dataframe_records": [], "params": [1]}), 400, "params must be a JSON object"),
        (
            JSON,
            json.dumps({"dataframe_records": [], "params": {"inference_length": 0}}),
            400,
            "inference_length must be",
        ),
        (JSON, json.dumps({"inputs": [[1.0]]}), 400, "must have exactly one of the fields"),
        (CSV, "", 400, "the body is not CSV"),
        (CSV, "time,down,up\n2024-01-01,1", 400, "the body is not CSV"),
        (CSV, "time,down\n2024-01-01,1\n", 400, "no column 'up'"),
        (
            CSV,
            "time,down,up\n" + "soon,1,2\n" * 12,
            400,
            "row 0 of the history has no timestamp in column 'time': 'soon'",
        ),
        (
            CSV,
            "time,down,up\n" + "2024-01-01,,2\n" * 12,
            400,
            "row 0 of the history has no number in column 'down': None",
        ),
        (CSV, "time,down,up\n" + "1,1,2\n" * 12, 400, "row 0 of the history has no timestamp in column 'time': '1'"),
        ("application/x-parquet", "PAR1", 415, "Content-Type must be application/json or text/csv"),
        ("", "{}", 415, "Content-Type must be application/json or text/csv"),
    ],
)
def test_what_is_wrong_with_a_table_is_told(server: Server, content_type: str, body: str, status: int, sentence: str):
    answer = httpx.post(f"{server.url}/invocations", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == status
    assert sentence in answer.json()["detail"]


@pytest.mark.parametrize(
    "path", ["/ping", "/v2/health/live", "/v2/health/ready", "/healthz", "/ready", "/predict_ping"]
)
def test_probes_of_every_kind_are_answered(server: Server, path: str):
    assert httpx.get(f"{server.url}{path}").status_code == 200


def test_the_openapi_document_has_examples_that_work(server: Server):
    document: dict[str, Any] = httpx.get(f"{server.url}/openapi.json").json()
    examples = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    assert httpx.post(f"{server.url}/predict", json=examples["stored data"]["value"]).status_code == 200
    statuses = document["paths"]["/predict"]["post"]["responses"]
    assert {"200", "400", "413", "429", "503", "504"} <= set(statuses)
