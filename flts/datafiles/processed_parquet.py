"""Processed data as Parquet: columns in original units, and the metadata to use them in the schema."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, Json, ValidationError

from flts.boundary.files import sha256_file
from flts.contracts import ConfigHash, canonical_json
from flts.datafiles.arrow import TIMESTAMP, floats_array, times_array
from flts.datafiles.reading import is_parquet, parquet_file, read_columns, read_frame
from flts.datafiles.times import parse_times, show_time
from flts.diagnostics.validation import first_problem
from flts.errors import BadInputError
from flts.timeseries.arrays import Times
from flts.timeseries.features import TIME_FEATURES
from flts.timeseries.frame import ACTUAL_SUFFIX, TIME_COLUMN, Frame, Parts, usual_interval
from flts.timeseries.processed import ProcessedData, fit_scaler
from flts.timeseries.scaling import Scaler

_CONFIG_KEY = "preprocess_config"
_ROW_GROUP = 1 << 20


class _Metadata(BaseModel):
    """The schema metadata of ``write_processed``; every value is text, most of it JSON."""

    model_config = ConfigDict(allow_inf_nan=False)

    preprocess_config: str
    config_hash: ConfigHash
    scaler: Json[dict[str, Any]]
    target_columns: Json[Annotated[tuple[str, ...], Field(min_length=1)]]
    sampling_seconds: Json[Annotated[float, Field(gt=0)]]
    parts: Json[Parts]


def write_processed(path: Path, data: ProcessedData) -> None:
    """Write processed data; the same data gives the same bytes.

    Columns: ``time`` (timestamp without zone), ``data.frame``'s, and ``<target>_actual``, null where missing.
    """
    names = [TIME_COLUMN, *data.features, *map(_actual, data.targets)]
    kinds = [TIMESTAMP, *[pa.float64()] * (len(names) - 1)]
    metadata = {
        _CONFIG_KEY: data.config_json,
        "config_hash": data.config_hash,
        "scaler": canonical_json(data.scaler.to_dict()),
        "target_columns": canonical_json(data.targets),
        "sampling_seconds": canonical_json(data.sampling_seconds),
        "parts": canonical_json(asdict(data.parts)),
    }
    # Time features have few distinct values. Others hardly repeat: without a dictionary, but split by bytes, they
    # compress well.
    repeating = [name for name in data.features if name in TIME_FEATURES]
    with pq.ParquetWriter(
        path,
        pa.schema(zip(names, kinds, strict=True)),
        compression="zstd",
        compression_level=1,
        use_dictionary=repeating,
        use_byte_stream_split=[name for name in names[1:] if name not in repeating],
        store_schema=False,
    ) as writer:
        writer.add_key_value_metadata(metadata)
        for start in range(0, len(data), _ROW_GROUP):
            writer.write_batch(_batch(data, names, start, start + _ROW_GROUP))


def read_processed(path: Path) -> ProcessedData:
    """Read what ``write_processed`` wrote, or any other CSV or Parquet file.

    A file without the metadata of preprocess is used as it is: a min-max scaler is fitted on its fit part, the first
    numeric column is the target, and ``config_hash`` is the SHA-256 of the file.

    Raises:
        BadInputError: The file cannot be read, or a value is missing; the sentence says where.
    """
    label = str(path)
    if path.is_file() and is_parquet(path):
        with parquet_file(path, label) as file:
            metadata = file.metadata.metadata or {}
            names = file.schema_arrow.names
            time = parse_times(file.read(columns=[TIME_COLUMN]).column(0), label) if TIME_COLUMN in names else None
        if _CONFIG_KEY.encode() in metadata and time is not None:
            texts = {key.decode(errors="replace"): value.decode(errors="replace") for key, value in metadata.items()}
            return _read_own(path, time, names, texts)
    return _read_foreign(path, label)


def _actual(target: str) -> str:
    return target + ACTUAL_SUFFIX


def _batch(data: ProcessedData, names: list[str], start: int, stop: int) -> pa.RecordBatch:
    frame = data.frame.rows(start, stop)
    arrays = [times_array(frame.time)]
    arrays += [floats_array(values) for values in frame.columns.values()]
    arrays += [floats_array(data.actual[target][start:stop], nulls=True) for target in data.targets]
    return pa.RecordBatch.from_arrays(arrays, names=names)


def _read_own(path: Path, time: Times, names: list[str], metadata: dict[str, str]) -> ProcessedData:
    try:
        own = _Metadata.model_validate(metadata)
        scaler = Scaler.from_dict(own.scaler)
    except ValidationError as error:
        raise BadInputError(
            f"{path} holds metadata of preprocess that cannot be read: {first_problem(error)}"
        ) from None
    actual = {target: _actual(target) for target in own.target_columns}
    features = [name for name in names if name != TIME_COLUMN and name not in actual.values()]
    if absent := ({*actual, *actual.values()} - set(names)):
        raise BadInputError(f"{path} has no column {min(absent)!r}, as its metadata of preprocess says")
    columns = read_columns(path, [*features, *actual.values()], str(path))
    return ProcessedData(
        frame=Frame(time, {name: columns[name] for name in features}),
        actual={target: columns[name] for target, name in actual.items()},
        targets=own.target_columns,
        scaler=scaler,
        parts=own.parts,
        sampling_seconds=own.sampling_seconds,
        config_hash=own.config_hash,
        config_json=own.preprocess_config,
    )


def _read_foreign(path: Path, label: str) -> ProcessedData:
    frame = read_frame(path).frame
    for name, values in frame.columns.items():
        missing = np.isnan(values)
        if missing.any():
            moment = show_time(frame.time[int(missing.argmax())])
            raise BadInputError(
                f"{label}: column {name!r} has no value at {moment}; models need every value: run flts-preprocess first"
            )
    parts = Parts.of(len(frame))
    if parts.fit_end == 0:
        raise BadInputError(f"{label} has {len(frame)} row, expected at least 2")
    target = next((name for name in frame.columns if name not in TIME_FEATURES), None)
    if target is None:
        raise BadInputError(f"{label} has no measured column, only time features")
    return ProcessedData(
        frame=frame,
        actual={target: frame.columns[target]},
        targets=(target,),
        scaler=fit_scaler("MinMaxScaler", frame, parts),
        parts=parts,
        sampling_seconds=usual_interval(frame.time[: parts.fit_end]),
        config_hash=sha256_file(path),
        config_json="",
    )
