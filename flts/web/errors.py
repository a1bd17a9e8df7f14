"""Error answers: ``{"detail": "<one sentence>"}``."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from flts.errors import (
    BadInputError,
    FltsError,
    ObjectNotFoundError,
    PreconditionFailedError,
    RefusedError,
    ServiceUnavailableError,
)
from flts.observability.redaction import redact

if TYPE_CHECKING:
    from fastapi import FastAPI, Request
    from starlette.responses import Response

RETRY_AFTER_SECONDS = 1
_STATUS: Mapping[type[FltsError], int] = {
    ObjectNotFoundError: 404,
    PreconditionFailedError: 412,
    ServiceUnavailableError: 503,
    # Our own credentials or settings, which the client does not know.
    RefusedError: 502,
    BadInputError: 400,
}


class HttpError(Exception):
    """A request that is answered with a status and a sentence; raised anywhere below a route."""

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = dict(headers or {})


def error_response(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> "Response":
    """Return the answer, without secrets; the client may try again after a 429 or 503, and the answer says when."""
    from starlette.responses import JSONResponse

    again = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status in (429, 503) else {}
    return JSONResponse({"detail": redact(sentence)}, status, headers={**again, **(headers or {})})


def status_of(error: FltsError) -> int:
    """Return the status of an error; 500 for one that has nothing to do with the request."""
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)


def install_error_handlers(app: "FastAPI", on_outage: Callable[[], object]) -> None:
    """Make an app answer errors, and requests that do not fit its routes, in this way.

    ``on_outage`` is called when a service that the app needs is out of reach, or refuses the app's credentials.
    """
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException

    @app.exception_handler(HttpError)
    async def refused(_request: "Request", error: HttpError) -> "Response":
        return error_response(error.status, str(error), error.headers)

    @app.exception_handler(FltsError)
    async def failed(_request: "Request", error: FltsError) -> "Response":
        if isinstance(error, ServiceUnavailableError | RefusedError):
            on_outage()
        return error_response(status_of(error), str(error))

    @app.exception_handler(RequestValidationError)
    async def unfit(_request: "Request", error: RequestValidationError) -> "Response":
        first = error.errors()[0]
        return error_response(400, f"{first['loc'][-1]}: {first['msg'][:1].lower()}{first['msg'][1:]}")

    @app.exception_handler(Exception)
    async def broken(_request: "Request", _error: Exception) -> "Response":
        return error_response(500, "an unexpected error; the log has it under this answer's X-Request-ID")

    @app.exception_handler(HTTPException)
    async def unknown(request: "Request", error: HTTPException) -> "Response":
        words = {404: f"there is no {request.method} {request.url.path[:200]}", 405: "this method is not offered here"}
        return error_response(error.status_code, words.get(error.status_code, str(error.detail)), error.headers)
