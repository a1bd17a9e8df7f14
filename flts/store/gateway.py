"""The object store behind a gateway: plain HTTP, and no keys of the store itself."""

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
from flts.store.atomic_download import receiving
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
        """Connect at the first call.

        Raises:
            BadInputError: The address is none of a gateway, or the token or the timeout cannot be.
        """
        parts = urlsplit(url)
        if not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
            raise BadInputError(f"gateway_url {_shown(url)!r} is not the address of a gateway: http(s)://host:port")
        self._url = url.rstrip("/")
        token = os.environ.get(TOKEN_VARIABLE, "")
        if token and not (token.isascii() and token.isprintable() and " " not in token):
            raise BadInputError(f"environment variable {TOKEN_VARIABLE} must be a token: printable ASCII, no spaces")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout = seconds(TIMEOUT_VARIABLE, default=_TIMEOUT_SECONDS, maximum=_LONGEST_TIMEOUT)
        self._retry_policy = retry_policy
        self._opening = Lock()

    def get(self, bucket: str, key: str) -> tuple[bytes, ObjectInfo]:
        """Read a small object and its info in one step."""
        answer = self._call(f"read {bucket}/{key}", "GET", self._address("download", bucket, key))
        return answer.content, ObjectInfo(key, len(answer.content), _etag(answer))

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """Describe an object, or ``None`` when there is none."""
        try:
            answer = self._call(f"look at {bucket}/{key}", "HEAD", self._address("download", bucket, key))
        except ObjectNotFoundError:
            return None
        return ObjectInfo(key, int(answer.headers["content-length"]), _etag(answer))

    def put(
        self, bucket: str, key: str, data: bytes, *, if_match: str | None = None, if_none_match: bool = False
    ) -> ObjectInfo:
        """Write a small object, making the bucket when missing."""
        return self._write(bucket, key, lambda: data, len(data), if_match, if_none_match)

    def upload(self, bucket: str, key: str, path: Path, *, if_none_match: bool = False) -> ObjectInfo:
        """Write an object from a file of any size, with bounded memory."""
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
            with self._answering(f"read {name}", "GET", address) as answer:
                with receiving(name, path, sha256) as sink:
                    for chunk in answer.iter_bytes(_CHUNK):
                        sink.write(chunk)
                return ObjectInfo(key, int(answer.headers["content-length"]), _etag(answer))

        return self._persist(f"read {name}", fetch)

    def read(
        self, bucket: str, key: str, *, start: int = 0, stop: int | None = None
    ) -> tuple[ObjectInfo, Iterator[bytes]]:
        """Read bytes of an object of any size, piece by piece."""
        address = self._address("download", bucket, key)
        info = self.head(bucket, key)
        if info is None:
            raise ObjectNotFoundError(f"there is no object {bucket}/{key}")
        end = info.size if stop is None else min(stop, info.size)

        def pieces() -> Iterator[bytes]:
            for begin in range(start, end, _CHUNK):
                asked = {"Range": f"bytes={begin}-{min(begin + _CHUNK, end) - 1}", "If-Match": f'"{info.etag}"'}
                try:
                    yield self._call(f"read {bucket}/{key}", "GET", address, headers=asked).content
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
        """Write an object from pieces, with bounded memory: on disk first, so that it can be sent again."""
        self._address("upload", bucket, key)
        with tempfile.TemporaryFile() as kept:
            for piece in pieces:
                kept.write(piece)
            return self._send_file(bucket, key, kept, if_match, if_none_match)

    def copy(self, bucket: str, source: str, target: str) -> ObjectInfo:
        """Copy an object within a bucket, replacing the target."""
        check_key(source)
        address = self._address("copy", bucket, target)
        answer = self._call(f"copy {bucket}/{source} to {target}", "POST", address, params={"source": source})
        return ObjectInfo(target, answer.json()["size_bytes"], _etag(answer))

    def page(
        self, bucket: str, prefix: str = "", *, after: str = "", limit: int = 1000
    ) -> tuple[Sequence[ObjectInfo], str]:
        """List some of the objects whose key begins with ``prefix``, in the order of the store behind the gateway."""
        check_bucket(bucket)
        asked: dict[str, str | int] = {"prefix": prefix, "after": after, "limit": limit}
        page = self._call(f"list {bucket}/{prefix}", "GET", f"{self._url}/objects/{bucket}", params=asked).json()
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
            # The same for every attempt: the gateway knows a write whose answer was lost.
            "Idempotency-Key": uuid4().hex,
        }
        if if_match is not None:
            headers["If-Match"] = f'"{if_match}"'
        if if_none_match:
            headers["If-None-Match"] = "*"
        answer = self._call(
            f"write {bucket}/{key}",
            "POST",
            self._address("upload", bucket, key),
            headers=headers,
            params={} if size else {"empty": "true"},
            content=content,
        )
        return ObjectInfo(key, size, _etag(answer))

    def _call(self, doing: str, method: str, address: str, **asked: Any) -> "httpx.Response":
        """Ask several times while the gateway fails; ``content`` makes the body, anew for every attempt."""

        def ask() -> "httpx.Response":
            with self._answering(doing, method, address, **asked) as answer:
                answer.read()
                return answer

        return self._persist(doing, ask)

    def _persist(self, doing: str, ask: Callable[[], T]) -> T:
        import httpx

        def reason(error: Exception) -> str:
            if isinstance(error, _TransientError):
                return str(error)
            return outage_reason("timed out" if isinstance(error, httpx.TimeoutException) else str(error))

        def passing(error: Exception) -> str:
            passes = isinstance(error, httpx.TransportError | _TransientError) and not is_permanent(str(error))
            return f"the gateway {self._url} cannot be reached: {reason(error)}" if passes else ""

        try:
            return self._retry_policy.call(ask, passing)
        except (_TransientError, httpx.TransportError) as error:
            kind = ServiceUnavailableError if passing(error) else RefusedError
            raise kind(f"cannot {doing} at {self._url}: {reason(error)}") from None

    @contextmanager
    def _answering(
        self,
        doing: str,
        method: str,
        address: str,
        *,
        content: Callable[[], bytes | Iterator[bytes]] | None = None,
        **asked: Any,
    ) -> Iterator["httpx.Response"]:
        """Ask once, and give the answer before its body is read; errors as a store's, or one to try again after."""
        body = content() if content else None
        headers = {**request_ids.headers(), **asked.pop("headers", {})}
        with self._client.stream(method, address, content=body, headers=headers, **asked) as answer:
            if not answer.is_success:
                answer.read()
                raise self._refused(doing, answer)
            yield answer

    def _refused(self, doing: str, answer: "httpx.Response") -> Exception:
        said = _said(answer)
        if answer.status_code in _TRANSIENT:
            return _TransientError(said or f"it answers with HTTP status {answer.status_code}")
        errors: Mapping[int, type[FltsError]] = {404: ObjectNotFoundError, 412: PreconditionFailedError}
        if answer.status_code in (401, 403):
            return RefusedError(f"the gateway {self._url} did not {doing}: {said}; {TOKEN_VARIABLE} holds the token")
        kind = errors.get(answer.status_code, BadInputError)
        return kind(f"the gateway {self._url} did not {doing}: {said or f'HTTP status {answer.status_code}'}")

    @property
    def _client(self) -> "httpx.Client":
        with self._opening:
            return self._opened

    @cached_property
    def _opened(self) -> "httpx.Client":
        try:
            import httpx
            import stamina  # noqa: F401 - so that what is missing is said once, here
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
    """An answer after which asking again may help."""


def _etag(answer: "httpx.Response") -> str:
    return str(answer.headers.get("etag", "")).strip('"')


def _said(answer: "httpx.Response") -> str:
    try:
        return printable(str(answer.json()["detail"]))[:300]
    except (ValueError, KeyError, TypeError):
        return ""


def _shown(url: str) -> str:
    """Return an address without what may be a password."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"[:200]
