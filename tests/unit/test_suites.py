"""Suites of tests: what ``--suite`` chooses, alone and with ``-m``, and what is said of the rest; how tests wait."""

import ast
from pathlib import Path

import pytest

TESTS = """
import pytest

def test_quick(): pass

@pytest.mark.slow
def test_of_minutes(): pass

@pytest.mark.slow
@pytest.mark.browser
def test_of_a_page(): pass
"""
OF_IMAGES = """
import pytest

def test_of_an_image(): pass

@pytest.mark.slow
def test_of_many_images(): pass
"""
MARKS = """
import pytest

def pytest_collection_modifyitems(items):
    for item in items:
        if "image" in item.name:
            item.add_marker(pytest.mark.images)
"""
QUICK, MINUTES, PAGE, IMAGE, IMAGES = "quick", "of_minutes", "of_a_page", "of_an_image", "of_many_images"


@pytest.fixture
def outer(pytester: pytest.Pytester, root: Path) -> pytest.Pytester:
    """The tests above, those of images in a folder whose conftest.py marks them, and the plugin."""
    pytester.makepyfile(test_some=TESTS)
    images = pytester.mkdir("images")
    (images / "conftest.py").write_text(MARKS)
    (images / "test_images.py").write_text(OF_IMAGES)
    pytester.makeconftest('pytest_plugins = ["tests.support.suites"]')
    markers = "".join(f"    {name}: x\n" for name in ("slow", "browser", "images"))
    pytester.makeini(f"[pytest]\npythonpath = {root}\naddopts = -p no:locust\nmarkers =\n{markers}")
    return pytester


@pytest.mark.parametrize(
    ("options", "run"),
    [
        ((), {QUICK}),
        (("-m", "not slow"), {QUICK}),
        (("-m", "not browser"), {QUICK}),
        (("-m", "slow"), set()),
        (("-m", "images"), set()),
        (("-m", "images or not images"), {QUICK}),
        (("--suite", "slow"), {MINUTES, PAGE}),
        (("--suite", "slow", "-m", "not browser"), {MINUTES}),
        (("--suite", "slow", "-m", "not images"), {MINUTES, PAGE}),
        (("--suite", "all"), {QUICK, MINUTES, PAGE}),
        (("--suite", "all", "-m", "not slow"), {QUICK}),
        (("--suite", "images"), {IMAGE, IMAGES}),
        (("--suite", "images", "-m", "not slow"), {IMAGE}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_marker_selects_within_the_suite(outer: pytest.Pytester, options: tuple[str, ...], run: set[str]) -> None:
    passed, _, _ = outer.inline_run(*options).listoutcomes()
    assert {report.nodeid.split("::test_")[1] for report in passed} == run


@pytest.mark.parametrize("processes", [(), ("-p", "xdist", "-n", "2")], ids=["one process", "xdist"])
def test_a_line_says_what_was_left_out_and_how_to_run_it(
    outer: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, processes: tuple[str, ...]
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # most of them take seconds to import
    said = outer.runpytest_subprocess(*processes).stdout.lines
    assert "left out: 2 of the container images (make test-images), 2 slow (make test-slow)" in said


# A poll between two questions, moments at random, and an outage that has to last.
MAY_SLEEP = {"support/waiting.py", "kafka/test_chaos.py", "kafka/test_outages.py"}


def test_tests_wait_for_events_instead_of_seconds(root: Path) -> None:
    sleeping = {
        str(path.relative_to(root / "tests"))
        for path in (root / "tests").rglob("*.py")
        if "sleep(" in path.read_text()
        for node in ast.walk(ast.parse(path.read_text()))
        # A sleep of no time lets other coroutines run.
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".sleep") and ast.unparse(node.args[0]) != "0"
    }
    assert sleeping == MAY_SLEEP
