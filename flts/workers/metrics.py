"""The metrics of a worker, for Prometheus."""

from collections.abc import Mapping
from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from flts.boundary.environment import whole_number
from flts.diagnostics.system import reason
from flts.errors import BadInputError

_STAGE_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 14400)
_WAIT_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600)


class WorkerMetrics:
    """Counts what a worker does; every metric says which ``stage`` it is."""

    def __init__(self, stage: str) -> None:
        """Begin to count."""
        self.registry = registry = CollectorRegistry()
        self._stage = stage

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, ("stage",), registry=registry)

        topic = ("stage", "topic")
        self._handled = Counter("flts_worker_handled", "Messages that were handled.", topic, registry=registry)
        self._failed = Counter(
            "flts_worker_failed", "Tries that failed, and why.", (*topic, "reason"), registry=registry
        )
        self._dead = Counter("flts_worker_dead_letters", "Messages that were given up.", topic, registry=registry)
        self._lost = Counter(
            "flts_worker_lost", "Messages that were deleted before they were read.", topic, registry=registry
        )
        self._lag = Gauge("flts_worker_lag", "Messages that wait.", ("stage", "topic", "partition"), registry=registry)
        self._seconds = Histogram(
            "flts_worker_stage_seconds",
            "Time that a message was worked on.",
            ("stage",),
            registry=registry,
            buckets=_STAGE_SECONDS,
        ).labels(stage)
        self._waited = Histogram(
            "flts_worker_waited_seconds",
            "From a message's time until it was begun.",
            ("stage",),
            registry=registry,
            buckets=_WAIT_SECONDS,
        ).labels(stage)
        self._paused = gauge("flts_worker_paused", "1 while a service is out of reach.").labels(stage)
        self._waits: set[str] = set()
        self.busy = gauge("flts_worker_busy", "1 while a message is worked on.").labels(stage)
        self._awaited = Gauge(
            "flts_worker_awaited",
            "Datasets of which other models are trained, and this one is not.",
            ("stage", "model_type"),
            registry=registry,
        )

    def serve(self, environ: Mapping[str, str]) -> None:
        """Answer ``/metrics`` on the port that ``FLTS_METRICS_PORT`` names, where it does.

        Raises:
            BadInputError: The port is no port, or cannot be taken.
        """
        port = whole_number("FLTS_METRICS_PORT", default=0, minimum=0, maximum=65535)
        host = environ.get("FLTS_METRICS_HOST") or "127.0.0.1"
        if port:
            try:
                start_http_server(port, host, self.registry)
            except OSError as error:
                raise BadInputError(f"cannot serve metrics on {host} port {port}: {reason(error)}") from None

    def begun(self, waited: float | None) -> None:
        """Take the time that a message waited before it was begun."""
        self.busy.set(1)
        if waited is not None:
            self._waited.observe(max(0.0, waited))

    def handled(self, topic: str, seconds: float) -> None:
        """Count a message that was handled."""
        self._handled.labels(self._stage, topic).inc()
        self._seconds.observe(seconds)

    def failed(self, topic: str, why: str) -> None:
        """Count a try that failed: ``bad_message``, ``error``, ``crash``, or ``attempts`` for the last of them."""
        self._failed.labels(self._stage, topic, why).inc()

    def dead(self, topic: str) -> None:
        """Count a message that became a dead letter."""
        self._dead.labels(self._stage, topic).inc()

    def waits(self, what: str, true: bool) -> None:
        """Say whether the worker waits for something; it is paused while there is anything that it waits for."""
        (self._waits.add if true else self._waits.discard)(what)
        self._paused.set(bool(self._waits))

    def lost(self, topic: str, messages: int) -> None:
        """Count messages that were deleted before they were read."""
        self._lost.labels(self._stage, topic).inc(messages)

    def awaited(self, model_type: str, datasets: int) -> None:
        """Say how many datasets wait for a trainer."""
        self._awaited.labels(self._stage, model_type).set(datasets)

    def lag(self, topic: str, partition: int, messages: int | None) -> None:
        """Say how many messages of a partition wait; ``None`` where it is another worker's now."""
        labels = (self._stage, topic, str(partition))
        if messages is None:
            with suppress(KeyError):  # nothing was said of it yet
                self._lag.remove(*labels)
        else:
            self._lag.labels(*labels).set(messages)
