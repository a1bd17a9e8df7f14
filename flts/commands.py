"""Entry points of the installed commands: ``flts.commands:train_gru`` runs the stage train-gru."""

import sys
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from flts.runtime import start
from flts.runtime.cli import CommandLine
from flts.runtime.reporters import Reporter
from flts.stage_interface import Stage
from flts.stages import STAGES

SERVE = "--serve"


def main(stage: str) -> NoReturn:
    """Run a stage as a task of Kubeflow Pipelines, on its own, or as a Kafka worker until SIGTERM."""
    start.main(STAGES[stage], work=_work)


def inference() -> NoReturn:
    """Run the stage inference, or with ``--serve`` the forecast server until SIGTERM."""
    if SERVE in sys.argv[1:]:
        from flts.serving.command import main as serve

        serve([argument for argument in sys.argv[1:] if argument != SERVE])
    main("inference")


def _work(stage: Stage, line: CommandLine, reporter: Reporter) -> int:
    from flts.workers.command import work

    return work(stage, line, reporter)


def __getattr__(name: str) -> Callable[[], NoReturn]:
    """Return the entry point of the stage with this name."""
    stage = name.replace("_", "-")
    if stage not in STAGES:
        raise AttributeError(f"there is no stage {name!r}")
    return partial(main, stage)
