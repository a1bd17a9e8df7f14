"""Weighted ridge regression in closed form, its strength chosen by blocks of time.

Everything is computed from second moments, which add up over pieces of the rows, so that one pass over the data
serves every block and every strength. Source: Hoerl and Kennard, "Ridge regression" (Technometrics, 1970).
"""

import itertools
from collections.abc import Sequence

import numpy as np

from flts.timeseries.arrays import Floats, Indices

ALPHAS = 10.0 ** np.arange(-2.0, 6.5, 0.5)
BLOCKS = 5


def moments(features: Floats, labels: Floats, weights: Floats) -> Floats:
    """Return ``Z' diag(weights) Z`` (p + 2, p + 2) with ``Z = [1, features, labels]`` for (n, p) and (n,)."""
    z = np.column_stack([np.ones(len(features)), features, labels])
    product: Floats = z.T @ (z * weights[:, None])
    return product


def solve(total: Floats, alphas: Floats | Sequence[float]) -> Floats:
    """Return (alphas, 1 + p): the intercept, which is not penalised, and the weights ``(X'WX + alpha I)^-1 X'Wy``."""
    count, feature_sums, label_sum = total[0, 0], total[0, 1:-1], total[0, -1]
    centre, level = feature_sums / count, label_sum / count
    gram = total[1:-1, 1:-1] - np.outer(feature_sums, centre)
    weights = solve_centred(gram, (total[1:-1, -1] - feature_sums * level)[:, None], alphas)[:, :, 0]
    return np.column_stack([level - weights @ centre, weights])


def solve_centred(gram: Floats, moment: Floats, alphas: Floats | Sequence[float]) -> Floats:
    """Return (alphas, p, targets) ``(G + alpha I)^-1 M`` of centred moments ``G`` (p, p) and ``M`` (p, targets)."""
    # One eigendecomposition serves every alpha: (V E V' + alpha I)^-1 = V (E + alpha)^-1 V'.
    eigenvalues, vectors = np.linalg.eigh(gram)
    penalised = np.maximum(eigenvalues, 0.0)[:, None] + np.asarray(alphas)[:, None, None]
    weights: Floats = vectors @ ((vectors.T @ moment) / penalised)
    return weights


def squared_errors(total: Floats, coefficients: Floats) -> Floats:
    """Return (m,) the weighted sum of squared errors of (m, 1 + p) coefficients on the rows of these moments."""
    error = np.column_stack([coefficients, np.full(len(coefficients), -1.0)])
    sums: Floats = np.einsum("mi,ij,mj->m", error, total, error)
    return sums


class Folds:
    """Five contiguous blocks of rows; a fit that is tested on one leaves out an embargo on both sides of it.

    Attributes:
        cuts: (pieces + 1,) row numbers: every piece lies either inside or outside each block and each embargo.
    """

    def __init__(self, start: int, stop: int, embargo: int) -> None:
        """Divide the rows [start, stop)."""
        edges = np.linspace(start, stop, BLOCKS + 1).astype(np.int64)
        self._blocks = list(itertools.pairwise(edges))
        self._embargo = embargo
        cuts = np.concatenate([edges - embargo, edges, edges + embargo])
        self.cuts: Indices = np.unique(np.clip(cuts, start, stop))

    def choose(self, pieces: Floats, alphas: Floats = ALPHAS) -> float:
        """Return the alpha with the least error on the blocks, each forecast from the others.

        Args:
            pieces: (pieces, p + 2, p + 2) moments of the rows between two cuts each.
            alphas: Values to choose from, ascending. Where no block can be tested, the largest is chosen.
        """
        total, errors, tested = pieces.sum(axis=0), np.zeros(len(alphas)), False
        for start, stop in self._blocks:
            inside = (self.cuts[:-1] >= start) & (self.cuts[1:] <= stop)
            near = (self.cuts[:-1] >= start - self._embargo) & (self.cuts[1:] <= stop + self._embargo)
            others, block = total - pieces[near].sum(axis=0), pieces[inside].sum(axis=0)
            if pieces[~near, 0, 0].sum() > 0 and block[0, 0] > 0:
                errors += squared_errors(block, solve(others, alphas))
                tested = True
        return float(alphas[int(np.argmin(errors))] if tested else alphas[-1])
