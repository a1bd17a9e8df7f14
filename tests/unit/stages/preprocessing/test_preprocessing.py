"""The preprocess stage: on plain files, on the store, and again."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from flts.boundary.files import sha256_file
from flts.contracts import ClaimCheck
from flts.datafiles.processed_parquet import read_processed
from flts.errors import BadInputError, ChecksumMismatchError, ObjectNotFoundError
from flts.params import PreprocessParams
from flts.stage_interface import Context, InputArtifact
from flts.stages import PREPROCESS
from flts.stages.inputs import load_dataset
from flts.stages.preprocessing.config_hash import config_hash
from flts.store.file import FileStore

BUCKET = "processed-data"
FILES = ("processed_data.parquet", "test_processed_data.parquet")


def csv(start, rows, step="2"):
    times = np.datetime64(f"2024-01-{start:02d}T00:00:00") + np.arange(rows) * np.timedelta64(60, "m")
    values = [f"{time},{row % 7},{'' if row % 9 == 4 else row * 0.5}" for row, time in enumerate(times)]
    return "time,a,b\n" + "\n".join(values) + "\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data.csv").write_text(csv(1, 100))
    (tmp_path / "data_test.csv").write_text(csv(6, 20))
    return tmp_path


@pytest.fixture
def store(folder):
    store = FileStore(folder / "store")
    store.upload("dataset", "data.csv", folder / "data.csv")
    store.upload("dataset", "data_test.csv", folder / "data_test.csv")
    return store


@pytest.fixture
def run(folder, request):
    """Run the stage in a fresh work folder, on plain files or on a store."""
    runs = iter(range(100))

    def run(store=None, inputs=None, **params):
        work_dir = folder / f"work{next(runs)}"
        work_dir.mkdir()
        artifacts = {name: InputArtifact(Path(path)) for name, path in (inputs or {}).items()}
        defaults = {"dataset_name": "data" if store else "", "identifier": "run-001"}
        context = Context(inputs=artifacts, work_dir=work_dir, store=store)
        return PREPROCESS.run(PreprocessParams(**{**defaults, **params}), context)

    return run


def claims(result):
    return [
        ClaimCheck.parse(result.artifacts[name].content, source=name) for name in ("training_data", "inference_data")
    ]


def objects(store, bucket=BUCKET):
    return {info.key: store.get(bucket, info.key)[0] for info in store.list(bucket)}


def test_a_file_becomes_two_files_and_their_claim_checks(run, folder):
    result = run(inputs={"input": folder / "data.csv"})
    assert set(result.files) == {*FILES, *(f"{name}.meta.json" for name in FILES)}
    for claim, name in zip(claims(result), FILES, strict=True):
        assert (claim.bucket, claim.object, claim.identifier) == ("", name, "run-001")
        assert claim.sha256 == sha256_file(result.files[name])
        assert claim.size == result.files[name].stat().st_size
        assert claim.rows == len(read_processed(result.files[name]))
        meta = json.loads(result.files[f"{name}.meta.json"].read_text())
        assert (meta["sha256"], meta["rows"], meta["config_hash"]) == (claim.sha256, claim.rows, claim.config_hash)
    assert [claim.rows for claim in claims(result)] == [100, 20]
    assert (claims(result)[1].object_key, claims(result)[1].operation) == (FILES[1], "post: test data")
    assert b"<html" in result.artifacts["report"].content


def test_outputs_and_metadata_name_the_configuration(run, folder):
    result = run(inputs={"input": folder / "data.csv"})
    config = result.parameters["config_json"]
    assert json.loads(config)["dataset_name"] == "data"
    assert json.loads(config)["train_sha256"] == sha256_file(folder / "data.csv")
    assert json.loads(config)["test_sha256"] == sha256_file(folder / "data_test.csv")
    digest = result.parameters["config_hash"]
    assert digest == config_hash(config)
    training, inference = (result.artifacts[name].metadata for name in ("training_data", "inference_data"))
    assert {"config_hash": digest, "config_json": config, "row_count": 100, "identifier": "run-001"}.items() <= dict(
        training
    ).items()
    assert {"config_hash": digest, "row_count": 20, "identifier": "run-001"}.items() <= dict(inference).items()
    data = read_processed(result.files[FILES[0]])
    assert (data.config_hash, data.config_json) == (digest, config)


def test_the_same_input_gives_the_same_bytes(run, folder):
    one, other = (run(inputs={"input": folder / "data.csv"}, identifier=name) for name in "xy")
    for name, path in one.files.items():
        assert path.read_bytes() == other.files[name].read_bytes()
    assert one.artifacts["report"].content == other.artifacts["report"].content


def test_a_test_file_may_be_given(run, folder):
    (folder / "data_test.csv").rename(folder / "elsewhere.csv")
    result = run(inputs={"input": folder / "data.csv", "test_input": folder / "elsewhere.csv"})
    assert ([claim.rows for claim in claims(result)], result.notes) == ([100, 20], ())


def test_without_a_test_file_the_last_fifth_is_the_test_part_and_noted(run, folder, store):
    (folder / "data_test.csv").unlink()
    store.delete("dataset", "data_test.csv")
    for result in (run(inputs={"input": folder / "data.csv"}), run(store), run(store)):
        assert [claim.rows for claim in claims(result)] == [80, 20]
        assert result.notes == ("there is no test file: the last 20 of 100 rows are the test part",)
        assert json.loads(result.parameters["config_json"])["test_sha256"] is None


def test_rows_are_sampled_before_anything_else(run, folder):
    params = {"sample_train_rows": 30, "sample_test_rows": 5, "sample_strategy": "tail", "lags_enable": True}
    result = run(inputs={"input": folder / "data.csv"}, lags_n=2, **params)
    data = read_processed(result.files[FILES[0]])
    assert (len(data), data.parts.fit_end) == (28, 21 - 2)
    assert data.frame.time[-1] == np.datetime64("2024-01-05T03:00")
    assert len(read_processed(result.files[FILES[1]])) == 5


def test_parquet_and_a_claim_check_are_datasets_too(run, folder):
    processed = run(inputs={"input": folder / "data.csv"}, time_features_enable=False, target_columns="b")
    source = processed.files[FILES[0]]
    (source.parent / "claim.json").write_text(processed.artifacts["training_data"].content)
    result = run(inputs={"input": source.parent / "claim.json"}, dataset_name="again")
    assert json.loads(result.parameters["config_json"])["train_sha256"] == sha256_file(source)


def test_a_dataset_of_the_store_goes_to_immutable_and_to_fixed_keys(run, store, folder):
    result = run(store)
    digest = result.parameters["config_hash"]
    found = objects(store)
    metas = [f"{name}.meta.json" for name in FILES]
    assert set(found) == {*FILES, *(f"{digest}/{name}" for name in (*FILES, *metas, "report.html"))}
    for claim, name in zip(claims(result), FILES, strict=True):
        assert (claim.bucket, claim.object) == (BUCKET, f"{digest}/{name}")
        assert found[name] == found[claim.object]
        artifact = folder / "claim.json"
        artifact.write_text(claim.to_json())
        assert len(read_processed(load_dataset(InputArtifact(artifact), store, folder))) == claim.rows
    assert result.files == {}
    plain = run(inputs={"input": folder / "data.csv"})
    assert plain.parameters == result.parameters
    assert plain.files[FILES[0]].read_bytes() == found[FILES[0]]


def test_a_repeat_computes_nothing_and_returns_the_same(run, store, monkeypatch):
    first = run(store)
    before = objects(store)
    monkeypatch.setattr("flts.stages.preprocessing.stage.prepare", None)
    again = run(store)
    assert (first.cached, again.cached) == (False, True)
    assert again.artifacts == first.artifacts
    assert again.parameters == first.parameters
    assert (again.notes, again.message) == (first.notes, first.message)
    assert objects(store) == before


def test_a_repeat_under_another_identifier_shares_the_data(run, store):
    first, other = run(store), run(store, identifier="run-002")
    assert other.cached
    assert [claim.identifier for claim in claims(other)] == ["run-002", "run-002"]
    assert claims(other)[0].sha256 == claims(first)[0].sha256


def test_a_cached_dataset_takes_the_fixed_keys_back(run, store):
    run(store)
    first = store.get(BUCKET, FILES[0])
    run(store, scaler="none")
    assert store.get(BUCKET, FILES[0]) != first
    run(store)
    assert store.get(BUCKET, FILES[0]) == first


def test_force_reprocess_computes_again_with_the_same_result(run, store):
    first = run(store)
    digest = first.parameters["config_hash"]
    before = objects(store)
    store.put(BUCKET, f"{digest}/{FILES[0]}", b"x" * claims(first)[0].size)
    forced = run(store, force_reprocess=1)
    assert not forced.cached
    assert forced.artifacts == first.artifacts
    assert objects(store) == before


@pytest.mark.parametrize("lost", ["report.html", *FILES, *(f"{name}.meta.json" for name in FILES)])
def test_the_files_of_a_killed_run_are_completed(run, store, lost):
    first = run(store)
    before = objects(store)
    digest = first.parameters["config_hash"]
    store.delete(BUCKET, f"{digest}/{lost}")
    again = run(store)
    assert not again.cached
    assert again.artifacts == first.artifacts
    assert objects(store) == before


@pytest.mark.parametrize("damage", [b"", b"{", b'{"sha256": "x"}'])
def test_a_damaged_description_is_not_trusted(run, store, damage):
    first = run(store)
    before = objects(store)
    store.put(BUCKET, f"{first.parameters['config_hash']}/{FILES[0]}.meta.json", damage)
    assert not run(store).cached
    assert objects(store) == before


def test_damaged_data_without_a_description_are_replaced(run, store):
    first = run(store)
    before = objects(store)
    digest = first.parameters["config_hash"]
    store.put(BUCKET, f"{digest}/{FILES[0]}", b"damaged")
    store.delete(BUCKET, f"{digest}/{FILES[0]}.meta.json")
    run(store)
    assert objects(store) == before


def test_changed_data_in_the_store_are_found_out_by_the_reader(run, store, folder):
    result = run(store)
    claim = claims(result)[0]
    store.put(BUCKET, claim.object, b"x" * claim.size)
    (folder / "claim.json").write_text(claim.to_json())
    with pytest.raises(ChecksumMismatchError):
        load_dataset(InputArtifact(folder / "claim.json"), store, folder)


def test_a_local_file_may_go_to_a_store(run, store, folder):
    result = run(store, inputs={"input": folder / "data.csv"}, dataset_name="")
    assert claims(result)[0].bucket == BUCKET
    assert run(store).cached


def test_a_parquet_dataset_of_the_store_is_found(run, store, folder):
    processed = run(inputs={"input": folder / "data.csv"}, time_features_enable=False, target_columns="b")
    store.upload("dataset", "other.parquet", processed.files[FILES[0]])
    assert [claim.rows for claim in claims(run(store, dataset_name="other"))] == [80, 20]


def test_packed_files_are_found_next_to_each_other_and_in_the_store(run, store, folder):
    for name in ("data", "data_test"):
        store.delete("dataset", f"{name}.csv")
        packed = folder / f"{name}.csv.gz"
        packed.write_bytes(gzip.compress((folder / f"{name}.csv").read_bytes(), mtime=0))
        store.upload("dataset", packed.name, packed)
    for result in (run(inputs={"input": folder / "data.csv.gz"}), run(store)):
        assert [claim.rows for claim in claims(result)] == [100, 20]
        assert json.loads(result.parameters["config_json"])["dataset_name"] == "data"


def test_a_test_file_with_the_training_files_rows_is_refused(run, folder):
    (folder / "data_test.csv").write_text(csv(1, 100))
    with pytest.raises(BadInputError, match=r"100 of 100 test rows are rows of the training data as well, the first"):
        run(inputs={"input": folder / "data.csv"})


def test_a_dataset_that_is_nowhere_is_a_sentence(run, store, folder):
    with pytest.raises(ObjectNotFoundError, match=r"none\.parquet and none\.csv\.gz is in bucket 'dataset'"):
        run(store, dataset_name="none")
    with pytest.raises(BadInputError, match="dataset_name is empty"):
        run(store, dataset_name="")
    with pytest.raises(BadInputError, match="--input must name a file"):
        run()
    with pytest.raises(BadInputError, match="--test-input is given without --input"):
        run(inputs={"test_input": folder / "data.csv"})
    assert objects(store) == {}


def test_an_error_in_a_stored_dataset_names_the_object(run, store):
    store.put("dataset", "data_test.csv", b"time,a,b\n2024-01-06,1,1\n2024-01-07,1,x\n")
    with pytest.raises(BadInputError, match=r"^dataset/data_test\.csv: row 2, column 'b': 'x' is not a number$"):
        run(store)
    assert objects(store) == {}


def test_a_whole_dataset_is_processed(run, whole_dataset):
    rows, targets, seconds, fit_end, validation_end, test_rows = {
        "PobleSec": (15_927, ("down",), 120, 11_148, 13_537, 3_982),
        "jfk_weather": (6_964, ("temp",), 3_600, 4_874, 5_919, 1_742),
    }[whole_dataset.stem]
    result = run(inputs={"input": whole_dataset})
    data = read_processed(result.files[FILES[0]])
    assert (len(data), data.targets, data.sampling_seconds) == (rows, targets, seconds)
    assert (data.parts.fit_end, data.parts.validation_end) == (fit_end, validation_end)
    assert len(read_processed(result.files[FILES[1]])) == test_rows
    assert not np.isnan(data.frame.matrix(data.features)).any()
