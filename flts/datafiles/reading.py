"""Strict reading of datasets: CSV and Parquet files to frames."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flts.boundary.files import readable
from flts.datafiles.arrow import copy_floats, is_number, is_text, to_floats
from flts.datafiles.csv import CsvTable, read_csv
from flts.datafiles.numbers import parse_numbers
from flts.datafiles.times import parse_times, show_time
from flts.errors import BadInputError
from flts.timeseries.arrays import Floats, Times
from flts.timeseries.frame import TIME_COLUMN, Frame

# float32, which the recurrent models compute in, and squares of values must not overflow.
LARGEST = 1e18

_PARQUET_MAGIC = b"PAR1"
_NAMES_OF_TIME = {"time", "timestamp", "datetime", "date", "ds", "ts"}


@dataclass(frozen=True)
class RawData:
    """A dataset as measured: its numeric columns, and notes from reading it, one sentence each."""

    frame: Frame
    notes: tuple[str, ...] = ()


def read_frame(path: Path, label: str | None = None) -> RawData:
    """Read ``time`` and every numeric column of a CSV or Parquet file, sorted by time.

    Rows in errors count from 1, without the header and without blank lines.

    Args:
        path: The file; Parquet by its suffix or first bytes, CSV otherwise, which may be compressed with gzip.
        label: Name of the file in errors; the path when not given.

    Raises:
        BadInputError: The file cannot be read; the sentence says why and where.
    """
    label = label or str(path)
    with readable(path, label):
        raw = _read_parquet(path, label) if is_parquet(path) else _from_csv(read_csv(path, label), label)
    return _sorted(raw, label)


def is_parquet(path: Path) -> bool:
    """Tell whether a file is Parquet, by its suffix or first bytes."""
    if path.suffix.lower() in {".parquet", ".pq"}:
        return True
    with path.open("rb") as file:
        return file.read(len(_PARQUET_MAGIC)) == _PARQUET_MAGIC


@contextmanager
def parquet_file(path: Path, label: str) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file; a damaged one is a ``BadInputError``, also when the damage is found only later."""
    if path.stat().st_size == 0:
        raise BadInputError(f"{label} is empty")
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError):
        raise BadInputError(f"{label} is not a whole Parquet file: {_damage(path)}") from None


def read_columns(path: Path, names: Sequence[str], label: str) -> dict[str, Floats]:
    """Read numeric columns of a Parquet file to (n,) float64, two at a time, with little memory besides the result."""

    def read(names: Sequence[str]) -> dict[str, Floats]:
        # Opened once for many columns: opening parses the schema of all.
        with parquet_file(path, label) as file:
            return {name: _read_column(file, name) for name in names}

    halves = [half for half in (names[::2], names[1::2]) if half]
    with ThreadPoolExecutor(max_workers=2) as pool:
        columns = {name: values for half in pool.map(read, halves) for name, values in half.items()}
    return {name: columns[name] for name in names}


def _read_column(file: pq.ParquetFile, name: str) -> Floats:
    values = np.empty(file.metadata.num_rows)
    start = 0
    for batch in file.iter_batches(batch_size=1 << 20, columns=[name], use_threads=False):
        copy_floats(batch.column(0), values[start : start + len(batch)])
        start += len(batch)
    return values


def _damage(path: Path) -> str:
    """Return what is wrong with a Parquet file, which begins and ends with the same four bytes."""
    with path.open("rb") as file:
        begins = file.read(len(_PARQUET_MAGIC)) == _PARQUET_MAGIC
        file.seek(max(0, path.stat().st_size - len(_PARQUET_MAGIC)))
        ends = file.read() == _PARQUET_MAGIC
    if not begins:
        return "it does not begin like one"
    return "something in it is damaged" if ends else "its end is missing"


def _read_parquet(path: Path, label: str) -> RawData:
    with parquet_file(path, label) as file:
        schema = file.schema_arrow
        names = _checked_names(schema.names, label)
        if file.metadata.num_rows == 0:
            raise BadInputError(f"{label} has columns but no rows")
        time = parse_times(file.read(columns=[TIME_COLUMN]).column(0), label)
        numbers = [name for name in names if is_number(schema.field(name).type)]
        texts = [name for name in names if is_text(schema.field(name).type)]
        parsed = parse_numbers({name: file.read(columns=[name]).column(0) for name in texts}, label)
    read = read_columns(path, numbers, label)
    return _checked(time, {name: read.get(name, parsed.get(name)) for name in names}, label)


def _from_csv(csv: CsvTable, label: str) -> RawData:
    table = csv.table
    names = _checked_names(table.column_names, label)
    time = parse_times(table.column(TIME_COLUMN), label)
    texts = {name: table.column(name) for name in names if is_text(table.schema.field(name).type)}
    proven = next((name for name in names if pa.types.is_floating(table.schema.field(name).type)), None)
    parsed = parse_numbers(texts, label, decimal_commas=csv.decimal_commas, proven_point=proven)
    columns = {name: parsed[name] if name in texts else to_floats(table.column(name)) for name in names}
    return _checked(time, columns, label)


def _checked_names(names: Sequence[str], label: str) -> list[str]:
    """Return the names of all columns but ``time``."""
    if TIME_COLUMN not in names:
        found = ", ".join(map(repr, names[:20]))
        likely = next((name for name in names if name.strip().casefold() in _NAMES_OF_TIME), None)
        advice = f": rename {likely!r} to {TIME_COLUMN!r}" if likely else ""
        raise BadInputError(f"{label} has no column {TIME_COLUMN!r}; its columns are {found}{advice}")
    for position, name in enumerate(names):
        if not name:
            raise BadInputError(f"{label}: column {position + 1} has no name")
        if name in names[:position]:
            raise BadInputError(f"{label} has two columns {name!r}")
    return [name for name in names if name != TIME_COLUMN]


def _checked(time: Times, columns: dict[str, Floats | None], label: str) -> RawData:
    """Leave out the columns without numbers; refuse values that are not finite, and columns without values."""
    left_out = [name for name, values in columns.items() if values is None]
    kept = {name: values for name, values in columns.items() if values is not None}
    if not kept:
        raise BadInputError(f"{label} has no numeric column besides {TIME_COLUMN!r}")
    for name, values in kept.items():
        highest, lowest = np.fmax.reduce(values), np.fmin.reduce(values)
        if np.isnan(highest):
            raise BadInputError(f"{label}: column {name!r} has only missing values")
        if max(highest, -lowest) > LARGEST:
            row = int(np.flatnonzero(np.abs(values) > LARGEST)[0])
            raise BadInputError(
                f"{label}: row {row + 1}, column {name!r}: {values[row]} is not a finite number up to {LARGEST:g}"
            )
    notes = tuple(f"{label}: column {name!r} holds no numbers and is left out" for name in left_out)
    return RawData(Frame(time, kept), notes)


def _sorted(raw: RawData, label: str) -> RawData:
    """Sort by time; two rows of the same time are an error."""
    time, notes = raw.frame.time, raw.notes
    steps = np.diff(time.view(np.int64))
    if len(steps) == 0 or steps.min() > 0:
        return raw
    order = np.argsort(time, kind="stable")
    ordered = time[order]
    same = np.flatnonzero(ordered[1:] == ordered[:-1])
    if same.size:
        # Report the repetition that comes first in the file.
        first = same[np.argmin(order[same + 1])]
        raise BadInputError(
            f"{label}: row {order[first + 1] + 1}, column {TIME_COLUMN!r}: "
            f"{show_time(ordered[first])} is already in row {order[first] + 1}"
        )
    columns = {name: values[order] for name, values in raw.frame.columns.items()}
    notes += (f"{label}: rows were not in order of time, and were sorted",)
    return RawData(Frame(ordered, columns), notes)
