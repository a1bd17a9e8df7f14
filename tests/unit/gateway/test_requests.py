"""Objects, conditions and ranges as requests give them."""

import asyncio
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from flts.errors import BadInputError
from flts.gateway.requests import (
    ObjectRef,
    PathGuard,
    byte_range,
    check_read_conditions,
    etag_header,
    etags,
    object_ref,
    write_conditions,
)
from flts.store import ObjectInfo
from flts.web.errors import HttpError

INFO = ObjectInfo("key", 100, "abc")


def request(**headers: str) -> Request:
    """A request with these headers, ``if_match`` for ``If-Match``."""
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": raw})


def test_an_object_is_a_bucket_and_a_key() -> None:
    assert object_ref("dataset", "a/b.csv") == ObjectRef("dataset", "a/b.csv")


@pytest.mark.parametrize(("bucket", "key"), [("A", "x"), ("dataset", "../x"), ("dataset", ""), ("dataset", "a\\b")])
def test_an_invalid_bucket_or_key_is_bad_input(bucket: str, key: str) -> None:
    with pytest.raises(BadInputError):
        object_ref(bucket, key)


@pytest.mark.parametrize(
    ("header", "tags"),
    [
        ('"a"', ["a"]),
        ('"a", "b"', ["a", "b"]),
        ('W/"a"', ["a"]),
        ("*", ["*"]),
        ("a", ["a"]),
        ("", []),
        (" , ", []),
    ],
)
def test_etags_of_a_condition(header: str, tags: list[str]) -> None:
    assert etags(header) == tags


def test_an_etag_is_quoted_in_headers() -> None:
    assert etag_header(INFO) == '"abc"'


@pytest.mark.parametrize(
    ("headers", "conditions"),
    [
        ({}, (None, False)),
        ({"if_none_match": "*"}, (None, True)),
        ({"if_none_match": " * "}, (None, True)),
        ({"if_match": '"abc"'}, ("abc", False)),
        ({"if_match": "abc"}, ("abc", False)),
    ],
)
def test_conditions_of_a_write(headers: dict[str, str], conditions: tuple[str | None, bool]) -> None:
    assert write_conditions(request(**headers)) == conditions


@pytest.mark.parametrize(
    "headers",
    [
        {"if_none_match": '"abc"'},
        {"if_none_match": ""},
        {"if_match": "*"},
        {"if_match": ""},
        {"if_match": '"a", "b"'},
        {"if_match": '"abc"', "if_none_match": "*"},
    ],
)
def test_conditions_that_no_store_can_check_are_400(headers: dict[str, str]) -> None:
    with pytest.raises(HttpError) as error:
        write_conditions(request(**headers))
    assert error.value.status == 400


@pytest.mark.parametrize(
    ("headers", "has_it"),
    [
        ({}, False),
        ({"if_none_match": '"abc"'}, True),
        ({"if_none_match": 'W/"abc"'}, True),
        ({"if_none_match": '"x", "abc"'}, True),
        ({"if_none_match": "*"}, True),
        ({"if_none_match": '"x"'}, False),
        ({"if_match": '"abc"'}, False),
        ({"if_match": "*", "if_none_match": '"abc"'}, True),
    ],
)
def test_a_reader_that_has_the_version_needs_no_bytes(headers: dict[str, str], has_it: bool) -> None:
    assert check_read_conditions(request(**headers), INFO) is has_it


def test_a_reader_that_requires_another_version_gets_412() -> None:
    with pytest.raises(HttpError) as error:
        check_read_conditions(request(if_match='"x"', if_none_match='"abc"'), INFO)
    assert error.value.status == 412


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", range(1)),
        ("bytes=0-", range(100)),
        ("bytes=10-19", range(10, 20)),
        ("bytes=90-1000", range(90, 100)),
        ("bytes=-10", range(90, 100)),
        ("bytes=-1000", range(100)),
        ("bytes = 1 - 2", range(1, 3)),
        # Not a single range of bytes: the whole object, as RFC 9110 allows.
        ("", None),
        ("bytes=-", None),
        ("bytes=0-1,5-6", None),
        ("bytes=9-3", None),
        ("lines=1-2", None),
        ("bytes=a-b", None),
        ("bytes=0-9999999999999999999", None),
    ],
)
def test_ranges(header: str, expected: range | None) -> None:
    assert byte_range(request(range=header), INFO) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=200-300", "bytes=-0"])
def test_a_range_outside_of_the_object_is_416_with_its_size(header: str) -> None:
    with pytest.raises(HttpError) as error:
        byte_range(request(range=header), INFO)
    assert error.value.status == 416
    assert error.value.headers == {"Content-Range": "bytes */100"}


@pytest.mark.parametrize(("condition", "expected"), [('"abc"', range(5)), ('"x"', None), ('W/"abc"', None)])
def test_a_range_of_another_version_is_the_whole_object(condition: str, expected: range | None) -> None:
    assert byte_range(request(range="bytes=0-4", if_range=condition), INFO) == expected


def status_of(path: bytes) -> int:
    """The status with which a guarded application answers a path; 200 where it is passed on."""
    messages: list[Any] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        messages.append(message)

    scope = {"type": "http", "method": "GET", "raw_path": path, "headers": [], "path": path.decode(errors="replace")}
    asyncio.run(PathGuard(app)(scope, receive, send))
    status: int = messages[0]["status"]
    return status


@pytest.mark.parametrize("path", [b"/download/b/k", b"/download/b/%C3%BC.csv", b"/download/b/a%20b", b"/download/b/.."])
def test_plain_paths_are_passed_on(path: bytes) -> None:
    assert status_of(path) == 200


@pytest.mark.parametrize(
    "path",
    [
        b"/download/b/a%2fb",
        b"/download/b/a%2Fb",
        b"/a%5cb",
        b"/a%00",
        b"/a%1F",
        b"/a%7f",
        b"/a\x00b",
        b"/a%FF",
        b"/%0d",
    ],
)
def test_paths_that_a_proxy_may_read_otherwise_are_400(path: bytes) -> None:
    assert status_of(path) == 400
