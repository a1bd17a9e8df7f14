"""What a Kubeflow Pipelines cluster is given: ConfigMaps, the pods of tasks, and what docs/running.md says of it."""

import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from flts.params import check_key_name
from pipeline.pipeline import SECRETS, ClusterParams
from tests.support.kubectl import VERSION, render
from tests.support.pod_security import violations

ROOT = Path(__file__).parents[3]
KFP = ROOT / "deploy" / "kubernetes" / "kfp"
LAUNCHERS = sorted(KFP.glob("launcher-*.yaml"))
RUNNING = (ROOT / "docs" / "running.md").read_text()
Document = dict[str, Any]

# As KFP 2.17 installs it (manifests/kustomize/third-party/argo/base/workflow-controller-configmap-patch.yaml), in part.
WORKFLOW_CONTROLLER = """
apiVersion: v1
kind: ConfigMap
metadata:
  name: workflow-controller-configmap
data:
  executor: |
    imagePullPolicy: IfNotPresent
  workflowDefaults: |
    spec:
      ttlStrategy:
        secondsAfterCompletion: 3600
        secondsAfterSuccess: 3600
        secondsAfterFailure: 3600
      templateDefaults:
        retryStrategy:
          limit: '2'
          retryPolicy: OnError
"""


def load(path: Path) -> Document:
    document: Document = yaml.safe_load(path.read_text())
    return document


@pytest.mark.parametrize("path", sorted(KFP.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_file_is_valid_for_kubernetes_and_holds_no_secret(path: Path) -> None:
    document = load(path)

    kubernetes_validate.validate(document, VERSION, strict=True)
    assert document["kind"] == "ConfigMap"


def defaults(config: Document) -> Document:
    spec: Document = yaml.safe_load(config["data"]["workflowDefaults"])["spec"]
    return spec


def test_the_patch_lets_tasks_be_tried_again_and_nothing_around_them(tmp_path: Path) -> None:
    (tmp_path / "controller.yaml").write_text(WORKFLOW_CONTROLLER)
    (tmp_path / "patch.yaml").write_text((KFP / "retry-policy.yaml").read_text())
    (tmp_path / "kustomization.yaml").write_text("resources: [controller.yaml]\npatches: [{path: patch.yaml}]\n")

    (patched,) = render(tmp_path)

    before = yaml.safe_load(WORKFLOW_CONTROLLER)
    assert patched["data"].keys() == before["data"].keys()
    assert patched["data"]["executor"] == before["data"]["executor"]
    # Argo merges these into every template: a task with retries has a limit of its own, a DAG has not.
    strategy = {"limit": "0", "retryPolicy": "Always"}
    assert defaults(patched) == defaults(before) | {"templateDefaults": {"retryStrategy": strategy}}


@pytest.mark.parametrize("path", LAUNCHERS, ids=lambda path: path.stem)
def test_the_launcher_is_told_what_it_reads_about_a_bucket(path: Path) -> None:
    """Names as in KFP's backend/src/v2/config/s3.go: a wrong one would be left out in silence."""
    config = load(path)
    assert config["metadata"]["name"] == "kfp-launcher"
    assert config["data"].keys() == {"defaultPipelineRoot", "providers"}
    assert re.fullmatch(r"s3://[a-z0-9-]+", config["data"]["defaultPipelineRoot"])
    ((scheme, provider),) = yaml.safe_load(config["data"]["providers"]).items()
    assert scheme == "s3"
    bucket = provider["default"]
    assert bucket.keys() == {"endpoint", "region", "disableSSL", "forcePathStyle", "credentials"}
    assert "://" not in bucket["endpoint"]
    keys = {"secretName": "kfp-artifacts", "accessKeyKey": "accesskey", "secretKeyKey": "secretkey"}
    of_role = path.stem == "launcher-aws-irsa"
    assert bucket["credentials"] == ({"fromEnv": True} if of_role else {"fromEnv": False, "secretRef": keys})
    assert f"(../deploy/kubernetes/kfp/{path.name})" in RUNNING


def test_there_is_a_bucket_for_every_kind_of_store() -> None:
    assert [path.stem for path in LAUNCHERS] == ["launcher-aws-irsa", "launcher-aws-keys", "launcher-minio"]


def task_pods() -> dict[str, Document]:
    """The pod of every task: what KFP 2.17 and its Argo make, with what the compiled pipeline adds to the container."""
    usual = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    not_root = usual | {"runAsNonRoot": True}
    _, platforms = yaml.safe_load_all((ROOT / "pipeline" / "pipeline.yaml").read_text())
    pods = {}
    for name, configured in platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"].items():
        volumes = [
            {"name": f"config-{number}", "configMap": {}} for number in range(len(configured["configMapAsVolume"]))
        ]
        pods[name] = {
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "initContainers": [
                {"name": "init", "securityContext": not_root},
                {"name": "kfp-launcher", "securityContext": not_root},
            ],
            "containers": [
                {"name": "main", "securityContext": usual | configured.get("securityContext", {})},
                {"name": "wait", "securityContext": not_root},
            ],
            "volumes": [{"name": "kfp-launcher", "emptyDir": {}}, *volumes],
        }
    return pods


def test_task_pods_keep_the_restricted_pod_security_standard() -> None:
    for name, pod in task_pods().items():
        assert violations(pod) == [], name


def test_without_what_the_pipeline_sets_they_would_not() -> None:
    for pod in task_pods().values():
        del pod["containers"][0]["securityContext"]["runAsNonRoot"]
        assert violations(pod) == ["main: runAsNonRoot"]


def test_the_standard_finds_what_it_forbids() -> None:
    usual = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    pod = {
        "hostNetwork": True,
        "securityContext": {"runAsUser": 0, "sysctls": [{"name": "kernel.msgmax"}]},
        "containers": [
            {"name": "a", "securityContext": usual | {"runAsNonRoot": True, "seccompProfile": {"type": "Unconfined"}}},
            {"name": "b", "securityContext": {"privileged": True}, "ports": [{"hostPort": 80}]},
        ],
        "volumes": [{"name": "c", "hostPath": {"path": "/"}}],
    }

    assert violations(pod) == [
        *("hostNetwork", "volume c: hostPath", "sysctl kernel.msgmax", "pod: runAsUser", "a: seccompProfile"),
        *("b: allowPrivilegeEscalation", "b: privileged", "b: capabilities", "b: runAsNonRoot", "b: seccompProfile"),
        "b: hostPort",
    ]


def test_the_page_names_every_key_that_tasks_take_and_every_parameter_of_the_cluster() -> None:
    cluster = RUNNING[RUNNING.index("## On a Kubeflow Pipelines cluster") :]
    wanted = {*ClusterParams.model_fields, *(name for names in SECRETS.values() for name in names)}

    assert {name for name in wanted if f"`{name}`" not in cluster} == set()


def test_retries_are_the_first_thing_that_the_page_says_of_a_cluster() -> None:
    titles = re.findall(r"^##+ (.+)$", RUNNING, re.MULTILINE)

    assert titles[titles.index("On a Kubeflow Pipelines cluster") + 1] == "Retries"


def test_identifiers_take_what_kfp_makes_of_the_pages_macros() -> None:
    rows = dict(re.findall(r"^\| `(trial-\[\[.+\]\])` \| `(trial-[^`]*)`", RUNNING, re.MULTILINE))
    rows["trial-[[RunUUID]]"] = "trial-fc252f83-a4ff-4e95-846d-cb08c7c8f40d"

    assert rows.keys() == {
        *("trial-[[ScheduledTime]]", "trial-[[ScheduledTime.2006-01-02]]", "trial-[[RunUUID]]"),
    }
    for identifier in rows.values():
        assert check_key_name(identifier) == identifier


def test_the_command_of_the_page_renames_the_keys_of_an_older_secret() -> None:
    (script,) = re.findall(r"sed -E '(.+)'", RUNNING)
    names = {
        "AWS_ENDPOINT_URL": "FLTS_S3_ENDPOINT_URL",
        "AWS_ACCESS_KEY_ID": "FLTS_S3_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY": "FLTS_S3_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN": "FLTS_S3_SESSION_TOKEN",
        "FLTS_GATEWAY_TOKEN": "FLTS_GATEWAY_TOKEN",
    }
    secret = {"apiVersion": "v1", "kind": "Secret", "data": dict.fromkeys(names, "eA==")}

    renamed = subprocess.run(
        ["sed", "-E", script], input=yaml.safe_dump(secret), capture_output=True, text=True, check=True
    ).stdout

    assert yaml.safe_load(renamed)["data"].keys() == set(names.values())
    assert set(names.values()) <= set(SECRETS["store_secret"])
