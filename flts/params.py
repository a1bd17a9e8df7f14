"""The parameters of every stage: names, types, defaults, ranges and one-line descriptions, declared once.

Flags, environment variables, the reading of KFP's executor input, the docs and the contract tests come from here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from flts.boundary.quantiles import MOST_QUANTILES, parse_quantiles
from flts.diagnostics.terminal import printable

# Limits of a model, trained here or read from a bundle; flts.models.recurrent.network limits the network as a whole.
MAX_HIDDEN_SIZE, MAX_LAYERS, MAX_MEMBERS = 8192, 64, 64
MAX_WINDOW = 10_000
# Limits of a booster, trained here or read from a bundle.
MAX_TREES, MAX_LEAVES = 10_000, 4096

GATEWAY_URL = "http://fastapi-app:8000"
MLFLOW_TRACKING_URI = "http://mlflow:5000"


Seasonality = Annotated[str, Field(pattern=r"^(auto|true|false|[1-9]\d{0,2})$")]


class Params(BaseModel):
    """Base of the parameter models: unknown names, NaN and infinity are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)


@dataclass(frozen=True)
class ParamRule:
    """A rule on a parameter's values beyond its type, in words for its help."""

    words: str


# Names of keys that FLTS itself writes below an identifier and next to it: they would collide.
_NAMES_IN_KEYS = ("current.json", "global", "trainings", "trained", "index")
_MOST_BYTES = 128
_NO_PATHS = "must not contain '/', '\\', '..' or control characters"


def check_key_name(value: str) -> str:
    """Return an identifier or a dataset's name if it can be part of a storage key.

    Raises:
        ValueError: It cannot. The text completes a sentence that begins with the name: ``must not start with '.' or
            '-'``.
    """
    _check_no_path(value)
    if len(value.encode()) > _MOST_BYTES:
        raise ValueError(f"must be at most {_MOST_BYTES} bytes of UTF-8")
    if value.startswith((".", "-")):
        raise ValueError("must not start with '.' or '-'")
    # Some file systems do not distinguish upper and lower case.
    if value.lower() in _NAMES_IN_KEYS:
        raise ValueError(f"must not be {', '.join(_NAMES_IN_KEYS[:-1])} or {_NAMES_IN_KEYS[-1]}, which keys use")
    return value


def _check_bucket(value: str) -> str:
    _check_no_path(value)
    if len(value) > _MOST_BYTES:
        raise ValueError(f"must be at most {_MOST_BYTES} characters long")
    return value


def _check_no_path(value: str) -> None:
    if re.search("[\ud800-\udfff]", value):  # Python reads bytes that are not UTF-8 as these
        raise ValueError("must be UTF-8")
    if any(part in value for part in ("/", "\\", "..")) or value == "." or printable(value) != value:
        raise ValueError(_NO_PATHS)


Name = Annotated[
    str,
    AfterValidator(check_key_name),
    ParamRule(
        f"at most {_MOST_BYTES} bytes of UTF-8 without '/', '\\', '..' and control characters, not starting with '.' "
        f"or '-', and none of {', '.join(_NAMES_IN_KEYS)}"
    ),
]


def _check_quantiles(value: str) -> str:
    parse_quantiles(value)
    return value


Quantiles = Annotated[
    str, AfterValidator(_check_quantiles), ParamRule(f"at most {MOST_QUANTILES} numbers between 0 and 1")
]
BucketName = Annotated[str, AfterValidator(_check_bucket)]


def _param(default: Any, group: str, description: str, *, standalone: Any = None, **limits: Any) -> Any:
    """Declare a parameter; ``standalone`` is the value of a required one when a stage runs on its own."""
    extra = {"group": group} | ({} if standalone is None else {"standalone": standalone})
    return Field(default, description=description, json_schema_extra=extra, **limits)


class Bucket(NamedTuple):
    """Default name and description of a bucket."""

    default: str
    description: str


# Every bucket by the parameter that names it, in stages, servers and commands alike; the environment variable has the
# parameter's name in capitals.
BUCKETS: Mapping[str, Bucket] = {
    "input_bucket": Bucket("dataset", "bucket with the raw dataset"),
    "output_bucket": Bucket("processed-data", "bucket for the processed data"),
    "promotion_bucket": Bucket(
        "model-promotion", "bucket for trainings, promotions and the pointers to the promoted models"
    ),
    "inference_log_bucket": Bucket("inference-logs", "bucket for forecasts"),
    "mlflow_bucket": Bucket("mlflow", "bucket for MLflow's artifacts"),
    "kfp_bucket": Bucket("kfp-artifacts", "bucket for the artifacts of Kubeflow Pipelines"),
}


def _bucket(name: str) -> Any:
    """Declare a parameter that names a bucket."""
    return _param(BUCKETS[name].default, "Services", BUCKETS[name].description)


class PreprocessParams(Params):
    """Parameters of preprocess."""

    dataset_name: Name = _param(
        ...,
        "Dataset",
        "name of the dataset: <name>.csv and <name>_test.csv (or .parquet) are read from input_bucket",
        standalone="",
    )
    identifier: Name = _param(..., "Dataset", "name of this run; part of every message and storage key", standalone="")
    sample_train_rows: int = _param(0, "Sampling", "number of training rows to keep; 0 keeps all", ge=0)
    sample_test_rows: int = _param(0, "Sampling", "number of test rows to keep; 0 keeps all", ge=0)
    sample_strategy: Literal["head", "tail", "random"] = _param(
        "head", "Sampling", "rows to keep: the first (head), the last (tail) or one contiguous block chosen at random"
    )
    sample_seed: int = _param(42, "Sampling", "seed for choosing the random block", ge=0)
    force_reprocess: int = _param(0, "Cache", "1 recomputes data that the store already has", ge=0, le=1)
    extra_hash_salt: str = _param(
        "", "Cache", "text that is added to config_hash, to keep the results of equal configurations apart"
    )
    handle_nans: bool = _param(True, "Missing values", "fill missing values")
    nans_threshold: float = _param(
        0.33, "Missing values", "fraction of missing values above which a row counts as empty", ge=0, le=1
    )
    nans_knn: int = _param(
        2, "Missing values", "number of observations nearest in time that fill a missing value", ge=1, le=1000
    )
    nans_drop_rows: bool = _param(False, "Missing values", "drop rows above nans_threshold instead of filling them")
    clip_enable: bool = _param(
        False, "Clipping", "clip outliers to bounds learned from the fit part, the first 70 % of the training rows"
    )
    clip_method: Literal["iqr", "zscore", "quantile"] = _param("iqr", "Clipping", "rule for the clipping bounds")
    clip_factor: float = _param(
        1.5,
        "Clipping",
        "iqr: interquartile ranges; zscore: standard deviations; quantile: percent cut off at each end",
        gt=0,
    )
    time_features_enable: bool = _param(
        True,
        "Features",
        "add the sine and cosine of the minute of the day, the day of the week and the day of the year",
    )
    lags_enable: bool = _param(False, "Features", "add lagged copies of every measured column")
    lags_n: int = _param(0, "Features", "number of lags per column", ge=0, le=1000)
    lags_step: int = _param(1, "Features", "rows between consecutive lags", ge=1, le=1_000_000)
    scaler: Literal["MinMaxScaler", "StandardScaler", "RobustScaler", "MaxAbsScaler", "none"] = _param(
        "MinMaxScaler", "Features", "scaling for the recurrent models, learned from the fit part"
    )
    target_columns: str = _param(
        "", "Features", "columns to forecast, separated by commas; empty: the first numeric column; *: all"
    )
    gateway_url: str = _param(
        GATEWAY_URL, "Services", "address of the object store: http(s)://gateway, s3:// or file:///dir"
    )
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
        ..., "Data", "preprocessing configuration as canonical JSON; empty: taken from the file", standalone=""
    )
    identifier: Name = _param(..., "Data", "name of this run", standalone="")


class ServiceParams(Params):
    """Base of the parameters of every stage that uses MLflow."""

    mlflow_tracking_uri: str = _param(
        MLFLOW_TRACKING_URI,
        "Services",
        "address of the MLflow tracking server; empty: the environment variable MLFLOW_TRACKING_URI",
    )
    gateway_url: str = _param(
        GATEWAY_URL, "Services", "address of the object store: http(s)://gateway, s3:// or file:///dir"
    )


class _TrackingParams(Params):
    volatility_weighting: bool = _param(
        True,
        "Training",
        "weight squared errors by the inverse of recent volatility, so that calm and volatile periods count equally",
    )
    interval_level: float = _param(
        0.9, "Forecast", "share of measured values that prediction intervals should contain", ge=0.5, lt=1
    )
    refit: bool = _param(
        True,
        "Training",
        "train once more on all rows before saving; the reported metrics remain those of the first training",
    )
    seed: int = _param(42, "Training", "random seed", ge=0, le=2**32 - 1)
    experiment_name: str = _param("flts", "Services", "name of the MLflow experiment", min_length=1)


class TrainParams(_DataParams):
    """Parameters of every trained model: its data and its windows."""

    input_seq_len: int = _param(
        10, "Windows", "rows of history that a forecast is made from (window length)", ge=1, le=MAX_WINDOW
    )
    output_seq_len: int = _param(1, "Windows", "steps that the model forecasts in one pass", ge=1, le=MAX_WINDOW)


class TrainerParams(ServiceParams, _TrackingParams, TrainParams):
    """Base of the parameters of every training stage."""

    target_transform: Literal["none", "log1p", "auto"] = _param(
        "none",
        "Training",
        "scale of the targets in training: unchanged (none), log1p(y / k) (log1p), or by how heavy their tails are "
        "(auto)",
    )
    promotion_bucket: BucketName = _bucket("promotion_bucket")


class RecurrentParams(TrainerParams):
    """Parameters of train-gru and train-lstm."""

    hidden_size: int = _param(128, "Network", "units per recurrent layer", ge=1, le=MAX_HIDDEN_SIZE)
    num_layers: int = _param(2, "Network", "number of recurrent layers", ge=1, le=MAX_LAYERS)
    batch_size: int = _param(64, "Training", "windows per optimizer step", ge=1, le=1_000_000)
    epochs: int = _param(10, "Training", "maximum number of passes over the fit part", ge=1, le=100_000)
    learning_rate: float = _param(1e-4, "Training", "step size of the Adam optimizer", gt=0)
    early_stopping: bool = _param(True, "Training", "stop when the validation loss no longer improves")
    patience: int = _param(3, "Training", "epochs without improvement before training stops", ge=1, le=100_000)
    linear_skip: bool = _param(
        True,
        "Network",
        "forecast the change from the last value with a ridge regression; the networks learn what it leaves",
    )
    members: int = _param(
        4, "Network", "number of networks, each with its own weights; the forecast is their mean", ge=1, le=MAX_MEMBERS
    )


class ProphetParams(TrainerParams):
    """Parameters of train-prophet."""

    growth: Literal["linear", "flat"] = _param("linear", "Trend", "shape of the trend")
    n_changepoints: int = _param(
        25, "Trend", "number of points at which the slope of the trend may change", ge=0, le=1000
    )
    changepoint_range: float = _param(
        0.8, "Trend", "share of the history, from its start, in which the slope may change", gt=0, le=1
    )
    changepoint_prior_scale: float = _param(
        0.05, "Trend", "flexibility of the trend: larger values follow the data more closely", gt=0
    )
    seasonality_mode: Literal["additive", "multiplicative"] = _param(
        "additive", "Seasonality", "how seasonal effects combine with the trend"
    )
    seasonality_prior_scale: float = _param(10.0, "Seasonality", "flexibility of the seasonal effects", gt=0)
    daily_seasonality: Seasonality = _param("auto", "Seasonality", "auto, true, false or a Fourier order")
    weekly_seasonality: Seasonality = _param("auto", "Seasonality", "auto, true, false or a Fourier order")
    yearly_seasonality: Seasonality = _param("auto", "Seasonality", "auto, true, false or a Fourier order")
    holidays_country: str = _param(
        "", "Seasonality", "country whose holidays are modelled, as an ISO 3166 code; empty: none"
    )
    residual_ar: bool = _param(True, "Trend", "correct forecasts with a ridge regression on recent rows and residuals")


class LightGBMParams(TrainerParams):
    """Parameters of train-lightgbm."""

    num_boost_round: int = _param(800, "Boosting", "maximum number of trees of a booster", ge=1, le=MAX_TREES)
    early_stopping_round: int = _param(
        40, "Boosting", "trees without improvement on the validation part before a booster stops", ge=1, le=MAX_TREES
    )
    shrinkage_rate: float = _param(
        0.05, "Boosting", "factor by which the values of each tree are multiplied", gt=0, le=1
    )
    num_leaves: int = _param(31, "Boosting", "maximum number of leaves of a tree", ge=2, le=MAX_LEAVES)
    min_data_in_leaf: int = _param(40, "Boosting", "fewest training rows of a leaf", ge=1, le=1_000_000)


class EvalParams(ServiceParams):
    """Parameters of eval."""

    config_hash: str = _param(
        ..., "Data", "config_hash that all candidate models must share; empty: taken from them", standalone=""
    )
    identifier: Name = _param(..., "Data", "name of this run", standalone="")
    gate: Literal["none", "baseline", "champion", "both"] = _param(
        "none",
        "Gate",
        "what the best model must beat: nothing, the baselines (baseline), the model in production (champion), or both",
    )
    min_gain: float = _param(
        0.0, "Gate", "fraction by which its composite score must be lower than theirs: 0.02 requires 2 %", ge=0, lt=1
    )
    incomparable: Literal["promote", "hold"] = _param(
        "promote",
        "Gate",
        "what to do when the best model cannot be compared with the model in production on at least 50 rows",
    )
    ensemble: bool = _param(
        False,
        "Ensemble",
        "make a candidate ENSEMBLE of the models that are not clearly worse than the best: the mean of their forecasts",
    )
    promotion_bucket: BucketName = _bucket("promotion_bucket")


class InferenceParams(ServiceParams):
    """Parameters of inference."""

    config_hash: str = _param(
        ..., "Data", "config_hash of the inference data; empty: taken from the file", standalone=""
    )
    identifier: Name = _param(..., "Data", "name of this run", standalone="")
    inference_length: int = _param(10, "Forecast", "number of steps to forecast", ge=1, le=100_000)
    sample_idx: int = _param(
        0, "Forecast", "row of the test data at which the first window starts, counted from 0", ge=0
    )
    quantiles: Quantiles = _param(
        "",
        "Forecast",
        "quantiles to forecast, such as 0.05,0.5,0.95; bounds are then quantiles, too; empty: none, and symmetric "
        "intervals",
    )
    inference_log_bucket: BucketName = _bucket("inference_log_bucket")
