"""Object stores behind one protocol."""

from flts.boundary import retries
from flts.boundary.retries import RetryPolicy
from flts.errors import BadInputError
from flts.store.base import ObjectInfo, ObjectStore

__all__ = ["ObjectInfo", "ObjectStore", "open_store"]


def open_store(url: str, *, wait: bool = False) -> ObjectStore:
    """Open the store that a ``gateway_url`` names.

    Args:
        url: The address.
        wait: Wait for a service that is away as a stage does, ``FLTS_PATIENCE_SECONDS``, and log it; else give up after
            some 14 s, as suits servers and people, who will ask again.

    Raises:
        BadInputError: The address is of no kind that FLTS knows, or a setting of the store is wrong.
    """
    if url.startswith("file://"):
        from flts.store.file import FileStore

        return FileStore.from_url(url)
    if url == "s3://":
        from flts.store.s3 import S3Store

        return S3Store(RetryPolicy(retries.store_wait_seconds() if wait else None))
    if url.startswith("s3://"):
        raise BadInputError(
            f"gateway_url {url!r} says too much: expected s3:// alone; each bucket has its own parameter"
        )
    if url.startswith(("http://", "https://")):
        from flts.store.gateway import GatewayStore

        return GatewayStore(url, RetryPolicy(retries.store_wait_seconds() if wait else None))
    raise BadInputError(
        f"gateway_url {url!r} is not an object store address: expected http(s)://host:port, file:///dir or s3://"
    )
