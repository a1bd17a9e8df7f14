"""The limits of parameters: what nobody's memory or patience could hold is refused before anything is read."""

import pytest

from flts.errors import BadInputError
from flts.runtime.parameters import check_params
from flts.stages import STAGES

REQUIRED = {"dataset_name": "d", "identifier": "i", "config_hash": "", "config_json": ""}


@pytest.mark.parametrize(
    ("stage", "name", "most"),
    [
        ("preprocess", "nans_knn", 1000),
        ("preprocess", "lags_n", 1000),
        ("preprocess", "lags_step", 1_000_000),
        ("train-gru", "hidden_size", 8192),
        ("train-lstm", "hidden_size", 8192),
        ("train-gru", "num_layers", 64),
        ("train-gru", "batch_size", 1_000_000),
        ("train-gru", "epochs", 100_000),
        ("train-gru", "patience", 100_000),
        ("train-gru", "input_seq_len", 10_000),
        ("train-gru", "output_seq_len", 10_000),
        ("train-prophet", "input_seq_len", 10_000),
        ("train-prophet", "n_changepoints", 1000),
        ("inference", "inference_length", 100_000),
    ],
)
@pytest.mark.parametrize("value", [1, 10**9, 10**30])
def test_a_parameter_beyond_its_limit_is_named(stage, name, most, value):
    model = STAGES[stage].params
    values = {key: text for key, text in REQUIRED.items() if key in model.model_fields}
    assert getattr(check_params(model, values | {name: most}, str), name) == most
    with pytest.raises(BadInputError, match=f"^{name} must be at most {most}, got {most + value}$"):
        check_params(model, values | {name: most + value}, str)
