"""docs/deploying.md on Kubernetes, command by command: what it names is there, and nothing is used before it is set."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.unit.deploy.test_kubernetes import OVERLAYS, expanded, of_kind, pods, references, settings

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "deploying.md").read_text().partition("## On Kubernetes")[2]
COMMANDS = "\n".join(
    re.sub(r"\s\s+#.*$", "", block, flags=re.MULTILINE).replace("\\\n", " ")
    for block in re.findall(r"^ *```sh\n(.*?)^ *```", PAGE, re.MULTILINE | re.DOTALL)
)


def created(secret: str, namespace: str = "flts") -> set[str]:
    """The keys that the page puts into a secret."""
    (command,) = re.findall(rf"kubectl -n {namespace} create secret generic {secret} (.*)", COMMANDS)
    return set(re.findall(r"--from-(?:literal|file) ([\w.]+)", command))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_secret_that_pods_need_is_made_on_the_page(overlay: str) -> None:
    for name, key in references(overlay):
        if name == "flts-mlflow":
            continue  # of an MLflow that asks for a password
        assert key is None or key in created(name), f"{name}: {key}"
    assert created("flts-gateway-tokens") == {"tokens.json"}
    assert created("flts-store") <= created("flts-store", "kubeflow"), "tasks elsewhere get the same, and an address"
    assert "FLTS_S3_ENDPOINT_URL=http://minio.flts:9000" in COMMANDS, "the store's name from another namespace"


def test_no_variable_is_used_before_it_is_set() -> None:
    known = {"1", "file"}
    for line in COMMANDS.splitlines():
        assigned = re.match(r" *([A-Z_0-9]+)=", line)
        used = set(re.findall(r"\$\{?([A-Za-z_0-9]+)", line)) - ({assigned[1]} if assigned else set())
        assert used <= known, line
        if assigned:
            known.add(assigned[1])


def test_commands_name_what_the_overlays_have() -> None:
    kinds = {"deployment": "Deployment", "statefulset": "StatefulSet", "service": "Service", "cronjob": "CronJob"}
    named = re.findall(r"\b(deployment|statefulset|service|cronjob)/([\w-]+)", COMMANDS)
    assert {kind for kind, _ in named} == set(kinds)
    for kind, name in named:
        assert name in of_kind("kafka", kinds[kind]), f"{kind}/{name}"
    for path in re.findall(r"(?:-k|-f) (\S+)", COMMANDS):
        assert (ROOT / path).exists(), path


def test_the_dataset_that_is_uploaded_is_the_one_that_is_trained_with() -> None:
    (files,) = re.findall(r"for file in (.*); do", COMMANDS)
    (container,) = pods("dev")["retrain"]["spec"]["containers"]
    name = settings("dev", container)["DATASET_NAME"]

    assert files.split() == [f"{name}{ending}" for ending in (".csv", "_test.csv", ".toml")]
    for file in files.split():
        assert (ROOT / "examples" / "data" / file).is_file()
    assert f"--stored-dataset={name}" in expanded("dev", container)
    assert f"`{name}` on `dev`" in PAGE


def test_growing_volumes_by_hand_gives_the_sizes_of_production() -> None:
    def sizes(overlay: str) -> dict[str, str]:
        claims: dict[str, Any] = of_kind(overlay, "PersistentVolumeClaim")
        ((store, workload),) = of_kind(overlay, "StatefulSet").items()
        claims |= {f"{each['metadata']['name']}-{store}-0": each for each in workload["spec"]["volumeClaimTemplates"]}
        return {name: claim["spec"]["resources"]["requests"]["storage"] for name, claim in claims.items()}

    patched = dict(re.findall(r"patch pvc (\S+) -p .*\"storage\": \"(\w+)\"", COMMANDS))
    assert patched == sizes("prod")
    assert patched.keys() == sizes("dev").keys()
