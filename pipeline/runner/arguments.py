"""The values of the pipeline's parameters, from the command line, the dataset's file of them, and the defaults."""

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
    """Put the parameters together: the command line wins over the dataset's file, that over the defaults.

    Args:
        pipeline: The pipeline.
        dataset: The dataset, which gives its name to a run without an identifier.
        home: Where MLflow's database lies if no MLflow is named.
        params: ``NAME=VALUE``, each.
        identifier: The run's name; empty counts as none.
        store: Address of the object store.
        mlflow: Address of MLflow.

    Raises:
        BadInputError: A value is not one that the pipeline and each of its stages take.
    """
    chosen: dict[str, Any] = {
        "sample_train_rows": 0,
        "sample_test_rows": 0,
        **dataset.parameters(),
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
        raise BadInputError(f"parameter {name} cannot be set here: --dataset, --identifier, --store and --mlflow do")
    arguments = pipeline.arguments({**chosen, **own})
    _check_text({"--home": str(home), **{f"parameter {name}": value for name, value in arguments.items()}})
    # What a late stage would refuse is better refused before the first one starts.
    for stage in STAGES.values():
        fields = stage.params.model_fields
        made_by_stages = {name: "" for name in fields if name not in arguments}
        check_params(
            stage.params,
            made_by_stages | {name: arguments[name] for name in fields if name in arguments},
            lambda name: f"parameter {name}",
        )
    return arguments


def _check_text(values: Mapping[str, Value]) -> None:
    """Refuse names of files that are not UTF-8: no message could hold them."""
    for label, value in values.items():
        try:
            str(value).encode()
        except UnicodeEncodeError:
            raise BadInputError(f"{label} must be UTF-8, got {value!r}") from None


def split_pairs(params: Sequence[str]) -> dict[str, str]:
    """Split ``NAME=VALUE``, each; the last of a name wins.

    Raises:
        BadInputError: One of them is something else.
    """
    values = {}
    for pair in params:
        name, equals, value = pair.partition("=")
        if not equals:
            raise BadInputError(f"--param {pair!r} must be NAME=VALUE")
        values[name.strip()] = value
    return values
