"""The command ``flts-status``: messages that wait, and datasets that wait for models or data."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NoReturn

from flts.contracts import ModelType
from flts.models.registry import TRAINED_MODELS
from flts.store import open_store
from flts.store.buckets import read_bucket
from flts.workers.commands import common
from flts.workers.expected_models import read_expected_types, recorded_expected_types
from flts.workers.pending import pending_forecasts, pending_models
from flts.workers.settings import (
    CONSUMED,
    DEAD_LETTER_GROUP,
    WORKERS,
    KafkaSettings,
    dead_letter_topic,
    prefix,
    read_settings,
    read_topics,
)

COMMAND = "flts-status"


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command."""
    common.run(COMMAND, _start, argv)


def _start(argv: Sequence[str]) -> int:
    parser = common.parser(
        COMMAND,
        "Show how many messages wait for each worker, how many dead letters there are, which models eval waits for, "
        "and what each unfinished dataset waits for.",
        "GATEWAY_URL names the store, PROMOTION_BUCKET and INFERENCE_LOG_BUCKET its buckets.",
    )
    parser.parse_args(argv)
    settings = read_settings(os.environ)
    store = open_store(common.store_address())
    promotions = read_bucket("promotion_bucket", os.environ)
    forecasts = read_bucket("inference_log_bucket", os.environ)
    expected = recorded_expected_types(store, promotions, read_topics("eval", os.environ).group)
    awaited = expected or read_expected_types(os.environ)
    waiting = list(_waiting(settings, os.environ, awaited))
    common.print_table(("Topic", "Group", "Waiting"), waiting, numbers=("Waiting",))
    models = pending_models(store, promotions, awaited)
    print(f"\neval waits for {', '.join(expected)}" if expected else "\neval has not been started on this store")
    for sentence in models.warnings():
        print(f"warning: {sentence}")
    rows = [(each.owner, each.config_hash[:12], f"{', '.join(each.missing)} to be trained") for each in models.datasets]
    rows += [(each.owner, each.config_hash[:12], each.missing[0]) for each in pending_forecasts(store, forecasts)]
    print()
    if rows:
        common.print_table(("Identifier", "Data", "Waits for"), sorted(rows))
    else:
        print("no dataset waits for anything")
    return 0


def _waiting(
    settings: KafkaSettings, environ: Mapping[str, str], awaited: Collection[ModelType]
) -> Iterator[tuple[str, str, int]]:
    """Yield topic, group and number of messages that wait; 0 for a topic that does not exist.

    The group of an optional trainer is left out unless eval waits for its model.
    """
    from flts.workers.client import backlogs, passive_consumer

    begin = prefix(environ)
    unused = {f"train-{each.slot}" for name, each in TRAINED_MODELS.items() if each.optional and name not in awaited}
    topics = [read_topics(stage, environ) for stage in WORKERS if stage not in unused]
    groups = [(names.group, list(names.consumes.values())) for names in topics]
    groups.append((begin + DEAD_LETTER_GROUP, [dead_letter_topic(begin + name, begin) for name in CONSUMED]))
    for group, consumed in groups:
        with passive_consumer(settings, group) as consumer:
            for topic in consumed:
                yield topic, group, sum(max(0, each.end - each.next) for each in backlogs(consumer, topic) or ())
