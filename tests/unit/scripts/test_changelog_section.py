"""The notes of a release are its version's section of the changelog."""

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.changelog_section import section

CHANGELOG = """# Changelog

## [Unreleased]

## [0.10.0] - 2027-01-15

### Added
- A stage.

### Fixed
- `make run`, which [said](docs/running.md) nothing.

## [0.1.0] - 2026-12-01
- Everything.
"""


def test_a_section_is_the_text_up_to_the_next_version() -> None:
    assert section(CHANGELOG, "0.10.0") == (
        "### Added\n- A stage.\n\n### Fixed\n- `make run`, which [said](docs/running.md) nothing."
    )


def test_the_last_section_ends_with_the_file() -> None:
    assert section(CHANGELOG, "0.1.0") == "- Everything."


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        ("0.1", r"no section '## \[0.1\]'; there is: Unreleased, 0.10.0, 0.1.0"),
        ("v0.1.0", r"no section '## \[v0.1.0\]'"),
        ("Unreleased", r"the section '## \[Unreleased\]' lists no change"),
    ],
)
def test_a_version_without_changes_is_refused(version: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        section(CHANGELOG, version)


def test_a_changelog_without_versions_is_refused() -> None:
    with pytest.raises(ValueError, match="there is: none at all"):
        section("# Changelog\n", "0.1.0")


def run(root: Path, version: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "scripts.changelog_section", version]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_a_heading_of_the_changelog_is_found(root: Path) -> None:
    done = run(root, "Unreleased")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("###")


def test_a_missing_version_is_one_sentence_and_exit_code_2(root: Path) -> None:
    done = run(root, "999.0.0")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("CHANGELOG.md: no section '## [999.0.0]'")
    assert done.stderr.count("\n") == 1
