"""KFP interface of eval; the code that runs is in its image."""

# ruff: noqa: ARG001, D417 - the signature is the interface, and KFP reads outputs' descriptions under Returns.

from kfp import dsl
from kfp.dsl import HTML, Artifact, Input, Model, Output

IMAGE = "flts-eval:kfp"


@dsl.container_component
def eval(
    gru_model: Input[Model],
    gru_metrics: Input[Artifact],
    lstm_model: Input[Model],
    lstm_metrics: Input[Artifact],
    prophet_model: Input[Model],
    prophet_metrics: Input[Artifact],
    config_hash: str,
    identifier: str,
    selected_model: Output[Model],
    promotion_metadata: Output[Artifact],
    report: Output[HTML],
    mlflow_tracking_uri: str = "http://mlflow:5000",
    gateway_url: str = "http://fastapi-app:8000",
    promotion_bucket: str = "model-promotion",
) -> dsl.ContainerSpec:
    """Compare the trained models and promote the best.

    Args:
        gru_model: model of train-gru
        gru_metrics: metrics of train-gru
        lstm_model: model of train-lstm
        lstm_metrics: metrics of train-lstm
        prophet_model: model of train-prophet
        prophet_metrics: metrics of train-prophet
        config_hash: config_hash that all candidates must share; empty: taken from them
        identifier: name of this run
        mlflow_tracking_uri: MLflow tracking server
        gateway_url: object store: http(s)://gateway, s3:// or file:///dir
        promotion_bucket: bucket of promotions and pointers

    Returns:
        selected_model: promotion of the winner
        promotion_metadata: the same promotion, as metadata
        report: score table and why the winner won
    """
    return dsl.ContainerSpec(
        image=IMAGE,
        command=["flts-eval"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
