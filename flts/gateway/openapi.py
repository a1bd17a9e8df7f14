"""Responses of the gateway as its OpenAPI document describes them."""

from typing import Any

from pydantic import BaseModel

from flts.web.openapi import Answers, describe_answers


class StoredObject(BaseModel):
    """An object that was written."""

    status: str = "success"
    bucket: str
    object_name: str
    size_bytes: int


class ObjectEntry(BaseModel):
    """An object in a list."""

    object: str
    size_bytes: int
    etag: str


class ObjectPage(BaseModel):
    """A part of a list; ``next`` is the ``after`` of the next one, null at the end."""

    bucket: str
    prefix: str
    objects: list[ObjectEntry]
    next: str | None


_WORDS = {
    400: "The request is outside the rules.",
    401: "A token is missing or not known.",
    403: "The token does not open this.",
    404: "There is no such object.",
    408: "The body stood still for too long.",
    412: "A condition does not hold.",
    413: "The object is too large.",
    416: "None of the bytes asked for exists.",
    502: "The store refuses the gateway's own keys, or its settings are wrong.",
    503: "The store is out of reach, or too many requests are at work.",
}


def error_responses(*statuses: int) -> Answers:
    """Describe error responses by status."""
    return describe_answers(_WORDS, *statuses)


ALWAYS = error_responses(400, 401, 403, 502, 503)
BYTES: dict[str, Any] = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
BODY = {"requestBody": {"required": False, "description": "The object's bytes; none with `empty`.", **BYTES}}
_STORED = {"status": "success", "bucket": "dataset", "object_name": "PobleSec.csv", "size_bytes": 1024}
STORED: Answers = {200: {"content": {"application/json": {"example": _STORED}}}}
