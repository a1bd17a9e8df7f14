"""KFP interface of train-lstm; the code that runs is in its image."""

# ruff: noqa: ARG001, D417 - the signature is the interface, and KFP reads outputs' descriptions under Returns.

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Model, Output, OutputPath

IMAGE = "flts-train-lstm:kfp"


@dsl.container_component
def train_lstm(
    training_data: Input[Dataset],
    config_hash: str,
    config_json: str,
    identifier: str,
    model: Output[Model],
    metrics: Output[Artifact],
    run_id: OutputPath(str),
    report: Output[HTML],
    input_seq_len: int = 10,
    output_seq_len: int = 1,
    refit: bool = False,
    seed: int = 42,
    experiment_name: str = "flts",
    mlflow_tracking_uri: str = "http://mlflow:5000",
    gateway_url: str = "http://fastapi-app:8000",
    hidden_size: int = 128,
    num_layers: int = 2,
    batch_size: int = 64,
    epochs: int = 10,
    learning_rate: float = 0.0001,
    early_stopping: bool = True,
    patience: int = 3,
) -> dsl.ContainerSpec:
    """Train an LSTM forecaster and score it beside three baselines.

    Args:
        training_data: training data of preprocess: claim check, Parquet or CSV
        config_hash: config_hash of the training data; empty: taken from the file
        config_json: canonical preprocessing configuration; empty: taken from the file
        identifier: name of this run
        input_seq_len: rows of history before a forecast
        output_seq_len: steps forecast at once
        refit: train once more on all rows before saving; reported metrics stay
        seed: random seed
        experiment_name: MLflow experiment
        mlflow_tracking_uri: MLflow tracking server
        gateway_url: object store: http(s)://gateway, s3:// or file:///dir
        hidden_size: units per recurrent layer
        num_layers: recurrent layers
        batch_size: windows per optimizer step
        epochs: passes over the fit part, at most
        learning_rate: Adam's step size
        early_stopping: stop when the validation loss no longer falls
        patience: epochs without improvement before stopping

    Returns:
        model: trained-model message
        metrics: test metrics of the model and of three baselines
        run_id: MLflow run that holds the model
        report: report on the training
    """
    return dsl.ContainerSpec(
        image=IMAGE,
        command=["flts-train-lstm"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
