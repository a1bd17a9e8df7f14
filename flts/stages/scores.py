"""Headline numbers of a stage, which KFP shows side by side when it compares runs."""

import math
from collections.abc import Mapping, Sequence

from flts.contracts import canonical_json
from flts.stage_interface import Artifact


def scores_artifact(metrics: Mapping[str, object], names: Sequence[str]) -> Artifact:
    """Return the named metrics as a ``Metrics`` artifact, which holds only finite numbers.

    Metrics that could not be computed (missing, ``None`` or NaN) are left out.
    """
    found = {name: metrics.get(name) for name in names}
    scores = {name: value for name, value in found.items() if isinstance(value, int | float) and math.isfinite(value)}
    return Artifact(f"{canonical_json(scores)}\n", scores)
