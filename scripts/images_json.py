"""Keep ``build/images.json``, from what the container engine says of an image: scripts/build_push.sh runs this.

``INSPECTED`` is what ``docker image inspect`` prints. Needs Python's standard library only: images are built on
machines without a virtual environment too.

    images_json.py check FILE                        exit code 1 when FILE holds something else
    images_json.py digest REFERENCE <INSPECTED       print the digest of an image in its registry, if it has one
    images_json.py record FILE NAME REFERENCE COMMIT TAG... <INSPECTED
                                                     replace the entry of an image, and print its size in MB
"""

import json
import os
import sys
from pathlib import Path
from typing import Any


def read(path: Path) -> dict[str, dict[str, Any]]:
    """Return the entries of a file; none when it is empty or not there.

    Raises:
        ValueError: The file holds something else.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    images = json.loads(text or "{}")
    if not isinstance(images, dict) or not all(
        isinstance(entry, dict) and "image" in entry for entry in images.values()
    ):
        raise ValueError(f"{path} does not list images")
    return images


def repository(reference: str) -> str:
    """Return a reference without tag, digest and what Docker Hub's names may leave out."""
    name = reference.partition("@")[0]
    tag = name.rfind(":")
    if tag > name.rfind("/"):  # else it is the port of the registry
        name = name[:tag]
    return name.removeprefix("docker.io/").removeprefix("library/")


def digest(reference: str, inspected: dict[str, Any]) -> str | None:
    """Return the digest of an image in the repository of a reference; ``None`` when it was never there."""
    for one in inspected["RepoDigests"] or []:
        if repository(one) == repository(reference):
            return str(one.partition("@")[2])
    return None


def record(path: Path, name: str, entry: dict[str, Any]) -> None:
    """Write the entry of an image in place of its last one, and leave the others: one line each, sorted by name."""
    images = read(path) | {name: entry}
    lines = (f"  {json.dumps(key)}: {json.dumps(images[key])}" for key in sorted(images))
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    temporary.replace(path)


def main() -> int:
    """Run one of the commands above."""
    command, *arguments = sys.argv[1:]
    if command == "check":
        try:
            read(Path(arguments[0]))
        except (OSError, ValueError):
            return 1
        return 0
    (inspected,) = json.load(sys.stdin)
    if command == "digest":
        print(digest(arguments[0], inspected) or "")
        return 0
    file, name, reference, commit, *tags = arguments
    entry = {"image": reference, "tags": tags, "digest": digest(reference, inspected)}
    record(Path(file), name, entry | {"id": inspected["Id"], "size": inspected["Size"], "commit": commit})
    print(inspected["Size"] // 1_000_000)
    return 0


if __name__ == "__main__":
    sys.exit(main())
