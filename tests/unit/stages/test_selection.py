"""``selection.json``: every forecast comes back as it was, and nothing else is taken for one."""

import json

import numpy as np
import pytest

from flts.errors import BadInputError
from flts.stages.selection import SelectionForecasts


def test_what_is_written_is_read_to_the_last_bit():
    time = np.array(["2024-01-01T00:00:00.000001", "2024-01-01T01:00"], dtype="datetime64[us]")
    predicted = {"a": np.array([0.1 + 0.2, np.nan]), "b": np.array([1e-300, -0.0])}
    actual = {"a": np.array([np.nan, 0.1]), "b": np.array([1.0, 1e300])}
    made = SelectionForecasts(time, predicted, actual)
    read = SelectionForecasts.parse(made.to_json(), source="selection.json")
    assert np.array_equal(read.time, time)
    assert np.array_equal(read.matrix("ab"), np.stack([predicted["a"], predicted["b"]], axis=1), equal_nan=True)
    assert np.array_equal(read.matrix("ba", actual=True), np.stack([actual["b"], actual["a"]], axis=1), equal_nan=True)
    assert "NaN" not in made.to_json()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"time": ["yesterday"], "predicted": {"a": [1]}}',
        '{"time": ["2024-01-01"], "predicted": {"a": [1, 2]}}',
        '{"time": ["2024-01-01"], "predicted": {"a": ["x"]}}',
        '{"time": ["2024-01-01"], "predicted": {}}',
        '{"time": ["2024-01-01"], "predicted": [1]}',
        '{"time": ["2024-01-01"], "predicted": {"a": [1]}, "actual": {"b": [1]}}',
        '{"time": ["2024-01-01"], "predicted": {"a": [1]}, "actual": {"a": [1, 2]}}',
        '{"time": ["2024-01-01"], "predicted": {"a": [1]}, "actual": 1}',
    ],
)
def test_anything_else_is_refused(content):
    with pytest.raises(BadInputError, match=r"selection\.json of run x does not hold forecasts"):
        SelectionForecasts.parse(content, source="selection.json of run x")


def test_fields_that_this_version_does_not_know_are_ignored():
    content = {"v": 1, "time": ["2024-01-01T00:00:00"], "predicted": {"a": [1.5]}, "later": {}}
    assert SelectionForecasts.parse(json.dumps(content), source="x").predicted["a"] == [1.5]
