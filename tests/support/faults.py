"""An HTTP proxy that spoils some of the requests: for tests of what happens when S3 or MLflow fail.

    with faults.proxy(s3.endpoint, faults.at_random(0.2, seed=1)) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        ...
    assert proxy.seen["hang"] > 0

Kinds of faults:

- ``500``, ``503``: that answer; the server hears nothing.
- ``reset``: the connection is reset before the server hears anything.
- ``lost``: the server does what it was asked for, but its answer is lost in a reset: what a client cannot tell from
  ``reset``.
- ``hang``: no answer until the client gives up.
- ``truncate``: the first half of the answer's body, then the connection ends; an answer without a body is ``lost``.
"""

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from threading import Thread
from typing import Literal, get_args
from urllib.parse import urlsplit

Fault = Literal["500", "503", "reset", "lost", "hang", "truncate"]
Plan = Callable[[str, str], Fault | bytes | None]
"""Decides the fault of a request from its method and its path with the query; bytes are an answer in full."""

KINDS: tuple[Fault, ...] = get_args(Fault)
_CHUNK = 1 << 16


def at_random(rate: float, *, seed: int, kinds: tuple[Fault, ...] = KINDS) -> Plan:
    """Spoil a share of all requests, in the same way for the same seed and order of requests."""
    random = Random(seed)  # noqa: S311

    def plan(method: str, path: str) -> Fault | None:
        return random.choice(kinds) if random.random() < rate else None

    return plan


def in_turn(*turns: Fault | None, method: str = "", path: str = "") -> Plan:
    """Spoil the first requests of a method whose path holds a text, one fault each; then no more."""
    left = list(turns)

    def plan(asked: str, where: str) -> Fault | None:
        return left.pop(0) if left and asked.startswith(method) and path in where else None

    return plan


@dataclass(frozen=True)
class Request:
    """A request as it came over the wire: path with the query, names of headers in lower case."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Proxy:
    """A running proxy: its address, how many requests met which fault, or ``"none"``, and all of them."""

    url: str
    seen: Counter[str] = field(default_factory=Counter)
    requests: list[Request] = field(default_factory=list)

    def asked(self, method: str, path: str = "") -> list[Request]:
        """Return the requests of a method whose path and query hold a text."""
        return [request for request in self.requests if request.method == method and path in request.path]


@contextmanager
def proxy(target: str, plan: Plan, port: int = 0) -> Iterator[Proxy]:
    """Run a proxy in front of ``http://host:port`` in a thread, on a port of its own where none is named."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    try:
        server = _Server(target, plan)
        yield asyncio.run_coroutine_threadsafe(server.start(port), loop).result()
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@dataclass(frozen=True)
class _Head:
    """The first line and the headers of a message."""

    first: str
    fields: dict[str, str]
    raw: bytes

    @classmethod
    async def read(cls, reader: asyncio.StreamReader) -> "_Head":
        raw = await reader.readuntil(b"\r\n\r\n")
        first, *lines = raw.decode("latin-1").rstrip().split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return cls(first, {name.lower(): value.strip() for name, _, value in pairs}, raw)

    @property
    def length(self) -> int:
        return int(self.fields.get("content-length", 0))

    @property
    def chunked(self) -> bool:
        return self.fields.get("transfer-encoding", "").lower() == "chunked"


class _Server:
    def __init__(self, target: str, plan: Plan) -> None:
        address = urlsplit(target)
        assert address.hostname
        assert address.port
        self._target = (address.hostname, address.port)
        self._plan = plan
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, port: int) -> Proxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port, limit=1 << 20)
        port = self._server.sockets[0].getsockname()[1]
        self._proxy = Proxy(f"http://127.0.0.1:{port}")
        return self._proxy

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._converse(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve the requests of one connection, over one connection to the server."""
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            while True:
                head = await _Head.read(reader)
                method, path, _ = head.first.split(" ", 2)
                fault = self._plan(method, path)
                self._proxy.seen["answered" if isinstance(fault, bytes) else fault or "none"] += 1
                self._proxy.requests.append(Request(method, path, head.fields))
                if "expect" in head.fields:
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                if isinstance(fault, bytes):
                    await _copy_body(head, reader, None)
                    writer.write(fault if method != "HEAD" else fault.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
                    await writer.drain()
                    continue
                if fault == "hang":
                    while await reader.read(_CHUNK):
                        pass
                    return
                if fault == "reset":
                    _reset(writer)
                    return
                if fault in ("500", "503"):
                    await _copy_body(head, reader, None)
                    reason = "Internal Server Error" if fault == "500" else "Service Unavailable"
                    writer.write(f"HTTP/1.1 {fault} {reason}\r\nContent-Length: 0\r\n\r\n".encode())
                    await writer.drain()
                    continue
                server = server or await asyncio.open_connection(*self._target, limit=1 << 20)
                if not await _exchange(head, method, fault, (reader, writer), server):
                    return
        finally:
            if server:
                server[1].transport.abort()


async def _exchange(
    head: _Head,
    method: str,
    fault: Fault | None,
    client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
) -> bool:
    """Pass on one request and its answer; returns whether both connections can go on."""
    lines = head.raw.split(b"\r\n")
    server[1].write(b"\r\n".join(line for line in lines if not line.lower().startswith(b"expect:")))
    await _copy_body(head, client[0], server[1])
    answer = await _Head.read(server[0])
    bodiless = method == "HEAD" or answer.first.split(" ")[1] in ("204", "304")
    if fault == "lost" or (fault == "truncate" and (bodiless or not (answer.length or answer.chunked))):
        _reset(client[1])
        return False
    client[1].write(answer.raw)
    if fault == "truncate":
        if answer.chunked:
            size = await server[0].readline()
            client[1].write(size)
            client[1].write(await server[0].readexactly(int(size.split(b";")[0], 16) // 2))
        else:
            await _copy(answer.length // 2, server[0], client[1])
        await client[1].drain()
        client[1].close()  # what was written still arrives
        await client[1].wait_closed()
        return False
    if not bodiless:
        await _copy_body(answer, server[0], client[1])
    await client[1].drain()
    return answer.fields.get("connection", "").lower() != "close"


async def _copy_body(head: _Head, source: asyncio.StreamReader, sink: asyncio.StreamWriter | None) -> None:
    """Copy a body as it comes, or read it only."""
    if head.chunked:
        while True:
            size = await source.readline()
            data = await source.readexactly(int(size.split(b";")[0], 16) + 2)
            await _write(sink, size + data)
            if int(size.split(b";")[0], 16) == 0:
                return
    await _copy(head.length, source, sink)


async def _copy(length: int, source: asyncio.StreamReader, sink: asyncio.StreamWriter | None) -> None:
    while length:
        data = await source.read(min(length, _CHUNK))
        if not data:
            raise asyncio.IncompleteReadError(data, length)
        length -= len(data)
        await _write(sink, data)


async def _write(sink: asyncio.StreamWriter | None, data: bytes) -> None:
    if sink is not None:
        sink.write(data)
        await sink.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with RST, as a machine does that lost it."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
