"""Validation errors of pydantic in plain words: ``must be at least 1, got 0``."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

_LONGEST_VALUE = 80

PROBLEMS = {
    "missing": "is missing",
    "value_error": "{error}",
    "json_invalid": "must be JSON, not nested deeply",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_type": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "string_unicode": "must be text",
    "string_too_short": "must not be empty",
    "string_too_long": "must be at most {max_length} characters long",
    "string_pattern_mismatch": "must be of the form {pattern}",
    "literal_error": "must be {expected}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "greater_than": "must be greater than {gt}",
    "less_than": "must be less than {lt}",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a JSON object",
    "model_type": "must be a JSON object",
    "model_attributes_type": "must be a JSON object",
    "dataclass_type": "must be a JSON object",
    "unexpected_keyword_argument": "is not expected",
    "extra_forbidden": "is not expected",
}


def problem(kind: str, context: Mapping[str, Any], templates: Mapping[str, str] = PROBLEMS) -> str:
    """Return the words for an error of pydantic's ``kind``, with the ``context`` that pydantic gives."""
    # pydantic gives the limits of a float as floats: 1.0 where the model says 1.
    details = {
        key: int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value
        for key, value in context.items()
    }
    return templates.get(kind, "is not valid").format(**details)


def first_problem(error: ValidationError) -> str:
    """Return the first error in words: ``field 'parts.rows' must be at least 1, got 0``."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    where = f"field {shown(field, quoted=True)}" if field else "it"
    value = first["input"]
    got = f", got {shown(value)}" if first["type"] != "missing" and _is_short(value) else ""
    return f"{where} {problem(first['type'], first.get('ctx', {}))}{got}"


def shown(value: object, *, quoted: bool = False) -> str:
    """Return a wrong value for a sentence: plain where that is clear, else quoted and escaped; long text is cut."""
    plain = isinstance(value, str) and not quoted and re.fullmatch(r"[\w.+-]+", value)
    text = value if isinstance(value, str) and plain else repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


def _is_short(value: object) -> bool:
    """Tell whether a value helps people in a sentence; a document that is wrong as a whole does not."""
    return isinstance(value, str | int | float | None)
