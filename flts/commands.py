"""The commands that an installation gives: ``flts.commands:train_gru`` runs the stage train-gru."""

from collections.abc import Callable
from functools import partial
from typing import NoReturn

from flts.runtime import main
from flts.stages import STAGES


def __getattr__(name: str) -> Callable[[], NoReturn]:
    """Return what runs the stage of this name."""
    stage = STAGES.get(name.replace("_", "-"))
    if stage is None:
        raise AttributeError(f"there is no stage {name!r}")
    return partial(main, stage)
