"""Parts of a request: bucket and key in its path, range, conditions."""

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from flts.store import ObjectInfo
from flts.store.keys import check_bucket, check_key
from flts.web.errors import HttpError, error_response

_ESCAPED = re.compile(rb"%(2f|5c|[01].|7f)|[\x00-\x1f\x7f]", re.IGNORECASE)
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True)
class ObjectRef:
    """Bucket and key of an object."""

    bucket: str
    key: str


class PathGuard:
    """Middleware that refuses paths which client, proxy and server may interpret differently."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an app."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or respond with 400."""
        sentence = _path_problem(scope["raw_path"]) if scope["type"] == "http" else ""
        await (error_response(400, sentence) if sentence else self._app)(scope, receive, send)


def _path_problem(raw: bytes) -> str:
    if _ESCAPED.search(raw):
        return "an address must not hide '/', '\\' or control characters behind escapes such as %2F"
    try:
        unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        return "an address must be UTF-8"
    return ""


def object_ref(bucket: str, object: str) -> ObjectRef:
    """Return the object of a path; ``BadInputError`` when its bucket or key is invalid."""
    check_bucket(bucket)
    check_key(object)
    return ObjectRef(bucket, object)


def etag_header(info: ObjectInfo) -> str:
    """Return the object's etag in quotes, as in headers."""
    return f'"{info.etag}"'


def etags(header: str) -> list[str]:
    """Return the etags in a condition's header, ``*`` included; ``W/`` is dropped, as stores have no weak etags."""
    return [each.strip().removeprefix("W/").strip('"') for each in header.split(",") if each.strip()]


def write_conditions(request: Request) -> tuple[str | None, bool]:
    """Return ``if_match`` and ``if_none_match`` of a write.

    Raises:
        HttpError: 400 for conditions that no store can check.
    """
    match, none_match = request.headers.get("if-match"), request.headers.get("if-none-match")
    if none_match is not None and none_match.strip() != "*":
        raise HttpError(400, "If-None-Match of an upload must be *: it then writes only what is not there yet")
    if match is None:
        return None, none_match is not None
    tags = etags(match)
    if len(tags) != 1 or tags == ["*"] or none_match is not None:
        raise HttpError(400, "If-Match of an upload must be one etag, without If-None-Match")
    return tags[0], False


def check_read_conditions(request: Request, info: ObjectInfo) -> bool:
    """Return whether the client has this version already.

    Raises:
        HttpError: 412 when it requires another version.
    """
    match, none_match = request.headers.get("if-match"), request.headers.get("if-none-match")
    if match is not None and not {info.etag, "*"} & set(etags(match)):
        raise HttpError(412, "the object has another etag")
    return none_match is not None and bool({info.etag, "*"} & set(etags(none_match)))


def byte_range(request: Request, info: ObjectInfo) -> range | None:
    """Return the requested range; ``None`` for the whole object, also when the header is not a single range.

    Raises:
        HttpError: 416 when no byte of the range exists.
    """
    header = request.headers.get("range", "")
    match = _RANGE.fullmatch(header.replace(" ", ""))
    if not match or match.group() == "bytes=-" or not _matches(request.headers.get("if-range"), info):
        return None
    first, last = match.groups()
    if not first:
        start, stop = max(0, info.size - int(last)), info.size
    else:
        start, stop = int(first), min(info.size, int(last) + 1 if last else info.size)
        if last and int(last) < int(first):
            return None
    if start >= stop:
        raise HttpError(
            416, f"the object has {info.size} bytes, none of those asked for", {"Content-Range": f"bytes */{info.size}"}
        )
    return range(start, stop)


def _matches(condition: str | None, info: ObjectInfo) -> bool:
    return condition is None or condition.strip() == etag_header(info)
