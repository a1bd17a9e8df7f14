"""Strict conversion of text to numbers, which refuses separators that could mean thousands.

One value does not distinguish a decimal point from a European separator of thousands: ``1.001`` is one or a thousand
and one. A column is refused when both readings are possible:

- every value with the separator has one to three digits before it, the first not 0, and exactly three after it; and
- the values without it are whole numbers of up to three digits, and there are some: a writer of decimals of a fixed
  length would have written ``999.000``, and a writer of thousands would not have written ``1000``.

Any other value proves decimals: ``0.125``, ``2.5``, ``1234.567``, ``1e3``, ``1000``. One file has one writer, so other
columns are evidence, too. Where they prove that this separator is the decimal one, only a column in which some value
ends in 0 is refused: a writer of decimals who writes ``999`` would not write ``1.000``. Where they prove that the other
separator is the decimal one, the column is refused also without whole numbers.
"""

import contextlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from flts.datafiles.arrow import to_floats
from flts.diagnostics.validation import shown
from flts.errors import BadInputError
from flts.timeseries.arrays import Floats

MISSING = ["", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NAN", "-NaN", "-nan", "NULL", "Null", "null", "None", "none"]

_NUMBER = r"(?i)^[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|infinity)$"
_THOUSANDS = r"^[+-]?\d{1,3}([,.' \x{a0}\x{2009}\x{202f}]\d{3})+([.,]\d*)?$"
_DECIMAL_COMMA = r"^[+-]?\d*,\d+$"

_FIRST = 1000


@dataclass(frozen=True)
class _Column:
    """A column as text, null where missing, its numbers, and the evidence for the meaning of its separator ``mark``.

    ``proven``: the separator is certainly the decimal one; ``grouped``: it could separate thousands in every value
    that has it; ``whole``: some values do not have it.
    """

    text: pa.ChunkedArray
    numbers: Floats | None
    mark: str
    proven: bool = False
    grouped: bool = False
    whole: bool = False


def parse_numbers(
    texts: Mapping[str, pa.ChunkedArray], label: str, *, decimal_commas: bool = False, proven_point: str | None = None
) -> dict[str, Floats | None]:
    """Convert the text columns of one file to numbers.

    Args:
        texts: The columns by name.
        label: Name of the file in errors.
        decimal_commas: Accept ``,`` as the decimal separator of columns without any ``.``.
        proven_point: Another column of the file, in which ``.`` certainly is the decimal separator.

    Returns:
        (n,) numbers by name, NaN where missing; ``None`` for a column without a number in it.

    Raises:
        BadInputError: A value in a column of numbers is not a number, or its separator could be one of thousands.
    """
    with ThreadPoolExecutor(max_workers=2) as pool:
        converted = pool.map(lambda name: _convert(name, texts[name], label, decimal_commas), texts)
        columns = dict(zip(texts, converted, strict=True))
    proven = {column.mark: name for name, column in columns.items() if column.proven}
    if proven_point is not None:
        proven["."] = proven_point
    for name, column in columns.items():
        if column.grouped:
            _check_grouped(name, column, proven, label)
    return {name: column.numbers for name, column in columns.items()}


def proves_point(text: pa.ChunkedArray) -> bool:
    """Tell whether some value is a number whose point can only be a decimal point."""
    decimal = pc.and_(pc.match_substring_regex(text, _NUMBER), pc.match_substring(text, "."))
    return bool(pc.any(pc.and_not(decimal, _could_be_thousands(text, "."))).as_py())


def is_whole(text: pa.ChunkedArray) -> bool:
    """Tell whether there are values, and all are whole numbers."""
    return text.null_count < len(text) and bool(pc.all(pc.match_substring_regex(text, r"^-?\d{1,18}$")).as_py())


def _could_be_thousands(text: pa.ChunkedArray, mark: str) -> pa.ChunkedArray:
    """Flag whole numbers of up to three digits, alone or followed by the mark and one group of three digits."""
    return pc.match_substring_regex(text, rf"^[+-]?(\d{{1,3}}|[1-9]\d{{0,2}}\{mark}\d{{3}})$")


def _convert(name: str, text: pa.ChunkedArray, label: str, decimal_commas: bool) -> _Column:
    text = text.cast(pa.string())
    mark = "," if decimal_commas and _has(text, ",") and not _has(text, ".") else "."
    with contextlib.suppress(pa.ArrowInvalid):
        return _examine(text, to_floats(_with_points(text, mark).cast(pa.float64())), mark, decimal_commas)
    text = pc.utf8_trim_whitespace(text)
    missing = pc.or_kleene(pc.is_null(text), pc.is_in(text, value_set=pa.array(MISSING)))
    text = pc.if_else(missing, pa.scalar(None, pa.string()), text)
    good = pc.match_substring_regex(_with_points(text, mark), _NUMBER)
    if text.null_count < len(text) and not pc.any(good).as_py() and not _is_formatted(text):
        return _Column(text, None, mark)
    if (row := pc.index(good, False).as_py()) >= 0:
        value = text[row].as_py()
        raise BadInputError(
            f"{label}: row {row + 1}, column {name!r}: {shown(value, quoted=True)} is not a number{_advice(value)}"
        )
    return _examine(text, to_floats(_with_points(text, mark).cast(pa.float64())), mark, decimal_commas)


def _with_points(text: pa.ChunkedArray, mark: str) -> pa.ChunkedArray:
    return text if mark == "." else pc.replace_substring(text, mark, ".")


def _is_formatted(text: pa.ChunkedArray) -> bool:
    """Tell whether every value is a formatted number, so that the column is not taken for text."""
    return bool(pc.all(pc.match_substring_regex(text, f"{_THOUSANDS}|{_DECIMAL_COMMA}")).as_py())


def _advice(value: str) -> str:
    text = pa.array([value])
    if pc.match_substring_regex(text, _THOUSANDS)[0].as_py():
        return ": remove thousands separators"
    if pc.match_substring_regex(text, _DECIMAL_COMMA)[0].as_py():
        return ": write decimals with a point"
    return ""


def _examine(text: pa.ChunkedArray, numbers: Floats, mark: str, decimal_commas: bool) -> _Column:
    """Find out whether the separators could be separators of thousands."""
    marked = pc.match_substring(text, mark)
    if not pc.any(marked).as_py():
        return _Column(text, numbers, mark)
    whole = not pc.all(marked).as_py()
    if not whole and not decimal_commas:
        # This column cannot hold thousands. As evidence for other columns the first values suffice.
        return _Column(text, numbers, mark, proven=proves_point(text.slice(0, _FIRST)))
    grouped = bool(pc.all(_could_be_thousands(text, mark)).as_py())
    return _Column(text, numbers, mark, proven=not grouped, grouped=grouped, whole=whole)


def _check_grouped(name: str, column: _Column, proven: Mapping[str, str], label: str) -> None:
    """Refuse a column whose separators could all be separators of thousands, where there is evidence for that."""
    mark, other = column.mark, "," if column.mark == "." else "."
    marked = pc.match_substring(column.text, mark)
    if other in proven:
        evidence = f"and column {proven[other]!r} has decimals with {other!r}"
        way_out = "or use one decimal separator everywhere"
    elif column.whole and (mark not in proven or pc.any(pc.and_(marked, pc.ends_with(column.text, "0"))).as_py()):
        whole = column.text[pc.index(marked, False).as_py()].as_py()
        evidence = f"next to whole numbers such as {whole!r}"
        way_out = f"or write {whole!r} as '{whole}{mark}0'"
    else:
        return
    row = pc.index(marked, True).as_py()
    value = column.text[row].as_py()
    raise BadInputError(
        f"{label}: row {row + 1}, column {name!r}: {value!r} may mean {float(value.replace(mark, '.'))} or "
        f"{value.replace(mark, '')}, {evidence}: remove thousands separators, {way_out}"
    )


def _has(text: pa.ChunkedArray, mark: str) -> bool:
    return bool(pc.any(pc.match_substring(text, mark)).as_py())
