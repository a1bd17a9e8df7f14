"""Request ids, which connect the log lines that several services and stages write about one piece of work.

A server takes them from the current request; a stage from its environment, ``FLTS_REQUEST_ID`` and ``TRACEPARENT`` (as
in W3C Trace Context), or generates an id. Requests to other services carry them.
"""

import os
import re
from collections.abc import Mapping
from contextvars import ContextVar
from functools import cache
from uuid import uuid4

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_current: ContextVar[Mapping[str, str] | None] = ContextVar("current", default=None)


def make_headers(request_id: str, traceparent: str = "", *, default: str = "") -> dict[str, str]:
    """Return the headers ``X-Request-ID`` and ``traceparent`` with these values, as far as they are well-formed.

    Args:
        request_id: The id.
        traceparent: The trace context.
        default: The id that replaces one that is not well-formed; empty: a new one.
    """
    valid = _REQUEST_ID.fullmatch(request_id)
    headers = {"X-Request-ID": request_id if valid else default or uuid4().hex}
    return headers | ({"traceparent": traceparent} if _TRACEPARENT.fullmatch(traceparent) else {})


def set_headers(headers: Mapping[str, str]) -> None:
    """Make these the headers of the current request, from here on in this context."""
    _current.set(headers)


def headers() -> Mapping[str, str]:
    """Return the headers of the current request, or those of this process if there is none."""
    return _current.get() or _process_headers()


def ids(of: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the fields of log lines for ``headers``: ``request_id``, and ``trace_id`` where there is a trace."""
    found = headers() if of is None else of
    trace = _TRACEPARENT.fullmatch(found.get("traceparent", ""))
    return {"request_id": found["X-Request-ID"]} | ({"trace_id": trace[1]} if trace else {})


@cache
def _process_headers() -> Mapping[str, str]:
    return make_headers(os.environ.get("FLTS_REQUEST_ID", ""), os.environ.get("TRACEPARENT", ""))
