"""Streaming of bodies between clients and blocking stores, with few bytes in memory.

Stores block, so that they run in threads. A thread asks the event loop for the next piece of an upload and waits; the
event loop asks a thread for the next piece of a download. The slower side sets the pace.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.responses import Response

from flts.errors import FltsError
from flts.web.errors import HttpError

if TYPE_CHECKING:
    from anyio import CapacityLimiter
    from starlette.types import Receive, Scope, Send

T = TypeVar("T")

# Large pieces, because a switch between thread and event loop takes longer than several network packets.
_PIECE = 1 << 20
_SLICE = 1 << 18  # a slow reader must take this much within the idle time
_MAX_KEYS = 10_000


class TransferThreads:
    """Threads for blocking work, limited in number."""

    def __init__(self, limit: int) -> None:
        """Allow ``limit`` threads at once."""
        self._limit = limit
        self._limiter: CapacityLimiter | None = None

    async def run(self, work: Callable[[], T]) -> T:
        """Run blocking work in a thread."""
        from anyio import CapacityLimiter, to_thread

        if self._limiter is None:  # belongs to the running event loop
            self._limiter = CapacityLimiter(self._limit)
        return await to_thread.run_sync(work, limiter=self._limiter)


class Idempotency:
    """Work that is done once per key: a response may be lost, and its request sent again."""

    def __init__(self) -> None:
        """Start without any key."""
        self._results: OrderedDict[str, asyncio.Future[Any]] = OrderedDict()

    async def run(self, key: str, work: Callable[[], Awaitable[T]]) -> T:
        """Return the result of ``work``, or the earlier result for ``key``; an empty key always runs it.

        The last ``_MAX_KEYS`` keys are kept. After a failure the work is done again.
        """
        if not key:
            return await work()
        if key in self._results:
            result: T = await asyncio.shield(self._results[key])
            return result
        future = self._results[key] = asyncio.get_running_loop().create_future()
        try:
            done = await work()
        except BaseException as error:
            self._results.pop(key, None)
            future.set_exception(error if isinstance(error, Exception) else RuntimeError("the request was broken off"))
            future.exception()  # retrieved, because no request may be waiting for it
            raise
        future.set_result(done)
        while len(self._results) > _MAX_KEYS:
            self._results.popitem(last=False)
        return done


class Upload:
    """Body of a request, which a thread reads."""

    def __init__(self, stream: AsyncIterator[bytes], max_bytes: int, idle_seconds: float) -> None:
        """Allow at most ``max_bytes`` in all, and ``idle_seconds`` without any byte."""
        self._stream = stream
        self._max_bytes = max_bytes
        self._idle_seconds = idle_seconds
        self._remaining = max_bytes
        self._first = b""

    async def begin(self, *, may_be_empty: bool) -> None:
        """Wait for the first piece; 400 for an empty body that may not be empty."""
        self._first = await self._next()
        if not self._first and not may_be_empty:
            raise HttpError(400, "the body is empty: an object has at least one byte")

    def pieces(self) -> Iterator[bytes]:
        """Yield the pieces; called in a thread of ``TransferThreads``."""
        from anyio import from_thread

        piece = self._first
        while piece:
            yield piece
            piece = from_thread.run(self._next)

    async def _next(self) -> bytes:
        from starlette.requests import ClientDisconnect

        chunks: list[bytes] = []
        size = 0
        try:
            while size < _PIECE:
                async with asyncio.timeout(self._idle_seconds):
                    chunk = await anext(self._stream, None)
                if chunk is None:
                    break
                chunks.append(chunk)
                size += len(chunk)
        except TimeoutError:
            raise HttpError(408, f"no byte of the body came for {self._idle_seconds:g} seconds") from None
        except ClientDisconnect:
            raise HttpError(400, "the body ended early") from None
        self._remaining -= size
        if self._remaining < 0:
            raise HttpError(413, f"an object may have at most {self._max_bytes >> 20} MiB here")
        return b"".join(chunks)


class Download(Response):
    """Response whose body a thread reads from a store."""

    def __init__(
        self,
        pieces: Iterator[bytes],
        threads: TransferThreads,
        status: int,
        headers: dict[str, str],
        idle_seconds: float,
    ) -> None:
        """Respond with ``pieces``; a client that takes nothing for ``idle_seconds`` is disconnected."""
        self.status_code = status
        self.background = None
        self.body = b""
        self.init_headers(headers)
        self._pieces, self._threads, self._idle_seconds = pieces, threads, idle_seconds

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Send the response; an error on the way closes the connection, so that the body is shorter than its length."""
        from anyio import create_task_group

        broken: Exception | None = None
        try:
            # Before the status is sent, so that an error of the store gives its own.
            first = await self._threads.run(partial(next, self._pieces, b""))
            async with create_task_group() as tasks:

                async def watch() -> None:
                    while (await receive())["type"] != "http.disconnect":
                        pass
                    scope.setdefault("state", {})["gone"] = True
                    tasks.cancel_scope.cancel()

                tasks.start_soon(watch)
                try:
                    await self._send(first, send)
                except (TimeoutError, FltsError) as error:  # a task group would wrap them
                    broken = error
                tasks.cancel_scope.cancel()
        finally:
            close = getattr(self._pieces, "close", None)
            if close:
                close()
        if broken:
            raise broken

    async def _send(self, piece: bytes, send: "Send") -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        while piece:
            for start in range(0, len(piece), _SLICE):
                part = piece[start : start + _SLICE]
                async with asyncio.timeout(self._idle_seconds):
                    await send({"type": "http.response.body", "body": part, "more_body": True})
            piece = await self._threads.run(partial(next, self._pieces, b""))
        await send({"type": "http.response.body", "body": b""})
