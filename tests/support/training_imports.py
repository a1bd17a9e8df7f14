"""Imports that the server of training processes does once, as the stages do one by one."""

from importlib import import_module

from flts.tracking.access import load_mlflow

load_mlflow()
for name in (
    "mlflow.store.tracking.sqlalchemy_store",
    "flts.models.recurrent.training",
    "flts.models.prophet.training",
    "flts.stages.training.stage",
):
    import_module(name)
