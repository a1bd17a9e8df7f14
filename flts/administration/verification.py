"""Verification that pointers, history, MLflow runs and bundles agree."""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from flts.contracts import Promotion, parse_timestamp
from flts.errors import BadInputError
from flts.models import bundle
from flts.promotion import HistoryEntry, entries, is_superseded, owner, pointer_keys, read_pointer
from flts.stages.inputs import is_path
from flts.store import ObjectStore
from flts.tracking import Tracking, download_bundle

_METRICS_FILE = "metrics.json"
_POINTER = "current.json"


@dataclass
class Verification:
    """Inconsistencies, one sentence each, and counts of what was checked.

    ``unchecked`` counts models in an MLflow whose address was not given.
    """

    problems: list[str] = field(default_factory=list)
    promotions: int = 0
    pointers: int = 0
    models: int = 0
    unchecked: int = 0


def verify(store: ObjectStore, bucket: str, name: str, tracking_uri: str) -> Verification:
    """Check the promotions of an owner, or of all owners.

    Raises:
        ServiceUnavailableError: The store or MLflow is out of reach.
    """
    found = entries(store, bucket, name)
    checked = Verification(promotions=len(found))
    for entry in found:
        checked.problems += _entry_problems(entry, bucket)
    keys = _pointers(store, bucket, name, found)
    checked.pointers = len(keys)
    for key in keys:
        checked.problems += _pointer_problems(store, bucket, key, found)
    models = {(p.run_id, p.model_uri, p.bundle_sha256): p for entry in found if (p := entry.promotion)}
    for promotion in models.values():
        if not tracking_uri and not is_path(promotion.model_uri):
            checked.unchecked += 1
            continue
        checked.models += 1
        if problem := model_problem(promotion, tracking_uri):
            checked.problems.append(problem)
    return checked


def model_problem(promotion: Promotion, tracking_uri: str) -> str:
    """Return what is wrong with a promotion's run or bundle; empty when nothing is."""
    title = f"{promotion.model_type} of run {promotion.run_id}"
    try:
        with tempfile.TemporaryDirectory() as folder:
            if is_path(promotion.model_uri):
                path = Path(promotion.model_uri)
                if not path.is_absolute():
                    return f"{title}: model_uri {promotion.model_uri} is relative to a folder that is not known"
            else:
                if problem := _run_problem(promotion, Tracking(tracking_uri), title):
                    return problem
                path = download_bundle(tracking_uri, promotion, Path(folder))
            config = bundle.verify(path)
            digest = bundle.digest(path)
    except BadInputError as error:
        return f"{title}: {error}"
    if promotion.bundle_sha256 not in (None, digest):
        return f"{title}: its bundle has SHA-256 {digest}, but the promotion has {promotion.bundle_sha256}"
    for name in ("model_type", "config_hash"):
        actual, expected = getattr(config, name), getattr(promotion, name)
        if actual != expected:
            return f"{title}: its bundle has {name} {actual}, but the promotion has {expected}"
    return ""


def _run_problem(promotion: Promotion, tracking: Tracking, title: str) -> str:
    status = tracking.status(promotion.run_id)
    if status is None:
        return f"{title}: MLflow has no such run"
    if status != "FINISHED":
        return f"{title}: its run is {status}"
    text = tracking.read_artifacts(promotion.run_id, (_METRICS_FILE,)).get(_METRICS_FILE)
    if text is None:
        return f"{title}: its run has no {_METRICS_FILE}"
    try:
        metrics = json.loads(text)
        scores = {name: metrics.get(name) for name in ("test_rmse", "test_mae", "test_mse")}
    except (ValueError, AttributeError):
        return f"{title}: {_METRICS_FILE} of its run is damaged"
    for name, value in scores.items():
        if value != getattr(promotion, name):
            return f"{title}: its run has {name} {value}, but the promotion has {getattr(promotion, name)}"
    return ""


def _entry_problems(entry: HistoryEntry, bucket: str) -> Iterator[str]:
    promotion = entry.promotion
    if promotion is None:
        yield entry.problem
        return
    pairs = {"identifier": (owner(promotion.identifier), entry.owner)}
    pairs["config_hash"] = (promotion.config_hash, entry.config_hash)
    pairs["promotion_time"] = (promotion.promotion_time, entry.time)
    for name, (content, key) in pairs.items():
        if content != key:
            yield f"{bucket}/{entry.key} has {name} {content}, but its key says {key}"


def _pointers(store: ObjectStore, bucket: str, name: str, found: list[HistoryEntry]) -> list[str]:
    """Return the keys of the pointers that exist, and of those that should exist."""
    existing = {info.key for info in store.list(bucket, f"{name}/" if name else "")}
    keys = {key for key in existing if key == _POINTER or key.endswith(f"/{_POINTER}")}
    for entry in found:
        if entry.promoted and not is_superseded(entry, found):
            identifier = entry.promotion.identifier if entry.promotion else ""
            keys |= set(pointer_keys(identifier, entry.config_hash)[: 2 if name else 3])
    return sorted(keys)


def _pointer_problems(store: ObjectStore, bucket: str, key: str, found: list[HistoryEntry]) -> Iterator[str]:
    place = f"{bucket}/{key}"
    pointer = read_pointer(store, bucket, key)
    if pointer is None:
        yield f"{place} is missing"
        return
    if pointer.promotion is None:
        yield f"{place} does not name a promotion"
        return
    promotion, folder = pointer.promotion, key.removesuffix(_POINTER)
    entry = next((e for e in found if e.run_id == promotion.run_id and e.time == promotion.promotion_time), None)
    if entry is None:
        yield f"{place} names run {promotion.run_id} at {promotion.promotion_time}, which is not in the history"
    elif entry.promotion != promotion:
        yield f"{place} differs from {bucket}/{entry.key}"
    elif promotion.held:
        yield f"{place} names {entry.id}, which was held"
    elif not entry.key.startswith(folder):
        yield f"{place} names a promotion of another owner or other data: {bucket}/{entry.key}"
    in_scope = [e for e in found if e.promoted and e.key.startswith(folder) and not is_superseded(e, found)]
    if in_scope and parse_timestamp(in_scope[-1].time) > pointer.time:
        latest = in_scope[-1]
        yield f"{place} names {promotion.promotion_time}, but {latest.id} was promoted later, at {latest.time}"
