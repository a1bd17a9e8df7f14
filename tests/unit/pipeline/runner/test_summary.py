"""``summary.json``: its content for runs that end well and badly, and its documentation."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pipeline.runner.compiled import Task
from pipeline.runner.console_summary import result_locations, summary_lines
from pipeline.runner.messages import RuntimeArtifact, TaskOutputs
from pipeline.runner.state import Status, TaskState
from pipeline.runner.summary import Summary, summarise, versions

STAGES = ("preprocess", "train-gru", "train-lstm", "train-naive", "eval", "inference")
ARGUMENTS = {"identifier": "run-1", "dataset_name": "X", "epochs": 3}
BASELINES = ("persistence", "exponential_smoothing", "linear")
TRAINED = ("train-gru", "train-lstm", "train-naive")


@pytest.fixture
def states(tmp_path: Path) -> dict[str, TaskState]:
    declared: dict[str, dict[str, str]] = {"model": {}, "metrics": {}}
    return {
        name: TaskState(
            Task(name, name, "image", (), frozenset(), {}, {}, {}, {}, declared if name in TRAINED else {}),
            tmp_path / name,
        )
        for name in STAGES
    }


def finish(state: TaskState, status: Status = Status.DONE, **artifacts: dict[str, Any]) -> None:
    state.folder.mkdir()
    for name, content in artifacts.items():
        (state.folder / name).write_text(json.dumps(content))
    state.status, state.started, state.ended, state.exit_code = status, 12.0, 14.5, 0
    state.message = f"{state.task.name} did it"
    state.outputs = TaskOutputs(
        {"config_hash": "c0ffee"}, {name: RuntimeArtifact(name, state.folder / name, {}) for name in artifacts}
    )


def metrics(rmse: float) -> dict[str, float | None]:
    scores = {"test_rmse": rmse, "test_mae": rmse / 2, "test_mse": rmse**2}
    return (
        scores
        | {f"{name}_original": 10 * value for name, value in scores.items()}
        | {f"{baseline}_{name}": 3 * value for baseline in BASELINES for name, value in scores.items()}
        | {"seasonal_naive_test_rmse": None, "composite_score": rmse * 0.9, "test_mase": 0.7, "linear_test_smape": 0.2}
    )


def promotion(**changes: Any) -> dict[str, Any]:
    return {
        "model_type": "LSTM",
        "run_id": "run of train-lstm",
        "model_uri": "runs:/x/LSTM",
        "composite_score": 0.18,
        "promotion_time": "2024-01-01T00:00:00.000000Z",
        "weights": {"rmse": 0.5},
    } | changes


def finish_all(states: dict[str, TaskState]) -> None:
    finish(states["preprocess"], Status.CACHED)
    for name, rmse in zip(TRAINED, (0.3, 0.2, 0.4), strict=True):
        model = {"model_type": name.removeprefix("train-").upper(), "run_id": f"run of {name}"}
        finish(states[name], model=model, metrics=metrics(rmse))
    finish(states["eval"], promotion_metadata=promotion())
    finish(states["inference"], metrics={"rmse": 1.5, "backtest_rmse": 1.2, "inference_count": 10})


def summary(states: dict[str, TaskState], exit_code: int = 0, *, stopped: bool = False) -> Summary:
    return summarise(
        states,
        ARGUMENTS,
        exit_code=exit_code,
        stopped=stopped,
        started="2024-01-01T00:00:00.000000Z",
        clock=10.0,
        seconds=20.0,
        versions={"flts": "1"},
    )


def test_a_run_that_ended_well(states: dict[str, TaskState]) -> None:
    finish_all(states)

    found = summary(states)

    assert (found.status, found.exit_code, found.config_hash, found.seconds) == ("done", 0, "c0ffee", 20.0)
    assert (found.identifier, found.dataset_name, found.parameters) == ("run-1", "X", ARGUMENTS)
    assert list(found.stages) == list(STAGES)
    assert found.stages["preprocess"].cached
    assert not found.stages["eval"].cached
    assert (found.stages["eval"].seconds, found.stages["eval"].started_after) == (2.5, 2.0)
    assert found.stages["eval"].message == "eval did it"
    assert found.run_ids == {name.removeprefix("train-").upper(): f"run of {name}" for name in TRAINED}
    assert found.promotion is not None
    assert found.promotion.model_type == "LSTM"
    assert found.forecast == {"rmse": 1.5, "backtest_rmse": 1.2, "inference_count": 10}


def test_every_task_with_a_model_and_its_metrics_is_a_trainer(states: dict[str, TaskState]) -> None:
    finish_all(states)

    assert list(summary(states).models) == ["GRU", "LSTM", "NAIVE"]


def test_a_model_stands_beside_the_baselines(states: dict[str, TaskState]) -> None:
    finish_all(states)

    lstm = summary(states).models["LSTM"]

    known = lstm.test.model_dump(exclude_none=True)
    assert known == {"rmse": 0.2, "mae": 0.1, "mse": pytest.approx(0.04), "mase": 0.7}
    assert lstm.exponential_smoothing.rmse == pytest.approx(0.6)
    assert lstm.linear.smape == 0.2
    assert lstm.test_original.rmse == 2.0
    assert lstm.persistence.rmse == pytest.approx(0.6)
    assert lstm.linear.mae == pytest.approx(0.3)
    assert lstm.seasonal_naive.rmse is None
    assert lstm.seasonal_naive.mae is None
    assert lstm.composite_score == pytest.approx(0.18)


def test_a_failed_run_has_what_there_is(states: dict[str, TaskState]) -> None:
    finish(states["preprocess"])
    finish(states["train-gru"], model={"model_type": "GRU", "run_id": "r"}, metrics=metrics(0.3))
    failed = states["train-lstm"]
    failed.status, failed.started, failed.ended = Status.FAILED, 12.0, 13.0
    failed.error, failed.exit_code, failed.message = "it has 5 rows", 2, "epoch 1/3"
    states["train-naive"].status = Status.STOPPED
    states["eval"].status = states["inference"].status = Status.NOT_RUN

    found = summary(states, exit_code=2)

    assert found.status == "failed"
    assert list(found.models) == ["GRU"]
    assert (found.promotion, found.forecast) == (None, None)
    assert found.stages["train-lstm"].model_dump() == {
        "status": "failed",
        "seconds": 1.0,
        "started_after": 2.0,
        "cached": False,
        "message": "",
        "notes": [],
        "error": "it has 5 rows",
        "exit_code": 2,
    }
    assert found.stages["eval"].status == "not run"
    assert found.stages["eval"].seconds is None


def test_a_run_ended_by_a_signal_was_stopped(states: dict[str, TaskState]) -> None:
    for state in states.values():
        state.status = Status.NOT_RUN
    states["preprocess"].status = Status.STOPPED

    found = summary(states, exit_code=130, stopped=True)

    assert (found.status, found.exit_code, found.config_hash) == ("stopped", 130, None)


def test_it_reads_back_as_json_and_fits_its_schema(states: dict[str, TaskState]) -> None:
    finish_all(states)
    text = summary(states).model_dump_json()

    Draft202012Validator(Summary.model_json_schema()).validate(json.loads(text))
    assert Summary.model_validate_json(text) == summary(states)


def test_versions_name_what_runs(root: Path) -> None:
    found = versions(root)

    assert {"flts", "python", "torch", "prophet", "mlflow", "numpy", "pandas", "pyarrow"} <= found.keys()


def test_versions_outside_a_repository_have_no_commit(tmp_path: Path) -> None:
    assert "commit" not in versions(tmp_path)


def test_the_documentation_has_every_field_in_order(root: Path) -> None:
    page = (root / "docs" / "summary.md").read_text()
    schema = Summary.model_json_schema()

    for title, model in [("Summary", schema), *schema["$defs"].items()]:
        rows = "\n".join(
            f"| `{name}` | {kind(field)} | {field['description']} |" for name, field in model["properties"].items()
        )
        assert f"## {title}\n\n{model['description']}\n\n| field | type | meaning |\n|---|---|---|\n{rows}\n" in page


def kind(field: dict[str, Any]) -> str:
    """Say a field's JSON type, as the page does."""
    match field:
        case {"anyOf": options}:
            words = " or ".join(kind(option) for option in options)
        case {"$ref": address}:
            name = address.rpartition("/")[2]
            words = f"[{name}](#{name.lower()})"
        case {"enum": values}:
            words = ", ".join(f'`"{value}"`' for value in values)
        case {"const": value}:
            words = f"`{value}`"
        case {"type": "array", "items": item}:
            words = f"list of {kind(item)}"
        case {"type": "object", "additionalProperties": item}:
            words = f"object of {kind(item)}"
        case _:
            words = field["type"]
    return words


def test_a_held_model_says_so_and_why(states: dict[str, TaskState]) -> None:
    finish_all(states)
    (states["eval"].folder / "promotion_metadata").write_text(
        json.dumps(promotion(status="HELD", reason="the champion is better"))
    )
    found = summary(states)
    assert found.promotion is not None
    assert (found.promotion.status, found.promotion.reason) == ("HELD", "the champion is better")
    found = found.model_copy(update={"run_ids": {}})
    lines = list(summary_lines(found, dict.fromkeys(STAGES, "title"), {}))
    assert next(line for line in lines if line.startswith("Held")).split()[1] == "LSTM,"
    assert "           the champion is better" in lines


@pytest.mark.parametrize(("status", "subject"), [("PROMOTED", "LSTM, which is promoted,"), ("HELD", "The forecast")])
def test_the_first_line_says_that_a_baseline_was_not_beaten(
    states: dict[str, TaskState], status: str, subject: str
) -> None:
    finish_all(states)
    (states["eval"].folder / "promotion_metadata").write_text(json.dumps(promotion(status=status)))
    found = summary(states).model_copy(update={"run_ids": {}})
    weak = {"backtest_rmse": 2.0, "backtest_linear_rmse": 1.5, "backtest_exponential_smoothing_rmse": 2.0}
    first, *_ = summary_lines(found.model_copy(update={"forecast": weak}), dict.fromkeys(STAGES, "title"), {})
    assert first == (
        f"{subject} does not beat exponential smoothing or the linear baseline on the test data: "
        "backtest RMSE 2 against 2 and 1.500"
    )
    strong = weak | {"backtest_rmse": 1.4}
    lines = summary_lines(found.model_copy(update={"forecast": strong}), dict.fromkeys(STAGES, "title"), {})
    assert not any("does not beat" in line for line in lines)


def test_a_promotion_of_an_older_version_is_promoted(states: dict[str, TaskState]) -> None:
    finish_all(states)
    found = summary(states)
    assert found.promotion is not None
    assert (found.promotion.status, found.promotion.reason) == ("PROMOTED", None)


@pytest.mark.parametrize(
    ("status", "selected", "there"),
    [("PROMOTED", "winner", True), ("HELD", "champion", True), ("HELD", "winner", False)],
)
def test_a_pointer_is_named_only_where_something_is_in_production(
    states: dict[str, TaskState], status: str, selected: str, *, there: bool
) -> None:
    made = {"promotion_metadata": {"run_id": "winner", "status": status}, "selected_model": {"run_id": selected}}
    states["eval"].outputs = TaskOutputs(
        {}, {name: RuntimeArtifact(name, Path(name), {}, metadata) for name, metadata in made.items()}
    )
    arguments = {"gateway_url": "s3://", "promotion_bucket": "model-promotion", "identifier": "x"}
    found = result_locations(states, arguments)
    assert found.get("Promotion") == ("s3://model-promotion/x/current.json" if there else None)
