"""What a worker takes from its environment: older names, the file of parameters, the models that are awaited."""

import json

import pytest

from flts.errors import BadInputError
from flts.runtime.cli import read_params
from flts.stages import STAGES
from flts.workers.command import older_names

PREPROCESS, TRAIN_GRU, TRAIN_PROPHET = (STAGES[name] for name in ("preprocess", "train-gru", "train-prophet"))


def config(tmp_path, content: object) -> dict[str, str]:
    path = tmp_path / "config.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return {"CONFIG_PATH": str(path)}


def test_a_file_holds_the_parameters_of_preprocess(tmp_path):
    fields = {"dataset_name": "PobleSec", "nans_knn": 3, "clip_enable": True, "nans_threshold": 0.5, "lags_n": None}
    environ = config(tmp_path, fields)
    params, _ = read_params(PREPROCESS, {}, older_names(PREPROCESS, environ))
    assert (params.dataset_name, params.nans_knn, params.clip_enable, params.nans_threshold, params.lags_n) == (
        "PobleSec",
        3,
        True,
        0.5,
        0,
    )


def test_a_variable_wins_over_the_file_unless_it_is_empty(tmp_path):
    environ = config(tmp_path, {"identifier": "file", "dataset_name": "file"})
    found = older_names(PREPROCESS, {**environ, "IDENTIFIER": "variable", "DATASET_NAME": ""})
    assert (found["IDENTIFIER"], found["DATASET_NAME"]) == ("variable", "file")


def test_other_stages_do_not_look_at_the_file():
    assert older_names(TRAIN_GRU, {"CONFIG_PATH": "/nowhere"}) == {"CONFIG_PATH": "/nowhere"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"nans_kn": 3}, "nans_kn is not a parameter of flts-preprocess"),
        ([1], "is not a file of parameters: a JSON object is expected"),
        ("{", "is not a file of parameters: JSON is expected, not nested deeply"),
    ],
)
def test_a_file_that_holds_no_parameters_is_named(tmp_path, content, said):
    environ = config(tmp_path, content)
    with pytest.raises(BadInputError) as caught:
        older_names(PREPROCESS, environ)
    assert str(caught.value).startswith(f"environment variable CONFIG_PATH: {environ['CONFIG_PATH']}")
    assert str(caught.value).endswith(said)


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(BadInputError, match=r"^/nowhere does not exist: a file of parameters is expected$"):
        older_names(PREPROCESS, {"CONFIG_PATH": "/nowhere"})


@pytest.mark.parametrize(
    ("environ", "country"),
    [({"COUNTRY": "ES"}, "ES"), ({"COUNTRY": "ES", "HOLIDAYS_COUNTRY": "FR"}, "FR"), ({"COUNTRY": ""}, "")],
)
def test_prophets_country_has_an_older_name(environ, country):
    params, _ = read_params(TRAIN_PROPHET, {}, older_names(TRAIN_PROPHET, environ))
    assert params.holidays_country == country


def test_a_country_means_nothing_to_other_trainers():
    assert "HOLIDAYS_COUNTRY" not in older_names(TRAIN_GRU, {"COUNTRY": "ES"})


@pytest.mark.parametrize("said", ["GRU", "gru", ""])
def test_the_model_type_may_be_said_again(said):
    assert older_names(TRAIN_GRU, {"MODEL_TYPE": said}) == {"MODEL_TYPE": said}


def test_another_model_type_is_refused():
    with pytest.raises(
        BadInputError, match=r"^environment variable MODEL_TYPE is LSTM, but flts-train-gru trains GRU$"
    ):
        older_names(TRAIN_GRU, {"MODEL_TYPE": "lstm"})
