"""FLTS: train, promote and run time-series forecasters as pipeline stages."""

__version__ = "0.1.0"
