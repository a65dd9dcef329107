"""Bins are NumPy's reductions of the samples in them, whatever the chunks."""

import itertools
import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import calscipy as cs
from calscipy import model
from calscipy.blocks import bins as blocks
from calscipy.errors import ArgumentError, DimensionError, RoiError, TimeAxisError
from calscipy.kernels import bin as kernels
from calscipy.ops.bin import bin

from ..gpu_stand_in import install  # noqa: TID252

REDUCES = ["mean", "sum", "max", "min", "median", "std"]
OTHER_DTYPES = ["bool", "uint8", "int16", "float16", ">u2", ">f4"]
WAYS = [
    (reduce, partial)
    for reduce, partial in itertools.product(REDUCES, ["keep", "drop"])
    if (reduce, partial) != ("sum", "keep")
]
every_reduce = pytest.mark.parametrize("reduce", REDUCES)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def movie(shape=(12, 6, 8), dtype="uint16", seed=0, **options):
    values = np.random.default_rng(seed).random(shape) * (2 if dtype == "bool" else 200)
    return cs.from_numpy(values.astype(dtype), frame_rate=10, **options)


def lazy(data, chunks):
    return data.copy(data=da.from_array(data.values, chunks=chunks))


def reference(data, frames=1, y=1, x=1, *, reduce="mean", partial="keep"):
    """Reduce every bin by a slow loop over a movie (frames, ..., y, x)."""
    values, valid = data.values, model.valid_frames(data)
    spans = [
        [
            slice(start, min(start + width, part.stop))
            for part in parts
            for start in range(part.start, part.stop, width)
            if partial == "keep" or start + width <= part.stop
        ]
        for parts, width in (
            (model.epochs(data), frames),
            ([slice(0, data.sizes["y"])], y),
            ([slice(0, data.sizes["x"])], x),
        )
    ]
    out = np.zeros((len(spans[0]), *data.shape[1:-2], len(spans[1]), len(spans[2])))
    for (k, f), (j, rows), (i, columns) in itertools.product(*map(enumerate, spans)):
        for batch in np.ndindex(*data.shape[1:-2]):
            samples = values[(f, *batch, rows, columns)]
            if valid is not None:
                used = valid[(f, *batch)]
                samples = samples[used & (used.all() | (reduce != "sum"))]
            if samples.size:
                exact = samples if reduce in ("max", "min") else samples.astype("f8")
                out[(k, *batch, j, i)] = getattr(np, reduce)(exact)
    return out


@pytest.mark.parametrize(
    ("reduce", "dtype"),
    [
        *itertools.product(REDUCES, ["uint16", "float32"]),
        *itertools.product(["max"], OTHER_DTYPES),
        *itertools.product(["sum", "mean", "median"], ["bool", "float16", ">u2"]),
        *itertools.product(["sum", "mean"], ["int32", "uint64"]),
        *itertools.product(["mean", "std"], ["float64"]),
    ],
)
def test_bins_are_those_of_a_slow_loop(reduce, dtype):
    data = movie(dtype=dtype)
    last = "drop" if reduce == "sum" else "keep"
    result = bin(data, frames=5, y=2, x=3, reduce=reduce, partial=last)
    expected = reference(data, 5, 2, 3, reduce=reduce, partial=last)
    native = np.dtype(dtype).newbyteorder("=")
    wide = native in (np.int32, np.uint64, np.float64)
    whole = {"f": "f8", "u": "u8" if dtype == "uint64" else "i8"}.get(native.kind, "i8")
    made = {"sum": whole, "max": native, "min": native}.get(reduce, "f8" if wide else "f4")
    assert result.dtype == made
    np.testing.assert_allclose(result, expected, rtol=1e-12 if result.dtype == "f8" else 1e-7)


def test_integer_means_are_exact_to_the_last_bit_of_float32():
    data = movie((70, 3, 4))
    data.values[:] += 65300
    for reduce in ("mean", "median"):
        result = bin(data, frames=35, reduce=reduce)
        np.testing.assert_array_equal(result, reference(data, 35, reduce=reduce).astype("f4"))
    many = cs.from_numpy(np.full((1, 256, 256), 65535, "uint16"), frame_rate=1)
    assert float(bin(many, y=256, x=256).squeeze()) == 65535
    assert int(bin(many, y=256, x=256, reduce="sum").squeeze()) == 65535 * 2**16


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_sums_of_wide_integers_keep_every_digit(dtype):
    values = np.array([2**60 + 1, 2**60 + 2, 3, 4]).astype(dtype).reshape(4, 1, 1)
    result = bin(cs.from_numpy(values, frame_rate=1), frames=2, reduce="sum")
    assert result.dtype == dtype
    assert result.values.ravel().tolist() == [2**61 + 3, 7]


def test_a_spread_far_from_zero_keeps_its_digits():
    values = 1e9 + np.random.default_rng(0).normal(0, 1, (100, 2, 2))
    result = bin(cs.from_numpy(values, frame_rate=1), frames=100, reduce="std")
    np.testing.assert_allclose(result[0], values.std(axis=0), rtol=1e-9)
    constant = cs.from_numpy(np.full((9, 2, 4), 0.1), frame_rate=1)
    assert not bin(constant, frames=9, x=2, reduce="std").values.any()


@pytest.mark.parametrize("samples", [4, 96])
@every_reduce
def test_a_nan_or_an_infinity_stays_in_its_bin(reduce, samples):
    data = movie((2 * samples, 2, 4), "float32")
    data.values[1, 0, 0], data.values[0, 1, 3], data.values[-1, 1, 1] = np.nan, np.nan, np.inf
    result = bin(data, frames=samples, x=2, reduce=reduce).values
    with np.errstate(invalid="ignore"):
        expected = reference(data, samples, x=2, reduce=reduce)
    assert np.isnan(expected[0]).sum() == 2
    np.testing.assert_allclose(result, expected, rtol=1e-6)


@pytest.mark.parametrize(("reduce", "partial"), WAYS)
@pytest.mark.parametrize(
    "mask_dims", [None, ("frames",), ("frames", "plane"), ("frames", "channel", "plane")]
)
def test_volumes_with_damaged_frames_and_epochs(reduce, partial, mask_dims):
    data = movie((23, 2, 3, 5, 4)).assign_coords(epoch=("frames", np.repeat([1, 2], [9, 14])))
    if mask_dims:
        mask = np.random.default_rng(1).random([data.sizes[dim] for dim in mask_dims]) > 0.4
        mask.reshape(23, -1)[9:13, 0] = False  # a whole bin of the second epoch
        data = data.assign_coords(valid=(mask_dims, mask))
    expected = reference(data, 4, 2, reduce=reduce, partial=partial)
    result = bin(data, frames=4, y=2, reduce=reduce, partial=partial)
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=1e-7)
    for chunks in ((5, 1, 2, 3, 4), (23, 2, 3, 1, 2), (1, 2, 3, 5, 4)):
        chunked = bin(lazy(data, chunks), frames=4, y=2, reduce=reduce, partial=partial)
        np.testing.assert_array_equal(chunked.compute(), result)
    bins = (2, 3) if partial == "drop" else (3, 4)
    assert result.epoch.values.tolist() == np.repeat([1, 2], bins).tolist()
    if mask_dims:
        assert result.valid.dims == mask_dims
        shown = result.valid.broadcast_like(result.isel(y=0, x=0)).transpose(*result.dims[:-2])
        assert not result.values[~shown.values].any()
        assert not result.valid.values.all()
        parts = np.split(data.valid.values, [4, 8, 9, 13, 17, 21])
        kept = [part for part in parts if partial == "keep" or len(part) == 4]
        whole = np.all if reduce == "sum" else np.any
        np.testing.assert_array_equal(result.valid, [whole(part, axis=0) for part in kept])


def chunkings(size):
    cuts = st.sets(st.integers(1, size - 1), max_size=4)
    return cuts.map(lambda c: tuple(np.diff([0, *sorted(c), size]).tolist()))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.data(),
    st.sampled_from(WAYS),
    st.sampled_from(["uint16", "float32"]),
    st.tuples(st.integers(1, 13), st.integers(1, 7), st.integers(1, 8)),
)
def test_chunks_change_no_bit(draw, way, dtype, width):
    reduce, partial = way
    data = movie((13, 7, 8), dtype)
    if draw.draw(st.booleans()):
        data = data.assign_coords(valid=("frames", np.random.default_rng(2).random(13) > 0.3))
    widths = dict(zip(("frames", "y", "x"), width, strict=True))
    expected = bin(data, **widths, reduce=reduce, partial=partial)
    chunks = tuple(draw.draw(chunkings(size)) for size in data.shape)
    result = bin(lazy(data, chunks), **widths, reduce=reduce, partial=partial)
    assert result.data.shape == expected.shape
    computed = result.compute()
    assert computed.dtype == result.dtype == expected.dtype
    np.testing.assert_array_equal(computed, expected)
    np.testing.assert_allclose(
        expected, reference(data, *width, reduce=reduce, partial=partial), rtol=1e-6
    )


def test_one_task_for_each_chunk_in_which_a_bin_starts():
    data = cs.from_numpy(da.zeros((640, 8, 8), chunks=(64, 8, 8), dtype="u2"), frame_rate=10)
    result = bin(data, frames=10)
    assert result.data.chunks[0] == (7, 6, 7, 6, 6, 7, 6, 7, 6, 6)
    (optimised,) = dask.optimize(result.data)
    assert len(dict(optimised.__dask_graph__())) <= 2 * 10 + 1
    long = bin(data, frames=320)
    assert long.data.chunks[0] == (1, 1)
    assert len(pickle.dumps(dict(result.data.dask))) < 60_000


def test_building_computes_nothing_and_names_repeat():
    def refuse(*args, **kwargs):
        raise AssertionError("computed")

    data = lazy(movie(), (5, 4, 8)).assign_coords(valid=("frames", np.arange(12) != 3))
    with dask.config.set(scheduler=refuse):
        first, second = (bin(data, frames=3, y=2, reduce="median") for _ in range(2))
    assert first.data.name == second.data.name
    assert first.data.name != bin(data, frames=3, y=2).data.name


def test_any_order_of_dimensions_and_memory():
    data = movie((12, 2, 6, 8))
    expected = bin(data, frames=3, x=4)
    turned = bin(data.transpose("x", "channel", "y", "frames"), frames=3, x=4)
    assert turned.dims == ("x", "channel", "y", "frames")
    xr.testing.assert_equal(turned.transpose(*expected.dims), expected)
    strided = bin(data[:, :, ::-1, ::2], frames=3, x=2)
    np.testing.assert_array_equal(strided, reference(data[:, :, ::-1, ::2], 3, 1, 2).astype("f4"))


def test_pieces_in_threads_are_the_whole(monkeypatch):
    data = movie((40, 6, 8)).assign_coords(valid=("frames", np.arange(40) % 7 != 0))
    expected = bin(data, frames=4)
    monkeypatch.setattr(blocks, "PIECE_BYTES", 1000)
    np.testing.assert_array_equal(bin(data, frames=4), expected)
    np.testing.assert_array_equal(bin(data, frames=40)[0], reference(data, 40)[0].astype("f4"))


def _reduce_all(values):
    found = []
    for reduce in REDUCES:
        dtype = {"sum": "i8", "max": values.dtype, "min": values.dtype}.get(reduce, "f4")
        out = np.empty((2, 3, 4), dtype)
        edges = np.array([0, 5, 10])
        kernels.bin_frames(values, edges[:-1], edges[1:], width=(2, 2), reduce=reduce, out=out)
        found.append(out)
    return found


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_four_threads_and_a_fork_give_the_same():
    stacks = [movie((10, 6, 8), seed=seed).values for seed in range(4)]
    expected = [_reduce_all(stack) for stack in stacks]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(_reduce_all, stacks * 4))
    if "fork" in multiprocessing.get_all_start_methods():
        with multiprocessing.get_context("fork").Pool(1) as pool:
            results += pool.map(_reduce_all, stacks)
    for found, wanted in zip(results, itertools.cycle(expected), strict=False):
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(one, other)


@every_reduce
def test_arrays_on_a_gpu_stay_there(monkeypatch, reduce):
    install(monkeypatch)
    import cupy

    data = movie((11, 2, 5, 6)).assign_coords(valid=("frames", np.arange(11) % 4 != 0))
    last = "drop" if reduce == "sum" else "keep"
    expected = bin(data, frames=3, y=2, x=4, reduce=reduce, partial=last)
    there = data.copy(data=cupy.asarray(data.values))
    result = bin(there, frames=3, y=2, x=4, reduce=reduce, partial=last)
    assert type(result.data).__module__ == "cupy"
    np.testing.assert_allclose(result.data.get(), expected, rtol=1e-7)


# -- labels --------------------------------------------------------------------------------------


def labelled():
    data = movie((12, 2, 6, 8), microns_per_pixel=0.5)
    return data.assign_coords(
        cycle=("frames", np.repeat([1, 2], 6), {"long_name": "cycle"}),
        epoch=("frames", np.repeat([1, 2], 6)),
        power=("frames", np.arange(12.0), {"units": "1"}),
        steady=("frames", np.repeat([3, 4], 6)),
        name=("frames", list("aaabbbcccddd")),
        flag=("frames", np.arange(12) % 2 == 0),
        depth=(("frames", "channel"), np.arange(24.0).reshape(12, 2)),
        mouse="m12",
    ).assign_attrs(frame_period=0.1, history="earlier", cell_methods="plane: mean")


def test_coordinates_of_frames():
    data = labelled()
    result = bin(data, frames=3)
    np.testing.assert_allclose(result.time, [0.1, 0.4, 0.7, 1.0])
    assert result.time.attrs == data.time.attrs
    assert cs.frame_rate(result) == pytest.approx(10 / 3)
    assert result.cycle.values.tolist() == [1, 1, 2, 2]
    assert result.cycle.attrs == {"long_name": "cycle"}
    assert result.steady.dtype.kind == "i"
    assert result.power.values.tolist() == [1, 4, 7, 10]
    assert result.coords["name"].values.tolist() == ["a", "b", "c", "d"]
    assert "flag" not in result.coords
    assert result.depth.values.tolist() == [[2, 3], [8, 9], [14, 15], [20, 21]]
    assert result.mouse == "m12"
    for dim in ("y", "x", "channel"):
        xr.testing.assert_identical(result[dim], data[dim])
    assert result.attrs["frame_period"] == 0.1  # of the scan, see test_time_offset.py
    assert result.attrs["cell_methods"] == "plane: mean frames: mean"
    assert result.attrs["units"] == "count"
    assert result.attrs["long_name"] == "fluorescence, mean of bins"
    assert (
        result.attrs["history"]
        .splitlines()[1]
        .endswith('{"frames": 3, "reduce": "mean", "partial": "error"}')
    )


def test_numbers_that_name_are_left_out():
    labels = {
        "recording": np.arange(12),
        "trial": np.arange(12, dtype="u1"),
        "frames": np.arange(12),
        "block": np.repeat([5, 6], 6),
    }
    data = movie().assign_coords({name: ("frames", each) for name, each in labels.items()})
    data = data.assign_coords(piezo=("frames", np.arange(12), {"units": "um"}))
    result = bin(data, frames=3)
    assert not {"recording", "trial", "frames"} & set(result.coords)
    assert result.block.values.tolist() == [5, 5, 6, 6]
    assert result.piezo.values.tolist() == [1, 4, 7, 10]
    assert set(bin(data, y=2).coords) == set(data.coords)
    whole = movie().assign_coords(y=np.arange(6), x=("x", np.arange(8), {"units": "1"}))
    assert bin(whole, y=2, x=2).y.values.tolist() == [0.5, 2.5, 4.5]


@pytest.mark.parametrize("reduce", ["mean", "sum"])
def test_coordinates_of_frames_that_are_not_valid_do_not_enter(reduce):
    data = movie((8, 2, 4, 4))
    shift = np.array([1.0, np.nan, 3.0, 5.0, 7.0, np.nan, np.nan, 4.0])
    valid = np.array([1, 0, 1, 1, 1, 0, 0, 0], bool)
    data = data.assign_coords(
        valid=("frames", valid),
        y_shift=("frames", shift, {"units": "1"}),
        both=(("channel", "frames"), np.stack([shift, 2 * np.arange(8.0)])),
    )
    result = bin(data, frames=2, reduce=reduce)
    np.testing.assert_array_equal(result.y_shift, [1, 4, 7, np.nan])
    np.testing.assert_array_equal(result.both.T, [[1, 4, 7, np.nan], [0, 5, 8, np.nan]])
    np.testing.assert_allclose(result.time, [0.05, 0.25, 0.45, 0.65])
    unknown = data.drop_vars("valid")
    np.testing.assert_array_equal(bin(unknown, frames=2, reduce=reduce).y_shift, [1, 4, 7, 4])
    by_channel = data.assign_coords(valid=(("frames", "channel"), np.stack([valid, ~valid], 1)))
    result = bin(by_channel, frames=2, reduce=reduce)
    np.testing.assert_array_equal(result.y_shift, [1, 4, 7, 4])
    np.testing.assert_array_equal(result.both.T, [[1, 4, 7, np.nan], [2, np.nan, 10, 13]])


def test_planes_keep_their_delay_after_the_time_of_a_bin():
    data = movie((6, 2, 4, 4)).rename(channel="plane").assign_coords(plane=[0, 1])
    delay = np.array([[0.0, 0.05]] * 6)
    delay[1, 1] = delay[2:4, 1] = np.nan
    start = xr.Variable("frames", np.arange(6) * 0.1)
    times = start + xr.Variable(("frames", "plane"), delay)
    valid = np.array([0, 1, 1, 1, 1, 0], bool)
    data = data.assign_coords(plane_time=times, valid=("frames", valid))
    result = bin(data, frames=2)
    late = (result.plane_time - result.time).values
    np.testing.assert_allclose(late, [[0, np.nan], [0, np.nan], [0, 0.05]], atol=1e-12)
    result = bin(data.drop_vars("valid"), frames=2)
    late = (result.plane_time.transpose("plane", "frames") - result.time).values.T
    np.testing.assert_allclose(late, [[0, 0.05], [0, np.nan], [0, 0.05]], atol=1e-12)


def test_a_sum_of_fewer_samples_is_not_valid():
    data = cs.from_numpy(np.full((6, 2, 2), 10, "uint16"), frame_rate=1)
    data = data.assign_coords(valid=("frames", [True, True, True, False, False, False]))
    for given_data in (data, lazy(data, (5, 2, 1))):
        result = bin(given_data, frames=2, reduce="sum")
        assert result.values[:, 0, 0].tolist() == [20, 0, 0]
        assert result.valid.values.tolist() == [True, False, False]
        means = bin(given_data, frames=2)
        assert means.values[:, 0, 0].tolist() == [10, 10, 0]
        assert means.valid.values.tolist() == [True, True, False]
        assert bin(given_data, y=2, reduce="sum").values[:, 0, 0].tolist() == [20] * 3 + [0] * 3
    for size in (2, 4):
        with pytest.raises(ArgumentError, match=r"fewer samples.*reduce='mean'.*partial='drop'"):
            bin(data, frames=size, reduce="sum", partial="keep")


def test_cycles_that_change_within_bins_are_left_out():
    volumes = movie((6, 4, 4)).assign_coords(cycle=("frames", np.arange(6)))
    assert "cycle" not in bin(volumes, frames=2).coords
    assert "cycle" in bin(volumes, y=2).coords


def test_an_index_of_times_stays_one():
    data = movie().set_xindex("time")
    result = bin(data, frames=4)
    assert "time" in result.indexes
    assert result.sel(time=0.55).time == pytest.approx(0.55)


def test_kept_and_dropped_bins():
    data = movie((11, 7, 8))
    kept = bin(data, frames=4, y=3, partial="keep")
    np.testing.assert_allclose(kept.time, [0.15, 0.55, 0.9])
    assert kept.y.values.tolist() == [1, 4, 6]
    dropped = bin(data, frames=4, y=3, partial="drop")
    xr.testing.assert_equal(dropped, kept[:2, :2])
    with pytest.raises(ArgumentError, match=r"partial='drop'\) leaves nothing of 11 frames.*keep"):
        bin(data, frames=12, partial="drop")


def test_a_last_bin_that_is_not_full_is_an_error_unless_told():
    data = movie((11, 7, 8))
    with pytest.raises(
        ArgumentError,
        match=r"cannot divide 11 frames into bins of 4 \(3 left over\), 7 y into bins of 2 "
        r"\(1 left over\)\. .*partial='drop'.*partial='keep'",
    ):
        bin(data, frames=4, y=2)
    epochs = data.assign_coords(epoch=("frames", np.repeat([1, 2], [4, 7])))
    with pytest.raises(ArgumentError, match=r"7 frames of an epoch into bins of 4 \(3 left over\)"):
        bin(epochs, frames=4)
    np.testing.assert_array_equal(bin(epochs, frames=4, partial="drop"), bin(data[:8], frames=4))


def test_rois_in_recorded_pixels_are_refused_on_binned_movies():
    labels = np.zeros((12, 12), int)
    labels[1, 1] = 1
    for size, start, width in itertools.product((None, 0.7), range(5), range(2, 6)):
        data = movie((2, 12, 12), microns_per_pixel=size)[:, start : start + 2 * width]
        if data.sizes["y"] < 2 * width:
            continue
        with pytest.raises(RoiError, match="Extract before binning"):
            cs.extract(bin(data, y=width), labels)
        assert bin(data, y=width).y.attrs["binned"] == width
    twice = bin(bin(movie(), y=2), y=3)
    assert twice.y.attrs["binned"] == 6
    sized = movie(microns_per_pixel=0.5)
    assert cs.model.pixel_size_um(bin(sized, y=2).y) == 1.0
    with pytest.raises(RoiError, match="Extract before binning"):
        cs.extract(bin(sized[:, :3], y=3), np.ones((1, 8), int))  # a single pixel is left
    assert twice.y.values.tolist() == [2.5]
    unplaced = movie().drop_vars(["y", "x"])
    with pytest.raises(RoiError, match="Extract before binning"):
        cs.extract(bin(unplaced, y=2), np.ones((3, 8), int))


def test_what_cannot_be_binned_is_refused():
    data = movie()
    for wrong in (0, -1, 2.0, True, "3"):
        with pytest.raises(ArgumentError, match="y as a whole number from 1 on"):
            bin(data, y=wrong)
    with pytest.raises(ArgumentError, match=r"samples of a bin.*frames=10"):
        bin(data)
    for wrong in ({"samples": 2}, {"frames": 2, "duration": 1.0}):
        with pytest.raises(ArgumentError, match=r"cannot use (samples|duration): movies take fr"):
            bin(data, **wrong)
    with pytest.raises(ArgumentError, match=r"must be one of.*'median'"):
        bin(data, frames=2, reduce="mode")
    with pytest.raises(ArgumentError, match=r"must be one of.*'keep'"):
        bin(data, frames=2, partial="pad")
    for wrong in (np.max, 3, np.array(["mean", "max"])):
        with pytest.raises(ArgumentError, match=r"bin\(reduce=\) must be one of"):
            bin(data, frames=2, reduce=wrong)
    for wrong in (None, 3, np.array(["mean", "max"])):
        with pytest.raises(ArgumentError, match=r"bin\(partial=\) must be one of"):
            bin(data, frames=2, partial=wrong)
    with pytest.raises(ArgumentError, match="complex"):
        bin(data.astype(complex), frames=2)
    with pytest.raises(ArgumentError, match="at least one sample along each dimension"):
        bin(data[:0], frames=2)
    with pytest.raises(DimensionError, match="bin needs the dimensions"):
        bin(data[0], y=2)
    with pytest.raises(TimeAxisError, match="bin works on neighbouring samples"):
        bin(data.isel(frames=[0, 1, 2, 8, 9, 10]), frames=2)
    assert bin(data.isel(frames=[0, 1, 2, 8]), y=2).shape == (4, 3, 8)
    assert bin(data, frames=np.int64(3)).sizes["frames"] == 4
