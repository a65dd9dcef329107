"""The offset of odd lines: measured within 0.05 pixels, and taken back."""

import json
import pickle

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.errors import ArgumentError, CalscipyWarning, DeviceError, DimensionError
from calscipy.kernels.scan_phase import shift_odd_lines
from calscipy.ops.scan_phase import correct_scan_phase, estimate_scan_phase

from ..moving_scene import Scene, shot_noise  # noqa: TID252


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def movie(offsets, shape=(64, 96), photons=30, seed=0, **scene):
    """One frame for each offset."""
    scene = Scene(shape, seed=seed, **{"share": 60, **scene})
    drawn = {offset: scene.draw(odd_lines=offset) for offset in set(offsets)}
    frames = shot_noise([drawn[offset] for offset in offsets], photons, seed=seed)
    return cs.from_numpy(frames, frame_rate=10)


def volume(offset=1.4, frames=6):
    """Two channels and two planes, one of the channels without structure."""
    data = np.empty((frames, 2, 2, 64, 96), "uint16")
    for plane in range(2):
        bright = movie([offset] * frames, seed=plane).values
        data[:, 0, plane] = bright
        data[:, 1, plane] = np.random.default_rng(plane).poisson(5, bright.shape)
    return cs.from_numpy(data, frame_rate=10)


def lazy(data, chunks):
    return data.copy(data=da.from_array(data.values, chunks=chunks))


@pytest.mark.parametrize("shape", [(96, 160), (128, 80), (97, 120), (65, 64)], ids=str)
@pytest.mark.parametrize("offset", [0.0, 0.5, -1.27, 3.8])
def test_known_offsets_within_a_twentieth_of_a_pixel(shape, offset):
    found = estimate_scan_phase(movie([offset] * 40, shape))
    assert found.shape == ()
    assert found.item() == pytest.approx(offset, abs=0.05)


def test_all_channels_and_planes_count_together():
    data = volume(1.4, frames=12)
    found = estimate_scan_phase(data)
    assert found.dims == ()
    assert found.item() == pytest.approx(1.4, abs=0.05)
    turned = estimate_scan_phase(lazy(data.transpose(), (40, 33, 1, 2, 5)))
    assert turned.item() == found.item()


def test_an_offset_that_varies_in_time():
    data = movie([0.5] * 20 + [-1.5] * 20 + [2.25] * 20)
    found = estimate_scan_phase(data, window=2.0)
    assert found.dims == ("frames",)
    np.testing.assert_allclose(found, np.repeat([0.5, -1.5, 2.25], 20), atol=0.05)
    assert len(np.unique(found)) == 3
    np.testing.assert_array_equal(found.time, data.time)
    corrected = correct_scan_phase(data, window=2.0)
    np.testing.assert_array_equal(corrected.scan_phase, found)
    left = estimate_scan_phase(corrected, window=2.0)
    np.testing.assert_allclose(left, 0, atol=0.06)
    assert left.to_dataset().sizes == {"frames": 60}


def test_windows_do_not_cross_epochs():
    data = movie([1.0] * 15 + [-1.0] * 25)
    data = data.assign_coords(epoch=("frames", np.repeat([1, 2], [15, 25])))
    found = estimate_scan_phase(data, window=100.0)
    np.testing.assert_allclose(found, np.repeat([1.0, -1.0], [15, 25]), atol=0.06)
    thirds = estimate_scan_phase(data, window=0.9)
    assert [len(list(g)) for g in np.split(thirds, np.flatnonzero(np.diff(thirds)) + 1)] == [
        9, 6, 9, 9, 7
    ]  # fmt: skip


@pytest.mark.parametrize("chunks", [(5, 64, 96), (30, 7, 96), (1, 64, 50), (40, 5, 9)])
def test_the_chunks_do_not_matter(chunks):
    data = movie([0.7] * 20 + [-0.7] * 20)
    expected = estimate_scan_phase(data, window=2.0)
    with cs.set_options(chunk_bytes=64 * 96 * 2 * 7):
        np.testing.assert_array_equal(estimate_scan_phase(lazy(data, chunks), window=2), expected)
        moved = correct_scan_phase(lazy(data, chunks), shift=expected)
    np.testing.assert_array_equal(moved, correct_scan_phase(data, shift=expected))


def test_damaged_frames_do_not_count_and_are_passed_on():
    data = movie([1.5] * 20)
    values = data.values.copy()
    values[5:9] = movie([-4.0] * 4, photons=900).values
    valid = np.ones(20, bool)
    valid[5:9] = False
    damaged = data.copy(data=values).assign_coords(valid=("frames", valid))
    assert estimate_scan_phase(damaged).item() == pytest.approx(1.5, abs=0.1)
    corrected = correct_scan_phase(damaged)
    np.testing.assert_array_equal(corrected.scan_phase == 0, ~valid)
    told = json.loads(corrected.attrs["history"].split(" ", 4)[4])
    assert told == {"shift": corrected.scan_phase.values[0], "max_shift": 10, "fill": "edge"}
    np.testing.assert_array_equal(corrected[~valid], damaged[~valid].astype("f4"))
    assert (corrected[valid] != damaged[valid]).any()
    none = damaged.assign_coords(valid=("frames", np.zeros(20, bool)))
    with pytest.warns(CalscipyWarning, match="no scan phase was found in the movie"):
        assert np.isnan(estimate_scan_phase(none).item())
    with pytest.warns(CalscipyWarning, match="no scan phase was found in the movie"):
        np.testing.assert_array_equal(correct_scan_phase(none), none.astype("f4"))


def test_the_correction_is_that_of_the_kernel():
    data = volume()
    for fill in ("edge", "nan"):
        moved = correct_scan_phase(data.transpose("y", "frames", "x", ...), shift=0.4, fill=fill)
        assert moved.dims == ("y", "frames", "x", "channel", "plane")
        assert moved.dtype == "float32"
        flat = data.values.reshape(-1, 64, 96)
        expected = shift_odd_lines(
            flat, np.full(len(flat), 0.4), dtype=np.dtype("f4"), fill=fill
        ).reshape(data.shape)
        np.testing.assert_array_equal(moved.transpose(*data.dims), expected)
        assert moved.scan_phase.item() == 0.4


@pytest.mark.parametrize(
    ("given", "made"), [("uint8", "f4"), ("int32", "f8"), ("float32", "f4"), ("float64", "f8")]
)
def test_dtypes_as_promised(given, made):
    data = movie([0.5] * 3).astype(given)
    for place in (data, lazy(data, (2, 64, 96))):
        moved = correct_scan_phase(place, shift=0.5)
        assert moved.dtype == moved.compute().dtype == made


def test_building_with_a_shift_computes_nothing():
    def refuse(*args, **kwargs):
        raise AssertionError("computed")

    data = lazy(movie([0.5] * 6), (2, 64, 96))
    with dask.config.set(scheduler=refuse):
        moved = correct_scan_phase(data, shift=0.5)
        again = correct_scan_phase(data, shift=0.5)
        correct_scan_phase(data, shift=xr.DataArray(np.ones(6), dims="frames").chunk())
    assert moved.data.name == again.data.name != correct_scan_phase(data, shift=0.6).data.name
    assert moved.data.numblocks == data.data.numblocks
    copy = pickle.loads(pickle.dumps(moved))
    np.testing.assert_array_equal(copy.compute(), correct_scan_phase(data.compute(), shift=0.5))


def test_words_and_what_was_there_before():
    data = movie([0.5] * 4).assign_attrs(units="mV", history="earlier")
    before = data.copy(deep=True)
    moved = correct_scan_phase(data, shift=0.5)
    assert (moved.attrs["units"], moved.attrs["long_name"]) == (
        "mV", "fluorescence, scan phase corrected"
    )  # fmt: skip
    line = moved.attrs["history"].split("\n")[1]
    assert json.loads(line.split(" ", 4)[4]) == {"shift": 0.5, "fill": "edge"}
    assert moved.scan_phase.attrs["units"] == "1"
    again = correct_scan_phase(moved, shift=0.25)
    assert again.scan_phase.item() == 0.75
    each = correct_scan_phase(moved, shift=xr.DataArray([0.0, 1.0, np.nan, 0.0], dims="frames"))
    np.testing.assert_array_equal(each.scan_phase, [0.5, 1.5, 0.5, 0.5])
    xr.testing.assert_identical(data, before)
    found = estimate_scan_phase(data)
    assert (found.name, found.attrs["units"]) == ("scan_phase", "1")


def test_errors():
    data = movie([0.5] * 4)
    with pytest.raises(ArgumentError, match=r"fill=\) must be one of"):
        correct_scan_phase(data, shift=1, fill="zero")
    with pytest.raises(ArgumentError, match="give one of them"):
        correct_scan_phase(data, shift=1, window=2)
    with pytest.raises(ArgumentError, match="one for each of the 4 frames"):
        correct_scan_phase(data, shift=xr.DataArray([1.0, 2.0], dims="frames"))
    for wrong in (np.inf, [1.0, 2.0], "a", True, np.nan):
        with pytest.raises(ArgumentError, match="finite shift in pixels"):
            correct_scan_phase(data, shift=wrong)
    shift = estimate_scan_phase(data, window=1)
    with pytest.raises(ArgumentError, match="of other times"):
        correct_scan_phase(data.assign_coords(time=data.time + 1), shift=shift)
    for limit in (0, 45, 2.5, "a", True, np.nan):
        with pytest.raises(ArgumentError, match=r"from 1 to 40 in lines of 96 pixels"):
            estimate_scan_phase(data, max_shift=limit)
    with pytest.raises(ArgumentError, match="at least 3 lines"):
        estimate_scan_phase(data.isel(y=slice(0, 2)))
    for wrong in (0, "a", True, np.nan):
        with pytest.raises(ArgumentError, match="window > 0 in seconds"):
            estimate_scan_phase(data, window=wrong)
    with pytest.raises(DimensionError, match="needs the dimensions"):
        estimate_scan_phase(data.isel(y=0))
    with pytest.raises(ArgumentError, match="needs numbers"):
        estimate_scan_phase(data.astype(bool))
    with pytest.raises(ArgumentError, match="NaN or infinite"):
        estimate_scan_phase(data.where(data.x > 0))
    with pytest.warns(CalscipyWarning, match=r"max_shift=2 pixels or beyond"):
        estimate_scan_phase(movie([3.5] * 4), max_shift=2)


@pytest.mark.parametrize("start", [1, 2, 3])
def test_a_crop_has_the_odd_lines_of_the_recording(start):
    data = movie([1.5] * 20)
    crop = data.isel(y=slice(start, None))
    assert estimate_scan_phase(crop).item() == pytest.approx(1.5, abs=0.1)
    whole = correct_scan_phase(data, shift=1.5)
    np.testing.assert_array_equal(correct_scan_phase(crop, shift=1.5), whole[:, start:])
    with pytest.raises(ArgumentError, match=f"at least {3 + start % 2} lines"):
        estimate_scan_phase(crop.isel(y=slice(0, 2 + start % 2)))


def test_lines_that_are_not_those_recorded():
    data = movie([1.5] * 4)
    for other in (data.isel(y=slice(None, None, 2)), data.isel(y=slice(None, None, -1))):
        for op in (estimate_scan_phase, correct_scan_phase):
            with pytest.raises(ArgumentError, match="Correct the scan phase first, then bin"):
                op(other)


def test_a_short_last_window_belongs_to_the_one_before():
    data = movie([0.5] * 12 + [-1.5] * 2 + [1.0] * 3)
    data = data.assign_coords(epoch=("frames", np.repeat([1, 2], [14, 3])))
    found = estimate_scan_phase(data, window=0.6)
    assert [len(np.unique(found[part])) for part in (slice(6, 14), slice(14, None))] == [1, 1]
    assert len(np.unique(found)) == 3
    line = correct_scan_phase(data, window=0.6).attrs["history"].split("\n")[-1]
    told = json.loads(line.split(" ", 4)[4])
    assert told["shift"] == found.values[[0, 6, 14]].tolist()


@pytest.mark.parametrize(("dtype", "offset"), [("f8", 1e9), ("i4", 1.5e9)])
def test_a_large_offset_does_not_matter(dtype, offset):
    data = movie([1.5] * 4)
    expected = estimate_scan_phase(data).item()
    there = data.astype(dtype) + np.dtype(dtype).type(offset)
    assert estimate_scan_phase(there).item() == pytest.approx(expected, abs=1e-3)


class OnGpu(np.ndarray):
    """An array that says that it lives on a GPU."""


OnGpu.__module__ = "cupy"


def test_a_movie_on_a_gpu_is_refused():
    data = movie([0.5] * 4)
    there = data.copy(data=data.values.view(OnGpu))
    block = da.from_array(data.values, chunks=(2, 64, 96)).map_blocks(
        lambda b: b.view(OnGpu), meta=np.empty((0, 0, 0), "u2").view(OnGpu)
    )
    for place in (there, data.copy(data=block)):
        for op in (estimate_scan_phase, correct_scan_phase):
            with pytest.raises(DeviceError, match=r"cupy\.as_numpy"):
                op(place)
