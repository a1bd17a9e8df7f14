"""The commands that an installation gives: ``flts.commands:train_gru`` runs the stage train-gru."""

import sys
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from flts.runtime import main
from flts.stages import STAGES

SERVE = "--serve"


def inference() -> NoReturn:
    """Run the stage inference; with ``--serve`` answer requests instead, until SIGTERM."""
    if SERVE in sys.argv[1:]:
        from flts.serving.command import main as serve

        serve([argument for argument in sys.argv[1:] if argument != SERVE])
    main(STAGES["inference"])


def __getattr__(name: str) -> Callable[[], NoReturn]:
    """Return what runs the stage of this name."""
    stage = STAGES.get(name.replace("_", "-"))
    if stage is None:
        raise AttributeError(f"there is no stage {name!r}")
    return partial(main, stage)
