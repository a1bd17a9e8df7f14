"""The device and the number of threads that neural networks are computed with."""

import os
from functools import cache

import torch

from flts.boundary import environment


def cores() -> int:
    """Return the number of cores this process may use, for work whose result does not depend on it."""
    return len(os.sched_getaffinity(0)) if device().type == "cpu" else 1


@cache  # the query takes as long as some matrix products of a short forecast
def device() -> torch.device:
    """Return the device that models are trained on: a CUDA GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def prepare() -> None:
    """Set PyTorch up so that equal inputs, seed and thread count give equal bits.

    Raises:
        BadInputError: ``FLTS_THREADS`` is not a whole number of at least 1.
    """
    torch.set_num_threads(environment.threads())
    if device().type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS may pick its algorithm by load
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True)
