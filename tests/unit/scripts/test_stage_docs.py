"""The pages of the stages are generated, and up to date."""

import subprocess
import sys

from flts.stages import STAGES


def test_the_pages_say_what_the_parameter_models_say(root):
    command = [sys.executable, "-m", "scripts.stage_docs", "--check"]
    check = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert (check.returncode, check.stderr) == (0, "")


def test_every_parameter_artifact_and_variable_is_on_its_page(root):
    for name, stage in STAGES.items():
        text = (root / "docs" / "stages" / f"{name}.md").read_text(encoding="utf-8")
        for word in (*stage.params.model_fields, *stage.inputs, *stage.outputs):
            assert f"| `{word}` |" in text
        for parameter in stage.params.model_fields:
            assert f"`{parameter.upper()}`" in text
