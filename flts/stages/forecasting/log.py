"""Log of forecasts: one folder per forecast, found again by an index object per request."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from pydantic import ValidationError

from flts.contracts import ForecastBatch, Message, canonical_json, parse_timestamp
from flts.diagnostics.validation import shown
from flts.errors import BadInputError, ServiceUnavailableError
from flts.promotion import owner
from flts.stages.forecasting.batch import predictions_parquet
from flts.store import ObjectStore
from flts.store.swap import put_if_unchanged, put_once

RESULTS_FILE = "results.jsonl"
PREDICTIONS_FILE = "predictions.parquet"

_STAMP = "%Y%m%dT%H%M%SZ"
_ATTEMPTS = 100


class ForecastRequest(Message):
    """Everything that a forecast depends on; a repeat of the same request finds the earlier results."""

    kind: ClassVar[str] = "forecast request"
    run_id: str
    data_sha256: str
    inference_length: int
    sample_idx: int
    quantiles: str | None = None

    @property
    def digest(self) -> str:
        """SHA-256 that names the request's index object."""
        parts: list[str | int] = [self.run_id, self.data_sha256, self.inference_length, self.sample_idx]
        if self.quantiles:  # requests without any keep the index objects of older versions
            parts.append(self.quantiles)
        return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


class ForecastIndex(ForecastRequest):
    """The index object of a request: the folder of its results, and when they were first asked for."""

    kind: ClassVar[str] = "forecast index"
    folder: str
    timestamp: str


@dataclass(frozen=True)
class LoggedForecast:
    """A forecast in the log: the batch in the store, its folder, and whether it was complete before."""

    batch: ForecastBatch
    folder: str
    repeated: bool


def index_key(identifier: str, request: ForecastRequest) -> str:
    """Return the key of a request's index object."""
    return f"{owner(identifier)}/index/{request.digest}.json"


def log_forecast(store: ObjectStore, bucket: str, request: ForecastRequest, batch: ForecastBatch) -> LoggedForecast:
    """Keep a forecast, or find the one that the same request left; completes a folder that a killed run left.

    The index is put first, only if absent, and names the folder and the batch's timestamp. The folder belongs to
    the request whose results are in it: if another request of the same second was faster, the index is changed to the
    folder of the next second.

    Args:
        store: Where forecasts are kept.
        bucket: Their bucket.
        request: The request; its fields are in the batch too.
        batch: The forecast, with the time it was made.

    Raises:
        ServiceUnavailableError: Every folder that was tried belongs to another request.
        BadInputError: The index in the store is damaged, or names a folder of another identifier.
    """
    key = index_key(batch.identifier, request)
    first = _folder(batch.identifier, parse_timestamp(batch.timestamp))
    proposed = ForecastIndex(**request.model_dump(), timestamp=batch.timestamp, folder=first)
    for _ in range(_ATTEMPTS):
        content, _ = put_once(store, bucket, key, proposed.to_json().encode())
        index = ForecastIndex.parse(content, source=f"{bucket}/{key}")
        moment = _folder_time(index, batch.identifier, source=f"{bucket}/{key}")
        dated = batch.model_copy(update={"timestamp": index.timestamp})
        results_key = f"{index.folder}{RESULTS_FILE}"
        content, found_results = put_once(store, bucket, results_key, dated.to_json().encode())
        kept = ForecastBatch.parse(content, source=f"{bucket}/{results_key}")
        if _is_result_of(kept, request):
            predictions = predictions_parquet(kept)
            _, found_predictions = put_once(store, bucket, f"{index.folder}{PREDICTIONS_FILE}", predictions)
            return LoggedForecast(kept, index.folder, repeated=found_results and found_predictions)
        _redirect(store, bucket, key, index, _folder(batch.identifier, moment + timedelta(seconds=1)))
    raise ServiceUnavailableError(f"{_ATTEMPTS} folders from {bucket}/{first} on belong to other forecasts")


def _folder(identifier: str, moment: datetime) -> str:
    return f"{owner(identifier)}/{moment:{_STAMP}}/"


def _folder_time(index: ForecastIndex, identifier: str, source: str) -> datetime:
    """Return the time that names an index's folder, which must not be a folder of another identifier."""
    with suppress(ValueError):
        moment = datetime.strptime(index.folder.removeprefix(f"{owner(identifier)}/"), f"{_STAMP}/").replace(tzinfo=UTC)
        if _folder(identifier, moment) == index.folder:
            return moment
    raise BadInputError(
        f"{source} names the folder {shown(index.folder, quoted=True)}, expected {owner(identifier)}/ and a time such "
        "as 20250131T120000Z/"
    )


def _is_result_of(batch: ForecastBatch, request: ForecastRequest) -> bool:
    try:
        return ForecastRequest.model_validate(batch.model_dump()).digest == request.digest
    except ValidationError:
        return False


def _redirect(store: ObjectStore, bucket: str, key: str, index: ForecastIndex, folder: str) -> None:
    """Point an index to another folder, unless another process has moved it."""
    content, info = store.get(bucket, key)
    if ForecastIndex.parse(content, source=f"{bucket}/{key}").folder != index.folder:
        return
    moved = index.model_copy(update={"folder": folder})
    put_if_unchanged(store, bucket, key, moved.to_json().encode(), info.etag)
