"""Transforms from measured columns to processed data: missing values, clipping, time features, lags, in this order."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from flts.datafiles.times import show_time
from flts.errors import BadInputError
from flts.params import PreprocessParams
from flts.stages.preprocessing.cleaning import clip_bounds, drop_rows, fill_test, fill_training, outside_bounds
from flts.stages.preprocessing.config_hash import config_hash
from flts.timeseries.arrays import Flags, Floats, Times
from flts.timeseries.features import TIME_FEATURES, lag_name, parse_lag, time_features
from flts.timeseries.frame import ACTUAL_SUFFIX, GAP_FACTOR, Frame, Parts, usual_interval
from flts.timeseries.processed import ProcessedData, fit_scaler

# A sampling interval needs two rows.
_LEAST_FIT_ROWS = 2


@dataclass(frozen=True)
class CleanColumn:
    """A measured column, cleaned: ``train`` (n,) and ``test`` (m,) values.

    ``missing`` and ``clipped`` (n,) flag values of ``train`` that were filled and clipped; ``note`` is a remark for
    people, or empty.
    """

    train: Floats
    test: Floats
    missing: Flags
    clipped: Flags
    note: str = ""


@dataclass(frozen=True)
class PreparedDataset:
    """A dataset after preprocessing.

    Attributes:
        train: Processed training data.
        test: Processed test data.
        columns: Each measured column; its arrays may begin with rows that ``train`` lacks, because of lags.
        notes: Remarks for people, one sentence each.
    """

    train: ProcessedData
    test: ProcessedData
    columns: Mapping[str, CleanColumn]
    notes: tuple[str, ...]


def prepare(train: Frame, test: Frame, params: PreprocessParams, config_json: str) -> PreparedDataset:
    """Clean both parts of a dataset, add features, and fit the scaler, all on the fit part alone.

    Args:
        train: Measured training columns, NaN where missing; cleaned in place, so that there is one copy in memory.
        test: The same columns of the test part; cleaned in place.
        params: Parameters of the stage.
        config_json: Canonical JSON of the configuration, kept in the result.

    Raises:
        BadInputError: The columns do not match each other or the parameters, or there are too few rows.
    """
    test = _with_columns_of(train, test)
    targets = resolve_targets(params.target_columns, tuple(train.columns))
    _refuse_training_rows(train, test)
    step = params.lags_step
    lags = range(step, params.lags_n * step + 1, step) if params.lags_enable else range(0)
    _check_names(train, targets, lags)
    notes: list[str] = []
    if params.nans_drop_rows:
        train = _without_empty_rows("training", train, params.nans_threshold, notes)
        test = _without_empty_rows("test", test, params.nans_threshold, notes)
    skip = lags[-1] if lags else 0
    _check_rows(train, skip)

    parts = Parts.of(len(train))
    sampling_seconds = usual_interval(train.time[: parts.fit_end])
    history = int(np.searchsorted(train.time, test.time[0]))
    actual = {name: (train.columns[name].copy(), test.columns[name].copy()) for name in targets}
    columns = {name: _clean(name, train, test, history, parts.fit_end, params) for name in train.columns}
    notes += _time_notes(train.time, test.time, sampling_seconds)
    notes += [f"column {name!r} {column.note}" for name, column in columns.items() if column.note]

    clean_train = Frame(train.time, {name: column.train for name, column in columns.items()})
    clean_test = Frame(test.time, {name: column.test for name, column in columns.items()})
    rows_without_lags = max(0, skip - history)
    if rows_without_lags >= len(test):
        raise BadInputError(f"no test row is left: lags reach {skip} rows back, further than the data")
    if rows_without_lags:
        notes.append(
            f"the first {rows_without_lags} test rows are left out, because their lags would lie before the data"
        )
    if skip:
        clean_test = _concatenate(clean_train.rows(max(0, history - skip), history), clean_test)
    train_frame = _with_features(clean_train, lags, params.time_features_enable)
    written = Parts(parts.fit_end - skip, parts.validation_end - skip, parts.rows - skip)
    processed = ProcessedData(
        frame=train_frame,
        actual={name: values[skip:] for name, (values, _) in actual.items()},
        targets=targets,
        scaler=fit_scaler(params.scaler, train_frame, written),
        parts=written,
        sampling_seconds=sampling_seconds,
        config_hash=config_hash(config_json),
        config_json=config_json,
    )
    processed_test = replace(
        processed,
        frame=_with_features(clean_test, lags, params.time_features_enable),
        actual={name: values[rows_without_lags:] for name, (_, values) in actual.items()},
    )
    return PreparedDataset(processed, processed_test, columns, tuple(notes))


def resolve_targets(text: str, names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that ``target_columns`` names: empty means the first, ``*`` all."""
    if not text.strip():
        return (names[0],)
    if text.strip() == "*":
        return tuple(names)
    targets = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [target for target in targets if target not in names]
    if unknown or not targets:
        known = ", ".join(map(repr, names))
        raise BadInputError(f"target_columns {text!r} names no numeric column; there are {known}")
    return targets


def gaps(time: Times, sampling_seconds: float, most: int) -> list[tuple[np.datetime64, np.datetime64]]:
    """Return the rows before and after each gap in time, in order; only the ``most`` longest."""
    steps = _steps(time)
    wide = np.flatnonzero(steps > GAP_FACTOR * sampling_seconds)
    longest = np.sort(wide[np.argsort(-steps[wide], kind="stable")[:most]])
    return [(time[row], time[row + 1]) for row in longest]


def _with_columns_of(train: Frame, test: Frame) -> Frame:
    """Return the test part with its columns in the order of the training part's."""
    missing = [name for name in train.columns if name not in test.columns]
    if missing:
        raise BadInputError(f"the test data lack the numeric column {missing[0]!r} of the training data")
    extra = [name for name in test.columns if name not in train.columns]
    if extra:
        raise BadInputError(f"the test data have a numeric column {extra[0]!r} that the training data lack")
    return Frame(test.time, {name: test.columns[name] for name in train.columns})


def _refuse_training_rows(train: Frame, test: Frame) -> None:
    """Refuse test rows with the time and values of training rows, on which a backtest tests nothing."""
    if not (len(train) and len(test)) or test.time[0] > train.time[-1]:
        return
    _, rows, test_rows = np.intersect1d(train.time, test.time, assume_unique=True, return_indices=True)
    same = np.ones(len(rows), dtype=bool)
    for name, values in train.columns.items():
        ours, theirs = values[rows], test.columns[name][test_rows]
        same &= (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    if found := int(np.count_nonzero(same)):
        first = show_time(test.time[test_rows[same][0]])
        raise BadInputError(
            f"{found} of {len(test)} test rows are rows of the training data as well, the first of {first}: "
            "the test data must be new, because a backtest on training rows tests nothing"
        )


def _check_names(train: Frame, targets: Iterable[str], lags: range) -> None:
    """Refuse measured columns with the names of computed ones."""
    taken = {*TIME_FEATURES, *(target + ACTUAL_SUFFIX for target in targets)}
    for name in train.columns:
        lag = parse_lag(name)
        if name in taken or (lag and lag[0] in train.columns and lag[1] in lags):
            raise BadInputError(f"column {name!r} has the name of a column that preprocess adds: rename or remove it")


def _without_empty_rows(name: str, frame: Frame, threshold: float, notes: list[str]) -> Frame:
    kept = drop_rows(frame, threshold)
    if dropped := len(frame) - len(kept):
        notes.append(
            f"{dropped} of {len(frame)} {name} rows were dropped: more than {threshold:g} of their values missing"
        )
    if not len(kept):
        raise BadInputError(f"no {name} row is left: more than {threshold:g} (nans_threshold) of each is missing")
    return kept


def _check_rows(train: Frame, skip: int) -> None:
    """Make sure that every part has rows without the first ``skip``, which lags need."""
    least = skip + _LEAST_FIT_ROWS
    candidates = ((rows, Parts.of(rows)) for rows in count(int(least / 0.70)))
    needed = next(rows for rows, parts in candidates if least <= parts.fit_end < parts.validation_end < rows)
    if len(train) < needed:
        why = f" with lags that reach {skip} rows back" if skip else ""
        raise BadInputError(f"the training data have {len(train)} rows, but preprocess needs at least {needed}{why}")


def _clean(name: str, train: Frame, test: Frame, history: int, fit_end: int, params: PreprocessParams) -> CleanColumn:
    """Fill and clip one column in place; ``history`` training rows lie before the first test row."""
    values, test_values = train.columns[name], test.columns[name]
    missing, test_missing = np.isnan(values), np.isnan(test_values)
    if missing[:fit_end].all():
        raise BadInputError(f"column {name!r} has no value in the fit part, the first {fit_end} training rows")
    if params.handle_nans:
        before = train.time[:history], values[:history]
        fill_test(test.time, test_values, before, params.nans_knn)
        if np.isnan(test_values).any():
            # There is no observation before these rows.
            test_values[np.isnan(test_values)] = np.nanmedian(values[:fit_end])
        fill_training(train.time, values, fit_end, params.nans_knn)
    elif missing.any() or test_missing.any():
        where, time, flags = ("training", train.time, missing) if missing.any() else ("test", test.time, test_missing)
        moment = show_time(time[int(flags.argmax())])
        raise BadInputError(f"column {name!r} of the {where} data has no value at {moment}, and handle_nans is off")
    clipped: Flags = np.broadcast_to(np.zeros(1, dtype=bool), len(values))
    note = ""
    if params.clip_enable:
        bounds = clip_bounds(values[:fit_end], params.clip_method, params.clip_factor)
        if bounds is None:
            note = "is not clipped, because most of it is one value"
        else:
            clipped = outside_bounds(values, bounds)
            for part in (values, test_values):
                np.clip(part, *bounds, out=part)
    fit = values[:fit_end]
    if params.scaler != "none" and fit.min() == fit.max():
        note = "is constant in the fit part and scales to zero"
    return CleanColumn(values, test_values, missing, clipped, note)


def _steps(time: Times) -> Floats:
    """Return (n - 1,) seconds between rows."""
    return np.diff(time).astype(np.int64) / 1e6


def _time_notes(train: Times, test: Times, sampling_seconds: float) -> list[str]:
    """Return notes on irregular sampling, and on test rows that are not new."""
    notes = []
    for name, time in (("training", train), ("test", test)):
        steps = _steps(time)
        wide = int(np.count_nonzero(steps > GAP_FACTOR * sampling_seconds))
        uneven = int(np.count_nonzero(steps != sampling_seconds)) - wide
        if wide:
            row = int(steps.argmax())
            longest = f"the longest from {show_time(time[row])} to {show_time(time[row + 1])}"
            notes.append(f"{name} data: {wide} gap{'s' * (wide > 1)} in time, {longest}")
        if uneven:
            usual = f"the usual {sampling_seconds:g} s"
            notes.append(f"{name} data: {uneven} of {len(steps)} intervals between rows differ from {usual}")
    if early := int(np.count_nonzero(test <= train[-1])):
        notes.append(f"{early} of {len(test)} test rows are not later than the last training row")
    return notes


def _concatenate(tail: Frame, frame: Frame) -> Frame:
    columns = {name: np.concatenate([tail.columns[name], values]) for name, values in frame.columns.items()}
    return Frame(np.concatenate([tail.time, frame.time]), columns)


def _with_features(frame: Frame, lags: range, with_time: bool) -> Frame:
    """Add time features and lags; the first rows, which lack some lag, are left out."""
    skip, rows = (lags[-1] if lags else 0), len(frame)
    columns = {name: values[skip:] for name, values in frame.columns.items()}
    if with_time:
        columns |= time_features(frame.time[skip:])
    for name, values in frame.columns.items():
        columns |= {lag_name(name, lag): values[skip - lag : rows - lag] for lag in lags}
    return Frame(frame.time[skip:], columns)
