"""MLflow's errors in plain words, where people can act on them; others stay as they are."""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from flts.diagnostics.services import outage_reason
from flts.errors import BadInputError, FltsError, RefusedError, ServiceUnavailableError

MISSING = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"})
INVALID = frozenset({"INVALID_PARAMETER_VALUE", "BAD_REQUEST"})  # an id that nothing can have
EXISTS = frozenset({"RESOURCE_ALREADY_EXISTS"})
DAMAGED = "the MLflow database {} is damaged: restore a copy of it, or move it away so that a new one is created"

_CREDENTIALS = frozenset({"PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"})
_OUT_OF_REACH = frozenset({"TEMPORARILY_UNAVAILABLE", "RESOURCE_EXHAUSTED", "REQUEST_LIMIT_EXCEEDED"})
_CLIENT_ERROR = re.compile(r"API request to endpoint \S+ failed with error code 4\d\d")
_UNKNOWN_HOST = "Invalid Host header"
_NO_TRUST = "CERTIFICATE_VERIFY_FAILED"
_FAILED = ("API request to", "The following failures occurred while downloading")
_UNWRITABLE = {
    "database or disk is full": "no space left on device",
    "readonly database": "it is read-only",
    "unable to open database file": "it cannot be opened",
}
# Messages of a server that proxies artifacts, when its own store fails.
_SERVED = re.compile(r"/mlflow-artifacts/artifacts")
_SERVER_FAILED = re.compile(r"too many 500|\b500 Server Error|Failed to list artifacts in")
# Messages of an artifact store that this process calls directly.
_S3_ANSWER = re.compile(r"An error occurred \((?P<code>[\w.]+)\) when calling the \w+ operation")
_S3_KEYLESS = re.compile(r"Unable to locate credentials|Partial credentials found")
_S3_REFUSALS = frozenset(
    {
        "403",
        "AccessDenied",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    }
)
_S3_FAILURES = frozenset(
    {"500", "502", "503", "504", "InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown"}
)


@contextmanager
def translate_errors(tracking_uri: str) -> Iterator[None]:
    """Turn MLflow's errors into those of FLTS where people can act on them; others stay as they are."""
    try:
        yield
    except FltsError:
        raise
    except Exception as error:
        if explained := explain(tracking_uri, error):
            raise explained from None
        raise


@contextmanager
def ignoring_codes(codes: Collection[str]) -> Iterator[None]:
    """Ignore MLflow's errors with these codes."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code not in codes:
            raise


def explain(tracking_uri: str, error: Exception, doing: str = "use") -> FltsError | None:
    """Return the FLTS error for an error of MLflow or of the libraries below it; ``None`` where there is none.

    Args:
        tracking_uri: MLflow's address.
        error: The error that was raised.
        doing: The access to the artifact store, if there was one: ``write to`` or ``read``.
    """
    from mlflow.exceptions import MlflowException, RestException
    from requests import RequestException  # type: ignore[import-untyped, unused-ignore]

    if isinstance(error, RequestException):  # artifacts that a server proxies
        status = error.response.status_code if error.response is not None else 503
        return _explain_proxied(tracking_uri, str(error), status, doing)
    if isinstance(error, MlflowException):
        said, code = str(error.message), str(error.error_code)
        if not isinstance(error, RestException) and (found := _explain_artifact_store(tracking_uri, said, code)):
            return found
        return _explain_message(tracking_uri, code, said, doing)
    if _is_of_store_library(error):
        return _explain_artifact_store(tracking_uri, str(error), "") or BadInputError(
            f"the settings for the artifact store of MLflow at {tracking_uri} are wrong: {error}"
        )
    if isinstance(error, ModuleNotFoundError):
        return BadInputError(
            f"the artifact store of MLflow at {tracking_uri} needs the package {error.name}, which is not installed"
        )
    return None


def _is_of_store_library(error: Exception) -> bool:
    invalid_address = isinstance(error, ValueError) and str(error).startswith("Invalid endpoint")
    return invalid_address or type(error).__module__.partition(".")[0] in ("boto3", "botocore")


def _explain_message(tracking_uri: str, code: str, message: str, doing: str) -> FltsError | None:
    client_error = re.search(r"\b(4\d\d) Client Error", message)  # artifacts of a server, several at once
    if client_error or (_SERVED.search(message) and _SERVER_FAILED.search(message)):
        return _explain_proxied(tracking_uri, message, int(client_error[1]) if client_error else 500, doing)
    if sentence := _configuration_error(tracking_uri, code, message):
        return BadInputError(sentence)
    if _UNKNOWN_HOST in message or code in _CREDENTIALS:
        return RefusedError(_refusal(tracking_uri, message))
    if _CLIENT_ERROR.match(message):
        return BadInputError(f"{tracking_uri} does not answer as an MLflow server: {outage_reason(message)}")
    if code in _OUT_OF_REACH or message.startswith(_FAILED):
        return ServiceUnavailableError(f"MLflow at {tracking_uri} cannot be reached: {outage_reason(message)}")
    return None


def _explain_proxied(tracking_uri: str, message: str, status: int, doing: str) -> FltsError | None:
    if _SERVER_FAILED.search(message):
        return ServiceUnavailableError(
            f"MLflow at {tracking_uri} cannot {doing} its artifact store: {outage_reason(message)}; its log says more"
        )
    if status in (401, 403):
        return RefusedError(_refusal(tracking_uri, message))
    if status == 404:
        return BadInputError(f"MLflow at {tracking_uri} no longer has what it listed: {outage_reason(message)}")
    return ServiceUnavailableError(f"MLflow at {tracking_uri} cannot be reached: {outage_reason(message)}")


def _explain_artifact_store(tracking_uri: str, message: str, code: str) -> FltsError | None:
    """Explain the error of an artifact store that is called directly, without ``mlflow server --serve-artifacts``."""
    name = f"the artifact store of MLflow at {tracking_uri}"
    answer = _S3_ANSWER.search(message)
    said = answer["code"] if answer else code
    listing = message.startswith("Failed to list artifacts in")
    if _S3_KEYLESS.search(message):
        return RefusedError(
            f"there are no credentials for {name}, which does not proxy artifacts: set AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY and MLFLOW_S3_ENDPOINT_URL, or start MLflow with --artifacts-destination"
        )
    if (answer and said in _S3_REFUSALS) or (listing and code in _CREDENTIALS):
        return RefusedError(f"{name} refused the credentials of AWS_ACCESS_KEY_ID, or what they may do: {said}")
    if (answer and said in _S3_FAILURES) or (not answer and _is_away(message)):
        return ServiceUnavailableError(f"{name} cannot be reached: {outage_reason(message)}")
    if answer:
        return BadInputError(f"{name} answers with {said}")
    return None


def _is_away(message: str) -> bool:
    if _NO_TRUST in message:
        return False
    return bool(
        re.search(
            "Could not connect to the endpoint URL|SSL validation failed|timeout on endpoint URL|Connection was closed",
            message,
        )
    )


def _configuration_error(tracking_uri: str, code: str, message: str) -> str | None:
    """Return how to correct a setting or a database; ``None`` where the error is about neither."""
    if _NO_TRUST in message:
        return (
            f"MLflow at {tracking_uri} has a certificate that is not trusted here: MLFLOW_TRACKING_SERVER_CERT_PATH or "
            "REQUESTS_CA_BUNDLE must name a file with its CA"
        )
    if "package is required" in message:  # for a way to log in
        return f"MLflow at {tracking_uri} cannot be called with MLFLOW_TRACKING_AUTH: {message}"
    if code not in _CREDENTIALS:
        if "database schema" in message:
            return (
                f"the MLflow database {tracking_uri} is of another MLflow version: run mlflow db upgrade {tracking_uri}"
            )
        if "malformed" in message:
            return DAMAGED.format(tracking_uri)
        for said, meant in _UNWRITABLE.items():
            if said in message:
                return f"the MLflow database {tracking_uri} cannot be written: {meant}"
    return None


def _refusal(tracking_uri: str, message: str) -> str:
    if _UNKNOWN_HOST not in message:
        return f"MLflow at {tracking_uri} refused the credentials, or what they may do"
    host = urlsplit(tracking_uri).netloc.rpartition("@")[2]
    return f"MLflow at {tracking_uri} does not answer to the name {host}: add {host} to the server's --allowed-hosts"
