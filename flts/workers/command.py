"""The command of a stage in Kafka mode: a worker until SIGTERM, or a single run."""

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
from flts.params import Params
from flts.runtime.cli import CommandLine, read_params, variable
from flts.runtime.reporters import JsonReporter, Reporter, route_logging
from flts.runtime.signals import SignalWatch, Stopped
from flts.runtime.start import store_of
from flts.runtime.work_folders import remove_all
from flts.stage_interface import Result, Stage
from flts.store import ObjectStore
from flts.store.buckets import read_bucket
from flts.workers.expected_models import read_expected_types
from flts.workers.messages import OutgoingMessage
from flts.workers.settings import KafkaSettings, Topics, read_settings, read_topics, warnings

_SECONDS_TO_START = 5.0


def work(stage: Stage, line: CommandLine, reporter: Reporter) -> int:
    """Run a stage in Kafka mode, and return the exit code.

    Args:
        stage: The stage.
        line: Its command line, which has only parameters.
        reporter: Takes warnings about the environment.

    Raises:
        BadInputError: A variable or parameter is wrong, or Kafka refuses the credentials.
        ServiceUnavailableError: A single run cannot send its messages.
    """
    limit_threads()  # before anything imports the numeric libraries, here or in the process that works
    environ = older_names(stage, os.environ)
    settings = read_settings(environ)
    topics = read_topics(stage.name, environ)
    params, _ = read_params(stage, line.params, environ)
    store = store_of(params)  # checks its address
    expected = read_expected_types(environ)
    for sentence in warnings(environ):
        reporter.log("warning", "flts", sentence)
    for package in ("confluent_kafka", "prometheus_client"):
        if find_spec(package) is None:
            raise BadInputError(f"Kafka mode needs the package {package}: install flts[kafka]")
    if stage.worker and stage.worker.messages_of_run and not line.listen:
        return _once(stage, resolve(stage.worker.messages_of_run), params, topics, settings, store)
    bucket = read_bucket("promotion_bucket", environ, line.params.get("promotion_bucket"))
    return _listen(stage, params, topics, settings, store, bucket, expected, environ)


def _listen(
    stage: Stage,
    params: Params,
    topics: Topics,
    settings: KafkaSettings,
    store: ObjectStore,
    bucket: str,
    expected: Sequence[ModelType],
    environ: Mapping[str, str],
) -> int:
    from flts.workers.client import await_brokers, open_consumer
    from flts.workers.consumer import MessageConsumer
    from flts.workers.kafka_errors import ConnectionErrors
    from flts.workers.liveness import Heartbeat
    from flts.workers.metrics import WorkerMetrics
    from flts.workers.pending import start_monitor
    from flts.workers.producer import MessageProducer
    from flts.workers.worker import TimeLimits, Worker, WorkerLog
    from flts.workers.worker_process import WorkerSpec

    attempts = whole_number("FAILURE_MAX_RETRIES", default=3, minimum=1)
    limits, more = TimeLimits(), {}
    if stage.name == "inference":
        limits.message = whole_number("INFERENCE_TIMEOUT", default=0, minimum=0)
        if environ.get("QUEUE_MAXSIZE"):
            more["queued_min_messages"] = whole_number("QUEUE_MAXSIZE", default=100_000, minimum=1, maximum=10_000_000)
    errors, metrics, log = ConnectionErrors(settings), WorkerMetrics(stage.name), WorkerLog(stage.name)
    kafka = open_consumer(settings, topics.group, errors, **more)
    metrics.serve(environ)
    with suppress(ServiceUnavailableError):  # a worker waits for brokers that come later
        await_brokers(kafka, errors, _SECONDS_TO_START)
    if stage.name == "eval":
        log.event("expected", f"comparing the models of a dataset when these are trained: {', '.join(expected)}")
        start_monitor(store, bucket, topics.group, expected, metrics.set_pending, log.warn)
    consumer = MessageConsumer(kafka, topics, settings, errors, metrics, Heartbeat(environ), log.event, log.warn)
    spec = WorkerSpec(stage.name, params, topics, attempts, expected, bucket)
    worker = Worker(spec, consumer, MessageProducer(settings), metrics, limits, log)

    def end(_number: int, _frame: FrameType | None) -> None:
        worker.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    worker.run()
    sys.stderr.flush()
    os._exit(0)  # Kafka's client would wait for brokers that cannot be reached


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
    route_logging(reporter)
    producer = MessageProducer(settings)
    runner = StageRunner(stage, params, topics, store, reporter, producer.send_unacknowledged)
    with SignalWatch(remove_all, lambda _: None) as watch:
        with suppress(Stopped):
            producer.await_brokers(_SECONDS_TO_START)
            result = runner.run({}, {})
            producer.send_all([with_request_ids(each) for each in messages_of_run(result, runner.identifier, topics)])
            return 0
        remove_all()
    return 128 + (watch.number or signal.SIGTERM)


def older_names(stage: Stage, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with variables of the older deployment under today's names.

    Raises:
        BadInputError: ``CONFIG_PATH`` names no file of parameters, or ``MODEL_TYPE`` not the model of the stage.
    """
    found = dict(environ)
    if stage.name == "preprocess" and environ.get("CONFIG_PATH"):
        for name, value in _config(Path(environ["CONFIG_PATH"]), stage).items():
            found[variable(name)] = environ.get(variable(name)) or value
    if "holidays_country" in stage.params.model_fields and environ.get("COUNTRY"):
        found["HOLIDAYS_COUNTRY"] = environ.get("HOLIDAYS_COUNTRY") or environ["COUNTRY"]
    trained = stage.arguments.get("model_type")
    named = environ.get("MODEL_TYPE", "").upper()
    if trained and named and named != trained:
        raise BadInputError(f"environment variable MODEL_TYPE is {named}, but {stage.command} trains {trained}")
    return found


def _config(path: Path, stage: Stage) -> dict[str, str]:
    """Return the parameters in a JSON file, as text."""
    label = f"environment variable CONFIG_PATH: {path}"
    fields = json_object(read_document(path, "file of parameters"), label, "a file of parameters")
    for name in fields:
        if name not in stage.params.model_fields:
            raise BadInputError(f"{label}: {name} is not a parameter of {stage.command}")
    return {name: str(value) for name, value in fields.items() if value is not None}
