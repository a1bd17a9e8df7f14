"""Access control: bearer tokens, of which only the hashes are kept.

The tokens file is a list of entries, and is read again when it changes:

    [{"name": "trainer", "sha256": "<SHA-256 of the token>", "buckets": ["processed-data"], "access": "write"}]

``access`` is ``read`` or ``write``, which includes reading; ``buckets`` may be ``["*"]``.
"""

import hashlib
import hmac
import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from flts.diagnostics.system import reason
from flts.errors import BadInputError
from flts.observability.redaction import redact
from flts.web.errors import HttpError

Access = Literal["read", "write"]


class TokenEntry(BaseModel):
    """Entry of a token: its hash and its permissions."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=100)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    buckets: Annotated[list[str], Field(min_length=1)]
    access: Access


_ENTRIES = TypeAdapter(list[TokenEntry])


class AccessControl:
    """Check of requests by token and bucket."""

    def __init__(self, tokens_file: Path | None, buckets: frozenset[str]) -> None:
        """Read the tokens.

        Args:
            tokens_file: The file; without it every request is allowed.
            buckets: Buckets that are served; empty: all.

        Raises:
            BadInputError: The file cannot be read, or is not a list of tokens.
        """
        self._file = tokens_file
        self._buckets = buckets
        self._seen: tuple[int, int, int] | None = None
        self._entries: list[TokenEntry] = []
        if tokens_file:
            # The stamp comes first, so that a change between the two is noticed.
            self._seen, self._entries = _stamp(tokens_file), _read(tokens_file)

    def check(self, authorization: str, bucket: str, access: Access) -> str:
        """Check a request, and return the name of its token; empty when no tokens are needed.

        Raises:
            HttpError: 401 without a known token, 403 when the token does not allow the access.
        """
        name = ""
        if self._file:
            entry = self._entry(authorization)
            if not {bucket, "*"} & set(entry.buckets) or (access == "write" and entry.access == "read"):
                # The same text whether the bucket exists or not.
                raise HttpError(403, f"this token may not {access} in bucket {bucket!r}")
            name = entry.name
        if self._buckets and bucket not in self._buckets:
            raise HttpError(403, f"bucket {bucket!r} is not served here")
        return name

    def _entry(self, authorization: str) -> TokenEntry:
        self._refresh()
        scheme, _, token = authorization.partition(" ")
        digest = hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).hexdigest()
        found = None
        for entry in self._entries:  # all entries, so that the time tells nothing about the token
            if hmac.compare_digest(entry.sha256, digest):
                found = entry
        if found is None or scheme.lower() != "bearer":
            sentence = "a bearer token is needed: Authorization: Bearer .." if not token else "this token is not known"
            raise HttpError(401, sentence, {"WWW-Authenticate": "Bearer"})
        return found

    def _refresh(self) -> None:
        """Read the file again if it changed; a damaged file leaves the tokens as they were, and is logged."""
        assert self._file is not None  # noqa: S101 - there are tokens only with a file
        stamp = _stamp(self._file)
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._entries = _read(self._file)
        except BadInputError as error:
            print(redact(f"flts-gateway: {error}; the previous tokens stay valid"), file=sys.stderr, flush=True)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _read(path: Path) -> list[TokenEntry]:
    try:
        return _ENTRIES.validate_json(path.read_bytes())
    except OSError as error:
        raise BadInputError(f"cannot read the tokens file {path}: {reason(error)}") from None
    except ValidationError as error:
        # Without the values: a token may stand where its hash belongs.
        raise BadInputError(f"the tokens file {path} is not a list of tokens: {_first_problem(error)}") from None


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place or 'its content'} is not as described in docs/gateway.md"
