"""The words of the model, options, history and labelling of arrays."""

import json
import re

import dask.array as da
import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy import model
from calscipy.errors import ArgumentError, DimensionError, TimeAxisError, first_few
from calscipy.history import describe


@pytest.mark.parametrize(
    ("dims", "dtype", "kind"),
    [
        (("frames", "y", "x"), "u2", "movie"),
        (("frames", "channel", "plane", "y", "x"), "u2", "movie"),
        (("y", "x"), "f4", "image"),
        (("plane", "y", "x"), "f4", "image"),
        (("neuron", "time"), "f4", "traces"),
        (("neuron", "channel", "time"), "f4", "traces"),
        (("neuron", "time"), "?", "events"),
        (("time",), "f4", "traces"),
        (("pixel",), "f4", "rois"),
        (("trial", "neuron", "time"), "f4", "trials"),
        (("trial", "neuron"), "f4", None),
        (("event", "lag"), "f4", "waveforms"),
        (("neuron", "lag"), "f4", "waveforms"),
        (("lag", "y", "x"), "f4", "image"),
        (("a", "b"), "f4", None),
        ((), "f4", None),
    ],
)
def test_kind_follows_from_names(dims, dtype, kind):
    assert model.kind(xr.DataArray(np.zeros((1,) * len(dims), dtype), dims=dims)) == kind


def movie(times, epoch=None):
    coords = {"time": ("frames", times)} | ({} if epoch is None else {"epoch": ("frames", epoch)})
    return xr.DataArray(np.zeros((len(times), 2, 2)), coords, ("frames", "y", "x"))


def test_the_rate_is_the_median_step_within_epochs():
    data = movie([0, 0.1, 0.2, 5.0, 5.1, 5.2], [1, 1, 1, 2, 2, 2])
    assert cs.frame_rate(data) == pytest.approx(10)
    assert model.regular_rate(data, "test") == pytest.approx(10)
    assert model.epochs(data) == [slice(0, 3), slice(3, 6)]


def test_uneven_steps_are_refused_naming_the_worst():
    with pytest.raises(TimeAxisError, match=r"a step of 4\.8 s differs from the usual 0\.1 s"):
        model.regular_rate(movie([0, 0.1, 0.2, 5.0, 5.1]), "test")
    model.regular_rate(movie([0, 0.1, 0.2015, 0.3]), "test")


def test_there_is_no_silent_frame_rate():
    data = xr.DataArray(np.zeros((3, 2, 2)), dims=("frames", "y", "x"))
    with pytest.raises(TimeAxisError, match=r"needs a 'time' coordinate.*assign_coords"):
        cs.frame_rate(data)
    with pytest.raises(TimeAxisError, match="at least two samples"):
        cs.frame_rate(movie([0.0]))
    with pytest.raises(TimeAxisError, match="increasing"):
        cs.frame_rate(movie([0.0, 0.0, 0.0]))
    with pytest.raises(DimensionError, match="'frames' or 'time' dimension, found"):
        cs.frame_rate(xr.DataArray(np.zeros((2, 2)), dims=("y", "x")))


@pytest.mark.parametrize(
    ("shape", "dims"),
    [
        ((2, 5), ("neuron", "time")),
        ((5, 4, 4), ("frames", "y", "x")),
        ((5, 2, 4, 4), ("frames", "channel", "y", "x")),
        ((5, 2, 3, 4, 4), ("frames", "channel", "plane", "y", "x")),
    ],
)
def test_from_numpy_labels_and_does_not_copy(shape, dims):
    array = np.zeros(shape)
    data = cs.from_numpy(array, frame_rate=4, microns_per_pixel=(0.5, 2) if len(dims) > 2 else None)
    assert data.dims == dims
    assert np.shares_memory(data.values, array)
    np.testing.assert_array_equal(data.time, np.arange(5) / 4)
    if "y" in dims:
        assert data.y.values.tolist() == [0, 0.5, 1, 1.5]
        assert data.x.attrs["units"] == "um"


def test_from_numpy_refuses_what_it_cannot_label():
    with pytest.raises(TypeError, match="frame_rate"):
        cs.from_numpy(np.zeros((2, 2)))
    with pytest.raises(ArgumentError, match="frame_rate > 0"):
        cs.from_numpy(np.zeros((2, 2)), frame_rate=0)
    with pytest.raises(ArgumentError, match="6 dimensions"):
        cs.from_numpy(np.zeros((1,) * 6), frame_rate=1)
    lazy = cs.from_numpy(da.zeros((5, 4, 4), chunks=(2, 4, 4)), frame_rate=1)
    assert lazy.chunks[0] == (2, 2, 1)


def test_options_hold_in_a_block_and_check_their_values():
    with cs.set_options(device="auto", chunk_bytes=10):
        assert cs.get_option("device") == "auto"
        assert cs.get_option("chunk_bytes") == 10
    assert cs.get_option("device") == "cpu"
    for wrong in ({"device": "tpu"}, {"memory_limit": -1}, {"progress": 1}, {"chunk_bytes": True}):
        with pytest.raises(ArgumentError, match="needs"):
            cs.set_options(**wrong)
    with pytest.raises(ArgumentError, match="unknown option"):
        cs.set_options(nonsense=1)
    with pytest.raises(ZeroDivisionError), cs.set_options(device="auto"):
        1 / 0  # noqa: B018
    assert cs.get_option("device") == "cpu"


def test_history_has_a_line_for_every_step_with_every_argument():
    traces = cs.from_numpy(np.random.default_rng(0).normal(9, 1, (2, 90)), frame_rate=30)
    lines = traces.cs.detrend().cs.dfof(method="percentile").attrs["history"].splitlines()
    pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ calscipy \d+\.\d+\.\d+ (\w+) (\{.*\})"
    steps = [re.fullmatch(pattern, line).groups() for line in lines]
    assert [name for name, _ in steps] == ["detrend", "dfof"]
    words = {"method": "polynomial", "order": 4, "keep_level": True, "robust": False}
    assert json.loads(steps[0][1]) == words
    assert json.loads(steps[1][1]) == {
        "method": "percentile", "offset": 0.0, "floor": 1.0, "below_floor": "nan", "percentile": 8.0
    }  # fmt: skip


def test_arrays_in_the_history_are_told_apart_without_computing():
    first = xr.DataArray(np.arange(6).reshape(2, 3), dims=("y", "x"), name="labels")
    described = describe(first)
    assert described["array"] == "labels"
    assert described["shape"] == [2, 3]
    assert describe(first + 1)["sha256"] != described["sha256"] == describe(first.copy())["sha256"]

    def explode(*args, **kwargs):
        raise AssertionError("computed")

    import dask

    with dask.config.set(scheduler=explode):
        assert "token" in describe(first.chunk())


def test_first_few():
    assert first_few([1]) == "1"
    assert first_few(list("abcde"), 2) == "a, b and 3 more"


def test_temporal_methods_refuse_arguments_that_they_ignore():
    traces = cs.from_numpy(np.random.default_rng(0).normal(9, 1, (2, 90)), frame_rate=30)
    with pytest.raises(ArgumentError, match="method='mean' ignores window"):
        traces.cs.baseline(method="mean", window=3)
    with pytest.raises(ArgumentError, match="must be one of"):
        traces.cs.dfof(method="nonsense")
    with pytest.raises(ArgumentError, match="method='derivative' ignores decay"):
        traces.cs.events(method="derivative", decay=1)
    assert "matched" in traces.cs.events().attrs["history"]
    with pytest.raises(ArgumentError, match="level"):
        traces.cs.detrend(keep_level=False).cs.dfof(method="mean")
    with pytest.raises(ArgumentError, match="window > 0"):
        traces.cs.baseline(method="rolling_percentile", window=-1)
    with pytest.raises(ArgumentError, match="percentile between 0 and 100"):
        traces.cs.baseline(method="percentile", percentile=101)
    with pytest.raises(TypeError, match=r"needs an xarray\.DataArray, got ndarray"):
        cs.dfof(np.zeros((2, 3)))


def test_a_low_baseline_is_guarded_and_named():
    f = np.random.default_rng(0).normal(0, 1, (3, 200))
    f[1] += 100
    traces = cs.from_numpy(f, frame_rate=30).assign_coords(neuron=["a", "b", "c"])
    with pytest.warns(cs.errors.BaselineWarning, match="neurons a, c is not above 1 standard"):
        out = traces.cs.dfof(method="median")
    assert np.isnan(out.values[[0, 2]]).all()
    assert np.isfinite(out.values[1]).all()
    with pytest.warns(cs.errors.BaselineWarning, match="divided by the floor"):
        out = traces.cs.dfof(method="median", below_floor="floor")
    assert np.isfinite(out.values).all()
    with pytest.warns(cs.errors.BaselineWarning, match="neurons a, c"):
        traces.chunk(neuron=3, time=50).cs.dfof(method="median").compute()
    assert np.isfinite(traces.cs.dfof(method="median", offset=50.0).values).all()


def test_dfof_with_a_reference_needs_equal_times():
    traces = cs.from_numpy(np.random.default_rng(0).normal(50, 1, (2, 90)), frame_rate=30)
    out = traces.cs.dfof(method="mean", reference=traces * 2)
    np.testing.assert_allclose(
        out.values,
        traces.values / traces.values.mean(1, keepdims=True) / 2 - 1,
        rtol=1e-4,
        atol=1e-5,
    )
    shifted = traces.assign_coords(time=traces.time + 1e-9)
    with pytest.raises(ArgumentError, match="other values of 'time'"):
        traces.cs.dfof(method="mean", reference=shifted)


def test_baselines_and_detrending_stay_within_epochs():
    rng = np.random.default_rng(0)
    f = rng.normal(50, 1, (2, 200)) + np.repeat([0, 100], 100)
    traces = cs.from_numpy(f, frame_rate=30).assign_coords(epoch=("time", np.repeat([1, 2], 100)))
    for method in ("mean", "median", "percentile", "low_pass", "rolling_percentile"):
        f0 = traces.cs.baseline(method=method, **({"window": 1} if method[0] == "r" else {}))
        assert (f0.values[:, :100] < 60).all()
        assert (f0.values[:, 100:] > 140).all()
    flat = traces.cs.detrend(order=1)
    np.testing.assert_allclose(flat.values[:, :100].mean(), f[:, :100].mean(), rtol=1e-5)
    np.testing.assert_allclose(flat.values[:, 100:].mean(), f[:, 100:].mean(), rtol=1e-5)


def test_movies_along_time_need_memory_or_row_bands():
    data = da.random.default_rng(0).poisson(90, (64, 16, 16), chunks=(16, 16, 16)).astype("u2")
    lazy = cs.from_numpy(data, frame_rate=30)
    whole = lazy.compute()
    np.testing.assert_allclose(
        lazy.cs.detrend(order=2).values, whole.cs.detrend(order=2).values, rtol=1e-5
    )
    with (
        cs.set_options(memory_limit=1000),
        pytest.raises(cs.errors.ChunkError, match=r"chunks='time'.*to_zarr"),
    ):
        lazy.cs.detrend(order=2)


def test_samples_that_are_no_neighbours_are_not_filtered_together():
    movie = cs.from_numpy(
        np.random.default_rng(0).poisson(9, (40, 4, 4)).astype("u2"), frame_rate=10
    )
    gap = movie.isel(frames=np.r_[0:10, 30:40])
    back = xr.concat([movie[:20], movie[:20]], "frames")
    for odd in (gap, back):
        with pytest.raises(TimeAxisError, match=r"works on neighbouring samples.*'epoch'"):
            odd.cs.gaussian_filter(sigma=1)
        with pytest.raises(TimeAxisError, match="neighbouring"):
            odd.cs.detrend()
        odd.cs.gaussian_filter(sigma={"y": 1})
        parts = odd.assign_coords(epoch=("frames", np.repeat([1, 2], odd.sizes["frames"] // 2)))
        parts.cs.gaussian_filter(sigma=1)


def test_damaged_frames_of_a_reference_enter_no_baseline():
    valid = np.ones(50, bool)
    valid[10:15] = False
    data = np.full((50, 3, 3), 100.0)
    data[~valid] = 0
    movie = cs.from_numpy(data, frame_rate=10).assign_coords(valid=("frames", valid))
    for lazy in (movie, movie.chunk(frames=50)):
        out = lazy.cs.dfof(method="mean", reference=lazy, floor=0)
        np.testing.assert_array_equal(out.values[valid], 0)
        assert np.isnan(out.values[~valid]).all()
    late = movie.assign_coords(time=movie.time + 1)
    with pytest.raises(ArgumentError, match="other times"):
        movie.cs.dfof(method="mean", reference=late)


def test_a_damaged_frame_does_not_swell_the_graph():
    import pickle

    movie = cs.from_numpy(da.zeros((200, 64, 64), chunks=(200, 16, 64)), frame_rate=10)
    masked = movie.assign_coords(valid=("frames", np.arange(200) != 3))
    out = masked.cs.baseline(method="mean")
    assert len(pickle.dumps(dict(out.data.dask))) < 100_000
    assert np.isfinite(out.values[5]).all()


def test_wide_integers_keep_their_digits():
    traces = cs.from_numpy(np.full((1, 9), 2**25 + 1, "i4"), frame_rate=3)
    assert traces.cs.baseline(method="mean").values[0, 0] == 2**25 + 1


def test_times_that_are_no_seconds_are_refused():
    """As numbers they would give a frame rate that is off by 1000 or 1e9."""
    data = cs.from_numpy(np.random.default_rng(0).normal(9, 1, (2, 90)), frame_rate=30)
    later = (data.time.values * 1e9).astype("m8[ns]")
    for times in (later, np.datetime64("2026-01-01", "ns") + later, data.time.values.astype(str)):
        with pytest.raises(TimeAxisError, match="dfof needs times in seconds as numbers"):
            cs.dfof(data.assign_coords(time=times))
    in_ms = data.assign_coords(time=("time", data.time.values * 1000, {"units": "ms"}))
    with pytest.raises(TimeAxisError, match="units='ms'"):
        cs.events(in_ms)
    spelled = data.assign_coords(time=("time", data.time.values, {"units": "seconds"}))
    assert cs.frame_rate(spelled) == pytest.approx(30)


def test_one_number_in_an_array_is_written_as_a_number():
    assert describe(xr.DataArray(0.5)) == 0.5
    assert describe(np.array(3)) == 3
    assert "token" in describe(xr.DataArray(da.from_array(np.array(0.5))))


def test_tables_keep_an_index_of_several_levels():
    data = cs.from_numpy(np.random.default_rng(0).normal(9, 1, (2, 90)), frame_rate=30)
    levels = data.drop_vars("neuron").assign_coords(
        mouse=("neuron", ["a", "b"]), cell=("neuron", [0, 1])
    )
    table = cs.quality(levels.set_index(neuron=["mouse", "cell"]))  # warnings are errors
    assert table.noise.indexes["neuron"].names == ["mouse", "cell"]
    assert table.snr.attrs["history"] == table.attrs["history"]
