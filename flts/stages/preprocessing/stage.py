"""The preprocess stage: makes processed training and test data, their claim checks and a report of a dataset."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from flts.boundary.files import DATASET_SUFFIXES, sha256_file, split_dataset_name
from flts.datafiles.processed_parquet import write_processed
from flts.datafiles.reading import read_frame
from flts.errors import BadInputError, ObjectNotFoundError
from flts.params import PreprocessParams, check_key_name
from flts.report.data import PreprocessReport, SeriesReport
from flts.stage_interface import Artifact, Context, InputArtifact, Result
from flts.stages.inputs import load_dataset
from flts.stages.preprocessing import objects
from flts.stages.preprocessing.cleaning import sample
from flts.stages.preprocessing.config_hash import config_hash, preprocess_config
from flts.stages.preprocessing.objects import REPORT_FILE, TEST_FILE, TRAIN_FILE, DatasetMeta
from flts.stages.preprocessing.transforms import PreparedDataset, gaps, prepare
from flts.store.base import ObjectStore
from flts.timeseries.frame import Frame
from flts.timeseries.processed import ProcessedData

# Share of the rows that is the training part where there is no test file.
TRAIN_SHARE = 0.8

_GAPS_IN_REPORT = 500


@dataclass(frozen=True)
class _File:
    path: Path
    label: str


@dataclass(frozen=True)
class _Source:
    """The files of a dataset; without ``test`` the last rows of ``train`` are the test part."""

    name: str
    train: _File
    test: _File | None


def run(params: PreprocessParams, context: Context) -> Result:
    """Clean a dataset, or find that the store has the result already.

    Without a store the result goes to files; claim checks then name files in their own folder.

    Raises:
        BadInputError: The dataset or a parameter is wrong; the sentence says where.
    """
    context.progress(0.0, "reading the dataset")
    source = _find_source(params, context)
    params = params.model_copy(update={"dataset_name": source.name})
    paths = [file.path for file in (source.train, source.test) if file]
    with ThreadPoolExecutor(max_workers=2) as pool:
        train_sha256, *test_sha256 = pool.map(sha256_file, paths)
    config_json = preprocess_config(params, train_sha256, test_sha256[0] if test_sha256 else None)

    store, bucket = context.store, params.output_bucket
    if store is None:
        metas = _process(source, params, config_json, context)
        return _result(params, config_json, metas, context.work_dir, in_store=False)
    found = None if params.force_reprocess else objects.find(store, bucket, config_hash(config_json), context.work_dir)
    metas = found or _process(source, params, config_json, context)
    if found is None:
        context.progress(0.95, "storing the processed data")
        objects.publish(store, bucket, context.work_dir, metas, replace=bool(params.force_reprocess))
    objects.copy_to_fixed_keys(store, bucket, config_hash(config_json))
    return _result(params, config_json, metas, context.work_dir, in_store=True, cached=found is not None)


def _find_source(params: PreprocessParams, context: Context) -> _Source:
    given, store = context.inputs, context.store
    if "input" in given:
        return _given_source(params.dataset_name, given["input"], given.get("test_input"), context)
    if "test_input" in given:
        raise BadInputError("--test-input is given without --input")
    if store is None:
        raise BadInputError("no dataset is given: --input must name a file, or --gateway-url a store that has it")
    if not params.dataset_name:
        raise BadInputError("dataset_name is empty: it must name a dataset in the store")
    train = _download(store, params.input_bucket, params.dataset_name, context.work_dir)
    test = _download(store, params.input_bucket, f"{params.dataset_name}_test", context.work_dir)
    if train is None:
        *names, last = (params.dataset_name + suffix for suffix in DATASET_SUFFIXES)
        where = f"bucket {params.input_bucket!r} of {params.gateway_url}"
        raise ObjectNotFoundError(f"none of {', '.join(names)} and {last} is in {where}")
    return _Source(params.dataset_name, train, test)


def _given_source(name: str, train: InputArtifact, test: InputArtifact | None, context: Context) -> _Source:
    path = _local(train, context, "input")
    stem, suffix = split_dataset_name(path)
    beside = path.with_name(f"{stem}_test{suffix}")
    test_path = _local(test, context, "test_input") if test else beside if beside.is_file() else None
    test_file = _File(test_path, str(test_path)) if test_path else None
    return _Source(name or _name_of(path, stem), _File(path, str(path)), test_file)


def _name_of(path: Path, stem: str) -> str:
    try:
        return check_key_name(stem)
    except ValueError as error:
        raise BadInputError(
            f"the name of a dataset is that of its file, and {stem!r} of {path} {error}: rename the file, or give "
            "--dataset-name"
        ) from None


def _local(artifact: InputArtifact, context: Context, name: str) -> Path:
    # Apart, because two claim checks may end in the same name.
    folder = context.work_dir / name
    folder.mkdir()
    return load_dataset(artifact, context.store, folder)


def _download(store: ObjectStore, bucket: str, name: str, folder: Path) -> _File | None:
    for suffix in DATASET_SUFFIXES:
        if store.head(bucket, name + suffix):
            path = folder / f"raw_{name}{suffix}"
            store.download(bucket, name + suffix, path)
            return _File(path, f"{bucket}/{name}{suffix}")
    return None


def _process(source: _Source, params: PreprocessParams, config_json: str, context: Context) -> dict[str, DatasetMeta]:
    """Write the processed files and the report to the work folder; return what describes the files, by name."""
    context.progress(0.1, "reading the dataset")
    train, test, notes = _read(source, params)
    context.progress(0.3, "cleaning and adding features")
    prepared = prepare(train, test, params, config_json)
    notes += prepared.notes
    context.progress(0.5, f"writing {len(prepared.train)} training and {len(prepared.test)} test rows")
    files = {TRAIN_FILE: prepared.train, TEST_FILE: prepared.test}
    with ThreadPoolExecutor(max_workers=2) as pool:
        write = partial(_write, context.work_dir, notes=notes)
        metas = list(pool.map(write, files, files.values()))
    context.progress(0.9, "drawing the report")
    # Jinja and the charts are loaded only when something was computed.
    from flts.report.pages import preprocess_page

    page = preprocess_page(_report(source.name, prepared, notes))
    (context.work_dir / REPORT_FILE).write_text(page, encoding="utf-8")
    return dict(zip(files, metas, strict=True))


def _read(source: _Source, params: PreprocessParams) -> tuple[Frame, Frame, tuple[str, ...]]:
    """Read and sample both parts; the third value is what was noticed."""
    train = read_frame(source.train.path, source.train.label)
    if source.test:
        test = read_frame(source.test.path, source.test.label)
        parts, notes = (train.frame, test.frame), train.notes + test.notes
    else:
        rows = len(train.frame)
        split = int(TRAIN_SHARE * rows)
        parts = train.frame.rows(0, split), train.frame.rows(split, rows)
        notes = (*train.notes, f"there is no test file: the last {rows - split} of {rows} rows are the test part")
    strategy, seed = params.sample_strategy, params.sample_seed
    train_frame = sample(parts[0], params.sample_train_rows, strategy, seed)
    return train_frame, sample(parts[1], params.sample_test_rows, strategy, seed), notes


def _write(folder: Path, name: str, data: ProcessedData, notes: tuple[str, ...]) -> DatasetMeta:
    path = folder / name
    write_processed(path, data)
    return DatasetMeta(
        config_hash=data.config_hash,
        sha256=sha256_file(path),
        size=path.stat().st_size,
        rows=len(data),
        columns=list(data.features),
        target_columns=list(data.targets),
        sampling_seconds=data.sampling_seconds,
        parts=asdict(data.parts),
        notes=list(notes),
    )


def _report(name: str, prepared: PreparedDataset, notes: tuple[str, ...]) -> PreprocessReport:
    train, test = prepared.train, prepared.test
    measured = prepared.columns
    return PreprocessReport(
        dataset_name=name,
        # Runs of several identifiers share the data, and so the report.
        identifier="",
        config_hash=train.config_hash,
        config=json.loads(train.config_json),
        time=train.frame.time,
        test_time=test.frame.time,
        series=[
            SeriesReport(
                name=name,
                values=train.frame.columns[name],
                missing=column.missing[-len(train) :],
                clipped=column.clipped[-len(train) :],
                note=column.note,
            )
            for name, column in measured.items()
        ],
        test_series={name: test.frame.columns[name] for name in measured},
        targets=train.targets,
        fit_end=train.parts.fit_end,
        validation_end=train.parts.validation_end,
        sampling_seconds=train.sampling_seconds,
        gaps=gaps(train.frame.time, train.sampling_seconds, _GAPS_IN_REPORT),
        notes=notes,
    )


def _result(
    params: PreprocessParams,
    config_json: str,
    metas: Mapping[str, DatasetMeta],
    folder: Path,
    *,
    in_store: bool,
    cached: bool = False,
) -> Result:
    """Make the result of the stage; ``folder`` holds the report, and without a store the files."""
    digest = config_hash(config_json)
    bucket, prefix = (params.output_bucket, f"{digest}/") if in_store else ("", "")
    artifacts = {}
    for artifact, name in (("training_data", TRAIN_FILE), ("inference_data", TEST_FILE)):
        claim = objects.claim_check(metas[name], bucket, prefix + name, params.identifier, test=name == TEST_FILE)
        artifacts[artifact] = Artifact(claim.to_json(), claim.metadata() | {"row_count": claim.rows})
    training = artifacts["training_data"]
    artifacts["training_data"] = Artifact(training.content, {**training.metadata, "config_json": config_json})
    artifacts["report"] = Artifact((folder / REPORT_FILE).read_bytes(), {"config_hash": digest})
    files: dict[str, Path] = {}
    if not in_store:
        for name, meta in metas.items():
            (folder / objects.meta_name(name)).write_text(meta.to_json(), encoding="utf-8")
            files |= {each: folder / each for each in (name, objects.meta_name(name))}
    train = metas[TRAIN_FILE]
    return Result(
        artifacts=artifacts,
        parameters={"config_hash": digest, "config_json": config_json},
        message=(
            f"{params.dataset_name}: {train.rows} training and {metas[TEST_FILE].rows} test rows, "
            f"{len(train.columns)} columns, to forecast {', '.join(train.target_columns)}; config_hash {digest[:12]}"
        ),
        files=files,
        cached=cached,
        notes=tuple(train.notes),
    )
