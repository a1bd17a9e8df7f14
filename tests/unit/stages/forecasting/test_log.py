"""The log of forecasts: a folder each, found again by what was asked, completed after a crash."""

import hashlib
import json
from functools import partial
from multiprocessing import get_context

import pytest

from flts.contracts import ForecastBatch
from flts.errors import BadInputError, ServiceUnavailableError
from flts.stages.forecasting.batch import predictions_parquet
from flts.stages.forecasting.log import ForecastRequest, index_key, log_forecast
from flts.store.file import FileStore

BUCKET = "inference-logs"
NOON = "2025-01-31T12:00:00.250000Z"


def request(run_id="run-a", sample_idx=0):
    return ForecastRequest(run_id=run_id, data_sha256="d" * 64, inference_length=1, sample_idx=sample_idx)


def batch(asked, timestamp=NOON, value=1.5, identifier="run-001"):
    sample = {"step": 1, "ts": "2018-02-28T02:34:00Z", "pred": {"down": value}, "actual": None, "abs_err": {}}
    fields = asked.model_dump() | {
        "timestamp": timestamp,
        "identifier": identifier,
        "model_type": "GRU",
        "config_hash": "c",
        "status": "SUCCESS",
        "metrics": {"overlap_rows": 0, "rows_predicted": 1},
        "samples": [sample | {"mode": "recursive", "after_gap": False}],
    }
    return ForecastBatch(**fields)


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path)


def log(store, asked, **fields):
    return log_forecast(store, BUCKET, asked, batch(asked, **fields))


def content(store):
    return {info.key: store.get(BUCKET, info.key)[0] for info in store.list(BUCKET)}


def test_a_request_without_quantiles_has_the_index_object_of_older_versions():
    parts = b'["run-a","%s",1,0]' % (b"d" * 64)
    assert request().digest == hashlib.sha256(parts).hexdigest()
    assert "quantiles" not in batch(request()).to_json()
    assert request().model_copy(update={"quantiles": "0.5"}).digest != request().digest


def test_a_forecast_lies_in_the_folder_that_the_index_names(store):
    logged = log(store, request())
    assert logged.folder == "run-001/20250131T120000Z/"
    assert not logged.repeated
    assert content(store) == {
        "run-001/20250131T120000Z/results.jsonl": batch(request()).to_json().encode(),
        "run-001/20250131T120000Z/predictions.parquet": predictions_parquet(batch(request())),
        index_key("run-001", request()): content(store)[index_key("run-001", request())],
    }
    assert json.loads(content(store)[index_key("run-001", request())])["folder"] == logged.folder


def test_without_identifier_the_folder_is_global(store):
    assert log(store, request(), identifier="").folder == "global/20250131T120000Z/"


def test_a_repeat_hours_later_finds_the_first_forecast(store):
    first = log(store, request())
    before = content(store)
    again = log(store, request(), timestamp="2025-01-31T18:30:00.000000Z")
    assert again.repeated
    assert (again.batch, again.folder) == (first.batch, first.folder)
    assert content(store) == before


def test_what_is_kept_wins_over_a_repeat_that_computed_other_digits(store):
    log(store, request(), value=1.5)
    assert log(store, request(), value=1.5000000000000002).batch.samples[0]["pred"] == {"down": 1.5}


@pytest.mark.parametrize("lost", [("predictions.parquet",), ("predictions.parquet", "results.jsonl")])
def test_a_folder_that_a_killed_run_left_is_completed_with_its_first_timestamp(store, lost):
    folder = log(store, request()).folder
    whole = content(store)
    for name in lost:
        store.delete(BUCKET, folder + name)

    again = log(store, request(), timestamp="2025-02-01T00:00:00.000000Z")

    assert not again.repeated
    assert content(store) == whole


def test_requests_of_the_same_second_get_folders_of_their_own(store):
    logged = [log(store, request(sample_idx=index)) for index in range(3)]
    assert [entry.folder[-4:-1] for entry in logged] == ["00Z", "01Z", "02Z"]
    assert [entry.batch.timestamp for entry in logged] == [NOON] * 3
    for index, entry in enumerate(logged):
        again = log(store, request(sample_idx=index), timestamp="2026-01-01T00:00:00Z")
        assert (again.folder, again.repeated) == (entry.folder, True)


def test_a_folder_whose_results_are_of_an_older_system_is_left_alone(store):
    fields = json.loads(batch(request()).to_json())
    for name in ("data_sha256", "inference_length", "sample_idx"):
        del fields[name]
    older = json.dumps(fields).encode()
    store.put(BUCKET, "run-001/20250131T120000Z/results.jsonl", older)
    assert log(store, request()).folder == "run-001/20250131T120001Z/"
    assert content(store)["run-001/20250131T120000Z/results.jsonl"] == older


def test_other_identifiers_share_nothing(store):
    one, two = log(store, request(), identifier="one"), log(store, request(), identifier="two")
    assert (one.folder, two.folder) == ("one/20250131T120000Z/", "two/20250131T120000Z/")


@pytest.mark.parametrize(
    "folder",
    [
        "two/20250131T120000Z/",
        "one/../two/20250131T120000Z/",
        "one/20250131T120000Z",
        "one/20259931T120000Z/",
        "one/",
        "",
    ],
)
def test_an_index_that_leads_elsewhere_is_refused_before_anything_is_written_there(store, folder):
    log(store, request(), identifier="one")
    key = index_key("one", request())
    store.put(BUCKET, key, json.dumps(json.loads(store.get(BUCKET, key)[0]) | {"folder": folder}).encode())
    before = content(store)
    with pytest.raises(BadInputError, match=rf"{key} names the folder .*, expected one/ and a time such as 2025"):
        log(store, request(), identifier="one")
    assert content(store) == before


def _log_in_a_process(root, sample_idx):
    return log(FileStore(root), request(sample_idx=sample_idx)).folder


def test_processes_at_once_end_with_one_folder_per_request(tmp_path):
    asked = [0, 1, 2, 3] * 4
    with get_context("spawn").Pool(4) as pool:
        folders = pool.map(partial(_log_in_a_process, tmp_path), asked, chunksize=1)
    by_request = {index: {folder for i, folder in zip(asked, folders, strict=True) if i == index} for index in asked}
    assert [len(found) for found in by_request.values()] == [1] * 4
    assert len(set(folders)) == 4
    assert len(list(FileStore(tmp_path).list(BUCKET))) == 4 * 3


def test_a_log_without_a_free_folder_is_a_service_error(store, monkeypatch):
    monkeypatch.setattr("flts.stages.forecasting.log._ATTEMPTS", 2)
    for index in range(2):
        log(store, request(sample_idx=index))
    with pytest.raises(ServiceUnavailableError, match="2 folders"):
        log(store, request(sample_idx=9))
