"""Rows on a common scale: against the formulas."""

import numpy as np
import pytest
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from calscipy.errors import ArgumentError, RowError
from calscipy.kernels.scale import scale_rows


def rows():
    f = np.random.default_rng(0).normal(1000, 30, (3, 4, 50)).astype("f4")
    f[0, 1, 10:20] = np.nan
    return f


def standard(row):
    return (row - np.nanmean(row)) / np.nanstd(row)


def minmax(row):
    return (row - np.nanmin(row)) / (np.nanmax(row) - np.nanmin(row))


def robust(row):
    low, middle, high = np.nanpercentile(row, [25, 50, 75])
    return (row - middle) / (high - low)


def maxabs(row):
    return row / np.nanmax(np.abs(row))


@pytest.mark.parametrize(
    ("scaler", "formula"),
    [
        (StandardScaler(), standard),
        (MinMaxScaler(), minmax),
        (RobustScaler(), robust),
        (MaxAbsScaler(), maxabs),
    ],
    ids=["standard", "minmax", "robust", "maxabs"],  # an address in a name differs by process
)
def test_each_row_by_itself(scaler, formula):
    f = rows()
    expected = np.apply_along_axis(formula, -1, f.astype("f8"))
    made = scale_rows(f, scaler=scaler)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-5)
    assert not hasattr(scaler, "n_features_in_")  # the caller's is not fitted


def test_a_scaler_of_another_kind_sees_one_row_at_a_time():
    f = rows()[1]
    scaler = QuantileTransformer(n_quantiles=20, subsample=30, random_state=3)
    made = scale_rows(f, scaler=scaler)
    for row, got in zip(f, made, strict=True):
        np.testing.assert_array_equal(scale_rows(row[None], scaler=scaler)[0], got)
        assert (np.diff(got[np.argsort(row)]) >= 0).all()


@pytest.mark.parametrize("scaler", [StandardScaler(), MinMaxScaler(), RobustScaler()], ids=str)
def test_rows_without_numbers_or_changes(scaler):
    f = np.array([[np.nan, np.nan], [5.0, 5.0]])
    np.testing.assert_array_equal(scale_rows(f, scaler=scaler), [[np.nan, np.nan], [0, 0]])
    assert scale_rows(f[:, :0], scaler=scaler).shape == (2, 0)
    assert scale_rows(f[:, :1], scaler=scaler)[1].tolist() == [0.0]


def test_infinite_samples_are_refused_naming_the_rows():
    f = np.array([[1.0, 2.0], [np.inf, 1.0]])
    with pytest.raises(RowError, match="rows 1 have infinite samples"):
        scale_rows(f, scaler=StandardScaler())


def test_what_changes_the_number_of_samples_is_refused():
    class Halves(StandardScaler):
        def fit_transform(self, X, y=None):
            return X[::2]

    with pytest.raises(ArgumentError, match="keeps the samples"):
        scale_rows(np.ones((1, 4)), scaler=Halves())
