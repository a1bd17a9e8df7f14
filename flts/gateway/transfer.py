"""Bodies between a client and a store that blocks: piece by piece, with few bytes in memory.

Stores block, so they work in threads. A thread asks the event loop for the next piece of an upload and waits; the
event loop asks a thread for the next piece of a download. Whoever is slow makes the other side wait.
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

# A hop between thread and event loop takes longer than the network takes for a few of its packets.
_PIECE = 1 << 20
_SLICE = 1 << 18  # what a slow reader must take within the time that it may stand still
_REMEMBERED = 10_000


class TransferThreads:
    """The threads in which stores work; as many as there may be requests."""

    def __init__(self, most: int) -> None:
        """Make room for ``most`` of them."""
        self._most = most
        self._room: CapacityLimiter | None = None

    async def run(self, work: Callable[[], T]) -> T:
        """Do blocking work."""
        from anyio import CapacityLimiter, to_thread

        if self._room is None:  # belongs to the running event loop
            self._room = CapacityLimiter(self._most)
        return await to_thread.run_sync(work, limiter=self._room)


class Idempotency:
    """Work that is done once however often it is asked for: an answer may be lost, and its request come again."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._results: OrderedDict[str, asyncio.Future[Any]] = OrderedDict()

    async def run(self, key: str, work: Callable[[], Awaitable[T]]) -> T:
        """Return what ``work`` gives, or gave for the same ``key`` before; without a key it is always done.

        The last ``_REMEMBERED`` keys count. What failed is forgotten, and done again.
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
            future.exception()  # which nobody may be waiting for
            raise
        future.set_result(done)
        while len(self._results) > _REMEMBERED:
            self._results.popitem(last=False)
        return done


class Upload:
    """The body of a request, for a thread to take."""

    def __init__(self, stream: AsyncIterator[bytes], most: int, idle_seconds: float) -> None:
        """Prepare to take at most ``most`` bytes, waiting at most ``idle_seconds`` for some."""
        self._stream = stream
        self._most = most
        self._idle_seconds = idle_seconds
        self._left = most
        self._first = b""

    async def begin(self, *, may_be_empty: bool) -> None:
        """Wait for the first piece; 400 where there is none and should be one."""
        self._first = await self._next()
        if not self._first and not may_be_empty:
            raise HttpError(400, "the body is empty: an object has at least one byte")

    def pieces(self) -> Iterator[bytes]:
        """Yield the pieces; in a thread of ``TransferThreads``."""
        from anyio import from_thread

        piece = self._first
        while piece:
            yield piece
            piece = from_thread.run(self._next)

    async def _next(self) -> bytes:
        from starlette.requests import ClientDisconnect

        gathered: list[bytes] = []
        size = 0
        try:
            while size < _PIECE:
                async with asyncio.timeout(self._idle_seconds):
                    chunk = await anext(self._stream, None)
                if chunk is None:
                    break
                gathered.append(chunk)
                size += len(chunk)
        except TimeoutError:
            raise HttpError(408, f"no byte of the body came for {self._idle_seconds:g} seconds") from None
        except ClientDisconnect:
            raise HttpError(400, "the body ended early") from None
        self._left -= size
        if self._left < 0:
            raise HttpError(413, f"an object may have at most {self._most >> 20} MiB here")
        return b"".join(gathered)


class Download(Response):
    """An answer whose body a thread reads from a store."""

    def __init__(
        self,
        pieces: Iterator[bytes],
        threads: TransferThreads,
        status: int,
        headers: dict[str, str],
        idle_seconds: float,
    ) -> None:
        """Answer with ``pieces``; a reader that takes nothing for ``idle_seconds`` is left."""
        self.status_code = status
        self.background = None
        self.body = b""
        self.init_headers(headers)
        self._pieces, self._threads, self._idle_seconds = pieces, threads, idle_seconds

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Send the answer. What fails on the way breaks the connection off: the length tells that it is no whole."""
        from anyio import create_task_group

        broken: Exception | None = None
        try:
            # So that a store that fails at once is told as such.
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
