"""Models-from-code file that MLflow runs to load a logged model. Nothing in flts imports it."""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from flts.models.bundle import load
from flts.models.pyfunc import BUNDLE_ARTIFACT, forecast_table


class BundleModel(PythonModel):  # type: ignore[misc]  # MLflow is untyped
    """Forecasts from the end of a given history; see ``flts.models.pyfunc.forecast_table``."""

    def load_context(self, context: PythonModelContext) -> None:
        """Verify and load the bundle."""
        self.bundle = load(Path(context.artifacts[BUNDLE_ARTIFACT]))

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - MLflow passes it
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Forecast ``params["inference_length"]`` steps."""
        return forecast_table(self.bundle, model_input, params)


set_model(BundleModel())
