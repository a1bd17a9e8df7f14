"""The declarations of the stages: parameters, artifacts, the function that runs each, and its worker."""

from collections.abc import Mapping
from types import MappingProxyType

from flts.models.registry import TRAINED_MODELS
from flts.params import EvalParams, InferenceParams, PreprocessParams
from flts.stage_interface import ArtifactType, Input, Output, Stage, WorkerDeclaration
from flts.stages import topics

PREPROCESS = Stage(
    name="preprocess",
    summary="Clean a dataset, add features, learn the scaling, and write training and inference data.",
    params=PreprocessParams,
    inputs={
        "input": Input(
            "Dataset", "training rows to read, CSV or Parquet", required=False, kfp=False, example="data.csv"
        ),
        "test_input": Input(
            "Dataset",
            "test rows; default: <input>_test.* in the same folder, or else the last 20 % of the training rows",
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
    checks={f"train-{model.slot}": model.params for model in TRAINED_MODELS.values()}
    | {"eval": EvalParams, "inference": InferenceParams},
    worker=WorkerDeclaration(
        group="preprocess",
        group_variable="CONSUMER_GROUP_ID",
        consumes={topics.REQUESTS: "CONSUMER_TOPIC"},
        produces={topics.TRAINING_DATA: "PRODUCER_TOPIC_0", topics.INFERENCE_DATA: "PRODUCER_TOPIC_1"},
        handler="flts.workers.handlers.preprocessing:handle",
        messages_of_run="flts.workers.handlers.preprocessing:claim_checks",
    ),
)

_TRAINING_DATA = Input(
    "Dataset",
    "training data from preprocess: claim check, Parquet or CSV",
    example="preprocess/processed_data.parquet",
)
_TRAINING_OUTPUTS: Mapping[str, Output] = {
    "model": Output("Model", "trained-model message: the scores, the MLflow run, and where the model is kept"),
    "metrics": Output("Artifact", "test metrics of the model and of four baselines"),
    "scores": Output("Metrics", "main test scores, for comparing runs in KFP"),
    "run_id": Output("str", "id of the MLflow run with the model"),
    "report": Output("HTML", "report on the training"),
}
# A name that others know from before; the group of any other trainer has the name of its stage.
_GROUPS = {"train-prophet": "nonml-prophet"}


def _trainer_worker(stage: str) -> WorkerDeclaration:
    return WorkerDeclaration(
        group=_GROUPS.get(stage, stage),
        group_variable="CONSUMER_GROUP_ID",
        consumes={topics.TRAINING_DATA: "CONSUMER_TOPIC"},
        produces={topics.TRAINED_MODELS: "PRODUCER_TOPIC"},
        handler="flts.workers.handlers.training:handle",
    )


TRAINERS: Mapping[str, Stage] = {
    f"train-{model.slot}": Stage(
        name=f"train-{model.slot}",
        summary=model.summary,
        params=model.params,
        inputs={"training_data": _TRAINING_DATA},
        outputs=_TRAINING_OUTPUTS,
        function="flts.stages.training.stage:run",
        arguments={"model_type": model.model_type},
        worker=_trainer_worker(f"train-{model.slot}"),
    )
    for model in TRAINED_MODELS.values()
}


_COMPARED: Mapping[str, ArtifactType] = {"model": "Model", "metrics": "Artifact"}


def _trainer_artifacts(*, optional: bool) -> dict[str, Input]:
    return {
        f"{model.slot}_{name}": Input(
            kind,
            f"{name} from train-{model.slot}{', if it is trained' if optional else ''}",
            required=not optional,
            example="" if optional else f"{model.slot}/{name}.json",
        )
        for model in TRAINED_MODELS.values()
        if model.optional is optional
        for name, kind in _COMPARED.items()
    }


EVAL = Stage(
    name="eval",
    summary="Compare the trained models and promote the best.",
    params=EvalParams,
    inputs=_trainer_artifacts(optional=False)
    | {
        "training_data": Input(
            "Dataset",
            "training data from preprocess, to score the model in production on the same rows",
            required=False,
        )
    }
    | _trainer_artifacts(optional=True),
    outputs={
        "selected_model": Output(
            "Model",
            "model to forecast with: the best one, or the model in production if the gate held the best one back",
        ),
        "promotion_metadata": Output("Artifact", "the decision, as recorded in the promotion history"),
        "scores": Output("Metrics", "selection scores of the best model, for comparing runs in KFP"),
        "report": Output("HTML", "report with all scores, the best model, and whether it was promoted"),
    },
    function="flts.stages.evaluation.stage:run",
    worker=WorkerDeclaration(
        group="eval-promoter",
        group_variable="EVAL_GROUP_ID",
        consumes={topics.TRAINED_MODELS: "MODEL_TRAINING_TOPIC"},
        produces={topics.SELECTED_MODELS: "MODEL_SELECTED_TOPIC"},
        handler="flts.workers.handlers.evaluation:handle",
        dead_letter_variable="DLQ_MODEL_SELECTED",
    ),
)

INFERENCE = Stage(
    name="inference",
    summary="Forecast with the promoted model and backtest it on the whole test data.",
    params=InferenceParams,
    inputs={
        "inference_data": Input(
            "Dataset",
            "test data from preprocess: claim check, Parquet or CSV",
            example="preprocess/test_processed_data.parquet",
        ),
        "selected_model": Input(
            "Model",
            "promotion from eval, trained-model message from a trainer, or a model bundle folder",
            example="eval/selected_model.json",
        ),
    },
    outputs={
        "predictions": Output("Artifact", "forecasts and their metrics"),
        "metrics": Output("Artifact", "forecast and backtest metrics"),
        "scores": Output("Metrics", "main scores of forecast and backtest, for comparing runs in KFP"),
        "report": Output("HTML", "report on the forecast"),
    },
    function="flts.stages.forecasting.stage:run",
    also="flts-inference --serve serves live forecasts over HTTP instead; see flts-inference --serve --help.",
    worker=WorkerDeclaration(
        group="batch-forecasting-v2",
        group_variable="CONSUMER_GROUP_ID",
        consumes={topics.INFERENCE_DATA: "CONSUMER_TOPIC_0", topics.SELECTED_MODELS: "PROMOTION_TOPIC"},
        produces={topics.PERFORMANCE: "PRODUCER_TOPIC"},
        handler="flts.workers.handlers.forecasting:handle",
    ),
)

STAGES: Mapping[str, Stage] = MappingProxyType(
    {stage.name: stage for stage in (PREPROCESS, *TRAINERS.values(), EVAL, INFERENCE)}
)
