"""KFP interface of preprocess; the code that runs is in its image."""

# ruff: noqa: ARG001, D417 - the signature is the interface, and KFP reads outputs' descriptions under Returns.

from kfp import dsl
from kfp.dsl import HTML, Dataset, Output, OutputPath

IMAGE = "flts-preprocess:kfp"


@dsl.container_component
def preprocess(
    dataset_name: str,
    identifier: str,
    training_data: Output[Dataset],
    inference_data: Output[Dataset],
    config_hash: OutputPath(str),
    config_json: OutputPath(str),
    report: Output[HTML],
    sample_train_rows: int = 0,
    sample_test_rows: int = 0,
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
    gateway_url: str = "http://fastapi-app:8000",
    input_bucket: str = "dataset",
    output_bucket: str = "processed-data",
) -> dsl.ContainerSpec:
    """Clean a dataset, add features, learn the scaling, and write training and inference data.

    Args:
        dataset_name: dataset to read: <name>.csv and <name>_test.csv (or .parquet) in the input bucket
        identifier: name of this run, kept in every message and key
        sample_train_rows: training rows to keep; 0 keeps all
        sample_test_rows: test rows to keep; 0 keeps all
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
        gateway_url: object store: http(s)://gateway, s3:// or file:///dir
        input_bucket: bucket of the raw dataset
        output_bucket: bucket of the processed data

    Returns:
        training_data: claim check of the processed training data
        inference_data: claim check of the processed test data
        config_hash: SHA-256 of config_json
        config_json: canonical JSON of the preprocessing configuration
        report: report on the data
    """
    return dsl.ContainerSpec(
        image=IMAGE,
        command=["flts-preprocess"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
