"""The object store that a gateway serves: plain HTTP, without credentials of the store itself."""

import os
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar
from urllib.parse import quote, urlsplit
from uuid import uuid4

from flts.boundary.environment import seconds
from flts.boundary.retries import RetryPolicy
from flts.diagnostics.services import is_permanent, outage_reason
from flts.diagnostics.system import reason
from flts.diagnostics.terminal import printable
from flts.errors import (
    BadInputError,
    FltsError,
    ObjectNotFoundError,
    PreconditionFailedError,
    RefusedError,
    ServiceUnavailableError,
)
from flts.observability import request_ids
from flts.store.atomic_download import atomic_file
from flts.store.base import ObjectInfo, list_by_key
from flts.store.keys import check_bucket, check_key

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

TOKEN_VARIABLE = "FLTS_GATEWAY_TOKEN"  # noqa: S105 - a name
TIMEOUT_VARIABLE = "FLTS_GATEWAY_TIMEOUT"
_TIMEOUT_SECONDS = 60.0
_LONGEST_TIMEOUT = 3600.0
_CONNECT_SECONDS = 5.0
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_CHUNK = 1 << 20


class GatewayStore:
    """The ``ObjectStore`` that a gateway serves; threads may share it."""

    def __init__(self, url: str, retry_policy: RetryPolicy) -> None:
        """Read the settings; the first call connects.

        Raises:
            BadInputError: The address, the token or the timeout is invalid.
        """
        parts = urlsplit(url)
        if not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
            raise BadInputError(
                f"gateway_url {_without_password(url)!r} is not the address of a gateway: http(s)://host:port"
            )
        self._url = url.rstrip("/")
        token = os.environ.get(TOKEN_VARIABLE, "")
        if token and not (token.isascii() and token.isprintable() and " " not in token):
            raise BadInputError(f"environment variable {TOKEN_VARIABLE} must be a token: printable ASCII, no spaces")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout = seconds(TIMEOUT_VARIABLE, default=_TIMEOUT_SECONDS, maximum=_LONGEST_TIMEOUT)
        self._retry_policy = retry_policy
        self._opening = Lock()

    def get(self, bucket: str, key: str) -> tuple[bytes, ObjectInfo]:
        """Read a small object with its info."""
        response = self._call(f"read {bucket}/{key}", "GET", self._address("download", bucket, key))
        return response.content, ObjectInfo(key, len(response.content), _etag(response))

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """Describe an object, or ``None`` when there is none."""
        try:
            response = self._call(f"look at {bucket}/{key}", "HEAD", self._address("download", bucket, key))
        except ObjectNotFoundError:
            return None
        return ObjectInfo(key, int(response.headers["content-length"]), _etag(response))

    def put(
        self, bucket: str, key: str, data: bytes, *, if_match: str | None = None, if_none_match: bool = False
    ) -> ObjectInfo:
        """Write a small object, creating the bucket if it is missing."""
        return self._write(bucket, key, lambda: data, len(data), if_match, if_none_match)

    def upload(self, bucket: str, key: str, path: Path, *, if_none_match: bool = False) -> ObjectInfo:
        """Write an object of any size from a file, with bounded memory."""
        self._address("upload", bucket, key)
        try:
            source = path.open("rb")
        except OSError as error:
            raise BadInputError(f"cannot read {path}: {reason(error)}") from None
        with source:
            return self._send_file(bucket, key, source, None, if_none_match)

    def download(self, bucket: str, key: str, path: Path, *, sha256: str | None = None) -> ObjectInfo:
        """Read an object of any size into a file, whole or not at all."""
        address, name = self._address("download", bucket, key), f"{bucket}/{key}"

        def fetch() -> ObjectInfo:
            with self._response(f"read {name}", "GET", address) as response:
                with atomic_file(name, path, sha256) as sink:
                    for chunk in response.iter_bytes(_CHUNK):
                        sink.write(chunk)
                return ObjectInfo(key, int(response.headers["content-length"]), _etag(response))

        return self._retry(f"read {name}", fetch)

    def read(
        self, bucket: str, key: str, *, start: int = 0, stop: int | None = None
    ) -> tuple[ObjectInfo, Iterator[bytes]]:
        """Read bytes of an object of any size in pieces."""
        address = self._address("download", bucket, key)
        info = self.head(bucket, key)
        if info is None:
            raise ObjectNotFoundError(f"there is no object {bucket}/{key}")
        end = info.size if stop is None else min(stop, info.size)

        def pieces() -> Iterator[bytes]:
            for begin in range(start, end, _CHUNK):
                headers = {"Range": f"bytes={begin}-{min(begin + _CHUNK, end) - 1}", "If-Match": f'"{info.etag}"'}
                try:
                    yield self._call(f"read {bucket}/{key}", "GET", address, headers=headers).content
                except PreconditionFailedError:
                    raise ServiceUnavailableError(f"{bucket}/{key} changed while it was read") from None

        return info, pieces()

    def write(
        self,
        bucket: str,
        key: str,
        pieces: Iterable[bytes],
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
    ) -> ObjectInfo:
        """Write an object from pieces, with bounded memory: spooled to disk, so that it can be sent again."""
        self._address("upload", bucket, key)
        with tempfile.TemporaryFile() as spool:
            for piece in pieces:
                spool.write(piece)
            return self._send_file(bucket, key, spool, if_match, if_none_match)

    def copy(self, bucket: str, source: str, target: str) -> ObjectInfo:
        """Copy an object within a bucket, replacing the target."""
        check_key(source)
        address = self._address("copy", bucket, target)
        response = self._call(f"copy {bucket}/{source} to {target}", "POST", address, params={"source": source})
        return ObjectInfo(target, response.json()["size_bytes"], _etag(response))

    def page(
        self, bucket: str, prefix: str = "", *, after: str = "", limit: int = 1000
    ) -> tuple[Sequence[ObjectInfo], str]:
        """List a page of the objects whose key begins with ``prefix``, in the order of the gateway's store."""
        check_bucket(bucket)
        options: dict[str, str | int] = {"prefix": prefix, "after": after, "limit": limit}
        page = self._call(f"list {bucket}/{prefix}", "GET", f"{self._url}/objects/{bucket}", params=options).json()
        found = [ObjectInfo(item["object"], item["size_bytes"], item["etag"]) for item in page["objects"]]
        return found, page["next"] or ""

    def list(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        """List objects whose key begins with ``prefix``, in key order; nothing for a missing bucket."""
        return list_by_key(self, bucket, prefix)

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object; no error when there is none."""
        self._call(f"delete {bucket}/{key}", "DELETE", self._address("objects", bucket, key))

    def _address(self, what: str, bucket: str, key: str) -> str:
        check_bucket(bucket)
        check_key(key)
        return f"{self._url}/{what}/{bucket}/{quote(key, safe='/')}"

    def _send_file(
        self, bucket: str, key: str, source: BinaryIO, if_match: str | None, if_none_match: bool
    ) -> ObjectInfo:
        size = source.seek(0, os.SEEK_END)

        def content() -> Iterator[bytes]:
            source.seek(0)
            while chunk := source.read(_CHUNK):
                yield chunk

        return self._write(bucket, key, content, size, if_match, if_none_match)

    def _write(
        self,
        bucket: str,
        key: str,
        content: Callable[[], bytes | Iterator[bytes]],
        size: int,
        if_match: str | None,
        if_none_match: bool,
    ) -> ObjectInfo:
        headers = {
            "Content-Length": str(size),
            "Content-Type": "application/octet-stream",
            # The same for every attempt: the gateway recognizes a write whose response was lost.
            "Idempotency-Key": uuid4().hex,
        }
        if if_match is not None:
            headers["If-Match"] = f'"{if_match}"'
        if if_none_match:
            headers["If-None-Match"] = "*"
        response = self._call(
            f"write {bucket}/{key}",
            "POST",
            self._address("upload", bucket, key),
            headers=headers,
            params={} if size else {"empty": "true"},
            content=content,
        )
        return ObjectInfo(key, size, _etag(response))

    def _call(self, action: str, method: str, address: str, **options: Any) -> "httpx.Response":
        """Send a request, repeated while the gateway fails; ``content`` creates the body of each attempt."""

        def send() -> "httpx.Response":
            with self._response(action, method, address, **options) as response:
                response.read()
                return response

        return self._retry(action, send)

    def _retry(self, action: str, send: Callable[[], T]) -> T:
        import httpx

        def reason(error: Exception) -> str:
            if isinstance(error, _TransientError):
                return str(error)
            return outage_reason("timed out" if isinstance(error, httpx.TimeoutException) else str(error))

        def outage(error: Exception) -> str:
            transient = isinstance(error, httpx.TransportError | _TransientError) and not is_permanent(str(error))
            return f"the gateway {self._url} cannot be reached: {reason(error)}" if transient else ""

        try:
            return self._retry_policy.call(send, outage)
        except (_TransientError, httpx.TransportError) as error:
            kind = ServiceUnavailableError if outage(error) else RefusedError
            raise kind(f"cannot {action} at {self._url}: {reason(error)}") from None

    @contextmanager
    def _response(
        self,
        action: str,
        method: str,
        address: str,
        *,
        content: Callable[[], bytes | Iterator[bytes]] | None = None,
        **options: Any,
    ) -> Iterator["httpx.Response"]:
        """Send a request once, and yield the response before its body is read; a store's errors, or a transient one."""
        body = content() if content else None
        headers = {**request_ids.headers(), **options.pop("headers", {})}
        with self._client.stream(method, address, content=body, headers=headers, **options) as response:
            if not response.is_success:
                response.read()
                raise self._error(action, response)
            yield response

    def _error(self, action: str, response: "httpx.Response") -> Exception:
        detail = _detail(response)
        if response.status_code in _TRANSIENT:
            return _TransientError(detail or f"it answers with HTTP status {response.status_code}")
        errors: Mapping[int, type[FltsError]] = {404: ObjectNotFoundError, 412: PreconditionFailedError}
        if response.status_code in (401, 403):
            return RefusedError(f"the gateway {self._url} did not {action}: {detail}; {TOKEN_VARIABLE} holds the token")
        kind = errors.get(response.status_code, BadInputError)
        return kind(f"the gateway {self._url} did not {action}: {detail or f'HTTP status {response.status_code}'}")

    @property
    def _client(self) -> "httpx.Client":
        with self._opening:
            return self._opened

    @cached_property
    def _opened(self) -> "httpx.Client":
        try:
            import httpx
            import stamina  # noqa: F401 - to report a missing package here
        except ModuleNotFoundError as error:
            raise BadInputError(
                f"a gateway_url that begins with http needs the package {error.name}: install flts[http]"
            ) from None
        client = httpx.Client(
            headers=self._headers,
            timeout=httpx.Timeout(self._timeout, connect=min(_CONNECT_SECONDS, self._timeout)),
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=32),
        )
        weakref.finalize(self, client.close)
        return client


class _TransientError(Exception):
    """A response after which a repeated request may succeed."""


def _etag(response: "httpx.Response") -> str:
    return str(response.headers.get("etag", "")).strip('"')


def _detail(response: "httpx.Response") -> str:
    try:
        return printable(str(response.json()["detail"]))[:300]
    except (ValueError, KeyError, TypeError):
        return ""


def _without_password(url: str) -> str:
    """Return an address without its user and password."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"[:200]
