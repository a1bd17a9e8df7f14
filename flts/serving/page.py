"""The page at `/`: what is served, and forecasts with it. It asks the server as every other client does."""

import hashlib
import mimetypes
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any

from flts.report.render import asset

if TYPE_CHECKING:
    from fastapi import FastAPI, Request, Response

_OWN = ("page.html", "live.css", "live.js", "csv.js", "icon.svg")
# Of the reports: the page looks as they do, and its charts are theirs.
_SHARED = ("page.css", "chart.css", "uPlot.min.css", "uPlot.iife.js", "ticks.js", "chart.js")
_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class _File:
    """A file of the page: read once, and sent to those who have another version."""

    def __init__(self, name: str, content: bytes) -> None:
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        self._content = content
        self._kind = f"{kind}; charset=utf-8"
        self._headers = {**_HEADERS, "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"'}

    def answer(self, request: "Request") -> "Response":
        from starlette.responses import Response

        if request.headers.get("if-none-match") == self._headers["ETag"]:
            return Response(status_code=304, headers=self._headers)
        return Response(self._content, media_type=self._kind, headers=self._headers)


def install(app: "FastAPI") -> None:
    """Give an app the page, and what it is made of under `/static/`."""
    own: Traversable = files("flts.serving") / "static"
    content = {name: (own / name).read_bytes() for name in _OWN} | {name: asset(name).encode() for name in _SHARED}
    for name, data in content.items():
        file = _File(name, data)
        path = "/" if name == "page.html" else f"/static/{name}"
        _route(app, path, file)


def _route(app: "FastAPI", path: str, file: _File) -> None:
    from starlette.requests import Request

    async def send(request: Request) -> Any:
        return file.answer(request)

    app.add_route(path, send, methods=["GET", "HEAD"], include_in_schema=False)
