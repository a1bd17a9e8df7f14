"""How a server ends without a request lost on a kept-alive connection.

A client may send on a connection in the moment in which the server closes it, and does not learn then whether its
request was read. So a server that ends closes no connection that is in use: from then on every answer says
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
    """What a server's connections know of it.

    Attributes:
        draining: Whether it ends.
        idle_seconds: How long it then waits for a connection's next request.
    """

    def __init__(self) -> None:
        super().__init__()
        self.draining = False
        self.idle_seconds = IDLE_SECONDS


class DrainingServer(uvicorn.Server):
    """Ends as this module says on SIGTERM; on Ctrl-C it waits for no connection's next request."""

    def __init__(self, config: uvicorn.Config) -> None:
        """Make a server whose protocol is a `DrainingProtocol`."""
        super().__init__(config)
        self.server_state: DrainingState = DrainingState()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Hear a signal."""
        if sig == signal.SIGINT:
            self.server_state.idle_seconds = 0
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, and wait for the end of those that are there."""
        self.server_state.draining = True
        await super().shutdown(sockets)


class DrainingProtocol(BoundedHeadProtocol):
    """A connection of a `DrainingServer`."""

    @property
    def _state(self) -> DrainingState:
        return cast(DrainingState, self.server_state)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; the server may have begun to end since the connection was accepted."""
        super().connection_made(transport)
        if self._state.draining:
            self.shutdown()

    def on_headers_complete(self) -> None:
        """Pass a request on; while the server ends, it is the connection's last."""
        super().on_headers_complete()
        if self._state.draining:
            self._close_after_answer()

    def shutdown(self) -> None:
        """Hear from the server that it ends."""
        self.timeout_keep_alive = self._state.idle_seconds
        if self.cycle is None or self.cycle.response_complete:
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        else:
            self._close_after_answer()

    def _close_after_answer(self) -> None:
        """Say so in the answer; where its head is sent already, one more request may come after it."""
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = False
