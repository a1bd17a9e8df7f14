"""Parameters and settings from flags and environment variables, checked against their model."""

import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Literal, TypeVar, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from flts.boundary.paths import is_text
from flts.diagnostics.validation import PROBLEMS, problem, shown
from flts.errors import BadInputError
from flts.params import ParamRule, Params

P = TypeVar("P", bound=Params)

_PROBLEMS = PROBLEMS | {
    "missing": "is required: {description}",
    "string_pattern_mismatch": "must be {description}",
    "literal_error": "must be {choices}",
}


def read_values(
    model: type[P],
    environ: Mapping[str, str],
    variables: Mapping[str, str],
    flags: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> tuple[P, set[str]]:
    """Read parameters or settings from flags and the environment; flags win, and an empty variable counts as unset.

    Args:
        model: The parameter model.
        environ: The environment.
        variables: The environment variable of each parameter that has one.
        flags: The values of flags by parameter name; ``None`` where there are no flags.
        defaults: Values that stand in for the model's own defaults.

    Returns:
        The parameters, and the names of those that were given.

    Raises:
        BadInputError: A value is wrong; the sentence names the flag or the environment variable.
    """
    found = {name: environ[variable] for name, variable in variables.items() if environ.get(variable)}
    given = found | dict(flags or {})

    def label(name: str) -> str:
        is_flag = flags is not None and (name in flags or name not in found)
        return flag(name) if is_flag else f"environment variable {variables[name]}"

    return check_params(model, dict(defaults or {}) | given, label), set(given)


def flag(name: str) -> str:
    """Return the flag of a parameter or artifact, ``--hidden-size`` for ``hidden_size``."""
    return "--" + name.replace("_", "-")


def check_params(model: type[P], values: Mapping[str, Any], label: Callable[[str], str]) -> P:
    """Build parameters; defaults fill in for values that are missing.

    Args:
        model: The parameter model.
        values: Values by parameter name; text is read as the declared type.
        label: Returns the name of a parameter that the user knows, for example ``--hidden-size``.

    Raises:
        BadInputError: A value is missing, unknown or outside its limits; the sentence names the first such one.
    """
    for name in values:
        if name not in model.model_fields:
            raise BadInputError(f"{label(name)} is not a parameter of this stage{suggest(name, model.model_fields)}")
        if isinstance(values[name], str) and not is_text(values[name]):
            raise BadInputError(f"{label(name)} must be UTF-8 text without NUL, got {shown(values[name])}")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            raise BadInputError(_with_labels(str(first["ctx"]["error"]), model, label)) from None
        name = str(first["loc"][0])
        field = model.model_fields[name]
        context = first.get("ctx", {}) | {"description": field.description, "choices": describe_limits(field)}
        got = "" if first["type"] == "missing" else f", got {shown(first['input'])}"
        raise BadInputError(f"{label(name)} {problem(first['type'], context, _PROBLEMS)}{got}") from None


def standalone_defaults(model: type[Params]) -> dict[str, Any]:
    """Return the values of required parameters for a stage that runs by itself, without an earlier one to set them."""
    return {
        name: extra(field)["standalone"] for name, field in model.model_fields.items() if "standalone" in extra(field)
    }


def extra(field: FieldInfo) -> Mapping[str, Any]:
    """Return the declarations of a parameter other than its type and limits."""
    declared = field.json_schema_extra
    if not isinstance(declared, dict):
        raise TypeError("a parameter must declare its group: use flts.params._param")
    return declared


def suggest(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean X?"`` for the known word nearest to a mistyped one, or nothing."""
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def is_typo(word: str, known: str) -> bool:
    """Tell whether a word is a known one, or one letter off: extra, missing, wrong, or swapped with the next."""
    same = next((at for at, (a, b) in enumerate(zip(word, known, strict=False)) if a != b), min(len(word), len(known)))
    rest, other = word[same:], known[same:]
    return other in (rest, rest[1:]) or rest == other[1:] or rest[1:] == other[1:] or rest == other[1::-1] + other[2:]


def describe_limits(field: FieldInfo) -> str:
    """Describe the values of a parameter beyond its type: ``at least 1``, ``iqr, zscore or quantile``, or nothing."""
    if get_origin(field.annotation) is Literal:
        *others, last = get_args(field.annotation)
        return f"{', '.join(others)} or {last}"
    if rules := [limit.words for limit in field.metadata if isinstance(limit, ParamRule)]:
        return rules[0]
    words = {Ge: "at least", Gt: "greater than", Le: "at most", Lt: "less than"}
    bounds = {type(limit): limit for limit in field.metadata if type(limit) in words}
    low, high = bounds.get(Ge), bounds.get(Le)
    if isinstance(low, Ge) and isinstance(high, Le):
        return f"from {low.ge} to {high.le}"
    return ", ".join(f"{words[kind]} {getattr(limit, kind.__name__.lower())}" for kind, limit in bounds.items())


def describe_default(field: FieldInfo) -> str:
    """Describe the value of a parameter that is not given."""
    if field.is_required() or field.default == "":
        return "default empty"
    if isinstance(field.default, bool):
        return f"default {'on' if field.default else 'off'}"
    return f"default {field.default}"


def _with_labels(sentence: str, model: type[Params], label: Callable[[str], str]) -> str:
    """Replace the names of parameters, in the sentence of a rule over several of them, by those that the user knows."""
    names = "|".join(sorted(model.model_fields, key=len, reverse=True))
    return re.sub(rf"\b({names})\b", lambda match: label(match[0]), sentence)
