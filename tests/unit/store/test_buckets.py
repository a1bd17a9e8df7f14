"""Names of buckets from options and variables, and that each default is declared once."""

import re
from pathlib import Path

import pytest

from flts.errors import BadInputError
from flts.params import BUCKETS
from flts.serving.settings import STAGE_VARIABLES, ServingSettings
from flts.stages import STAGES
from flts.store.buckets import bucket_option, read_bucket
from flts.web.server import read_settings


def test_the_option_comes_before_the_variable_and_the_variable_before_the_default() -> None:
    environ = {"PROMOTION_BUCKET": "from-variable"}
    assert read_bucket("promotion_bucket", {}) == "model-promotion"
    assert read_bucket("promotion_bucket", {"PROMOTION_BUCKET": ""}) == "model-promotion"
    assert read_bucket("promotion_bucket", environ) == "from-variable"
    assert read_bucket("promotion_bucket", environ, "from-option") == "from-option"


def test_a_wrong_name_is_refused_with_its_source() -> None:
    with pytest.raises(BadInputError, match=r"^environment variable KFP_BUCKET: bucket 'A' is not 3 to 63"):
        read_bucket("kfp_bucket", {"KFP_BUCKET": "A"})
    with pytest.raises(BadInputError, match=r"^--kfp-bucket: bucket 'A' is not 3 to 63"):
        read_bucket("kfp_bucket", {}, "A")


def test_an_option_has_the_parameters_name() -> None:
    assert bucket_option("inference_log_bucket") == "--inference-log-bucket"


def test_stages_and_servers_have_the_same_defaults() -> None:
    for stage in STAGES.values():
        for name, field in stage.params.model_fields.items():
            assert not name.endswith("_bucket") or field.default == BUCKETS[name].default
    for name, field in ServingSettings.model_fields.items():
        if name.endswith("_bucket"):
            assert field.default == BUCKETS[STAGE_VARIABLES[name].lower()].default


def test_no_code_has_a_buckets_name_of_its_own(root: Path) -> None:
    names = {bucket.default for bucket in BUCKETS.values()} - {"dataset", "mlflow"}  # which are other things too
    literal = re.compile("|".join(rf"[\"']{re.escape(name)}[\"'/]" for name in names))
    found = [path for path in (root / "flts").rglob("*.py") if literal.search(path.read_text())]
    found = [path.relative_to(root / "flts").as_posix() for path in found]
    # One is an example of a tokens file.
    assert sorted(found) == ["gateway/access.py", "params.py"]


def test_the_server_reads_the_variables_of_stages_after_its_own() -> None:
    def read(*options: str, **environ: str) -> tuple[str, str]:
        settings = read_settings("serve", "", ServingSettings, options, environ, others=STAGE_VARIABLES)
        return settings.promotion_bucket, settings.data_bucket

    variables = {"PROMOTION_BUCKET": "our-promotions", "OUTPUT_BUCKET": "our-data"}
    assert read() == ("model-promotion", "processed-data")
    assert read(**variables) == ("our-promotions", "our-data")
    assert read(**variables, FLTS_DATA_BUCKET="served-data") == ("our-promotions", "served-data")
    assert read("--promotion-bucket", "other", **variables) == ("other", "our-data")
