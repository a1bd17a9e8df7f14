"""Prometheus metrics about the model being served."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flts.contracts import parse_timestamp
from flts.serving.model_watcher import ModelWatcher

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric

_LABELS = ("identifier", "model_type", "run_id", "config_hash")


class _Model:
    """Collector that builds the metrics on each scrape, so that labels of an earlier model do not linger."""

    def __init__(self, watch: ModelWatcher) -> None:
        self._watch = watch

    def collect(self) -> "Iterator[Metric]":
        from prometheus_client.core import GaugeMetricFamily

        loaded = self._watch.loaded
        yield GaugeMetricFamily(
            "flts_model_loaded", "1 while a model is being served, else 0.", value=int(loaded is not None)
        )
        info = GaugeMetricFamily("flts_model_info", "The model being served.", labels=_LABELS)
        age = GaugeMetricFamily("flts_model_age_seconds", "Seconds since the model was promoted.")
        if loaded:
            info.add_metric([loaded.log[name] for name in _LABELS], 1)
            promoted = parse_timestamp(loaded.promotion.promotion_time)
            age.add_metric([], (datetime.now(UTC) - promoted).total_seconds())
        yield info
        yield age


def add_model_metrics(watch: ModelWatcher, registry: "CollectorRegistry") -> None:
    """Register metrics about the model that a watcher has loaded."""
    registry.register(_Model(watch))
