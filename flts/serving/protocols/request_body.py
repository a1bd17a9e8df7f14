"""Reading of requests: a body of bounded size, the query parameter, and disconnecting clients."""

import asyncio
import re
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from flts.diagnostics.validation import shown
from flts.errors import BadInputError
from flts.serving.settings import MIB
from flts.web.errors import HttpError

T = TypeVar("T")


async def read_body(request: Request, max_mib: int) -> bytes:
    """Read the body.

    Raises:
        HttpError: 413 if it is larger than ``max_mib``, 400 if it ends early.
    """
    max_bytes = max_mib * MIB
    announced = request.headers.get("content-length", "0")
    size = int(announced) if announced.isdecimal() else 0
    pieces = []
    if size <= max_bytes:
        size = 0
        try:
            async for piece in request.stream():
                pieces.append(piece)
                size += len(piece)
                if size > max_bytes:
                    break
        except ClientDisconnect:
            raise HttpError(400, "the request body ended early") from None
    if size > max_bytes:
        raise HttpError(413, f"the request body may be at most {max_mib} MiB")
    return b"".join(pieces)


def query_steps(request: Request) -> int | None:
    """Return ``inference_length`` from the query string, ``None`` if it is not there.

    Raises:
        BadInputError: It is not a whole number.
    """
    text = request.query_params.get("inference_length")
    if text is None:
        return None
    if not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise BadInputError(f"inference_length must be a whole number, got {shown(text, quoted=True)}")
    return int(text)


async def cancel_on_disconnect(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await some work, and cancel it when the client disconnects; the body must have been read.

    Raises:
        HttpError: 499, for the metrics alone, when the client has disconnected.
    """
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_wait_for_disconnect(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
    finally:
        working.cancel()
        leaving.cancel()
    request.scope.setdefault("state", {})["gone"] = True
    raise HttpError(499, "the client has disconnected")


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
