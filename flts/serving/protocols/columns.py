"""Columns of values, as clients send them, to the history that a model sees."""

import re
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


def history_of(bundle: Bundle, columns: Mapping[str, Column], time_column: str) -> ProcessedData:
    """Turn columns into a history.

    Args:
        bundle: The model.
        columns: Lists or arrays of equal length; of timestamps as text under ``time_column``, else of numbers.
        time_column: Name of the column of timestamps, ISO 8601; those without an offset are UTC.

    Raises:
        BadInputError: A column is missing, has another length than the others or holds something else, a row is not
            later than the one before it, or there are too few rows.
    """
    rows = {name: len(values) for name, values in columns.items()}
    check_history(bundle.config, rows, rows.get(time_column, 0), time_column)
    measured = measured_columns(bundle.config)
    for name in measured:
        if rows[name] != rows[time_column]:
            raise BadInputError(
                f"column {name!r} has {rows[name]} values and {time_column!r} has {rows[time_column]}: they must have "
                "as many"
            )
    time = _times(columns[time_column], time_column)
    return process_history(bundle, time, {name: _numbers(columns[name], name) for name in measured})


def _numbers(values: Column, name: str) -> Floats:
    try:
        array = np.array(values)
    except ValueError:  # lists of different lengths in it
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
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(abs(value) < np.inf)


def _times(values: Column, name: str) -> Times:
    try:
        with_offset = bool(_OFFSET.search(values[0][10:]))
        text = pa.array(values, pa.string())
        time = text.cast(pa.timestamp("us", "UTC" if with_offset else None))
        if not time.null_count:
            return _checked(time.to_numpy(zero_copy_only=False).astype("datetime64[us]"), values, name)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError):
        pass  # some with an offset and some without, or no timestamps
    return _checked(
        np.array([_moment(value, row, name) for row, value in enumerate(values)], "datetime64[us]"), values, name
    )


def _moment(value: object, row: int, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)  # type: ignore[arg-type] # a TypeError else
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (TypeError, ValueError, OverflowError):
        raise _no_time(value, row, name) from None


def _checked(time: Times, values: Column, name: str) -> Times:
    if (outside := (time < _EARLIEST) | (time >= _LATEST)).any():
        row = int(outside.argmax())
        raise _no_time(values[row], row, name)
    return time


def _no_time(value: object, row: int, name: str) -> BadInputError:
    return BadInputError(
        f"row {row} of the history has no timestamp in column {name!r}: {shown(value, quoted=True)}; ISO 8601 is "
        "expected, such as 2018-02-05T23:40:00Z, in the years 1678 to 2261"
    )
