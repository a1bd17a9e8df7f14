"""KFP interface of eval; the code that runs is in its image."""

from kfp import dsl

from flts.stages import STAGES
from pipeline.interface import declared_by

IMAGE = "flts-eval:kfp"


@dsl.container_component
@declared_by(STAGES["eval"])
def eval() -> dsl.ContainerSpec:
    """See flts/stages/__init__.py."""
    return dsl.ContainerSpec(
        image=IMAGE,
        command=["flts-eval"],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
