"""Keys of the object store for MLflow's own S3 client, where the MLflow server does not proxy artifacts.

Without ``mlflow server --serve-artifacts`` a process that logs a model writes to the artifact store itself, with a
client that reads ``MLFLOW_S3_*`` and ``AWS_*``, but not ``FLTS_S3_*``.
"""

import json
from collections.abc import MutableMapping

# Any of these configures an artifact store of MLflow's own, which is not the object store of FLTS.
_MLFLOW_OWN = (
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
_VARIABLES = {
    "FLTS_S3_ENDPOINT_URL": "MLFLOW_S3_ENDPOINT_URL",
    "FLTS_S3_ACCESS_KEY_ID": "AWS_ACCESS_KEY_ID",
    "FLTS_S3_SECRET_ACCESS_KEY": "AWS_SECRET_ACCESS_KEY",
    "FLTS_S3_SESSION_TOKEN": "AWS_SESSION_TOKEN",
    "FLTS_S3_REGION": "AWS_DEFAULT_REGION",
    "FLTS_S3_CA_BUNDLE": "AWS_CA_BUNDLE",
}
_EXTRA = "MLFLOW_S3_UPLOAD_EXTRA_ARGS"


def set_artifact_keys(environ: MutableMapping[str, str]) -> None:
    """Set the variables of MLflow's client from ``FLTS_S3_*``, unless one configures another store."""
    if any(environ.get(name) for name in _MLFLOW_OWN):
        return
    for name, read in _VARIABLES.items():
        if environ.get(name):
            environ[read] = environ[name]
    encryption = {"ServerSideEncryption": "FLTS_S3_SSE", "SSEKMSKeyId": "FLTS_S3_SSE_KMS_KEY_ID"}
    given = {argument: environ[name] for argument, name in encryption.items() if environ.get(name)}
    if "ServerSideEncryption" in given:
        environ.setdefault(_EXTRA, json.dumps(given))
