"""The DAG: preprocess, the trainers side by side, eval, inference. Its tasks are the compiled component specs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kfp import components, dsl, kubernetes
from pydantic import Field
from pydantic.fields import FieldInfo

from flts.models.registry import MODELS
from flts.params import Params
from flts.stages import STAGES
from flts.store import s3_settings
from pipeline.interface import have_checked, taking

SPECS = Path(__file__).resolve().parents[1] / "component_specs"
COMPONENTS = {name: components.load_component_from_file(str(SPECS / f"{name}.yaml")) for name in STAGES}

# Parameters that pipelines pass by position come first, in this order; the stages' others follow.
FIRST = [
    *("dataset_name", "identifier", "sample_train_rows", "sample_test_rows", "hidden_size", "num_layers", "batch_size"),
    *("epochs", "learning_rate", "inference_length", "sample_idx", "gateway_url", "mlflow_tracking_uri"),
]
# With nothing given, it is a smoke run.
DEFAULTS = {"dataset_name": "PobleSec", "identifier": "run-001", "sample_train_rows": 50, "sample_test_rows": 50}
HANDED_ON = {"config_hash", "config_json"}  # by preprocess, to every other stage

# What tasks find of each secret in their environment; a secret or a key that does not exist is left out. KFP's launcher
# lives in the same environment, so that AWS variables of the store would misdirect its own transfers.
SECRETS = {
    "store_secret": [
        *s3_settings.VARIABLES,
        *("FLTS_GATEWAY_TOKEN", "FLTS_GATEWAY_TIMEOUT", "FLTS_PATIENCE_SECONDS", "FLTS_THREADS", "FLTS_LOG"),
    ],
    "mlflow_secret": [
        *("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
        *("MLFLOW_TRACKING_SERVER_CERT_PATH", "MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"),
    ],
}
CERTIFICATES = "/etc/flts/certificates"

# What can compute on an accelerator.
ACCELERATED = {f"train-{model.slot}" for model in MODELS.values() if model.extra == "torch"}

# So that a task that hangs ends. A number, because KFP takes no parameter in this place.
TASK_TIMEOUT_SECONDS = 24 * 60 * 60


class ClusterParams(Params):
    """Parameters that only the pipeline has. All are text: KFP reads a number in these places as nothing."""

    store_secret: str = Field(
        "flts-store", description="Kubernetes secret with the FLTS variables of the object store and of the stages"
    )
    mlflow_secret: str = Field(
        "flts-mlflow", description="Kubernetes secret with the variables of MLflow's credentials"
    )
    certificates: str = Field(
        "flts-certificates", description=f"ConfigMap whose keys are files in {CERTIFICATES} of every task, if it exists"
    )
    cpu_request: str = Field("500m", description="CPUs that every task needs")
    cpu_limit: str = Field("2", description="CPUs that every task may use")
    memory_request: str = Field("1Gi", description="memory that every task needs")
    memory_limit: str = Field("4Gi", description="memory that every task but preprocess may use")
    preprocess_memory_limit: str = Field("8Gi", description="memory that preprocess may use")
    accelerator_type: str = Field(
        "", description="accelerator of the trainers that can use one, such as nvidia.com/gpu; empty: none"
    )
    accelerator_count: str = Field("1", description="how many of accelerator_type each of them gets")


class Outputs(NamedTuple):
    """What the pipeline gives when it is a task of another one."""

    config_hash: str
    selected_model: dsl.Model
    promotion_metadata: dsl.Artifact
    predictions: dsl.Artifact


def _parameters() -> dict[str, FieldInfo]:
    """Return every parameter, declared as in the first stage that has it."""
    declared: dict[str, FieldInfo] = {}
    models: list[type[Params]] = [*(stage.params for stage in STAGES.values()), ClusterParams]
    for params in models:
        declared |= {name: field for name, field in params.model_fields.items() if name not in declared}
    return {name: declared[name] for name in dict.fromkeys([*FIRST, *declared]) if name not in HANDED_ON}


def _described(outputs: type[Outputs]) -> dict[str, str]:
    """Return what the outputs are, in the words of the stages that make them."""
    made = [stage.outputs for stage in STAGES.values()]
    return {name: next(each[name].help for each in made if name in each) for name in outputs._fields}


def _schedule(task: Any, name: str, title: str, given: Mapping[str, Any]) -> Any:
    """Set what a container component cannot say itself."""
    task.set_display_name(title)
    task.set_cpu_request(given["cpu_request"]).set_cpu_limit(given["cpu_limit"])
    memory_limit = given.get(f"{name}_memory_limit", given["memory_limit"])
    task.set_memory_request(given["memory_request"]).set_memory_limit(memory_limit)
    if name in ACCELERATED:
        task.set_accelerator_type(given["accelerator_type"]).set_accelerator_limit(given["accelerator_count"])
    # KFP's cache key is image, command and arguments: it cannot see a changed dataset. The stages' own
    # fingerprints are the cache.
    task.set_caching_options(False)
    # Preprocess finds what no retry can mend, wrong parameters and data, and KFP knows no exit codes.
    if name != "preprocess":
        # The longest duration is counted from the first attempt's start, and ends a retry that runs past it.
        task.set_retry(num_retries=2, backoff_duration="30s", backoff_factor=2.0, backoff_max_duration="86400s")
    for secret, variables in SECRETS.items():
        kubernetes.use_secret_as_env(task, given[secret], {name: name for name in variables}, optional=True)
    kubernetes.use_config_map_as_volume(task, given["certificates"], CERTIFICATES, optional=True)
    # KFP sets the rest of what the pod security standard "restricted" asks for by itself.
    kubernetes.set_security_context(task, run_as_non_root=True)
    kubernetes.set_timeout(task, TASK_TIMEOUT_SECONDS)
    return task


@dsl.pipeline(  # type: ignore[untyped-decorator]  # kfp has no types
    name="flts-time-series-training-pipeline",
    display_name="FLTS Time Series Training Pipeline",
)
@taking(_parameters(), DEFAULTS, _described(Outputs))
def flts_pipeline(given: Mapping[str, Any]) -> Outputs:
    """Train GRU, LSTM and Prophet on one dataset, promote the best, and forecast with it."""

    def task(name: str, title: str, **edges: Any) -> Any:
        """Add a task, which takes what is not an edge from the pipeline's parameter of the same name."""
        inputs = COMPONENTS[name].component_spec.inputs
        made = COMPONENTS[name](**{each: edges.get(each, given.get(each)) for each in inputs})
        return _schedule(made, name, title, given)

    data = task("preprocess", "Preprocess")
    have_checked(data, STAGES["preprocess"], given)
    config_hash = data.outputs["config_hash"]
    trained = {
        model.slot: task(
            f"train-{model.slot}",
            f"Train {model.title}",
            training_data=data.outputs["training_data"],
            config_json=data.outputs["config_json"],
            config_hash=config_hash,
        )
        for model in MODELS.values()
    }
    promotion = task(
        "eval",
        "Evaluate and promote",
        training_data=data.outputs["training_data"],
        config_hash=config_hash,
        **{
            f"{slot}_{name}": training.outputs[name]
            for slot, training in trained.items()
            for name in ("model", "metrics")
        },
    )
    forecast = task(
        "inference",
        "Forecast",
        inference_data=data.outputs["inference_data"],
        selected_model=promotion.outputs["selected_model"],
        config_hash=config_hash,
    )
    return Outputs(
        config_hash=config_hash,
        selected_model=promotion.outputs["selected_model"],
        promotion_metadata=promotion.outputs["promotion_metadata"],
        predictions=forecast.outputs["predictions"],
    )
