"""The registry: which types there are, which a stage trains, and which every pipeline trains."""

from flts.models.registry import MODELS, REQUIRED_MODELS, TRAINED_MODELS


def test_every_pipeline_trains_the_same_three_and_they_come_first_where_scores_tie():
    assert list(MODELS)[:3] == list(TRAINED_MODELS)[:3] == list(REQUIRED_MODELS)[:3] == ["GRU", "LSTM", "PROPHET"]


def test_every_trained_type_describes_its_stage():
    assert all(model.summary for model in TRAINED_MODELS.values())
