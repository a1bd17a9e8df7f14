"""Rows to Arrow tables, against pyarrow's own conversion."""

import subprocess
import sys
from datetime import datetime

import pyarrow as pa
import pytest

from flts.datafiles.arrow import TIMESTAMP, table_of

SCHEMA = pa.schema(
    [("ts", TIMESTAMP), ("step", pa.int64()), ("value", pa.float64()), ("flag", pa.bool_()), ("name", pa.string())]
)
ROWS = [
    {"ts": datetime(2018, 2, 28, 2, 34, 0, 500), "step": 2**40, "value": -0.5, "flag": True, "name": "Wärme °C"},
    {"ts": None, "step": None, "value": None, "flag": None, "name": None},
    {"ts": datetime(1, 1, 1), "step": -1, "value": float("nan"), "flag": False, "name": ""},
] * 5


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], []], ids=["nulls", "no nulls", "no rows"])
def test_a_table_of_rows_is_pyarrows_own(rows):
    table = table_of(rows, SCHEMA)
    table.validate(full=True)
    assert str(table.to_pylist()) == str(pa.Table.from_pylist(rows, schema=SCHEMA).to_pylist())
    assert table.schema == SCHEMA


def test_it_imports_no_pandas():
    code = (
        "import sys; import pyarrow as pa; from flts.datafiles.arrow import table_of;"
        "table_of([{'name': 'a'}], pa.schema([('name', pa.string())])); sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
