"""What scripts/build_push.sh makes of its arguments and of what the engine says; tests/images has real ones."""

import json
import os
import shutil
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

# An engine that builds at once; files in its folder make it fail.
ENGINE = r"""#!/bin/sh
state=$(dirname "$0")
echo "$@" >>"$state/calls"
case $1 in
  version) [ ! -e "$state/down" ] ;;
  build)
    image=$(basename "$(dirname "$3")")
    [ ! -e "$state/cancel" ] || { trap 'exit 1' INT; kill -INT 0; } # a terminal's Ctrl-C is for all of a group
    [ ! -e "$state/no-$image" ] || { echo "no $image today" >&2; exit 1; }
    ;;
  pull) [ -e "$state/registry" ] && cp "$state/registry" "$state/base" ;;
  image)
    case $3 in *python:*) cat "$state/base"; exit ;; esac
    [ ! -e "$state/unloaded" ] || exit 1
    id=sha256:$(cat "$state/id")
    echo "[{\"Id\": \"$id\", \"Size\": 42000000, \"RepoDigests\": [\"team/flts-eval@sha256:old\", \"${3%:*}@$id\"]}]"
    ;;
esac
"""
BASE = "python:3.11-slim-bookworm"
OURS = {"DOCKER", "TORCH", "BUILD_FLAGS", "SOURCE_URL", "GITHUB_SERVER_URL", "GITHUB_REPOSITORY"}
ALL = {"eval", "gateway", "train-gru"}


class Checkout:
    """A small repository with the script, and an engine that only says what it is told to."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder, self.engine = folder / "repository", folder / "engine"
        for path in (
            "scripts/build_push.sh",
            "scripts/images_json.py",
            "flts/version.py",
            "images/eval/Dockerfile",
            "images/train-gru/Dockerfile",
        ):
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / path, self.folder / path)
        (self.folder / "images" / "gateway").mkdir()
        (self.folder / "images" / "gateway" / "Dockerfile").write_text(f"ARG BASE_IMAGE={BASE}\n")
        (self.folder / "images" / "locks").mkdir()
        (self.folder / ".gitignore").write_text("build/\n")
        who = ("-c", "user.name=flts", "-c", "user.email=flts@example.com", "-c", "commit.gpgsign=false")
        for command in (("init", "--quiet"), ("add", "."), (*who, "commit", "--quiet", "--message", "Begin")):
            self.git(*command)
        self.engine.mkdir()
        (self.engine / "docker").write_text(ENGINE)
        (self.engine / "docker").chmod(0o755)
        (self.engine / "id").write_text("1")

    def build_push(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if name not in OURS}
        return subprocess.run(
            ["scripts/build_push.sh", *arguments],
            check=False,
            cwd=self.folder,
            env=inherited | {"PATH": f"{self.engine}{os.pathsep}{os.environ['PATH']}"} | environ,
            capture_output=True,
            text=True,
            start_new_session=True,
        )

    def git(self, *command: str) -> str:
        run = subprocess.run(["git", *command], cwd=self.folder, check=True, capture_output=True, text=True)
        return run.stdout.strip()

    def has(self, state: str, text: str = "") -> None:
        (self.engine / state).write_text(text)

    def calls(self, command: str) -> list[str]:
        return [call for call in (self.engine / "calls").read_text().splitlines() if call.startswith(command)]

    def commit(self) -> str:
        return self.git("rev-parse", "--short=12", "HEAD")

    def labels(self, *arguments: str, **environ: str) -> dict[str, str]:
        """Return the labels that a build gives the image of eval."""
        done = self.build_push(*arguments, "eval", **environ)
        assert done.returncode == 0, done.stderr
        words = (done.stdout if "--dry-run" in arguments else self.calls("build")[-1]).split()
        prefix = "--label=org.opencontainers.image."
        pairs = (word.removeprefix(prefix).partition("=") for word in words if word.startswith(prefix))
        return {name: value for name, _, value in pairs}

    def images(self) -> dict[str, Any]:
        written: dict[str, Any] = json.loads((self.folder / "build" / "images.json").read_text())
        return written


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Checkout:
    return Checkout(root, tmp_path)


def assert_refused(done: subprocess.CompletedProcess[str], sentence: str) -> None:
    assert done.stderr.startswith(f"build_push.sh: {sentence}")
    assert done.stderr.count("\n") == 1
    assert (done.returncode, done.stdout) == (2, "")


def test_help_names_every_option(checkout: Checkout) -> None:
    done = checkout.build_push("--help")

    assert done.returncode == 0
    options = ["--push", "--registry", "--tag", "--platform", "--wheelhouse", "--base", "--json", "--dry-run"]
    assert all(f"\n  {option} " in done.stdout for option in options)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train-tcn"], "train-tcn is not an image; they are: eval gateway train-gru"),
        (["--pull"], "--pull is not an option"),
        (["--tag"], "--tag needs a value"),
        (["--tag", "--push"], "--tag needs a value"),
        (["--registry", ""], "--registry needs a value"),
        (["--tag", "a/b", "--dry-run"], "--tag: a/b is not a tag"),
        (["--push"], "--push needs --registry"),
        (["--wheelhouse", "/nowhere"], "--wheelhouse: /nowhere is not a folder"),
        (["--wheelhouse", "images"], "--wheelhouse: images has no wheels"),
        (["--json", "/nowhere/images.json"], "--json: no folder /nowhere"),
        (["--json", "images"], "--json: images is a folder"),
    ],
)
def test_a_wrong_argument_is_one_sentence_and_exit_code_2(
    checkout: Checkout, arguments: list[str], sentence: str
) -> None:
    assert_refused(checkout.build_push(*arguments), sentence)


@pytest.mark.parametrize(
    "registry",
    [
        "https://host/x",
        "...",
        "a..b",
        "host-",
        "host_a",
        "host:",
        "host:port",
        "host/Team",
        "host//x",
        "h/x_",
        "a" * 64,
    ],
)
def test_what_names_no_registry_is_refused(checkout: Checkout, registry: str) -> None:
    done = checkout.build_push("--dry-run", "--registry", registry)

    assert_refused(done, f"--registry: {registry} is not HOST")


@pytest.mark.parametrize("port", ["0", "65536", "99999"])
def test_a_port_that_no_machine_has_is_refused(checkout: Checkout, port: str) -> None:
    done = checkout.build_push("--dry-run", "--registry", f"host:{port}")

    assert_refused(done, f"--registry: port {port} of host:{port} is not in 1..65535")


@pytest.mark.parametrize("registry", ["localhost:5000", "127.0.0.1:65535/a/b", "ghcr.io/a-team/x__y.z", "Host.example"])
def test_a_registry_is_part_of_every_name(checkout: Checkout, registry: str) -> None:
    done = checkout.build_push("--dry-run", "--registry", f"{registry}/", "eval")

    assert f"--tag {registry}/flts-eval:kfp " in done.stdout


def test_a_wrong_variant_of_torch_is_refused(checkout: Checkout) -> None:
    assert_refused(checkout.build_push("--dry-run", TORCH="gpu"), "TORCH is cpu or cuda, not 'gpu'")


def test_a_missing_client_is_named_before_anything_is_built(checkout: Checkout) -> None:
    done = checkout.build_push(DOCKER="no-such-docker")

    assert_refused(done, "no-such-docker is not a command here")
    assert not (checkout.folder / "build").exists()


def test_an_engine_that_does_not_answer_is_told_before_anything_is_built(checkout: Checkout) -> None:
    checkout.has("down")

    assert_refused(checkout.build_push(), "no container engine answers docker")
    assert not checkout.calls("build")


def test_a_dry_run_prints_what_it_would_run_and_runs_nothing(checkout: Checkout) -> None:
    done = checkout.build_push(
        *("--dry-run", "--push", "--registry", "registry.example/team", "--tag", "v1", "--base", "python:x", "eval")
    )

    assert done.returncode == 0
    build, *pushes = done.stdout.splitlines()
    assert build.startswith("env DOCKER_BUILDKIT=1 docker build --file images/eval/Dockerfile")
    assert "BASE_IMAGE=python:x" in build
    assert "--tag registry.example/team/flts-eval:v1 " in build
    assert "--tag flts-eval:kfp " in build
    tags = ("kfp", "v1", checkout.commit())
    assert pushes == [f"docker push registry.example/team/flts-eval:{tag} " for tag in tags]
    assert not (checkout.folder / "build").exists()
    assert not (checkout.engine / "calls").exists()


def test_every_folder_with_a_dockerfile_is_an_image(checkout: Checkout) -> None:
    lines = checkout.build_push("--dry-run").stdout.splitlines()

    assert {line.split()[5] for line in lines} == {f"images/{image}/Dockerfile" for image in ALL}


def test_only_images_that_declare_torch_are_told_its_variant(checkout: Checkout) -> None:
    declaring = {name for name in ALL if "ARG TORCH=" in (checkout.folder / f"images/{name}/Dockerfile").read_text()}
    lines = checkout.build_push("--dry-run", TORCH="cuda").stdout.splitlines()

    assert "train-gru" in declaring != set(ALL)
    assert {line.split()[5] for line in lines if "TORCH=cuda" in line} == {
        f"images/{name}/Dockerfile" for name in declaring
    }


def test_an_image_is_labelled_with_version_commit_and_time(checkout: Checkout, root: Path) -> None:
    labels = checkout.labels("--dry-run")

    assert f'"{labels["version"]}"' in (root / "flts" / "version.py").read_text()
    assert labels["revision"] == checkout.git("rev-parse", "HEAD")
    created = checkout.git("log", "-1", "--format=%cI")
    assert datetime.fromisoformat(labels["created"]) == datetime.fromisoformat(created)
    assert labels["created"].endswith("Z")


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("https://git.example.com/team/flts.git", "https://git.example.com/team/flts"),
        ("https://ann:secret@git.example.com:8443/flts/", "https://git.example.com:8443/flts"),
        ("https://git.example.com/flts?private_token=secret", "https://git.example.com/flts"),
        ("http://git.example.com/flts", "http://git.example.com/flts"),
        ("git@git.example.com:team/flts.git", "https://git.example.com/team/flts"),
        ("ssh://git@git.example.com:2222/team/flts.git", "https://git.example.com/team/flts"),
    ],
)
def test_an_image_says_where_its_sources_are(checkout: Checkout, address: str, source: str) -> None:
    checkout.git("remote", "add", "origin", address)

    labels = checkout.labels("--dry-run")

    assert (labels["source"], labels["url"], labels["documentation"]) == (source, source, f"{source}#readme")
    assert "secret" not in str(labels)


def test_an_address_given_wins_over_that_of_the_workflow_and_of_git(checkout: Checkout) -> None:
    checkout.git("remote", "add", "origin", "git@git.example.com:team/flts.git")
    github = {"GITHUB_SERVER_URL": "https://github.example", "GITHUB_REPOSITORY": "team/fork"}

    assert checkout.labels("--dry-run", **github)["source"] == "https://github.example/team/fork"
    given = checkout.labels("--dry-run", **github, SOURCE_URL="https://code.example/flts")
    assert given["source"] == "https://code.example/flts"


@pytest.mark.parametrize("remote", [None, "/srv/flts.git", "../flts", "file:///srv/flts.git"])
def test_without_an_address_no_label_names_one(checkout: Checkout, remote: str | None) -> None:
    if remote:
        checkout.git("remote", "add", "origin", remote)

    assert not {"source", "url", "documentation"} & checkout.labels("--dry-run").keys()


@pytest.mark.parametrize("address", ["/srv/flts.git", "flts", "https://git.example.com/my flts", "https://"])
def test_what_is_no_address_is_refused(checkout: Checkout, address: str) -> None:
    assert_refused(checkout.build_push("--dry-run", SOURCE_URL=address), "SOURCE_URL is not an address")


@pytest.mark.parametrize(
    ("base", "listed"),
    [
        (BASE, "python@sha256:b"),
        ("docker.io/library/python:x", "python@sha256:b"),
        ("python:x", "docker.io/library/python@sha256:b"),
        ("host:5000/python:x", "host:5000/python@sha256:b"),
    ],
)
def test_an_image_says_what_it_is_built_on(checkout: Checkout, base: str, listed: str) -> None:
    checkout.has("base", json.dumps([{"RepoDigests": ["elsewhere/python@sha256:a", listed]}]))

    labels = checkout.labels(*(() if base == BASE else ("--base", base)))

    assert (labels["base.name"], labels["base.digest"]) == (base, "sha256:b")
    assert not checkout.calls("pull")


def test_a_base_that_is_not_here_is_pulled_for_its_digest(checkout: Checkout) -> None:
    checkout.has("registry", json.dumps([{"RepoDigests": ["python@sha256:c"]}]))

    assert checkout.labels("--platform", "linux/arm64")["base.digest"] == "sha256:c"
    assert checkout.calls("pull") == [f"pull --platform linux/arm64 {BASE}"]


@pytest.mark.parametrize("digests", [None, [], ["elsewhere/python@sha256:a"]])
def test_a_base_that_was_built_here_has_a_name_and_no_digest(checkout: Checkout, digests: list[str] | None) -> None:
    checkout.has("base", json.dumps([{"RepoDigests": digests}]))

    labels = checkout.labels()

    assert (labels["base.name"], "base.digest" in labels) == (BASE, False)


def test_a_base_that_cannot_be_pulled_is_left_to_the_build(checkout: Checkout) -> None:
    assert "base.digest" not in checkout.labels()


def test_a_tag_or_image_given_twice_is_used_once(checkout: Checkout) -> None:
    tags = [word for tag in ("kfp", "v1", "v1", checkout.commit()) for word in ("--tag", tag)]

    (build,) = checkout.build_push("--dry-run", *tags, "eval", "eval").stdout.splitlines()

    assert build.count("--tag ") == 3
    assert all(build.count(f"--tag flts-eval:{tag} ") == 1 for tag in ("kfp", "v1", checkout.commit()))


def test_what_is_built_is_written_down(checkout: Checkout) -> None:
    done = checkout.build_push("--push", "--registry", "host:5000")

    assert done.returncode == 0, done.stderr
    images = checkout.images()
    assert images.keys() == ALL
    assert images["eval"] == {
        "image": "host:5000/flts-eval",
        "tags": ["kfp", checkout.commit()],
        "digest": "sha256:1",
        "id": "sha256:1",
        "size": 42_000_000,
        "commit": images["eval"]["commit"],
    }
    assert images["eval"]["commit"].startswith(checkout.commit())


def test_images_that_are_not_built_or_fail_keep_their_entries(checkout: Checkout) -> None:
    checkout.build_push()
    before = checkout.images()
    (checkout.engine / "id").write_text("2")
    checkout.has("no-eval")

    done = checkout.build_push("eval", "gateway")

    assert done.returncode == 1
    assert [line.split()[:3] for line in done.stdout.splitlines()[:2]] == [
        ["eval", "NOT", "BUILT"],
        ["gateway", "built", "42"],
    ]
    assert done.stderr.endswith(
        "no eval today\neval: NOT BUILT, see build/logs/eval.log\ngateway: building, log in build/logs/gateway.log\n"
    )
    assert checkout.images() == before | {"gateway": before["gateway"] | {"id": "sha256:2", "digest": "sha256:2"}}


def test_the_file_has_a_line_for_each_image_in_the_order_of_names(checkout: Checkout) -> None:
    written = checkout.folder / "build" / "images.json"
    checkout.build_push("gateway")
    written.write_text(json.dumps(checkout.images(), indent=4))

    checkout.build_push("eval")

    commit = checkout.git("rev-parse", "HEAD")
    entry = (
        '  "{0}": {{"image": "flts-{0}", "tags": ["kfp", "{1}"], "digest": "sha256:1", "id": "sha256:1",'
        ' "size": 42000000, "commit": "{2}"}}'
    )
    lines = [entry.format(image, checkout.commit(), commit) for image in ("eval", "gateway")]
    assert written.read_text() == "{\n" + ",\n".join(lines) + "\n}\n"
    assert [path.name for path in written.parent.glob("images*")] == ["images.json"]


def test_when_nothing_is_built_nothing_is_written(checkout: Checkout) -> None:
    checkout.has("no-eval")

    done = checkout.build_push("eval")

    assert done.returncode == 1
    assert not (checkout.folder / "build" / "images.json").exists()
    assert "written" not in done.stdout


def test_an_image_that_the_engine_did_not_keep_is_not_written_down(checkout: Checkout) -> None:
    checkout.has("unloaded")

    done = checkout.build_push("eval")

    assert (done.returncode, done.stdout.split()[:3]) == (1, ["eval", "NOT", "LOADED"])
    assert not (checkout.folder / "build" / "images.json").exists()


def test_what_cannot_be_written_down_does_not_hide_the_others(checkout: Checkout) -> None:
    checkout.has("id", '"')

    done = checkout.build_push("eval", "gateway")

    assert done.returncode == 1
    assert [line.split()[:4] for line in done.stdout.splitlines()] == [
        ["eval", "NOT", "LISTED", "-"],
        ["gateway", "NOT", "LISTED", "-"],
    ]
    assert "JSONDecodeError" in (checkout.folder / "build" / "logs" / "eval.log").read_text()


@pytest.mark.parametrize("text", ['{"name": "mine"}\n', '{"name": {"first": "mine"}}', "[]", "name: mine\n", "{"])
def test_a_file_of_someone_else_is_not_overwritten(checkout: Checkout, text: str) -> None:
    own = checkout.folder / "package.json"
    own.write_text(text)

    assert_refused(checkout.build_push("--json", "package.json"), f"--json: {own} was not written by this script")
    assert own.read_text() == text


def test_ctrl_c_ends_the_script_and_keeps_what_was_built(checkout: Checkout) -> None:
    checkout.build_push("train-gru")
    checkout.has("cancel")

    done = checkout.build_push()

    assert done.returncode == 130
    assert len(checkout.calls("build")) == 2
    assert checkout.images().keys() == {"train-gru"}
