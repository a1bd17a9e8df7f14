"""Experiment and parent run of a training from the environment, which KFP's MLflow plugin sets."""

import os

from flts.errors import BadInputError
from flts.tracking import Tracking

_EXPERIMENT, _RUN = "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID"


def find_parent_run(tracking: Tracking, experiment_name: str) -> tuple[str, str]:
    """Return the ids of a training's experiment, which is created where only its name is known, and of its parent run.

    Args:
        tracking: The MLflow that has both.
        experiment_name: The experiment, where the environment names none.

    Returns:
        The id of the experiment, and that of the parent run, empty where the environment names none.

    Raises:
        BadInputError: The environment names an experiment or a run that MLflow does not have, or that was deleted.
    """
    experiment_id, run_id = os.environ.get(_EXPERIMENT, ""), os.environ.get(_RUN, "")
    if experiment_id and not tracking.has_experiment(experiment_id):
        raise _unknown(_EXPERIMENT, f"experiment {experiment_id!r}", tracking)
    if run_id and tracking.status(run_id) is None:
        raise _unknown(_RUN, f"run {run_id!r}", tracking)
    return experiment_id or tracking.experiment(experiment_name), run_id


def _unknown(variable: str, what: str, tracking: Tracking) -> BadInputError:
    return BadInputError(
        f"environment variable {variable} names {what}, which MLflow at {tracking.uri} does not have, or which was "
        "deleted; where KFP sets it, mlflow_tracking_uri must be empty, so that the same MLflow is asked"
    )
