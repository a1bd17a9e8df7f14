"""Rules for bucket names and keys that every store accepts, so that data can move between stores."""

import re

from flts.errors import BadInputError

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_MAX_KEY_BYTES = 1024


def check_bucket(bucket: str) -> None:
    """Raise ``BadInputError`` unless the name follows S3's rules for buckets."""
    if not _BUCKET.fullmatch(bucket) or ".." in bucket:
        raise BadInputError(f"bucket {bucket!r} is not 3 to 63 lower-case letters, digits, dots and hyphens")


def check_key(key: str) -> None:
    """Raise ``BadInputError`` unless the key is a relative path without empty, ``.`` or ``..`` parts."""
    if any(part in ("", ".", "..") for part in key.split("/")):
        raise BadInputError(f"object key {key!r} has an empty, '.' or '..' part")
    if re.search(r"[\x00-\x1f\x7f\\]", key):
        raise BadInputError(f"object key {key!r} has a control character or a backslash")
    if len(key.encode()) > _MAX_KEY_BYTES:
        raise BadInputError(f"object key {key[:40]!r}... is longer than {_MAX_KEY_BYTES} bytes")
