"""Start of a stage: from its command line, or from the executor input of Kubeflow Pipelines."""

from flts.runtime.start import main

__all__ = ["main"]
