"""Live forecasts as clients meet them: sentences for what is wrong, limits, what the server tells, SIGTERM."""

import asyncio
import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pandas as pd
import pytest

from flts.datafiles.processed_parquet import read_processed
from tests.support.commands import BIN, seconds_computed_by_children
from tests.support.serving import IDENTIFIER, Place, Server, history, make_place, serving
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    made = make_place(tmp_path_factory.mktemp("place") / "of")
    made.promote("GRU")
    return made


@pytest.fixture(scope="module")
def server(place: Place) -> Iterator[Server]:
    with serving(place.url, "--identifier", IDENTIFIER, "--max-body-mib", "1") as running:
        running.wait_until_ready()
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as opened:
        yield opened


def test_the_same_request_gives_the_same_answer_and_the_query_wins_over_the_body(client: httpx.Client):
    first, again = (client.post("/predict", json={"inference_length": 3, "data": history()}).content for _ in range(2))
    assert first == again
    assert len(client.post("/predict", json={}).json()["predictions"]) == 10
    assert len(client.post("/predict").json()["predictions"]) == 10
    asked = client.post("/predict", params={"inference_length": 2}, json={"inference_length": 5})
    assert len(asked.json()["predictions"]) == 2


def test_times_with_offsets_are_utc(client: httpx.Client):
    columns = history(300)
    plain = client.post("/predict", json={"inference_length": 2, "data": columns}).json()
    spaced = [text.replace("T", " ") for text in columns["time"]]
    zulu = [f"{text}Z" for text in columns["time"]]
    mixed = [f"{text}+00:00" if row % 2 else text for row, text in enumerate(columns["time"])]
    east = [pd.Timestamp(text, tz="UTC").tz_convert("Europe/Madrid").isoformat() for text in columns["time"]]
    for times in (spaced, zulu, mixed, east):
        assert client.post("/predict", json={"inference_length": 2, "data": columns | {"time": times}}).json() == plain


def changed(**columns: Any) -> dict[str, Any]:
    return {"data": {**history(20), **columns}}


NAN = float("nan")


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"inference_length": 0}, "inference_length must be a whole number from 1 to 10000, got 0"),
        ({"inference_length": 10001}, "from 1 to 10000, got 10001"),
        ({"inference_length": 2.5}, "whole number from 1 to 10000, got 2.5"),
        ({"inference_length": True}, "whole number from 1 to 10000, got True"),
        ({"inference_length": "3"}, "whole number from 1 to 10000, got '3'"),
        ({"steps": 3}, "unknown field 'steps'; the fields are inference_length, data, index_col"),
        ({"data": [1, 2]}, "data must be a JSON object of columns, each a list of values"),
        ({"data": {"time": "2024"}}, "data must be a JSON object of columns"),
        ({"data": {}}, "no column 'time', 'down', 'up'"),
        ({"data": {}, "index_col": "at"}, "no column 'at', 'down', 'up'"),
        ({"data": {}, "index_col": 3}, "index_col must be the name of the column with timestamps, got 3"),
        ({"data": {"time": [], "down": [], "up": []}}, "the history has 0 rows; the model needs 10"),
        ({"data": {key: values[:9] for key, values in history(20).items()}}, "has 9 rows; the model needs 10"),
        (changed(down=[1.0] * 19), "column 'down' has 19 values and 'time' has 20: both must have the same number"),
        (changed(down=[1.0] * 12 + [None] * 8), "row 12 of the history has no number in column 'down': None"),
        (changed(down=["1.0"] * 20), "row 0 of the history has no number in column 'down': '1.0'"),
        (changed(down=[[1.0]] * 20), "row 0 of the history has no number in column 'down'"),
        (changed(down=[True] * 20), "row 0 of the history has no number in column 'down': True"),
        (
            changed(time=["2024-01-01"] * 19 + ["soon"]),
            "row 19 of the history has no timestamp in column 'time': 'soon'",
        ),
        (changed(time=[5] * 20), "row 0 of the history has no timestamp in column 'time': 5"),
        (changed(time=history(20)["time"][:1] * 20), "row 1 of the history is not later than the row before it"),
        (changed(time=history(20)["time"][::-1]), "row 1 of the history is not later than the row before it"),
        (changed(time=["1066-10-14T09:00"] * 20), "in the years 1678 to 2261"),
    ],
)
def test_what_is_wrong_with_a_request_is_told_in_a_sentence(client: httpx.Client, document: Any, sentence: str):
    answer = client.post("/predict", json=document)
    assert answer.status_code == 400
    assert sentence in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{", "the body is not a JSON object: JSON is expected"),
        (b"[]", "the body is not a JSON object: a JSON object is expected"),
        (b"\xff", "JSON is expected"),
        (b'{"inference_length": 1' + b"0" * 400 + b"}", "inference_length must be a whole number"),
        (b"[" * 3000, "not nested deeply"),
        (json.dumps(changed(down=[1.0] * 19 + [NAN])).encode(), "row 19 of the history has no number in column 'down'"),
        (
            json.dumps(changed(up=[float("inf")] * 20)).encode(),
            "row 0 of the history has no number in column 'up': inf",
        ),
        (json.dumps(changed(up=[10**400] * 20)).encode(), "row 0 of the history has no number in column 'up'"),
    ],
)
def test_bodies_that_are_no_such_document_are_told_too(client: httpx.Client, body: bytes, sentence: str):
    answer = client.post("/predict", content=body)
    assert answer.status_code == 400
    assert sentence in answer.json()["detail"]


def test_a_query_out_of_bounds_and_unknown_paths_and_methods_are_told(client: httpx.Client):
    answer = client.post("/predict", params={"inference_length": "many"})
    assert (answer.status_code, "inference_length" in answer.json()["detail"]) == (400, True)
    assert client.get("/predict").status_code == 405
    assert client.get("/nothing").json() == {"detail": "there is no GET /nothing"}


def test_a_body_past_the_limit_is_refused_whether_its_length_is_announced_or_not(client: httpx.Client):
    body = b" " * (1 << 20) + b"{}"
    assert client.post("/predict", content=body).status_code == 413
    pieces = (body[start : start + 65536] for start in range(0, len(body), 65536))
    refused = client.post("/predict", content=pieces)
    assert (refused.status_code, refused.json()["detail"]) == (413, "the request body may be at most 1 MiB")
    assert client.post("/predict", content=b" " * 1000 + b"{}").status_code == 200


def test_metrics_and_log_lines_name_the_model(place: Place, server: Server, client: httpx.Client):
    served = client.get("/model").json()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    asked = client.post(
        "/predict", json={"inference_length": 3}, headers={"X-Request-ID": "mine", "traceparent": trace}
    )
    client.post("/predict", json={"inference_length": 0})
    assert asked.headers["x-request-id"] == "mine"
    text = client.get("/metrics").text
    labels = re.findall(r'(\w+)="([^"]*)"', re.findall(r"^flts_model_info{(.*)} 1.0", text, re.MULTILINE)[0])
    assert dict(labels) == {name: served[name] for name in ("identifier", "model_type", "run_id", "config_hash")}
    for sample in (
        "flts_model_loaded 1.0",
        "flts_model_reload_failures_total 0.0",
        "flts_forecast_queue_length 0.0",
        'flts_forecasts_refused_total{reason="full"} 0.0',
    ):
        assert sample in text
    for name in ("batch_size_count", "steps_total", "seconds_count"):
        assert float(re.findall(rf"^flts_forecast_{name} (\S+)", text, re.MULTILINE)[0]) > 0
    assert float(re.findall(r'flts_forecasts_refused_total{reason="bad_request"} (\S+)', text)[0]) > 0
    assert 0 < float(re.findall(r"^flts_model_age_seconds (\S+)", text, re.MULTILINE)[0]) < 3600
    assert 'flts_http_requests_total{method="POST",route="/predict",service="inference",status="200"}' in text
    (line,) = wait_until(lambda: [line for line in server.events() if line["request_id"] == "mine"])
    assert (line["run_id"], line["config_hash"], line["identifier"]) == (
        served["run_id"],
        served["config_hash"],
        IDENTIFIER,
    )
    assert line["trace_id"] == "0af7651916cd43dd8448eb211c80319c"


def test_the_model_is_described_with_recent_values_and_promotions(place: Place, client: httpx.Client):
    wait_until(lambda: client.get("/model").json()["promotions"])  # they come a moment after the model
    served = client.get("/model").json()
    data = read_processed(place.data())
    assert (served["dataset_name"], served["targets"], served["columns"]) == ("station", ["down"], ["down", "up"])
    assert (served["sampling_seconds"], served["rows_needed"], served["interval_level"]) == (600.0, 10, 0.9)
    assert served["recent"]["columns"]["down"] == data.actual["down"].tolist()
    assert served["recent"]["ts"][0] == f"{data.frame.time[0].item().isoformat()}Z"
    assert served["scores"]["rmse"] == 0.1
    (promoted,) = served["promotions"]
    assert (promoted["run_id"], promoted["operation"], promoted["current"]) == (served["run_id"], "Promotion", True)
    assert served["problem"] is None


def test_a_short_forecast_does_not_wait_for_a_long_one(server: Server):
    async def ask() -> None:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as many:
            long = asyncio.create_task(many.post("/predict", json={"inference_length": 4000}))
            while "flts_forecast_queue_length 1.0" not in (await many.get("/metrics")).text:
                assert not long.done()
            assert (await many.post("/predict", json={"inference_length": 1})).status_code == 200
            assert not long.done()
            assert (await long).status_code in (200, 504)  # on a busy machine it is past the deadline

    asyncio.run(ask())


def test_a_long_forecast_is_left_when_its_client_goes_away(server: Server, client: httpx.Client):
    def metric(name: str) -> float:
        return float(re.findall(rf"^{re.escape(name)} (\S+)", client.get("/metrics").text, re.MULTILINE)[0])

    address = urlsplit(server.url)
    with socket.create_connection((str(address.hostname), address.port or 80)) as connection:
        connection.sendall(b"POST /predict?inference_length=10000 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}")
        wait_until(lambda: metric("flts_forecast_queue_length") == 1)
    steps = metric("flts_forecast_steps_total")
    wait_until(lambda: metric("flts_forecast_queue_length") == 0)
    assert metric("flts_forecast_steps_total") - steps < 5000
    assert metric('flts_forecasts_refused_total{reason="gone"}') == 1
    wait_until(lambda: any(line["status"] == 499 for line in server.events()))


def test_past_the_queue_one_comes_again_and_past_the_deadline_it_is_told(place: Place):
    options = ("--identifier", IDENTIFIER, "--queue-length", "2", "--deadline-seconds", "0.5")
    with serving(place.url, *options) as running:
        running.wait_until_ready()

        async def ask() -> list[httpx.Response]:
            async with httpx.AsyncClient(base_url=running.url, timeout=60) as many:
                return await asyncio.gather(
                    *(many.post("/predict", json={"inference_length": 10_000}) for _ in range(6))
                )

        answers = asyncio.run(ask())
        assert sorted(answer.status_code for answer in answers) == [429] * 4 + [504] * 2
        full = next(answer for answer in answers if answer.status_code == 429)
        assert full.headers["retry-after"] == "1"
        assert "2 forecasts are already pending" in full.json()["detail"]
        late = next(answer for answer in answers if answer.status_code == 504)
        assert late.json()["detail"] == "the forecast took longer than 0.5 seconds"
        assert httpx.post(f"{running.url}/predict", json={"inference_length": 1}).status_code == 200
        text = httpx.get(f"{running.url}/metrics").text
        assert 'flts_forecasts_refused_total{reason="full"} 4.0' in text
        assert 'flts_forecasts_refused_total{reason="deadline"} 2.0' in text


def test_sigterm_lets_what_runs_finish_and_ends_with_0(place: Place):
    with serving(place.url, "--identifier", IDENTIFIER) as running:
        running.wait_until_ready()

        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(base_url=running.url, timeout=240) as one:
                asked = asyncio.create_task(one.post("/predict", json={"inference_length": 200}))
                while "flts_forecast_queue_length 1.0" not in (await one.get("/metrics")).text:
                    assert not asked.done()
                running.process.send_signal(signal.SIGTERM)
                return await asked

        assert len(asyncio.run(ask()).json()["predictions"]) == 200
        assert running.process.wait(timeout=120) == 0
        assert "Traceback" not in "".join(running.lines)


FOLLOWS_ALL = (
    "no identifier is set, so this server serves the latest promotion of any identifier; set IDENTIFIER to follow one"
)


def test_without_an_identifier_it_says_that_it_follows_every_promotion(place: Place):
    with serving(place.url) as running:
        assert running.wait_until_ready()["notice"] == FOLLOWS_ALL
        assert httpx.get(f"{running.url}/model").json()["notice"] == FOLLOWS_ALL
    (line,) = running.events("following")
    assert (line["level"], line["message"]) == ("warning", FOLLOWS_ALL)


@pytest.mark.parametrize("by", ["flag", "variable"])
def test_with_an_identifier_it_serves_no_promotion_of_others(place: Place, by: str):
    options, environ = (("--identifier", "production"), {}) if by == "flag" else ((), {"IDENTIFIER": "production"})
    with serving(place.url, *options, environ=environ) as running:
        answer = httpx.post(f"{running.url}/reload_latest", timeout=30)
        assert answer.status_code == 503
        assert "no model is promoted for identifier production" in answer.json()["detail"]
    (line,) = running.events("following")
    assert (line["level"], line["identifier"]) == ("info", "production")


def test_of_an_identifier_that_is_set_nothing_needs_a_notice(client: httpx.Client):
    assert client.get("/ready").json()["notice"] is None
    assert client.get("/model").json()["notice"] is None


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--gateway-url", "nowhere"), "not an object store address"),
        (("--port", "x"), "--port must be a whole number"),
        (("--identifier", "a/b"), "--identifier must not contain"),
        (("--promotion-bucket", "UP"), "bucket 'UP' is not"),
        (("--deadline", "3"), "--deadline is not an option; did you mean --deadline-seconds?"),
    ],
)
def test_settings_that_cannot_be_end_it_with_2_and_one_sentence(options: tuple[str, ...], sentence: str):
    command = [BIN / "flts-inference", "--serve", *options]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("flts-inference --serve: ")
    assert sentence in line


def test_the_help_of_the_stage_tells_how_to_serve_and_both_are_instant():
    for arguments, word in ((["--help"], "--serve"), (["--serve", "--help"], "--deadline-seconds")):
        begun = seconds_computed_by_children()
        told = subprocess.run([BIN / "flts-inference", *arguments], capture_output=True, text=True, check=True)
        assert word in told.stdout
        assert seconds_computed_by_children() - begun < 2
