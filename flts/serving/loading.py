"""Loading of a promoted model: download, verification, and the stored data that its forecasts continue."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flts.contracts import Promotion, utc_timestamp
from flts.datafiles.processed_parquet import read_processed
from flts.errors import BadInputError, ObjectNotFoundError
from flts.models.bundle import Bundle
from flts.models.intervals import CalibratedIntervals
from flts.models.stepwise import ForecastCache, StepwiseForecast
from flts.serving.settings import ServingSettings
from flts.stages.forecasting.input import adapt_to_model
from flts.stages.inputs import load_selected
from flts.stages.preprocessing.objects import TEST_FILE, DatasetMeta, meta_name
from flts.store import ObjectStore
from flts.timeseries.processed import ProcessedData


@dataclass(frozen=True)
class StoredSeries:
    """The stored inference data that matches the model's preprocessing.

    Attributes:
        data: The rows, with the columns that the model needs.
        forecasts: Starts forecasts of the steps after them.
        intervals: Intervals recalibrated on them; ``None`` if the model has none.
    """

    data: ProcessedData
    forecasts: ForecastCache
    intervals: CalibratedIntervals | None


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to serve.

    Attributes:
        promotion: The promotion that chose it.
        etag: ETag of the pointer that named it.
        bundle: The model.
        stored: Data that an empty request forecasts from; ``None`` if the store has none that matches the model's
            preprocessing.
        loaded_at: Time of loading, ISO 8601.
    """

    promotion: Promotion
    etag: str
    bundle: Bundle
    stored: StoredSeries | None
    loaded_at: str

    @property
    def log(self) -> dict[str, str]:
        """Fields that identify the model in log lines."""
        promotion = self.promotion
        return {
            "identifier": promotion.identifier,
            "run_id": promotion.run_id,
            "model_type": promotion.model_type,
            "config_hash": promotion.config_hash,
        }

    @property
    def identity(self) -> dict[str, str]:
        """Fields that identify the model in responses."""
        return self.log | {"promotion_time": self.promotion.promotion_time}


def load_promoted(store: ObjectStore, promotion: Promotion, etag: str, settings: ServingSettings) -> LoadedModel:
    """Download and verify a promoted model and its data, and make a first forecast.

    Raises:
        BadInputError: The model or its data is damaged, missing from MLflow, or differs from its checksums, or the
            forecast is not finite.
        ServiceUnavailableError: The store or MLflow is out of reach.
    """
    with tempfile.TemporaryDirectory(prefix="flts-serving-") as scratch:
        bundle = load_selected(promotion, settings.mlflow_tracking_uri or None, Path(scratch) / "model")
        data = _inference_data(store, promotion, bundle, settings.data_bucket, Path(scratch))
    return LoadedModel(promotion, etag, bundle, _prepare_series(bundle, data) if data else None, utc_timestamp())


def _inference_data(
    store: ObjectStore, promotion: Promotion, bundle: Bundle, bucket: str, scratch: Path
) -> ProcessedData | None:
    config_hash = promotion.data_config_hash or promotion.config_hash
    if not config_hash:
        return None
    key, path = f"{config_hash}/{TEST_FILE}", scratch / TEST_FILE
    try:
        content, _ = store.get(bucket, meta_name(key))
        meta = DatasetMeta.parse(content, source=f"{bucket}/{meta_name(key)}")
        store.download(bucket, key, path, sha256=meta.sha256)
    except ObjectNotFoundError:
        return None
    return adapt_to_model(bundle.forecaster, read_processed(path), f"{bucket}/{key}")


def _prepare_series(bundle: Bundle, data: ProcessedData) -> StoredSeries | None:
    forecaster = bundle.forecaster
    if len(data) < forecaster.input_seq_len:
        return None
    # The first forecast is slow, so it is made here; and a model whose forecasts are not finite must not go live.
    forecasts = ForecastCache(forecaster, data)
    first = forecasts(1)
    StepwiseForecast.advance([first])
    if not np.isfinite(first.forecast().values).all():
        raise BadInputError("the promoted model forecasts values that are not finite numbers for the stored data")
    intervals = bundle.intervals.calibrated_on_recent(forecaster, data) if bundle.intervals else None
    return StoredSeries(data, forecasts, intervals)
