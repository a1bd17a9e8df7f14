"""Scalers, against scikit-learn's definitions worked out by hand."""

import json

import numpy as np
import pytest

from flts.timeseries.scaling import Scaler

VALUES = np.array([-4.0, 0.0, 1.0, 2.0, 6.0])
KINDS = ["MinMaxScaler", "StandardScaler", "RobustScaler", "MaxAbsScaler", "none"]


@pytest.mark.parametrize(
    ("kind", "center", "scale"),
    [
        ("MinMaxScaler", -4, 10),
        ("StandardScaler", 1, np.sqrt(52 / 5)),
        ("RobustScaler", 1, 2),
        ("MaxAbsScaler", 0, 6),
        ("none", 0, 1),
    ],
)
def test_each_kind_scales_as_defined(kind, center, scale):
    scaler = Scaler.fit(kind, {"a": VALUES})
    assert (scaler.center[0], scaler.scale[0]) == (center, pytest.approx(scale))
    np.testing.assert_allclose(scaler.transform(["a"], VALUES[:, None])[:, 0], (VALUES - center) / scale)


@pytest.mark.parametrize("kind", KINDS)
def test_inverse_undoes_transform_and_json_keeps_it(kind):
    columns = {"a": VALUES, "b": VALUES * 1e6 + 3, "c": np.full(5, 0.1)}
    scaler = Scaler.fit(kind, columns)
    restored = Scaler.from_dict(json.loads(json.dumps(scaler.to_dict())))
    matrix = np.stack(list(columns.values()), axis=1)
    np.testing.assert_array_equal(restored.transform(list(columns), matrix), scaler.transform(list(columns), matrix))
    np.testing.assert_allclose(
        scaler.inverse(list(columns), scaler.transform(list(columns), matrix)), matrix, atol=1e-9
    )


@pytest.mark.parametrize("kind", KINDS)
def test_missing_values_teach_nothing(kind):
    scaler = Scaler.fit(kind, {"a": np.insert(VALUES, [0, 2, 5], np.nan)})
    assert scaler.to_dict() == Scaler.fit(kind, {"a": VALUES}).to_dict()


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_a_constant_column_scales_to_exactly_zero(kind):
    constant = np.full(1000, 0.1)
    np.testing.assert_array_equal(Scaler.fit(kind, {"a": constant}).transform(["a"], constant[:, None]), 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_spread_of_nearly_nothing_does_not_overflow(kind):
    scaler = Scaler.fit(kind, {"a": np.array([0.0, 1e-309, 0.0, 0.0])})
    assert np.isfinite(scaler.transform(["a"], np.array([[1e18]]))).all()


def test_none_leaves_a_constant_column_alone():
    np.testing.assert_array_equal(Scaler.fit("none", {"a": VALUES[:1]}).transform(["a"], np.array([[7.0]])), 7)


def test_columns_come_in_any_order_and_unknown_ones_pass():
    scaler = Scaler.fit("MinMaxScaler", {"a": VALUES, "b": VALUES * 2})
    np.testing.assert_allclose(scaler.transform(["b", "sine", "a"], np.array([[12.0, 0.5, 6.0]])), [[1, 0.5, 1]])
