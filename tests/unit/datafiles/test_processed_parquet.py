"""Processed data as Parquet: what comes back, and what others see in the file."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from flts.boundary.files import sha256_file
from flts.datafiles import processed_parquet
from flts.datafiles.processed_parquet import read_processed, write_processed
from flts.errors import BadInputError
from flts.timeseries.features import TIME_FEATURES, time_features
from flts.timeseries.frame import Frame, Parts
from flts.timeseries.processed import fit_scaler
from tests.support.processed import processed


@pytest.fixture
def data():
    values = np.sin(np.arange(40)) * 10
    made = processed({"y": values, "x": values * 2}, actual={"y": [np.nan, *values[1:]]})
    frame = Frame(made.frame.time, {**made.frame.columns, **time_features(made.frame.time)})
    return replace(made, frame=frame, config_hash="h")


def assert_same(one, other):
    np.testing.assert_array_equal(one.frame.time, other.frame.time)
    assert one.features == other.features
    for name, values in one.frame.columns.items():
        np.testing.assert_array_equal(values, other.frame.columns[name])
    for name, values in one.actual.items():
        np.testing.assert_array_equal(values, other.actual[name])
    assert one.scaler.to_dict() == other.scaler.to_dict()
    for field in ("targets", "parts", "sampling_seconds", "config_hash", "config_json"):
        assert getattr(one, field) == getattr(other, field)


def test_processed_data_are_read_back(tmp_path, data):
    write_processed(tmp_path / "data.parquet", data)
    assert_same(read_processed(tmp_path / "data.parquet"), data)


def test_large_data_are_read_back_over_row_groups(tmp_path, data, monkeypatch):
    monkeypatch.setattr(processed_parquet, "_ROW_GROUP", 7)
    write_processed(tmp_path / "data.parquet", data)
    assert pq.ParquetFile(tmp_path / "data.parquet").num_row_groups == 6
    assert_same(read_processed(tmp_path / "data.parquet"), data)


def test_the_same_data_give_the_same_bytes(tmp_path, data):
    for name in ("one", "two"):
        write_processed(tmp_path / name, data)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_others_find_plain_columns_and_the_promised_metadata(tmp_path, data):
    write_processed(tmp_path / "data.parquet", data)
    table = pq.read_table(tmp_path / "data.parquet")
    assert table.column_names == ["time", "y", "x", *TIME_FEATURES, "y_actual"]
    assert table.schema.field("time").type == pa.timestamp("us")
    assert {field.type for field in table.schema if field.name != "time"} == {pa.float64()}
    assert table.column("y_actual").null_count == 1
    metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert metadata["preprocess_config"] == data.config_json
    assert metadata["config_hash"] == "h"
    assert json.loads(metadata["target_columns"]) == ["y"]
    assert json.loads(metadata["sampling_seconds"]) == 3600
    assert json.loads(metadata["parts"]) == {"fit_end": 28, "validation_end": 34, "rows": 40}
    assert set(json.loads(metadata["scaler"])) == {"kind", "columns", "center", "scale"}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_foreign_file_gets_what_it_lacks(tmp_path, kind):
    path = tmp_path / f"other.{kind}"
    time = np.datetime64("2024-01-01", "us") + np.arange(20) * np.timedelta64(600, "s")
    table = pa.table({"name": ["x"] * 20, "time": pa.array(time), "b": np.arange(20) ** 2, "a": np.arange(20) * 1.0})
    if kind == "csv":
        pyarrow.csv.write_csv(table, path)
    else:
        pq.write_table(table, path)
    data = read_processed(path)
    assert (data.targets, data.features, data.parts) == (("b",), ("b", "a"), Parts.of(20))
    np.testing.assert_array_equal(data.actual["b"], np.arange(20) ** 2)
    # The fit part is the first 14 rows.
    assert (data.scaler.kind, list(data.scaler.center), list(data.scaler.scale)) == ("MinMaxScaler", [0, 0], [169, 13])
    assert (data.sampling_seconds, data.config_hash, data.config_json) == (600, sha256_file(path), "")


def test_time_features_are_never_scaled(data):
    scaler = fit_scaler("StandardScaler", data.frame, data.parts)
    assert scaler.columns == ("y", "x")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("time,a\n2024-01-01,1\n2024-01-02,\n2024-01-03,3\n", "column 'a' has no value at 2024-01-02 00:00:00"),
        ("time,a\n2024-01-01,1\n", "has 1 row, expected at least 2"),
        ("a\n1\n", "has no column 'time'"),
        ("time,day_of_week_sin\n2024-01-01,0\n2024-01-02,1\n", "has no measured column"),
    ],
)
def test_a_foreign_file_that_no_model_can_use_is_a_sentence(tmp_path, content, sentence):
    path = tmp_path / "other.csv"
    path.write_text(content)
    with pytest.raises(BadInputError, match=r"other\.csv") as caught:
        read_processed(path)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("name", ["scaler", "target_columns", "parts", "sampling_seconds", "config_hash"])
@pytest.mark.parametrize("value", [None, "{", "[1]"])
def test_damaged_metadata_are_a_sentence(tmp_path, data, name, value):
    path = tmp_path / "data.parquet"
    write_processed(path, data)
    table = pq.read_table(path)
    metadata = {key: text for key, text in table.schema.metadata.items() if key != name.encode()}
    pq.write_table(table.replace_schema_metadata(metadata | ({name: value} if value else {})), path)
    with pytest.raises(BadInputError, match="holds metadata of preprocess that cannot be read"):
        read_processed(path)


def test_a_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(BadInputError, match="does not exist"):
        read_processed(tmp_path / "none.parquet")
