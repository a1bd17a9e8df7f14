"""Type names for the NumPy arrays that are used throughout FLTS."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]
Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]
