"""What is waited for: models that no trainer has reported, data without a model, models without data."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flts.contracts import ModelType
from flts.store import ObjectStore
from flts.workers.roles.forecasting import DATA_FILE, MODEL_FILE

_TRAINED = re.compile(r"([^/]+)/([^/]+)/trained/([A-Z0-9]+)\.json")
_FORECAST = re.compile(r"([^/]+)/index/awaited/([^/]+)/([a-z_]+\.json)")


@dataclass(frozen=True)
class Awaited:
    """A dataset of an owner for which something is missing."""

    owner: str
    config_hash: str
    missing: tuple[str, ...]


def awaited_models(store: ObjectStore, bucket: str, expected: Sequence[ModelType]) -> Iterator[Awaited]:
    """Yield the datasets of which some models are trained, and some that are expected are not."""
    trained: dict[tuple[str, str], set[str]] = {}
    for info in store.list(bucket):
        if match := _TRAINED.fullmatch(info.key):
            trained.setdefault((match[1], match[2]), set()).add(match[3])
    for (name, config_hash), types in trained.items():
        if missing := tuple(each for each in expected if each not in types):
            yield Awaited(name, config_hash, missing)


def awaited_forecasts(store: ObjectStore, bucket: str) -> Iterator[Awaited]:
    """Yield the datasets of which there is a model and no data, or data and no model."""
    there: dict[tuple[str, str], set[str]] = {}
    for info in store.list(bucket):
        if match := _FORECAST.fullmatch(info.key):
            there.setdefault((match[1], match[2]), set()).add(match[3])
    words = {DATA_FILE: "inference data", MODEL_FILE: "a selected model"}
    for (name, config_hash), files in there.items():
        if missing := tuple(text for file, text in words.items() if file not in files):
            yield Awaited(name, config_hash, missing)
