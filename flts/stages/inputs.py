"""Readers of input artifacts: a claim check or the dataset itself, a message or the model bundle itself."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from flts.boundary.files import readable, sha256_file
from flts.boundary.untrusted import json_object, read_document
from flts.contracts import ClaimCheck, Promotion, TrainedModel, utc_timestamp
from flts.diagnostics.system import refused
from flts.diagnostics.terminal import printable
from flts.diagnostics.validation import shown
from flts.errors import BadInputError, ChecksumMismatchError
from flts.models import bundle
from flts.models.config import LONGEST_INTERVAL, SHORTEST_INTERVAL
from flts.models.files import CHECKSUMS_FILE
from flts.stage_interface import Context, InputArtifact
from flts.store import ObjectStore

if TYPE_CHECKING:
    from flts.timeseries.processed import ProcessedData

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:")

M = TypeVar("M", TrainedModel, Promotion)


def required_input(context: Context, name: str) -> InputArtifact:
    """Return the input artifact ``name``; ``BadInputError`` when it was not given or is not there."""
    artifact = context.inputs.get(name)
    if artifact is None:
        raise BadInputError(f"input {name} is missing: it was not given")
    with refused(f"read input {name}"):
        if not artifact.path.exists():
            raise BadInputError(f"input {name} is missing: there is no file or folder {artifact.path}")
        if not (artifact.path.is_file() or artifact.path.is_dir()):
            raise BadInputError(f"input {name} is neither a file nor a folder: {artifact.path}")
    return artifact


def read_dataset(artifact: InputArtifact, store: ObjectStore | None, work_dir: Path) -> "tuple[Path, ProcessedData]":
    """Return the local path of a dataset artifact, as ``load_dataset``, and the processed data in it.

    Raises:
        BadInputError: As there; or the data cannot be read, or are not what the claim check announces.
    """
    from flts.datafiles.processed_parquet import read_processed

    path, claim = _resolve_claim_check(artifact, store, work_dir)
    data = read_processed(path)
    if claim:
        announced = {"rows": (claim.rows, len(data)), "config_hash": (claim.config_hash, data.config_hash)}
        for name, (expected, found) in announced.items():
            if expected not in ("", found):  # config_hash may be empty
                raise BadInputError(f"{path} has {name} {found}, but its claim check {artifact.path} says {expected}")
    if not SHORTEST_INTERVAL <= data.sampling_seconds <= LONGEST_INTERVAL:
        raise BadInputError(
            f"{path} has a row every {data.sampling_seconds:g} s: models know intervals from a microsecond to a century"
        )
    return path, data


def load_dataset(artifact: InputArtifact, store: ObjectStore | None, work_dir: Path) -> Path:
    """Return the local path of a dataset artifact: the file itself, or the one that its claim check names.

    Args:
        artifact: A claim check, or a CSV or Parquet file.
        store: Where claim checks with a bucket are redeemed; one without a bucket names a file next to it.
        work_dir: Folder that a download goes to.

    Raises:
        BadInputError: There is no such file, or its content is not what the claim check announces.
    """
    return _resolve_claim_check(artifact, store, work_dir)[0]


def _resolve_claim_check(
    artifact: InputArtifact, store: ObjectStore | None, work_dir: Path
) -> tuple[Path, ClaimCheck | None]:
    """Return the file of a dataset artifact, and its claim check if there is one."""
    path = artifact.path
    with readable(path, str(path)), path.open("rb") as file:
        if not file.read(64).lstrip().startswith(b"{"):
            return path, None
    claim = ClaimCheck.read(path)
    name = PurePosixPath(claim.object).name
    if name in {"", ".."} or "\0" in name:
        raise BadInputError(f"{path} names no object: {shown(claim.object)}")
    if claim.bucket:
        if store is None:
            raise BadInputError(
                f"{path} is a claim check on bucket {claim.bucket!r}: --gateway-url must name its store"
            )
        target = work_dir / name
        info = store.download(claim.bucket, claim.object, target, sha256=claim.sha256)
        _check_size(f"{claim.bucket}/{claim.object}", info.size, claim, path)
        return target, claim
    if claim.object != name:
        raise BadInputError(f"{path} names {shown(claim.object)}, expected the name of a file next to it")
    target = path.parent / name
    with refused(f"read {target}"), readable(target, str(target)):
        _check_size(str(target), target.stat().st_size, claim, path)
        found = sha256_file(target)
    if found != claim.sha256:
        raise ChecksumMismatchError(
            f"{target} has SHA-256 {found}, but its claim check {path} says {shown(claim.sha256)}"
        )
    return target, claim


def _check_size(name: str, size: int, claim: ClaimCheck, path: Path) -> None:
    if size != claim.size:
        raise BadInputError(f"{name} has {size} bytes, but its claim check {path} says size {claim.size}")


def is_path(model_uri: str) -> bool:
    """Tell whether a ``model_uri`` is a file path, not an address such as ``runs:/..``."""
    return not _SCHEME.match(model_uri)


def read_trained(artifact: InputArtifact) -> TrainedModel:
    """Read a trained-model message; a path in its ``model_uri`` is made absolute.

    A bundle folder becomes a message without scores: its run is named after its digest, as a stage without MLflow
    names it, and without a ``train_end`` in the artifact's metadata it was trained when its checksums were written.

    Raises:
        BadInputError: It is neither a message nor a bundle, or its training is not finished.
    """
    if artifact.path.is_dir():
        return _describe_bundle(artifact)
    message = TrainedModel.read(artifact.path)
    if message.status != "SUCCESS":
        raise BadInputError(
            f"{artifact.path}: the training of {message.model_type} (run {message.run_id}) is not finished: "
            f"its status is {message.status}, SUCCESS is expected"
        )
    return _with_absolute_path(message, artifact.path)


def read_selected(artifact: InputArtifact) -> Promotion | TrainedModel:
    """Read the model to forecast with: a promotion, or anything that ``read_trained`` reads; errors as there."""
    if artifact.path.is_file() and "promotion_time" in _fields(artifact.path):
        return _with_absolute_path(Promotion.read(artifact.path), artifact.path)
    return read_trained(artifact)


def load_selected(
    selected: Promotion | TrainedModel, tracking_uri: str | None, work_dir: Path, *, wait_seconds: int | None = None
) -> bundle.Bundle:
    """Fetch the model that a message names, verify it and load it; arguments and errors as of ``fetch_selected``.

    Raises:
        BadInputError: As there; or it is damaged, or differs from what the message announces.
    """
    folder = fetch_selected(selected, tracking_uri, work_dir, wait_seconds=wait_seconds)
    loaded = bundle.load(folder, sha256=selected.bundle_sha256)
    for name in ("model_type", "config_hash"):
        found, announced = getattr(loaded.config, name), getattr(selected, name)
        if found != announced:
            raise BadInputError(f"the model at {selected.model_uri} has {name} {found}, but {announced} was announced")
    return loaded


def fetch_selected(
    selected: Promotion | TrainedModel, tracking_uri: str | None, work_dir: Path, *, wait_seconds: int | None = None
) -> Path:
    """Return the folder of the bundle that a message names; nothing of it is verified here.

    Args:
        selected: The message.
        tracking_uri: MLflow's address; ``None`` where there is none.
        work_dir: Folder that a download goes to; made when missing.
        wait_seconds: Seconds to wait for an MLflow that is down; ``None`` where the caller waits.

    Raises:
        BadInputError: There is no such model.
        ServiceUnavailableError: MLflow is out of reach.
    """
    if is_path(selected.model_uri):
        return Path(selected.model_uri)
    from flts.tracking import download_bundle

    if selected.model_uri.startswith("runs:/") and selected.model_uri.split("/")[1] != selected.run_id:
        raise BadInputError(f"model_uri {selected.model_uri} does not belong to run_id {shown(selected.run_id)}")
    return download_bundle(tracking_uri, selected, work_dir, wait_seconds=wait_seconds)


def with_time_features(data: "ProcessedData", features: Sequence[str]) -> "ProcessedData":
    """Add the time features that a model needs and a foreign file lacks, computed from its timestamps."""
    from flts.timeseries.features import TIME_FEATURES, time_features

    missing = [name for name in features if name in TIME_FEATURES and name not in data.features]
    if not missing:
        return data
    computed = time_features(data.frame.time)
    return replace(data, frame=replace(data.frame, columns={**data.frame.columns, **{n: computed[n] for n in missing}}))


def _describe_bundle(artifact: InputArtifact) -> TrainedModel:
    folder = artifact.path.resolve()
    config = bundle.verify(folder)
    if not str(folder).isprintable():
        raise BadInputError(f"{printable(str(folder))} has characters in its path that messages cannot hold")
    written = datetime.fromtimestamp((folder / CHECKSUMS_FILE).stat().st_mtime, UTC)
    trained = str(artifact.metadata.get("train_end") or utc_timestamp(written))
    return TrainedModel(
        model_type=config.model_type,
        config_hash=config.config_hash,
        run_id=bundle.digest(folder)[:32],
        status="SUCCESS",
        model_uri=str(folder),
        test_rmse=None,
        test_mae=None,
        test_mse=None,
        train_start=trained,
        train_end=trained,
        identifier="",
        artifact_uri=str(folder),
        operation=f"Trained: {config.model_type}",
        bundle_sha256=bundle.digest(folder),
    )


def _with_absolute_path(message: M, path: Path) -> M:
    update: dict[str, Any] = {}
    if is_path(message.model_uri):
        update["model_uri"] = str((path.parent / message.model_uri).resolve())
    if isinstance(message, Promotion) and message.candidates:
        update["candidates"] = [_with_absolute_path(candidate, path) for candidate in message.candidates]
    return message.model_copy(update=update)


def _fields(path: Path) -> dict[str, Any]:
    kind = "promotion or trained-model message"
    return json_object(read_document(path, kind), str(path), f"a {kind}", allow_nan=True)
