"""Strict conversion of text and timestamps to times, with errors that say how to convert other values."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flts.datafiles.arrow import TIMESTAMP, first_failing, is_number, is_text, to_times
from flts.diagnostics.validation import shown
from flts.errors import BadInputError
from flts.timeseries.arrays import Times
from flts.timeseries.frame import TIME_COLUMN

_UTC_OFFSET = r":\d\d(\.\d+)?\s?(Z|[+-]\d\d(:?\d\d)?)$"
# The range of nanoseconds in pandas and NumPy.
_EARLIEST, _LATEST = np.datetime64("1678-01-01", "us"), np.datetime64("2262-01-01", "us")

_DATE_WITHOUT_ISO = re.compile(r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4}|\d{2})(?!\d)")
# The first unit in which a number lies between the years 1973 and 2286.
_EPOCH_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_EPOCH_SECONDS = 1e8, 1e10


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
        raise BadInputError(f"{label}: column {TIME_COLUMN!r} holds {_kind(column)}, expected timestamps or text")
    times = to_times(column.cast(pa.timestamp("us", _zone(column.type)), safe=False))
    outside = (times < _EARLIEST) | (times >= _LATEST)
    if outside.any():
        row = int(outside.argmax())
        raise BadInputError(
            f"{label}: row {row + 1}, column {TIME_COLUMN!r}: the time is outside the years 1678 to 2261"
        )
    return times


def show_time(moment: np.datetime64) -> str:
    """Format a moment for people, to the second unless it has a fraction."""
    return str(moment.astype("datetime64[us]")).replace("T", " ").removesuffix(".000000")


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
    text = column[row].as_py()
    offset = " with a UTC offset as in the first row" if with_offset else ""
    raise BadInputError(
        f"{label}: row {row + 1}, column {TIME_COLUMN!r}: {shown(text, quoted=True)} is not a timestamp, "
        f"expected ISO 8601 such as 2018-02-05 23:40:00{offset}{_conversion(text)}"
    ) from None


def _kind(column: pa.ChunkedArray) -> str:
    """Return what a column holds that is neither text nor timestamps, and how to convert numbers."""
    if not is_number(column.type) or pa.types.is_boolean(column.type):
        return "neither dates nor times of day with a date"
    return "numbers" + _conversion(str(column[0].as_py())) if len(column) else "numbers"


def _conversion(text: str) -> str:
    """Return how to convert text that looks like seconds since 1970, or like a date without the year in front."""
    frame_time = f"frame[{TIME_COLUMN!r}] = pandas.to_datetime(frame[{TIME_COLUMN!r}]"
    if re.fullmatch(r"\d+(\.\d+)?", text):
        for power, (unit, name) in enumerate(_EPOCH_UNITS.items()):
            if _EPOCH_SECONDS[0] <= float(text) / 1000**power < _EPOCH_SECONDS[1]:
                return f"; if these are {name} since 1970: {frame_time}, unit={unit!r})"
    if found := _DATE_WITHOUT_ISO.match(text):
        if int(found[2]) > 12:
            return f"; if the month comes first: {frame_time})"
        other = "" if int(found[1]) > 12 else ", with dayfirst=False if the month does"
        return f"; if the day comes first: {frame_time}, dayfirst=True){other}"
    return ""
