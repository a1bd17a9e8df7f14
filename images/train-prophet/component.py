"""KFP interface of train-prophet; the code that runs is in its image."""

# ruff: noqa: ARG001, D417 - the signature is the interface, and KFP reads outputs' descriptions under Returns.

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Model, Output, OutputPath

IMAGE = "flts-train-prophet:kfp"


@dsl.container_component
def train_prophet(
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
    growth: str = "linear",
    n_changepoints: int = 25,
    changepoint_range: float = 0.8,
    changepoint_prior_scale: float = 0.05,
    seasonality_mode: str = "additive",
    seasonality_prior_scale: float = 10.0,
    daily_seasonality: str = "auto",
    weekly_seasonality: str = "auto",
    yearly_seasonality: str = "auto",
    holidays_country: str = "",
    residual_ar: bool = True,
) -> dsl.ContainerSpec:
    """Fit one Prophet model per target and score it beside three baselines.

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
        growth: form of the trend
        n_changepoints: possible changes of slope
        changepoint_range: share of the history that may hold changes
        changepoint_prior_scale: flexibility of the trend
        seasonality_mode: how seasons combine with the trend
        seasonality_prior_scale: flexibility of the seasons
        daily_seasonality: auto, true, false or a Fourier order
        weekly_seasonality: auto, true, false or a Fourier order
        yearly_seasonality: auto, true, false or a Fourier order
        holidays_country: country code (ISO 3166) whose holidays are effects; empty: none
        residual_ar: correct forecasts by the decaying last residual

    Returns:
        model: trained-model message
        metrics: test metrics of the model and of three baselines
        run_id: MLflow run that holds the model
        report: report on the training
    """
    return dsl.ContainerSpec(
        image=IMAGE,
        command=["flts-train-prophet"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
