"""The settings of the forecast server."""

from typing import Annotated

from pydantic import AfterValidator, Field

from flts.params import BUCKETS, GATEWAY_URL, MLFLOW_TRACKING_URI, BucketName, Params, check_key_name

KIB, MIB = 1 << 10, 1 << 20
# Settings that are parameters of stages too, by the variables that stages read for them.
STAGE_VARIABLES = {
    "gateway_url": "GATEWAY_URL",
    "mlflow_tracking_uri": "MLFLOW_TRACKING_URI",
    "identifier": "IDENTIFIER",
    "promotion_bucket": "PROMOTION_BUCKET",
    "data_bucket": "OUTPUT_BUCKET",
}


def _check_identifier(value: str) -> str:
    return check_key_name(value) if value else value


class ServingSettings(Params):
    """Settings of the forecast server, from flags and environment variables."""

    gateway_url: str = Field(
        GATEWAY_URL, description="address of the object store: http(s)://host:port, s3:// or file:///dir"
    )
    mlflow_tracking_uri: str = Field(
        MLFLOW_TRACKING_URI, description="address of the MLflow server that keeps the models"
    )
    identifier: Annotated[str, AfterValidator(_check_identifier)] = Field(
        "", description="identifier whose promoted model is served; empty: the latest promotion of any identifier"
    )
    host: str = Field("127.0.0.1", description="address to listen on", min_length=1)
    port: int = Field(8000, description="port to listen on; 0: any free port", ge=0, le=65535)
    watch_seconds: float = Field(5, description="seconds between checks for a new promotion", ge=0.1, le=3600)
    max_batch: int = Field(
        64, description="maximum number of forecasts that share a pass of the model; 1: no sharing", ge=1, le=1024
    )
    batch_window_ms: float = Field(
        2,
        description="milliseconds that a busy server waits for more forecasts to share a pass; an idle one never waits",
        ge=0,
        le=1000,
    )
    queue_length: int = Field(
        256, description="maximum number of pending forecasts; further requests get status 429", ge=1, le=100_000
    )
    deadline_seconds: float = Field(30, description="maximum seconds for a forecast; then status 504", gt=0, le=3600)
    max_body_mib: int = Field(
        32, description="maximum size of a request body in MiB; larger ones get status 413", ge=1, le=1024
    )
    threads: int = Field(2, description="threads that read data and recalibrate intervals", ge=1, le=64)
    promotion_bucket: BucketName = Field(
        BUCKETS["promotion_bucket"].default, description=BUCKETS["promotion_bucket"].description
    )
    data_bucket: BucketName = Field(BUCKETS["output_bucket"].default, description=BUCKETS["output_bucket"].description)
