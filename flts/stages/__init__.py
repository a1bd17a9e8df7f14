"""The six stages, declared: parameters, artifacts and the function that runs each."""

from collections.abc import Mapping
from types import MappingProxyType

from flts.params import EvalParams, InferenceParams, PreprocessParams, ProphetParams, RecurrentParams
from flts.stage import Input, Output, Stage

PREPROCESS = Stage(
    name="preprocess",
    summary="Clean a dataset, add features, learn the scaling, and write training and inference data.",
    params=PreprocessParams,
    inputs={
        "input": Input("Dataset", "dataset to read, CSV or Parquet", required=False, kfp=False, example="data.csv"),
        "test_input": Input(
            "Dataset",
            "its test part; default: <input>_test.* beside it, else the last 20 % of the rows",
            required=False,
            kfp=False,
        ),
    },
    outputs={
        "training_data": Output("Dataset", "claim check of the processed training data"),
        "inference_data": Output("Dataset", "claim check of the processed test data"),
        "config_hash": Output("str", "SHA-256 of config_json"),
        "config_json": Output("str", "canonical JSON of the preprocessing configuration"),
        "report": Output("HTML", "report on the data"),
    },
    function="flts.stages.preprocessing.stage:run",
)

_TRAINING_DATA = Input(
    "Dataset",
    "training data of preprocess: claim check, Parquet or CSV",
    example="preprocess/processed_data.parquet",
)
_TRAINING_OUTPUTS: Mapping[str, Output] = {
    "model": Output("Model", "trained-model message"),
    "metrics": Output("Artifact", "test metrics of the model and of three baselines"),
    "run_id": Output("str", "MLflow run that holds the model"),
    "report": Output("HTML", "report on the training"),
}

TRAIN_GRU = Stage(
    name="train-gru",
    summary="Train a GRU forecaster and score it beside three baselines.",
    params=RecurrentParams,
    inputs={"training_data": _TRAINING_DATA},
    outputs=_TRAINING_OUTPUTS,
    function="flts.stages.training.stage:run_gru",
)

TRAIN_LSTM = Stage(
    name="train-lstm",
    summary="Train an LSTM forecaster and score it beside three baselines.",
    params=RecurrentParams,
    inputs={"training_data": _TRAINING_DATA},
    outputs=_TRAINING_OUTPUTS,
    function="flts.stages.training.stage:run_lstm",
)

TRAIN_PROPHET = Stage(
    name="train-prophet",
    summary="Fit one Prophet model per target and score it beside three baselines.",
    params=ProphetParams,
    inputs={"training_data": _TRAINING_DATA},
    outputs=_TRAINING_OUTPUTS,
    function="flts.stages.training.stage:run_prophet",
)

EVAL = Stage(
    name="eval",
    summary="Compare the trained models and promote the best.",
    params=EvalParams,
    inputs={
        "gru_model": Input("Model", "model of train-gru", example="gru/model.json"),
        "gru_metrics": Input("Artifact", "metrics of train-gru", example="gru/metrics.json"),
        "lstm_model": Input("Model", "model of train-lstm", example="lstm/model.json"),
        "lstm_metrics": Input("Artifact", "metrics of train-lstm", example="lstm/metrics.json"),
        "prophet_model": Input("Model", "model of train-prophet", example="prophet/model.json"),
        "prophet_metrics": Input("Artifact", "metrics of train-prophet", example="prophet/metrics.json"),
    },
    outputs={
        "selected_model": Output("Model", "promotion of the winner"),
        "promotion_metadata": Output("Artifact", "the same promotion, as metadata"),
        "report": Output("HTML", "score table and why the winner won"),
    },
    function="flts.stages.evaluation.stage:run",
)

INFERENCE = Stage(
    name="inference",
    summary="Forecast with the promoted model and backtest it on the whole test data.",
    params=InferenceParams,
    inputs={
        "inference_data": Input(
            "Dataset",
            "test data of preprocess: claim check, Parquet or CSV",
            example="preprocess/test_processed_data.parquet",
        ),
        "selected_model": Input(
            "Model",
            "promotion of eval, trained-model message, or a model bundle folder",
            example="eval/selected_model.json",
        ),
    },
    outputs={
        "predictions": Output("Artifact", "forecast batch with its metrics"),
        "metrics": Output("Artifact", "forecast and backtest metrics"),
        "report": Output("HTML", "report on the forecast"),
    },
    function="flts.stages.forecasting.stage:run",
)

STAGES: Mapping[str, Stage] = MappingProxyType(
    {stage.name: stage for stage in (PREPROCESS, TRAIN_GRU, TRAIN_LSTM, TRAIN_PROPHET, EVAL, INFERENCE)}
)
