"""The store's keys for MLflow's own S3 client, where MLflow does not hand artifacts on.

Without ``mlflow server --serve-artifacts`` whoever logs a model writes to the artifact store itself, by a client that
reads ``MLFLOW_S3_*`` and ``AWS_*`` and knows nothing of ``FLTS_S3_*``.
"""

import json
from collections.abc import MutableMapping

# Any of these says where MLflow's artifacts are, or who asks for them: then they are not those of the store.
_MLFLOW_S_OWN = (
    "MLFLOW_S3_ENDPOINT_URL",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)
_LENT = {
    "FLTS_S3_ENDPOINT_URL": "MLFLOW_S3_ENDPOINT_URL",
    "FLTS_S3_ACCESS_KEY_ID": "AWS_ACCESS_KEY_ID",
    "FLTS_S3_SECRET_ACCESS_KEY": "AWS_SECRET_ACCESS_KEY",
    "FLTS_S3_SESSION_TOKEN": "AWS_SESSION_TOKEN",
    "FLTS_S3_REGION": "AWS_DEFAULT_REGION",
    "FLTS_S3_CA_BUNDLE": "AWS_CA_BUNDLE",
}
_EXTRA = "MLFLOW_S3_UPLOAD_EXTRA_ARGS"


def lend_keys(environ: MutableMapping[str, str]) -> None:
    """Set what MLflow's client reads as ``FLTS_S3_*`` say, unless anything says that its store is another."""
    if any(environ.get(name) for name in _MLFLOW_S_OWN):
        return
    for name, read in _LENT.items():
        if environ.get(name):
            environ[read] = environ[name]
    encryption = {"ServerSideEncryption": "FLTS_S3_SSE", "SSEKMSKeyId": "FLTS_S3_SSE_KMS_KEY_ID"}
    given = {argument: environ[name] for argument, name in encryption.items() if environ.get(name)}
    if "ServerSideEncryption" in given:
        environ.setdefault(_EXTRA, json.dumps(given))
