"""Errors of MLflow and its artifact stores in plain words, from messages of real servers."""

import re

import pytest
from mlflow.exceptions import MlflowException, RestException
from mlflow.protos.databricks_pb2 import ErrorCode
from requests import RequestException

from flts.errors import BadInputError, RefusedError, ServiceUnavailableError
from flts.tracking.mlflow_errors import explain

URI = "http://mlflow:5000"
POOL = "API request to http://mlflow:5000/api/2.0/mlflow/runs/get failed with exception HTTPConnectionPool(..): "
SERVED = "http://mlflow:5000/api/2.0/mlflow-artifacts/artifacts/1/a/scaler.json"
UPLOAD = "Failed to upload /tmp/a.txt to mlflow/1/a.txt: An error occurred ({}) when calling the PutObject operation"
DOWNLOAD = "The following failures occurred while downloading one or more artifacts from {}:\n##### File a #####\n{}"


def mlflow(text: str, code: str = "INTERNAL_ERROR") -> MlflowException:
    return MlflowException(text, error_code=ErrorCode.Value(code))


def of_boto(text: str) -> Exception:
    return type("AnyBotoError", (Exception,), {"__module__": "botocore.exceptions"})(text)


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (mlflow(f"{POOL}[Errno 111] Connection refused"), ServiceUnavailableError, "nothing listens there"),
        (mlflow(f"{POOL}Failed to resolve 'mlflow'"), ServiceUnavailableError, "its name is not known here"),
        (mlflow(f"{POOL}[SSL: WRONG_VERSION_NUMBER] wrong version number"), ServiceUnavailableError, "not speak TLS"),
        (mlflow(f"{POOL}[SSL: RECORD_LAYER_FAILURE] record layer failure"), ServiceUnavailableError, "not speak TLS"),
        (mlflow(f"{POOL}too many 502 error responses"), ServiceUnavailableError, "it answers with HTTP status 502"),
        (mlflow(f"{POOL}[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"), BadInputError, "MLFLOW_TRACKING_SERVER_CERT"),
        (mlflow("The 'kubernetes' package is required to use the Kubernetes auth providers"), BadInputError,
         "cannot be called with MLFLOW_TRACKING_AUTH: The 'kubernetes' package"),
        (mlflow(f"API request to {SERVED} failed with exception: too many 500 error responses"),
         ServiceUnavailableError, "MLflow at http://mlflow:5000 cannot write to its artifact store: it answers with"),
        (RequestException(f"500 Server Error: for url: {SERVED}"), ServiceUnavailableError, "cannot write to its art"),
        (RequestException("Connection broken"), ServiceUnavailableError, "cannot be reached: its answers break off"),
        (mlflow(DOWNLOAD.format("mlflow-artifacts:/1", f"404 Client Error: NOT FOUND for url: {SERVED}")),
         BadInputError, "no longer has what it listed"),
        (mlflow(DOWNLOAD.format("mlflow-artifacts:/1", f"403 Client Error: FORBIDDEN for url: {SERVED}")),
         RefusedError, "refused the credentials"),
        (of_boto("Unable to locate credentials"), RefusedError, "there are no credentials for the artifact store of"),
        (of_boto(UPLOAD.format("SignatureDoesNotMatch")), RefusedError, "what they may do: SignatureDoesNotMatch"),
        (of_boto(UPLOAD.format("AccessDenied")), RefusedError, "what they may do: AccessDenied"),
        (of_boto(UPLOAD.format("NoSuchBucket")), BadInputError, "answers with NoSuchBucket"),
        (of_boto(UPLOAD.format("SlowDown")), ServiceUnavailableError, "the artifact store of MLflow at .* be reached"),
        (of_boto('Could not connect to the endpoint URL: "http://s3:9/mlflow/1"'), ServiceUnavailableError,
         "the artifact store of MLflow at http://mlflow:5000 cannot be reached"),
        (of_boto("SSL validation failed for https://s3:9 [SSL: CERTIFICATE_VERIFY_FAILED]"), BadInputError, "settings"),
        (of_boto("The config profile (x) could not be found"), BadInputError, "the settings for the artifact store"),
        (ValueError("Invalid endpoint: nonsense"), BadInputError, "the settings for the artifact store"),
        (mlflow(DOWNLOAD.format("s3://mlflow/1", UPLOAD.format("AccessDenied"))), RefusedError, "AccessDenied"),
        (mlflow("Failed to list artifacts in s3://mlflow/1: no", "UNAUTHENTICATED"), RefusedError,
         "the artifact store of MLflow at http://mlflow:5000 refused the credentials"),
        (RestException({"error_code": "UNAUTHENTICATED", "message": "no"}), RefusedError, "MLflow at .* refused the"),
        (ModuleNotFoundError("no", name="boto3"), BadInputError, "needs the package boto3, which is not installed"),
    ],
)  # fmt: skip
def test_errors_that_people_can_act_on_are_one_sentence(error, kind, said):
    explained = explain(URI, error, "write to")
    assert type(explained) is kind
    assert re.search(said, str(explained)), str(explained)


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("x"), mlflow("whatever")])
def test_a_bug_stays_one(error):
    assert explain(URI, error) is None
