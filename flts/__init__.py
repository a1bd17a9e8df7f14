"""FLTS: train, promote and run time-series forecasters as pipeline stages."""

from flts.version import __version__

__all__ = ["__version__"]
