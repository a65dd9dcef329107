"""Shifts within 0.1 pixels of the truth, and movies moved back by them."""

import json
import pickle
import warnings

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.errors import (
    ArgumentError,
    CalscipyWarning,
    ChunkError,
    DeviceError,
    DimensionError,
)
from calscipy.kernels.interpolation import shift_frames
from calscipy.ops.motion import apply_shifts, estimate_shifts

from ..moving_scene import Scene, rms, shot_noise  # noqa: TID252


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def random_shifts(count, size=8.0, seed=0):
    return np.random.default_rng(seed).uniform(-size, size, (count, 2))


def recording(shifts, shape=(48, 64), photons=40, seed=0):
    scene = Scene(shape, seed=seed)
    frames = shot_noise([scene.draw(*shift) for shift in shifts], photons, seed=seed)
    return cs.from_numpy(frames, frame_rate=10), scene.draw()


def volume(frames=12):
    """Two planes that move apart; of two channels one shows nothing to align."""
    shifts = np.stack([random_shifts(frames, 4, seed=s) for s in range(2)], axis=1)
    data = np.empty((frames, 2, 2, 48, 64), "uint16")
    for plane in range(2):
        data[:, 1, plane] = recording(shifts[:, plane], seed=plane)[0].values
    data[:, 0] = np.random.default_rng(0).poisson(5, data[:, 0].shape)
    templates = np.stack([Scene((48, 64), seed=plane).draw() for plane in range(2)])
    return cs.from_numpy(data, frame_rate=10), shifts, templates


def lazy(data, *chunks):
    return data.copy(data=da.from_array(data.values, chunks=chunks))


def both(found):
    return np.stack([found.y_shift.values, found.x_shift.values], axis=-1)


def dataset(y, x, dims=("frames",), **coords):
    return xr.Dataset({"y_shift": (dims, y), "x_shift": (dims, x)}, coords)


def refuse(*args, **kwargs):
    raise AssertionError("computed")


# -- estimate_shifts -----------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(96, 160), (128, 80)], ids=str)
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("photons", "worst"), [(3, 0.1), (20, 0.035)])
def test_known_shifts_within_a_tenth_of_a_pixel(shape, seed, photons, worst):
    shifts = random_shifts(40, seed=seed)
    data, still = recording(shifts, shape, photons, seed=seed)
    found = estimate_shifts(data, template=still)
    assert rms(both(found) - shifts) < worst
    own = both(estimate_shifts(lazy(data, 16, *shape)))
    away = own - shifts - np.median(own - shifts, axis=0)
    assert rms(away) < worst
    np.testing.assert_allclose(np.median(own, axis=0), 0, atol=0.1)


def test_what_comes_back():
    data, still = recording(random_shifts(5, 3))
    before = data.copy(deep=True)
    found = estimate_shifts(data, template=still, max_shift=6)
    assert set(found.data_vars) == {"y_shift", "x_shift", "correlation", "template"}
    for name in ("y_shift", "x_shift", "correlation"):
        assert found[name].dims == ("frames",)
        assert (found[name].dtype, found[name].attrs["units"]) == ("float64", "1")
    assert found.template.dims == ("y", "x")
    assert found.template.attrs["units"] == "count"
    for name in data.coords:
        xr.testing.assert_identical(found[name].variable, data[name].variable)
    text = found.attrs["history"].split("\n")[-1].split(" ", 4)[4]
    assert json.loads(text).keys() == {"template", "max_shift", "sigma"}
    xr.testing.assert_identical(data, before)


def test_one_channel_tells_the_shifts_of_every_plane():
    data, shifts, templates = volume()
    found = estimate_shifts(data, channel="Ch2", template=templates)
    assert found.y_shift.dims == ("frames", "plane")
    assert found.channel.item() == "Ch2"
    assert rms(both(found) - shifts) < 0.1
    turned = lazy(data.transpose(), 20, 48, 1, 2, 5)
    images = xr.DataArray(templates, dims=("plane", "y", "x")).transpose("x", "y", "plane")
    again = estimate_shifts(turned, channel="Ch2", template=images)
    np.testing.assert_array_equal(both(again), both(found))
    own = both(estimate_shifts(data, channel="Ch2"))
    away = own - shifts - np.median(own - shifts, axis=0)
    assert rms(away) < 0.1
    alone = estimate_shifts(data.sel(channel="Ch2").isel(plane=1), template=templates[1])
    np.testing.assert_array_equal(both(alone), both(found)[:, 1])
    with pytest.raises(ArgumentError, match=r"one of \['Ch1', 'Ch2'\], got None"):
        estimate_shifts(data)
    with pytest.raises(ArgumentError, match="no channel 'Ch1' in this movie of Ch2"):
        estimate_shifts(data.sel(channel="Ch2"), channel="Ch1")


@pytest.mark.parametrize("chunks", [(4, 48, 64), (12, 7, 64), (1, 48, 30), (5, 5, 5)])
def test_the_chunks_do_not_change_a_bit(chunks):
    data, _ = recording(random_shifts(12, 4))
    found = estimate_shifts(data)
    with cs.set_options(chunk_bytes=48 * 64 * 2 * 5):
        xr.testing.assert_equal(estimate_shifts(lazy(data, *chunks)), found)
        moved = apply_shifts(lazy(data, *chunks), found)
    np.testing.assert_array_equal(moved, apply_shifts(data, found))


def test_a_template_takes_one_pass_over_a_lazy_movie():
    data, still = recording(random_shifts(12, 4))
    read = []

    def block(place):
        read.append(place)
        return data.values[4 * place : 4 * place + 4]

    parts = [da.from_delayed(dask.delayed(block)(k), (4, 48, 64), "u2") for k in range(3)]
    estimate_shifts(data.copy(data=da.concatenate(parts)), template=still)
    assert sorted(read) == [0, 1, 2]


def test_damaged_frames_enter_nothing():
    data, _ = recording(random_shifts(30, 4))
    valid = np.ones(30, bool)
    valid[[3, 4, 20]] = False
    floats = data.astype("f4").assign_coords(valid=("frames", valid))
    found = estimate_shifts(floats.where(floats.valid))
    assert np.isnan(both(found)[~valid]).all()
    assert np.isfinite(both(found)[valid]).all()
    xr.testing.assert_identical(
        estimate_shifts(floats.where(floats.valid, 1e6)).drop_attrs(), found.drop_attrs()
    )
    for given in (found, found.fillna(1.5)):
        moved = apply_shifts(floats.where(floats.valid, 7), given)
        assert (moved.values[~valid] == 7).all()
    with pytest.raises(ArgumentError, match="at least one valid frame of every plane"):
        estimate_shifts(floats.assign_coords(valid=("frames", np.zeros(30, bool))))


def test_one_frame_is_its_own_template():
    data, _ = recording(random_shifts(1, 2))
    found = estimate_shifts(data)
    np.testing.assert_allclose(both(found), 0, atol=1e-4)
    np.testing.assert_allclose(found.template, data[0], rtol=1e-6)


def test_flat_frames_and_far_ones_are_reported():
    shifts = np.array([[0, 0], [1, 1], [0, 7.0], [0, 0]])
    data, still = recording(shifts)
    values = data.values.copy()
    values[3] = 500
    with pytest.warns(CalscipyWarning) as caught:
        found = estimate_shifts(data.copy(data=values), template=still, max_shift=4)
    messages = [str(warning.message) for warning in caught]
    assert "the shifts of 1 frames lie at max_shift=4 pixels or beyond (frames 2)" in messages[0]
    assert "1 valid frames are flat, so they have no shift (frames 3)" in messages[1]
    assert all(warning.filename == __file__ for warning in caught)
    assert np.isnan(both(found)[3]).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimate_shifts(data, template=still, max_shift=10)


def test_templates_that_do_not_fit():
    data, still = recording(random_shifts(3, 2))
    image = xr.DataArray(still, dims=("y", "x"))
    for wrong in (still.T, still[None], image.rename(y="row"), image.isel(x=slice(1, None))):
        with pytest.raises(ArgumentError, match=r"dimensions \('y', 'x'\) of sizes \(48, 64\)"):
            estimate_shifts(data, template=wrong)
    elsewhere = image.assign_coords(x=data.x + 5)
    with pytest.raises(ArgumentError, match="has other coordinates"):
        estimate_shifts(data, template=elsewhere)
    fits = estimate_shifts(data, template=image.assign_coords(x=data.x, y=data.y).T.chunk())
    xr.testing.assert_equal(fits, estimate_shifts(data, template=still))


def test_movies_that_cannot_be_aligned():
    data, still = recording(random_shifts(3, 2))
    for limit in (0, 17, 2.5):
        with pytest.raises(ArgumentError, match=r"from 1 to 16 for an image of 48 x 64"):
            estimate_shifts(data, template=still, max_shift=limit)
    with pytest.raises(ArgumentError, match="from 1 to -3"):
        estimate_shifts(data.isel(y=slice(0, 10)))
    with pytest.raises(ArgumentError, match="sigma >= 0"):
        estimate_shifts(data, template=still, sigma=-1)
    with pytest.raises(ArgumentError, match="NaN or infinite"):
        estimate_shifts(data.where(data.x > 3), template=still)
    with pytest.raises(ArgumentError, match="NaN or infinite"):
        estimate_shifts(data.where(data.x > 3))
    with pytest.raises(ArgumentError, match="no structure"):
        estimate_shifts(xr.ones_like(data))
    with pytest.raises(ArgumentError, match="at least one valid frame"):
        estimate_shifts(data.isel(frames=slice(0, 0)))
    with pytest.raises(ArgumentError, match="needs numbers"):
        estimate_shifts(data > 3)
    with pytest.raises(DimensionError, match="needs the dimensions"):
        estimate_shifts(data.isel(frames=0))


def calcium(frames, count, peak, rng, rate=0.01):
    """Brightness over that at rest: transients of a sudden rise and a decay over 6 frames."""
    active = np.ones((frames, count))
    for cell in range(count):
        for start in np.flatnonzero(rng.random(frames) < rate):
            tail = active[start : start + 15, cell]
            tail += peak * np.exp(-np.arange(len(tail)) / 6)
    return active


@pytest.mark.parametrize("peak", [3, 6])
def test_active_cells_do_not_move_frames(peak):
    rng = np.random.default_rng(peak)
    scene, shifts = Scene((96, 160), seed=1), random_shifts(80, 6, seed=1)
    shifts[40:] = 0
    active = calcium(80, len(scene.y), peak, rng)
    frames = [scene.draw(*s, activity=a) for s, a in zip(shifts, active, strict=True)]
    data = cs.from_numpy(shot_noise(frames, 20), frame_rate=30)
    away = both(estimate_shifts(data)) - shifts
    away -= np.median(away, axis=0)
    assert rms(away) < 0.1
    still = away[40:]
    assert still.std(axis=0).max() < 0.1
    # What the activity of each cell says of the shift is what chance says.
    bright = active[40:].sum(axis=1)
    assert abs(np.corrcoef(np.hypot(*still.T), bright)[0, 1]) < 0.4


@pytest.mark.parametrize(("dtype", "offset"), [("f8", 1e9), ("i4", 1.5e9), ("i8", 1e12)])
def test_a_large_offset_does_not_matter(dtype, offset):
    data, still = recording(random_shifts(8, 4))
    there = data.astype(dtype) + np.dtype(dtype).type(offset)
    expected, own = estimate_shifts(data, template=still), estimate_shifts(data)
    # The template is rounded as well, which changes a few weights; the noise is 0.07 pixels.
    found = estimate_shifts(there, template=still + offset)
    np.testing.assert_allclose(both(found), both(expected), atol=0.03)
    found = estimate_shifts(there)
    np.testing.assert_allclose(both(found), both(own), atol=0.03)
    np.testing.assert_allclose(found.template - offset, own.template, atol=1e-2)


def test_frames_of_noise_are_reported():
    noise = np.random.default_rng(0).poisson(5, (40, 64, 64)).astype("u2")
    with (
        pytest.warns(CalscipyWarning, match="lie at max_shift=10"),
        pytest.warns(CalscipyWarning, match="resemble the template little"),
    ):
        estimate_shifts(cs.from_numpy(noise, frame_rate=10), max_shift=10)


def test_arguments_that_are_no_numbers():
    data, still = recording(random_shifts(3, 2))
    for wrong in ("a", True, np.nan, np.inf):
        with pytest.raises(ArgumentError, match="needs max_shift as a whole number"):
            estimate_shifts(data, template=still, max_shift=wrong)
    for wrong in ("a", True, np.nan):
        with pytest.raises(ArgumentError, match="needs sigma >= 0"):
            estimate_shifts(data, template=still, sigma=wrong)


def test_other_planes_are_refused():
    data, _, templates = volume(4)
    data = data.assign_coords(plane=[2, 5])
    shifts = estimate_shifts(data, channel="Ch2", template=templates, max_shift=6)
    one = data.sel(plane=5)
    apply_shifts(one, shifts.sel(plane=5))  # of another channel: that is what they are for
    with pytest.raises(ArgumentError, match="plane"):
        apply_shifts(one, shifts.sel(plane=2))
    with pytest.raises(ArgumentError, match="plane"):
        estimate_shifts(one, channel="Ch2", template=shifts.template.sel(plane=2), max_shift=6)


def test_the_history_says_how_shifts_were_estimated():
    data, still = recording(random_shifts(3, 2))
    shifts = estimate_shifts(data, template=still, max_shift=6, sigma=1.5)
    line = apply_shifts(data, shifts).attrs["history"].split("\n")[-1]
    (told,) = json.loads(line.split(" ", 4)[4])["shifts"]["history"]
    assert "estimate_shifts" in told
    assert '"max_shift": 6, "sigma": 1.5' in told


def test_frames_with_empty_margins_are_refused_with_the_way_out():
    data, still = recording(random_shifts(3, 2))
    moved = apply_shifts(data, estimate_shifts(data, template=still))
    with pytest.raises(ArgumentError, match="fill='edge'"):
        estimate_shifts(moved, template=still)


# -- apply_shifts --------------------------------------------------------------------------


def test_a_movie_comes_back():
    shifts = random_shifts(10, 5)
    scene = Scene((64, 80))
    frames = np.stack([scene.draw(*shift) for shift in shifts])
    data = cs.from_numpy(frames, frame_rate=10)
    moved = apply_shifts(data, estimate_shifts(data, template=scene.draw()))
    away = np.abs(moved - scene.draw())
    assert float(away.max()) < 0.02 * scene.draw().max()
    outside = np.isnan(moved).mean(("y", "x"))
    area = [1 - (64 - np.ceil(abs(y))) * (80 - np.ceil(abs(x))) / (64 * 80) for y, x in shifts]
    np.testing.assert_allclose(outside, area, atol=1e-12)


@pytest.mark.parametrize("fill", ["nan", "edge"])
@pytest.mark.parametrize("interpolation", ["cubic", "linear"])
def test_every_channel_and_plane_is_moved_as_by_the_kernel(fill, interpolation):
    data, shifts, _ = volume(4)
    given = dataset(shifts[..., 0], shifts[..., 1], ("frames", "plane"), plane=[0, 1])
    options = {"fill": fill, "interpolation": interpolation}
    moved = apply_shifts(data.transpose("x", "plane", "frames", "y", "channel"), given, **options)
    assert moved.dims == ("x", "plane", "frames", "y", "channel")
    for channel in range(2):
        for plane in range(2):
            place = {"channel": channel, "plane": plane}
            expected = shift_frames(
                data.isel(place).values, shifts[:, plane], dtype=np.dtype("f4"), **options
            )
            np.testing.assert_array_equal(moved.isel(place).transpose("frames", "y", "x"), expected)
    np.testing.assert_array_equal(moved.y_shift, shifts[..., 0])
    assert moved.y_shift.dims == ("frames", "plane")


@pytest.mark.parametrize(
    ("given", "made"),
    [("uint8", "f4"), ("int32", "f8"), (">u2", "f4"), ("float32", "f4"), ("float64", "f8")],
)
def test_dtypes_as_promised(given, made):
    data = recording(random_shifts(3, 2))[0].astype(given)
    shifts = dataset(np.ones(3), np.full(3, 0.5))
    for place in (data, lazy(data, 2, 48, 64)):
        moved = apply_shifts(place, shifts)
        assert moved.dtype == moved.compute().dtype == made


def test_building_computes_nothing_and_pickles():
    data = lazy(recording(random_shifts(6, 2))[0], 2, 48, 64)
    shifts = dataset(np.ones(6), np.full(6, 0.5))
    with dask.config.set(scheduler=refuse):
        moved = apply_shifts(data, shifts)
        again = apply_shifts(data, shifts)
        kept = apply_shifts(data, shifts.chunk())
    assert moved.data.name == again.data.name == kept.data.name
    assert moved.data.name != apply_shifts(data, shifts + 1).data.name
    assert moved.data.numblocks == data.data.numblocks
    assert moved.data.name.startswith("calscipy-shift_frames-")
    (graph,) = dask.optimize(moved.data)
    assert len([key for key in graph.dask if key[0] == moved.data.name]) == 3
    assert len(graph.dask) <= 3 * 3  # a block of the movie, its shifts, the work
    copy = pickle.loads(pickle.dumps(moved))
    xr.testing.assert_equal(copy.compute(), apply_shifts(data.compute(), shifts))


def test_words_and_shifts_that_add_up():
    data = recording(random_shifts(3, 2))[0].assign_attrs(units="mV", history="earlier")
    before = data.copy(deep=True)
    first = apply_shifts(data, dataset([1.0, np.nan, np.nan], [0.0, 0.5, np.nan]), fill="edge")
    np.testing.assert_array_equal(first[1], data[1])
    np.testing.assert_array_equal(first.x_shift, [0.0, 0.0, 0.0])  # frame 1 was not moved
    damaged = data.assign_coords(valid=("frames", [True, False, True]))
    moved = apply_shifts(damaged, dataset([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(moved.y_shift, [1.0, 0.0, 3.0])
    assert first.attrs["units"] == "mV"
    assert first.attrs["long_name"] == "fluorescence, motion corrected"
    line = json.loads(first.attrs["history"].split("\n")[1].split(" ", 4)[4])
    assert line["shifts"]["y_shift"]["shape"] == [3]
    assert (line["fill"], line["interpolation"]) == ("edge", "cubic")
    assert first.y_shift.attrs["units"] == "1"
    second = apply_shifts(first, dataset([0.5, 2.0, np.nan], [1.0, 1.0, np.nan]))
    np.testing.assert_array_equal(second.y_shift, [1.5, 2.0, 0.0])
    np.testing.assert_array_equal(second.x_shift, [1.0, 1.0, 0.0])
    xr.testing.assert_identical(data, before)


def test_shifts_that_do_not_fit():
    data, _, _ = volume(4)
    good = dataset(np.zeros(4), np.zeros(4), time=data.time)
    apply_shifts(data, good)
    with pytest.raises(ArgumentError, match="of other times"):
        apply_shifts(data, good.assign_coords(time=good.time + 1e-9))
    with pytest.raises(ArgumentError, match=r"along 'frames'.*got {'frames': 3}"):
        apply_shifts(data, dataset(np.zeros(3), np.zeros(3)))
    with pytest.raises(ArgumentError, match="along 'frames'"):
        apply_shifts(data, dataset(np.zeros(2), np.zeros(2), ("plane",)))
    zeros = np.zeros((4, 2))
    others = dataset(zeros, zeros, ("frames", "plane"), plane=[1, 2])
    with pytest.raises(ArgumentError, match="have the plane 1, 2, the movie 0, 1"):
        apply_shifts(data, others)
    with pytest.raises(ArgumentError, match="finite shifts, or NaN for none, got x_shift=inf"):
        apply_shifts(data, dataset(np.zeros(4), np.full(4, np.inf)))
    for wrong in (good.drop_vars("x_shift"), good.y_shift, np.zeros((4, 2))):
        with pytest.raises(ArgumentError, match="needs a Dataset with 'y_shift' and 'x_shift'"):
            apply_shifts(data, wrong)
    with pytest.raises(ArgumentError, match=r"fill=\) must be one of"):
        apply_shifts(data, good, fill="zero")
    with pytest.raises(ArgumentError, match=r"interpolation=\) must be one of"):
        apply_shifts(data, good, interpolation="spline")


class OnGpu(np.ndarray):
    """An array that says that it lives on a GPU."""


OnGpu.__module__ = "cupy"


def test_a_movie_on_a_gpu_is_refused():
    data, still = recording(random_shifts(3, 2))
    there = data.copy(data=data.values.view(OnGpu))
    with pytest.raises(DeviceError, match=r"cupy\.as_numpy"):
        estimate_shifts(there, template=still)
    with pytest.raises(DeviceError, match=r"cupy\.as_numpy"):
        apply_shifts(there, dataset(np.zeros(3), np.zeros(3)))


@pytest.mark.parametrize("verb", ["apply_shifts", "estimate_shifts", "correct_scan_phase"])
def test_bands_that_do_not_fit_are_refused_by_the_name_of_the_verb(verb):
    data = cs.from_numpy(da.zeros((40, 64, 64), chunks=(40, 8, 64), dtype="u2"), frame_rate=30)
    zeros = xr.DataArray(np.zeros(40), dims="frames")
    arguments = {
        "apply_shifts": {"shifts": xr.Dataset({"y_shift": zeros, "x_shift": zeros})},
        "estimate_shifts": {"template": np.random.default_rng(0).random((64, 64))},
        "correct_scan_phase": {"shift": 0.5},
    }[verb]
    with (
        cs.set_options(memory_limit=data.nbytes - 1),
        pytest.raises(ChunkError, match=f"{verb} needs whole frames"),
    ):
        getattr(cs, verb)(data, **arguments)
