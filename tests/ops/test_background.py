"""Subtracting a background is plain arithmetic in floats, by the names of dimensions."""

import threading

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.errors import ArgumentError, ChunkError, DimensionError
from calscipy.kernels.background import without_percentile
from calscipy.ops import background
from calscipy.ops.background import subtract_background

from ..gpu_stand_in import install  # noqa: TID252

RESULT = {"uint8": "f4", "uint16": "f4", "int32": "f8", "float16": "f4", "float64": "f8"}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def movie(dtype="uint16", damaged=False):
    values = np.random.default_rng(0).integers(0, 250, (7, 2, 5, 6)).astype(dtype)
    data = cs.from_numpy(values, frame_rate=10)
    if damaged:
        valid = np.random.default_rng(1).random((7, 2)) > 0.3
        data = data.assign_coords(valid=(("frames", "channel"), valid))
    return data


def lazy(data, chunks=(3, 1, 5, 6)):
    return data.copy(data=da.from_array(data.values, chunks=chunks))


@pytest.mark.parametrize("dtype", RESULT)
def test_a_number_is_subtracted_without_wrapping(dtype):
    data = movie(dtype)
    result = subtract_background(data, 100)
    assert result.dtype == RESULT[dtype]
    np.testing.assert_array_equal(result, data.values.astype("f8") - 100)
    assert (result < 0).any()


@pytest.mark.parametrize("dims", [("y", "x"), ("channel",), ("frames",), ("x", "frames"), ()])
def test_a_level_meets_the_movie_by_the_names_of_its_dimensions(dims):
    data = movie()
    sizes = [data.sizes[dim] for dim in dims]
    coords = {dim: data[dim] for dim in dims if dim in data.coords}
    values = np.random.default_rng(2).integers(0, 200, sizes)
    level = xr.DataArray(values, coords, dims)
    wide = level.broadcast_like(data).transpose(*data.dims).values
    for place in (data, lazy(data), data.transpose("x", "frames", "y", "channel")):
        result = subtract_background(place, level)
        assert result.dims == place.dims
        assert (result.chunks is None) == (place.chunks is None)
        np.testing.assert_array_equal(result.transpose(*data.dims), data.values.astype("f8") - wide)
        assert result.coords.keys() == data.coords.keys()


@pytest.mark.parametrize("percentile", [0, 12.5, 50, 100])
@pytest.mark.parametrize("dtype", RESULT)
def test_the_percentile_is_that_of_each_image(percentile, dtype):
    data = movie(dtype)
    result = subtract_background(data, percentile=percentile)
    assert result.dtype == RESULT[dtype]
    for image in np.ndindex(7, 2):
        pixels = data.values[image].astype("f8")
        np.testing.assert_allclose(
            result.values[image], pixels - np.percentile(pixels, percentile), rtol=1e-6
        )
    for chunks in ((3, 1, 5, 6), (7, 2, 2, 3), (1, 2, 5, 6)):
        chunked = subtract_background(lazy(data, chunks), percentile=percentile)
        assert chunked.chunks is not None
        computed = chunked.compute()
        assert computed.dtype == chunked.dtype == result.dtype
        np.testing.assert_array_equal(computed, result)
    turned = subtract_background(data.transpose(), percentile=percentile)
    np.testing.assert_array_equal(turned.transpose(*data.dims), result)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (7, 9), (40, 50)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2"])
def test_counted_percentiles_are_those_of_numpy(dtype, shape):
    rng = np.random.default_rng(3)
    top = np.iinfo(dtype).max
    few = rng.integers(0, 4, shape)
    for values in (rng.integers(0, top + 1, shape), few, top - few, np.full(shape, top)):
        image = values.astype(dtype)
        for percentile in (0, 100, 50, 1 / 3, *rng.uniform(0, 100, 40)):
            found = without_percentile(image, percentile=percentile, out_dtype=np.dtype("f8"))
            np.testing.assert_array_equal(found, image - np.percentile(image, percentile))


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_pieces_in_threads_are_the_whole(monkeypatch, dtype):
    used = set()

    def noted(*args, **kwargs):
        used.add(threading.get_ident())
        return without_percentile(*args, **kwargs)

    data = movie(dtype)
    expected = subtract_background(data, percentile=30)
    monkeypatch.setattr(background, "without_percentile", noted)
    monkeypatch.setattr(background, "PIECE_BYTES", 2 * data[0].nbytes)
    for place in (data, data.transpose("x", "frames", "y", "channel")):
        result = subtract_background(place, percentile=30)
        np.testing.assert_array_equal(result.transpose(*data.dims), expected)
    assert threading.get_ident() not in used
    assert subtract_background(data[:0], percentile=30).shape == (0, *data.shape[1:])


def test_a_movie_in_row_bands_keeps_to_the_memory_limit():
    bands = lazy(movie(), (7, 2, 1, 6))
    with cs.set_options(memory_limit=bands.nbytes - 1):
        with pytest.raises(ChunkError, match="subtract_background needs whole frames"):
            subtract_background(bands, percentile=30)
        few = subtract_background(lazy(movie(), (2, 2, 1, 6)), percentile=30)
    np.testing.assert_array_equal(few, subtract_background(movie(), percentile=30))


def test_pixels_that_are_nan_do_not_count():
    data = movie("float32")
    data.values[0, 0, :2], data.values[1, 1] = np.nan, np.nan
    result = subtract_background(data, percentile=20)
    rest = data.values[0, 0, 2:]
    np.testing.assert_allclose(result.values[0, 0, 2:], rest - np.percentile(rest, 20), rtol=1e-6)
    np.testing.assert_array_equal(np.isnan(result), np.isnan(data))


@pytest.mark.parametrize("arguments", [{"level": 7.5}, {"percentile": 30}])
def test_damaged_frames_are_passed_on(arguments):
    data = movie(damaged=True)
    result = subtract_background(data, **arguments)
    whole = subtract_background(data.drop_vars("valid"), **arguments)
    keep = data.valid.values
    np.testing.assert_array_equal(result.values[keep], whole.values[keep])
    np.testing.assert_array_equal(result.values[~keep], data.values[~keep])
    np.testing.assert_array_equal(subtract_background(lazy(data), **arguments), result)
    turned = subtract_background(data.transpose(), **arguments)
    np.testing.assert_array_equal(turned.transpose(*data.dims), result)


@pytest.mark.parametrize("arguments", [{"level": 7.5}, {"percentile": 30}])
def test_words_laziness_and_the_input(arguments):
    def refuse(*args, **kwargs):
        raise AssertionError("computed")

    data = movie(damaged=True).assign_attrs(units="mV", history="earlier")
    data.values.setflags(write=False)
    before = data.copy(deep=True)
    with dask.config.set(scheduler=refuse):
        first, second = (subtract_background(lazy(data), **arguments) for _ in range(2))
    assert first.data.name == second.data.name
    result = subtract_background(data, **arguments)
    xr.testing.assert_identical(data, before)
    assert result.name == "movie"
    assert result.attrs["units"] == "mV"
    assert result.attrs["long_name"] == "fluorescence, background subtracted"
    assert result.attrs["history"].splitlines()[1].split(" ", 3)[3].startswith("subtract_backgr")
    for name, coord in data.coords.items():
        xr.testing.assert_identical(result[name].variable, coord.variable)


@pytest.mark.parametrize("damaged", [False, True])
def test_arrays_on_a_gpu_stay_there(monkeypatch, damaged):
    install(monkeypatch)
    import cupy

    data = movie(damaged=damaged)
    there = data.copy(data=cupy.asarray(data.values))
    image = data.isel(frames=0, channel=0, drop=True)
    for arguments in ({"level": 7.5}, {"percentile": 30}, {"level": image}):
        result = subtract_background(there, **arguments)
        assert type(result.data).__module__ == "cupy"
        expected = subtract_background(data, **arguments)
        np.testing.assert_array_equal(result.data.get(), expected)


def test_what_does_not_fit_is_refused():
    data = movie()
    with pytest.raises(ArgumentError, match="either a level or a percentile, got level=None"):
        subtract_background(data)
    with pytest.raises(ArgumentError, match="percentile=8"):
        subtract_background(data, 3, percentile=8)
    for wrong in (np.nan, np.inf, True, "5", np.zeros(3)):
        with pytest.raises(ArgumentError, match="finite number or a DataArray"):
            subtract_background(data, wrong)
    image = np.arange(30.0).reshape(5, 6)
    for wrong in (image, da.from_array(image)):
        with pytest.raises(
            ArgumentError,
            match=r"got an array of shape \(5, 6\) and dtype float64\..*DataArray\(image, dims=",
        ):
            subtract_background(data, wrong)
        with pytest.raises(ArgumentError, match=r"level=an array of shape \(5, 6\)") as error:
            subtract_background(data, wrong, percentile=wrong)
        assert len(str(error.value)) < 250
    for value, number in ((np.nan, 1), (np.inf, 1), (-np.inf, 30)):
        wrong = data[0, 0].astype("f4")
        wrong[(0, 0) if number == 1 else slice(None)] = value
        with pytest.raises(ArgumentError, match=rf"found {number} of 30 .* level\.fillna\(0\)"):
            subtract_background(lazy(data), wrong)
        unseen = subtract_background(lazy(data), wrong.chunk())
        assert int((~np.isfinite(unseen)).sum()) == number * data[..., 0, 0].size
    for wrong in (-1, 101, np.nan, True, "5", [5], image):
        with pytest.raises(ArgumentError, match="percentile between 0 and 100"):
            subtract_background(data, percentile=wrong)
    with pytest.raises(DimensionError, match=r"found \('plane',\)"):
        subtract_background(data, xr.DataArray(np.zeros(2), dims="plane"))
    with pytest.raises(DimensionError, match="subtract_background needs the dimensions"):
        subtract_background(data[0], 1)
    with pytest.raises(ArgumentError, match="complex"):
        subtract_background(data.astype(complex), 1)
    with pytest.raises(ArgumentError, match="level of numbers"):
        subtract_background(data, data[0, 0] > 3)
    with pytest.raises(xr.AlignmentError, match="exact"):
        subtract_background(data, data[0, 0, :, 1:])
    with pytest.raises(ArgumentError, match="other times"):
        subtract_background(
            data, data.mean(("channel", "y", "x")).assign_coords(time=data.time + 1)
        )
    with pytest.raises(xr.AlignmentError):
        subtract_background(data, xr.DataArray(np.zeros(6), dims="frames"))


def test_a_level_of_another_plane_or_channel_is_refused():
    data = movie()
    first, second = (data.isel(channel=at) for at in (0, 1))
    with pytest.raises(ArgumentError, match=r"subtract_background: the movie is channel Ch1"):
        subtract_background(first, cs.project(second))
    assert subtract_background(first, cs.project(first)).shape == first.shape
    meant = cs.project(second).drop_vars("channel")
    assert subtract_background(first, meant).shape == first.shape
    assert subtract_background(data, cs.project(first)).shape == data.shape
    planes = data.rename(channel="plane").assign_coords(plane=[2, 5])
    with pytest.raises(ArgumentError, match="plane 2"):
        subtract_background(planes.sel(plane=5), cs.project(planes.sel(plane=2)))
