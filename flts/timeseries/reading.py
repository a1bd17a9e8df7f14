"""Datasets from files: CSV and Parquet to frames, strictly."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flts.errors import BadInputError
from flts.os_errors import readable
from flts.timeseries.arrays import Floats, Times
from flts.timeseries.arrow import TIMESTAMP, copy_floats, first_failing, is_number, is_text, to_floats, to_times
from flts.timeseries.csvfile import MISSING, read_csv
from flts.timeseries.frame import TIME_COLUMN, Frame

# float32, which the recurrent models compute in, and squares of values must not overflow.
LARGEST = 1e18

_PARQUET_MAGIC = b"PAR1"
_NUMBER = r"(?i)^[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|infinity)$"
_UTC_OFFSET = r":\d\d(\.\d+)?\s?(Z|[+-]\d\d(:?\d\d)?)$"
# What pandas and NumPy can hold in nanoseconds.
_EARLIEST, _LATEST = np.datetime64("1678-01-01", "us"), np.datetime64("2262-01-01", "us")


@dataclass(frozen=True)
class RawData:
    """A dataset as measured: its numeric columns, and what was noticed on reading, one sentence each."""

    frame: Frame
    notes: tuple[str, ...] = ()


def read_frame(path: Path, label: str | None = None) -> RawData:
    """Read ``time`` and every numeric column of a CSV or Parquet file, sorted by time.

    Rows in errors count from 1, without the header and without blank lines.

    Args:
        path: The file; Parquet by its suffix or first bytes, CSV otherwise.
        label: How error sentences call it; the path when not given.

    Raises:
        BadInputError: Anything that keeps the file from being read right; the sentence says where.
    """
    label = label or str(path)
    with readable(path, label):
        raw = _read_parquet(path, label) if is_parquet(path) else _read_table(read_csv(path, label), label)
    return _sorted(raw, label)


def is_parquet(path: Path) -> bool:
    """Whether a file is to be read as Parquet."""
    if path.suffix.lower() in {".parquet", ".pq"}:
        return True
    with path.open("rb") as file:
        return file.read(len(_PARQUET_MAGIC)) == _PARQUET_MAGIC


@contextmanager
def parquet_file(path: Path, label: str) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file; a damaged one is a ``BadInputError``, also when that shows only later."""
    if path.stat().st_size == 0:
        raise BadInputError(f"{label} is empty")
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise BadInputError(f"{label} is not a whole Parquet file: {reason}") from None


def read_columns(path: Path, names: Sequence[str], label: str) -> dict[str, Floats]:
    """Read numeric columns of a Parquet file to (n,) float64, two at a time, with little memory beside the result."""

    def read(name: str) -> Floats:
        with parquet_file(path, label) as file:
            values = np.empty(file.metadata.num_rows)
            start = 0
            for batch in file.iter_batches(batch_size=1 << 20, columns=[name], use_threads=False):
                copy_floats(batch.column(0), values[start : start + len(batch)])
                start += len(batch)
            return values

    with ThreadPoolExecutor(max_workers=2) as pool:
        return dict(zip(names, pool.map(read, names), strict=True))


def _read_parquet(path: Path, label: str) -> RawData:
    with parquet_file(path, label) as file:
        schema = file.schema_arrow
        names = _checked_names(schema.names, label)
        if file.metadata.num_rows == 0:
            raise BadInputError(f"{label} has columns but no rows")
        time = parse_times(file.read(columns=[TIME_COLUMN]).column(0), label)
        numbers = [name for name in names if is_number(schema.field(name).type)]
        texts = [name for name in names if is_text(schema.field(name).type)]
        parsed = {name: _parse_numbers(file.read(columns=[name]).column(0), name, label) for name in texts}
    read = read_columns(path, numbers, label)
    return _checked(time, {name: read.get(name, parsed.get(name)) for name in names}, label)


def _read_table(table: pa.Table, label: str) -> RawData:
    names = _checked_names(table.column_names, label)
    time = parse_times(table.column(TIME_COLUMN), label)
    columns: dict[str, Floats | None] = {}
    for name in names:
        column = table.column(name)
        if is_text(column.type):
            columns[name] = _parse_numbers(column, name, label)
        else:
            columns[name] = to_floats(column)
    return _checked(time, columns, label)


def _checked_names(names: Sequence[str], label: str) -> list[str]:
    """Return the names of all columns but ``time``."""
    if TIME_COLUMN not in names:
        found = ", ".join(map(repr, names[:20]))
        raise BadInputError(f"{label} has no column {TIME_COLUMN!r}; its columns are {found}")
    for position, name in enumerate(names):
        if not name:
            raise BadInputError(f"{label}: column {position + 1} has no name")
        if name in names[:position]:
            raise BadInputError(f"{label} has two columns {name!r}")
    return [name for name in names if name != TIME_COLUMN]


def _checked(time: Times, columns: dict[str, Floats | None], label: str) -> RawData:
    """Leave out the columns without numbers, and refuse values that are not finite, or none at all."""
    left_out = [name for name, values in columns.items() if values is None]
    kept = {name: values for name, values in columns.items() if values is not None}
    if not kept:
        raise BadInputError(f"{label} has no numeric column beside {TIME_COLUMN!r}")
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
        # The repetition that comes first in the file is the one to look at first.
        first = same[np.argmin(order[same + 1])]
        raise BadInputError(
            f"{label}: row {order[first + 1] + 1}, column {TIME_COLUMN!r}: "
            f"{show_time(ordered[first])} was in row {order[first] + 1} already"
        )
    columns = {name: values[order] for name, values in raw.frame.columns.items()}
    notes += (f"{label}: rows were not in order of time, and were sorted",)
    return RawData(Frame(ordered, columns), notes)


def show_time(moment: np.datetime64) -> str:
    """Format a moment for people, to the second unless it has a fraction."""
    return str(moment.astype("datetime64[us]")).replace("T", " ").removesuffix(".000000")


def parse_times(column: pa.ChunkedArray, label: str) -> Times:
    """Convert text or timestamps to (n,) datetime64[us]; offsets are converted to UTC and dropped.

    Raises:
        BadInputError: A time is missing, cannot be parsed, or lies outside 1678 to 2261; the sentence names the row.
    """
    if is_text(column.type):
        column = pc.utf8_trim_whitespace(column.cast(pa.string()))
    if column.null_count:
        row = pc.index(pc.is_null(column), True).as_py()
        raise BadInputError(f"{label}: row {row + 1}, column {TIME_COLUMN!r}: the time is missing")
    if is_text(column.type):
        column = _parse_timestamps(column, label)
    elif not (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
        raise BadInputError(
            f"{label}: column {TIME_COLUMN!r} holds values of type {column.type}, expected timestamps or text"
        )
    times = to_times(column.cast(pa.timestamp("us", _zone(column.type)), safe=False))
    outside = (times < _EARLIEST) | (times >= _LATEST)
    if outside.any():
        row = int(outside.argmax())
        raise BadInputError(
            f"{label}: row {row + 1}, column {TIME_COLUMN!r}: the time is outside the years 1678 to 2261"
        )
    return times


def _zone(kind: pa.DataType) -> str | None:
    return kind.tz if pa.types.is_timestamp(kind) else None


def _parse_timestamps(column: pa.ChunkedArray, label: str) -> pa.ChunkedArray:
    """Parse ISO 8601; either every time has a UTC offset, or none has."""
    with_offset = pc.match_substring_regex(column.slice(0, 1), _UTC_OFFSET)[0].as_py()
    kind = pa.timestamp("us", "UTC") if with_offset else TIMESTAMP
    try:
        return column.cast(kind)
    except pa.ArrowInvalid:
        row = first_failing(column, kind)
    offset = " with a UTC offset as in the first row" if with_offset else ""
    raise BadInputError(
        f"{label}: row {row + 1}, column {TIME_COLUMN!r}: {_quote(column[row].as_py())} is not a timestamp, "
        f"expected ISO 8601 such as 2018-02-05 23:40:00{offset}"
    ) from None


def _parse_numbers(column: pa.ChunkedArray, name: str, label: str) -> Floats | None:
    """Convert text to (n,) numbers; ``None`` when not one value is a number."""
    text = pc.utf8_trim_whitespace(column.cast(pa.string()))
    missing = pc.or_kleene(pc.is_null(text), pc.is_in(text, value_set=pa.array(MISSING)))
    text = pc.if_else(missing, pa.scalar(None, pa.string()), text)
    good = pc.match_substring_regex(text, _NUMBER)
    if text.null_count < len(text) and not pc.any(good).as_py():
        return None
    if (row := pc.index(good, False).as_py()) >= 0:
        raise BadInputError(f"{label}: row {row + 1}, column {name!r}: {_quote(column[row].as_py())} is not a number")
    return to_floats(text.cast(pa.float64()))


def _quote(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "..")
