"""The JSON form of boosters: LightGBM's own texts, and the statistics that their features and outputs need."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from flts.models.boosting.views import ViewName
from flts.timeseries.features import TIME_FEATURES

Statistic = Annotated[float, Field(ge=-1e300, le=1e300)]
Scale = Annotated[float, Field(gt=1e-300, le=1e300)]
MAX_VIEWS = 8
MOST_OFFSET = 100.0


class FittedBooster(BaseModel):
    """The booster of a target in a view: LightGBM's own text, null where none was better than no change.

    ``unit`` and ``limit`` are ``scale`` and ``limit`` of the view.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    view: ViewName
    unit: Scale
    limit: Annotated[float, Field(ge=0, le=1e300)]
    offset: Annotated[float, Field(ge=-MOST_OFFSET, le=MOST_OFFSET)]
    text: str | None


class FittedBoosting(BaseModel):
    """All boosters of a bundle, by target."""

    model_config = ConfigDict(allow_inf_nan=False)

    columns: tuple[str, ...]
    median: list[Statistic]
    spread: list[Scale]
    calendar: tuple[str, ...]
    non_negative: list[str]
    targets: dict[str, Annotated[list[FittedBooster], Field(min_length=1, max_length=MAX_VIEWS)]]

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if not len(set(self.columns)) == len(self.columns) == len(self.median) == len(self.spread):
            raise ValueError("must have one median and one spread for each column, and name no column twice")
        if unknown := set(self.calendar) - set(TIME_FEATURES):
            raise ValueError(f"names {min(unknown)!r}, which is not a time feature, in field 'calendar'")
        if unknown := set(self.non_negative) - set(self.targets):
            raise ValueError(f"names {min(unknown)!r}, which is not a target, in field 'non_negative'")
        return self
