"""Names for the NumPy arrays that all of FLTS hands around."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]
Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]
