"""The parameters of every stage: names, types, defaults, ranges and one-line descriptions, declared once.

Flags, environment variables, the reading of KFP's executor input, the docs and the contract tests come from here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from flts.diagnostics.terminal import printable

# What a model may be like, whether it is trained here or comes in a bundle; the network as a whole has a limit of its
# own in flts.models.recurrent.network.
MAX_HIDDEN_SIZE, MAX_LAYERS, MAX_MEMBERS = 8192, 64, 64
MAX_WINDOW = 10_000

GATEWAY_URL = "http://fastapi-app:8000"
MLFLOW_TRACKING_URI = "http://mlflow:5000"


Seasonality = Annotated[str, Field(pattern=r"^(auto|true|false|[1-9]\d{0,2})$")]


class Params(BaseModel):
    """Base of the parameter models: unknown names, NaN and infinity are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)


@dataclass(frozen=True)
class ParamRule:
    """What a parameter takes beyond its type, in words for its help."""

    words: str


# Keys under an identifier and beside it have these names: FLTS itself could not write them any more.
_NAMES_IN_KEYS = ("current.json", "global", "trainings", "trained", "index")
_MOST_BYTES = 128
_NO_PATHS = "must not contain '/', '\\', '..' or control characters"


def check_name(value: str) -> str:
    """Return an identifier or a dataset's name if keys can hold it.

    Raises:
        ValueError: They cannot; the text goes after what the name is called: ``must not start with '.' or '-'``.
    """
    _check_no_path(value)
    if len(value.encode()) > _MOST_BYTES:
        raise ValueError(f"must be at most {_MOST_BYTES} bytes of UTF-8")
    if value.startswith((".", "-")):
        raise ValueError("must not start with '.' or '-'")
    # Some file systems take upper and lower case for the same.
    if value.lower() in _NAMES_IN_KEYS:
        raise ValueError(f"must not be {', '.join(_NAMES_IN_KEYS[:-1])} or {_NAMES_IN_KEYS[-1]}, which keys use")
    return value


def _check_bucket(value: str) -> str:
    _check_no_path(value)
    if len(value) > _MOST_BYTES:
        raise ValueError(f"must be at most {_MOST_BYTES} characters long")
    return value


def _check_no_path(value: str) -> None:
    if re.search("[\ud800-\udfff]", value):  # as which Python reads bytes that are not UTF-8
        raise ValueError("must be UTF-8")
    if any(part in value for part in ("/", "\\", "..")) or value == "." or printable(value) != value:
        raise ValueError(_NO_PATHS)


Name = Annotated[
    str,
    AfterValidator(check_name),
    ParamRule(
        f"at most {_MOST_BYTES} bytes of UTF-8 without '/', '\\', '..' and control characters, not starting with '.' "
        f"or '-', and none of {', '.join(_NAMES_IN_KEYS)}"
    ),
]
BucketName = Annotated[str, AfterValidator(_check_bucket)]


def _param(default: Any, group: str, description: str, *, standalone: Any = None, **limits: Any) -> Any:
    """Declare a parameter; ``standalone`` is the value of a required one when a stage runs by itself."""
    extra = {"group": group} | ({} if standalone is None else {"standalone": standalone})
    return Field(default, description=description, json_schema_extra=extra, **limits)


class Bucket(NamedTuple):
    """Default name and description of a bucket."""

    default: str
    description: str


# Every bucket by the parameter that names it, in stages, servers and commands alike; the environment variable has the
# parameter's name in capitals.
BUCKETS: Mapping[str, Bucket] = {
    "input_bucket": Bucket("dataset", "bucket of the raw dataset"),
    "output_bucket": Bucket("processed-data", "bucket of the processed data"),
    "promotion_bucket": Bucket("model-promotion", "bucket of trainings, promotions and pointers"),
    "inference_log_bucket": Bucket("inference-logs", "bucket of forecasts"),
    "mlflow_bucket": Bucket("mlflow", "bucket of MLflow's artifacts"),
    "kfp_bucket": Bucket("kfp-artifacts", "bucket of the artifacts of Kubeflow Pipelines"),
}


def _bucket(name: str) -> Any:
    """Declare a parameter that names a bucket."""
    return _param(BUCKETS[name].default, "Services", BUCKETS[name].description)


class PreprocessParams(Params):
    """Parameters of preprocess."""

    dataset_name: Name = _param(
        ...,
        "Dataset",
        "dataset to read: <name>.csv and <name>_test.csv (or .parquet) in the input bucket",
        standalone="",
    )
    identifier: Name = _param(..., "Dataset", "name of this run, kept in every message and key", standalone="")
    sample_train_rows: int = _param(0, "Sampling", "training rows to keep; 0 keeps all", ge=0)
    sample_test_rows: int = _param(0, "Sampling", "test rows to keep; 0 keeps all", ge=0)
    sample_strategy: Literal["head", "tail", "random"] = _param(
        "head", "Sampling", "which rows to keep: the first, the last, or a random contiguous block"
    )
    sample_seed: int = _param(42, "Sampling", "seed of the random block", ge=0)
    force_reprocess: int = _param(0, "Cache", "1 computes again what the store already has", ge=0, le=1)
    extra_hash_salt: str = _param("", "Cache", "text that goes into config_hash, to keep results apart")
    handle_nans: bool = _param(True, "Missing values", "fill missing values")
    nans_threshold: float = _param(
        0.33, "Missing values", "a row with more than this fraction missing counts as empty", ge=0, le=1
    )
    nans_knn: int = _param(2, "Missing values", "observations nearest in time that fill a missing value", ge=1, le=1000)
    nans_drop_rows: bool = _param(False, "Missing values", "drop the rows above nans_threshold instead of filling them")
    clip_enable: bool = _param(False, "Clipping", "clip outliers to bounds learned on the fit part")
    clip_method: Literal["iqr", "zscore", "quantile"] = _param("iqr", "Clipping", "how the bounds are found")
    clip_factor: float = _param(
        1.5, "Clipping", "iqr: quartile ranges; zscore: standard deviations; quantile: percent cut at each end", gt=0
    )
    time_features_enable: bool = _param(
        True, "Features", "add sine and cosine of minute of day, day of week and day of year"
    )
    lags_enable: bool = _param(False, "Features", "add lagged copies of every measured column")
    lags_n: int = _param(0, "Features", "lags per column", ge=0, le=1000)
    lags_step: int = _param(1, "Features", "rows between two lags", ge=1, le=1_000_000)
    scaler: Literal["MinMaxScaler", "StandardScaler", "RobustScaler", "MaxAbsScaler", "none"] = _param(
        "MinMaxScaler", "Features", "scaling that the recurrent models apply; fitted on the fit part"
    )
    target_columns: str = _param(
        "", "Features", "columns to forecast, comma-separated; empty: the first numeric one, *: all"
    )
    gateway_url: str = _param(GATEWAY_URL, "Services", "object store: http(s)://gateway, s3:// or file:///dir")
    input_bucket: BucketName = _bucket("input_bucket")
    output_bucket: BucketName = _bucket("output_bucket")

    @model_validator(mode="after")
    def _quantile_leaves_something(self) -> "PreprocessParams":
        if self.clip_method == "quantile" and self.clip_factor >= 50:
            raise ValueError("clip_factor must be below 50 (percent) when clip_method is quantile")
        return self


class _DataParams(Params):
    config_hash: str = _param(
        ..., "Data", "config_hash of the training data; empty: taken from the file", standalone=""
    )
    config_json: str = _param(
        ..., "Data", "canonical preprocessing configuration; empty: taken from the file", standalone=""
    )
    identifier: Name = _param(..., "Data", "name of this run", standalone="")


class _ServiceParams(Params):
    mlflow_tracking_uri: str = _param(
        MLFLOW_TRACKING_URI,
        "Services",
        "MLflow tracking server; empty: as the environment says, MLFLOW_TRACKING_URI",
    )
    gateway_url: str = _param(GATEWAY_URL, "Services", "object store: http(s)://gateway, s3:// or file:///dir")


class _TrackingParams(Params):
    volatility_weighting: bool = _param(
        True,
        "Training",
        "weight squared errors by the inverse of recent volatility, so that quiet and loud times count alike",
    )
    interval_level: float = _param(
        0.9, "Forecast", "share of measured values that prediction intervals are to hold", ge=0.5, lt=1
    )
    refit: bool = _param(True, "Training", "train once more on all rows before saving; reported metrics stay")
    seed: int = _param(42, "Training", "random seed", ge=0, le=2**32 - 1)
    experiment_name: str = _param("flts", "Services", "MLflow experiment", min_length=1)


class TrainParams(_DataParams):
    """What every trainer takes."""

    input_seq_len: int = _param(10, "Windows", "rows of history before a forecast", ge=1, le=MAX_WINDOW)
    output_seq_len: int = _param(1, "Windows", "steps forecast at once", ge=1, le=MAX_WINDOW)


class TrainerParams(_ServiceParams, _TrackingParams, TrainParams):
    """Base of the parameters of every training stage."""

    promotion_bucket: BucketName = _bucket("promotion_bucket")


class RecurrentParams(TrainerParams):
    """Parameters of train-gru and train-lstm."""

    hidden_size: int = _param(128, "Network", "units per recurrent layer", ge=1, le=MAX_HIDDEN_SIZE)
    num_layers: int = _param(2, "Network", "recurrent layers", ge=1, le=MAX_LAYERS)
    batch_size: int = _param(64, "Training", "windows per optimizer step", ge=1, le=1_000_000)
    epochs: int = _param(10, "Training", "passes over the fit part, at most", ge=1, le=100_000)
    learning_rate: float = _param(1e-4, "Training", "Adam's step size", gt=0)
    early_stopping: bool = _param(True, "Training", "stop when the validation loss no longer falls")
    patience: int = _param(3, "Training", "epochs without improvement before stopping", ge=1, le=100_000)
    linear_skip: bool = _param(
        True,
        "Network",
        "forecast the change from the last value by a ridge on recent rows; networks learn what it leaves",
    )
    members: int = _param(
        4, "Network", "networks whose mean is the forecast, each with weights of its own", ge=1, le=MAX_MEMBERS
    )


class ProphetParams(TrainerParams):
    """Parameters of train-prophet."""

    growth: Literal["linear", "flat"] = _param("linear", "Trend", "form of the trend")
    n_changepoints: int = _param(25, "Trend", "possible changes of slope", ge=0, le=1000)
    changepoint_range: float = _param(0.8, "Trend", "share of the history that may hold changes", gt=0, le=1)
    changepoint_prior_scale: float = _param(0.05, "Trend", "flexibility of the trend", gt=0)
    seasonality_mode: Literal["additive", "multiplicative"] = _param(
        "additive", "Seasonality", "how seasons combine with the trend"
    )
    seasonality_prior_scale: float = _param(10.0, "Seasonality", "flexibility of the seasons", gt=0)
    daily_seasonality: Seasonality = _param("auto", "Seasonality", "auto, true, false or a Fourier order")
    weekly_seasonality: Seasonality = _param("auto", "Seasonality", "auto, true, false or a Fourier order")
    yearly_seasonality: Seasonality = _param("auto", "Seasonality", "auto, true, false or a Fourier order")
    holidays_country: str = _param("", "Seasonality", "country code (ISO 3166) whose holidays are effects; empty: none")
    residual_ar: bool = _param(True, "Trend", "correct forecasts by a ridge on recent rows and residuals")


class EvalParams(_ServiceParams):
    """Parameters of eval."""

    config_hash: str = _param(
        ..., "Data", "config_hash that all candidates must share; empty: taken from them", standalone=""
    )
    identifier: Name = _param(..., "Data", "name of this run", standalone="")
    gate: Literal["none", "baseline", "champion", "both"] = _param(
        "none",
        "Gate",
        "what the winner must beat to be promoted: persistence and the linear model (baseline), what is in production "
        "(champion), or both",
    )
    min_gain: float = _param(
        0.0, "Gate", "share by which its composite score must be lower: 0.02 asks for 2 % less", ge=0, lt=1
    )
    promotion_bucket: BucketName = _bucket("promotion_bucket")


class InferenceParams(_ServiceParams):
    """Parameters of inference."""

    config_hash: str = _param(
        ..., "Data", "config_hash of the inference data; empty: taken from the file", standalone=""
    )
    identifier: Name = _param(..., "Data", "name of this run", standalone="")
    inference_length: int = _param(10, "Forecast", "steps to forecast", ge=1, le=100_000)
    sample_idx: int = _param(0, "Forecast", "row of the test data where the first window begins", ge=0)
    inference_log_bucket: BucketName = _bucket("inference_log_bucket")
