"""Translation of errors from S3 and the network into errors that tell who can do something about them."""

import os
import re
import socket
import ssl
import time
from email.utils import parsedate_to_datetime
from typing import Any

from flts.diagnostics.services import BROKEN_OFF, is_permanent, outage_reason
from flts.errors import (
    BadInputError,
    FltsError,
    ObjectNotFoundError,
    PreconditionFailedError,
    RefusedError,
    ServiceUnavailableError,
)
from flts.store import s3_settings as settings

_TRANSIENT_STATUS = frozenset({408, 429, 500, 502, 503, 504})
_TRANSIENT_CODES = frozenset(
    {
        "BadDigest",  # the body was damaged on its way
        "IncompleteBody",
        "InternalError",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        # The server could not decide between two writers; a repeated request succeeds or gets 412.
        "ConditionalRequestConflict",
        "OperationAborted",
    }
)
_CONDITION_FAILED = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "OperationAborted"})
# Some services answer 404 to an unknown user; AWS answers 400 to expired keys.
_UNKNOWN_USER = re.compile(r"User|AccessKey|Account|Credential")
_BAD_KEYS = re.compile(r"(Expired|Invalid)Token|AuthorizationHeaderMalformed|InvalidSecurity")
_SKEWED = "RequestTimeTooSkewed"
_PROBE_SECONDS = 2.0
_SKEW_MINUTES = 13  # services allow 15


class BucketNotFoundError(ObjectNotFoundError):
    """The whole bucket is missing."""


class EmptyRangeError(BadInputError):
    """The requested range is outside of the object: 416."""


class TruncatedError(Exception):
    """A response that ended early; ``S3Client.call`` repeats the request."""


class SpeaksTlsError(Exception):
    """A plain request to a server that speaks TLS."""


def may_come_from_tls_server(error: Exception) -> bool:
    """Return whether a server that expects TLS may have answered a plain request with this error.

    Servers in Go answer 400 and reset the connection, in either order; others do one of the two.
    """
    from botocore.exceptions import ClientError

    if isinstance(error, ClientError):
        return _code(error) == "400"
    return outage_reason(_cause(error)) == BROKEN_OFF


def speaks_tls(host: str, port: int) -> bool:
    """Try a TLS handshake, whatever the certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), timeout=_PROBE_SECONDS) as connection:
            context.wrap_socket(connection, server_hostname=host).close()
    except (OSError, ValueError):
        return False
    return True


def transient_reason(error: Exception) -> str:
    """Return the reason of an error after which a repeated request may succeed; empty for other errors."""
    from botocore import exceptions
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    if isinstance(error, exceptions.ClientError):
        transient = _status(error) in _TRANSIENT_STATUS or _code(error) in _TRANSIENT_CODES
        return f"it answers with {_code(error)}" if transient else ""
    kinds = (
        *(exceptions.ConnectionError, exceptions.HTTPClientError, exceptions.FlexibleChecksumError),
        *(exceptions.IncompleteReadError, ResponseParserError, HTTPError, TruncatedError),
    )
    if not isinstance(error, kinds) or is_permanent(_cause(error)):
        return ""
    if isinstance(error, exceptions.ProxyConnectionError):
        return f"the proxy of HTTP_PROXY or HTTPS_PROXY does not lead to it: {outage_reason(_cause(error))}"
    return outage_reason(_cause(error))


def response_error(error: Any, action: str, service: str) -> FltsError:
    """Translate an error response. Its text about credentials may quote them, and is left out.

    Args:
        error: boto3's ``ClientError``.
        action: Description of the request, such as ``read bucket/key``.
        service: Name of the service.
    """
    code, status = _code(error), _status(error)
    if code in _CONDITION_FAILED or status == 412:
        return PreconditionFailedError(f"{service} did not {action}: it already exists, or has changed ({code})")
    if reason := transient_reason(error):
        return ServiceUnavailableError(f"{service} could not {action}, even after retries: {reason}")
    if status in (401, 403) or (status == 404 and _UNKNOWN_USER.search(code)) or _BAD_KEYS.fullmatch(code):
        return _access_error(error, action, service)
    if status == 404:
        kind, missing = (BucketNotFoundError, "bucket") if code == "NoSuchBucket" else (ObjectNotFoundError, "object")
        return kind(f"{service} could not {action}: there is no such {missing}")
    if status == 416:
        return EmptyRangeError(f"{service} could not {action}: it is empty")
    sentence = f"{service} refused to {action}: {code}: {error.response['Error'].get('Message', status)}"
    return (
        RefusedError(sentence) if code == "400" else BadInputError(sentence)
    )  # no code of S3: from a server of another kind


def _access_error(error: Any, action: str, service: str) -> RefusedError:
    code, minutes = _code(error), _clock_minutes(error)
    # The response to a HEAD has no body with the code.
    if code == _SKEWED or (code == "403" and abs(minutes) > _SKEW_MINUTES):
        by = f" ({abs(minutes)} minutes {'ahead' if minutes > 0 else 'behind'})" if minutes else ""
        return RefusedError(f"{service} did not {action}: this machine's clock is too far from its own{by}: {_SKEWED}")
    return RefusedError(
        f"{service} refused the credentials ({_keys()}), or they lack the permission, to {action}: {code}"
    )


def connection_error(error: Exception, action: str, service: str) -> FltsError:
    """Translate an error without a response; arguments as for ``response_error``."""
    from botocore import exceptions

    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return RefusedError(
            f"there are no credentials for {service}: set {settings.ACCESS_KEY_ID} and {settings.SECRET_ACCESS_KEY}, "
            "or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SHARED_CREDENTIALS_FILE"
        )
    if reason := transient_reason(error):
        return ServiceUnavailableError(f"{service} cannot be reached to {action}: {reason}")
    cause = _cause(error)
    if not is_permanent(cause):
        return RefusedError(f"the settings for {service} are wrong: {setting_problem(error)}")
    names = [_address(), *([_bundle()] if "CERTIFICATE_VERIFY_FAILED" in cause else [])]
    return RefusedError(f"{service} cannot be reached to {action}: {outage_reason(cause)} (see {' and '.join(names)})")


def setting_problem(error: Exception) -> str:
    """Return which setting keeps the client from being created."""
    region = settings.first_set(settings.REGION, "AWS_DEFAULT_REGION")
    address = settings.first_set(settings.ENDPOINT_URL, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    match type(error).__name__:
        case "ProfileNotFound":
            return f"AWS_PROFILE {os.environ.get('AWS_PROFILE')!r} is not a profile in the AWS files"
        case "ConfigParseError":
            return "the AWS files cannot be read"
        case "InvalidRegionError" if region:
            return f"{region} {os.environ[region]!r} is not a region"
        case "ValueError" if address:
            return f"{address} {os.environ[address].rpartition('@')[2]!r} is not an address such as http://host:port"
    return f"{_address()}, {region or settings.REGION}, AWS_PROFILE or the AWS files"


def _address() -> str:
    return settings.first_set(settings.ENDPOINT_URL, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL") or settings.ENDPOINT_URL


def _bundle() -> str:
    return settings.first_set(settings.CA_BUNDLE, "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE") or settings.CA_BUNDLE


def _keys() -> str:
    return settings.first_set(settings.ACCESS_KEY_ID, "AWS_ACCESS_KEY_ID") or "those of the AWS files or of a role"


def _cause(error: Exception) -> str:
    """Return the underlying library's error: botocore's own text contains bucket and key, which may be any words."""
    inner = getattr(error, "kwargs", {}).get("error")
    return f"{type(error).__name__} {inner!r}" if inner else f"{type(error).__name__} {error}"


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", "no code"))


def _status(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _headers(error: Any) -> dict[str, str]:
    return dict(error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}))


def _clock_minutes(error: Any) -> int:
    """Return by how many minutes this clock is ahead of the service's, 0 if the response does not tell."""
    try:
        theirs = parsedate_to_datetime(_headers(error).get("date", ""))
    except (ValueError, TypeError):
        return 0
    return round((time.time() - theirs.timestamp()) / 60)
