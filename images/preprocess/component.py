"""KFP interface of preprocess; the code that runs is in its image."""

from kfp import dsl

from flts.stages import STAGES
from pipeline.interface import declared_by

IMAGE = "flts-preprocess:kfp"


@dsl.container_component
@declared_by(STAGES["preprocess"])
def preprocess() -> dsl.ContainerSpec:
    """See flts/stages/__init__.py."""
    return dsl.ContainerSpec(
        image=IMAGE,
        command=["flts-preprocess"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
