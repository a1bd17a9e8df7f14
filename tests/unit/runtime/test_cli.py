"""The command line: flags, environment variables, help, and what it says about mistakes."""

from typing import Any

import pytest

from flts.errors import BadInputError
from flts.params import PreprocessParams, RecurrentParams
from flts.runtime import cli
from flts.runtime.parameters import flag
from flts.stage_interface import Stage
from flts.stages import EVAL, PREPROCESS, STAGES

TRAIN_GRU = STAGES["train-gru"]
TRAIN_PROPHET = STAGES["train-prophet"]


def params(stage: Stage, *argv: str, **environ: str) -> Any:
    return cli.read_params(stage, cli.read_command_line(stage, argv).params, environ)[0]


def sentence(stage: Stage, *argv: str, **environ: str) -> str:
    with pytest.raises(BadInputError) as caught:
        params(stage, *argv, **environ)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES.keys())
def test_without_options_every_parameter_has_its_default(stage):
    read = params(stage)
    for name, field in stage.params.model_fields.items():
        assert getattr(read, name) == ("" if field.is_required() else field.default)


def test_flags_set_parameters_of_every_type():
    read = params(
        TRAIN_GRU,
        "--hidden-size",
        "32",
        "--learning-rate=1e-3",
        "--no-early-stopping",
        "--refit",
        "--identifier",
        "a b",
    )
    assert read == RecurrentParams(
        config_hash="",
        config_json="",
        identifier="a b",
        hidden_size=32,
        learning_rate=1e-3,
        early_stopping=False,
        refit=True,
    )


def test_environment_variables_set_parameters_and_flags_win():
    environ = {"SAMPLE_TRAIN_ROWS": "7", "SAMPLE_TEST_ROWS": "8", "CLIP_ENABLE": "true", "SCALER": "none"}
    read, given = cli.read_params(PREPROCESS, {"sample_test_rows": "9"}, environ)
    assert (read.sample_train_rows, read.sample_test_rows, read.clip_enable, read.scaler) == (7, 9, True, "none")
    assert given == {"sample_train_rows", "sample_test_rows", "clip_enable", "scaler"}


def test_empty_environment_variables_count_as_unset():
    assert params(PREPROCESS, SAMPLE_TRAIN_ROWS="", GATEWAY_URL="") == params(PREPROCESS)


def test_a_flag_hides_a_wrong_environment_variable():
    assert params(TRAIN_GRU, "--epochs", "3", EPOCHS="many").epochs == 3


@pytest.mark.parametrize("name", ["", "é" * 64, "run 1", "a.b-c", "global-2", "2024.json", "a" * 128])
def test_names_that_keys_can_hold_are_taken(name):
    assert params(PREPROCESS, "--identifier", name, "--dataset-name", name).dataset_name == name


@pytest.mark.parametrize("name", ["index", "Global", "-x"])
def test_buckets_are_not_names_in_keys(name):
    assert params(PREPROCESS, f"--input-bucket={name}").input_bucket == name


@pytest.mark.parametrize(
    ("stage", "argv", "said"),
    [
        (TRAIN_GRU, ["--epochs", "0"], "--epochs must be at least 1, got 0"),
        (TRAIN_GRU, ["--epochs", "1.5"], "--epochs must be a whole number, got 1.5"),
        (TRAIN_GRU, ["--epochs", "ten"], "--epochs must be a whole number, got ten"),
        (TRAIN_GRU, ["--epochs", ""], "--epochs must be a whole number, got ''"),
        (TRAIN_GRU, ["--epochs", "1" * 5000], "--epochs must be a whole number, got " + "1" * 77 + "..."),
        (TRAIN_GRU, ["--learning-rate", "0"], "--learning-rate must be greater than 0, got 0"),
        (TRAIN_GRU, ["--learning-rate", "fast"], "--learning-rate must be a number, got fast"),
        (TRAIN_GRU, ["--learning-rate", "inf"], "--learning-rate must be a finite number, got inf"),
        (TRAIN_GRU, ["--learning-rate", "nan"], "--learning-rate must be a finite number, got nan"),
        (TRAIN_GRU, ["--experiment-name", ""], "--experiment-name must not be empty, got ''"),
        (PREPROCESS, ["--nans-threshold", "1.5"], "--nans-threshold must be at most 1, got 1.5"),
        (PREPROCESS, ["--scaler", "max"], "--scaler must be MinMaxScaler, StandardScaler, RobustScaler, "
         "MaxAbsScaler or none, got max"),
        (PREPROCESS, ["--identifier", "a/b"], "--identifier must not contain '/', '\\', '..' or control characters, "
         "got 'a/b'"),
        (PREPROCESS, ["--identifier", "a\x1b[31m"], "--identifier must not contain '/', '\\', '..' or control "
         "characters, got 'a\\x1b[31m'"),
        (PREPROCESS, ["--identifier", "\u202egnol"], "--identifier must not contain '/', '\\', '..' or control "
         "characters, got '\\u202egnol'"),
        (PREPROCESS, ["--identifier", "é" * 64 + "x"], "--identifier must be at most 128 bytes of UTF-8, got "
         + "é" * 64 + "x"),
        (PREPROCESS, ["--identifier=-x"], "--identifier must not start with '.' or '-', got -x"),
        (TRAIN_GRU, ["--identifier", ".hidden"], "--identifier must not start with '.' or '-', got .hidden"),
        (EVAL, ["--identifier", "current.json"], "--identifier must not be current.json, global, trainings, trained "
         "or index, which keys use, got current.json"),
        (PREPROCESS, ["--dataset-name", "Current.JSON"], "--dataset-name must not be current.json, global, trainings, "
         "trained or index, which keys use, got Current.JSON"),
        (TRAIN_GRU, ["--experiment-name", "a\0b"], "--experiment-name must be UTF-8 text without NUL, got 'a\\x00b'"),
        (TRAIN_GRU, ["--config-json", "\udcff"], "--config-json must be UTF-8 text without NUL, got '\\udcff'"),
        (PREPROCESS, ["--clip-method", "quantile", "--clip-factor", "50"],
         "--clip-factor must be below 50 (percent) when --clip-method is quantile"),
        (TRAIN_PROPHET, ["--daily-seasonality", "maybe"],
         "--daily-seasonality must be auto, true, false or a Fourier order, got maybe"),
        (TRAIN_GRU, ["--epoch", "3"], "--epoch is not an option; did you mean --epochs?"),
        (TRAIN_GRU, ["--hiden-size=3"], "--hiden-size is not an option; did you mean --hidden-size?"),
        (TRAIN_GRU, ["--xyzzy"], "--xyzzy is not an option; --help lists them"),
        (TRAIN_GRU, ["data.csv"], "unexpected argument 'data.csv': every value follows its option"),
        (TRAIN_GRU, ["--epochs"], "--epochs needs a value"),
        (TRAIN_GRU, ["--epochs", "--refit"], "--epochs needs a value"),
        (TRAIN_GRU, ["--refit=yes"], "--refit takes no value: write --refit or --no-refit"),
        (TRAIN_GRU, ["--refit", "true"],
         "unexpected argument 'true': switches take no value, write --name or --no-name"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_naming_the_flag_and_what_was_expected(stage, argv, said):
    assert sentence(stage, *argv) == said


def test_a_wrong_environment_variable_is_named():
    assert sentence(TRAIN_GRU, EPOCHS="0") == "environment variable EPOCHS must be at least 1, got 0"
    assert sentence(TRAIN_GRU, REFIT="perhaps") == "environment variable REFIT must be true or false, got perhaps"


def test_a_rule_over_two_parameters_names_each_by_where_it_came_from():
    said = sentence(PREPROCESS, "--clip-method", "quantile", CLIP_FACTOR="60")
    assert said == "environment variable CLIP_FACTOR must be below 50 (percent) when --clip-method is quantile"


def test_negative_numbers_are_values():
    assert sentence(PREPROCESS, "--clip-factor", "-1") == "--clip-factor must be greater than 0, got -1"


def test_artifact_paths_are_kept_apart_from_parameters(tmp_path):
    data = tmp_path / "a.csv"
    data.write_text("time,x\n")
    line = cli.read_command_line(TRAIN_GRU, ["--training-data", str(data), "--output-dir", "out"])
    assert (line.inputs, line.output_dir, line.params) == ({"training_data": str(data)}, "out", {})
    assert cli.read_inputs(TRAIN_GRU, line.inputs)["training_data"].path == data


def test_a_missing_required_input_is_named():
    with pytest.raises(BadInputError, match=r"^--gru-model is required: model from train-gru$"):
        cli.read_inputs(EVAL, {})


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES.keys())
def test_help_shows_every_option_with_its_default_and_ends_with_an_example_that_parses(stage, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text = cli.build_parser(stage).format_help()
    assert text.index("Artifacts:") < text.index("Services:")
    for name, field in stage.params.model_fields.items():
        assert f"  {flag(name)}" in text
        assert f"{field.description} (default " in text
    *_, last = text.strip().splitlines()
    command, *argv = last.split()
    line = cli.read_command_line(stage, argv)
    assert command == stage.command
    assert set(line.inputs) >= {name for name, item in stage.inputs.items() if item.required}


def test_help_says_units_limits_and_choices(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text = cli.build_parser(PREPROCESS).format_help()
    assert "(default 0.33; from 0 to 1)" in text
    assert "(default 1.5; greater than 0)" in text
    assert "(default head; head, tail or random)" in text
    assert "--handle-nans, --no-handle-nans" in text
    assert "none of current.json, global, trainings, trained, index)" in " ".join(text.split())
    assert "last 20 % of the training rows" in text


def test_parameters_cannot_be_changed_after_reading():
    read = params(PREPROCESS)
    assert isinstance(read, PreprocessParams)
    with pytest.raises(ValueError, match="frozen"):
        read.scaler = "none"
