"""What scripts/build_push.sh makes of its arguments; what it builds and pushes is tested with the images."""

import os
import subprocess
from pathlib import Path

import pytest

from flts.stages import STAGES


def build_push(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name not in {"DOCKER", "TORCH", "BUILD_FLAGS"}}
    return subprocess.run(
        ["scripts/build_push.sh", *arguments], check=False, cwd=root, env=environ, capture_output=True, text=True
    )


def test_help_names_every_option(root: Path) -> None:
    done = build_push(root, "--help")

    assert done.returncode == 0
    options = ["--push", "--registry", "--tag", "--platform", "--wheelhouse", "--base", "--json", "--dry-run"]
    assert all(f"\n  {option} " in done.stdout for option in options)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train-tcn"], "train-tcn is not a stage; they are: preprocess"),
        (["--pull"], "--pull is not an option"),
        (["--tag"], "--tag needs a value"),
        (["--tag", "--push"], "--tag needs a value"),
        (["--tag", "a/b", "--dry-run"], "--tag: a/b is not a tag"),
        (["--push"], "--push needs --registry"),
        (["--registry", "https://host/x"], "--registry: https://host/x is not HOST"),
        (["--wheelhouse", "/nowhere"], "--wheelhouse: /nowhere is not a folder"),
    ],
)
def test_a_wrong_argument_is_one_sentence_and_exit_code_2(root: Path, arguments: list[str], sentence: str) -> None:
    done = build_push(root, *arguments)

    assert done.returncode == 2
    assert done.stderr.startswith(f"build_push.sh: {sentence}")
    assert done.stderr.count("\n") == 1


def test_a_dry_run_prints_what_it_would_run_and_runs_nothing(root: Path) -> None:
    done = build_push(
        root, "--dry-run", "--push", "--registry", "registry.example/team", "--tag", "v1", "--base", "python:x", "eval"
    )

    assert done.returncode == 0
    build, *pushes = done.stdout.splitlines()
    assert build.startswith("env DOCKER_BUILDKIT=1 docker build --file images/eval/Dockerfile")
    assert "BASE_IMAGE=python:x" in build
    assert "--tag registry.example/team/flts-eval:v1 " in build
    assert "--tag flts-eval:kfp " in build
    assert pushes[:2] == [f"docker push registry.example/team/flts-eval:{tag} " for tag in ("kfp", "v1")]
    assert len(pushes) == 3


def test_all_six_are_built_when_none_is_named(root: Path) -> None:
    lines = build_push(root, "--dry-run").stdout.splitlines()

    assert len(lines) == len(STAGES)
    assert all(any(f"images/{stage}/Dockerfile" in line for line in lines) for stage in STAGES)
