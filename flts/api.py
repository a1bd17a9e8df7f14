"""Public functions for notebooks and scripts, in pandas: models and processed data. Exported by ``flts``."""

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from flts.contracts import Promotion, TrainedModel
from flts.datafiles import processed_parquet
from flts.errors import BadInputError
from flts.models import bundle
from flts.models.history import measured_columns
from flts.models.table import forecast_table
from flts.stage_interface import InputArtifact
from flts.stages.inputs import load_selected, read_selected
from flts.timeseries.frame import ACTUAL_SUFFIX, TIME_COLUMN
from flts.tracking import download_bundle


class Model:
    """A trained forecaster.

    Attributes:
        model_type: ``GRU``, ``LSTM``, ``PROPHET`` or another registered type.
        targets: Columns that it forecasts.
        columns: Columns that a history must have, in addition to ``time``.
        sampling: Time between two rows of the training data, and between two steps of a forecast.
        config_hash: Identifies the preprocessing of the training data.
    """

    def __init__(self, loaded: bundle.Bundle) -> None:
        """Wrap a bundle; use ``flts.load_model`` to find and load one."""
        config = loaded.config
        self._bundle = loaded
        self.model_type = config.model_type
        self.targets = list(config.targets)
        self.columns = measured_columns(config)
        self.sampling = pd.Timedelta(seconds=config.sampling_seconds)
        self.config_hash = config.config_hash

    def __repr__(self) -> str:
        """Return the type, the targets and the sampling interval."""
        return f"<flts.Model {self.model_type}: {', '.join(self.targets)} every {self.sampling}>"

    def forecast(
        self, history: pd.DataFrame, steps: int = 10, *, quantiles: str | Sequence[float] = ()
    ) -> pd.DataFrame:
        """Forecast the steps that follow a history; see ``flts.models.table.forecast_table``."""
        return forecast_table(self._bundle, history, steps, quantiles)


def load_model(source: str | Path | Promotion | TrainedModel, *, tracking_uri: str | None = None) -> Model:
    """Load a model.

    Args:
        source: A bundle folder; ``runs:/<run_id>/<TYPE>``; or a promotion or trained-model message, as an object or as
            its JSON file, such as ``current.json``.
        tracking_uri: Address of MLflow, for models kept there; default: ``MLFLOW_TRACKING_URI``.

    Raises:
        BadInputError: There is no such model, or it differs from its checksums.
        ServiceUnavailableError: MLflow is unreachable.
    """
    uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    with tempfile.TemporaryDirectory(prefix="flts-") as scratch:
        if isinstance(source, str) and source.startswith("runs:"):
            return Model(bundle.load(download_bundle(uri, _Logged(source), Path(scratch))))
        selected = source if isinstance(source, Promotion | TrainedModel) else read_selected(_artifact(Path(source)))
        return Model(load_selected(selected, uri, Path(scratch)))


def read_processed(path: str | Path) -> pd.DataFrame:
    """Read processed data from preprocess, or any other CSV or Parquet file that preprocess would accept.

    Returns:
        A frame with ``time``, the features in order, and ``<target>_actual`` as measured, in original units. Its
        ``attrs`` hold ``target_columns``, ``sampling_seconds``, ``config_hash``, ``preprocess_config``, ``scaler`` and
        ``parts`` (the rows at which the fit and validation parts end).

    Raises:
        BadInputError: The file is missing or cannot be read.
    """
    if not Path(path).exists():
        raise BadInputError(f"{path} does not exist")
    data = processed_parquet.read_processed(Path(path))
    actual = {f"{name}{ACTUAL_SUFFIX}": values for name, values in data.actual.items()}
    frame = pd.DataFrame({TIME_COLUMN: data.frame.time, **data.frame.columns, **actual})
    frame.attrs = {
        "target_columns": list(data.targets),
        "sampling_seconds": data.sampling_seconds,
        "config_hash": data.config_hash,
        "preprocess_config": json.loads(data.config_json) if data.config_json else {},
        "scaler": data.scaler.to_dict(),
        "parts": asdict(data.parts),
    }
    return frame


@dataclass(frozen=True)
class _Logged:
    """A model known only by its MLflow address."""

    model_uri: str
    artifact_uri: None = None
    bundle_sha256: None = None


def _artifact(path: Path) -> InputArtifact:
    if not path.exists():
        raise BadInputError(f"{path} does not exist: a bundle folder or the JSON file of a promotion is expected")
    return InputArtifact(path)
