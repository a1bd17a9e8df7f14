"""Parameter values from outside, checked against a stage's parameter model."""

import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from flts.errors import BadInputError
from flts.params import Params, Rule
from flts.runtime.paths import is_text

_PROBLEMS = {
    "missing": "is required: {description}",
    "value_error": "{error}",
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
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "must be {description}",
    "literal_error": "must be {choices}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "greater_than": "must be greater than {gt}",
    "less_than": "must be less than {lt}",
}


def check_params(model: type[Params], values: Mapping[str, Any], label: Callable[[str], str]) -> Params:
    """Build a stage's parameters; defaults fill what is missing.

    Args:
        model: The parameter model.
        values: Values by parameter name; text is read as the declared type.
        label: Gives what the user calls a parameter, for example ``--hidden-size``.

    Raises:
        BadInputError: A value is missing, unknown or outside its limits; the sentence names the first such one.
    """
    for name in values:
        if name not in model.model_fields:
            raise BadInputError(f"{label(name)} is not a parameter of this stage{suggest(name, model.model_fields)}")
        if isinstance(values[name], str) and not is_text(values[name]):
            raise BadInputError(f"{label(name)} must be UTF-8 text without NUL, got {_shown(values[name])}")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            raise BadInputError(_with_labels(str(first["ctx"]["error"]), model, label)) from None
        name = str(first["loc"][0])
        problem = _problem(first["type"], first.get("ctx", {}), model.model_fields[name])
        got = "" if first["type"] == "missing" else f", got {_shown(first['input'])}"
        raise BadInputError(f"{label(name)} {problem}{got}") from None


def suggest(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean X?"`` for the known word nearest to a mistyped one, or nothing."""
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def describe_limits(field: FieldInfo) -> str:
    """Say which values a parameter takes, beyond its type: ``at least 1``, ``iqr, zscore or quantile``, or nothing."""
    if get_origin(field.annotation) is Literal:
        *others, last = get_args(field.annotation)
        return f"{', '.join(others)} or {last}"
    if rules := [limit.words for limit in field.metadata if isinstance(limit, Rule)]:
        return rules[0]
    words = {Ge: "at least", Gt: "greater than", Le: "at most", Lt: "less than"}
    bounds = {type(limit): limit for limit in field.metadata if type(limit) in words}
    low, high = bounds.get(Ge), bounds.get(Le)
    if isinstance(low, Ge) and isinstance(high, Le):
        return f"from {low.ge} to {high.le}"
    return ", ".join(f"{words[kind]} {getattr(limit, kind.__name__.lower())}" for kind, limit in bounds.items())


def describe_default(field: FieldInfo) -> str:
    """Say what a parameter is when it is not given."""
    if field.is_required() or field.default == "":
        return "default empty"
    if isinstance(field.default, bool):
        return f"default {'on' if field.default else 'off'}"
    return f"default {field.default}"


def _problem(kind: str, context: Mapping[str, Any], field: FieldInfo) -> str:
    # pydantic gives the limits of a float as floats: 1.0 where the model says 1.
    details = {
        key: int(value) if isinstance(value, float) and value.is_integer() else value for key, value in context.items()
    }
    template = _PROBLEMS.get(kind, "is not valid")
    return template.format(description=field.description, choices=describe_limits(field), **details)


def _shown(value: Any) -> str:
    """Show a wrong value: plain where that is clear, else with quotes and escapes; long text is cut."""
    text = value if isinstance(value, str) and re.fullmatch(r"[\w.+-]+", value) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _with_labels(sentence: str, model: type[Params], label: Callable[[str], str]) -> str:
    """Put what the user calls the parameters where a rule over several of them names them."""
    names = "|".join(sorted(model.model_fields, key=len, reverse=True))
    return re.sub(rf"\b({names})\b", lambda match: label(match[0]), sentence)
