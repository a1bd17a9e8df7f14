"""Ids that join what several services and stages log of one piece of work.

A server takes them from the request at hand; a stage from its environment, ``FLTS_REQUEST_ID`` and ``TRACEPARENT`` (as
W3C Trace Context has it), or makes an id of its own. Requests to other services carry them on.
"""

import os
import re
from collections.abc import Mapping
from contextvars import ContextVar
from functools import cache
from uuid import uuid4

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_at_hand: ContextVar[Mapping[str, str] | None] = ContextVar("at_hand", default=None)


def headers_of(request_id: str, traceparent: str = "", *, otherwise: str = "") -> dict[str, str]:
    """Return the headers ``X-Request-ID`` and ``traceparent`` that carry on what was given, if it is well-formed.

    Args:
        request_id: What was given.
        traceparent: What was given.
        otherwise: The id where none was; empty: a new one.
    """
    valid = _REQUEST_ID.fullmatch(request_id)
    headers = {"X-Request-ID": request_id if valid else otherwise or uuid4().hex}
    return headers | ({"traceparent": traceparent} if _TRACEPARENT.fullmatch(traceparent) else {})


def enter(headers: Mapping[str, str]) -> None:
    """Work on the request that came with these ``headers_of`` it, from here on in this context."""
    _at_hand.set(headers)


def headers() -> Mapping[str, str]:
    """Return the headers of the request at hand, or else of this process."""
    return _at_hand.get() or _of_process()


def ids(of: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what log lines say of ``headers``: ``request_id``, and ``trace_id`` where there is a trace."""
    found = headers() if of is None else of
    trace = _TRACEPARENT.fullmatch(found.get("traceparent", ""))
    return {"request_id": found["X-Request-ID"]} | ({"trace_id": trace[1]} if trace else {})


@cache
def _of_process() -> Mapping[str, str]:
    return headers_of(os.environ.get("FLTS_REQUEST_ID", ""), os.environ.get("TRACEPARENT", ""))
