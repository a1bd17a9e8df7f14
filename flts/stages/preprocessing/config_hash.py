"""The preprocessing configuration as canonical JSON, and its hash, the ``config_hash``."""

import hashlib

from flts.contracts import canonical_json
from flts.params import PreprocessParams

# Increased when the same parameters and files begin to give other bytes.
FORMAT_VERSION = 1

_NOT_IN_THE_RESULT = {"identifier", "force_reprocess", "gateway_url", "input_bucket", "output_bucket"}


def preprocess_config(params: PreprocessParams, train_sha256: str, test_sha256: str | None) -> str:
    """Serialise everything that decides the output of preprocess.

    Args:
        params: The stage's parameters; ``dataset_name`` is filled in.
        train_sha256: SHA-256 of the training file.
        test_sha256: SHA-256 of the test file, or ``None`` when the training file's last rows are the test part.
    """
    fields = params.model_dump(mode="json", exclude=_NOT_IN_THE_RESULT)
    files = {"train_sha256": train_sha256, "test_sha256": test_sha256}
    return canonical_json(fields | files | {"format_version": FORMAT_VERSION})


def config_hash(config_json: str) -> str:
    """Return the SHA-256 of the configuration's UTF-8 bytes, in hex."""
    return hashlib.sha256(config_json.encode()).hexdigest()
