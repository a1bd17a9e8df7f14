"""Reading input artifacts: a claim check or the dataset itself, a message or the model bundle itself."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from flts.config import sha256_file
from flts.contracts import ClaimCheck, Promotion, TrainedModel, utc_timestamp
from flts.errors import BadInputError, ChecksumMismatchError
from flts.models import bundle
from flts.os_errors import readable
from flts.stage import Context, InputArtifact
from flts.store import ObjectStore
from flts.timeseries.features import TIME_FEATURES, time_features
from flts.timeseries.processed import ProcessedData

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:")

M = TypeVar("M", TrainedModel, Promotion)


def given(context: Context, name: str) -> InputArtifact:
    """Return the input artifact ``name``; ``BadInputError`` when it was not given or is not there."""
    artifact = context.inputs.get(name)
    if artifact is None:
        raise BadInputError(f"input {name} is missing: it was not given")
    if not artifact.path.exists():
        raise BadInputError(f"input {name} is missing: there is no file or folder {artifact.path}")
    return artifact


def load_dataset(artifact: InputArtifact, store: ObjectStore | None, work_dir: Path) -> Path:
    """Return the local path of a dataset artifact: the file itself, or what its claim check stands for.

    Args:
        artifact: A claim check, or a CSV or Parquet file.
        store: Where claim checks with a bucket are redeemed; one without a bucket names a file beside itself.
        work_dir: Folder that a download goes to.

    Raises:
        BadInputError: There is no such file, or its content is not what the claim check announces.
    """
    path = artifact.path
    with readable(path, str(path)), path.open("rb") as file:
        if not file.read(64).lstrip().startswith(b"{"):
            return path
    claim = ClaimCheck.read(path)
    name = PurePosixPath(claim.object).name
    if name in {"", ".."}:
        raise BadInputError(f"{path} names no object: {claim.object!r}")
    if claim.bucket:
        if store is None:
            raise BadInputError(
                f"{path} is a claim check on bucket {claim.bucket!r}: --gateway-url must name its store"
            )
        target = work_dir / name
        store.download(claim.bucket, claim.object, target, sha256=claim.sha256)
        return target
    if claim.object != name:
        raise BadInputError(f"{path} names {claim.object!r}, expected the name of a file beside it")
    target = path.parent / name
    with readable(target, str(target)):
        found = sha256_file(target)
    if found != claim.sha256:
        raise ChecksumMismatchError(f"{target} has SHA-256 {found}, but its claim check {path} says {claim.sha256}")
    return target


def is_path(model_uri: str) -> bool:
    """Tell whether a ``model_uri`` is a file path, not an address such as ``runs:/..``."""
    return not _SCHEME.match(model_uri)


def read_trained(artifact: InputArtifact) -> TrainedModel:
    """Read a trained model; a path in its ``model_uri`` comes out absolute.

    A bundle folder becomes a message without scores: its run is named after its digest, as a stage without MLflow
    names it, and without a ``train_end`` in the artifact's metadata it was trained when its checksums were written.

    Raises:
        BadInputError: It is neither message nor bundle, or its training is not finished.
    """
    if artifact.path.is_dir():
        return _of_bundle(artifact)
    message = TrainedModel.read(artifact.path)
    if message.status != "SUCCESS":
        raise BadInputError(
            f"{artifact.path}: the training of {message.model_type} (run {message.run_id}) is not finished: "
            f"its status is {message.status}, SUCCESS is expected"
        )
    return _located(message, artifact.path)


def read_selected(artifact: InputArtifact) -> Promotion | TrainedModel:
    """Read the model to forecast with: a promotion, or whatever ``read_trained`` reads; errors as there."""
    if artifact.path.is_file() and "promotion_time" in _fields(artifact.path):
        return _located(Promotion.read(artifact.path), artifact.path)
    return read_trained(artifact)


def load_selected(selected: Promotion | TrainedModel, tracking_uri: str | None, work_dir: Path) -> bundle.Bundle:
    """Fetch the model that a message names, verify it and load it.

    Args:
        selected: The message.
        tracking_uri: MLflow's address; ``None`` where there is none.
        work_dir: Folder that a download goes to; made when missing.

    Raises:
        BadInputError: There is no such model, it is damaged, or it is not what the message announces.
        ServiceUnavailableError: MLflow is out of reach.
    """
    if is_path(selected.model_uri):
        loaded = bundle.load(Path(selected.model_uri))
    elif tracking_uri:
        from flts.tracking import download_bundle

        loaded = bundle.load(download_bundle(tracking_uri, selected, work_dir))
    else:
        raise BadInputError(
            f"model_uri {selected.model_uri} lies in MLflow: --mlflow-tracking-uri must name its address"
        )
    for name in ("model_type", "config_hash"):
        found, announced = getattr(loaded.config, name), getattr(selected, name)
        if found != announced:
            raise BadInputError(f"the model at {selected.model_uri} has {name} {found}, but {announced} was announced")
    return loaded


def with_time_features(data: ProcessedData, features: Sequence[str]) -> ProcessedData:
    """Add the time features that a model wants and a foreign file lacks: they follow from its timestamps."""
    wanted = [name for name in features if name in TIME_FEATURES and name not in data.features]
    if not wanted:
        return data
    computed = time_features(data.frame.time)
    return replace(data, frame=replace(data.frame, columns={**data.frame.columns, **{n: computed[n] for n in wanted}}))


def _of_bundle(artifact: InputArtifact) -> TrainedModel:
    folder = artifact.path
    config = bundle.verify(folder)
    written = datetime.fromtimestamp((folder / bundle.CHECKSUMS_FILE).stat().st_mtime, UTC)
    trained = str(artifact.metadata.get("train_end") or utc_timestamp(written))
    return TrainedModel(
        model_type=config.model_type,
        config_hash=config.config_hash,
        run_id=bundle.digest(folder)[:32],
        status="SUCCESS",
        model_uri=str(folder.resolve()),
        test_rmse=None,
        test_mae=None,
        test_mse=None,
        train_start=trained,
        train_end=trained,
        identifier="",
        artifact_uri=str(folder.resolve()),
        operation=f"Trained: {config.model_type}",
    )


def _located(message: M, path: Path) -> M:
    if not is_path(message.model_uri):
        return message
    return message.model_copy(update={"model_uri": str((path.parent / message.model_uri).resolve())})


def _fields(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(path.read_bytes())
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise BadInputError(f"{path} is not a promotion or trained-model message: a JSON object is expected")
    return fields
