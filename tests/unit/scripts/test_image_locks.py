"""The images install what developers test: the locks of their layers agree with locks/dev.txt."""

import re
from pathlib import Path

CUDA_ONLY = re.compile(r"(nvidia|cuda)-.*|triton")


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", lock.read_text(), re.MULTILINE))


def test_every_version_is_the_one_of_the_developers(root: Path) -> None:
    tested = pins(root / "locks" / "dev.txt")

    for lock in (root / "images" / "locks").glob("*.txt"):
        wanted = {name: version for name, version in pins(lock).items() if not CUDA_ONLY.fullmatch(name)}
        assert wanted.items() <= tested.items(), lock.name


def test_everything_but_torch_is_pinned_by_hash(root: Path) -> None:
    for lock in (root / "images" / "locks").glob("*.txt"):
        unhashed = re.findall(r"^([a-z0-9._-]+)==[^\s\\]+$", lock.read_text(), re.MULTILINE)
        assert set(unhashed) <= {"torch"}, lock.name
