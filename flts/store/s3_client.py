"""boto3's S3 client with one layer of retries, and errors that say who can do something about them."""

import os
from collections.abc import Callable
from functools import cache, cached_property
from threading import Lock
from typing import Any, TypeVar
from urllib.parse import urlsplit

from flts.errors import (
    BadInputError,
    FltsError,
    ObjectNotFoundError,
    PreconditionFailedError,
    RefusedError,
    ServiceUnavailableError,
)
from flts.outage import why

T = TypeVar("T")

TIMEOUT_VARIABLE = "FLTS_S3_TIMEOUT"
_TIMEOUT_SECONDS = 30.0
_CONNECT_SECONDS = 5.0
# A server that refuses connections is given up after about 14 s, one that hangs in the attempt that passes two minutes.
_ATTEMPTS = 8
_PATIENCE_SECONDS = 120.0

_TRANSIENT_STATUS = frozenset({408, 429, 500, 502, 503, 504})
_TRANSIENT_CODES = frozenset(
    {
        "BadDigest",  # the body was damaged on its way
        "IncompleteBody",
        "InternalError",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        # The server could not tell which of two writers was first; asked again, it can.
        "ConditionalRequestConflict",
        "OperationAborted",
    }
)
_LOST = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "OperationAborted"})


class BucketNotFoundError(ObjectNotFoundError):
    """The whole bucket is missing."""


class EmptyRangeError(BadInputError):
    """The part of the object that was asked for is outside of it: 416."""


class TruncatedError(Exception):
    """An answer that ended early; for `S3Client.call` to ask again."""


class S3Client:
    """Calls S3, again where that can help; safe to use from several threads.

    Endpoint, region, keys and the like come from the usual AWS variables and files. Connecting waits for the
    first call.
    """

    def __init__(self) -> None:
        self._timeout = _read_timeout()
        self._opening = Lock()

    def call(self, doing: str, ask: Callable[[Any], T]) -> T:
        """Return ``ask(client)``, asking several times while the service fails.

        Args:
            doing: What this is, for errors: ``read bucket/key``.
            ask: Uses boto3's client, and reads whatever it needs of the answer; may be called several times.

        Raises:
            ObjectNotFoundError: 404.
            PreconditionFailedError: 412, or 409 to the last.
            BadInputError: The service refuses, or the AWS settings are wrong.
            ServiceUnavailableError: All attempts failed.
        """
        import stamina
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError
        from urllib3.exceptions import HTTPError

        client = self._client
        caller = stamina.RetryingCaller(attempts=_ATTEMPTS, timeout=_PATIENCE_SECONDS, wait_initial=0.1)
        try:
            return caller.on(_is_transient)(ask, client)
        except ClientError as error:
            raise self._refused(doing, error) from None
        except (BotoCoreError, ResponseParserError, HTTPError, TruncatedError) as error:
            raise self._unreachable(doing, error) from None

    @property
    def region(self) -> str:
        """The region that buckets are made in."""
        return str(self._client.meta.region_name)

    @property
    def checksums(self) -> bool:
        """Whether uploads carry checksums, as ``AWS_REQUEST_CHECKSUM_CALCULATION`` says (they do by default)."""
        return bool(self._client.meta.config.request_checksum_calculation == "when_supported")

    @property
    def _client(self) -> Any:
        with self._opening:
            return self._opened

    @cached_property
    def _opened(self) -> Any:
        try:
            import boto3
            import botocore.session
            import stamina  # noqa: F401 - so that what is missing is said once, here
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError
        except ModuleNotFoundError as error:
            raise BadInputError(
                f"gateway_url s3:// needs the package {error.name}, which is not installed: install flts[s3]"
            ) from None
        config = Config(
            connect_timeout=min(_CONNECT_SECONDS, self._timeout),
            read_timeout=self._timeout,
            retries={"total_max_attempts": 1, "mode": "standard"},
            tcp_keepalive=True,
            max_pool_connections=64,
        )
        try:
            session = botocore.session.Session()
            session.register_component("data_loader", _loader())
            return boto3.session.Session(botocore_session=session).client("s3", config=config)
        except (BotoCoreError, ValueError) as error:
            raise BadInputError(f"the AWS settings for S3 are wrong: {_wrong_setting(error)}") from None

    def _refused(self, doing: str, error: Any) -> FltsError:
        """Translate an answer that says no; what it says of credentials may quote them, and is not passed on."""
        code, status = _code(error), _status(error)
        if code in _LOST or status == 412:
            return PreconditionFailedError(f"{self._name} did not {doing}: it exists already, or changed ({code})")
        if _is_transient(error):
            return ServiceUnavailableError(f"{self._name} could not {doing} in {_ATTEMPTS} attempts: {code}")
        if status == 404:
            kind, missing = (
                (BucketNotFoundError, "bucket") if code == "NoSuchBucket" else (ObjectNotFoundError, "object")
            )
            return kind(f"{self._name} could not {doing}: there is no such {missing}")
        if status == 416:
            return EmptyRangeError(f"{self._name} could not {doing}: it is empty")
        if status in (401, 403):
            return RefusedError(f"{self._name} refused the credentials, or what they may do, to {doing}: {code}")
        return BadInputError(
            f"{self._name} refused to {doing}: {code}: {error.response['Error'].get('Message', status)}"
        )

    def _unreachable(self, doing: str, error: Exception) -> FltsError:
        from botocore import exceptions

        if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
            return RefusedError(
                f"there are no credentials for {self._name}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
                "AWS_SHARED_CREDENTIALS_FILE"
            )
        if _is_transient(error):
            return ServiceUnavailableError(f"{self._name} cannot be reached to {doing}: {_why(error)}")
        return BadInputError(f"the AWS settings for {self._name} are wrong: {_wrong_setting(error)}")

    @property
    def _name(self) -> str:
        address = urlsplit(self._client.meta.endpoint_url)
        return f"S3 at {address.scheme}://{address.netloc.rpartition('@')[2]}"


@cache
def _loader() -> Any:
    """Botocore's own data, which take most of a client's making, read once for all clients."""
    from botocore.loaders import create_loader

    return create_loader()


def _is_transient(error: Exception) -> bool:
    """Whether the same request may well succeed a little later."""
    from botocore import exceptions
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    if isinstance(error, exceptions.ClientError):
        return _status(error) in _TRANSIENT_STATUS or _code(error) in _TRANSIENT_CODES
    if isinstance(error, exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return False
    return isinstance(
        error,
        (
            exceptions.ConnectionError,
            exceptions.HTTPClientError,
            exceptions.FlexibleChecksumError,
            exceptions.IncompleteReadError,
            ResponseParserError,
            HTTPError,
            TruncatedError,
        ),
    )


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", "no code"))


def _status(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _why(error: Exception) -> str:
    from botocore.exceptions import ClientError

    return (
        f"it answers with {_code(error)}" if isinstance(error, ClientError) else why(f"{type(error).__name__} {error}")
    )


def _wrong_setting(error: Exception) -> str:
    profile, region = os.environ.get("AWS_PROFILE"), os.environ.get("AWS_DEFAULT_REGION")
    address = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    match type(error).__name__:
        case "ProfileNotFound":
            return f"AWS_PROFILE {profile!r} is no profile of the AWS files"
        case "ConfigParseError":
            return "the AWS files cannot be read"
        case "InvalidRegionError":
            return f"AWS_DEFAULT_REGION {region!r} is not a region"
        case "SSLError":
            return "the certificate is not trusted, which AWS_CA_BUNDLE can mend"
        case "ValueError" if address:
            return f"AWS_ENDPOINT_URL_S3 (or AWS_ENDPOINT_URL) {address!r} is not an address such as http://host:port"
    return "AWS_PROFILE, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL_S3 or the AWS files"


def _read_timeout() -> float:
    text = os.environ.get(TIMEOUT_VARIABLE) or str(_TIMEOUT_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise BadInputError(f"environment variable {TIMEOUT_VARIABLE} must be a number of seconds, got {text!r}")
    return seconds
