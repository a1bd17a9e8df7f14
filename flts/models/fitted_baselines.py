"""The JSON form of the baselines in a bundle's ``config.json``, so that test data can be forecast with them too."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from flts.params import MAX_WINDOW

# Weights and means of a linear baseline that are kept, some 20 bytes each; bundles of wider data go without it.
LARGEST_LINEAR = 50_000

Numbers = Annotated[list[float], Field(min_length=1, max_length=LARGEST_LINEAR)]


class FittedLinear(BaseModel):
    """The JSON form of the linear baseline; ``level`` and ``weights`` are by target."""

    model_config = ConfigDict(allow_inf_nan=False)

    features: Annotated[tuple[str, ...], Field(min_length=1)]
    history: Annotated[int, Field(ge=1, le=MAX_WINDOW)]
    mean: Numbers
    deviation: Annotated[list[Annotated[float, Field(gt=0)]], Field(max_length=LARGEST_LINEAR)]
    centre: Numbers
    level: dict[str, float]
    weights: dict[str, Numbers]

    @model_validator(mode="after")
    def _sizes_agree(self) -> Self:
        columns, window = len(self.features), len(self.features) * self.history
        if not len(self.mean) == len(self.deviation) == columns:
            raise ValueError("must give one mean and one deviation for each feature")
        if any(len(numbers) != window for numbers in (self.centre, *self.weights.values())):
            raise ValueError("must give one centre and one weight for each value of a window")
        if set(self.level) != set(self.weights):
            raise ValueError("must give level and weights for the same targets")
        return self


class FittedBaselines(BaseModel):
    """The JSON form of the baselines that a training learned, by target.

    Attributes:
        naive_mae: The unit of MASE; zero where there is none.
        smoothing: The weight ``alpha`` of the newest value in exponential smoothing.
        linear: The linear baseline; ``None`` where it is too large to keep.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    naive_mae: dict[str, Annotated[float, Field(ge=0)]]
    smoothing: dict[str, Annotated[float, Field(gt=0, le=1)]]
    linear: FittedLinear | None = None

    @model_validator(mode="after")
    def _alike(self) -> Self:
        linear = set(self.linear.weights) if self.linear else set(self.smoothing)
        if not set(self.naive_mae) == set(self.smoothing) == linear:
            raise ValueError("must give every baseline for the same targets")
        return self
