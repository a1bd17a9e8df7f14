"""A stage's command in Kafka mode: a worker until SIGTERM, or preprocess once for its parameters."""

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

from flts.boundary.environment import limit_threads, whole_number
from flts.boundary.untrusted import json_object, read_document
from flts.contracts import ModelType
from flts.errors import BadInputError, ServiceUnavailableError
from flts.lazy import resolve
from flts.models.registry import MODELS
from flts.params import EvalParams, Params
from flts.runtime.cli import CommandLine, read_params, variable
from flts.runtime.reporters import JsonReporter, Reporter, pass_on_logs
from flts.runtime.signals import SignalWatch, Stopped
from flts.runtime.start import store_of
from flts.runtime.work_folders import remove_all
from flts.stage_interface import Result, Stage
from flts.store import ObjectStore
from flts.workers.messages import OutgoingMessage
from flts.workers.settings import KafkaSettings, Topics, read_settings, read_topics, warnings

_SECONDS_TO_START = 5.0


def work(stage: Stage, line: CommandLine, reporter: Reporter) -> int:
    """Do a stage's part in Kafka mode, and return the exit code.

    Args:
        stage: The stage.
        line: Its command line, which has parameters only.
        reporter: Where what is odd about the environment is told.

    Raises:
        BadInputError: A variable or parameter is wrong, or Kafka refuses the credentials.
        ServiceUnavailableError: Preprocess cannot send its messages.
    """
    limit_threads()  # before anything imports the numeric libraries, here or in the process that works
    environ = older_names(stage, os.environ)
    settings = read_settings(environ)
    topics = read_topics(stage.name, environ)
    params, _ = read_params(stage, line.params, environ)
    store = store_of(params)  # says what is wrong with its address
    model_types = expected_types(environ)
    for sentence in warnings(environ):
        reporter.log("warning", "flts", sentence)
    for package in ("confluent_kafka", "prometheus_client"):
        if find_spec(package) is None:
            raise BadInputError(f"Kafka mode needs the package {package}: install flts[kafka]")
    if stage.worker and stage.worker.messages_of_run and not line.listen:
        return _once(stage, resolve(stage.worker.messages_of_run), params, topics, settings, store)
    return _listen(stage, params, topics, settings, store, model_types, environ)


def _listen(
    stage: Stage,
    params: Params,
    topics: Topics,
    settings: KafkaSettings,
    store: ObjectStore,
    model_types: Sequence[ModelType],
    environ: Mapping[str, str],
) -> int:
    from flts.workers.client import await_brokers, open_consumer
    from flts.workers.consumer import MessageConsumer
    from flts.workers.kafka_errors import ConnectionErrors
    from flts.workers.liveness import Heartbeat
    from flts.workers.metrics import WorkerMetrics
    from flts.workers.pending import keep_looking
    from flts.workers.producer import MessageProducer
    from flts.workers.worker import TimeLimits, Worker, WorkerLog
    from flts.workers.worker_process import WorkerSpec

    tries = whole_number("FAILURE_MAX_RETRIES", default=3, minimum=1)
    limits, more = TimeLimits(), {}
    if stage.name == "inference":
        limits.message = whole_number("INFERENCE_TIMEOUT", default=0, minimum=0)
        if environ.get("QUEUE_MAXSIZE"):
            more["queued_min_messages"] = whole_number("QUEUE_MAXSIZE", default=100_000, minimum=1, maximum=10_000_000)
    watched, measures = ConnectionErrors(settings), WorkerMetrics(stage.name)
    consumer = open_consumer(settings, topics.group, watched, **more)
    measures.serve(environ)
    if isinstance(params, EvalParams):
        keep_looking(store, params.promotion_bucket, model_types, measures.awaited)
    with suppress(ServiceUnavailableError):  # it may come later: a worker waits for it
        await_brokers(consumer, watched, _SECONDS_TO_START)
    plan = WorkerSpec(stage.name, params, topics, tries, model_types)
    told = WorkerLog(stage.name)
    intake = MessageConsumer(consumer, topics, settings, watched, measures, Heartbeat(environ), told.say, told.complain)
    worker = Worker(plan, intake, MessageProducer(settings), measures, limits, told)

    def end(_number: int, _frame: FrameType | None) -> None:
        worker.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    worker.run()
    sys.stderr.flush()
    os._exit(0)  # Kafka's client would wait for a broker that is away


def _once(
    stage: Stage,
    messages_of_run: Callable[[Result, str, Topics], list[OutgoingMessage]],
    params: Params,
    topics: Topics,
    settings: KafkaSettings,
    store: ObjectStore,
) -> int:
    """Run the stage for its parameters, and send the messages that follow."""
    from flts.workers.messages import with_request_ids
    from flts.workers.producer import MessageProducer
    from flts.workers.stage_runner import StageRunner

    reporter = JsonReporter(stage, sys.stderr)
    pass_on_logs(reporter)
    sender = MessageProducer(settings)
    runner = StageRunner(stage, params, topics, store, reporter, sender.send_at_once)
    with SignalWatch(remove_all, lambda _: None) as watch:
        with suppress(Stopped):
            sender.await_brokers(_SECONDS_TO_START)
            result = runner.run({}, {})
            sender.send_now([with_request_ids(each) for each in messages_of_run(result, runner.identifier, topics)])
            return 0
        remove_all()
    return 128 + (watch.number or signal.SIGTERM)


def older_names(stage: Stage, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with what the older deployment called otherwise under today's names.

    Raises:
        BadInputError: ``CONFIG_PATH`` names no file of parameters, or ``MODEL_TYPE`` another model than the stage's.
    """
    found = dict(environ)
    if stage.name == "preprocess" and environ.get("CONFIG_PATH"):
        for name, value in _config(Path(environ["CONFIG_PATH"]), stage).items():
            found[variable(name)] = environ.get(variable(name)) or value
    if "holidays_country" in stage.params.model_fields and environ.get("COUNTRY"):
        found["HOLIDAYS_COUNTRY"] = environ.get("HOLIDAYS_COUNTRY") or environ["COUNTRY"]
    trained = stage.arguments.get("model_type")
    said = environ.get("MODEL_TYPE", "").upper()
    if trained and said and said != trained:
        raise BadInputError(f"environment variable MODEL_TYPE is {said}, but {stage.command} trains {trained}")
    return found


def expected_types(environ: Mapping[str, str]) -> tuple[ModelType, ...]:
    """Return the model types that eval waits for, in the order in which ties are broken.

    Raises:
        BadInputError: ``EXPECTED_MODEL_TYPES`` names a type that there is not.
    """
    said = environ.get("EXPECTED_MODEL_TYPES") or ",".join(MODELS)
    named = {name.strip().upper() for name in said.split(",") if name.strip()}
    if not named or named - set(MODELS):
        raise BadInputError(
            f"environment variable EXPECTED_MODEL_TYPES must be some of {', '.join(MODELS)}, separated by commas, "
            f"got {said!r}"
        )
    return tuple(name for name in MODELS if name in named)


def _config(path: Path, stage: Stage) -> dict[str, str]:
    """Return the parameters in a JSON file, as text."""
    label = f"environment variable CONFIG_PATH: {path}"
    fields = json_object(read_document(path, "file of parameters"), label, "a file of parameters")
    for name in fields:
        if name not in stage.params.model_fields:
            raise BadInputError(f"{label}: {name} is not a parameter of {stage.command}")
    return {name: str(value) for name, value in fields.items() if value is not None}
