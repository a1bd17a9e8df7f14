"""From a command to an exit code: choose the mode, run the stage, write its outputs, report how it ended."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, Protocol

from flts.boundary import retries
from flts.boundary.environment import limit_threads
from flts.boundary.paths import read_path
from flts.diagnostics.terminal import printable
from flts.errors import BadInputError
from flts.observability.exit_codes import Failure, redact_uncaught
from flts.observability.redaction import redact
from flts.observability.termination import write_termination_log
from flts.params import Params, ServiceParams
from flts.runtime import cli, executor, output, reporters
from flts.runtime.parameters import flag
from flts.runtime.reporters import Reporter
from flts.runtime.signals import SIGNALS, SignalWatch, Stopped, signals_blocked
from flts.runtime.work_folders import output_folder, remove_all, work_folder
from flts.stage_interface import Context, InputArtifact, Stage
from flts.store import ObjectStore, open_store

Work = Callable[[Stage, cli.CommandLine, Reporter], int]

KAFKA_SERVERS = "KAFKA_BOOTSTRAP_SERVERS"
_BAD_INPUT = 2


def main(stage: Stage, argv: Sequence[str] | None = None, work: Work | None = None) -> NoReturn:
    """Run a stage as its command does, and exit.

    Exit codes: 0 done, 2 bad input, parameters or credentials, 3 a service is unreachable, 130 and 143 stopped by
    Ctrl-C and SIGTERM, 1 a bug.

    Args:
        stage: The stage.
        argv: Its arguments, without the command's name; default: those of this process.
        work: Runs the stage in Kafka mode; without it there is no such mode.
    """
    if sys.stderr is None:  # Python was started without one
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
    code = run(stage, sys.argv[1:] if argv is None else argv, work)
    if code - 128 in SIGNALS:
        # Python would wait for threads that are still computing.
        os._exit(code)
    sys.exit(code)


def run(stage: Stage, argv: Sequence[str], work: Work | None = None) -> int:
    """Run a stage and return its exit code; every failure is reported on stderr."""
    reporter = reporters.open_reporter(stage, sys.stderr, argv)
    reporters.route_logging(reporter)
    redact_uncaught()
    try:
        reporters.check_log_format()
        line = cli.read_command_line(stage, argv)
        if work and _is_for_kafka(line, argv):
            # It handles signals itself: a worker may finish its current message.
            return work(stage, line, reporter)
        with SignalWatch(remove_all, lambda number: _fail(reporter, _stopped(number))) as watch:
            with contextlib.suppress(Stopped):
                try:
                    limit_threads()
                    return _start(stage, line, argv, reporter)
                except Exception as error:
                    # Some libraries turn any interruption into an error of their own.
                    if watch.number is None:
                        return _fail(reporter, Failure.of(error))
            remove_all()
            return _fail(reporter, _stopped(watch.number or signal.SIGTERM))
    except Exception as error:
        return _fail(reporter, Failure.of(error))
    finally:
        reporter.close()


def _stopped(number: int) -> Failure:
    return Failure("interrupted" if number == signal.SIGINT else "stopped by SIGTERM", 128 + number)


def _start(stage: Stage, line: cli.CommandLine, argv: Sequence[str], reporter: Reporter) -> int:
    """Choose the mode: executor input, then artifact paths as flags, then ``USE_KFP``."""
    if line.executor_input is not None:
        if others := [flag(name) for name in (*line.inputs, *line.params)] + ["--output-dir"] * bool(line.output_dir):
            raise BadInputError(f"--executor-input takes no other options, got {others[0]}")
        _run_task(stage, line.executor_input, reporter)
        return 0
    mode = os.environ.get("USE_KFP", "")
    if mode not in {"", "0", "1", "2"}:
        raise BadInputError(f"environment variable USE_KFP must be 0, 1 or 2, got {mode!r}")
    if not line.inputs and line.output_dir is None:
        if mode == "0":
            raise BadInputError("environment variable USE_KFP is 0, but this build has no Kafka worker")
        if mode == "1" or not (mode or argv):
            cli.build_parser(stage).print_help(sys.stderr)
            return _BAD_INPUT
    _run_alone(stage, line, reporter, may_use_store_alone=mode == "2")
    return 0


def _is_for_kafka(line: cli.CommandLine, argv: Sequence[str]) -> bool:
    """Tell whether a command line asks for Kafka mode.

    ``USE_KFP`` unset means Kafka too, unless there are parameters and no broker: then the stage runs by itself.
    """
    mode = os.environ.get("USE_KFP", "")
    if line.is_single_run or line.listen:
        return not line.is_single_run
    return mode == "0" or (not mode and (not argv or bool(os.environ.get(KAFKA_SERVERS))))


def _run_task(stage: Stage, executor_input: str, reporter: Reporter) -> None:
    """Run as a task of Kubeflow Pipelines."""
    task = executor.read_executor_input(stage, executor_input)
    reporter.set_ids(_ids(task.params, task.inputs))
    if task.ignored_outputs:
        reporter.log(
            "debug", executor.__name__, f"outputs that KFP adds are left alone: {', '.join(task.ignored_outputs)}"
        )
    with work_folder() as work_dir:
        context = Context(
            inputs=task.inputs,
            work_dir=work_dir,
            store=store_of(task.params, wait=True),
            tracking_uri=_required_tracking_uri(task.params),
            wait_seconds=retries.mlflow_wait_seconds(),
            progress=reporter.progress,
        )
        result = stage.run(task.params, context)
        output.check_result(stage, result)
        with signals_blocked():
            executor.write_executor_output(task, result)
    reporter.set_ids(_ids_of(result.parameters))
    reporter.done(result)


def _run_alone(stage: Stage, line: cli.CommandLine, reporter: Reporter, *, may_use_store_alone: bool) -> None:
    """Run by itself: files in, files out; services only if they were named."""
    params, given = cli.read_params(stage, line.params, os.environ)
    inputs = cli.read_inputs(stage, line.inputs)
    reporter.set_ids(_ids(params, inputs))
    store = store_of(params, wait=True) if "gateway_url" in given else None
    if line.output_dir is None and not (store and may_use_store_alone):
        raise BadInputError("--output-dir is required: folder for the results")
    output_dir = None if line.output_dir is None else read_path(line.output_dir, "--output-dir")
    with contextlib.ExitStack() as stack:
        if output_dir is None:
            work_dir = stack.enter_context(work_folder())
        else:
            work_dir = stack.enter_context(output_folder(output_dir))
        context = Context(
            inputs=inputs,
            work_dir=work_dir,
            store=store,
            tracking_uri=tracking_uri_of(params) if "mlflow_tracking_uri" in given else None,
            wait_seconds=retries.mlflow_wait_seconds(),
            output_dir=output_dir,
            progress=reporter.progress,
        )
        result = stage.run(params, context)
        output.check_result(stage, result)
        closing = _sentence(result.message)
        if output_dir is not None:
            with signals_blocked():
                names = output.publish(stage, result, work_dir, output_dir)
            closing += f" Wrote {', '.join(names)} to {line.output_dir}"
    reporter.set_ids(_ids_of(result.parameters))
    reporter.done(result)
    _close(closing)


def _ids(params: Params, inputs: Mapping[str, InputArtifact]) -> dict[str, str]:
    """Return the ids that are known before a stage runs: those in which its inputs agree, and its parameters."""
    of_inputs = [_ids_of(artifact.metadata).items() for artifact in inputs.values()]
    found = set().union(*of_inputs)
    names = [name for name, _ in found]
    return {name: value for name, value in found if names.count(name) == 1} | _ids_of(params.model_dump())


def _ids_of(fields: Mapping[str, Any]) -> dict[str, str]:
    values = ((name, fields.get(name)) for name in ("identifier", "config_hash", "run_id"))
    return {name: value for name, value in values if isinstance(value, str) and value}


class _StoreParams(Protocol):
    """The part of a stage's parameters that names the store; every stage has it."""

    @property
    def gateway_url(self) -> str: ...


def store_of(params: _StoreParams, *, wait: bool = False) -> ObjectStore:
    """Open the store that a stage's parameters name; ``wait`` and errors as ``open_store``."""
    return open_store(params.gateway_url, wait=wait)


def tracking_uri_of(params: Params) -> str | None:
    """Return MLflow's address: the parameter, or ``MLFLOW_TRACKING_URI`` where it is empty; ``None`` without either."""
    if not isinstance(params, ServiceParams):
        return None
    return params.mlflow_tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or None


def _required_tracking_uri(params: Params) -> str | None:
    uri = tracking_uri_of(params)
    if uri is None and isinstance(params, ServiceParams):
        raise BadInputError(
            "parameter mlflow_tracking_uri is empty, and environment variable MLFLOW_TRACKING_URI is not set: one of "
            "them must name MLflow's address"
        )
    return uri


def _fail(reporter: Reporter, failure: Failure) -> int:
    reporter.error(" ".join(redact(failure.sentence).split()), failure.exit_code, failure.traceback)
    write_termination_log(failure.sentence)
    return failure.exit_code


def _close(sentence: str) -> None:
    """Write the closing line to stdout, in any encoding; there may be no stdout."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    text = printable(redact(sentence)).encode(encoding, "backslashreplace").decode(encoding)
    reporters.write_line(sys.stdout, text)


def _sentence(message: str) -> str:
    return message if message.endswith((".", "!")) else f"{message}."
