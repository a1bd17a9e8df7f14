"""How a container starts and ends: help, a shell, signals, and kills that leave nothing half-written."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flts.stages import STAGES
from tests.support import engine
from tests.support.waiting import wait_until

LOCKED_DOWN = (
    *("--read-only", "--tmpfs=/tmp", "--network=none"),
    *("--cap-drop=ALL", "--security-opt=no-new-privileges"),
)


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest) -> str:
    return request.param


def test_without_arguments_it_prints_the_help(stage: str) -> None:
    done = engine.run(f"flts-{stage}:kfp", check=False)

    assert done.returncode == 2
    assert done.stderr.startswith(f"usage: flts-{stage}")


def test_help_and_version_are_the_stages(stage: str) -> None:
    assert engine.run(f"flts-{stage}:kfp", "--help").stdout.startswith(f"usage: flts-{stage}")
    assert engine.run(f"flts-{stage}:kfp", "--version").stdout.startswith(f"flts-{stage} ")


def test_a_command_takes_the_place_of_the_stage(stage: str) -> None:
    image = f"flts-{stage}:kfp"

    assert engine.run(image, "sh", "-c", "id -u").stdout.strip() == "10001"
    assert engine.run(image, f"flts-{stage}", "--version").stdout.startswith(f"flts-{stage} ")
    assert engine.run("--entrypoint", "", image, f"flts-{stage}", "--version").stdout.startswith(f"flts-{stage} ")


def test_a_word_that_is_no_command_is_for_the_stage() -> None:
    done = engine.run("flts-eval:kfp", "promote", check=False)

    assert done.returncode == 2
    assert "unexpected argument 'promote'" in done.stderr


def test_a_folder_that_cannot_be_written_is_one_sentence(data: Path) -> None:
    data.chmod(0o755)
    data.parent.chmod(0o755)

    done = engine.run(
        *("--user", "123456", "-v", f"{data}:/data", "flts-preprocess:kfp"),
        *("--input", "/data/jfk_weather.csv", "--output-dir", "/data/out"),
        check=False,
    )

    assert done.returncode == 2
    (said,) = done.stderr.splitlines()
    assert said == "flts-preprocess: --output-dir /data/out cannot be written: permission denied"


def test_why_it_failed_is_in_the_termination_log_as_kubernetes_mounts_it(tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    log.touch()
    log.chmod(0o666)

    done = engine.run(
        *(*LOCKED_DOWN, "-v", f"{log}:/dev/termination-log", "flts-eval:kfp", "--gru-model", "nowhere"), check=False
    )

    assert done.returncode == 2
    assert log.read_text() == "--gru-model: nowhere does not exist"


def test_the_stage_is_process_1(training: "Training") -> None:
    with training.started() as container:
        command = engine.docker("exec", container, "sh", "-c", "tr '\\0' ' ' </proc/1/cmdline").stdout

    assert "flts-train-gru" in command
    assert "entrypoint" not in command


def test_sigterm_ends_a_training_in_time_with_nothing_written(training: "Training") -> None:
    with training.started() as container:
        began = time.monotonic()
        engine.docker("stop", "--time", "30", container)
        seconds = time.monotonic() - began
        code = engine.docker("inspect", "--format", "{{.State.ExitCode}}", container).stdout.strip()

    assert code == "143"
    assert seconds < 10
    assert training.outputs() == []


def test_a_killed_training_leaves_nothing_to_take_for_a_result_and_can_be_repeated(training: "Training") -> None:
    with training.started() as container:
        engine.docker("kill", container)
    assert [name for name in training.outputs() if not name.startswith(".")] == []

    engine.run(*training.command(epochs=1))

    made = {"bundle", "model.json", "metrics.json", "scores.json", "report.html", "selection.json"}
    assert made == set(training.outputs())


def test_a_training_that_runs_out_of_memory_is_killed_and_leaves_no_result(training: "Training") -> None:
    done = engine.run("--memory", "60m", "--memory-swap", "60m", *training.command(epochs=1), check=False)

    assert done.returncode == 137
    assert [name for name in training.outputs() if not name.startswith(".")] == []


class Training:
    """A training in a locked-down container on the demo data."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def command(self, epochs: int) -> list[str]:
        return [
            *(*LOCKED_DOWN, "--user", "123456:0", "-v", f"{self.data}:/data", "flts-train-gru:kfp"),
            *("--training-data", "/data/processed_data.parquet", "--output-dir", "/data/gru", "--epochs", str(epochs)),
        ]

    @contextmanager
    def started(self) -> Iterator[str]:
        """Start one that would go on for hours, and wait until it trains."""
        container = engine.docker(
            "run",
            "--detach",
            "--label",
            engine.LABEL,
            "-e",
            "FLTS_LOG=json",
            *self.command(epochs=100_000),
            "--no-early-stopping",
        ).stdout.strip()
        try:
            wait_until(lambda: self._trains(container), pause=0.2)
            yield container
        finally:
            engine.docker("rm", "--force", container)

    @staticmethod
    def _trains(container: str) -> bool:
        logs = engine.docker("logs", container).stderr
        assert '"level": "error"' not in logs, logs
        return "epoch" in logs

    def outputs(self) -> list[str]:
        folder = self.data / "gru"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def training(data: Path) -> Training:
    engine.run(
        *(*LOCKED_DOWN, "--user", "123456:0", "-v", f"{data}:/data", "flts-preprocess:kfp"),
        *("--input", "/data/jfk_weather.csv", "--output-dir", "/data"),
    )
    return Training(data)
