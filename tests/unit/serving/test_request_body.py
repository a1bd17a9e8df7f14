"""Reading of requests: the limit of a body, the query parameter, and clients that disconnect."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from starlette.requests import Request

from flts.errors import BadInputError
from flts.serving.protocols.request_body import cancel_on_disconnect, query_steps, read_body
from flts.web.errors import HttpError

MIB = 1 << 20
DISCONNECT = {"type": "http.disconnect"}


def piece(content: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": content, "more_body": more}


def request(
    *messages: dict[str, Any], headers: Sequence[tuple[bytes, bytes]] = (), query: bytes = b""
) -> tuple[Request, list[dict[str, Any]]]:
    """Return a request that receives these messages, and the messages that it has not read yet."""
    left = list(messages)

    async def receive() -> dict[str, Any]:
        if left:
            return left.pop(0)
        await asyncio.Event().wait()  # the client stays connected and sends no more
        raise AssertionError

    scope = {"type": "http", "method": "POST", "headers": list(headers), "query_string": query}
    return Request(scope, receive), left


def test_a_body_is_joined_from_its_pieces():
    incoming, _ = request(piece(b"a" * MIB, more=True), piece(b"", more=True), piece(b"bc"))
    assert asyncio.run(read_body(incoming, 2)) == b"a" * MIB + b"bc"


def test_a_body_of_exactly_the_limit_is_taken():
    incoming, _ = request(piece(bytes(MIB)), headers=[(b"content-length", str(MIB).encode())])
    assert len(asyncio.run(read_body(incoming, 1))) == MIB


def test_a_body_announced_as_too_large_is_refused_before_it_is_read():
    incoming, left = request(piece(b"x"), headers=[(b"content-length", str(MIB + 1).encode())])
    with pytest.raises(HttpError, match=r"^the request body may be at most 1 MiB$") as refused:
        asyncio.run(read_body(incoming, 1))
    assert refused.value.status == 413
    assert left == [piece(b"x")]


def test_a_body_that_grows_past_the_limit_is_refused_at_once():
    incoming, left = request(piece(bytes(MIB), more=True), piece(b"x", more=True), piece(b"never read"))
    with pytest.raises(HttpError) as refused:
        asyncio.run(read_body(incoming, 1))
    assert refused.value.status == 413
    assert left == [piece(b"never read")]


@pytest.mark.parametrize("length", [b"many", b"-5", b"1_000"])
def test_a_content_length_that_is_no_number_is_ignored(length: bytes):
    incoming, _ = request(piece(b"{}"), headers=[(b"content-length", length)])
    assert asyncio.run(read_body(incoming, 1)) == b"{}"


def test_a_client_that_disconnects_in_its_body_gets_400():
    incoming, _ = request(piece(b"{", more=True), DISCONNECT)
    with pytest.raises(HttpError, match=r"^the request body ended early$") as refused:
        asyncio.run(read_body(incoming, 1))
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("query", "steps"),
    [(b"", None), (b"other=1", None), (b"inference_length=3", 3), (b"inference_length=-3", -3)],
)
def test_the_query_parameter_is_a_whole_number_or_absent(query: bytes, steps: int | None):
    assert query_steps(request(query=query)[0]) == steps


@pytest.mark.parametrize(
    "text", ["", "3.0", "1e3", "ten", "+3", "%D9%A3", "12345678901"], ids=lambda text: text or "empty"
)
def test_another_query_parameter_is_named_in_the_sentence(text: str):
    with pytest.raises(BadInputError, match=r"^inference_length must be a whole number, got "):
        query_steps(request(query=f"inference_length={text}".encode())[0])


def test_work_of_a_connected_client_gives_its_result():
    async def work() -> str:
        await asyncio.sleep(0)
        return "done"

    assert asyncio.run(cancel_on_disconnect(request()[0], work())) == "done"


def test_an_error_of_the_work_is_raised():
    async def work() -> None:
        raise BadInputError("of the work")

    with pytest.raises(BadInputError, match="of the work"):
        asyncio.run(cancel_on_disconnect(request()[0], work()))


def test_the_work_is_cancelled_when_the_client_disconnects():
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def scenario(check: Callable[[HttpError], None]) -> None:
        incoming, _ = request(DISCONNECT)
        with pytest.raises(HttpError) as gone:
            await cancel_on_disconnect(incoming, work())
        await asyncio.sleep(0)
        check(gone.value)
        assert incoming.scope["state"]["gone"]

    def check(error: HttpError) -> None:
        assert (error.status, ended) == (499, ["cancelled"])

    asyncio.run(scenario(check))
