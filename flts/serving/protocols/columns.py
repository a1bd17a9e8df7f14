"""Conversion of columns sent by clients into the history that a model forecasts from."""

import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flts.diagnostics.validation import shown
from flts.errors import BadInputError
from flts.models.bundle import Bundle
from flts.models.history import check_history, measured_columns, process_history
from flts.timeseries.arrays import Floats, Times
from flts.timeseries.processed import ProcessedData

Column = Sequence[Any] | NDArray[Any]

_OFFSET = re.compile(r"\d\d(Z|[+-]\d\d(:?\d\d)?)$")
# What pandas and NumPy can hold in nanoseconds.
_EARLIEST, _LATEST = np.datetime64("1678-01-01", "us"), np.datetime64("2262-01-01", "us")


def to_history(bundle: Bundle, columns: Mapping[str, Column], time_column: str) -> ProcessedData:
    """Convert columns into a history.

    Args:
        bundle: The model.
        columns: Lists or arrays of equal length: timestamps as text in ``time_column``, numbers in all others.
        time_column: Name of the column with ISO 8601 timestamps; those without an offset are UTC.

    Raises:
        BadInputError: A column is missing, differs in length or holds something else, a row is not later than the one
            before it, or there are too few rows.
    """
    rows = {name: len(values) for name, values in columns.items()}
    check_history(bundle.config, rows, rows.get(time_column, 0), time_column)
    measured = measured_columns(bundle.config)
    for name in measured:
        if rows[name] != rows[time_column]:
            raise BadInputError(
                f"column {name!r} has {rows[name]} values and {time_column!r} has {rows[time_column]}: both must have "
                "the same number"
            )
    time = _to_times(columns[time_column], time_column)
    return process_history(bundle, time, {name: _to_numbers(columns[name], name) for name in measured})


def _to_numbers(values: Column, name: str) -> Floats:
    try:
        array = np.array(values)
    except ValueError:  # it contains lists of different lengths
        array = np.array(None)
    if array.ndim == 1 and array.dtype.kind in "iuf":
        numbers: Floats = array.astype(np.float64)
        if np.isfinite(numbers).all():
            return numbers
    row = next((row for row, value in enumerate(values) if not _is_number(value)), 0)
    raise BadInputError(
        f"row {row} of the history has no number in column {name!r}: {shown(values[row], quoted=True)}; fill missing "
        "values first"
    )


def _is_number(value: object) -> bool:
    # Not "< inf": integers of any size are, but not all of them fit into a float.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _to_times(values: Column, name: str) -> Times:
    try:
        with_offset = bool(_OFFSET.search(values[0][10:]))
        text = pa.array(values, pa.string())
        time = text.cast(pa.timestamp("us", "UTC" if with_offset else None))
        if not time.null_count:
            return _check_range(time.to_numpy(zero_copy_only=False).astype("datetime64[us]"), values, name)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError):
        pass  # offsets on some rows only, or values that are no timestamps: the slow way below says which
    return _check_range(
        np.array([_to_moment(value, row, name) for row, value in enumerate(values)], "datetime64[us]"), values, name
    )


def _to_moment(value: object, row: int, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)  # type: ignore[arg-type] # anything but text is a TypeError
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (TypeError, ValueError, OverflowError):
        raise _time_error(value, row, name) from None


def _check_range(time: Times, values: Column, name: str) -> Times:
    if (outside := (time < _EARLIEST) | (time >= _LATEST)).any():
        row = int(outside.argmax())
        raise _time_error(values[row], row, name)
    return time


def _time_error(value: object, row: int, name: str) -> BadInputError:
    return BadInputError(
        f"row {row} of the history has no timestamp in column {name!r}: {shown(value, quoted=True)}; ISO 8601 is "
        "expected, such as 2018-02-05T23:40:00Z, in the years 1678 to 2261"
    )
