"""Print what CHANGELOG.md says of one version: the notes of its release.

``python -m scripts.changelog_section 0.2.0`` prints the text under ``## [0.2.0]``, without the heading.
"""

import argparse
import re
import sys
from pathlib import Path

CHANGELOG = Path(__file__).resolve().parents[1] / "CHANGELOG.md"
HEADING = re.compile(r"^## \[([^\]]+)\].*$", re.MULTILINE)
CHANGE = re.compile(r"^- \S", re.MULTILINE)


def section(changelog: str, version: str) -> str:
    """Return the text under a version's heading.

    Args:
        changelog: In the format of Keep a Changelog.
        version: Such as ``0.2.0``, or ``Unreleased``.

    Raises:
        ValueError: The version has no section, or its section lists no change.
    """
    _, *parts = HEADING.split(changelog)
    texts = dict(zip(parts[::2], parts[1::2], strict=True))
    if version not in texts:
        raise ValueError(f"no section '## [{version}]'; there is: {', '.join(texts) or 'none at all'}")
    if not CHANGE.search(texts[version]):
        raise ValueError(f"the section '## [{version}]' lists no change")
    return texts[version].strip()


def main() -> int:
    """Print the section; return 2 when there is none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", help="such as 0.2.0, without a v; or Unreleased")
    arguments = parser.parse_args()
    try:
        print(section(CHANGELOG.read_text(encoding="utf-8"), arguments.version))
    except ValueError as error:
        print(f"CHANGELOG.md: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
