"""Random small datasets and damaged bytes at preprocess: a right result or one sentence, never anything else."""

import math
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from flts.boundary.files import sha256_file
from flts.contracts import ClaimCheck
from flts.datafiles.processed_parquet import read_processed
from flts.errors import BadInputError
from flts.params import PreprocessParams
from flts.report.data import PreprocessReport
from flts.stage_interface import Context, InputArtifact, Result
from flts.stages import PREPROCESS
from tests.support.commands import listing, run

# Each example writes files; how long one takes depends on the machine's load.
relaxed = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)

numbers = st.floats(allow_nan=False, width=64) | st.integers(-5, 5) | st.sampled_from(["", "NA", "x", "inf", "1e400"])
texts = st.text(st.characters(codec="utf-8"), max_size=6)
names = st.sampled_from(["a", "b", "time", "", "min_of_day_sin", "a_actual", "a_lag_1", "ä;"]) | texts
times = st.integers(0, 3_000).map(lambda minute: str(np.datetime64("2024-01-01", "m") + minute)) | texts
separators = st.sampled_from([",", ";"])


@st.composite
def sane_files(draw):
    """CSV that holds what preprocess expects, with some values missing."""
    rows = draw(st.integers(1, 40))
    columns = draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True))
    steps = draw(st.lists(st.integers(1, 5), min_size=rows, max_size=rows))
    separator = draw(separators)
    values = st.floats(-1e6, 1e6) | st.sampled_from(["", 0.0])
    lines = [separator.join(["time", *columns])]
    for minute in np.cumsum(steps):
        cells = [str(draw(values)) for _ in columns]
        lines.append(separator.join([str(np.datetime64("2024-01-01", "m") + minute), *cells]))
    return "\n".join(lines).encode()


@st.composite
def wild_files(draw):
    """CSV whose names, times and values may be anything."""
    header = ["time", *draw(st.lists(names, max_size=3))]
    rows = draw(st.lists(st.tuples(times, *[numbers] * (len(header) - 1)), max_size=12))
    separator = draw(separators)
    lines = [separator.join(header), *(separator.join(map(str, row)) for row in rows)]
    return draw(st.sampled_from(["\n", "\r\n", "\r"])).join(lines).encode()


@st.composite
def damaged_files(draw):
    """Sane CSV with some of its bytes changed, lost or repeated."""
    content = bytearray(draw(sane_files()))
    for _ in range(draw(st.integers(1, 4))):
        place, length = draw(st.integers(0, len(content))), draw(st.integers(0, 9))
        content[place : place + length] = draw(
            st.binary(max_size=6) | st.just(bytes(content[place : place + length]) * 2)
        )
    return bytes(content)


parameters = st.fixed_dictionaries(
    {},
    optional={
        "sample_train_rows": st.integers(0, 30),
        "sample_strategy": st.sampled_from(["head", "tail", "random"]),
        "handle_nans": st.booleans(),
        "nans_threshold": st.floats(0, 1),
        "nans_knn": st.integers(1, 50),
        "nans_drop_rows": st.booleans(),
        "clip_enable": st.booleans(),
        "clip_method": st.sampled_from(["iqr", "zscore", "quantile"]),
        "clip_factor": st.floats(0.01, 49),
        "time_features_enable": st.booleans(),
        "lags_enable": st.booleans(),
        "lags_n": st.integers(0, 4),
        "lags_step": st.integers(1, 4),
        "scaler": st.sampled_from(["MinMaxScaler", "StandardScaler", "RobustScaler", "MaxAbsScaler", "none"]),
        "target_columns": st.sampled_from(["", "*", "a", "b,a"]),
    },
)


@pytest.fixture(autouse=True)
def no_report(monkeypatch):
    """Reports have their own tests; here they would take most of the time."""

    def page(report: PreprocessReport) -> str:
        assert len(report.series[0].values) == len(report.time) == len(report.series[0].missing)
        return "<html>"

    monkeypatch.setattr("flts.report.pages.preprocess_page", page)


def preprocess(content: bytes, params: dict[str, object]) -> None:
    """Run the stage; whatever it gives back must be right."""
    with tempfile.TemporaryDirectory() as name:
        work_dir = Path(name, "work")
        work_dir.mkdir()
        source = Path(name, "data.csv")
        source.write_bytes(content)
        context = Context(inputs={"input": InputArtifact(source)}, work_dir=work_dir)
        try:
            result = PREPROCESS.run(PreprocessParams(dataset_name="", identifier="", **params), context)
        except BadInputError as error:
            sentence = str(error)
        else:
            sentence = ""
            check(result)
        assert "\n" not in sentence


def check(result: Result) -> None:
    """Hold a result to what trainers rely on."""
    for artifact, file in (("training_data", "processed_data"), ("inference_data", "test_processed_data")):
        path = result.files[f"{file}.parquet"]
        claim = ClaimCheck.parse(result.artifacts[artifact].content, source=artifact)
        data = read_processed(path)
        assert claim.sha256 == sha256_file(path)
        assert claim.rows == len(data) > 0
        assert (np.diff(data.frame.time) > np.timedelta64(0)).all()
        values = data.frame.matrix(data.features)
        assert np.isfinite(values).all()
        assert np.isfinite(data.scaler.transform(data.features, values)).all()
        assert 0 < data.parts.fit_end < data.parts.validation_end < data.parts.rows
        assert all(math.isfinite(value) and value > 0 for value in (data.sampling_seconds, *data.scaler.scale))


@relaxed
@given(sane_files(), parameters)
def test_sane_files(content, params):
    preprocess(content, params)


@relaxed
@given(wild_files(), parameters)
def test_wild_files(content, params):
    preprocess(content, params)


@relaxed
@given(damaged_files(), parameters)
def test_damaged_files(content, params):
    preprocess(content, params)


@relaxed
@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda tail: b"PAR1" + tail + b"PAR1"))
def test_any_bytes(content):
    preprocess(content, {})


@pytest.mark.slow
@settings(deadline=None, max_examples=6, suppress_health_check=list(HealthCheck))
@given(damaged_files())
def test_the_command_ends_with_0_or_one_sentence(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("command")
    (folder / "data.csv").write_bytes(content)
    ended = run(folder, "flts-preprocess", "--input", "data.csv", "--output-dir", "out")
    assert ended.code in (0, 2), ended.stderr
    if ended.code == 2:
        assert ended.error()
        assert listing(folder) == ["data.csv"]
    else:
        assert (folder / "out" / "processed_data.parquet").is_file()
