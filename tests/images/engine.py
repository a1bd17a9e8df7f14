"""Talking to the container engine the way its users do: through the client, ``$DOCKER`` or ``docker``."""

import json
import os
import subprocess
from typing import Any

CLIENT = os.environ.get("DOCKER", "docker")


def docker(*arguments: str, check: bool = True, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run the client, and return what it printed."""
    done = subprocess.run([CLIENT, *arguments], check=False, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0 or not check, f"docker {' '.join(arguments)}: {done.stderr or done.stdout}"
    return done


def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a container to its end and remove it."""
    return docker("run", "--rm", *arguments, check=check)


def inspect(image: str) -> dict[str, Any]:
    """Return what the engine knows of an image."""
    (found,) = json.loads(docker("image", "inspect", image).stdout)
    return found


def layers(image: str) -> dict[str, int]:
    """Return the layers of an image, the lowest first, with their sizes in bytes."""
    sizes = docker("history", "--human=false", "--format", "{{.Size}}", image).stdout.split()
    written = [int(size) for size in reversed(sizes) if int(size)]
    return dict(zip(inspect(image)["RootFS"]["Layers"], written, strict=True))
