"""The command line of the local runner, up to the first stage."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.runner.command import main


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    path = tmp_path / "X.csv"
    path.write_text("time,a\n2024-01-01,1\n")
    return path


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        (["epoch=3"], "the pipeline has no parameter 'epoch'; did you mean epochs?"),
        (["epochs=many"], "parameter epochs: expected a whole number, got 'many'"),
        (["epochs=0"], "parameter epochs must be at least 1, got 0"),
        (["nans_threshold=1.5"], "parameter nans_threshold must be at most 1, got 1.5"),
        (["scaler=Max"], "parameter scaler must be MinMaxScaler, StandardScaler, RobustScaler, MaxAbsScaler or none"),
        (["epochs"], "--param 'epochs' must be NAME=VALUE"),
        (["gateway_url=s3://"], "parameter gateway_url cannot be set here"),
        (["dataset_name=Y"], "parameter dataset_name cannot be set here"),
    ],
)
def test_a_wrong_parameter_is_one_sentence_and_nothing_is_written(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], params: list[str], sentence: str
) -> None:
    flags = [word for param in params for word in ("--param", param)]

    assert main(["--dataset", str(dataset), "--home", str(tmp_path / "home"), *flags]) == 2

    error = capsys.readouterr().err
    assert error.startswith(f"run: {sentence}")
    assert error.count("\n") == 1
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("identifier", ["../up", "a/b", "x" * 129])
def test_an_identifier_cannot_lead_out_of_the_runs_folder(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], identifier: str
) -> None:
    code = main(["--dataset", str(dataset), "--home", str(tmp_path / "home"), "--identifier", identifier])

    assert code == 2
    assert capsys.readouterr().err.startswith("run: parameter identifier must")
    assert not (tmp_path / "home").exists()


def test_a_dataset_that_the_store_lacks_is_named_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--stored-dataset", "Y", "--home", str(tmp_path / "home"), "--param", "input_bucket=mine"]) == 2
    assert capsys.readouterr().err.startswith("run: bucket mine has neither Y.csv")
    assert not (tmp_path / "home").exists()


def test_a_missing_dataset_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--dataset", str(tmp_path / "none.csv"), "--home", str(tmp_path / "home")]) == 2
    assert capsys.readouterr().err == f"run: dataset {tmp_path / 'none.csv'} does not exist\n"


def test_names_that_are_not_utf_8_are_refused(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = tmp_path / "X\udcff.csv"
    shutil.copy(dataset, named)

    assert main(["--dataset", str(named), "--home", str(tmp_path / "home")]) == 2
    assert capsys.readouterr().err.endswith("because it is named after its file: 'X\\udcff' must be UTF-8\n")
    assert main(["--dataset", str(dataset), "--home", str(tmp_path / "home\udcff")]) == 2
    assert capsys.readouterr().err.startswith("run: --home must be UTF-8, got ")


def test_no_control_character_of_the_command_line_reaches_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--dataset", "\x1b[31mred.csv", "--home", str(tmp_path / "home")]) == 2
    assert capsys.readouterr().err == "run: dataset \\x1b[31mred.csv does not exist\n"


def test_a_home_that_is_a_file_is_named(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "home").write_text("")

    assert main(["--dataset", str(dataset), "--home", str(tmp_path / "home")]) == 2
    assert str(tmp_path / "home") in capsys.readouterr().err


def test_settings_beside_the_dataset_are_checked_too(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset.with_suffix(".toml").write_text("[parameters]\nhidden_size = -1\n")

    assert main(["--dataset", str(dataset), "--home", str(tmp_path / "home")]) == 2
    assert capsys.readouterr().err == "run: parameter hidden_size must be at least 1, got -1\n"


def test_the_command_line_wins_over_the_settings(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset.with_suffix(".toml").write_text("[parameters]\nhidden_size = 8\n")

    main(["--dataset", str(dataset), "--home", str(tmp_path / "home"), "--param", "hidden_size=0"])

    assert "hidden_size must be at least 1, got 0" in capsys.readouterr().err


def test_help_is_quick_and_names_the_options(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "pipeline.runner", "--help"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )

    assert all(option in done.stdout for option in ("--dataset", "--param", "--identifier", "--home", "--runner"))
    assert not [
        line for line in done.stderr.splitlines() if line.endswith(("| kfp", "| torch", "| mlflow", "| pandas"))
    ]
