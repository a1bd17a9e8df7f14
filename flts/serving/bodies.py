"""What a request for forecasts brings: its body, of bounded size, and the steps that its address asks for."""

import re

from starlette.requests import ClientDisconnect, Request

from flts.errors import BadInputError
from flts.problems import shown
from flts.serving.settings import MIB
from flts.web.problems import RefusedError


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
            raise RefusedError(400, "the body ended early") from None
    if size > most:
        raise RefusedError(413, f"a body may have at most {most_mib} MiB here")
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
