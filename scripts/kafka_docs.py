"""The generated tables of ``docs/kafka.md``: topics and permissions, from the declarations of the stages."""

import re
from collections.abc import Mapping

from flts.stages import topics
from flts.workers.permissions import ROLES, permissions_of
from flts.workers.settings import TOPICS, WORKERS

# Key and message of each topic.
_RECORDS: Mapping[str, tuple[str, str]] = {
    topics.REQUESTS: ("any", "parameters of preprocess"),
    topics.TRAINING_DATA: ("identifier", "claim check"),
    topics.TRAINED_MODELS: ("`trained-<TYPE>`", "trained model: `RUNNING`, then `SUCCESS`"),
    topics.INFERENCE_DATA: ("identifier", "claim check"),
    topics.SELECTED_MODELS: ("`promotion`", "promotion"),
    topics.PERFORMANCE: ("identifier", "metrics of a forecast, and where it is stored"),
}


def topics_table() -> str:
    """Return the table of topics, with the stages and groups that use each."""
    rows = ["| topic | written by | read by (group) | key | message |", "|---|---|---|---|---|"]
    for topic in TOPICS:
        writers = [stage for stage, worker in WORKERS.items() if topic in worker.produces]
        readers = [f"`{stage}` (`{worker.group}`)" for stage, worker in WORKERS.items() if topic in worker.consumes]
        key, message = _RECORDS[topic]
        rows.append(
            f"| `{topic}` | {', '.join(writers) or 'you'} | {', '.join(readers) or 'you'} | {key} | {message} |"
        )
    rows.append(
        "| `DLQ-<topic>` | the worker that failed | [`flts-dlq`](#failures) | as received | the message, unchanged |"
    )
    return "\n".join(rows)


def permissions_table() -> str:
    """Return the table of permissions of each worker and command."""
    rows = ["| worker or command | permissions |", "|---|---|"]
    for role in ROLES:
        operations: dict[tuple[str, str], list[str]] = {}
        for permission in permissions_of(role, {}):
            operations.setdefault((permission.resource, permission.name), []).append(permission.operation)
        names: dict[tuple[str, str], list[str]] = {}
        for (resource, name), found in operations.items():
            names.setdefault((" and ".join(found), resource), []).append(f"`{name}`")
        cells = [f"{found} {resource} {', '.join(each)}" for (found, resource), each in names.items()]
        rows.append(f"| `{role}` | {'; '.join(cells)} |")
    return "\n".join(rows)


def with_tables(text: str) -> str:
    """Return the page with its generated tables, each between a comment that names it and the next blank line."""
    for name, table in {"topics": topics_table(), "permissions": permissions_table()}.items():
        marker = f"<!-- Written by make docs: {name} -->\n"
        text, count = re.subn(rf"(?<={re.escape(marker)})(?:\|.*\n)*", table.replace("\\", r"\\") + "\n", text)
        if count != 1:
            raise ValueError(f"docs/kafka.md must have the line {marker.strip()} once, and has it {count} times")
    return text
