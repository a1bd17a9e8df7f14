"""``python -m tests.images.kfp_local``: run a compiled pipeline with KFP's own runner for Docker, as stdin asks.

A process of its own, because that runner prints, sets up logging and keeps its settings for good.
"""

import json
import sys

from kfp import components, local

if __name__ == "__main__":
    asked = json.load(sys.stdin)
    local.init(
        runner=local.DockerRunner(**asked["container"]), pipeline_root=asked["pipeline_root"], raise_on_error=True
    )
    components.load_component_from_file(asked["pipeline"])(**asked["arguments"])
