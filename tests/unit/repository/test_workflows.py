"""The workflows of GitHub Actions call what there is, and a release is checked before anything is published."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
WORKFLOWS = ROOT / ".github" / "workflows"
VERSION = "1.2.3"


def load(name: str) -> dict[str, Any]:
    # In this one every scalar is text, so that `on` is no boolean.
    loaded: dict[str, Any] = yaml.load((WORKFLOWS / name).read_text(), Loader=yaml.BaseLoader)  # noqa: S506
    return loaded


def steps(name: str) -> Iterator[dict[str, Any]]:
    for job in load(name)["jobs"].values():
        yield from job.get("steps", ())


@pytest.mark.parametrize("name", ["ci.yaml", "release.yaml"])
def test_what_a_workflow_runs_is_there(name: str) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = "\n".join(step.get("run", "") for step in steps(name))

    assert set(re.findall(r"\bmake ([a-z0-9-]+)", commands)) <= targets
    for script in re.findall(r"\bscripts/\S+\.sh\b", commands):
        assert os.access(ROOT / script, os.X_OK), script
    for module in re.findall(r"python -m (scripts\.\w+)", commands):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module


@pytest.mark.parametrize("name", ["ci.yaml", "release.yaml"])
def test_actions_are_pinned_by_commit_with_their_version_and_the_same_everywhere(name: str) -> None:
    uses = re.findall(r"uses: (?!\./)(.+)$", (WORKFLOWS / name).read_text(), re.MULTILINE)
    everywhere = "\n".join(path.read_text() for path in WORKFLOWS.iterdir())

    for use in uses:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)
        action = use.partition("@")[0]
        assert set(re.findall(rf"uses: ({action}@.+)$", everywhere, re.MULTILINE)) == {use}


def test_ci_runs_every_suite_and_forbids_skips() -> None:
    ran = {}
    for step in steps("ci.yaml"):
        for target in re.findall(r"\bmake ([a-z-]+)", step.get("run", "")):
            ran[target] = step.get("env", {}).get("FLTS_ALLOW_SKIPS")

    assert ran == {"test": "0", "venv": None, "test-slow": "0", "coverage": None, "test-images": "0"}


def test_images_are_pushed_by_a_release_alone_once_ci_has_passed() -> None:
    release = load("release.yaml")

    assert release["on"] == {"push": {"tags": ["v[0-9]+.[0-9]+.[0-9]+"]}}
    assert "workflow_call" in load("ci.yaml")["on"]
    assert release["jobs"]["ci"] == {"needs": "check", "uses": "./.github/workflows/ci.yaml"}
    assert release["jobs"]["publish"]["needs"] == "ci"
    for path in WORKFLOWS.iterdir():
        assert ("--push" in path.read_text()) == (path.name == "release.yaml")
        assert ("packages: write" in path.read_text()) == (path.name == "release.yaml")


@pytest.fixture
def tagged(tmp_path: Path) -> Path:
    """A checkout of a version that the changelog knows."""
    for path in ("flts/__init__.py", "flts/version.py", "scripts/__init__.py", "scripts/changelog_section.py"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    (tmp_path / "flts" / "version.py").write_text(f'__version__ = "{VERSION}"\n')
    (tmp_path / "CHANGELOG.md").write_text(f"## [Unreleased]\n\n## [{VERSION}] - 2027-01-01\n- A change.\n")
    return tmp_path


def check(folder: Path, tag: str) -> "subprocess.CompletedProcess[str]":
    """Run the commands of the job `check`, as a runner does: in one bash a step, up to the first that fails."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for step in load("release.yaml")["jobs"]["check"]["steps"]:
        if "run" in step:
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
                cwd=folder,
                env={"PATH": path, "TAG": tag, "PYTHONDONTWRITEBYTECODE": "1"},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                break
    return done


def test_a_tag_of_the_version_with_a_section_is_released(tagged: Path) -> None:
    done = check(tagged, f"v{VERSION}")

    assert (done.returncode, done.stdout) == (0, "- A change.\n")


def test_a_tag_that_is_not_the_version_of_the_code_is_not_released(tagged: Path) -> None:
    done = check(tagged, "v1.2.4")

    assert done.returncode == 1
    assert done.stderr == "the tag is v1.2.4, but flts/version.py says 1.2.3\n"


def test_a_version_that_the_changelog_does_not_know_is_not_released(tagged: Path) -> None:
    (tagged / "CHANGELOG.md").write_text("## [Unreleased]\n- A change.\n")

    done = check(tagged, f"v{VERSION}")

    assert done.returncode == 2
    assert done.stderr == "CHANGELOG.md: no section '## [1.2.3]'; there is: Unreleased\n"
