"""Processed data in the store: immutable objects named by ``config_hash``, and copies under the older fixed keys."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from flts.contracts import ClaimCheck, Message
from flts.errors import BadInputError, ChecksumMismatchError, PreconditionFailedError
from flts.store.base import ObjectStore

TRAIN_FILE = "processed_data.parquet"
TEST_FILE = "test_processed_data.parquet"
REPORT_FILE = "report.html"

_TEST_OPERATION = "post: test data"


class DatasetMeta(Message):
    """The description of a processed file, its ``.meta.json``; ``size`` in bytes, ``notes`` of the whole run."""

    kind: ClassVar[str] = "description of processed data"
    config_hash: str
    sha256: str
    size: int
    rows: int
    columns: list[str]
    target_columns: list[str]
    sampling_seconds: float
    parts: dict[str, int]
    notes: list[str]


def meta_name(name: str) -> str:
    """Return the name of the description of a processed file."""
    return f"{name}.meta.json"


def claim_check(meta: DatasetMeta, bucket: str, key: str, identifier: str, *, test: bool) -> ClaimCheck:
    """Make the claim check of a processed file; ``bucket`` is empty for a file next to the claim check."""
    more: dict[str, Any] = {"object_key": key, "operation": _TEST_OPERATION} if test else {}
    return ClaimCheck(
        bucket=bucket,
        object=key,
        size=meta.size,
        identifier=identifier,
        config_hash=meta.config_hash,
        sha256=meta.sha256,
        rows=meta.rows,
        **more,
    )


def find(store: ObjectStore, bucket: str, config_hash: str, folder: Path) -> dict[str, DatasetMeta] | None:
    """Look for the result of an earlier run, and download its report to ``folder``.

    Returns:
        The descriptions of the two processed files, by name; ``None`` unless the result is complete. The descriptions
        are written last, so that with them everything is there.
    """
    metas = {name: _find_one(store, bucket, f"{config_hash}/{name}") for name in (TRAIN_FILE, TEST_FILE)}
    complete = {name: meta for name, meta in metas.items() if meta is not None}
    if len(complete) < len(metas) or store.head(bucket, f"{config_hash}/{REPORT_FILE}") is None:
        return None
    store.download(bucket, f"{config_hash}/{REPORT_FILE}", folder / REPORT_FILE)
    return complete


def publish(store: ObjectStore, bucket: str, folder: Path, metas: Mapping[str, DatasetMeta], *, replace: bool) -> None:
    """Write the processed files of ``folder`` and their report, then the descriptions.

    ``replace`` overwrites existing files. Otherwise equal data of a run that was killed are kept.
    """
    config_hash = next(iter(metas.values())).config_hash
    for name, meta in metas.items():
        key = f"{config_hash}/{name}"
        if replace or not _put_first(store, bucket, key, folder / name, meta.sha256):
            store.upload(bucket, key, folder / name)
    store.upload(bucket, f"{config_hash}/{REPORT_FILE}", folder / REPORT_FILE)
    for name, meta in metas.items():
        store.put(bucket, meta_name(f"{config_hash}/{name}"), meta.to_json().encode())


def copy_to_fixed_keys(store: ObjectStore, bucket: str, config_hash: str) -> None:
    """Copy the processed files to the keys without ``config_hash``, which older readers use."""
    for name in (TRAIN_FILE, TEST_FILE):
        store.copy(bucket, f"{config_hash}/{name}", name)


def _find_one(store: ObjectStore, bucket: str, key: str) -> DatasetMeta | None:
    if store.head(bucket, meta_name(key)) is None:
        return None
    content, _ = store.get(bucket, meta_name(key))
    try:
        meta = DatasetMeta.parse(content, source=f"{bucket}/{meta_name(key)}")
    except BadInputError:
        return None
    data = store.head(bucket, key)
    return meta if data is not None and data.size == meta.size else None


def _put_first(store: ObjectStore, bucket: str, key: str, path: Path, sha256: str) -> bool:
    """Upload unless there is such an object; return whether it has the right content now."""
    try:
        store.upload(bucket, key, path, if_none_match=True)
    except PreconditionFailedError:
        existing = path.with_name(f"existing_{path.name}")
        try:
            store.download(bucket, key, existing, sha256=sha256)
        except ChecksumMismatchError:
            return False
        existing.unlink()
    return True
