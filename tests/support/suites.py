"""The three suites that every test is in one of, chosen by ``--suite``: an ``-m`` selects within what that chose.

A test that is left out is counted, and a line after the last test says how to run it.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

SUITES = {
    "fast": ("make test", "fast"),
    "slow": ("make test-slow", "slow"),
    "images": ("make test-images", "of the container images"),
}
_CHOSEN = {"fast": {"fast"}, "slow": {"slow"}, "all": {"fast", "slow"}, "images": {"images"}}
_LEFT_OUT = pytest.StashKey[Counter[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare ``--suite``."""
    parser.addoption(
        "--suite",
        choices=_CHOSEN,
        default="fast",
        help="tests to run: fast (default), slow, all of these, or those of the container images",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count."""
    config.stash[_LEFT_OUT] = Counter()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of the suites that are not asked for."""
    chosen = _CHOSEN[config.getoption("suite")]

    def other(item: pytest.Item) -> str | None:
        suite = suite_of(item)
        command, adjective = SUITES[suite]
        return None if suite in chosen else f"{adjective} ({command})"

    leave_out(config, items, other)


def suite_of(item: pytest.Item) -> str:
    """Return the suite of a test: its markers say so."""
    return next((name for name in ("images", "slow") if item.get_closest_marker(name)), "fast")


def leave_out(config: pytest.Config, items: list[pytest.Item], why: Callable[[pytest.Item], str | None]) -> None:
    """Deselect the tests for which ``why`` says what they are and how to run them."""
    reasons = {item: why(item) for item in items}
    left_out = config.stash[_LEFT_OUT]
    left_out.update(reason for reason in reasons.values() if reason)
    config.hook.pytest_deselected(items=[item for item in items if reasons[item]])
    items[:] = [item for item in items if not reasons[item]]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the process that prints what this one left out; every process of xdist collects all tests."""
    if hasattr(session.config, "workeroutput"):
        left_out = session.config.stash[_LEFT_OUT]
        session.config.workeroutput["left_out"] = dict(left_out)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hear what a process of xdist left out."""
    node.config.stash[_LEFT_OUT] = Counter(getattr(node, "workeroutput", {}).get("left_out", {}))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say what was left out."""
    if left_out := config.stash[_LEFT_OUT]:
        terminalreporter.write_line(
            "left out: " + ", ".join(f"{count:,} {reason}" for reason, count in left_out.most_common())
        )
