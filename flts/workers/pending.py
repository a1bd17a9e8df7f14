"""What is waited for: models that no trainer has reported, data without a model, models without data."""

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from flts.contracts import ModelType
from flts.errors import FltsError
from flts.store import ObjectStore
from flts.workers.handlers.forecasting import DATA_FILE, MODEL_FILE

_TRAINED = re.compile(r"([^/]+)/([^/]+)/trained/([A-Z0-9]+)\.json")
_SECONDS_BETWEEN_LOOKS = 10.0
# A store with very many keys is not listed all day long.
_SHARE_OF_TIME = 0.05
_FORECAST = re.compile(r"([^/]+)/index/awaited/([^/]+)/([a-z_]+\.json)")


@dataclass(frozen=True)
class PendingWork:
    """A dataset of an owner for which something is missing."""

    owner: str
    config_hash: str
    missing: tuple[str, ...]


def awaited_models(store: ObjectStore, bucket: str, expected: Sequence[ModelType]) -> Iterator[PendingWork]:
    """Yield the datasets of which some models are trained, and some that are expected are not."""
    trained: dict[tuple[str, str], set[str]] = {}
    for info in store.list(bucket):
        if match := _TRAINED.fullmatch(info.key):
            trained.setdefault((match[1], match[2]), set()).add(match[3])
    for (name, config_hash), types in trained.items():
        if missing := tuple(each for each in expected if each not in types):
            yield PendingWork(name, config_hash, missing)


def awaited_forecasts(store: ObjectStore, bucket: str) -> Iterator[PendingWork]:
    """Yield the datasets of which there is a model and no data, or data and no model."""
    there: dict[tuple[str, str], set[str]] = {}
    for info in store.list(bucket):
        if match := _FORECAST.fullmatch(info.key):
            there.setdefault((match[1], match[2]), set()).add(match[3])
    words = {DATA_FILE: "inference data", MODEL_FILE: "a selected model"}
    for (name, config_hash), files in there.items():
        if missing := tuple(text for file, text in words.items() if file not in files):
            yield PendingWork(name, config_hash, missing)


def keep_looking(
    store: ObjectStore, bucket: str, expected: Sequence[ModelType], tell: Callable[[ModelType, int], None]
) -> None:
    """Tell for each type, from a thread of its own and again and again, how many datasets lack a model of it."""

    def look() -> None:
        while True:
            begun = time.monotonic()
            with suppress(FltsError):  # the next look may find the store again
                missing = Counter(name for each in awaited_models(store, bucket, expected) for name in each.missing)
                for name in expected:
                    tell(name, missing[name])
            time.sleep(max(_SECONDS_BETWEEN_LOOKS, (time.monotonic() - begun) / _SHARE_OF_TIME))

    threading.Thread(target=look, daemon=True).start()
