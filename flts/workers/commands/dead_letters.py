"""The command ``flts-dlq``: shows dead letters, and sends them back to their topics."""

import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

from flts.diagnostics.terminal import printable
from flts.errors import BadInputError, ServiceUnavailableError
from flts.store import open_store
from flts.store.buckets import read_bucket
from flts.workers.commands import common
from flts.workers.dead_letters import ATTEMPTS, ERROR, OBJECT, STAGE, TIME, TOPIC, original_headers, whole_body
from flts.workers.messages import OutgoingMessage, ReceivedMessage
from flts.workers.permissions import READ
from flts.workers.settings import (
    CONSUMED,
    DEAD_LETTER_GROUP,
    KafkaSettings,
    dead_letter_topic,
    prefix,
    read_settings,
)

COMMAND = "flts-dlq"


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command."""
    common.run(COMMAND, _start, argv)


def _start(argv: Sequence[str]) -> int:
    parser = common.parser(
        COMMAND,
        "Show dead letters, the messages that failed for good, and send them again once the cause is mended.",
        "A dead letter is named by its topic, partition and offset as the list shows them: DLQ-model-training 0:17. "
        "GATEWAY_URL names the store, and PROMOTION_BUCKET the bucket, with the bodies of very large ones.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|replay")
    for name, text in (
        ("list", "list dead letters that were not replayed yet"),
        ("show", "print one dead letter with its headers"),
        ("replay", "send one dead letter, or all of a topic, back to the topic that they came from"),
    ):
        action = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
        if name == "list":
            action.add_argument("topic", nargs="?", help="topic of dead letters; default: all")
            action.add_argument("--all", action="store_true", help="include replayed ones")
        else:
            action.add_argument("topic", help="topic of dead letters")
        if name == "show":
            action.add_argument("id", metavar="PARTITION:OFFSET")
        if name == "replay":
            what = action.add_mutually_exclusive_group(required=True)
            what.add_argument("id", nargs="?", metavar="PARTITION:OFFSET")
            what.add_argument("--all", action="store_true", help="all that were not replayed yet")
    arguments = parser.parse_args(argv)
    settings = read_settings(os.environ)
    begin = prefix(os.environ)
    topics = [arguments.topic] if arguments.topic else [dead_letter_topic(begin + name, begin) for name in CONSUMED]
    if arguments.action == "list":
        return _list(settings, begin, topics, everything=arguments.all)
    partition, offset = _place(arguments.id) if arguments.id else (None, None)
    found = list(_letters(settings, begin, arguments.topic, everything=partition is not None))
    if partition is not None:
        found = [each for each in found if (each.partition, each.offset) == (partition, offset)]
        if not found:
            raise BadInputError(f"{arguments.topic} has no message {arguments.id}: flts-dlq list shows all")
    if arguments.action == "show":
        return _show(found[0])
    return _replay(settings, begin, found, commit=partition is None)


def _list(settings: KafkaSettings, begin: str, topics: Sequence[str], *, everything: bool) -> int:
    rows = [
        (each.topic, f"{each.partition}:{each.offset}", _time(each), *_header_values(each, STAGE, ATTEMPTS, ERROR))
        for topic in topics
        for each in _letters(settings, begin, topic, everything=everything)
    ]
    if rows:
        common.print_table(("Topic", "ID", "Time", "Stage", "Attempts", "Error"), rows, numbers=("Attempts",))
    else:
        print("no dead letters")
    return 0


def _show(letter: ReceivedMessage) -> int:
    headers = {name: _header(letter, name) for name, _ in letter.headers}
    for name, text in {"id": f"{letter.partition}:{letter.offset}", "key": _text(letter.key), **headers}.items():
        print(f"{name}: {text}")
    print()
    try:
        print(json.dumps(json.loads(letter.value or b""), indent=2, ensure_ascii=True))
    except (ValueError, RecursionError):
        print(_text(letter.value))
    return 0


def _replay(settings: KafkaSettings, begin: str, letters: Sequence[ReceivedMessage], *, commit: bool) -> int:
    from flts.workers.producer import MessageProducer

    producer = MessageProducer(settings)
    bucket = read_bucket("promotion_bucket", os.environ)
    for each in letters:
        topic = _header(each, TOPIC)
        if not topic:
            raise BadInputError(f"{each.place} has no header with the topic that it came from")
        body = whole_body(each, open_store(common.store_address()), bucket) if _header(each, OBJECT) else each.value
        producer.send_all([OutgoingMessage(topic, each.key, body, original_headers(each.headers))])
        print(f"{each.topic} {each.partition}:{each.offset} sent to {topic}")
    if commit:
        _commit_replayed(settings, begin, letters)
    if not letters:
        print("no dead letters")
    return 0


def _letters(settings: KafkaSettings, begin: str, topic: str, *, everything: bool) -> Iterator[ReceivedMessage]:
    """Yield the dead letters of a topic, unless they were replayed; the earliest of a partition first."""
    from confluent_kafka import TopicPartition

    from flts.workers.client import ANSWER_SECONDS, backlogs, passive_consumer, received_of

    with passive_consumer(settings, begin + DEAD_LETTER_GROUP, READ) as consumer:
        found = backlogs(consumer, topic)
        if found is None:
            raise BadInputError(f"{settings.where} has no topic {printable(topic)}: flts-topics makes those of FLTS")
        for each in found:
            position = each.first if everything else each.next
            consumer.assign([TopicPartition(topic, each.partition, position)])
            while position < each.end:
                message = consumer.poll(ANSWER_SECONDS)
                if message is None or message.error():
                    raise ServiceUnavailableError(
                        f"{settings.where} does not return {topic} {each.partition}:{position}"
                    )
                position = (message.offset() or 0) + 1
                yield received_of(message)


def _commit_replayed(settings: KafkaSettings, begin: str, letters: Sequence[ReceivedMessage]) -> None:
    from confluent_kafka import TopicPartition

    from flts.workers.client import passive_consumer

    last = {(each.topic, each.partition): each.offset + 1 for each in letters}
    if last:
        with passive_consumer(settings, begin + DEAD_LETTER_GROUP, READ) as consumer:
            offsets = [TopicPartition(topic, partition, offset) for (topic, partition), offset in last.items()]
            consumer.commit(offsets=offsets, asynchronous=False)


def _place(text: str) -> tuple[int, int]:
    partition, _, offset = text.partition(":")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise BadInputError(f"{text!r} is not the ID of a message: PARTITION:OFFSET is expected, such as 0:17")
    return int(partition[:10]), int(offset[:19])


def _header(letter: ReceivedMessage, name: str) -> str:
    """Return the last header of a name: the original message may have had one like it."""
    return next((_text(value) for each, value in reversed(letter.headers) if each == name), "")


def _header_values(letter: ReceivedMessage, *names: str) -> list[str]:
    return [_header(letter, name) for name in names]


def _time(letter: ReceivedMessage) -> str:
    text = _header(letter, TIME)
    if not text.isdecimal():
        return ""
    return f"{datetime.fromtimestamp(int(text[:13]) / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def _text(value: Any) -> str:
    return printable((value or b"").decode(errors="replace"))
