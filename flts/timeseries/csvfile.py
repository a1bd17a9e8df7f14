"""CSV files to Arrow tables: separator, BOM and encoding, and sentences for what cannot be parsed."""

import codecs
import contextlib
import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from flts.errors import BadInputError
from flts.timeseries.frame import TIME_COLUMN

MISSING = ["", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NAN", "-NaN", "-nan", "NULL", "Null", "null", "None", "none"]

_HEADER_LIMIT = 1 << 20
_HEADER = re.compile(rb"(?:\xef\xbb\xbf)?+[\r\n]*([^\r\n]+)(?:\r\n|\r|\n|$)")


def read_csv(path: Path, label: str) -> pa.Table:
    """Read a CSV file with ``,`` or ``;`` between its fields.

    Args:
        path: The file; UTF-8, with or without a byte-order mark.
        label: How error sentences call it.

    Returns:
        A table with ``time`` as text, and the other columns as float64. Where any other field is not a number, every
        column is text: whoever converts it can say which field is at fault.

    Raises:
        BadInputError: The file is empty, has only a header, is not UTF-8, or a row has too many or too few fields.
    """
    names, delimiter, start = _read_header(path, label)
    numeric = {name: pa.string() if name == TIME_COLUMN else pa.float64() for name in names}
    try:
        table = _parse(path, start, names, delimiter, numeric)
    except pa.ArrowInvalid:
        table = _parse_text(path, start, names, delimiter, label)
        if delimiter == ";":
            table = pa.table([_decimal_points(column) for column in table.columns], names=names)
    if table.num_rows == 0:
        raise BadInputError(f"{label} has a header but no rows")
    return table


def _read_header(path: Path, label: str) -> tuple[list[str], str, int]:
    """Return the column names, the separator, and where the rows begin in the file."""
    with path.open("rb") as file:
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
    if not head[found.end() :].strip():
        raise BadInputError(f"{label} has a header but no rows")
    return names, delimiter, found.end()


def _parse(path: Path, start: int, names: Sequence[str], delimiter: str, types: Mapping[str, pa.DataType]) -> pa.Table:
    with pa.OSFile(str(path)) as file:
        file.seek(start)
        return pyarrow.csv.read_csv(
            file,
            read_options=pyarrow.csv.ReadOptions(column_names=names),
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=types, null_values=MISSING, strings_can_be_null=True
            ),
        )


def _parse_text(path: Path, start: int, names: Sequence[str], delimiter: str, label: str) -> pa.Table:
    try:
        return _parse(path, start, names, delimiter, dict.fromkeys(names, pa.string()))
    except pa.ArrowInvalid as error:
        raise _explain(path, start, delimiter, names, label, error) from None


def _decimal_points(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Replace decimal commas, which usually come with ``;``, where no value of the column has a point."""
    if not pc.any(pc.match_substring(column, ",")).as_py() or pc.any(pc.match_substring(column, ".")).as_py():
        return column
    return pc.replace_substring(column, ",", ".")


def _explain(
    path: Path, start: int, delimiter: str, names: Sequence[str], label: str, error: pa.ArrowInvalid
) -> BadInputError:
    if (encoding := _not_utf8(path, label)) is not None:
        return encoding
    ragged: list[pyarrow.csv.InvalidRow] = []

    def remember(row: "pyarrow.csv.InvalidRow") -> str:
        ragged.append(row)
        return "skip"

    # Rows are numbered only when one thread reads.
    with pa.OSFile(str(path)) as file:
        file.seek(start)
        with contextlib.suppress(pa.ArrowInvalid):
            pyarrow.csv.read_csv(
                file,
                read_options=pyarrow.csv.ReadOptions(column_names=names, use_threads=False),
                parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, invalid_row_handler=remember),
            )
    if ragged:
        row = ragged[0]
        fields = f"{row.actual_columns} fields, expected {row.expected_columns} as in the header"
        return BadInputError(f"{label}: row {row.number} has {fields}")
    return BadInputError(f"{label} cannot be read as CSV: {str(error).splitlines()[0]}")


def _not_utf8(path: Path, label: str) -> BadInputError | None:
    """Return the error that names the first byte that is not UTF-8, if there is one."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    with path.open("rb") as file:
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
