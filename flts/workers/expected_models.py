"""The model types that eval waits for: set where eval runs, and recorded in the store for everybody else."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from flts.contracts import Message, ModelType
from flts.errors import BadInputError, ObjectNotFoundError
from flts.models.registry import REQUIRED_MODELS, TRAINED_MODELS
from flts.store import ObjectStore

VARIABLE = "EXPECTED_MODEL_TYPES"
# No identifier can be called "trained": the name is one of those that keys use.
_FOLDER = "trained/expected"


class _Record(Message):
    kind: ClassVar[str] = "record of expected models"
    model_types: tuple[ModelType, ...]


def read_expected_types(environ: Mapping[str, str]) -> tuple[ModelType, ...]:
    """Return the model types that ``EXPECTED_MODEL_TYPES`` names, in the order in which ties are broken.

    Raises:
        BadInputError: It names a type that does not exist.
    """
    given = environ.get(VARIABLE) or ",".join(REQUIRED_MODELS)
    named = {name.strip().upper() for name in given.split(",") if name.strip()}
    if not named or named - set(TRAINED_MODELS):
        raise BadInputError(
            f"environment variable {VARIABLE} must be some of {', '.join(TRAINED_MODELS)}, separated by commas, "
            f"got {given!r}"
        )
    return tuple(name for name in TRAINED_MODELS if name in named)


def record_key(group: str) -> str:
    """Return the key of the record, in the bucket of promotions; ``group`` is eval's consumer group."""
    return f"{_FOLDER}/{group}.json"


def record_expected_types(store: ObjectStore, bucket: str, group: str, types: Sequence[ModelType]) -> None:
    """Record what a worker of eval waits for; errors as ``put``."""
    store.put(bucket, record_key(group), _Record(model_types=tuple(types)).to_json().encode())


def recorded_expected_types(store: ObjectStore, bucket: str, group: str) -> tuple[ModelType, ...] | None:
    """Return what the last worker of eval to start waits for, ``None`` where none has recorded it.

    Raises:
        BadInputError: The record is damaged.
        ServiceUnavailableError: The store cannot be reached.
    """
    try:
        content, _ = store.get(bucket, record_key(group))
    except ObjectNotFoundError:
        return None
    return _Record.parse(content, source=f"{bucket}/{record_key(group)}").model_types
