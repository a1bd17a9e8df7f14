"""Shutdown of a server without losing a request on a kept-alive connection.

A client may send a request at the moment in which the server closes the connection, and cannot tell then whether the
request was read. So a server that shuts down closes no connection in use: from then on every answer says
``Connection: close``, and a connection without a request waits some seconds for one.
"""

import asyncio
import signal
import socket
from types import FrameType
from typing import cast

import uvicorn
from uvicorn.server import ServerState

from flts.web.protocol import BoundedHeadProtocol

IDLE_SECONDS = 5


class DrainingState(ServerState):
    """State of a server that its connections share.

    Attributes:
        draining: Whether it is shutting down.
        idle_seconds: Time that it then waits for the next request of a connection.
    """

    def __init__(self) -> None:
        super().__init__()
        self.draining = False
        self.idle_seconds = IDLE_SECONDS


class DrainingServer(uvicorn.Server):
    """A server that drains its connections on SIGTERM; on Ctrl-C it does not wait for their next requests."""

    def __init__(self, config: uvicorn.Config) -> None:
        """Make a server whose protocol is a `DrainingProtocol`."""
        super().__init__(config)
        self.server_state: DrainingState = DrainingState()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if sig == signal.SIGINT:
            self.server_state.idle_seconds = 0
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more connections, and wait until the open ones have ended."""
        self.server_state.draining = True
        await super().shutdown(sockets)


class DrainingProtocol(BoundedHeadProtocol):
    """A connection of a `DrainingServer`."""

    @property
    def _state(self) -> DrainingState:
        return cast(DrainingState, self.server_state)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; the server may have started to shut down since the connection was accepted."""
        super().connection_made(transport)
        if self._state.draining:
            self.shutdown()

    def on_headers_complete(self) -> None:
        """Pass a request on; while the server shuts down, it is the last of its connection."""
        super().on_headers_complete()
        if self._state.draining:
            self._close_after_answer()

    def shutdown(self) -> None:
        """Drain the connection: the server is shutting down."""
        self.timeout_keep_alive = self._state.idle_seconds
        if self.cycle is None or self.cycle.response_complete:
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        else:
            self._close_after_answer()

    def _close_after_answer(self) -> None:
        """Announce it in the answer; if the head has been sent already, one more request may follow."""
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = False
