"""Object stores behind one protocol."""

from flts.errors import BadInputError
from flts.store.base import ObjectInfo, ObjectStore

__all__ = ["ObjectInfo", "ObjectStore", "open_store"]


def open_store(url: str) -> ObjectStore:
    """Open the store that a ``gateway_url`` names.

    Raises:
        BadInputError: The address is of no kind that FLTS knows.
    """
    if url.startswith("file://"):
        from flts.store.file import FileStore

        return FileStore.from_url(url)
    if url == "s3://":
        from flts.store.s3 import S3Store

        return S3Store()
    if url.startswith("s3://"):
        raise BadInputError(
            f"gateway_url {url!r} says too much: expected s3:// alone; each bucket has its own parameter"
        )
    if url.startswith(("http://", "https://")):
        from flts.store.gateway import GatewayStore

        return GatewayStore(url)
    raise BadInputError(
        f"gateway_url {url!r} is not an object store address: expected http(s)://host:port, file:///dir or s3://"
    )
