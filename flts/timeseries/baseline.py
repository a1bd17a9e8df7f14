"""Names of the forecasts that a model must beat."""

from enum import StrEnum


class Baseline(StrEnum):
    """A forecast without a neural network or Prophet; its value begins the names of its metrics.

    In the order in which tables show them.
    """

    PERSISTENCE = "persistence"
    SEASONAL_NAIVE = "seasonal_naive"
    EXPONENTIAL_SMOOTHING = "exponential_smoothing"
    LINEAR = "linear"
