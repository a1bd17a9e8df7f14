"""Answers that say no, as OpenAPI documents describe them."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

Answers = dict[int | str, dict[str, Any]]


class ErrorBody(BaseModel):
    """Why a request was not answered as it wished."""

    detail: str


def documented(words: Mapping[int, str], *statuses: int) -> Answers:
    """Describe answers of these statuses by their ``words``."""
    return {status: {"model": ErrorBody, "description": words[status]} for status in statuses}
