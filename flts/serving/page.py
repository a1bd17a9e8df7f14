"""The page at `/`, which shows the model and its forecasts; it uses the same HTTP interface as other clients."""

import hashlib
import mimetypes
from importlib.resources import files

from fastapi import FastAPI, Request, Response

from flts.report.render import asset

_PAGE = "page.html"
_OWN = (_PAGE, "live.css", "live.js", "csv.js", "icon.svg")
# Shared with the reports, so that pages and charts look the same.
_SHARED = ("page.css", "chart.css", "uPlot.min.css", "uPlot.iife.js", "ticks.js", "chart.js")
_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def add_page(app: FastAPI) -> None:
    """Add the page to an app, with its files under `/static/`; all are read once, now."""
    static = files("flts.serving") / "static"
    own = {name: (static / name).read_bytes() for name in _OWN}
    shared = {name: asset(name).encode() for name in _SHARED}
    for name, content in (own | shared).items():
        _serve(app, "/" if name == _PAGE else f"/static/{name}", name, content)


def _serve(app: FastAPI, path: str, name: str, content: bytes) -> None:
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    headers = {**_HEADERS, "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"'}

    @app.api_route(path, methods=["GET", "HEAD"], include_in_schema=False)
    async def send(request: Request) -> Response:
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=f"{kind}; charset=utf-8", headers=headers)
