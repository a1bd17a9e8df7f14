"""The S3 servers that the tests of the S3 store run on, and what is known to fail on each.

SeaweedFS and moto come from packages. ``FLTS_TEST_S3_ENDPOINT_URL``, ``FLTS_TEST_S3_ACCESS_KEY_ID`` and
``FLTS_TEST_S3_SECRET_ACCESS_KEY`` name another one, MinIO for example, which is then the only one.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from scripts.services import BIN, HOST, S3, free_ports, named_s3, process, retry_start, s3_server


@contextmanager
def moto_server(folder: Path) -> Iterator[S3]:
    """Run moto, which keeps everything in memory and asks nobody for keys."""
    with retry_start(lambda: _start_moto(folder)) as s3:
        yield s3


@contextmanager
def _start_moto(folder: Path) -> Iterator[S3]:
    (port,) = free_ports(1)
    s3 = S3(f"http://{HOST}:{port}")
    command = [BIN / "moto_server", "--host", HOST, "--port", port]
    with process(command, folder / "moto.log", {}, lambda: s3.client().list_buckets()):
        yield s3


FIRST = "named" if named_s3() else "seaweedfs"
SERVERS: Mapping[str, Callable[[Path], AbstractContextManager[S3]]] = {FIRST: s3_server, "moto": moto_server}
EVERY = (FIRST,) if named_s3() else tuple(SERVERS)

_ANY_KEYS = "moto takes any keys"
KNOWN_LIMITS: Mapping[str, Mapping[str, str]] = {
    "moto": {
        "test_wrong_key_is_one_sentence_without_it": _ANY_KEYS,
        "test_command_with_a_wrong_key_ends_with_one_sentence": _ANY_KEYS,
    }
}


def mark_known_limits(item: pytest.Item) -> None:
    """Expect a test to fail on a server of which that is known."""
    if not isinstance(item, pytest.Function) or not hasattr(item, "callspec"):
        return
    limits = KNOWN_LIMITS.get(str(item.callspec.params.get("s3", "")), {})
    reason = limits.get(item.originalname)
    if reason:
        item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
