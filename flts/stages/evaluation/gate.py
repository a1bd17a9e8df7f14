"""The gate: whether the winner goes into production, in view of baselines and champion."""

import math
from dataclasses import dataclass
from functools import cached_property

from flts.contracts import Promotion
from flts.errors import BadInputError
from flts.params import EvalParams
from flts.promotion import Pointer, Requirement, failed_requirements, requires_baselines, requires_champion
from flts.stage_interface import Context
from flts.stages.evaluation.candidates import BASELINES, Candidate
from flts.stages.evaluation.champion import (
    SameRowScores,
    SelectionSeries,
    compare,
    load_champion,
    read_data,
    read_forecasts,
)
from flts.timeseries.processed import ProcessedData


@dataclass(frozen=True)
class ChampionComparison:
    """How the winner did beside what is in production.

    Attributes:
        champion: What is in production.
        comparison: Their scores on the same rows; ``None`` where they cannot be compared.
        obstacle: Why they cannot, a sentence's end.
    """

    champion: Promotion
    comparison: SameRowScores | None = None
    obstacle: str = ""


class Gate:
    """Decides about one winner; data and forecasts are read once, and only if there is a champion to beat."""

    def __init__(self, params: EvalParams, context: Context, winner: Candidate, promotion: Promotion) -> None:
        """Decide about ``promotion``, which promotes ``winner``."""
        self.notes: list[str] = []
        self.contest: ChampionComparison | None = None
        self._params, self._context, self._winner, self._promotion = params, context, winner, promotion
        self._read: SelectionSeries | None = None

    def decide(self, pointer: Pointer | None) -> Promotion:
        """Return the promotion, held or not; ``pointer`` names what is in production.

        Raises:
            BadInputError: ``training_data`` is not what the winner was trained on.
            ServiceUnavailableError: MLflow or the store are out of reach.
        """
        gate, name = self._params.gate, self._winner.name
        self.notes, self.contest = [], None
        if gate == "none":
            return self._promotion
        requirements: list[Requirement] = []
        update: dict[str, str] = {"gate": gate}
        remark = ""
        if requires_baselines(gate):
            requirements += self._baselines()
        if requires_champion(gate):
            champion, remark = self._champion(pointer)
            requirements += champion
            if pointer and pointer.promotion:
                update |= {
                    "champion_run_id": pointer.promotion.run_id,
                    "champion_time": pointer.promotion.promotion_time,
                }
        if reasons := failed_requirements(requirements, self._params.min_gain):
            update |= {"status": "HELD", "reason": f"{name} is held: {', and '.join(reasons)}"}
        else:
            beaten = " and ".join(f"{one.name} ({one.challenger:.4g} against {one.score:.4g})" for one in requirements)
            update["reason"] = "; ".join(filter(None, [beaten and f"{name} beats {beaten}", remark]))
        return self._promotion.model_copy(update=update)

    def fallback_champion(self, champion: Promotion | None) -> Promotion | None:
        """Return the champion as what is forecast with in place of the held winner; ``None`` where it cannot be."""
        if champion is None or champion.config_hash == self._promotion.config_hash:
            return champion
        if self._data and not (self.contest and self.contest.comparison):
            try:
                load_champion(champion, self._data, self._context)
            except BadInputError as error:
                self.notes.append(f"{_title(champion)} cannot forecast this data, so the held model does: {error}")
                return None
        return champion.model_copy(update={"data_config_hash": self._promotion.config_hash})

    @cached_property
    def _data(self) -> ProcessedData | None:
        if "training_data" not in self._context.inputs:
            return None
        return read_data(self._context, self._promotion.config_hash)

    def _forecasts(self, data: ProcessedData) -> SelectionSeries:
        if self._read is None:
            self._read = read_forecasts(self._winner, data, self._context)
        return self._read

    def _baselines(self) -> list[Requirement]:
        challenger, known = self._winner.scores.composite, self._winner.baselines
        return [
            Requirement(label, known[name].composite if name in known else math.nan, challenger)
            for name, label in BASELINES.items()
        ]

    def _champion(self, pointer: Pointer | None) -> tuple[list[Requirement], str]:
        """Return the champion as a requirement; none, and a remark, where there is nothing to be compared with."""
        if pointer is None:
            return [], "nothing is in production yet"
        if pointer.promotion is None:
            self.notes.append("the pointer to what is in production is damaged, and counts as nothing in production")
            return [], self.notes[-1]
        if pointer.promotion.run_id == self._winner.message.run_id:
            return [], "it is in production already"
        self.contest = self._meet(pointer.promotion)
        met = self.contest.comparison
        if met is None:
            self.notes.append(
                f"{self._winner.name} wins by default, because {_title(pointer.promotion)} cannot be compared with it: "
                f"{self.contest.obstacle}"
            )
            return [], self.notes[-1]
        name = f"{_title(pointer.promotion)} on the same {met.rows} rows"
        return [Requirement(name, met.champion.composite, met.challenger.composite)], ""

    def _meet(self, champion: Promotion) -> ChampionComparison:
        data = self._data  # that of other candidates is an error, not an obstacle
        try:
            if data is None:
                raise BadInputError("training_data was not given")
            return ChampionComparison(
                champion, compare(load_champion(champion, data, self._context), data, self._forecasts(data))
            )
        except BadInputError as error:
            return ChampionComparison(champion, obstacle=str(error))


def _title(champion: Promotion) -> str:
    return f"the champion {champion.model_type} (run {champion.run_id})"
