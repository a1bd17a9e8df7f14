"""Parameters of a run: one file serves every pipeline, and what is typed must fit the one that runs."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from flts.errors import BadInputError
from pipeline.runner.arguments import choose_arguments
from pipeline.runner.command import PIPELINES
from pipeline.runner.compiled import Value, load_pipeline
from pipeline.runner.dataset import LocalDataset

SIX, BOOSTED = (load_pipeline(PIPELINES[name]) for name in ("pipeline", "boosted"))
# A parameter that only the fourth trainer has.
OWN = next(iter(sorted(BOOSTED.parameters.keys() - SIX.parameters.keys())))


@pytest.fixture
def dataset(tmp_path: Path) -> LocalDataset:
    (tmp_path / "X.csv").write_text("time,a\n2024-01-01,1\n")
    (tmp_path / "X.toml").write_text(
        f"[parameters]\nepochs = 3\n{OWN} = {json.dumps(BOOSTED.parameters[OWN].default)}\n"
    )
    return LocalDataset.find(tmp_path / "X.csv")


def chosen(name: str, dataset: LocalDataset, *params: str) -> Mapping[str, Value]:
    pipeline = load_pipeline(PIPELINES[name])
    return choose_arguments(
        pipeline, dataset, dataset.train.parent, params=params, identifier=None, store="file:///store", mlflow=None
    )


def test_a_file_may_set_parameters_of_a_stage_that_the_pipeline_lacks(dataset: LocalDataset) -> None:
    six, boosted = chosen("pipeline", dataset), chosen("boosted", dataset)

    assert six["epochs"] == boosted["epochs"] == 3
    assert OWN not in six
    assert boosted[OWN] == BOOSTED.parameters[OWN].default
    assert {name: boosted[name] for name in six} == six


def test_a_name_that_no_stage_knows_is_an_error_in_a_file_too(dataset: LocalDataset) -> None:
    assert dataset.settings
    dataset.settings.write_text("[parameters]\nepoch = 3\n")

    with pytest.raises(BadInputError, match="the pipeline has no parameter 'epoch'; did you mean epochs"):
        chosen("boosted", dataset)


def test_on_the_command_line_it_must_be_a_parameter_of_the_pipeline_that_runs(dataset: LocalDataset) -> None:
    value = f"{OWN}={BOOSTED.parameters[OWN].default}"

    assert chosen("boosted", dataset, value)
    with pytest.raises(BadInputError, match=f"the pipeline has no parameter '{OWN}'"):
        chosen("pipeline", dataset, value)
