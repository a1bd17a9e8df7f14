"""The ``mlflow.pyfunc`` interface of a model bundle.

``CODE_PATH`` is the models-from-code file that goes to MLflow with the bundle. It only calls functions of this module,
so that a model logged yesterday runs on the ``flts`` installed today.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flts.models import table
from flts.models.bundle import Bundle

if TYPE_CHECKING:
    import pandas as pd

CODE_PATH = Path(__file__).with_name("pyfunc_code.py")
BUNDLE_ARTIFACT = "bundle"
DEFAULT_STEPS = 10
# As ModelSignature.to_dict() writes it. Columns are left out: ``forecast_table`` checks them, with better errors.
SIGNATURE: dict[str, str | None] = {
    "inputs": None,
    "outputs": None,
    "params": f'[{{"name": "inference_length", "default": {DEFAULT_STEPS}, "shape": null, "type": "long"}}, '
    '{"name": "quantiles", "default": "", "shape": null, "type": "string"}]',
}


def forecast_table(bundle: Bundle, history: "pd.DataFrame", params: Mapping[str, Any] | None = None) -> "pd.DataFrame":
    """Forecast ``params["inference_length"]`` steps, 10 when left out, with ``params["quantiles"]``, if any.

    See ``flts.models.table.forecast_table``.
    """
    given = params or {}
    return table.forecast_table(
        bundle, history, given.get("inference_length", DEFAULT_STEPS), given.get("quantiles") or ()
    )
