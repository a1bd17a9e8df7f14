"""The metrics that docs/operations.md explains, and those that a service tells."""

import re
from pathlib import Path

_DOCS = Path(__file__).parents[2] / "docs" / "operations.md"
_PART = re.compile(r"_(bucket|sum|count)$")


def documented() -> dict[str, set[str]]:
    """The metrics of the table, by the job of Prometheus that finds them."""
    found: dict[str, set[str]] = {}
    for jobs, metric in re.findall(r"^\| ([a-z, ]+) \| `(\w+)` \|", _DOCS.read_text(), re.MULTILINE):
        for job in jobs.split(", "):
            found.setdefault(job, set()).add(metric)
    return found


def told(text: str) -> set[str]:
    """The metrics that a service's ``/metrics`` has values of; a histogram once."""
    return {_PART.sub("", name) for name in re.findall(r"^(\w+)[ {]", text, re.MULTILINE)}
