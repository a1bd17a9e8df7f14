"""The overlays as kubectl renders them: valid for Kubernetes, locked down, and with the names that everybody knows."""

import json
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml

from flts.errors import BadInputError
from flts.models.registry import TRAINED_MODELS
from flts.params import GATEWAY_URL, MLFLOW_TRACKING_URI
from flts.serving.settings import STAGE_VARIABLES
from flts.version import __version__
from flts.web.draining import IDLE_SECONDS
from flts.web.server import SECONDS_TO_FINISH
from flts.workers.expected_models import read_expected_types
from flts.workers.settings import KafkaSettings
from pipeline.pipeline import SECRETS, ClusterParams
from pipeline.runner.arguments import split_pairs
from pipeline.runner.command import PIPELINES, _parser
from pipeline.runner.compiled import load_pipeline
from tests.support.kubectl import OLDEST, VERSION, render
from tests.support.stages import OPTIONAL_TRAINERS, STAGES_OF

ROOT = Path(__file__).parents[3]
OVERLAYS = ("dev", "prod", "kafka")
WORKLOADS = {"Deployment", "StatefulSet", "CronJob", "Job"}
Document = dict[str, Any]


@cache
def objects(overlay: str, version: str = VERSION) -> list[Document]:
    return render(ROOT / "deploy" / "kubernetes" / "overlays" / overlay, version)


def of_kind(overlay: str, *kinds: str) -> dict[str, Document]:
    return {one["metadata"]["name"]: one for one in objects(overlay) if one["kind"] in kinds}


def template(workload: Document) -> Document:
    spec = workload["spec"]
    found: Document = spec["jobTemplate"]["spec"]["template"] if workload["kind"] == "CronJob" else spec["template"]
    return found


def pods(overlay: str) -> dict[str, Document]:
    """The pod of every workload, by its name."""
    return {name: template(one) for name, one in of_kind(overlay, *WORKLOADS).items()}


def containers(pod: Document) -> list[Document]:
    return [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]


def name_of(one: Document) -> tuple[str, str]:
    return one["kind"], one["metadata"]["name"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_oldest_kubectl_renders_what_the_newest_does(overlay: str) -> None:
    assert f"Kubernetes {OLDEST} or later" in (ROOT / "docs" / "deploying.md").read_text()
    assert sorted(objects(overlay, OLDEST), key=name_of) == sorted(objects(overlay), key=name_of)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_is_valid_for_kubernetes(overlay: str) -> None:
    for one in objects(overlay):
        kubernetes_validate.validate(one, VERSION, strict=True)


def test_the_schemas_would_find_a_mistake() -> None:
    wrong = json.loads(json.dumps(of_kind("dev", "Deployment")["inference"]))
    template(wrong)["spec"]["containers"][0]["resource"] = {}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_keep_the_restricted_pod_security_standard(overlay: str) -> None:
    (namespace,) = of_kind(overlay, "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"

    for name, pod in pods(overlay).items():
        security = pod["spec"]["securityContext"]
        assert security["runAsNonRoot"], name
        assert security["runAsUser"] > 0, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not pod["spec"]["automountServiceAccountToken"], name
        for container in containers(pod):
            locked = {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["securityContext"] == locked, name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_has_an_account_of_its_own_without_a_token(overlay: str) -> None:
    accounts = of_kind(overlay, "ServiceAccount")
    used = [pod["spec"]["serviceAccountName"] for pod in pods(overlay).values()]

    assert sorted(used) == sorted(accounts)
    assert not any(account["automountServiceAccountToken"] for account in accounts.values())


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_containers_say_what_they_need_and_may_take(overlay: str) -> None:
    for name, pod in pods(overlay).items():
        for container in containers(pod):
            for kind in ("requests", "limits"):
                assert container["resources"][kind].keys() >= {"cpu", "memory"}, name
        for volume in pod["spec"].get("volumes", ()):
            assert volume.get("emptyDir", {"sizeLimit": 1}).get("sizeLimit"), f"{name}: {volume['name']} has no bound"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_tells_why_a_container_failed(overlay: str) -> None:
    for name, pod in pods(overlay).items():
        for container in containers(pod):
            assert container["terminationMessagePolicy"] == "FallbackToLogsOnError", f"{name}: {container['name']}"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_the_others_wait_for_gets_its_place_first(overlay: str) -> None:
    ((name, priority),) = of_kind(overlay, "PriorityClass").items()
    assert priority["value"] > 0, "more than pods that name none"
    assert not priority["globalDefault"]
    assert {pod for pod, each in pods(overlay).items() if each["spec"].get("priorityClassName") == name} == {
        "minio",
        "mlflow",
    }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_serves_is_probed(overlay: str) -> None:
    for name, workload in of_kind(overlay, "Deployment", "StatefulSet").items():
        for container in template(workload)["spec"]["containers"]:
            assert container.keys() >= {"startupProbe", "livenessProbe", "readinessProbe"}, name
    for name in ("fastapi-app", "inference"):
        (container,) = pods(overlay)[name]["spec"]["containers"]
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz", "no restart while the store is away"
        assert container["readinessProbe"]["httpGet"]["path"] == "/ready"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_servers_leave_their_service_before_they_end_and_have_the_time_to(overlay: str) -> None:
    for name in ("fastapi-app", "inference"):
        spec = pods(overlay)[name]["spec"]
        before = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert before >= 5, "until every node knows"
        assert spec["terminationGracePeriodSeconds"] >= before + SECONDS_TO_FINISH + 5, name
    assert IDLE_SECONDS < SECONDS_TO_FINISH


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_services_are_probed_without_a_process(overlay: str) -> None:
    for name in of_kind(overlay, "Service"):
        (container,) = pods(overlay)[name]["spec"]["containers"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert "httpGet" in container[probe], f"{name}: {probe}"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_images_are_pinned(overlay: str) -> None:
    for pod in pods(overlay).values():
        for container in containers(pod):
            assert re.fullmatch(r"[\w./-]+:(?!latest)[\w.-]+", container["image"])


@pytest.mark.parametrize(
    ("overlay", "names"),
    [("prod", {"gateway", "inference", "pipeline"}), ("kafka", {"gateway", "pipeline", *STAGES_OF["pipeline"]})],
)
def test_production_takes_the_release_that_it_came_with(overlay: str, names: set[str]) -> None:
    images = {container["image"] for pod in pods(overlay).values() for container in containers(pod)}

    assert {image for image in images if "flts-" in image} == {
        f"registry.example.com/team/flts-{name}:v{__version__}" for name in names
    }


def references(overlay: str) -> Iterator[tuple[str, str | None]]:
    """Every secret that a pod names, and the key of it."""
    for pod in pods(overlay).values():
        for volume in pod["spec"].get("volumes", ()):
            if "secret" in volume:
                yield volume["secret"]["secretName"], None
        for container in containers(pod):
            for source in container.get("envFrom", ()):
                if "secretRef" in source:
                    yield source["secretRef"]["name"], None
            for variable in container.get("env", ()):
                if "valueFrom" in variable:
                    reference = variable["valueFrom"]["secretKeyRef"]
                    assert reference["key"] == own_name(container, variable["name"])
                    yield reference["name"], reference["key"]


def own_name(container: Document, variable: str) -> str:
    """FLTS's name of a variable; what is not FLTS's own knows the store's keys by AWS's names."""
    own = "flts-" in container["image"]
    assert not (own and variable.startswith("AWS_")), f"{container['name']}: {variable}"
    return variable if own else variable.replace("AWS_", "FLTS_S3_")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_secrets_are_referred_to_by_the_names_of_the_compiled_pipeline(overlay: str) -> None:
    assert not of_kind(overlay, "Secret")
    defaults = {name: ClusterParams.model_fields[name].default for name in SECRETS}
    own = {"dev": set(), "prod": {"flts-gateway-tokens"}, "kafka": {"flts-gateway-tokens", "flts-kafka"}}[overlay]
    assert {name for name, _ in references(overlay)} == {*defaults.values(), *own}
    store_keys = {key for name, key in references(overlay) if name == defaults["store_secret"]}
    assert store_keys == {"FLTS_S3_ACCESS_KEY_ID", "FLTS_S3_SECRET_ACCESS_KEY", "FLTS_GATEWAY_TOKEN"}
    assert store_keys <= set(SECRETS["store_secret"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_variable_holds_a_secret(overlay: str) -> None:
    for settings in of_kind(overlay, "ConfigMap").values():
        for name in settings["data"]:
            assert not re.search(r"SECRET|PASSWORD$|TOKEN$|ACCESS_KEY|USERNAME", name), name
    for pod in pods(overlay).values():
        for container in containers(pod):
            for variable in container.get("env", ()):
                if re.search(r"SECRET|PASSWORD|TOKEN$|ACCESS_KEY", variable["name"]):
                    assert "value" not in variable, variable["name"]


def test_the_gateway_asks_for_tokens_but_on_a_small_cluster() -> None:
    def variables(overlay: str) -> dict[str, str]:
        (container,) = pods(overlay)["fastapi-app"]["spec"]["containers"]
        return {variable["name"]: variable.get("value", "") for variable in container["env"]}

    assert variables("prod")["FLTS_TOKENS_FILE"] == "/etc/flts/tokens.json"
    assert "FLTS_AUTH" not in variables("prod")
    assert variables("dev")["FLTS_AUTH"] == "off"


@pytest.mark.parametrize("default", [GATEWAY_URL, MLFLOW_TRACKING_URI, "http://minio:9000"])
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_pipeline_defaults_are_addresses_of_services(overlay: str, default: str) -> None:
    address = urlsplit(default)
    service = of_kind(overlay, "Service")[str(address.hostname)]

    assert address.port in {port["port"] for port in service["spec"]["ports"]}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_services_budgets_and_scalers_find_their_pods(overlay: str) -> None:
    for name, service in of_kind(overlay, "Service").items():
        pod = pods(overlay)[name]
        assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        named = {port["name"] for container in pod["spec"]["containers"] for port in container["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= named
    for name, budget in of_kind(overlay, "PodDisruptionBudget").items():
        assert selects(budget["spec"]["selector"], pods(overlay)[name]["metadata"]["labels"])


def test_production_survives_a_node_and_grows() -> None:
    scalers = [one for one in objects("prod") if one["kind"] == "HorizontalPodAutoscaler"]

    assert {one["spec"]["scaleTargetRef"]["name"] for one in scalers} == {"fastapi-app", "inference"}
    for scaler in scalers:
        deployment = of_kind("prod", "Deployment")[scaler["spec"]["scaleTargetRef"]["name"]]
        assert scaler["spec"]["minReplicas"] >= 2
        assert "replicas" not in deployment["spec"], "the scaler alone decides"
        spread = template(deployment)["spec"]["topologySpreadConstraints"]
        assert {one["topologyKey"] for one in spread} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}


def selects(selector: Document, labels: dict[str, str]) -> bool:
    wanted = selector.get("matchLabels", {}).items()
    either = selector.get("matchExpressions", ())
    assert all(one["operator"] == "In" for one in either)
    return wanted <= labels.items() and all(labels.get(one["key"]) in one["values"] for one in either)


def allowed(overlay: str, pod: str, direction: str, other: str, port: str) -> bool:
    """Whether a policy of a pod lets a port's traffic to (egress) or from (ingress) another pod pass."""
    side = "to" if direction == "egress" else "from"
    labels = {name: one["metadata"]["labels"] for name, one in pods(overlay).items()}
    return any(
        port in {each["port"] for each in rule["ports"]}
        and any("podSelector" in peer and selects(peer["podSelector"], labels[other]) for peer in rule[side])
        for policy in of_kind(overlay, "NetworkPolicy").values()
        if selects(policy["spec"]["podSelector"], labels[pod])
        for rule in policy["spec"].get(direction, ())
    )


def settings(overlay: str, container: Document) -> dict[str, str]:
    """The variables that a container takes from ConfigMaps."""
    named = [source["configMapRef"]["name"] for source in container.get("envFrom", ()) if "configMapRef" in source]
    maps = of_kind(overlay, "ConfigMap")
    return {name: value for one in named for name, value in maps[one]["data"].items()}


def calls(overlay: str) -> set[tuple[str, str]]:
    """Which pods call which services, by the addresses in what they are started with."""
    found = set()
    for name, pod in pods(overlay).items():
        for container in containers(pod):
            values = [variable.get("value", "") for variable in container.get("env", ())]
            values += settings(overlay, container).values()
            for word in (*values, *container.get("args", ()), *container.get("command", ())):
                found |= {(name, host) for host in re.findall(r"http://([a-z-]+):\d+", word)}
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_network_policies_allow_what_pods_call_and_nothing_else(overlay: str) -> None:
    closed = of_kind(overlay, "NetworkPolicy")["nothing"]["spec"]
    assert closed == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}

    wanted = calls(overlay)
    assert wanted >= {
        ("inference", "fastapi-app"),
        ("inference", "mlflow"),
        ("fastapi-app", "minio"),
        ("mlflow", "minio"),
    }
    for caller in pods(overlay):
        for name, pod in pods(overlay).items():
            for port in (
                port["name"] for container in pod["spec"]["containers"] for port in container.get("ports", ())
            ):
                passes = all(
                    allowed(overlay, one, direction, other, port)
                    for one, direction, other in ((caller, "egress", name), (name, "ingress", caller))
                )
                assert passes == ((caller, name) in wanted and port != "metrics"), f"{caller} -> {name}:{port}"


def test_store_and_mlflow_are_started_as_compose_starts_them() -> None:
    compose = yaml.safe_load((ROOT / "deploy" / "docker-compose.common.yaml").read_text())["services"]
    found = {name: pods("dev")[name]["spec"]["containers"][0]["command"] for name in ("minio", "mlflow")}

    def but_for_names(command: list[str]) -> list[str]:
        return [word for word in command if not word.startswith("--allowed-hosts=")]

    assert found["minio"] == [*compose["minio"]["entrypoint"], *compose["minio"]["command"]]
    assert but_for_names(found["mlflow"]) == but_for_names(compose["mlflow"]["command"])
    hosts = next(word for word in found["mlflow"] if word.startswith("--allowed-hosts="))
    assert "mlflow.flts.svc.cluster.local:5000" in hosts


def expanded(overlay: str, container: Document) -> list[str]:
    """The arguments as the container gets them: $(NAME) is a variable of its."""
    variables = settings(overlay, container)
    return [re.sub(r"\$\((\w+)\)", lambda found: variables[found[1]], word) for word in container["args"]]


def test_the_nightly_job_takes_options_that_the_image_has() -> None:
    command = of_kind("prod", "CronJob")["retrain"]
    (container,) = template(command)["spec"]["containers"]
    options = _parser().parse_args(expanded("prod", container))
    assert (options.store, options.mlflow) == (GATEWAY_URL, MLFLOW_TRACKING_URI)
    assert set(split_pairs(options.param)) <= load_pipeline(PIPELINES["pipeline"]).parameters.keys()
    assert command["spec"]["concurrencyPolicy"] == "Forbid"
    assert command["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"] > 0
    assert of_kind("dev", "CronJob")["retrain"]["spec"]["suspend"]
    assert of_kind("kafka", "CronJob")["retrain"]["spec"]["suspend"]


@pytest.mark.parametrize("overlay", ["prod", "kafka"])
def test_production_serves_what_is_trained_by_night_and_no_trial_run(overlay: str) -> None:
    served, trained = (pods(overlay)[name]["spec"]["containers"][0] for name in ("inference", "retrain"))
    identifier = settings(overlay, served)["IDENTIFIER"]
    options = _parser().parse_args(expanded(overlay, trained))

    assert "identifier" in STAGE_VARIABLES, "the server reads it"
    assert not [each for each in served["env"] if "IDENTIFIER" in each["name"]], "nothing wins over it"
    assert identifier == options.identifier
    assert identifier != load_pipeline(PIPELINES["pipeline"]).parameters["identifier"].default, "which trial runs have"
    source = (ROOT / "deploy" / "kubernetes").rglob("*.yaml")
    assert [str(file.parent.name) for file in source if f"IDENTIFIER={identifier}" in file.read_text()] == ["prod"]


def test_on_a_small_cluster_every_promotion_is_served() -> None:
    served, trained = (pods("dev")[name]["spec"]["containers"][0] for name in ("inference", "retrain"))

    assert settings("dev", served)["IDENTIFIER"] == ""
    assert _parser().parse_args(expanded("dev", trained)).identifier == ""


@pytest.mark.parametrize(("overlay", "job"), [("prod", "retrain"), ("kafka", "topics")])
def test_a_job_is_not_tried_again_where_that_cannot_help(overlay: str, job: str) -> None:
    workload = of_kind(overlay, "CronJob", "Job")[job]
    spec = workload["spec"]["jobTemplate"]["spec"] if workload["kind"] == "CronJob" else workload["spec"]
    failing, ignored = spec["podFailurePolicy"]["rules"]

    assert failing["action"] == "FailJob"
    assert failing["onExitCodes"]["operator"] == "In"
    assert failing["onExitCodes"]["values"] == [BadInputError.exit_code]
    assert failing["onExitCodes"]["containerName"] in {each["name"] for each in spec["template"]["spec"]["containers"]}
    assert spec["template"]["spec"]["restartPolicy"] == "Never", "as podFailurePolicy asks for"
    assert ignored == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}
    assert spec["backoffLimit"] > 0, "services come and go"


def workers() -> dict[str, Document]:
    return {name: pod for name, pod in pods("kafka").items() if pod["metadata"]["labels"].get("flts/worker")}


def test_every_stage_has_a_worker_that_reaches_kafka_and_is_alive_as_compose_says() -> None:
    compose = yaml.safe_load((ROOT / "deploy" / "docker-compose.yaml").read_text())["services"]
    images = {
        name: pod["spec"]["containers"][0]["image"].rpartition("/")[2].partition(":")[0]
        for name, pod in workers().items()
    }

    assert set(images.values()) == {f"flts-{stage}" for stage in STAGES_OF["pipeline"]}
    for name, pod in workers().items():
        (container,) = pod["spec"]["containers"]
        assert f"}}{images[name]}:" in compose[name]["image"], "the names of Compose"
        assert container.get("args") == compose[name].get("command")
        assert ["CMD", *container["livenessProbe"]["exec"]["command"]] == compose[name]["healthcheck"]["test"]
        assert pod["spec"]["terminationGracePeriodSeconds"] == 30
        port = next(port["containerPort"] for port in container["ports"] if port["name"] == "metrics")
        assert {"name": "FLTS_METRICS_PORT", "value": str(port)} in container["env"]
        assert pod["metadata"]["annotations"]["prometheus.io/port"] == str(port)


@pytest.fixture(scope="module")
def boosted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Document]:
    """The deployments of the overlay for Kafka, whose reader has made a comment of its last lines a line."""
    folder = tmp_path_factory.mktemp("boosted") / "kubernetes"
    shutil.copytree(ROOT / "deploy" / "kubernetes", folder)
    kustomization = folder / "overlays" / "kafka" / "kustomization.yaml"
    kustomization.write_text(kustomization.read_text().replace("# components:", "components:"))
    rendered = render(kustomization.parent, OLDEST)
    assert sorted(rendered, key=name_of) == sorted(render(kustomization.parent, VERSION), key=name_of)
    return {one["metadata"]["name"]: one for one in rendered if one["kind"] == "Deployment"}


def test_one_line_adds_the_fourth_trainer_and_eval_waits_for_its_model(boosted: dict[str, Document]) -> None:
    (name,) = OPTIONAL_TRAINERS
    usual = of_kind("kafka", "Deployment")
    added, eval_pod, prophet = (template(boosted[each]) for each in (name, "eval", "train-prophet"))

    assert boosted.keys() == {*usual, name}
    kubernetes_validate.validate(boosted[name], VERSION, strict=True)
    alike = json.loads(json.dumps(prophet).replace("train-prophet", name))
    assert added == alike
    (variable,) = [each for each in containers(eval_pod)[0]["env"] if each["name"] == "EXPECTED_MODEL_TYPES"]
    assert read_expected_types({"EXPECTED_MODEL_TYPES": variable["value"]}) == tuple(TRAINED_MODELS)
    containers(eval_pod)[0]["env"].remove(variable)
    assert eval_pod == template(usual["eval"])


def test_workers_and_the_job_of_the_topics_read_kafkas_secrets_from_files() -> None:
    (job,) = of_kind("kafka", "Job").values()
    assert template(job)["spec"]["containers"][0]["args"] == ["flts-topics"]
    assert job["spec"]["ttlSecondsAfterFinished"] > 0, "so that it can be applied again"

    for name, pod in {**workers(), "topics": template(job)}.items():
        (container,) = pod["spec"]["containers"]
        variables = settings("kafka", container) | {each["name"]: each.get("value", "") for each in container["env"]}
        given = {key: value for key, value in variables.items() if key.startswith("KAFKA_")}
        assert {key.lower() for key in given} <= KafkaSettings.model_fields.keys(), name
        assert given["KAFKA_SECURITY_PROTOCOL"] == "SASL_SSL"
        assert variables["USE_KFP"] == "0"
        places = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        secrets = {volume["name"]: volume["secret"] for volume in pod["spec"]["volumes"] if "secret" in volume}
        assert {secret["secretName"] for secret in secrets.values()} == {"flts-kafka"}
        for file in (given["KAFKA_SASL_PASSWORD_FILE"], given["KAFKA_SSL_CA_LOCATION"]):
            assert file.startswith(f"{places['kafka']}/")


def test_only_what_uses_kafka_may_reach_it() -> None:
    policies = of_kind("kafka", "NetworkPolicy").values()
    open_ports = {
        name
        for name, pod in pods("kafka").items()
        for policy in policies
        if selects(policy["spec"]["podSelector"], pod["metadata"]["labels"])
        for rule in policy["spec"].get("egress", ())
        if {9092, 9093} & {each["port"] for each in rule["ports"]}
    }

    assert open_ports == {*workers(), "topics"}
