"""The token and the upload of docs/deploying.md, as they stand there, at a real gateway."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.gateway import gateway

# Instead of kubectl: prints what a secret would get.
PRINT_SECRETS = 'kubectl() { for word in "$@"; do printf "%s\\n" "$word"; done; }\n'


def _block(root: Path, words: str) -> str:
    """The commands of the page that have these words."""
    blocks = re.findall(r"```sh\n(.*?)```", (root / "docs" / "deploying.md").read_text(), re.DOTALL)
    (found,) = (block for block in blocks if words in block)
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize("access", ["on", "off"])
def test_the_dataset_is_uploaded_with_the_token_of_the_secrets(root: Path, tmp_path: Path, access: str) -> None:
    made = subprocess.run(
        ["bash", "-c", PRINT_SECRETS + _block(root, "flts-gateway-tokens")], capture_output=True, text=True, check=True
    ).stdout
    token = re.findall(r"^FLTS_GATEWAY_TOKEN=(\w+)$", made, re.MULTILINE)[0]
    tokens = tmp_path / "tokens.json"
    tokens.write_text(re.findall(r"^tokens\.json=(.*)$", made, re.MULTILINE)[0])
    store = tmp_path / "store"
    options = ("--tokens-file", str(tokens)) if access == "on" else ("--auth", "off")

    with gateway(f"file://{store}", *options) as running:
        lines = [line for line in _block(root, "/upload/").splitlines() if "kubectl" not in line]
        commands = "\n".join(lines).replace("http://127.0.0.1:8000", running.url)
        done = subprocess.run(
            ["bash", "-ec", f"TOKEN={token}\n{commands}"], cwd=root, capture_output=True, text=True, check=False
        )

    assert done.returncode == 0, done.stderr
    for file in ("jfk_weather.csv", "jfk_weather_test.csv", "jfk_weather.toml"):
        assert (store / "dataset" / file).read_bytes() == (root / "examples" / "data" / file).read_bytes()
