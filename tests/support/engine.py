"""Talking to the container engine the way its users do: through the client, ``$DOCKER`` or ``docker``."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flts.models.registry import TRAINED_MODELS
from tests.support.waiting import wait_until

CLIENT = os.environ.get("DOCKER", "docker")
LABEL = f"flts.tests={os.getpid()}"  # of the containers that the tests start
MB = 1_000_000
# What the images may take on disk, in MB: each, and all seven together with what they share counted once.
LIMITS = {
    "preprocess": 500,
    "eval": 1300,
    **{f"train-{model.slot}": 1300 if model.extra == "torch" else 850 for model in TRAINED_MODELS.values()},
    "inference": 1300,
}
UNIQUE_LIMIT = 2000


def docker(
    *arguments: str, check: bool = True, timeout: float = 300, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the client, and return what it printed."""
    done = subprocess.run(
        [CLIENT, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=timeout,
        input=stdin,
        env=os.environ | {"DOCKER_BUILDKIT": "1"},
    )
    assert done.returncode == 0 or not check, f"docker {' '.join(arguments)}: {done.stderr or done.stdout}"
    return done


def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a container to its end and remove it."""
    return docker("run", "--rm", "--label", LABEL, *arguments, check=check)


def inspect(image: str) -> dict[str, Any]:
    """Return what the engine knows of an image."""
    found: dict[str, Any]
    (found,) = json.loads(docker("image", "inspect", image).stdout)
    return found


def labels(image: str) -> dict[str, str]:
    """Return the labels of an image that the OCI defines, without their common prefix."""
    prefix = "org.opencontainers.image."
    found: dict[str, str] = inspect(image)["Config"]["Labels"]
    return {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}


def layers(image: str) -> dict[str, int]:
    """Return the layers of an image, the lowest first, with their sizes in bytes."""
    sizes = docker("history", "--human=false", "--format", "{{.Size}}", image).stdout.split()
    written = [int(size) for size in reversed(sizes) if int(size)]
    return dict(zip(inspect(image)["RootFS"]["Layers"], written, strict=True))


@contextmanager
def passage(path: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """Open a second way to the engine, a socket at ``path``; gives its address, and what closes it for good."""
    engine = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
    open_sockets: list[socket.socket] = []

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def accept(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, beyond = listening.accept()[0], socket.socket(socket.AF_UNIX)
                beyond.connect(engine)
                open_sockets.extend((client, beyond))
                for pair in ((client, beyond), (beyond, client)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    def close() -> None:
        path.unlink(missing_ok=True)
        for one in open_sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        open_sockets.append(listening)
        accepting = threading.Thread(target=accept, args=(listening,), daemon=True)
        accepting.start()
        yield f"unix://{path}", close
        close()
        accepting.join()
        for one in open_sockets:
            one.close()


@contextmanager
def registry() -> Iterator[str]:
    """Run a registry on a free port of 127.0.0.1, and yield its ``host:port``."""
    program = shutil.which("docker-registry")
    assert program, "docker-registry is not installed: on Debian, apt-get install docker-registry"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yml"
        config.write_text(
            f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}}}}}\n"
            f"http: {{addr: '{host}'}}\n"
        )
        with subprocess.Popen(
            [program, "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                _wait(f"http://{host}/v2/")
                yield host
            finally:
                process.terminate()


def _wait(url: str) -> None:

    def answers() -> bool:
        with urllib.request.urlopen(url):  # noqa: S310 - an address of this machine
            return True

    wait_until(answers, ignoring=(OSError,))
