"""The DAG: preprocess, the trainers side by side, eval, inference. Its tasks are the compiled component specs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kfp import components, dsl, kubernetes
from pydantic import Field
from pydantic.fields import FieldInfo

from flts.models.registry import MODELS
from flts.params import Params
from flts.stages import STAGES
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

# What tasks find of each secret in their environment; a secret or a key that does not exist is left out.
SECRETS = {
    "store_secret": [
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"),
        "FLTS_GATEWAY_TOKEN",
    ],
    "mlflow_secret": ["MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"],
}


class ClusterParams(Params):
    """Parameters that only the pipeline has."""

    store_secret: str = Field(
        "flts-store", description="Kubernetes secret with the AWS variables of the object store, or the gateway's token"
    )
    mlflow_secret: str = Field(
        "flts-mlflow", description="Kubernetes secret with the variables of MLflow's credentials"
    )


def _parameters() -> dict[str, FieldInfo]:
    """Return every parameter, declared as in the first stage that has it."""
    declared: dict[str, FieldInfo] = {}
    models: list[type[Params]] = [*(stage.params for stage in STAGES.values()), ClusterParams]
    for params in models:
        declared |= {name: field for name, field in params.model_fields.items() if name not in declared}
    return {name: declared[name] for name in dict.fromkeys([*FIRST, *declared]) if name not in HANDED_ON}


def _schedule(task: Any, title: str, cpu: tuple[str, str], memory: tuple[str, str], given: Mapping[str, Any]) -> Any:
    """Set what a container component cannot say itself; ``cpu`` and ``memory`` are (request, limit)."""
    task.set_display_name(title)
    task.set_cpu_request(cpu[0]).set_cpu_limit(cpu[1])
    task.set_memory_request(memory[0]).set_memory_limit(memory[1])
    task.set_retry(num_retries=2, backoff_duration="30s", backoff_factor=2.0, backoff_max_duration="300s")
    # KFP's cache key is image, command and arguments: it cannot see a changed dataset. The stages' own
    # fingerprints are the cache.
    task.set_caching_options(False)
    for secret, variables in SECRETS.items():
        kubernetes.use_secret_as_env(task, given[secret], {name: name for name in variables}, optional=True)
    return task


@dsl.pipeline(  # type: ignore[untyped-decorator]  # kfp has no types
    name="flts-time-series-training-pipeline",
    display_name="FLTS Time Series Training Pipeline",
    pipeline_root="s3://kfp-artifacts/",
)
@taking(_parameters(), DEFAULTS)
def flts_pipeline(given: Mapping[str, Any]) -> None:
    """Train GRU, LSTM and Prophet on one dataset, promote the best, and forecast with it."""

    def task(name: str, title: str, *, cpu: tuple[str, str], memory: tuple[str, str], **edges: Any) -> Any:
        """Add a task, which takes what is not an edge from the pipeline's parameter of the same name."""
        inputs = COMPONENTS[name].component_spec.inputs
        made = COMPONENTS[name](**{each: edges.get(each, given.get(each)) for each in inputs})
        return _schedule(made, title, cpu, memory, given)

    data = task("preprocess", "Preprocess", cpu=("500m", "2"), memory=("1Gi", "8Gi"))
    have_checked(data, STAGES["preprocess"], given)
    config_hash = data.outputs["config_hash"]
    trained = {
        model.slot: task(
            f"train-{model.slot}",
            f"Train {model.title}",
            cpu=("500m", "2"),
            memory=("1Gi", "4Gi"),
            training_data=data.outputs["training_data"],
            config_json=data.outputs["config_json"],
            config_hash=config_hash,
        )
        for model in MODELS.values()
    }
    promotion = task(
        "eval",
        "Evaluate and promote",
        cpu=("500m", "2"),
        memory=("1Gi", "4Gi"),
        training_data=data.outputs["training_data"],
        config_hash=config_hash,
        **{
            f"{slot}_{name}": training.outputs[name]
            for slot, training in trained.items()
            for name in ("model", "metrics")
        },
    )
    task(
        "inference",
        "Forecast",
        cpu=("500m", "2"),
        memory=("1Gi", "4Gi"),
        inference_data=data.outputs["inference_data"],
        selected_model=promotion.outputs["selected_model"],
        config_hash=config_hash,
    )
