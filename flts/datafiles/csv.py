"""CSV files to Arrow tables: separator, BOM, encoding and gzip, and errors that name what cannot be parsed."""

import codecs
import contextlib
import csv
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from flts.datafiles.numbers import MISSING, is_whole, proves_point
from flts.errors import BadInputError
from flts.timeseries.frame import TIME_COLUMN

_HEADER_LIMIT = 1 << 20
_HEADER = re.compile(rb"(?:\xef\xbb\xbf)?+[\r\n]*([^\r\n]+)(?:\r\n|\r|\n|$)")
_SAMPLE = 1 << 17
_GZIP_MAGIC = b"\x1f\x8b"
_OTHER_SEPARATORS = {"\t": "tabs", "|": "vertical bars"}


@dataclass(frozen=True)
class CsvTable:
    """Content of a CSV file, not all of it parsed to numbers yet.

    Attributes:
        table: ``time`` as text; columns that certainly hold decimals with a point as float64, columns of whole numbers
            as int64; all others as text, null where missing.
        decimal_commas: True where ``;`` separates the fields, which usually goes with decimal commas.
    """

    table: pa.Table
    decimal_commas: bool


@dataclass(frozen=True)
class _Layout:
    """Column names, the separator of fields, where the rows begin, and the first of them."""

    names: Sequence[str]
    delimiter: str
    start: int
    sample: bytes


def read_csv(path: Path, label: str) -> CsvTable:
    """Read a CSV file with ``,`` or ``;`` between its fields.

    Args:
        path: The file; UTF-8, with or without a byte-order mark; its content may be compressed with gzip.
        label: Name of the file in errors.

    Raises:
        BadInputError: The file is empty, has only a header, is not UTF-8, has damaged gzip content, or a row has too
            many or too few fields.
    """
    try:
        layout = _read_layout(path, label)
        table = _read_table(path, layout, label)
    except OSError as error:
        if error.errno is not None or not is_gzip(path):
            raise
        raise BadInputError(f"{label} is damaged: its gzip content cannot be unpacked to its end") from None
    if table.num_rows == 0:
        raise BadInputError(f"{label} has a header but no rows")
    return CsvTable(table, decimal_commas=layout.delimiter == ";")


def is_gzip(path: Path) -> bool:
    """Tell whether a file's content is compressed with gzip."""
    with path.open("rb") as file:
        return file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC


def _read_table(path: Path, layout: _Layout, label: str) -> pa.Table:
    """Parse with the types that the first rows suggest; where that fails, with fewer assumptions."""
    text = dict.fromkeys(layout.names, pa.string())
    points, whole = _numeric_columns(layout)
    attempts = [text | points | whole] * bool(whole) + [text | points] * bool(points)
    for types in attempts:
        with contextlib.suppress(pa.ArrowInvalid):
            return _parse(path, layout, types)
    try:
        return _parse(path, layout, text)
    except pa.ArrowInvalid:
        raise _explain(path, layout, label) from None


def _numeric_columns(layout: _Layout) -> tuple[dict[str, pa.DataType], dict[str, pa.DataType]]:
    """Return the columns whose first rows prove decimals with a point, and those whose first rows are whole numbers.

    The latter are parsed as integers, which fails where a separator follows later. No other type of Arrow distinguishes
    ``1.000`` from ``1``.
    """
    whole_rows = layout.sample[: max(layout.sample.rfind(end) for end in (b"\n", b"\r")) + 1]
    points: dict[str, pa.DataType] = {}
    whole: dict[str, pa.DataType] = {}
    with contextlib.suppress(pa.ArrowInvalid):
        table = _parse_stream(pa.BufferReader(whole_rows), layout, dict.fromkeys(layout.names, pa.string()))
        for name, column in zip(layout.names, table.columns, strict=True):
            if name != TIME_COLUMN and proves_point(column):
                points[name] = pa.float64()
            elif name != TIME_COLUMN and is_whole(column):
                whole[name] = pa.int64()
    return points, whole


@contextlib.contextmanager
def _content(path: Path) -> Iterator[pa.NativeFile]:
    """Open a file as a stream of its content, unpacked where it is compressed."""
    with pa.OSFile(os.fsencode(path)) as file:
        packed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        file.seek(0)
        if packed:
            with pa.CompressedInputStream(file, "gzip") as stream:
                yield stream
        else:
            yield file


def _read_layout(path: Path, label: str) -> _Layout:
    with _content(path) as file:
        head = file.read(_HEADER_LIMIT)
    found = _HEADER.match(head)
    if found is None:
        raise BadInputError(f"{label} is empty")
    try:
        text = found[1].decode()
    except UnicodeDecodeError:
        raise (_not_utf8(path, label) or BadInputError(f"{label} is not UTF-8")) from None
    delimiter = ";" if text.count(";") > text.count(",") else ","
    names = [name.strip() for name in next(csv.reader([text], delimiter=delimiter))]
    if len(names) == 1:
        for separator, what in _OTHER_SEPARATORS.items():
            if separator in names[0]:
                raise BadInputError(f"{label}: fields seem to be separated by {what}: expected commas or semicolons")
    start = found.end()
    if not head[start:].strip():
        raise BadInputError(f"{label} has a header but no rows")
    return _Layout(names, delimiter, start, head[start : start + _SAMPLE])


def _parse(path: Path, layout: _Layout, types: Mapping[str, pa.DataType]) -> pa.Table:
    with _content(path) as file:
        file.read(layout.start)
        return _parse_stream(file, layout, types)


def _parse_stream(file: pa.NativeFile, layout: _Layout, types: Mapping[str, pa.DataType]) -> pa.Table:
    return pyarrow.csv.read_csv(
        file,
        read_options=pyarrow.csv.ReadOptions(column_names=layout.names),
        parse_options=pyarrow.csv.ParseOptions(delimiter=layout.delimiter),
        convert_options=pyarrow.csv.ConvertOptions(column_types=types, null_values=MISSING, strings_can_be_null=True),
    )


def _explain(path: Path, layout: _Layout, label: str) -> BadInputError:
    if (encoding := _not_utf8(path, label)) is not None:
        return encoding
    ragged: list[pyarrow.csv.InvalidRow] = []

    def remember(row: "pyarrow.csv.InvalidRow") -> str:
        ragged.append(row)
        return "skip"

    # Arrow numbers rows only when a single thread reads.
    with _content(path) as file, contextlib.suppress(pa.ArrowInvalid):
        file.read(layout.start)
        pyarrow.csv.read_csv(
            file,
            read_options=pyarrow.csv.ReadOptions(column_names=layout.names, use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(delimiter=layout.delimiter, invalid_row_handler=remember),
        )
    if ragged:
        row = ragged[0]
        fields = f"{row.actual_columns} fields, expected {row.expected_columns} as in the header"
        return BadInputError(f"{label}: row {row.number} has {fields}")
    return BadInputError(f"{label} cannot be read as CSV: a quote is not closed, or a row is longer than a megabyte")


def _not_utf8(path: Path, label: str) -> BadInputError | None:
    """Return the error that names the first byte that is not UTF-8, if there is one."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    with _content(path) as file:
        while True:
            block = file.read(1 << 20)
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                line += error.object.count(b"\n", 0, error.start)
                byte = error.object[error.start]
                return BadInputError(f"{label} is not UTF-8: line {line} holds the byte 0x{byte:02x}")
            if not block:
                return None
            line += block.count(b"\n")
