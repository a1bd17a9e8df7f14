"""Columns sent by clients: what becomes a history, and the sentence about everything that does not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flts.errors import BadInputError
from flts.models import bundle
from flts.serving.protocols.columns import to_history
from tests.support.bundles import prophet_bundle

ROWS = 12
TIMES = [f"2024-01-01T{hour:02}:00:00" for hour in range(ROWS)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bundle.Bundle:
    return bundle.load(prophet_bundle(tmp_path_factory.mktemp("models") / "bundle"))


def columns(**changes: Any) -> dict[str, Any]:
    values = {"time": TIMES, "y": [float(row) for row in range(ROWS)], "z": [-1.5] * ROWS}
    return {name: column for name, column in (values | changes).items() if column is not None}


def replaced(column: str, row: int, value: object) -> dict[str, Any]:
    return columns(**{column: [value if n == row else each for n, each in enumerate(columns()[column])]})


def test_columns_become_a_history_in_any_order_and_others_are_ignored(model: bundle.Bundle):
    given = dict(reversed(columns(other=["text"] * 3).items()))
    data = to_history(model, given, "time")
    assert data.frame.time.tolist() == np.array(TIMES, "datetime64[us]").tolist()
    np.testing.assert_array_equal(data.frame.columns["y"], np.arange(12.0))
    assert data.targets == ("z", "y")


@pytest.mark.parametrize(
    "times",
    [
        [f"{time}Z" for time in TIMES],
        [f"2024-01-01T{hour + 2:02}:00:00+02:00" for hour in range(ROWS)],
        [f"{time}+00:00" if row % 2 else time for row, time in enumerate(TIMES)],
        [time.replace("T", " ") for time in TIMES],
    ],
    ids=["UTC", "an offset", "offsets on some rows", "a space"],
)
def test_times_are_utc_whatever_their_form(model: bundle.Bundle, times: list[str]):
    data = to_history(model, columns(time=None, when=times), "when")
    assert data.frame.time.tolist() == np.array(TIMES, "datetime64[us]").tolist()


def test_arrays_are_taken_like_lists(model: bundle.Bundle):
    data = to_history(model, columns(z=np.full(ROWS, 3, np.int64)), "time")
    np.testing.assert_array_equal(data.frame.columns["z"], np.full(ROWS, 3.0))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (columns(time=None), r"the history has no column 'time': the model needs \['z', 'y'\]"),
        (columns(y=None, z=None), r"the history has no column 'z', 'y': the model needs "),
        (
            columns(z=[3] * 11),
            "column 'z' has 11 values and 'time' has 12: both must have the same number$",
        ),
        ({name: column[:3] for name, column in columns().items()}, "the history has 3 rows; the model needs 4"),
        (replaced("y", 5, None), "row 5 of the history has no number in column 'y': None; fill missing values first$"),
        (replaced("y", 5, "6"), "row 5 of the history has no number in column 'y': '6'"),
        (replaced("z", 0, float("nan")), "row 0 of the history has no number in column 'z': "),
        (replaced("y", 11, float("inf")), "row 11 of the history has no number in column 'y': "),
        (replaced("z", 2, 10**400), "row 2 of the history has no number in column 'z': "),
        (replaced("z", 2, [1.0]), "row 2 of the history has no number in column 'z': "),
        (replaced("time", 3, "soon"), "row 3 of the history has no timestamp in column 'time': 'soon'; ISO 8601 is "),
        (replaced("time", 3, 5), "row 3 of the history has no timestamp in column 'time': "),
        (replaced("time", 3, None), "row 3 of the history has no timestamp in column 'time': "),
        (replaced("time", 0, "1600-01-01"), "row 0 of the history has no timestamp in column 'time': '1600-01-01'"),
        (replaced("time", 3, "9999-12-31T23:00:00-23:00"), "row 3 of the history has no timestamp in column 'time'"),
        (replaced("time", 4, TIMES[3]), "row 4 of the history is not later than the row before it"),
    ],
)
def test_everything_else_is_one_sentence_about_the_first_bad_row(
    model: bundle.Bundle, given: dict[str, Any], sentence: str
):
    with pytest.raises(BadInputError, match=f"^{sentence}"):
        to_history(model, given, "time")


def test_nothing_is_kept_of_a_history(model: bundle.Bundle, tmp_path: Path):
    given = columns()
    data = to_history(model, given, "time")
    data.frame.columns["y"][:] = 0
    assert given == columns()
    assert not list(tmp_path.iterdir())
