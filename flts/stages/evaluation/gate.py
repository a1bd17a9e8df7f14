"""The gate: the decision whether the winner is promoted, in view of the baselines and the champion."""

import math
from dataclasses import dataclass

from flts.contracts import Promotion
from flts.errors import BadInputError
from flts.params import EvalParams
from flts.promotion import Pointer, Requirement, failed_requirements, requires_baselines, requires_champion
from flts.stage_interface import Context
from flts.stages.evaluation.candidates import BASELINES, NEWER_BASELINES, Candidate
from flts.stages.evaluation.champion import SameRowScores, compare, load_champion
from flts.stages.evaluation.selection_series import SelectionSeries, read_challenger
from flts.stages.evaluation.training_data import CandidatesData
from flts.timeseries.processed import ProcessedData


@dataclass(frozen=True)
class ChampionComparison:
    """The winner compared with the champion, which is in production.

    Attributes:
        champion: The champion's promotion.
        scores: Their scores on the same rows; ``None`` where they cannot be compared.
        obstacle: Why they cannot be compared, as the end of a sentence.
    """

    champion: Promotion
    scores: SameRowScores | None = None
    obstacle: str = ""


@dataclass(frozen=True)
class _ChampionCheck:
    """The champion's part of the decision: requirements to beat, other reasons to hold the winner, and a remark."""

    requirements: tuple[Requirement, ...] = ()
    reasons: tuple[str, ...] = ()
    remark: str = ""


class Gate:
    """Decision about one winner; data and forecasts are read once, and only if there is a champion to beat."""

    def __init__(
        self,
        params: EvalParams,
        context: Context,
        winner: Candidate,
        promotion: Promotion,
        *,
        data: CandidatesData,
        forecasts: SelectionSeries | None = None,
    ) -> None:
        """Decide about ``promotion``, which promotes ``winner``.

        Args:
            params: The parameters.
            context: Where MLflow is, which may keep forecasts.
            winner: The model.
            promotion: Its promotion.
            data: What it was trained on.
            forecasts: Its forecasts of the selection part, where they were read already.
        """
        self.notes: list[str] = []
        self.comparison: ChampionComparison | None = None
        self._params, self._context, self._winner, self._promotion = params, context, winner, promotion
        self._given, self._read = data, forecasts

    def decide(self, pointer: Pointer | None) -> Promotion:
        """Return the promotion, held or not; ``pointer`` names what is in production.

        Raises:
            BadInputError: ``training_data`` is not what the winner was trained on.
            ServiceUnavailableError: MLflow or the store are out of reach.
        """
        gate, name = self._params.gate, self._winner.name
        self.notes, self.comparison = [], None
        if gate == "none":
            return self._promotion
        requirements = self._baselines() if requires_baselines(gate) else []
        update: dict[str, str] = {"gate": gate}
        check = self._against_champion(pointer) if requires_champion(gate) else _ChampionCheck()
        requirements += check.requirements
        if requires_champion(gate) and pointer and pointer.promotion:
            update |= {"champion_run_id": pointer.promotion.run_id, "champion_time": pointer.promotion.promotion_time}
        if reasons := (*failed_requirements(requirements, self._params.min_gain), *check.reasons):
            update["status"] = "HELD"
            decision = f"{name} is held: {', and '.join(reasons)}"
        else:
            beaten = " and ".join(f"{one.name} ({one.challenger:.4g} against {one.score:.4g})" for one in requirements)
            decision = f"{name} beats {beaten}" if beaten else ""
        update["reason"] = "; ".join(filter(None, [decision, check.remark]))
        return self._promotion.model_copy(update=update)

    def fallback_champion(self, champion: Promotion | None) -> Promotion | None:
        """Return the champion to forecast with in place of the held winner; ``None`` where it cannot forecast."""
        if champion is None:
            return None
        same_data = champion.config_hash == self._promotion.config_hash
        suits = same_data if self.comparison is None else self.comparison.scores is not None
        if not suits and self._data:
            try:
                load_champion(champion, self._data, self._context)
            except BadInputError as error:
                self.notes.append(f"{_title(champion)} cannot forecast this data, so the held model does: {error}")
                return None
        return champion if same_data else champion.model_copy(update={"data_config_hash": self._promotion.config_hash})

    @property
    def _data(self) -> ProcessedData | None:
        return self._given.processed if self._given.given else None

    def _forecasts(self, data: ProcessedData) -> SelectionSeries:
        if self._read is None:
            self._read = read_challenger(self._winner, data, self._context)
        return self._read

    def _baselines(self) -> list[Requirement]:
        challenger, known = self._winner.scores.composite, self._winner.baselines
        unknown = {name: BASELINES[name] for name in BASELINES if name in NEWER_BASELINES and name not in known}
        self.notes += [
            f"the gate does not ask for {label}: an older version trained {self._winner.name}, and did not score it"
            for label in unknown.values()
        ]
        return [
            Requirement(label, known[name].composite if name in known else math.nan, challenger)
            for name, label in BASELINES.items()
            if name not in unknown
        ]

    def _against_champion(self, pointer: Pointer | None) -> _ChampionCheck:
        if pointer is None:
            return _ChampionCheck(remark="nothing is in production yet")
        if pointer.promotion is None:
            self.notes.append("the pointer to what is in production is damaged, and counts as nothing in production")
            return _ChampionCheck(remark=self.notes[-1])
        if pointer.promotion.run_id == self._winner.message.run_id:
            return _ChampionCheck(remark="it is in production already")
        self.comparison = self._compare(pointer.promotion)
        scores, title = self.comparison.scores, _title(pointer.promotion)
        if scores:
            name = f"{title} on the same {scores.rows} rows"
            requirement = Requirement(name, scores.champion.composite, scores.challenger.composite)
            return _ChampionCheck((requirement,), remark=scores.provenance)
        choice, obstacle = self._params.incomparable, self.comparison.obstacle
        sentence = f"{title} cannot be compared with {self._winner.name}, and incomparable is {choice}: {obstacle}"
        if choice == "hold":
            return _ChampionCheck(reasons=(sentence,))
        self.notes.append(sentence)
        return _ChampionCheck(remark=sentence)

    def _compare(self, champion: Promotion) -> ChampionComparison:
        data = self._data  # where it belongs to other candidates, that is an error, not an obstacle
        try:
            if data is None:
                raise BadInputError("training_data was not given")
            loaded = load_champion(champion, data, self._context)
            scores = compare(champion, loaded, data, self._forecasts(data), self._context)
        except BadInputError as error:
            return ChampionComparison(champion, obstacle=str(error))
        return ChampionComparison(champion, scores)


def _title(champion: Promotion) -> str:
    return f"the champion {champion.model_type} (run {champion.run_id})"
