"""Arrow arrays to NumPy and back, over their buffers.

pyarrow's own ``pa.array`` and ``to_numpy`` import pandas wherever it is installed, which costs half a second.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flts.timeseries.arrays import Flags, Floats, Times

TIMESTAMP = pa.timestamp("us")
_DTYPES = {TIMESTAMP: "datetime64[us]", pa.int64(): "int64", pa.float64(): "float64", pa.bool_(): "bool"}


def is_number(kind: pa.DataType) -> bool:
    """Tell whether values of this Arrow type are read as numbers without parsing text."""
    types = pa.types
    return any(
        is_kind(kind) for is_kind in (types.is_floating, types.is_integer, types.is_boolean, types.is_decimal)
    ) or types.is_null(kind)


def is_text(kind: pa.DataType) -> bool:
    """Tell whether this Arrow type holds text."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def copy_floats(array: pa.Array, out: Floats) -> None:
    """Copy numbers into ``out`` (len(array),) as float64; nulls become NaN."""
    values = array.cast(pa.float64(), safe=False)
    out[:] = _view(values, out.dtype)
    if values.null_count:
        out[_view(values.is_null().cast(pa.uint8()), np.dtype(np.bool_))] = np.nan


def to_floats(array: pa.ChunkedArray) -> Floats:
    """Copy numbers to (len(array),) float64; nulls become NaN."""
    values = np.empty(len(array))
    start = 0
    for chunk in array.chunks:
        copy_floats(chunk, values[start : start + len(chunk)])
        start += len(chunk)
    return values


def to_times(array: pa.ChunkedArray) -> Times:
    """Copy timestamps of type ``TIMESTAMP`` without nulls to (len(array),) datetime64[us]."""
    times = np.empty(len(array), dtype="datetime64[us]")
    start = 0
    for chunk in array.chunks:
        times[start : start + len(chunk)] = _view(chunk, times.dtype)
        start += len(chunk)
    return times


def floats_array(values: Floats, *, nulls: bool = False) -> pa.Array:
    """Wrap (n,) float64 without a copy; with ``nulls`` NaN becomes null."""
    values = np.ascontiguousarray(values)
    validity = None
    if nulls and (missing := np.isnan(values)).any():
        validity = _bits(~missing)
    return pa.Array.from_buffers(pa.float64(), len(values), [validity, pa.py_buffer(values)])


def times_array(times: Times) -> pa.Array:
    """Wrap (n,) datetime64[us] without a copy."""
    return pa.Array.from_buffers(TIMESTAMP, len(times), [None, pa.py_buffer(np.ascontiguousarray(times).view("i8"))])


def table_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Make a table as ``pa.Table.from_pylist`` does; types in ``schema`` are times, integers, floats, flags or text."""
    arrays = [_array([row[field.name] for row in rows], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    known = np.array([value is not None for value in values], dtype=bool)
    validity = None if known.all() else _bits(known)
    if is_text(kind):
        text = [b"" if value is None else value.encode() for value in values]
        offsets = np.cumsum([0, *map(len, text)], dtype=np.int32)
        return pa.Array.from_buffers(kind, len(values), [validity, pa.py_buffer(offsets), pa.py_buffer(b"".join(text))])
    filled = np.array([0 if value is None else value for value in values], dtype=_DTYPES[kind])
    data = _bits(filled) if filled.dtype == bool else pa.py_buffer(filled.view("i8"))
    return pa.Array.from_buffers(kind, len(values), [validity, data])


def _bits(flags: Flags) -> pa.Buffer:
    return pa.py_buffer(np.packbits(flags, bitorder="little"))


def first_failing(array: pa.ChunkedArray, kind: pa.DataType) -> int:
    """Return the index of the first value that cannot be cast to ``kind``, by bisection; one must exist."""
    start, stop = 0, len(array)
    while stop - start > 1:
        middle = (start + stop) // 2
        try:
            pc.cast(array.slice(start, middle - start), kind)
        except pa.ArrowInvalid:
            stop = middle
        else:
            start = middle
    return start


def _view(array: pa.Array, dtype: np.dtype) -> np.ndarray:
    return np.frombuffer(array.buffers()[1], dtype=dtype, count=len(array), offset=array.offset * dtype.itemsize)
