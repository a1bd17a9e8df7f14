"""KFP interface of inference; the code that runs is in its image."""

# ruff: noqa: ARG001, D417 - the signature is the interface, and KFP reads outputs' descriptions under Returns.

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Model, Output

IMAGE = "flts-inference:kfp"


@dsl.container_component
def inference(
    inference_data: Input[Dataset],
    selected_model: Input[Model],
    config_hash: str,
    identifier: str,
    predictions: Output[Artifact],
    metrics: Output[Artifact],
    report: Output[HTML],
    mlflow_tracking_uri: str = "http://mlflow:5000",
    gateway_url: str = "http://fastapi-app:8000",
    inference_length: int = 10,
    sample_idx: int = 0,
    inference_log_bucket: str = "inference-logs",
) -> dsl.ContainerSpec:
    """Forecast with the promoted model and backtest it on the whole test data.

    Args:
        inference_data: test data of preprocess: claim check, Parquet or CSV
        selected_model: promotion of eval, trained-model message, or a model bundle folder
        config_hash: config_hash of the inference data; empty: taken from the file
        identifier: name of this run
        mlflow_tracking_uri: MLflow tracking server
        gateway_url: object store: http(s)://gateway, s3:// or file:///dir
        inference_length: steps to forecast
        sample_idx: row of the test data where the first window begins
        inference_log_bucket: bucket of forecasts

    Returns:
        predictions: forecast batch with its metrics
        metrics: forecast and backtest metrics
        report: report on the forecast
    """
    return dsl.ContainerSpec(
        image=IMAGE,
        command=["flts-inference"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
