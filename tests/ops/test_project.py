"""Projections are NumPy's on the frames that were recorded."""

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.errors import ArgumentError, DimensionError

REDUCES = ["mean", "max", "min", "std", "sum", "median"]
DTYPES = ["uint8", "uint16", "int32", "float32", "float64", "bool"]
VOLUME = {"frames": 13, "channel": 2, "plane": 3, "y": 5, "x": 4}
CHUNKS = (5, 2, 2, 5, 4)
every_reduce = pytest.mark.parametrize("reduce", REDUCES)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def volume(dtype="uint16", mask_dims=None, junk=0):
    rng = np.random.default_rng(0)
    top = 2 if dtype == "bool" else 255 if dtype == "uint8" else 60000
    values = rng.integers(0, top, tuple(VOLUME.values())).astype(dtype)
    if np.dtype(dtype).kind == "f":
        values /= 7
    data = cs.from_numpy(values, frame_rate=10)
    if mask_dims is None:
        return data
    valid = rng.random([VOLUME[dim] for dim in mask_dims]) > 0.4
    valid[0] = True
    valid = xr.DataArray(valid, dims=mask_dims)
    return data.where(valid, junk).astype(dtype).assign_coords(valid=valid)


def lazy(data, chunks=CHUNKS):
    return data.copy(data=da.from_array(data.values, chunks=chunks))


def reference(data, reduce):
    """Take the valid frames of every channel and plane, and NumPy's function of them."""
    working = {"mean": "f8", "std": "f8", "sum": "f8" if data.dtype.kind == "f" else "i8"}
    dtype = working.get(reduce, data.dtype)
    made = np.float64 if reduce == "median" else dtype
    valid = data.valid if "valid" in data.coords else xr.ones_like(data.frames, bool)
    valid = valid.broadcast_like(data.isel(y=0, x=0)).transpose("frames", "channel", "plane")
    out = np.empty(data.shape[1:], made)
    for at in np.ndindex(*data.shape[1:3]):
        kept = data.values[(slice(None), *at)][valid.values[(slice(None), *at)]]
        out[at] = getattr(np, reduce)(kept.astype(dtype), axis=0)
    return out


@every_reduce
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "mask_dims", [None, ("frames",), ("frames", "channel"), ("frames", "channel", "plane")]
)
def test_reduces_are_those_of_numpy(reduce, dtype, mask_dims):
    data = volume(dtype, mask_dims)
    expected = reference(data, reduce)
    eager, chunked = (cs.project(d, reduce=reduce) for d in (data, lazy(data)))
    assert chunked.chunks is not None
    for result in (eager, chunked):
        assert result.dims == ("channel", "plane", "y", "x")
        assert result.name == reduce
        assert result.dtype == result.compute().dtype == expected.dtype
    # Partial sums of floats in chunks differ in the last bits; those of whole numbers do not.
    rounded = reduce == "std" or (data.dtype.kind == "f" and reduce in ("mean", "sum"))
    np.testing.assert_array_equal(eager.values, expected)
    np.testing.assert_allclose(chunked.values, expected, rtol=1e-12 if rounded else 0)


@every_reduce
def test_what_damaged_frames_hold_does_not_matter(reduce):
    masks = ("frames", "plane")
    results = [cs.project(lazy(volume(mask_dims=masks, junk=j)), reduce=reduce) for j in (0, 65535)]
    xr.testing.assert_equal(*results)


@every_reduce
@pytest.mark.parametrize("chunks", [13, (1, 2, 3, 5, 4), (5, 1, 1, (2, 3), (1, 3))])
def test_the_chunks_do_not_matter(reduce, chunks):
    data = volume(mask_dims=("frames", "plane"))
    result = cs.project(lazy(data, chunks), reduce=reduce)
    np.testing.assert_allclose(result, reference(data, reduce), rtol=1e-12 * (reduce == "std"))


def test_sums_do_not_wrap():
    data = cs.from_numpy(np.full((70000, 1, 1), 65535, "uint16"), frame_rate=10)
    assert cs.project(data, reduce="sum").item() == 70000 * 65535
    assert cs.project(data.astype("float32"), reduce="mean").item() == 65535


def test_coordinates_of_the_image():
    data = volume(mask_dims=("frames", "plane")).assign_coords(
        plane_time=(("frames", "plane"), np.ones((13, 3))),
        z=("plane", [0.0, 20.0, 40.0], {"units": "um"}),
        cycle=("frames", np.ones(13, int)),
        depth=7.0,
    )
    result = cs.project(data.transpose("x", "plane", "frames", "y", "channel"))
    assert result.dims == ("x", "plane", "y", "channel")
    assert set(result.coords) == {"channel", "plane", "y", "x", "z", "depth"}
    for name in result.coords:
        xr.testing.assert_identical(result[name].variable, data[name].variable)
    assert result.attrs["cell_methods"] == "frames: mean"
    result = cs.project(data.assign_attrs(cell_methods="y: x: sum"), reduce="max")
    assert result.attrs["cell_methods"] == "y: x: sum frames: max"


@every_reduce
@pytest.mark.parametrize("make", [volume, lambda **k: lazy(volume(**k))], ids=["numpy", "dask"])
def test_a_plane_without_any_valid_frame(make, reduce):
    data = make(mask_dims=("frames", "plane"))
    valid = data.valid.copy()
    valid[:, 2] = False
    data = data.assign_coords(valid=valid)
    with pytest.raises(ArgumentError, match=r"valid frame.*movie\.isel\(plane=slice\(0, 5\)\)"):
        cs.project(data, reduce=reduce)
    assert cs.project(data.isel(plane=slice(0, 2)), reduce=reduce).sizes["plane"] == 2


@pytest.mark.parametrize("empty", [{"frames": 0}, {"y": 0}, {"x": 0}])
@every_reduce
def test_nothing_to_project(reduce, empty):
    data = volume().isel({dim: slice(0, 0) for dim in empty})
    for given in (data, lazy(data, -1)):
        with pytest.raises(ArgumentError, match="at least one frame and pixel"):
            cs.project(given, reduce=reduce)


def test_errors():
    data = volume()
    with pytest.raises(ArgumentError, match=r"one of \('mean', .*got 'mode'"):
        cs.project(data, reduce="mode")
    for wrong in (None, 3, np.array(["mean", "max"])):
        with pytest.raises(ArgumentError, match=r"project\(reduce=\) must be one of"):
            cs.project(data, reduce=wrong)
    with pytest.raises(ArgumentError, match="needs numbers, got an array of complex"):
        cs.project(data.astype(complex))
    with pytest.raises(DimensionError, match="project needs the dimensions"):
        cs.project(data.isel(y=0))
