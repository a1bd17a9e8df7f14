"""The commands that an installation gives: ``flts.commands:train_gru`` runs the stage train-gru."""

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
    """Run a stage by Kubeflow Pipelines, by itself or, until SIGTERM, as a Kafka worker: as the command line says."""
    start.main(STAGES[stage], work=_work)


def inference() -> NoReturn:
    """Run the stage inference; with ``--serve`` answer requests instead, until SIGTERM."""
    if SERVE in sys.argv[1:]:
        from flts.serving.command import main as serve

        serve([argument for argument in sys.argv[1:] if argument != SERVE])
    main("inference")


def _work(stage: Stage, line: CommandLine, reporter: Reporter) -> int:
    from flts.workers.command import work

    return work(stage, line, reporter)


def __getattr__(name: str) -> Callable[[], NoReturn]:
    """Return what runs the stage of this name."""
    stage = name.replace("_", "-")
    if stage not in STAGES:
        raise AttributeError(f"there is no stage {name!r}")
    return partial(main, stage)
