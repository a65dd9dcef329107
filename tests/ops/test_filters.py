"""Filters agree with SciPy on the whole movie and give the same bits whatever the chunks.

Medians are SciPy's bit for bit; Gaussian and mean lie within 1e-6 of SciPy in float64.
"""

import itertools
import threading
import time
from unittest.mock import patch

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import calscipy as cs
from calscipy.errors import ArgumentError, DamagedRecordingWarning, DimensionError
from calscipy.testing import write_recording

SHAPE = (11, 9, 10)
DTYPES = ["uint8", "uint16", "int32", "float32", "float64"]
MODES = ["reflect", "nearest", "mirror", "constant", "wrap"]
EXACT = ("median_filter",)
GAUSSIAN = ("gaussian_filter", {"sigma": (0.6, 1.0, 0.5)})
MEDIAN = ("median_filter", {"size": (3, 2, 3)})
MEAN = ("mean_filter", {"size": {"frames": 2, "y": 3}})
FILTERS = {"gaussian": GAUSSIAN, "median": MEDIAN, "mean": MEAN}
every_filter = pytest.mark.parametrize("step", FILTERS.values(), ids=FILTERS)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def movie(dtype="uint16", dims=("frames", "y", "x"), shape=SHAPE, seed=0):
    top = 250 if dtype == "uint8" else 60000
    values = np.random.default_rng(seed).integers(0, top, shape).astype(dtype)
    if np.dtype(dtype).kind == "f":
        values /= 7
    return cs.from_numpy(values, frame_rate=30.0, dims=dims)


def lazy(data, *chunks):
    """Put the values into dask chunks and leave the coordinates in memory."""
    return data.copy(data=da.from_array(data.values, chunks=chunks or "auto"))


def chain(data, steps):
    for name, arguments in steps:
        data = getattr(data.cs, name)(**arguments)
    return data


def by_dim(value, default):
    if isinstance(value, dict):
        return tuple(value.get(dim, default) for dim in ("frames", "y", "x"))
    return (value,) * 3 if np.ndim(value) == 0 else tuple(value)


def scipy_filter(values, name, *, mode="reflect", sigma=None, size=3, footprint=None):
    """SciPy on a whole stack (frames, y, x): in float64, and rounded only at the end."""
    if name == "median_filter":
        if footprint is not None:
            return ndimage.median_filter(values, footprint=footprint, mode=mode)
        return ndimage.median_filter(values, size=by_dim(size, 1), mode=mode)
    floats = values.astype(np.float64)
    if name == "gaussian_filter":
        floats = ndimage.gaussian_filter(floats, by_dim(sigma, 0), mode=mode)
    else:
        for axis, length in enumerate(by_dim(size, 1)):
            if length > 1:
                floats = ndimage.correlate1d(floats, [1 / length] * length, axis, mode=mode)
    return floats if is_wide(values.dtype) else floats.astype(np.float32)


def is_wide(dtype):
    return np.dtype(dtype).itemsize > (4 if np.dtype(dtype).kind == "f" else 2)


def reference(values, steps, runs=None):
    """SciPy on every run of frames of every channel and plane of (frames, ..., y, x).

    ``runs`` labels the frames, -1 for those that are passed on.
    """
    runs = np.zeros(values.shape[:-2], int) if runs is None else runs
    for name, arguments in steps:
        before = values
        values = None
        for batch in np.ndindex(*before.shape[1:-2]):
            at = (slice(None), *batch)
            for label, frames in itertools.groupby(
                range(len(before)), lambda f, at=at: runs[at][f]
            ):
                part = (list(frames), *batch)
                stack = before[part]
                out = scipy_filter(stack, name, **arguments) if label >= 0 else None
                if values is None:
                    dtype = scipy_filter(stack[:1], name, **arguments).dtype
                    values = np.empty(before.shape, dtype)
                values[part] = stack if out is None else out
    return values


def check(result, expected, steps=()):
    """Compare with the reference: exactly, or within 1e-6 for each step of sums."""
    assert result.dtype == expected.dtype
    assert result.data.dtype == expected.dtype
    sums = sum(name not in EXACT for name, _ in steps)
    if not sums:
        np.testing.assert_array_equal(result.values, expected)
        return
    np.testing.assert_allclose(
        result.values,
        expected,
        rtol=sums * 1e-6,
    )


def tasks_per_chunk(data):
    """Tasks after optimising, for each chunk."""
    (optimised,) = dask.optimize(data.data)
    return len(dict(optimised.__dask_graph__())) / data.data.npartitions


def steps_fused(data):
    """How many filters the top layer of a result unites."""
    layer = data.data.dask.layers[data.data.name]
    return len(getattr(layer, "steps", ()))


def sizes_that_sum_to(total, pieces):
    cuts = st.sets(st.integers(1, total - 1), max_size=pieces - 1)
    return cuts.map(lambda c: tuple(int(n) for n in np.diff([0, *sorted(c), total])))


sigmas = st.sampled_from(
    [0.8, 2.5, (0, 1.2, 0.4), (1.0, 0, 0), {"y": 1.5}, {"frames": 0.7, "x": 2.0}, np.float32(1), 1]
)
sizes = st.sampled_from(
    [
        *(1, 2, 3, 4, (3, 1, 2), (1, 5, 1), [2, 2, 2], np.int64(3)),
        *({"frames": 5}, {"x": 4, "y": 3}, {"y": 3, "x": 3}, {"frames": 3}),
    ]
)
CROSS = ndimage.generate_binary_structure(3, 1)
footprints = st.sampled_from([CROSS, CROSS[1:2, :2], np.eye(4, dtype=int)[None]])
modes = st.sampled_from(MODES)
steps = st.one_of(
    st.tuples(st.just("gaussian_filter"), st.fixed_dictionaries({"sigma": sigmas, "mode": modes})),
    st.tuples(
        st.sampled_from(["median_filter", "mean_filter"]),
        st.fixed_dictionaries({"size": sizes, "mode": modes}),
    ),
    st.tuples(
        st.just("median_filter"), st.fixed_dictionaries({"footprint": footprints, "mode": modes})
    ),
)
chunkings = st.tuples(*(sizes_that_sum_to(n, p) for n, p in zip(SHAPE, (5, 3, 3), strict=True)))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(steps, min_size=1, max_size=3), chunkings, st.sampled_from(DTYPES))
def test_the_chunks_do_not_matter(chosen, chunks, dtype):
    data = movie(dtype)
    whole = chain(data, chosen)
    check(whole, reference(data.values, chosen), chosen)
    result = chain(lazy(data, *chunks), chosen)
    assert result.data.chunks == chunks
    if all(arguments["mode"] != "wrap" for _, arguments in chosen):
        assert steps_fused(result) == len(chosen)
    np.testing.assert_array_equal(result.values, whole.values)
    with patch.multiple("calscipy.blocks.filters", SMALL_BYTES=0, CPU_COUNT=4):
        np.testing.assert_array_equal(chain(data, chosen).values, whole.values)


def test_the_eager_path_runs_in_threads():
    threads, real = set(), ndimage.median_filter

    def note(*args, **kwargs):
        threads.add(threading.get_ident())
        time.sleep(0.05)
        return real(*args, **kwargs)

    with (
        patch.multiple("calscipy.blocks.filters", SMALL_BYTES=0, CPU_COUNT=4),
        patch("calscipy.blocks.device.scipy.ndimage.median_filter", note),
    ):
        movie(shape=(40, 3, 3)).cs.median_filter(size=5)
    assert len(threads) > 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [2, 3, 4, 9])
def test_chunks_of_single_samples(mode, size):
    data = movie(shape=(4, 3, 3))
    filters = [
        ("median_filter", {"size": {"frames": size}, "mode": mode}),
        ("mean_filter", {"size": (1, size, size), "mode": mode}),
        ("gaussian_filter", {"sigma": size / 4, "mode": mode}),
    ]
    for taken in (filters[:1], filters[1:2], filters):
        result = chain(lazy(data, 1, 1, 1), taken)
        check(result.compute(), reference(data.values, taken), taken)
        np.testing.assert_array_equal(result.values, chain(data, taken).values)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    st.lists(steps, min_size=1, max_size=3),
    chunkings,
    st.lists(st.integers(0, 3), min_size=11, max_size=11),
    st.integers(1, 4),
    st.sampled_from([0, 65535]),
)
def test_epochs_and_damaged_frames_in_any_chunks(chosen, chunks, damage, length, junk):
    valid = np.array(damage) > 0
    epoch = np.arange(11) // length
    data = movie()
    values = data.values.copy()
    values[~valid] = junk
    data = data.copy(data=values).assign_coords(epoch=("frames", epoch), valid=("frames", valid))
    expected = reference(values, chosen, np.where(valid, epoch, -1))
    whole = chain(data, chosen)
    check(whole, expected, chosen)
    np.testing.assert_array_equal(chain(lazy(data, *chunks), chosen).values, whole.values)


@every_filter
def test_each_epoch_as_if_alone(step):
    data = movie().assign_coords(epoch=("frames", [1] * 4 + [2] * 2 + [7] * 5))
    result = chain(lazy(data, 3, 4, 5), [step])
    parts = [chain(data.isel(frames=part), [step]) for part in cs.model.epochs(data)]
    assert len(parts) == 3
    xr.testing.assert_equal(result, xr.concat(parts, "frames"))
    assert not result.equals(chain(data.drop_vars("epoch"), [step]))


@every_filter
def test_what_damaged_frames_hold_enters_nothing_else(step):
    valid = np.ones(11, bool)
    valid[[0, 4, 5, 9]] = False
    data = movie().assign_coords(valid=("frames", valid))
    results = []
    for junk in (0, 65535):
        spoiled = data.where(data.valid, junk).astype("uint16")
        result = chain(lazy(spoiled, 2, 9, 10), [step, GAUSSIAN])
        assert (result.isel(frames=~valid) == junk).all()  # passed on
        results.append(result.isel(frames=valid))
    xr.testing.assert_identical(*(r.drop_attrs() for r in results))


@pytest.mark.parametrize("junk", [np.nan, np.inf])
@pytest.mark.parametrize("chunks", [None, (2, 3, 4)])
def test_mean_keeps_junk_within_the_window(junk, chunks):
    finite = movie("float32")
    spoiled = finite.copy(deep=True)
    spoiled[5, 4, 6] = junk
    placed = spoiled if chunks is None else lazy(spoiled, *chunks)
    result = placed.cs.mean_filter(size=(3, 2, 4))
    expected = finite.cs.mean_filter(size=(3, 2, 4))
    window = np.zeros(SHAPE, bool)
    window[4:7, 4:6, 5:9] = True  # an even box reaches further back, so junk further ahead
    np.testing.assert_array_equal(np.isfinite(result), ~window)
    np.testing.assert_array_equal(result.values[~window], expected.values[~window])


VOLUME = ("frames", "channel", "plane", "y", "x")


def damaged_volume(mask_dims, dims=VOLUME):
    """Two channels of three planes of which frames are damaged, each in its own way."""
    sizes = {"frames": 11, "channel": 2, "plane": 3, "y": 6, "x": 7}
    data = movie(dims=VOLUME, shape=tuple(sizes.values()))
    shape = [sizes[dim] for dim in mask_dims]
    valid = xr.DataArray(np.random.default_rng(3).random(shape) > 0.3, dims=mask_dims)
    data = data.where(valid, 65535).astype("uint16").assign_coords(valid=valid)
    return data.assign_coords(epoch=("frames", np.arange(11) // 6)).transpose(*dims)


@every_filter
@pytest.mark.parametrize(
    "mask_dims",
    [
        ("frames",),
        ("frames", "channel"),
        ("frames", "plane"),
        ("plane", "frames"),
        ("frames", "channel", "plane"),
        ("channel", "plane", "frames"),
    ],
    ids="-".join,
)
def test_each_channel_and_plane_has_its_damaged_frames(step, mask_dims):
    data = damaged_volume(mask_dims)
    valid = data.valid.broadcast_like(data.isel(y=0, x=0)).transpose(*VOLUME[:3]).values
    runs = np.where(valid, np.arange(11)[:, None, None] // 6, -1)
    expected = reference(data.values, [step, MEAN], runs)
    whole = chain(data, [step, MEAN])
    check(whole, expected, [step, MEAN])
    np.testing.assert_array_equal(chain(lazy(data, 4, 1, 2, 3, 4), [step, MEAN]), whole)


@every_filter
@pytest.mark.parametrize("dims", [VOLUME, ("plane", "y", "x", "channel", "frames"), VOLUME[::-1]])
def test_any_order_of_dimensions(step, dims):
    data = damaged_volume(("frames", "plane"), dims)
    expected = chain(damaged_volume(("frames", "plane")), [step, GAUSSIAN])
    for given_data in (data, lazy(data, *[3] * 5)):
        result = chain(given_data, [step, GAUSSIAN])
        assert result.dims == dims
        xr.testing.assert_equal(result.transpose(*VOLUME), expected)


@every_filter
def test_a_scalar_channel_and_unknown_dimensions_are_carried(step):
    data = movie(dims=VOLUME[:2] + VOLUME[3:], shape=(5, 2, 6, 7))
    one = data.isel(channel=1)
    check(chain(lazy(one, 2, 3, 4), [step]), reference(one.values, [step]), [step])
    odd = data.rename(channel="repeat")
    check(chain(lazy(odd, 2, 1, 3, 4), [step]), reference(odd.values, [step]), [step])


@pytest.mark.parametrize("dtype", ["float16", "int64", "uint64", ">u2", ">f4", ">f8", "int8"])
@every_filter
def test_rarer_dtypes(step, dtype):
    data = movie("uint8").astype(dtype)
    native = data.astype(data.dtype.newbyteorder("="))
    wide = native.astype("float32") if dtype == "float16" else native
    expected = reference(wide.values, [step])
    result = chain(lazy(data, 4, 5, 10), [step])
    xr.testing.assert_equal(result, chain(data, [step]))
    np.testing.assert_allclose(result.values, expected, rtol=1e-6, atol=1e-4)
    keeps = step[0] == "median_filter"
    assert result.dtype == (dtype if keeps else "float64" if is_wide(dtype) else "float32")


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64"])
def test_large_integers_keep_their_digits(dtype):
    data = cs.from_numpy(np.full((3, 4, 4), 2**30 + 1, dtype), frame_rate=10)
    for result in (cs.gaussian_filter(data, sigma=1), cs.mean_filter(data, size=(1, 2, 2))):
        np.testing.assert_allclose(result, 2**30 + 1, rtol=1e-14)


@pytest.mark.parametrize("chunks", [((0,), 9, 10), ((4, 0, 7), 9, 10), (11, (0, 9), (10, 0))])
@every_filter
def test_empty_chunks(step, chunks):
    data = movie().isel(frames=slice(0, 0 if chunks[0] == (0,) else None))
    result = chain(lazy(data, *chunks), [step, GAUSSIAN])
    check(result, chain(data, [step, GAUSSIAN]).values)


# -- fusion --------------------------------------------------------------------------------

TWO = [MEDIAN, GAUSSIAN]
THREE = [MEDIAN, GAUSSIAN, MEAN]


def through_dataset(data):
    return xr.Dataset({"movie": data, "other": data + 1})["movie"]


def through_tree(data):
    tree = xr.DataTree.from_dict({"movie": data.rename("movie").to_dataset()})
    return tree.copy()["movie"].to_dataset()["movie"]


def through_session(data):
    return cs.ImagingSession(xr.DataTree()).assign(movie=data).movie


KEEPS_FUSION = {
    "nothing": lambda data: data,
    "assign_attrs": lambda data: data.assign_attrs(mouse=12),
    "assign_coords": lambda data: data.assign_coords(depth=3, frames=np.arange(11)),
    "drop_vars": lambda data: data.drop_vars("time", errors="ignore"),
    "rename": lambda data: data.rename("clean"),
    "copy": lambda data: data.copy(),
    "deep copy": lambda data: data.copy(deep=True),
    "Dataset": through_dataset,
    "DataTree": through_tree,
    "session": through_session,
}
ENDS_FUSION = {
    "persist": lambda data: data.persist(),
    "frames": lambda data: data.isel(frames=slice(2, 9)),
    "crop": lambda data: data.isel(y=slice(1, None), x=slice(3, 8)),
    "step": lambda data: data.isel(frames=slice(None, None, 2)),
    "list": lambda data: data.isel(frames=[5, 1, 3]).drop_vars("time"),
    "arithmetic": lambda data: data * 2,
    "rechunk": lambda data: data.chunk(frames=4, y=-1),
    "transpose": lambda data: data.transpose("x", "frames", "y"),
    "concat": lambda data: xr.concat([data, data], "frames").drop_vars("time"),
    "epochs": lambda data: data.assign_coords(epoch=("frames", np.arange(11) // 5)),
    "damage": lambda data: data.assign_coords(valid=("frames", np.arange(11) != 5)),
}


@pytest.mark.parametrize("between", KEEPS_FUSION.values(), ids=KEEPS_FUSION)
@pytest.mark.parametrize("filters", [TWO, THREE], ids=["two", "three"])
def test_fusion_survives(between, filters):
    data = movie()
    result = lazy(data, 2, 9, 10)
    for step in filters:
        result = between(chain(result, [step]))
    assert steps_fused(result) == len(filters)
    assert tasks_per_chunk(result) <= 2.2
    check(result, reference(data.values, filters), filters)


@pytest.mark.parametrize("between", ENDS_FUSION.values(), ids=ENDS_FUSION)
@every_filter
def test_fusion_ends_and_the_result_stays_exact(between, step):
    data = movie()
    first = between(chain(lazy(data, 3, 5, 10), [step]))
    result = chain(first, [MEAN])
    assert steps_fused(result) <= 1
    expected = chain(between(chain(data, [step])), [MEAN])
    xr.testing.assert_equal(result, expected)


def test_changed_runs_end_fusion_but_the_same_runs_do_not():
    data = lazy(movie(), 3, 9, 10).assign_coords(epoch=("frames", np.arange(11) // 5))
    assert steps_fused(chain(data, THREE)) == 3
    once = chain(data, [MEDIAN])
    assert (
        steps_fused(chain(once.assign_coords(epoch=("frames", np.arange(11) // 5 + 1)), [MEAN]))
        == 2
    )
    assert steps_fused(chain(once.assign_coords(epoch=("frames", np.arange(11) // 4)), [MEAN])) == 1


def test_a_fused_chain_reads_no_more_than_it_needs():
    data = lazy(movie(), 1, 9, 10)
    one = data.cs.mean_filter(size={"frames": 3}).cs.mean_filter(size={"frames": 3}).isel(frames=5)
    graph = one.data.dask.cull(set(dask.core.flatten(one.data.__dask_keys__())))
    sources = {key for key in graph.to_dict() if key[0] == data.data.name}
    assert {key[1] for key in sources} == {3, 4, 5, 6, 7}


def test_both_results_of_a_fork_are_right():
    data = lazy(movie(), 3, 4, 5)
    once = chain(data, [MEDIAN])
    left, right = chain(once, [GAUSSIAN]), chain(once, [MEAN])
    assert left.data.name != right.data.name != once.data.name
    arrays = dask.compute(once.data, left.data, right.data)
    for array, made in zip(arrays, ([MEDIAN], [MEDIAN, GAUSSIAN], [MEDIAN, MEAN]), strict=True):
        np.testing.assert_array_equal(array, chain(movie(), made))


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings") / "mouse"
    truth = write_recording(folder, frames=120, shape=(16, 18), neurons=2, cycles=2, missing=[7])
    chunk = 8 * truth.frame(0).nbytes
    with (
        cs.set_options(chunk_bytes=chunk, memory_limit=8 * chunk),
        pytest.warns(DamagedRecordingWarning, match="1 of 120"),
    ):
        return cs.ImagingSession.open(folder).movie, truth


@pytest.mark.parametrize("filters", [[GAUSSIAN], TWO, THREE], ids=["one", "two", "three"])
def test_a_recording_costs_two_tasks_per_chunk(recording, filters):
    data, truth = recording
    assert data.data.npartitions == 15
    result = chain(data, filters)
    assert tasks_per_chunk(result) <= 2.2
    frames = np.stack([truth.frame(n) for n in range(120)])
    frames[7] = 0
    runs = np.repeat([0, 1], 60)
    runs[7] = -1
    check(result, reference(frames, filters, runs), filters)


# -- errors --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (("gaussian_filter", {"sigma": -1}), "sigma >= 0"),
        (("gaussian_filter", {"sigma": (1, 2)}), "three numbers"),
        (("gaussian_filter", {"sigma": np.nan}), "sigma must be"),
        (("gaussian_filter", {"sigma": True}), "sigma must be"),
        (("gaussian_filter", {"sigma": "1"}), "sigma must be"),
        (("gaussian_filter", {"sigma": {"z": 1}}), r"\['z'\]"),
        (("gaussian_filter", {"sigma": 1, "mode": "grid-wrap"}), "mode must be"),
        (("median_filter", {"size": 3, "footprint": np.ones((3, 3))}), "got both"),
        (("median_filter", {"footprint": np.zeros((3, 3))}), "at least one element"),
        (("gaussian_filter", {"sigma": {"x": 1e12}}), "samples along 'x'"),
        (("mean_filter", {"size": {"frames": 10**9}}), "samples along 'frames'"),
        (("median_filter", {"footprint": np.full((3, 3), np.nan)}), "no NaN"),
        (("median_filter", {"footprint": np.ones(3)}), r"bool|shape \(3,\)"),
        (("median_filter", {"size": 0}), "from 1 on"),
        (("median_filter", {"size": 2.5}), "whole numbers"),
        (("mean_filter", {"size": {"y": -3}}), "from 1 on"),
        (("mean_filter", {"size": np.inf}), "size must be"),
    ],
)
def test_arguments_out_of_range(step, message):
    with pytest.raises(ArgumentError, match=message):
        chain(movie(), [step])


def test_sizes_that_dask_does_not_know():
    data = lazy(movie(), 3, 9, 10)
    unknown = xr.DataArray(data.data[data.data.max(axis=(1, 2)) > 0], dims=data.dims)
    with pytest.raises(ArgumentError, match=r"compute_chunk_sizes\(\)"):
        unknown.cs.median_filter(size=3)


def test_wrapping_keeps_the_chunks():
    valid = np.arange(11) % 3 > 0
    data = lazy(movie(), 4, 9, 10).assign_coords(valid=("frames", valid))
    assert data.cs.mean_filter(size=3, mode="wrap").chunks == data.chunks


@every_filter
def test_what_is_no_movie_is_refused(step):
    function = getattr(cs, step[0])
    with pytest.raises(DimensionError, match="'frames', 'y', 'x'"):
        function(movie().rename(frames="t"), **step[1])
    for dtype in ("bool", "complex64", "M8[ns]", "U3"):
        with pytest.raises(ArgumentError, match=f"{step[0]} needs integers or floats"):
            function(movie().astype(dtype), **step[1])
    with pytest.raises(TypeError, match="DataArray"):
        function(movie().values, **step[1])
