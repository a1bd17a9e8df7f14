"""docs/kafka.md names the topics, groups, keys of the store, variables, headers and metrics that there are."""

import re
from pathlib import Path

import pytest

from flts.params import BUCKETS
from flts.stages import STAGES
from flts.workers import attempts, dead_letters, liveness
from flts.workers.handlers.evaluation import trained_key
from flts.workers.handlers.forecasting import DATA_FILE, MODEL_FILE, pending_folder
from flts.workers.metrics import WorkerMetrics
from flts.workers.permissions import ROLES
from flts.workers.settings import _OBSOLETE, PREFIX_VARIABLE, WORKERS, KafkaSettings, read_topics
from scripts.kafka_docs import permissions_table, with_tables


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs" / "kafka.md").read_text()


@pytest.mark.parametrize("stage", STAGES)
def test_topics_and_groups(stage, page):
    topics = read_topics(stage, {})
    for topic in topics.consumes.values():
        (row,) = (line for line in page.splitlines() if line.startswith(f"| `{topic}` |"))
        assert f"`{stage}` (`{topics.group}`)" in row
    for topic in topics.produces.values():
        assert f"| `{topic}` | " in page


def test_every_setting_of_kafka_and_none_that_there_is_not(page):
    named = set(re.findall(r"KAFKA_[A-Z_]+", page))
    for secret in ("KAFKA_SASL_PASSWORD", "KAFKA_SSL_KEY_PASSWORD"):
        assert secret in named
        named |= {f"{secret}_FILE"}
    assert named - {"KAFKA_", "KAFKA_START"} == {name.upper() for name in KafkaSettings.model_fields}


def test_variables_that_rename_and_those_that_mean_nothing(page):
    for worker in WORKERS.values():
        for name in (worker.group_variable, *worker.consumes.values(), *worker.produces.values()):
            assert f"`{name}`" in page
    for name in (*_OBSOLETE, PREFIX_VARIABLE, liveness.VARIABLE):
        assert f"`{name}`" in page


def test_headers_of_dead_letters(page):
    for name in dead_letters._OWN:
        assert f"`{name}`" in page


def test_metrics_that_a_worker_tells(page):
    metrics = WorkerMetrics("eval")
    metrics.started(0.1)
    metrics.handled("model-training", 1.0)
    metrics.failed("model-training", "error")
    metrics.dead_lettered("model-training")
    metrics.lost("model-training", 3)
    metrics.lag("model-training", 0, 3)
    told = [metric for metric in metrics.registry.collect() if metric.samples]
    assert len(told) == 9
    for metric in told:
        assert metric.name.removeprefix("flts_worker") + ("_total" if metric.type == "counter" else "") in page


def test_where_state_lies(page):
    bucket, folder = BUCKETS["promotion_bucket"].default, "<identifier or global>/<config_hash>"
    assert trained_key(f"{bucket}/{folder}", "TYPE").replace("TYPE", "<TYPE>") in page
    assert pending_folder("", "<config_hash>").replace("global", "<identifier or global>") + f"/{DATA_FILE}" in page
    assert f"`{MODEL_FILE}`" in page
    assert f"{bucket}/{attempts._PREFIX}/" in page


def test_the_tables_of_topics_and_permissions_are_those_of_the_declarations(page):
    assert with_tables(page) == page
    assert all(f"| `{role}` | " in permissions_table() for role in ROLES)
