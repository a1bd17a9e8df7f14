"""Datasets that wait: for models that no trainer has reported, for a selected model, or for data."""

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
from flts.workers.expected_models import VARIABLE, record_expected_types
from flts.workers.handlers.forecasting import DATA_FILE, MODEL_FILE

_TRAINED = re.compile(r"([^/]+)/([^/]+)/trained/([A-Z0-9]+)\.json")
_FORECAST = re.compile(r"([^/]+)/index/awaited/([^/]+)/([a-z_]+\.json)")
_SECONDS_BETWEEN_LISTINGS = 10.0
# A store with very many keys is not listed all day long.
_SHARE_OF_TIME = 0.05


@dataclass(frozen=True)
class PendingWork:
    """A dataset of an owner for which something is missing."""

    owner: str
    config_hash: str
    missing: tuple[str, ...]


@dataclass(frozen=True)
class PendingModels:
    """The datasets that wait for models.

    Attributes:
        datasets: Those of which some models are trained, and some expected ones are not.
        unreported: The expected types of which no trainer has ever reported a model, while others have.
    """

    datasets: Sequence[PendingWork]
    unreported: Sequence[ModelType]

    def warnings(self) -> Iterator[str]:
        """Yield a sentence about each unreported type."""
        for name in self.unreported:
            yield (
                f"datasets wait for a model of type {name}, which no trainer has ever reported: start "
                f"flts-train-{name.lower()}, or leave {name} out of {VARIABLE} of eval"
            )


def pending_models(store: ObjectStore, bucket: str, expected: Sequence[ModelType]) -> PendingModels:
    """Return the datasets that wait for models of the expected types; errors as ``list``."""
    trained: dict[tuple[str, str], set[str]] = {}
    for info in store.list(bucket):
        if match := _TRAINED.fullmatch(info.key):
            trained.setdefault((match[1], match[2]), set()).add(match[3])
    reported = set().union(*trained.values())
    return PendingModels(
        [
            PendingWork(owner, config_hash, missing)
            for (owner, config_hash), types in trained.items()
            if (missing := tuple(each for each in expected if each not in types))
        ],
        [each for each in expected if reported and each not in reported],
    )


def pending_forecasts(store: ObjectStore, bucket: str) -> Iterator[PendingWork]:
    """Yield the datasets that have a selected model and no data, or data and no selected model; errors as ``list``."""
    found: dict[tuple[str, str], set[str]] = {}
    for info in store.list(bucket):
        if match := _FORECAST.fullmatch(info.key):
            found.setdefault((match[1], match[2]), set()).add(match[3])
    words = {DATA_FILE: "inference data", MODEL_FILE: "a selected model"}
    for (owner, config_hash), files in found.items():
        if missing := tuple(text for file, text in words.items() if file not in files):
            yield PendingWork(owner, config_hash, missing)


def start_monitor(
    store: ObjectStore,
    bucket: str,
    group: str,
    expected: Sequence[ModelType],
    count: Callable[[ModelType, int], None],
    warn: Callable[[str], None],
) -> None:
    """Record what eval waits for, and watch from a thread of its own which datasets wait.

    Args:
        store: The store.
        bucket: The bucket of promotions.
        group: Eval's consumer group.
        expected: The model types that eval waits for.
        count: Called with each type and the number of datasets that wait for it, again and again.
        warn: Called with a sentence about each type of which no trainer has ever reported a model.
    """

    def monitor() -> None:
        recorded = False
        while True:
            begun = time.monotonic()
            with suppress(FltsError):  # the next turn may reach the store again
                if not recorded:
                    record_expected_types(store, bucket, group, expected)
                    recorded = True
                pending = pending_models(store, bucket, expected)
                missing = Counter(name for each in pending.datasets for name in each.missing)
                for name in expected:
                    count(name, missing[name])
                for sentence in pending.warnings():
                    warn(sentence)
            time.sleep(max(_SECONDS_BETWEEN_LISTINGS, (time.monotonic() - begun) / _SHARE_OF_TIME))

    threading.Thread(target=monitor, daemon=True).start()
