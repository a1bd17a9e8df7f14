"""What a request for forecasts brings: its body, of bounded size, the steps that its address asks for, its client."""

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


async def read_body(request: Request, most_mib: int) -> bytes:
    """Read the body.

    Raises:
        RefusedError: 413 where it is larger than ``most_mib``, 400 where it ends early.
    """
    most = most_mib * MIB
    announced = request.headers.get("content-length", "0")
    size = int(announced) if announced.isdecimal() else 0
    pieces = []
    if size <= most:
        size = 0
        try:
            async for piece in request.stream():
                pieces.append(piece)
                size += len(piece)
                if size > most:
                    break
        except ClientDisconnect:
            raise HttpError(400, "the body ended early") from None
    if size > most:
        raise HttpError(413, f"a body may have at most {most_mib} MiB here")
    return b"".join(pieces)


def steps_asked(request: Request) -> int | None:
    """Return ``inference_length`` of the address, which wins over that of the body; ``None`` where it has none.

    Raises:
        BadInputError: It is no whole number.
    """
    text = request.query_params.get("inference_length")
    if text is None:
        return None
    if not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise BadInputError(f"inference_length must be a whole number, got {shown(text, quoted=True)}")
    return int(text)


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Do some work, and leave it when the client goes away; the body must have been read.

    Raises:
        RefusedError: 499, which nobody gets, when it has gone.
    """
    at_work, going = asyncio.ensure_future(work), asyncio.ensure_future(_going(request))
    try:
        await asyncio.wait({at_work, going}, return_when=asyncio.FIRST_COMPLETED)
        if at_work.done():
            return at_work.result()
    finally:
        at_work.cancel()
        going.cancel()
    request.scope.setdefault("state", {})["gone"] = True
    raise HttpError(499, "the client has gone")


async def _going(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
