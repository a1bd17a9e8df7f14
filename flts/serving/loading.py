"""From a promotion to what is served: the model, verified, and the stored data that it forecasts onward from."""

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
    """The stored inference data of the promoted model's configuration.

    Attributes:
        data: Its rows, as the model needs them.
        onward: Begins a forecast of what follows them.
        intervals: Recalibrated by them; ``None`` where the model has none.
    """

    data: ProcessedData
    onward: ForecastCache
    intervals: CalibratedIntervals | None


@dataclass(frozen=True)
class LoadedModel:
    """A model that is served.

    Attributes:
        promotion: What promoted it.
        etag: Of the pointer that named it.
        bundle: The model.
        stored: What ``{}`` forecasts onward from; ``None`` where the store has no data of the model's configuration.
        loaded_at: When it was loaded.
    """

    promotion: Promotion
    etag: str
    bundle: Bundle
    stored: StoredSeries | None
    loaded_at: str

    @property
    def log(self) -> dict[str, str]:
        """What log lines say of it."""
        promotion = self.promotion
        return {
            "identifier": promotion.identifier,
            "run_id": promotion.run_id,
            "model_type": promotion.model_type,
            "config_hash": promotion.config_hash,
        }

    @property
    def identity(self) -> dict[str, str]:
        """What answers say of it."""
        return self.log | {"promotion_time": self.promotion.promotion_time}


def load(store: ObjectStore, promotion: Promotion, etag: str, settings: ServingSettings) -> LoadedModel:
    """Fetch and verify a promoted model and its data, and let it make a first forecast.

    Raises:
        BadInputError: The model or its data is damaged, missing in MLflow, not what was announced, or forecasts
            something that is no number.
        ServiceUnavailableError: The store or MLflow is out of reach.
    """
    with tempfile.TemporaryDirectory(prefix="flts-serving-") as scratch:
        bundle = load_selected(promotion, settings.mlflow_tracking_uri or None, Path(scratch) / "model")
        data = _inference_data(store, promotion, bundle, settings.data_bucket, Path(scratch))
    return LoadedModel(promotion, etag, bundle, _stored(bundle, data) if data else None, utc_timestamp())


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


def _stored(bundle: Bundle, data: ProcessedData) -> StoredSeries | None:
    forecaster = bundle.forecaster
    if len(data) < forecaster.input_seq_len:
        return None
    # The first forecast after a start is slow; a model that forecasts nonsense must not replace one that does not.
    onward = ForecastCache(forecaster, data)
    first = onward(1)
    StepwiseForecast.advance([first])
    if not np.isfinite(first.forecast().values).all():
        raise BadInputError("the promoted model forecasts values that are not finite numbers for the stored data")
    return StoredSeries(
        data, onward, bundle.intervals.calibrated_on_recent(forecaster, data) if bundle.intervals else None
    )
