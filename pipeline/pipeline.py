"""The DAG: preprocess, three trainers side by side, eval, inference. Knows the component specs and nothing else."""

from pathlib import Path
from typing import Any

from kfp import components, dsl

SPECS = Path(__file__).resolve().parents[1] / "component_specs"

preprocess = components.load_component_from_file(str(SPECS / "preprocess.yaml"))
train_gru = components.load_component_from_file(str(SPECS / "train-gru.yaml"))
train_lstm = components.load_component_from_file(str(SPECS / "train-lstm.yaml"))
train_prophet = components.load_component_from_file(str(SPECS / "train-prophet.yaml"))
evaluate = components.load_component_from_file(str(SPECS / "eval.yaml"))
inference = components.load_component_from_file(str(SPECS / "inference.yaml"))


def _schedule(task: Any, title: str, *, cpu: tuple[str, str], memory: tuple[str, str]) -> None:
    """Set what a container component cannot say itself; ``cpu`` and ``memory`` are (request, limit)."""
    task.set_display_name(title)
    task.set_cpu_request(cpu[0]).set_cpu_limit(cpu[1])
    task.set_memory_request(memory[0]).set_memory_limit(memory[1])
    task.set_retry(num_retries=2, backoff_duration="30s", backoff_factor=2.0, backoff_max_duration="300s")
    # KFP's cache key is image, command and arguments: it cannot see a changed dataset. The stages' own
    # fingerprints are the cache.
    task.set_caching_options(False)


@dsl.pipeline(  # type: ignore[untyped-decorator]  # kfp has no types
    name="flts-time-series-training-pipeline",
    display_name="FLTS Time Series Training Pipeline",
    pipeline_root="s3://kfp-artifacts/",
)
def flts_pipeline(
    dataset_name: str = "PobleSec",
    identifier: str = "run-001",
    sample_train_rows: int = 50,
    sample_test_rows: int = 50,
    hidden_size: int = 128,
    num_layers: int = 2,
    batch_size: int = 64,
    epochs: int = 10,
    learning_rate: float = 1e-4,
    inference_length: int = 10,
    sample_idx: int = 0,
    gateway_url: str = "http://fastapi-app:8000",
    mlflow_tracking_uri: str = "http://mlflow:5000",
    sample_strategy: str = "head",
    sample_seed: int = 42,
    force_reprocess: int = 0,
    extra_hash_salt: str = "",
    handle_nans: bool = True,
    nans_threshold: float = 0.33,
    nans_knn: int = 2,
    nans_drop_rows: bool = False,
    clip_enable: bool = False,
    clip_method: str = "iqr",
    clip_factor: float = 1.5,
    time_features_enable: bool = True,
    lags_enable: bool = False,
    lags_n: int = 0,
    lags_step: int = 1,
    scaler: str = "MinMaxScaler",
    target_columns: str = "",
    input_bucket: str = "dataset",
    output_bucket: str = "processed-data",
    input_seq_len: int = 10,
    output_seq_len: int = 1,
    refit: bool = False,
    seed: int = 42,
    experiment_name: str = "flts",
    early_stopping: bool = True,
    patience: int = 3,
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
    promotion_bucket: str = "model-promotion",
    inference_log_bucket: str = "inference-logs",
) -> None:
    """Train GRU, LSTM and Prophet on one dataset, promote the best, and forecast with it.

    Args:
        dataset_name: dataset to read: <name>.csv and <name>_test.csv (or .parquet) in the input bucket
        identifier: name of this run, kept in every message and key
        sample_train_rows: training rows to keep; 0 keeps all
        sample_test_rows: test rows to keep; 0 keeps all
        hidden_size: units per recurrent layer
        num_layers: recurrent layers
        batch_size: windows per optimizer step
        epochs: passes over the fit part, at most
        learning_rate: Adam's step size
        inference_length: steps to forecast
        sample_idx: row of the test data where the first window begins
        gateway_url: object store: http(s)://gateway, s3:// or file:///dir
        mlflow_tracking_uri: MLflow tracking server
        sample_strategy: which rows to keep: the first, the last, or a random contiguous block
        sample_seed: seed of the random block
        force_reprocess: 1 computes again what the store already has
        extra_hash_salt: text that goes into config_hash, to keep results apart
        handle_nans: fill missing values
        nans_threshold: a row with more than this fraction missing counts as empty
        nans_knn: observations nearest in time that fill a missing value
        nans_drop_rows: drop the rows above nans_threshold instead of filling them
        clip_enable: clip outliers to bounds learned on the fit part
        clip_method: how the bounds are found
        clip_factor: iqr: quartile ranges; zscore: standard deviations; quantile: percent cut at each end
        time_features_enable: add sine and cosine of minute of day, day of week and day of year
        lags_enable: add lagged copies of every measured column
        lags_n: lags per column
        lags_step: rows between two lags
        scaler: scaling that the recurrent models apply; fitted on the fit part
        target_columns: columns to forecast, comma-separated; empty: the first numeric one, *: all
        input_bucket: bucket of the raw dataset
        output_bucket: bucket of the processed data
        input_seq_len: rows of history before a forecast
        output_seq_len: steps forecast at once
        refit: train once more on all rows before saving; reported metrics stay
        seed: random seed
        experiment_name: MLflow experiment
        early_stopping: stop when the validation loss no longer falls
        patience: epochs without improvement before stopping
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
        promotion_bucket: bucket of promotions and pointers
        inference_log_bucket: bucket of forecasts
    """
    data = preprocess(
        dataset_name=dataset_name,
        identifier=identifier,
        sample_train_rows=sample_train_rows,
        sample_test_rows=sample_test_rows,
        sample_strategy=sample_strategy,
        sample_seed=sample_seed,
        force_reprocess=force_reprocess,
        extra_hash_salt=extra_hash_salt,
        handle_nans=handle_nans,
        nans_threshold=nans_threshold,
        nans_knn=nans_knn,
        nans_drop_rows=nans_drop_rows,
        clip_enable=clip_enable,
        clip_method=clip_method,
        clip_factor=clip_factor,
        time_features_enable=time_features_enable,
        lags_enable=lags_enable,
        lags_n=lags_n,
        lags_step=lags_step,
        scaler=scaler,
        target_columns=target_columns,
        gateway_url=gateway_url,
        input_bucket=input_bucket,
        output_bucket=output_bucket,
    )
    config_hash = data.outputs["config_hash"]
    services = {"gateway_url": gateway_url, "mlflow_tracking_uri": mlflow_tracking_uri}
    training = {
        "training_data": data.outputs["training_data"],
        "config_hash": config_hash,
        "config_json": data.outputs["config_json"],
        "identifier": identifier,
        "input_seq_len": input_seq_len,
        "output_seq_len": output_seq_len,
        "refit": refit,
        "seed": seed,
        "experiment_name": experiment_name,
        **services,
    }
    recurrent = {
        "hidden_size": hidden_size,
        "num_layers": num_layers,
        "batch_size": batch_size,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "early_stopping": early_stopping,
        "patience": patience,
        **training,
    }
    gru = train_gru(**recurrent)
    lstm = train_lstm(**recurrent)
    prophet = train_prophet(
        growth=growth,
        n_changepoints=n_changepoints,
        changepoint_range=changepoint_range,
        changepoint_prior_scale=changepoint_prior_scale,
        seasonality_mode=seasonality_mode,
        seasonality_prior_scale=seasonality_prior_scale,
        daily_seasonality=daily_seasonality,
        weekly_seasonality=weekly_seasonality,
        yearly_seasonality=yearly_seasonality,
        holidays_country=holidays_country,
        residual_ar=residual_ar,
        **training,
    )
    promotion = evaluate(
        gru_model=gru.outputs["model"],
        gru_metrics=gru.outputs["metrics"],
        lstm_model=lstm.outputs["model"],
        lstm_metrics=lstm.outputs["metrics"],
        prophet_model=prophet.outputs["model"],
        prophet_metrics=prophet.outputs["metrics"],
        config_hash=config_hash,
        identifier=identifier,
        promotion_bucket=promotion_bucket,
        **services,
    )
    forecast = inference(
        inference_data=data.outputs["inference_data"],
        selected_model=promotion.outputs["selected_model"],
        config_hash=config_hash,
        identifier=identifier,
        inference_length=inference_length,
        sample_idx=sample_idx,
        inference_log_bucket=inference_log_bucket,
        **services,
    )

    _schedule(data, "Preprocess", cpu=("500m", "2"), memory=("1Gi", "8Gi"))
    _schedule(gru, "Train GRU", cpu=("500m", "2"), memory=("1Gi", "4Gi"))
    _schedule(lstm, "Train LSTM", cpu=("500m", "2"), memory=("1Gi", "4Gi"))
    _schedule(prophet, "Train Prophet", cpu=("500m", "2"), memory=("1Gi", "4Gi"))
    _schedule(promotion, "Evaluate and promote", cpu=("250m", "1"), memory=("512Mi", "2Gi"))
    _schedule(forecast, "Forecast", cpu=("500m", "2"), memory=("1Gi", "4Gi"))
