"""Which topics a deployment wants, and how they are kept."""

from flts.stages import STAGES
from flts.workers.commands.topics import topic_specs
from flts.workers.messages import LARGEST_BYTES
from flts.workers.settings import read_topics

HOUR = 3_600_000


def test_every_topic_has_its_partitions_and_retention_and_dead_letters_stay_longer():
    topics = {each.name: (each.partitions, each.config["retention.ms"]) for each in topic_specs({}, 5, 24)}
    read = ("training-data", "inference-data", "model-training", "model-selected", "preprocess-requests")
    assert topics == {
        **dict.fromkeys((*read, "performance-eval"), (5, str(24 * HOUR))),
        **{f"DLQ-{name}": (1, str(240 * HOUR)) for name in read},
    }


def test_messages_are_deleted_when_they_are_old_and_never_for_their_key():
    assert {each.config["cleanup.policy"] for each in topic_specs({}, 3, 168)} == {"delete"}


def test_whatever_a_worker_reads_or_writes_is_wanted():
    environ = {"FLTS_TOPIC_PREFIX": "blue-"}
    names = {each.name for each in topic_specs(environ, 3, 168)}
    for stage in STAGES:
        topics = read_topics(stage, environ)
        assert names >= {*topics.consumes.values(), *topics.produces.values(), *topics.dead_letters.values()}


def test_every_topic_takes_the_largest_message_that_a_worker_takes():
    assert {each.config["max.message.bytes"] for each in topic_specs({}, 3, 168)} == {str(LARGEST_BYTES)}
