"""Error answers in OpenAPI documents."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

Answers = dict[int | str, dict[str, Any]]


class ErrorBody(BaseModel):
    """The reason why a request failed."""

    detail: str


def describe_answers(words: Mapping[int, str], *statuses: int) -> Answers:
    """Return the OpenAPI description of error answers with these statuses; ``words`` describes each."""
    return {status: {"model": ErrorBody, "description": words[status]} for status in statuses}
