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
    raise BadInputError(f"gateway_url {url!r} is not an object store address: expected file:///dir")
