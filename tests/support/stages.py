"""The stages of each pipeline."""

from collections.abc import Mapping

from flts.models.registry import TRAINED_MODELS
from flts.stages import STAGES

OPTIONAL_TRAINERS = tuple(f"train-{model.slot}" for model in TRAINED_MODELS.values() if model.optional)
# By the pipeline's name, in the order of the pipeline.
STAGES_OF: Mapping[str, tuple[str, ...]] = {
    "pipeline": tuple(name for name in STAGES if name not in OPTIONAL_TRAINERS),
    "boosted": tuple(STAGES),
}
