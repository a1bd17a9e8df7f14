"""Arrow arrays to NumPy and back, over their buffers.

pyarrow's own ``pa.array`` and ``to_numpy`` import pandas wherever it is installed, which costs half a second.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flts.timeseries.arrays import Floats, Times

TIMESTAMP = pa.timestamp("us")


def is_number(kind: pa.DataType) -> bool:
    """Whether values of this Arrow type are read as numbers without parsing text."""
    types = pa.types
    return any(
        is_kind(kind) for is_kind in (types.is_floating, types.is_integer, types.is_boolean, types.is_decimal)
    ) or types.is_null(kind)


def is_text(kind: pa.DataType) -> bool:
    """Whether this Arrow type holds text."""
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
        validity = pa.py_buffer(np.packbits(~missing, bitorder="little"))
    return pa.Array.from_buffers(pa.float64(), len(values), [validity, pa.py_buffer(values)])


def times_array(times: Times) -> pa.Array:
    """Wrap (n,) datetime64[us] without a copy."""
    return pa.Array.from_buffers(TIMESTAMP, len(times), [None, pa.py_buffer(np.ascontiguousarray(times).view("i8"))])


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
