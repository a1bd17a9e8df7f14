"""Redaction: secrets are hidden in every text that leaves the process, such as log lines, error answers and tags.

Hidden are credentials in addresses and headers, values after a name such as ``password=``, private keys, AWS key ids,
and the values of environment variables whose names sound like secrets, with the content of the files that such
variables name. A value is found as it is, percent-encoded, and as JSON and Python write it.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote

HIDDEN = "***"
# Shorter values are left alone: the stars in every other word would tell them.
_SHORTEST = 4
# Shorter ones are hidden only where they stand by themselves, longer ones in the middle of a word as well.
_SHORTEST_IN_WORDS = 8
_LARGEST_FILE = 64 << 10

_SECRET_NAME = re.compile(
    r"SECRET|PASSWD|PASSWORD|PASSPHRASE|CREDENTIAL|JAAS|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY"
    r"|(^|_)(PASS|KEY|TOKENS?)(_FILE|_LOCATION|_PATH)?$|_PWD$"
)
_PATH_NAME = re.compile(r"_(FILE|LOCATION|PATH|DIR)$")
_ID_NAME = re.compile(r"_ID$")
_USUAL_FILES = ("~/.aws/credentials", "~/.mlflow/credentials")
_ASSIGNMENT = re.compile(r"\s*([\w.-]+)\s*[=:]\s*(.*)")
_URL_PASSWORD = re.compile(r"://[^/:@\s]*:([^/\s]+)@")

# A password with a slash in it counts as well, but no path after a port.
_USERINFO = re.compile(r"""(?<=://)(?:[^\s/@:]*:(?!\d{1,5}[/?#])[^\s"'<>]+|[^\s/?#]+)@""")
_NAMED_VALUE = re.compile(
    r"""((?:password|passwd|passphrase|secret|token|signature|credential|(?:api|access|account|private|secret)[_-]?key)
        s?(?:_id)?(?:=|["']\s*:\s*))("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s"',;&)}\]]+)""",
    re.IGNORECASE | re.VERBOSE,
)
_AUTHORIZATION = re.compile(
    r"""(authorization["']?\s*[:=,]\s*(?:b?["'])?(?:(?:basic|bearer|token|negotiate)\s+)?)[^\s"',]+""", re.IGNORECASE
)
_SCHEME = re.compile(r"\b(Basic|Bearer)\s+(?=\S*[0-9A-Z=])[\w+/=.~-]{8,}")
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_AWS_KEY_ID = re.compile(r"\bA[KS]IA[0-9A-Z]{16}\b")

# One of them is a part of each name in _NAMED_VALUE.
_NAMED_HINTS = ("passw", "passphrase", "secret", "token", "signature", "credential", "key")

# What os.environ wraps: to compare it takes a microsecond, to read every variable a hundred.
_environment: Mapping[bytes, bytes] = vars(os.environ)["_data"]


@dataclass(frozen=True)
class _Secrets:
    """The secrets of an environment, and the environment in which they were found."""

    environment: Mapping[bytes, bytes]
    anywhere: Sequence[str]
    words: Sequence[str]


_known = _Secrets({}, (), ())


def redact(text: str) -> str:
    """Return a text with ``***`` in the place of every secret."""
    known = _secrets()
    for secret in known.anywhere:
        if secret in text:
            text = text.replace(secret, HIDDEN)
    for secret in known.words:
        if secret in text:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", HIDDEN, text)
    # Most texts have nothing of the kind, and a search for a part of each pattern is faster than the pattern.
    if "://" in text and "@" in text:
        text = _USERINFO.sub(f"{HIDDEN}@", text)
    if ("=" in text or '":' in text or "':" in text) and any(map(text.lower().__contains__, _NAMED_HINTS)):
        text = _NAMED_VALUE.sub(rf"\1{HIDDEN}", text)
    if "uthorization" in text:
        text = _AUTHORIZATION.sub(rf"\1{HIDDEN}", text)
    if "Basic " in text or "Bearer " in text:
        text = _SCHEME.sub(rf"\1 {HIDDEN}", text)
    if "PRIVATE KEY" in text:
        text = _PRIVATE_KEY.sub(HIDDEN, text)
    if "KIA" in text or "SIA" in text:
        text = _AWS_KEY_ID.sub(HIDDEN, text)
    return text


def redact_values(value: Any) -> Any:
    """Return a JSON value with every text in it redacted; names of fields and values of other types stay."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {name: redact_values(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_values(item) for item in value]
    return value


def _secrets() -> _Secrets:
    """Return the secrets of today's environment, which are searched for again when a variable has changed."""
    global _known  # noqa: PLW0603 - the one cache
    if _known.environment != _environment:
        snapshot = dict(_environment)
        values = sorted({form for value in _values() for form in _forms(value)}, key=len, reverse=True)
        _known = _Secrets(
            snapshot,
            [value for value in values if len(value) >= _SHORTEST_IN_WORDS],
            [value for value in values if len(value) < _SHORTEST_IN_WORDS],
        )
    return _known


def _values() -> Iterator[str]:
    """Yield the secrets that environment variables hold or name, and those of the usual files."""
    for name, value in list(os.environ.items()):
        for password in _URL_PASSWORD.findall(value):
            yield password
            yield unquote(password)
        if not _SECRET_NAME.search(name.upper()):
            continue
        if (content := _read(value)) is not None:
            yield from _file_secrets(content)
        elif not _PATH_NAME.search(name) and (len(value) >= _SHORTEST_IN_WORDS or not _ID_NAME.search(name)):
            yield value
    for usual in _USUAL_FILES:
        yield from _file_secrets(_read(os.path.expanduser(usual)) or "")


def _read(value: str) -> str | None:
    """Return the content of the file that a variable names; ``None`` when it names none."""
    if "/" not in value:
        return None
    try:
        path = Path(value)
        if path.is_file() and path.stat().st_size <= _LARGEST_FILE:
            return path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        pass
    return None


def _file_secrets(content: str) -> Iterator[str]:
    """Yield the secrets of a file: what is assigned to names that sound like secrets, or all of it, a line each."""
    lines = [line.strip() for line in content.splitlines() if line.strip()]
    found = [match for line in lines if (match := _ASSIGNMENT.fullmatch(line))]
    if any(_SECRET_NAME.search(match[1].upper()) for match in found):
        yield from (match[2] for match in found if _SECRET_NAME.search(match[1].upper()))
    else:
        yield from lines


def _forms(value: str) -> Iterable[str]:
    """Return the forms in which a secret appears in texts: plain, encoded, quoted, and with its white space changed."""
    plain = value.strip()
    if len(plain) < _SHORTEST:
        return set()
    quoted = {repr(plain)[1:-1], json.dumps(plain)[1:-1], json.dumps(plain, ensure_ascii=False)[1:-1]}
    encoded = {quote(plain), quote(plain, safe=""), quote_plus(plain)}
    return {plain, " ".join(plain.split())} | quoted | encoded
