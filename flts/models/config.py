"""``config.json`` of a model bundle: what the model is and what data it was trained on."""

from typing import Any, ClassVar, Literal

from flts.contracts import Message, ModelType
from flts.timeseries.frame import Parts


class BundleConfig(Message):
    """What a bundle says of its model.

    ``preprocess_config`` is canonical JSON or ``""``; ``target_range`` the width of each target on the fit part,
    the unit of the reported scores. ``trained_until`` is the time of the last row that shaped its forecasts; bundles
    of older versions do not say.
    """

    kind: ClassVar[str] = "bundle configuration that this version reads"
    v: Literal[1] = 1
    model_type: ModelType
    input_seq_len: int
    output_seq_len: int
    features: tuple[str, ...]
    targets: tuple[str, ...]
    hyperparameters: dict[str, Any]
    sampling_seconds: float
    parts: Parts
    config_hash: str
    preprocess_config: str
    target_range: dict[str, float]
    trained_until: str | None = None
