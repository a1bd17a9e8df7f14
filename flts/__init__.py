"""FLTS: train, promote and run time-series forecasters as pipeline stages.

For notebooks and scripts, in pandas: ``load_model`` and ``read_processed``; docs/python.md shows them.
"""

from typing import TYPE_CHECKING, Any

from flts.version import __version__

if TYPE_CHECKING:
    from flts.api import Model, load_model, read_processed

__all__ = ["Model", "__version__", "load_model", "read_processed"]


def __getattr__(name: str) -> Any:
    """Import the public functions on first use, so that commands start without pandas and NumPy."""
    if name not in __all__:
        raise AttributeError(f"module 'flts' has no attribute {name!r}")
    from flts import api

    return getattr(api, name)
