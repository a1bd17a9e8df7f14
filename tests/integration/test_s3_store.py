"""The S3 store passes the suite on a real server."""

from collections.abc import Iterator

import pytest

from flts.store import open_store
from flts.store.s3 import S3Store
from tests.services import S3
from tests.store_suite import BUCKET, StoreSuite


@pytest.fixture
def store(s3_environ: S3) -> Iterator[S3Store]:
    """The store, emptied afterwards."""
    store = open_store("s3://")
    assert isinstance(store, S3Store)
    yield store
    for info in list(store.list(BUCKET)):
        store.delete(BUCKET, info.key)


class TestS3Store(StoreSuite):
    @pytest.fixture
    def url(self, store: S3Store) -> str:
        return "s3://"
