"""HTTP/1.1 of uvicorn and httptools, with the limit on the size of a request's head that they lack."""

import json

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

LONGEST_HEAD = 64 << 10


class BoundedHeadProtocol(HttpToolsProtocol):
    """Answers 431 to a head of more than ``LONGEST_HEAD`` bytes, before all of it is in memory."""

    _in_head = True
    _received = 0
    _too_long = False

    def on_message_begin(self) -> None:
        """Start counting the bytes of a head."""
        super().on_message_begin()
        self._in_head, self._received = True, 0

    def on_headers_complete(self) -> None:
        """Pass the request on if its head is short enough."""
        self._in_head = False
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > LONGEST_HEAD:
            self._too_long = True
            raise httptools.HttpParserError
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Receive bytes from the connection."""
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._received += len(data)
            if self._received > LONGEST_HEAD:
                self._too_long = True
                self.send_400_response("")

    def send_400_response(self, _msg: str) -> None:
        """Answer with a sentence, as all error answers do, and close the connection."""
        status, sentence = 400, "this is no HTTP request"
        if self._too_long:
            status, sentence = 431, f"address and headers must have at most {LONGEST_HEAD >> 10} KiB together"
        body = json.dumps({"detail": sentence}).encode()
        fields = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[status] + fields.encode() + body)
        self.transport.close()
