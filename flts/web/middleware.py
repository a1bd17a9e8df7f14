"""Middleware of both servers: an id, a log line and metrics for every request, and limits of number and time.

Metrics, by ``service``, ``method``, ``route`` (its template, so that there are few) and ``status``:
``flts_http_requests_total``, ``flts_http_request_seconds`` (histogram, until the answer's last byte),
``flts_http_requests_in_flight`` and ``flts_http_bytes_total`` (by ``direction``: ``received``, ``sent``).
"""

import asyncio
import itertools
import time
import traceback
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from flts.diagnostics.terminal import printable
from flts.observability import request_ids
from flts.observability.events import log_event
from flts.web.errors import error_response

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Ids from a counter: asking the system for random bytes each time would slow down a busy server.
_OWN_IDS, _NUMBERS = token_hex(8), itertools.count()
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)


class RequestMiddleware:
    """Middleware as an ASGI app; it also refuses more than a number of requests at once, and ends long ones."""

    def __init__(
        self,
        app: "ASGIApp",
        *,
        service: str,
        registry: "CollectorRegistry",
        most: int,
        seconds: float,
        free: frozenset[str],
    ) -> None:
        """Wrap an app.

        Args:
            app: The app.
            service: Its name in log lines and metrics.
            registry: The registry of its metrics.
            most: Largest number of requests at once; more are answered with 503.
            seconds: Time limit of a request; after it the answer is 504.
            free: Paths that are always answered: probes and metrics.
        """
        from prometheus_client import Counter, Gauge, Histogram

        self._app = app
        self._service = service
        self._most = most
        self._deadline = seconds
        self._free = free
        self._busy = 0
        labels = ("service", "method", "route", "status")
        self._requests = Counter("flts_http_requests", "Requests that were answered.", labels, registry=registry)
        self._seconds = Histogram(
            "flts_http_request_seconds", "Until the last byte.", labels[:3], registry=registry, buckets=_SECONDS
        )
        self._bytes = Counter("flts_http_bytes", "Bytes of bodies.", ("service", "direction"), registry=registry)
        in_flight = Gauge("flts_http_requests_in_flight", "Requests at work.", ("service",), registry=registry)
        in_flight.labels(service).set_function(lambda: self._busy)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass a request to the app and record it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        observed = _Request(scope, receive, send)
        free = scope["path"] in self._free
        self._busy += not free
        try:
            if self._busy > self._most and not free:
                await error_response(503, "too many requests are at work here: try again in a moment")(
                    scope, receive, observed.send
                )
            else:
                async with asyncio.timeout(self._deadline):
                    await self._app(scope, observed.receive, observed.send)
        except TimeoutError:
            sentence = f"the request took longer than {self._deadline:g} seconds"
            if observed.status:  # also for a client that has stopped reading
                observed.trouble = "the answer was broken off"
                raise ConnectionAbortedError from None
            await error_response(504, sentence)(scope, receive, observed.send)
        except Exception:
            observed.trouble = traceback.format_exc()
            if not observed.status:
                await error_response(500, f"an unexpected error; the log has it under {observed.request_id}")(
                    scope, receive, observed.send
                )
            else:  # the answer is incomplete, and the client must notice
                raise
        finally:
            self._busy -= not free
            self._record(observed)

    def _record(self, observed: "_Request") -> None:
        route = getattr(observed.scope.get("route"), "path", "unknown")
        method = observed.scope["method"] if route != "unknown" else "other"
        seconds = time.monotonic() - observed.start
        status = 499 if observed.scope.get("state", {}).get("gone") else observed.status or 499
        self._requests.labels(self._service, method, route, str(status)).inc()
        self._seconds.labels(self._service, method, route).observe(seconds)
        self._bytes.labels(self._service, "received").inc(observed.received)
        self._bytes.labels(self._service, "sent").inc(observed.sent)
        if route in self._free and not observed.trouble:
            return  # probes come all day
        client = observed.scope.get("client")
        details: dict[str, Any] = {
            "route": route,
            "status": status,
            "seconds": round(seconds, 4),
            "received": observed.received,
            "sent": observed.sent,
            "client": client[0] if client else "",
            **observed.ids,
            **observed.scope.get("state", {}).get("log", {}),
        }
        if observed.trouble:
            details["traceback"] = observed.trouble
        level = "error" if observed.trouble or observed.status >= 500 else "info"
        asked = printable(f"{observed.scope['method']} {observed.scope['path']}"[:500])
        log_event(self._service, "request", asked, level, **details)


class _Request:
    """A request: its ids, its start, and the bytes and status so far."""

    def __init__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        headers = {name: value.decode("latin-1") for name, value in reversed(scope["headers"])}
        self.scope, self._receive, self._send = scope, receive, send
        passed = request_ids.make_headers(
            headers.get(b"x-request-id", ""),
            headers.get(b"traceparent", ""),
            default=f"{_OWN_IDS}{next(_NUMBERS):016x}",
        )
        request_ids.set_headers(passed)
        self.ids = request_ids.ids(passed)
        self.request_id = self.ids["request_id"]
        self.start = time.monotonic()
        self.status = self.received = self.sent = 0
        self.trouble = ""

    async def receive(self) -> "Message":
        message = await self._receive()
        self.received += len(message.get("body", b""))
        return message

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self.request_id.encode())]
        else:
            self.sent += len(message.get("body", b""))
        await self._send(message)
