"""Values of the pipeline's parameters, from the command line, the dataset's TOML file and the defaults."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flts.errors import BadInputError
from flts.runtime.parameters import check_params
from flts.stages import STAGES
from pipeline.runner.compiled import Pipeline, Value
from pipeline.runner.dataset import Dataset
from pipeline.runner.services import SQLITE


def choose_arguments(
    pipeline: Pipeline,
    dataset: Dataset,
    home: Path,
    *,
    params: Sequence[str],
    identifier: str | None,
    store: str,
    mlflow: str | None,
) -> dict[str, Value]:
    """Merge the parameters: the command line takes precedence over the dataset's file, and that over the defaults.

    Args:
        pipeline: The pipeline.
        dataset: The dataset; a run without an identifier is named after it.
        home: Folder for MLflow's database, if ``mlflow`` is not given.
        params: Texts of the form ``NAME=VALUE``.
        identifier: Name of the run; empty counts as none.
        store: Address of the object store.
        mlflow: Address of MLflow.

    Raises:
        BadInputError: A value is not accepted by the pipeline or by one of its stages.
    """
    chosen: dict[str, Any] = {
        "sample_train_rows": 0,
        "sample_test_rows": 0,
        **_without_those_of_other_pipelines(dataset.parameters(), pipeline),
        **split_pairs(params),
    }
    own: dict[str, Any] = {
        "dataset_name": dataset.name,
        "identifier": identifier or dataset.name,
        "gateway_url": store,
    }
    if mlflow:
        own["mlflow_tracking_uri"] = mlflow
    else:
        chosen.setdefault("mlflow_tracking_uri", f"{SQLITE}{home / 'mlflow.db'}")
    for name in own.keys() & chosen.keys():
        raise BadInputError(f"parameter {name} cannot be set here: use --dataset, --identifier, --store or --mlflow")
    arguments = pipeline.arguments({**chosen, **own})
    _check_text({"--home": str(home), **{f"parameter {name}": value for name, value in arguments.items()}})
    # Values that a late stage would refuse are refused before the first stage starts.
    for stage in (each for name, each in STAGES.items() if name in pipeline.tasks):
        fields = stage.params.model_fields
        made_by_stages = {name: "" for name in fields if name not in arguments}
        check_params(
            stage.params,
            made_by_stages | {name: arguments[name] for name in fields if name in arguments},
            lambda name: f"parameter {name}",
        )
    return arguments


def _without_those_of_other_pipelines(parameters: Mapping[str, Any], pipeline: Pipeline) -> dict[str, Any]:
    """Leave out parameters of stages that this pipeline does not have: a file may serve several pipelines."""
    others = {
        name for task, stage in STAGES.items() if task not in pipeline.tasks for name in stage.params.model_fields
    }
    return {name: value for name, value in parameters.items() if name in pipeline.parameters or name not in others}


def _check_text(values: Mapping[str, Value]) -> None:
    """Refuse text that is not valid UTF-8, such as some file names: messages could not contain it."""
    for label, value in values.items():
        try:
            str(value).encode()
        except UnicodeEncodeError:
            raise BadInputError(f"{label} must be UTF-8, got {value!r}") from None


def split_pairs(params: Sequence[str]) -> dict[str, str]:
    """Split texts of the form ``NAME=VALUE``; the last value of a name wins.

    Raises:
        BadInputError: One of them has another form.
    """
    values = {}
    for pair in params:
        name, equals, value = pair.partition("=")
        if not equals:
            raise BadInputError(f"--param {pair!r} must be NAME=VALUE")
        values[name.strip()] = value
    return values
