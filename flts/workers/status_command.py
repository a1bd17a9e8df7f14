"""The command ``flts-status``: what waits in topics, and what datasets wait for."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import NoReturn

from flts.errors import ServiceUnavailableError
from flts.params import EvalParams, InferenceParams
from flts.store import open_store
from flts.workers import commands
from flts.workers.awaited import awaited_forecasts, awaited_models
from flts.workers.command import expected_types
from flts.workers.dead_letters_command import GROUP
from flts.workers.settings import CONSUMED, KafkaSettings, dead_letter_topic, prefix, read_settings, read_topics

COMMAND = "flts-status"
_SECONDS = 30.0
_STAGES = ("preprocess", "train-gru", "train-lstm", "train-prophet", "eval", "inference")


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command."""
    commands.run(COMMAND, _start, argv)


def _start(argv: Sequence[str]) -> int:
    parser = commands.parser(
        COMMAND,
        "Show how many messages wait for each worker, how many dead letters there are, and what datasets wait for: "
        "a model that no trainer has reported, or data to forecast.",
        "GATEWAY_URL names the store.",
    )
    parser.parse_args(argv)
    settings = read_settings(os.environ)
    store = open_store(os.environ.get("GATEWAY_URL") or EvalParams.model_fields["gateway_url"].default)
    waiting = list(_waiting(settings, os.environ))
    commands.print_table(("Topic", "Group", "Waiting"), waiting, numbers=("Waiting",))
    promotions = os.environ.get("PROMOTION_BUCKET") or EvalParams.model_fields["promotion_bucket"].default
    forecasts = os.environ.get("INFERENCE_LOG_BUCKET") or InferenceParams.model_fields["inference_log_bucket"].default
    rows = [
        (each.owner, each.config_hash[:12], f"{', '.join(each.missing)} to be trained")
        for each in awaited_models(store, promotions, expected_types(os.environ))
    ]
    rows += [(each.owner, each.config_hash[:12], each.missing[0]) for each in awaited_forecasts(store, forecasts)]
    print()
    if rows:
        commands.print_table(("Identifier", "Data", "Waits for"), sorted(rows))
    else:
        print("no dataset waits for anything")
    return 0


def _waiting(settings: KafkaSettings, environ: Mapping[str, str]) -> Iterator[tuple[str, str, int]]:
    """Yield topic, group and number of messages that wait, of every topic that is there."""
    from confluent_kafka import KafkaException, TopicPartition

    from flts.workers.client import Watched, await_brokers, open_consumer

    begin = prefix(environ)
    pairs = [
        (topic, names.group)
        for names in (read_topics(each, environ) for each in _STAGES)
        for topic in names.consumes.values()
    ]
    pairs += [(dead_letter_topic(begin + name, begin), begin + GROUP) for name in CONSUMED]
    watched = Watched(settings)
    for topic, group in pairs:
        consumer = open_consumer(settings, group, watched, enable_auto_commit=False)
        try:
            await_brokers(consumer, watched, 15)
            found = consumer.list_topics(topic, timeout=_SECONDS).topics[topic]
            count = 0
            for number in () if found.error else found.partitions:
                first, end = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=_SECONDS)
                (committed,) = consumer.committed([TopicPartition(topic, number)], timeout=_SECONDS)
                count += max(0, end - max(first, committed.offset))
            yield topic, group, count
        except KafkaException as error:
            raise ServiceUnavailableError(f"{settings.where} does not answer: {error.args[0].str()}") from None
        finally:
            consumer.close()
