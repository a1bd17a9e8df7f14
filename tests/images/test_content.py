"""What is in the images: little, nothing foreign, the same every time, and what they share only once."""

import hashlib
import os
import re
import subprocess
import tarfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from flts.stages import STAGES
from flts.version import __version__
from tests.support import engine

BASE = os.environ.get("BASE_IMAGE", "python:3.11-slim-bookworm")
TORCH = ("train-gru", "train-lstm", "eval", "inference")
# The engine puts these into every container.
OF_THE_ENGINE = {".dockerenv", "etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/mtab", "dev/console"}
UNLIKE_THE_BASE = "built-again"  # a file


@pytest.fixture(params=STAGES)
def image(request: pytest.FixtureRequest) -> str:
    return f"flts-{request.param}:kfp"


def shell(image: str, script: str) -> list[str]:
    """Return the words that a script prints, as root: it sees all that there is."""
    return engine.run("--network", "none", "--user", "0", image, "sh", "-c", script).stdout.split()


@pytest.mark.parametrize("name", [*STAGES, "gateway", "pipeline"])
def test_an_image_says_what_it_is_and_is_built_on(name: str, root: Path) -> None:
    labels = engine.labels(f"flts-{name}:kfp")

    revision = labels["revision"].removesuffix("-dirty")
    date = subprocess.run(
        ["git", "log", "-1", "--date=format-local:%Y-%m-%dT%H:%M:%SZ", "--format=%cd", revision],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"TZ": "UTC0"},
    ).stdout.strip()
    assert labels["title"] == f"flts-{name}"
    assert labels["description"]
    assert labels["version"] == __version__
    assert labels["created"] == date
    assert labels["licenses"] == "Apache-2.0"
    assert labels["base.name"] == BASE
    listed = engine.inspect(BASE)["RepoDigests"]
    pulled = [one.partition("@")[2] for one in listed if one.startswith(f"{BASE.rpartition(':')[0]}@")]
    assert labels.get("base.digest") in (pulled or [None])


def test_an_image_runs_as_a_numbered_user_for_kubeflow(image: str) -> None:
    config = engine.inspect(image)["Config"]

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", config["User"])
    assert "USE_KFP=1" in config["Env"]


FOREIGN = r"""
find /app -type d \( -name tests -o -name test -o -name include \)
find /app -type f -regex '.*\.\(h\|hpp\|c\|cc\|cpp\|cu\|cuh\|a\|pyi\|pyx\|pxd\|whl\)'
find /app/bin /app/lib/python3.11/site-packages -maxdepth 1 -name 'pip*'
find / -xdev -name '*.pyc' ! -name '*.cpython-311.pyc'
find / -xdev -path '*/.cache/*'
find /mnt /tmp /var/tmp -mindepth 1
for tool in gcc cc g++ make git; do command -v $tool; done
true
"""


def test_nothing_is_in_it_that_a_running_stage_does_not_need(image: str) -> None:
    assert shell(image, FOREIGN) == []


def test_everybody_may_read_what_is_in_it_and_only_root_may_write(image: str) -> None:
    assert shell(image, "find /app ! -user 0 -o ! -type l -perm /022") == []
    assert shell(image, "find /app ! -type l ! -perm -o=r -o -type d ! -perm -o=x") == []


def test_every_module_is_compiled(image: str) -> None:
    code = """
import importlib.util, pathlib
modules = pathlib.Path("/app/lib").rglob("*.py")
print([str(path) for path in modules if not pathlib.Path(importlib.util.cache_from_source(path)).exists()])
"""
    assert engine.run(image, "python", "-c", code).stdout.strip() == "[]"


def test_an_image_holds_no_more_than_its_share_of_the_disk(image: str) -> None:
    stage = image.removeprefix("flts-").removesuffix(":kfp")
    assert engine.inspect(image)["Size"] < engine.LIMITS[stage] * engine.MB


def test_what_images_have_in_common_is_stored_once() -> None:
    layers = {stage: engine.layers(f"flts-{stage}:kfp") for stage in STAGES}
    heavy = {stage: [digest for digest, size in of.items() if size > 5 * engine.MB] for stage, of in layers.items()}

    unique = {digest: size for of in layers.values() for digest, size in of.items()}
    assert sum(unique.values()) < engine.UNIQUE_LIMIT * engine.MB
    numeric = heavy["preprocess"]
    tracking = heavy["train-prophet"][:-1]
    assert tracking[: len(numeric)] == numeric
    assert all(heavy[stage][: len(tracking)] == tracking for stage in STAGES if stage != "preprocess")
    torch = heavy["train-gru"]
    assert all(heavy[one][: len(torch)] == torch for one in TORCH)
    assert len(torch) == len(tracking) + 1


def test_shared_instructions_are_the_same_words_in_every_dockerfile(root: Path) -> None:
    installs = {}
    for stage in STAGES:
        text = (root / "images" / stage / "Dockerfile").read_text()
        installs[stage] = re.findall(r"^RUN --mount.*?install\.sh$", text, re.DOTALL | re.MULTILINE)
    for lower, higher in pairwise(sorted(installs, key=lambda stage: len(installs[stage]))):
        common = min(len(installs[lower]), len(installs[higher]), 4)
        assert installs[lower][:common] == installs[higher][:common]
    assert installs["train-gru"] == installs["train-lstm"] == installs["inference"][:5]
    assert installs["eval"] == installs["inference"][:-1]  # the last is what serving needs


def digests(image: str) -> dict[str, str]:
    """Return what every file of an image is: kind, mode, owner, and the digest of its content or its target."""
    found = {}
    container = engine.docker("create", "--label", engine.LABEL, image).stdout.strip()
    try:
        with (
            subprocess.Popen([engine.CLIENT, "export", container], stdout=subprocess.PIPE) as export,
            tarfile.open(fileobj=export.stdout, mode="r|") as archive,
        ):
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                digest = hashlib.file_digest(content, "sha256").hexdigest() if content else member.linkname
                found[member.name] = f"{member.type!r} {member.mode:o} {member.uid}:{member.gid} {digest}"
    finally:
        engine.docker("rm", container)
    return {name: text for name, text in found.items() if name not in OF_THE_ENGINE | {UNLIKE_THE_BASE}}


@pytest.fixture
def another_base() -> Iterator[str]:
    """The base image and one file: nothing built on it comes from the cache, and what is cached of it serves no other.

    With ``--no-cache`` instead, the cache would hold two of each layer, and later builds of two images not share them.
    """
    name = "flts-python-base:another"
    lines = f"FROM {BASE}\nRUN echo {time.time_ns()} > /{UNLIKE_THE_BASE}\n"
    engine.docker("build", "--quiet", "--tag", name, "-", stdin=lines)
    yield name
    engine.docker("rmi", name)


@pytest.mark.slow
def test_building_again_from_nothing_gives_the_same_files(root: Path, another_base: str) -> None:
    again = "flts-preprocess:built-again"
    file = root / "images" / "preprocess" / "Dockerfile"
    base = f"BASE_IMAGE={another_base}"
    engine.docker("build", "--quiet", "--build-arg", base, "--file", str(file), "--tag", again, str(root))
    try:
        assert digests(again) == digests("flts-preprocess:kfp")
    finally:
        engine.docker("rmi", again)
