"""The metrics of a worker, for Prometheus."""

from collections.abc import Mapping
from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from flts.boundary.environment import whole_number
from flts.diagnostics import system
from flts.errors import BadInputError

_STAGE_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 14400)
_WAIT_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600)


class WorkerMetrics:
    """The metrics of one worker, each with its stage as a label."""

    def __init__(self, stage: str) -> None:
        """Register the metrics."""
        self.registry = registry = CollectorRegistry()
        self._stage = stage

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, ("stage",), registry=registry)

        topic = ("stage", "topic")
        self._handled = Counter("flts_worker_handled", "Messages that were handled.", topic, registry=registry)
        self._failed = Counter(
            "flts_worker_failed", "Failed attempts, by reason.", (*topic, "reason"), registry=registry
        )
        self._dead_letters = Counter(
            "flts_worker_dead_letters", "Messages that became dead letters.", topic, registry=registry
        )
        self._lost = Counter(
            "flts_worker_lost", "Messages that were deleted before they were read.", topic, registry=registry
        )
        self._lag = Gauge("flts_worker_lag", "Messages that wait.", ("stage", "topic", "partition"), registry=registry)
        self._seconds = Histogram(
            "flts_worker_stage_seconds",
            "Time of the work on a message.",
            ("stage",),
            registry=registry,
            buckets=_STAGE_SECONDS,
        ).labels(stage)
        self._waited = Histogram(
            "flts_worker_waited_seconds",
            "From a message's timestamp to the start of work on it.",
            ("stage",),
            registry=registry,
            buckets=_WAIT_SECONDS,
        ).labels(stage)
        self._paused = gauge("flts_worker_paused", "1 while a service cannot be reached.").labels(stage)
        self._waiting_for: set[str] = set()
        self.busy = gauge("flts_worker_busy", "1 while a message is worked on.").labels(stage)
        self._pending = Gauge(
            "flts_worker_awaited",
            "Datasets with other trained models that lack one of this type.",
            ("stage", "model_type"),
            registry=registry,
        )

    def serve(self, environ: Mapping[str, str]) -> None:
        """Serve ``/metrics`` on the port that ``FLTS_METRICS_PORT`` names, if it names one.

        Raises:
            BadInputError: The port is invalid or in use.
        """
        port = whole_number("FLTS_METRICS_PORT", default=0, minimum=0, maximum=65535)
        host = environ.get("FLTS_METRICS_HOST") or "127.0.0.1"
        if port:
            try:
                start_http_server(port, host, self.registry)
            except OSError as error:
                raise BadInputError(f"cannot serve metrics on {host} port {port}: {system.reason(error)}") from None

    def started(self, waited: float | None) -> None:
        """Record the start of work on a message; ``waited`` in seconds since the message was sent."""
        self.busy.set(1)
        if waited is not None:
            self._waited.observe(max(0.0, waited))

    def handled(self, topic: str, seconds: float) -> None:
        """Count a handled message, and the seconds that it took."""
        self._handled.labels(self._stage, topic).inc()
        self._seconds.observe(seconds)

    def failed(self, topic: str, reason: str) -> None:
        """Count a failed attempt: ``bad_message``, ``error``, ``crash``, or ``attempts`` for the last one."""
        self._failed.labels(self._stage, topic, reason).inc()

    def dead_lettered(self, topic: str) -> None:
        """Count a message that became a dead letter."""
        self._dead_letters.labels(self._stage, topic).inc()

    def set_waiting(self, what: str, true: bool) -> None:
        """Record whether the worker waits for something; it is paused while it waits for anything."""
        (self._waiting_for.add if true else self._waiting_for.discard)(what)
        self._paused.set(bool(self._waiting_for))

    def lost(self, topic: str, messages: int) -> None:
        """Count messages that were deleted before they were read."""
        self._lost.labels(self._stage, topic).inc(messages)

    def set_pending(self, model_type: str, datasets: int) -> None:
        """Record how many datasets wait for a model type."""
        self._pending.labels(self._stage, model_type).set(datasets)

    def lag(self, topic: str, partition: int, messages: int | None) -> None:
        """Record how many messages of a partition wait; ``None`` if the partition was revoked."""
        labels = (self._stage, topic, str(partition))
        if messages is None:
            with suppress(KeyError):  # nothing was recorded yet
                self._lag.remove(*labels)
        else:
            self._lag.labels(*labels).set(messages)
