"""Address and credentials of S3: ``FLTS_S3_*``, which take precedence over the usual AWS variables and files.

A container may use two stores: Kubeflow's launcher moves its own artifacts with the AWS variables, while the stage in
the same container uses FLTS' store.
"""

import os
import ssl
from dataclasses import dataclass
from typing import Any

from flts.boundary.environment import seconds
from flts.diagnostics.system import reason
from flts.errors import BadInputError, RefusedError

ENDPOINT_URL = "FLTS_S3_ENDPOINT_URL"
ACCESS_KEY_ID = "FLTS_S3_ACCESS_KEY_ID"
SECRET_ACCESS_KEY = "FLTS_S3_SECRET_ACCESS_KEY"  # noqa: S105 - a name, as the next
SESSION_TOKEN = "FLTS_S3_SESSION_TOKEN"  # noqa: S105
REGION = "FLTS_S3_REGION"
CA_BUNDLE = "FLTS_S3_CA_BUNDLE"
SSE = "FLTS_S3_SSE"
SSE_KMS_KEY_ID = "FLTS_S3_SSE_KMS_KEY_ID"
TIMEOUT = "FLTS_S3_TIMEOUT"
# All of them; FILES are those that contain the path of a local file.
VARIABLES = (
    *(ENDPOINT_URL, ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN, REGION),
    *(CA_BUNDLE, SSE, SSE_KMS_KEY_ID, TIMEOUT),
)
FILES = (CA_BUNDLE,)

_KMS = "aws:kms"
_ENCRYPTIONS = ("AES256", _KMS)
_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class S3Settings:
    """Settings from the environment; where one is empty, botocore looks at the AWS variables and files."""

    endpoint_url: str
    access_key_id: str
    secret_access_key: str
    session_token: str
    region: str
    ca_bundle: str
    sse: str
    sse_kms_key_id: str
    timeout: float

    @property
    def client_arguments(self) -> dict[str, Any]:
        """Arguments of ``Session.client``, which looks for these nowhere else then."""
        arguments = {
            "endpoint_url": self.endpoint_url,
            "aws_access_key_id": self.access_key_id,
            "aws_secret_access_key": self.secret_access_key,
            "aws_session_token": self.session_token,
            "region_name": self.region,
            "verify": self.ca_bundle,
        }
        return {name: value for name, value in arguments.items() if value}

    @property
    def encryption(self) -> dict[str, str]:
        """Encryption fields of every request that creates an object."""
        fields = {"ServerSideEncryption": self.sse, "SSEKMSKeyId": self.sse_kms_key_id}
        return {name: value for name, value in fields.items() if value}


def read_settings() -> S3Settings:
    """Read the variables.

    Raises:
        BadInputError: A value is invalid, or needs another variable; the sentence names it, and shows no secret.
    """
    access_key_id, secret_access_key, session_token = map(_text, (ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN))
    if bool(access_key_id) != bool(secret_access_key):
        present, missing = ACCESS_KEY_ID, SECRET_ACCESS_KEY
        if secret_access_key:
            present, missing = missing, present
        raise BadInputError(f"environment variable {present} is set and {missing} is not: S3 needs both")
    if session_token and not access_key_id:
        raise BadInputError(f"environment variable {SESSION_TOKEN} is set and {ACCESS_KEY_ID} is not: S3 needs both")
    sse, sse_kms_key_id = _text(SSE), _text(SSE_KMS_KEY_ID)
    if sse not in ("", *_ENCRYPTIONS):
        raise BadInputError(f"environment variable {SSE} must be {' or '.join(_ENCRYPTIONS)}, got {sse[:80]!r}")
    if sse_kms_key_id and sse != _KMS:
        raise BadInputError(f"environment variable {SSE_KMS_KEY_ID} is set, so {SSE} must be {_KMS}")
    return S3Settings(
        endpoint_url=_text(ENDPOINT_URL),
        access_key_id=access_key_id,
        secret_access_key=secret_access_key,
        session_token=session_token,
        region=_text(REGION),
        ca_bundle=os.environ.get(CA_BUNDLE, ""),
        sse=sse,
        sse_kms_key_id=sse_kms_key_id,
        timeout=seconds(TIMEOUT, default=_TIMEOUT_SECONDS),
    )


def first_set(*variables: str) -> str:
    """Return the first of these variables that is set, the one that takes effect; empty when none is."""
    return next((name for name in variables if os.environ.get(name)), "")


def check_ca_bundle(path: str, label: str) -> None:
    """Raise ``RefusedError`` unless a file has certificates; ``label`` is the variable or file with its path."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        raise RefusedError(f"{label} {path!r} is not a file of PEM certificates") from None
    except (OSError, ValueError) as error:
        raise RefusedError(f"{label} {path!r} cannot be read: {reason(error)}") from None


def _text(variable: str) -> str:
    """Return a variable, if it has no line end, as files of secrets often do: it would become part of the key."""
    text = os.environ.get(variable, "")
    if not (text.isascii() and text.isprintable() and " " not in text):
        raise BadInputError(f"environment variable {variable} has a space, a line end or a character beyond ASCII")
    return text
