"""What scripts/dev_images.sh makes of its arguments; tests/images/test_compose.py builds and runs the stand-ins."""

import subprocess
from pathlib import Path

import pytest

ENGINE = '#!/bin/sh\necho "$@" >>"$(dirname "$0")/calls"\n'


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """An engine that builds at once, and remembers what it was told."""
    program = tmp_path / "docker"
    program.write_text(ENGINE)
    program.chmod(0o755)
    return program


def dev_images(root: Path, engine: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": "/usr/bin:/bin", "DOCKER": str(engine)}
    script = root / "scripts" / "dev_images.sh"
    return subprocess.run([script, *arguments], env=environ, capture_output=True, text=True, check=False)


def test_it_prints_the_variables_that_the_compose_files_read(root: Path, engine: Path) -> None:
    done = dev_images(root, engine, "--base", "python:x")

    assert done.returncode == 0, done.stderr
    images = dict(line.split("=") for line in done.stdout.splitlines())
    compose = "".join(
        (root / "deploy" / name).read_text() for name in ("docker-compose.common.yaml", "docker-compose.yaml")
    )
    assert {"SEAWEEDFS_IMAGE", "MLFLOW_IMAGE", "KAFKA_IMAGE"} <= images.keys()
    builds = [line for line in (engine.parent / "calls").read_text().splitlines() if line.startswith("build ")]
    for variable, image in images.items():
        tag = image.partition(":")[2]
        assert f"${{{variable}:-" in compose
        assert tag
        assert any(f"--tag {image} --build-arg BASE_IMAGE=python:x" in build for build in builds)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["grafana"], "grafana is not a stand-in; they are: "),
        (["--bases", "x"], "--bases is not an option; --help lists them"),
        (["--base"], "--base needs an image"),
        (["--base", "--help"], "--base needs an image"),
    ],
)
def test_a_wrong_argument_is_one_sentence(root: Path, engine: Path, arguments: list[str], sentence: str) -> None:
    done = dev_images(root, engine, *arguments)

    assert done.returncode == 2
    assert done.stderr.startswith(f"dev_images.sh: {sentence}")
    assert done.stderr.count("\n") == 1


def test_without_an_engine_it_says_so(root: Path, tmp_path: Path) -> None:
    done = dev_images(root, tmp_path / "none")

    assert done.returncode == 2
    assert "no container engine answers" in done.stderr
