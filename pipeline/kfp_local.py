"""``python -m pipeline.kfp_local``: run a compiled pipeline with KFP's own runner for Docker, as stdin asks.

A process of its own, because that runner prints, sets up logging and waits, and cannot be told to stop.
"""

import json
import sys


def main() -> None:
    """Read what to run from stdin: what comes as an argument is for everyone to see, and this has credentials."""
    asked = json.load(sys.stdin)
    from kfp import components, local

    local.init(
        runner=local.DockerRunner(**asked["container"]), pipeline_root=asked["pipeline_root"], raise_on_error=True
    )
    components.load_component_from_file(asked["pipeline"])(**asked["arguments"])


if __name__ == "__main__":
    main()
