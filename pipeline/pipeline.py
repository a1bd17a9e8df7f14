"""The DAG: preprocess, the trainers in parallel, eval, inference. Its tasks are the compiled component specs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kfp import components, dsl, kubernetes
from pydantic import Field
from pydantic.fields import FieldInfo

from flts.models.registry import REQUIRED_MODELS, TRAINED_MODELS
from flts.params import Params
from flts.stages import STAGES
from flts.store import s3_settings
from pipeline.interface import pass_for_checking, with_parameters

SPECS = Path(__file__).resolve().parents[1] / "component_specs"
COMPONENTS = {name: components.load_component_from_file(str(SPECS / f"{name}.yaml")) for name in STAGES}

# Parameters that callers pass by position come first, in this order; those of the stages follow.
FIRST = [
    *("dataset_name", "identifier", "sample_train_rows", "sample_test_rows", "hidden_size", "num_layers", "batch_size"),
    *("epochs", "learning_rate", "inference_length", "sample_idx", "gateway_url", "mlflow_tracking_uri"),
]
# These defaults make a quick smoke run.
DEFAULTS = {"dataset_name": "PobleSec", "identifier": "run-001", "sample_train_rows": 50, "sample_test_rows": 50}
HANDED_ON = {"config_hash", "config_json"}  # by preprocess, to every other stage

# Environment variables that tasks get from each secret; missing secrets and keys are skipped. KFP's launcher shares the
# environment, so AWS variables meant for the store would misdirect its own transfers.
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

# Stages that can use an accelerator.
ACCELERATED = {f"train-{model.slot}" for model in TRAINED_MODELS.values() if model.extra == "torch"}

# Ends a task that hangs. A constant, because KFP accepts no parameter here.
TASK_TIMEOUT_SECONDS = 24 * 60 * 60


class ClusterParams(Params):
    """Parameters of the pipeline itself. All are text, because KFP ignores numbers in these places."""

    store_secret: str = Field(
        "flts-store", description="Kubernetes secret with the FLTS_* variables of the object store and the stages"
    )
    mlflow_secret: str = Field(
        "flts-mlflow", description="Kubernetes secret with the MLFLOW_* variables for credentials"
    )
    certificates: str = Field(
        "flts-certificates",
        description=f"ConfigMap whose keys become files in {CERTIFICATES} of every task; optional",
    )
    cpu_request: str = Field("500m", description="CPUs requested for every task")
    cpu_limit: str = Field("2", description="CPU limit of every task")
    memory_request: str = Field("1Gi", description="memory requested for every task")
    memory_limit: str = Field("4Gi", description="memory limit of every task except preprocess")
    preprocess_memory_limit: str = Field("8Gi", description="memory limit of preprocess")
    accelerator_type: str = Field(
        "", description="accelerator for the trainers that can use one, such as nvidia.com/gpu; empty: none"
    )
    accelerator_count: str = Field("1", description="number of accelerators per trainer")


class PipelineOutputs(NamedTuple):
    """Outputs of the pipeline when it is a task of another pipeline."""

    config_hash: str
    selected_model: dsl.Model
    promotion_metadata: dsl.Artifact
    predictions: dsl.Artifact


def _parameters() -> dict[str, FieldInfo]:
    """Return every parameter, as declared by the first stage that has it."""
    declared: dict[str, FieldInfo] = {}
    models: list[type[Params]] = [*(stage.params for stage in STAGES.values()), ClusterParams]
    for params in models:
        declared |= {name: field for name, field in params.model_fields.items() if name not in declared}
    return {name: declared[name] for name in dict.fromkeys([*FIRST, *declared]) if name not in HANDED_ON}


def _described(outputs: type[PipelineOutputs]) -> dict[str, str]:
    """Return the descriptions of the outputs from the stages that produce them."""
    made = [stage.outputs for stage in STAGES.values()]
    return {name: next(each[name].help for each in made if name in each) for name in outputs._fields}


def _schedule(task: Any, name: str, title: str, values: Mapping[str, Any]) -> Any:
    """Set everything that a container component cannot declare itself."""
    task.set_display_name(title)
    task.set_cpu_request(values["cpu_request"]).set_cpu_limit(values["cpu_limit"])
    memory_limit = values.get(f"{name}_memory_limit", values["memory_limit"])
    task.set_memory_request(values["memory_request"]).set_memory_limit(memory_limit)
    if name in ACCELERATED:
        task.set_accelerator_type(values["accelerator_type"]).set_accelerator_limit(values["accelerator_count"])
    # KFP's cache key is image, command and arguments: it does not notice a changed dataset. The stages have caches of
    # their own, keyed by fingerprints of their inputs.
    task.set_caching_options(False)
    # Preprocess fails on wrong parameters and data, which a retry cannot fix, and KFP cannot tell by the exit code.
    if name != "preprocess":
        # backoff_max_duration counts from the start of the first attempt, and ends a retry that runs past it.
        task.set_retry(num_retries=2, backoff_duration="30s", backoff_factor=2.0, backoff_max_duration="86400s")
    for secret, variables in SECRETS.items():
        kubernetes.use_secret_as_env(task, values[secret], {name: name for name in variables}, optional=True)
    kubernetes.use_config_map_as_volume(task, values["certificates"], CERTIFICATES, optional=True)
    # KFP itself sets everything else that the pod security standard "restricted" requires.
    kubernetes.set_security_context(task, run_as_non_root=True)
    kubernetes.set_timeout(task, TASK_TIMEOUT_SECONDS)
    return task


@dsl.pipeline(  # type: ignore[untyped-decorator]  # kfp has no types
    name="flts-time-series-training-pipeline",
    display_name="FLTS Time Series Training Pipeline",
)
@with_parameters(_parameters(), DEFAULTS, _described(PipelineOutputs))
def flts_pipeline(values: Mapping[str, Any]) -> PipelineOutputs:
    """Train GRU, LSTM and Prophet on one dataset, promote the best, and forecast with it."""

    def task(name: str, title: str, **edges: Any) -> Any:
        """Add a task; inputs that are not edges come from the pipeline parameters of the same names."""
        inputs = COMPONENTS[name].component_spec.inputs
        made = COMPONENTS[name](**{each: edges.get(each, values.get(each)) for each in inputs})
        return _schedule(made, name, title, values)

    data = task("preprocess", "Preprocess")
    pass_for_checking(data, STAGES["preprocess"], values)
    config_hash = data.outputs["config_hash"]
    trained = {
        model.slot: task(
            f"train-{model.slot}",
            f"Train {model.title}",
            training_data=data.outputs["training_data"],
            config_json=data.outputs["config_json"],
            config_hash=config_hash,
        )
        for model in REQUIRED_MODELS.values()
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
    return PipelineOutputs(
        config_hash=config_hash,
        selected_model=promotion.outputs["selected_model"],
        promotion_metadata=promotion.outputs["promotion_metadata"],
        predictions=forecast.outputs["predictions"],
    )
