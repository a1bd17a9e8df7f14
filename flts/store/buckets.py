"""Names of buckets for commands and workers that do not take them as a stage's parameters."""

from collections.abc import Mapping

from flts.errors import BadInputError
from flts.params import BUCKETS
from flts.store.keys import check_bucket


def bucket_option(parameter: str) -> str:
    """Return a command's option for a bucket, ``--input-bucket`` for ``input_bucket``."""
    return f"--{parameter.replace('_', '-')}"


def read_bucket(parameter: str, environ: Mapping[str, str], option: str | None = None) -> str:
    """Return the name of a bucket: the option's value, else the environment variable's, else the default.

    Args:
        parameter: The parameter that names it, one of ``BUCKETS``.
        environ: The environment; an empty variable counts as unset.
        option: The value of the command's option, if it was given.

    Raises:
        BadInputError: No store accepts the name; the sentence says where it came from.
    """
    variable = parameter.upper()
    name = option or environ.get(variable) or BUCKETS[parameter].default
    try:
        check_bucket(name)
    except BadInputError as error:
        source = bucket_option(parameter) if option else f"environment variable {variable}"
        raise BadInputError(f"{source}: {error}") from None
    return name
