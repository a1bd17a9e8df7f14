"""How a stage is started: command line, KFP executor input."""

from flts.runtime.start import main

__all__ = ["main"]
