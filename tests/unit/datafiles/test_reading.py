"""Datasets from files: what is read right, and the sentence for everything else."""

import gzip
import os
import re
import subprocess
import sys
from datetime import date
from decimal import Decimal

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flts.boundary.files import sha256_file
from flts.contracts import ClaimCheck
from flts.datafiles.reading import read_frame
from flts.errors import BadInputError, ChecksumMismatchError, ObjectNotFoundError
from flts.stage_interface import InputArtifact
from flts.stages.inputs import load_dataset
from flts.store.file import FileStore

ROWS = "time,a,b\n2024-01-01 00:00:00,1,2.5\n2024-01-01 00:02:00,-3e2,.5\n"


@pytest.fixture
def read(tmp_path):
    def read(content):
        path = tmp_path / "data.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_frame(path, "data.csv")

    return read


@pytest.fixture
def read_parquet(tmp_path):
    def read(**columns):
        path = tmp_path / "data.parquet"
        pq.write_table(pa.table(columns), path)
        return read_frame(path, "data.parquet")

    return read


def times(*texts):
    return np.array(texts, dtype="datetime64[us]")


def assert_columns(raw, **columns):
    assert list(raw.frame.columns) == list(columns)
    for name, values in columns.items():
        np.testing.assert_array_equal(raw.frame.columns[name], np.array(values, dtype=float))


TWO_ROWS = {"a": [1, -300], "b": [2.5, 0.5]}


@pytest.mark.parametrize(
    "content",
    [
        ROWS,
        ROWS.rstrip("\n"),
        ROWS.replace("\n", "\r\n"),
        ROWS.replace("\n", "\r"),
        "\ufeff" + ROWS,
        "\n\n" + ROWS.replace("\n", "\n\n"),
        ROWS.replace(",", ";"),
        ROWS.replace(",", ";").replace(".", ","),
        ROWS.replace(",", " , "),
        '"time","a","b"\n"2024-01-01 00:00:00","1","2.5"\n"2024-01-01 00:02:00","-3e2",".5"\n',
    ],
    ids=["plain", "no-end", "crlf", "cr", "bom", "blank-lines", "semicolon", "decimal-comma", "spaces", "quotes"],
)
def test_every_spelling_of_a_csv_file_is_read_the_same(read, content):
    raw = read(content)
    assert raw.notes == ()
    np.testing.assert_array_equal(raw.frame.time, times("2024-01-01T00:00", "2024-01-01T00:02"))
    assert_columns(raw, **TWO_ROWS)


@pytest.mark.parametrize("missing", ["", "NA", "NaN", "nan", "null", "N/A", " ", " NA "])
def test_missing_values_become_nan(read, missing):
    assert_columns(read(ROWS + f"2024-01-01 00:04:00,{missing},7\n"), a=[1, -300, np.nan], b=[2.5, 0.5, 7])


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-05-01", "2024-05-01"),
        ("2024-05-01 10:30", "2024-05-01T10:30"),
        ("2024-05-01T10:30:15.25", "2024-05-01T10:30:15.25"),
        ("2024-05-01T10:30:15Z", "2024-05-01T10:30:15"),
        ("2024-05-01 10:30:15+02:00", "2024-05-01T08:30:15"),
        ("2024-05-01 10:30:15-0530", "2024-05-01T16:00:15"),
    ],
)
def test_times_are_iso_8601_and_offsets_become_utc(read, text, moment):
    np.testing.assert_array_equal(read(f"time,a\n{text},1\n").frame.time, times(moment))


def test_a_change_of_offset_keeps_the_order_of_utc(read):
    raw = read("time,a\n2024-10-27 02:30:00+02:00,1\n2024-10-27 02:00:00+01:00,2\n")
    np.testing.assert_array_equal(raw.frame.time, times("2024-10-27T00:30", "2024-10-27T01:00"))
    assert raw.notes == ()


def test_unsorted_rows_are_sorted_and_noted(read):
    raw = read("time,a\n2024-01-03,3\n2024-01-01,1\n2024-01-02,2\n")
    assert_columns(raw, a=[1, 2, 3])
    assert raw.notes == ("data.csv: rows were not in order of time, and were sorted",)


def test_a_column_of_text_is_left_out_and_noted(read):
    raw = read("time,station,a\n2024-01-01,JFK,1\n2024-01-02,JFK,2\n")
    assert_columns(raw, a=[1, 2])
    assert raw.notes == ("data.csv: column 'station' holds no numbers and is left out",)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "data.csv is empty"),
        ("\ufeff\n\n", "data.csv is empty"),
        ("time,a\n", "data.csv has a header but no rows"),
        ("time,a", "data.csv has a header but no rows"),
        ("time,a\n\n\n", "data.csv has a header but no rows"),
        (
            "Time,a\n2024-01-01,1\n",
            "data.csv has no column 'time'; its columns are 'Time', 'a': rename 'Time' to 'time'",
        ),
        ("time\ta\n2024-01-01\t1\n", "data.csv: fields seem to be separated by tabs: expected commas or semicolons"),
        ("time|a\n1|1\n", "data.csv: fields seem to be separated by vertical bars: expected commas or semicolons"),
        ("time,a,a\n2024-01-01,1,2\n", "data.csv has two columns 'a'"),
        (",time,a\n0,2024-01-01,1\n", "data.csv: column 1 has no name"),
        ("time\n2024-01-01\n", "data.csv has no numeric column besides 'time'"),
        ("time,s\n2024-01-01,x\n", "data.csv has no numeric column besides 'time'"),
        ("time,a,b\n2024-01-01,1,\n2024-01-02,2,NA\n", "data.csv: column 'b' has only missing values"),
        ("time,a,b\n2024-01-01,1,\n2024-01-02,x,\n2024-01-03,2,\n", "data.csv: row 2, column 'a': 'x' is not a number"),
        ("time,a,b,s\n2024-01-01,1,,x\n", "data.csv: column 'b' has only missing values"),
        (ROWS + "2024-01-02,1,2,3\n", "data.csv: row 3 has 4 fields, expected 3 as in the header"),
        (ROWS + "\n2024-01-02,1\n", "data.csv: row 3 has 2 fields, expected 3 as in the header"),
        (ROWS + "2024-01-02,1,inf\n", "data.csv: row 3, column 'b': inf is not a finite number up to 1e+18"),
        (ROWS + "2024-01-02,-Infinity,1\n", "data.csv: row 3, column 'a': -inf is not a finite number up to 1e+18"),
        (ROWS + "2024-01-02,1,1e19\n", "data.csv: row 3, column 'b': 1e+19 is not a finite number up to 1e+18"),
        (ROWS + "2024-01-02,1_0,1\n", "data.csv: row 3, column 'a': '1_0' is not a number"),
        (ROWS + "2024-01-02,1,0x1F\n", "data.csv: row 3, column 'b': '0x1F' is not a number"),
        (
            ROWS.replace(",", ";") + "2024-01-02;1;2,5\n",
            "data.csv: row 3, column 'b': '2,5' is not a number: write decimals with a point",
        ),
        (
            'time,a\n2024-01-01,"1,000.5"\n',
            "data.csv: row 1, column 'a': '1,000.5' is not a number: remove thousands separators",
        ),
        (
            'time,a,b\n2024-01-01,"1,000",1\n2024-01-02,"2,345",1\n',
            "data.csv: row 1, column 'a': '1,000' is not a number: remove thousands separators",
        ),
        (
            "time,a\n2024-01-01,7\n2024-01-02,1.000.000\n",
            "data.csv: row 2, column 'a': '1.000.000' is not a number: remove thousands separators",
        ),
        (
            "time,a\n1706745600,1\n",
            "data.csv: row 1, column 'time': '1706745600' is not a timestamp, expected ISO 8601 such as "
            "2018-02-05 23:40:00; if these are seconds since 1970: "
            "frame['time'] = pandas.to_datetime(frame['time'], unit='s')",
        ),
        (ROWS + ",1,2\n", "data.csv: row 3, column 'time': the time is missing"),
        (
            ROWS + "31/01/2024,1,2\n",
            "data.csv: row 3, column 'time': '31/01/2024' is not a timestamp, "
            "expected ISO 8601 such as 2018-02-05 23:40:00; if the day comes first: "
            "frame['time'] = pandas.to_datetime(frame['time'], dayfirst=True)",
        ),
        (
            ROWS + "2024-02-30,1,2\n",
            "data.csv: row 3, column 'time': '2024-02-30' is not a timestamp, "
            "expected ISO 8601 such as 2018-02-05 23:40:00",
        ),
        (
            "time,a\n2024-01-01 00:00:00Z,1\n2024-01-01 00:01:00,2\n",
            "data.csv: row 2, column 'time': '2024-01-01 00:01:00' is not a timestamp, "
            "expected ISO 8601 such as 2018-02-05 23:40:00 with a UTC offset as in the first row",
        ),
        (
            "time,a\n0001-01-01,1\n",
            "data.csv: row 1, column 'time': the time is outside the years 1678 to 2261",
        ),
        (
            "time,a\n2024-01-02,1\n2024-01-01,2\n2024-01-02,3\n",
            "data.csv: row 3, column 'time': 2024-01-02 00:00:00 is already in row 1",
        ),
        (ROWS.encode() + b"2024-01-02,1,\xe9\n", "data.csv is not UTF-8: line 4 holds the byte 0xe9"),
        (b"time,temp\xe9rature\n2024-01-02,1\n", "data.csv is not UTF-8: line 1 holds the byte 0xe9"),
        (ROWS.encode("utf-16"), "data.csv is not UTF-8: line 1 holds the byte 0xff"),
    ],
)
def test_bad_csv_is_one_sentence_that_says_where(read, content, sentence):
    with pytest.raises(BadInputError) as caught:
        read(content)
    assert str(caught.value) == sentence


def test_the_row_is_right_far_into_a_large_file(read):
    rows = [f"{moment},{number}" for number, moment in enumerate(np.datetime64("2000-01-01") + np.arange(60_000))]
    rows[41_234] = rows[41_234].split(",")[0] + ",oops"
    with pytest.raises(BadInputError, match="row 41235, column 'a': 'oops' is not a number"):
        read("time,a\n" + "\n".join(rows[:90_000]))


def test_every_parquet_type_of_number_is_read(read_parquet):
    raw = read_parquet(
        a=pa.array([1, None], pa.int16()),
        time=pa.array([0, 60_000_000_000], pa.timestamp("ns", "Europe/Madrid")),
        b=pa.array([True, False]),
        c=pa.array([Decimal("1.5"), Decimal("2.5")]),
        d=pa.array(["7", ""]),
        e=pa.array(["7", "8"]).dictionary_encode(),
        f=pa.array([0.5, float("nan")], pa.float32()),
        g=pa.array([date(2024, 1, 1)] * 2),
    )
    np.testing.assert_array_equal(raw.frame.time, times("1970-01-01T00:00", "1970-01-01T00:01"))
    assert_columns(raw, a=[1, np.nan], b=[1, 0], c=[1.5, 2.5], d=[7, np.nan], e=[7, 8], f=[0.5, np.nan])
    assert raw.notes == ("data.parquet: column 'g' holds no numbers and is left out",)


def test_parquet_of_many_row_groups_keeps_its_order(tmp_path):
    values = np.arange(10_000.0)
    table = pa.table({"time": pa.array(np.datetime64("2000-01-01", "us") + np.arange(10_000) * 1000), "a": values})
    pq.write_table(table, tmp_path / "data", row_group_size=999)
    np.testing.assert_array_equal(read_frame(tmp_path / "data").frame.columns["a"], values)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"time": [1, 2], "a": [1, 2]}, "column 'time' holds numbers, expected timestamps or text"),
        ({"time": [1706745600000], "a": [1]}, "unit='ms'), expected timestamps or text"),
        ({"time": ["2024-01-01", "2024-01-02"], "a": ["999", "1.000"]}, "row 2, column 'a': '1.000' may mean 1.0 or"),
        ({"time": ["2024-01-01", None], "a": [1, 2]}, "row 2, column 'time': the time is missing"),
        ({"time": ["2024-01-01", "2024-01-02"], "a": ["1", "x"]}, "row 2, column 'a': 'x' is not a number"),
        ({"time": ["2024-01-01", "2024-01-02"], "a": [1.0, float("inf")]}, "row 2, column 'a': inf is not a finite"),
        ({"time": ["2024-01-01"], "a": pa.nulls(1)}, "column 'a' has only missing values"),
        ({"time": pa.array([], pa.string()), "a": pa.array([], pa.int64())}, "has columns but no rows"),
        ({"a": [1]}, "has no column 'time'; its columns are 'a'"),
    ],
)
def test_bad_parquet_is_one_sentence_that_says_where(read_parquet, columns, sentence):
    with pytest.raises(BadInputError, match=r"data\.parquet") as caught:
        read_parquet(**columns)
    assert sentence in str(caught.value)


def bytes_read():
    """Return the bytes that this process has read from files so far, which do not depend on the machine's speed."""
    with open("/proc/self/io") as counters:
        return int(next(line for line in counters if line.startswith("rchar")).split()[1])


@pytest.mark.parametrize("text", [False, True])
def test_a_parquet_file_of_two_thousand_columns_is_described_once_not_once_a_column(tmp_path, text):
    path, values = tmp_path / "wide.parquet", np.arange(40.0)
    columns = {f"column {number}": map(str, values + number) if text else values + number for number in range(2000)}
    moments = np.datetime64("2024-01-01", "us") + np.arange(40) * np.timedelta64(60_000_000, "us")
    pq.write_table(pa.table({"time": moments} | {name: list(data) for name, data in columns.items()}), path)
    size = path.stat().st_size
    before = bytes_read()

    raw = read_frame(path)

    assert bytes_read() - before < 4 * size
    assert_columns(raw, **{f"column {number}": values + number for number in range(2000)})


@pytest.mark.parametrize("keep", [0, 3, 100, -5])
def test_a_truncated_parquet_file_is_a_sentence(tmp_path, keep):
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({"time": ["2024-01-01"], "a": [1]}), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadInputError, match=r"data.parquet is (empty|not a whole Parquet file: \S)"):
        read_frame(path)


@pytest.mark.parametrize(
    ("texts", "moment"),
    [
        (["1706745600", "1706745660"], "2024-02-01"),
        (["1706745600000", "1706745660000"], "2024-02-01"),
        (["31/01/2024 00:00", "01/02/2024 00:00"], "2024-01-31"),
        (["01.02.2024", "02.02.2024"], "2024-02-01"),
        (["01/31/2024", "02/01/2024"], "2024-01-31"),
    ],
)
def test_the_line_of_pandas_that_a_sentence_about_times_gives_converts_them(tmp_path, texts, moment):
    path = tmp_path / "data.csv"
    path.write_text("time,a\n" + "".join(f"{text},1\n" for text in texts))
    with pytest.raises(BadInputError) as caught:
        read_frame(path)
    line = re.search(r"frame\['time'\] = .*?\)", str(caught.value))[0]
    frame = pandas.read_csv(path)
    exec(line, {"pandas": pandas, "frame": frame})  # noqa: S102
    frame.to_csv(path, index=False)
    assert read_frame(path).frame.time[0] == np.datetime64(moment)


@pytest.mark.parametrize("parts", [1, 2])
def test_gzip_is_unpacked_whatever_the_name(tmp_path, parts):
    path = tmp_path / "data"
    half = len(ROWS) // parts
    path.write_bytes(
        b"".join(gzip.compress(ROWS[start : start + half].encode()) for start in range(0, len(ROWS), half))
    )
    assert_columns(read_frame(path), **TWO_ROWS)


@pytest.mark.parametrize("keep", [2, 200, -1, -9])
def test_damaged_gzip_is_a_sentence(tmp_path, keep):
    rows = [f"{moment},{number}\n" for number, moment in enumerate(np.datetime64("2000-01-01") + np.arange(9_000))]
    path = tmp_path / "data.csv.gz"
    path.write_bytes(gzip.compress(("time,a\n" + "".join(rows)).encode())[:keep])
    with pytest.raises(BadInputError, match=r"data\.csv\.gz is damaged: its gzip content cannot be unpacked"):
        read_frame(path)


def test_rows_are_named_in_gzip_too(tmp_path):
    path = tmp_path / "data.csv.gz"
    path.write_bytes(gzip.compress((ROWS + "2024-01-02,1\n").encode()))
    with pytest.raises(BadInputError, match="row 3 has 2 fields"):
        read_frame(path, "data.csv.gz")
    path.write_bytes(gzip.compress(ROWS.encode() + b"2024-01-02,1,\xe9\n"))
    with pytest.raises(BadInputError, match="line 4 holds the byte 0xe9"):
        read_frame(path, "data.csv.gz")


def test_whole_numbers_that_become_decimals_late_are_read_right(read):
    rows = [f"{moment},{n % 10},0.5" for n, moment in enumerate(np.datetime64("2000-01-01") + np.arange(60_000))]
    rows[50_000] = rows[50_000].split(",")[0] + ",2.25,0.5"
    values = read("time,a,b\n" + "\n".join(rows)).frame.columns["a"]
    assert (values[49_999], values[50_000], values[59_999]) == (9, 2.25, 9)


def test_thousands_far_into_a_large_file_are_found(read):
    rows = [f"{moment},{n % 1000}" for n, moment in enumerate(np.datetime64("2000-01-01") + np.arange(60_000))]
    rows[50_000] = rows[50_000].split(",")[0] + ",1.000"
    with pytest.raises(BadInputError, match=r"row 50001, column 'a': '1\.000' may mean 1\.0 or 1000"):
        read("time,a\n" + "\n".join(rows))


@pytest.mark.parametrize("special", ["pipe", "device"])
def test_a_special_file_is_refused_at_once(tmp_path, special):
    path = tmp_path / "data.csv"
    if special == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    for use in (read_frame, sha256_file, lambda path: load_dataset(InputArtifact(path), None, tmp_path)):
        with pytest.raises(BadInputError, match=r"data\.csv is a pipe, a device or a socket, expected a regular file"):
            use(path)


def test_a_link_to_a_file_is_a_file(tmp_path):
    (tmp_path / "data.csv").write_text(ROWS)
    (tmp_path / "link.csv").symlink_to("data.csv")
    assert_columns(read_frame(tmp_path / "link.csv"), **TWO_ROWS)


def test_a_missing_file_and_a_folder_are_sentences(tmp_path):
    with pytest.raises(BadInputError, match=r"none\.csv does not exist"):
        read_frame(tmp_path / "none.csv")
    with pytest.raises(BadInputError, match="is a folder, expected a file"):
        read_frame(tmp_path)


def test_reading_imports_no_pandas(tmp_path):
    (tmp_path / "data.csv").write_text(ROWS)
    code = (
        "import sys; from pathlib import Path; from flts.datafiles.reading import read_frame;"
        "read_frame(Path('data.csv')); sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == 0


def claim(path, **changes):
    fields = {"bucket": "", "object": path.name, "size": path.stat().st_size, "identifier": "", "config_hash": "h"}
    return ClaimCheck(**{**fields, "sha256": sha256_file(path), "rows": 2, **changes})


@pytest.fixture
def dataset(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text(ROWS)
    (tmp_path / "work").mkdir()
    return path


def write_claim(dataset, **changes):
    path = dataset.with_name("claim.json")
    path.write_text(claim(dataset, **changes).to_json())
    return InputArtifact(path)


def test_a_dataset_artifact_may_be_the_file_itself(dataset, tmp_path):
    assert load_dataset(InputArtifact(dataset), None, tmp_path / "work") == dataset


def test_a_claim_check_without_bucket_names_a_file_next_to_it(dataset, tmp_path):
    assert load_dataset(write_claim(dataset), None, tmp_path / "work") == dataset


def test_a_claim_check_is_redeemed_in_the_store(dataset, tmp_path):
    store = FileStore(tmp_path / "store")
    store.upload("processed-data", "hash/data.csv", dataset)
    artifact = write_claim(dataset, bucket="processed-data", object="hash/data.csv")
    path = load_dataset(artifact, store, tmp_path / "work")
    assert (path.parent, path.read_text()) == (tmp_path / "work", ROWS)


def test_content_that_differs_from_its_claim_check_is_refused(dataset, tmp_path):
    with pytest.raises(ChecksumMismatchError, match=r"data.csv has SHA-256 .*claim.json says 000"):
        load_dataset(write_claim(dataset, sha256="0" * 64), None, tmp_path / "work")
    store = FileStore(tmp_path / "store")
    store.put("processed-data", "hash/data.csv", b"other")
    artifact = write_claim(dataset, bucket="processed-data", object="hash/data.csv")
    with pytest.raises(ChecksumMismatchError):
        load_dataset(artifact, store, tmp_path / "work")
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize("name", ["../data.csv", "/etc/hostname", "..", ""])
def test_a_claim_check_without_bucket_reaches_no_other_folder(dataset, tmp_path, name):
    with pytest.raises(BadInputError):
        load_dataset(write_claim(dataset, object=name), None, tmp_path / "work")


def test_a_claim_check_that_cannot_be_redeemed_says_why(dataset, tmp_path):
    artifact = write_claim(dataset, bucket="processed-data")
    with pytest.raises(BadInputError, match="--gateway-url"):
        load_dataset(artifact, None, tmp_path / "work")
    with pytest.raises(ObjectNotFoundError):
        load_dataset(artifact, FileStore(tmp_path / "store"), tmp_path / "work")
    with pytest.raises(BadInputError, match=r"gone\.csv does not exist"):
        load_dataset(write_claim(dataset, object="gone.csv"), None, tmp_path / "work")
    dataset.write_text('{"bucket": 1}')
    with pytest.raises(BadInputError, match="is not a claim check"):
        load_dataset(InputArtifact(dataset), None, tmp_path / "work")
