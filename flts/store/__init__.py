"""Object stores with a common protocol."""

from flts.boundary import retries
from flts.boundary.retries import RetryPolicy
from flts.errors import BadInputError
from flts.store.base import ObjectInfo, ObjectStore

__all__ = ["ObjectInfo", "ObjectStore", "open_store"]


def open_store(url: str, *, wait: bool = False) -> ObjectStore:
    """Open the store that a ``gateway_url`` names.

    Args:
        url: The address.
        wait: Wait for a service that is away for ``FLTS_PATIENCE_SECONDS`` and log it, as stages do; else give up
            after some 14 s, as servers and commands do, whose callers try again.

    Raises:
        BadInputError: FLTS knows no such kind of address, or a setting of the store is wrong.
    """
    if url.startswith("file://"):
        from flts.store.file import FileStore

        return FileStore.from_url(url)
    if url == "s3://":
        from flts.store.s3 import S3Store

        return S3Store(RetryPolicy(retries.store_wait_seconds() if wait else None))
    if url.startswith("s3://"):
        raise BadInputError(f"gateway_url {url!r} has more than s3://: each bucket is named by a parameter of its own")
    if url.startswith(("http://", "https://")):
        from flts.store.gateway import GatewayStore

        return GatewayStore(url, RetryPolicy(retries.store_wait_seconds() if wait else None))
    raise BadInputError(
        f"gateway_url {url!r} is not an object store address: expected http(s)://host:port, file:///dir or s3://"
    )
