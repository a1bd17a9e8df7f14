"""From a build to a cluster: pushed, gone from here, pulled by digest, run, and named by the specs."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from flts.stages import STAGES
from tests.support import engine
from tests.support.stages import STAGES_OF


def build_push(root: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    base = os.environ.get("BASE_IMAGE")
    return subprocess.run(
        ["scripts/build_push.sh", *(["--base", base] if base else []), *arguments],
        check=False,
        cwd=root,
        env=os.environ | {"DOCKER": engine.CLIENT} | environ,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def pushed(root: Path, registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """All images, pushed by the script; its JSON."""
    images = tmp_path_factory.mktemp("pushed") / "images.json"
    done = build_push(root, "--push", "--registry", f"{registry}/team", "--tag", "v9", "--json", str(images))
    assert done.returncode == 0, done.stderr
    yield images
    names = engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
    engine.docker("rmi", *(name for name in names if name.startswith(registry) or name.endswith(":v9")))


@pytest.mark.slow
def test_the_script_writes_down_what_it_pushed(root: Path, pushed: Path, registry: str) -> None:
    images = json.loads(pushed.read_text())

    assert images.keys() == {path.parent.name for path in root.glob("images/*/Dockerfile")}
    for name, image in images.items():
        assert image["image"] == f"{registry}/team/flts-{name}"
        assert image["tags"][:2] == ["kfp", "v9"]
        assert re.fullmatch(r"[0-9a-f]{12}(-dirty)?", image["tags"][2])
        assert image["commit"].startswith(image["tags"][2].removesuffix("-dirty"))
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", image["digest"])
        assert image["size"] == engine.inspect(f"flts-{name}:kfp")["Size"]


@pytest.mark.slow
def test_an_image_that_is_gone_here_is_pulled_by_digest_and_runs(pushed: Path, data: Path) -> None:
    image = json.loads(pushed.read_text())["preprocess"]
    names = [f"{name}:{tag}" for tag in image["tags"] for name in (image["image"], "flts-preprocess")]
    identity = engine.inspect("flts-preprocess:kfp")["Id"]
    reference = f"{image['image']}@{image['digest']}"
    engine.docker("rmi", "--force", identity)
    try:
        engine.docker("pull", reference)
        engine.run(
            *("-v", f"{data}:/data", reference, "--input", "/data/jfk_weather.csv", "--output-dir", "/data/out"),
        )
    finally:
        for name in names:
            engine.docker("tag", reference, name)

    assert engine.inspect(reference)["Id"] == identity
    assert (data / "out" / "training_data.json").is_file()


@pytest.mark.slow
def test_specs_name_the_images_by_digest_and_the_tracked_ones_stay(root: Path, pushed: Path) -> None:
    tracked = {path: path.read_bytes() for path in (root / "component_specs").iterdir()}

    subprocess.run(["make", "--silent", "specs", f"DIGESTS={pushed}"], cwd=root, check=True, capture_output=True)

    images = json.loads(pushed.read_text())
    expected = {stage: f"{images[stage]['image']}@{images[stage]['digest']}" for stage in STAGES}
    folder = root / "build" / "specs"
    for stage in STAGES:
        spec = yaml.safe_load((folder / "component_specs" / f"{stage}.yaml").read_text())
        (executor,) = spec["deploymentSpec"]["executors"].values()
        assert executor["container"]["image"] == expected[stage]
    for name, stages in STAGES_OF.items():
        pipeline = next(yaml.safe_load_all((folder / "pipeline" / f"{name}.yaml").read_text()))
        named = {executor["container"]["image"] for executor in pipeline["deploymentSpec"]["executors"].values()}
        assert named == {expected[stage] for stage in stages}
    assert {path: path.read_bytes() for path in tracked} == tracked


@pytest.mark.slow
def test_what_cannot_be_pushed_does_not_hide_the_others(root: Path, tmp_path: Path) -> None:
    images = tmp_path / "images.json"

    done = build_push(root, "--push", "--registry", "127.0.0.1:9", "--json", str(images), "eval", "preprocess")

    assert done.returncode == 1
    assert [line.split()[:3] for line in done.stdout.splitlines()[:2]] == [
        ["eval", "NOT", "PUSHED"],
        ["preprocess", "NOT", "PUSHED"],
    ]
    assert not images.exists()
    for name in engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split():
        if name.startswith("127.0.0.1:9/"):
            engine.docker("rmi", name)


@pytest.mark.slow
def test_an_image_says_where_its_sources_and_its_base_are(root: Path, registry: str, tmp_path: Path) -> None:
    base, before = f"{registry}/team/python:3.11", engine.inspect("flts-gateway:kfp")
    images = tmp_path / "images.json"
    engine.docker("tag", os.environ.get("BASE_IMAGE", "python:3.11-slim-bookworm"), base)
    try:
        pushed = engine.docker("push", base).stdout
        done = build_push(
            root,
            *("--base", base, "--json", str(images), "gateway"),
            SOURCE_URL="git@git.example.com:team/flts.git",
        )
        assert done.returncode == 0, done.stderr
        labels, built = engine.labels("flts-gateway:kfp"), engine.inspect("flts-gateway:kfp")
    finally:
        for tag in json.loads(images.read_text())["gateway"]["tags"]:
            engine.docker("tag", before["Id"], f"flts-gateway:{tag}")
        engine.docker("rmi", base)

    source = "https://git.example.com/team/flts"
    assert (labels["source"], labels["url"], labels["documentation"]) == (source, source, f"{source}#readme")
    assert labels["base.name"] == base
    assert f"digest: {labels['base.digest']} " in pushed
    assert built["RootFS"] == before["RootFS"]  # labels are no layers
