"""KFP interface of train-prophet; the code that runs is in its image."""

from kfp import dsl

from flts.stages import STAGES
from pipeline.interface import declared_by

IMAGE = "flts-train-prophet:kfp"


@dsl.container_component
@declared_by(STAGES["train-prophet"])
def train_prophet() -> dsl.ContainerSpec:
    """See flts/stages/__init__.py."""
    return dsl.ContainerSpec(
        image=IMAGE,
        command=["flts-train-prophet"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
