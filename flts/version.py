"""The version of FLTS."""

__version__ = "0.1.0"
