"""Sampling times: what the metadata say, nothing more, and traces brought to common times."""

import re
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import calscipy as cs
from calscipy import model
from calscipy.errors import ArgumentError, DimensionError, TimeAxisError
from calscipy.ops.neuropil import extract_neuropil
from calscipy.ops.time_offset import correct_time_offset
from calscipy.testing import write_recording

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "prairieview"
LINE, FRAME, LINES = 1.25e-3, 0.05, 32
SCANNED = {
    "scan_mode": "Galvo",
    "scan_line_period": LINE,
    "frame_period": FRAME,
    "rasters_per_frame": 1,
    "lines_per_frame": LINES,
    "interlaced_scan": False,
    "sequence_type": "TSeries Timed Element",
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def movie(**attrs):
    values = np.random.default_rng(0).integers(0, 99, (6, LINES, 8)).astype("u2")
    data = cs.from_numpy(values, frame_rate=1 / FRAME)
    return data.assign_attrs(SCANNED | attrs)


def rois():
    """Centres in the lines 3, 10.5 (by weight) and 31."""
    return model.rois_long_form(
        [1, 1, 2, 2, 3], [2, 4, 9, 11, 31], [0, 1, 2, 3, 7], [1.0, 1.0, 1.0, 3.0, 1.0]
    )


# -- the coordinate ------------------------------------------------------------------------


def test_the_line_of_the_centre():
    traces = cs.extract(movie(), rois())
    assert traces.time_offset.dims == ("neuron",)
    np.testing.assert_allclose(traces.time_offset, np.array([3, 10.5, 31]) * LINE, rtol=1e-14)
    assert traces.time_offset.attrs["units"] == "s"
    shared = cs.extract(movie(), rois(), overlap="exclude")
    xr.testing.assert_identical(shared.time_offset, traces.time_offset)


def test_a_crop_counts_recorded_lines():
    whole = cs.extract(movie(), rois())
    crop = cs.extract(movie().isel(y=slice(2, None), frames=slice(1, 4)), rois())
    np.testing.assert_allclose(crop.time_offset, whole.time_offset, rtol=1e-12)


@pytest.mark.parametrize("rasters", [2, 4])
def test_averaged_frames_show_the_mean_of_their_rasters(rasters):
    # One raster takes FRAME; line 3 is scanned `rasters` times, FRAME apart.
    data = movie(rasters_per_frame=rasters, frame_period=rasters * FRAME)
    expected = np.mean([raster * FRAME + 3 * LINE for raster in range(rasters)])
    assert cs.extract(data, rois()).time_offset[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "attrs",
    [
        *({name: None} for name in SCANNED if name not in ("interlaced_scan", "sequence_type")),
        {"scan_mode": "Spiral"},
        {"scan_mode": "AOD"},
        {"interlaced_scan": True},
        {"sequence_type": "Linescan"},
        {"scan_line_period": 0.0},
        {"scan_line_period": 3 * LINE},  # lines that take longer than the frame
        {"rasters_per_frame": 2},  # two rasters that take longer than the frame
        {"rasters_per_frame": 0},
    ],
    ids=str,
)
def test_nothing_is_invented(attrs):
    data = movie(**attrs)
    data.attrs = {name: value for name, value in data.attrs.items() if value is not None}
    assert "time_offset" not in cs.extract(data, rois()).coords
    assert "time_offset" not in cs.extract(movie().drop_vars("y"), rois()).coords


def volume(plane_time):
    frames, planes = plane_time.shape
    values = np.random.default_rng(0).integers(0, 99, (frames, planes, LINES, 8)).astype("u2")
    data = cs.from_numpy(values, frame_rate=5, dims=("frames", "plane", "y", "x"))
    return data.assign_coords(
        time=("frames", np.nanmin(plane_time, axis=1)),
        plane_time=(("frames", "plane"), plane_time),
    ).assign_attrs(SCANNED)


def in_planes(*planes):
    return rois()[[0, 2, 4]].assign_coords(plane=("pixel", list(planes)))


def test_the_delay_of_the_plane():
    start = np.arange(5) * 0.2
    data = volume(start[:, None] + np.array([0.0, FRAME, 2 * FRAME]))
    lines = np.array([2, 9, 31]) * LINE
    traces = cs.extract(data, in_planes(2, 0, 1))
    np.testing.assert_allclose(traces.time_offset, lines + np.array([2, 0, 1]) * FRAME)
    part = cs.extract(data.isel(plane=[2, 0]), in_planes(2, 0, 0))
    np.testing.assert_allclose(part.time_offset, lines + np.array([2, 0, 0]) * FRAME)
    one = cs.extract(data.sel(plane=1), in_planes(1, 1, 1))
    np.testing.assert_allclose(one.time_offset, lines + FRAME)
    jitter = np.random.default_rng(0).uniform(-1e-3, 1e-3, (5, 3)) * np.array([0, 1, 1])
    shaky = volume(data.plane_time.values + jitter)
    delay = np.median(FRAME + jitter[:, 1])
    assert cs.extract(shaky, in_planes(1, 1, 1)).time_offset[0] == pytest.approx(lines[0] + delay)
    unknown = data.drop_vars("plane_time")
    assert "time_offset" not in cs.extract(unknown, in_planes(0, 1, 2)).coords
    assert "time_offset" not in cs.extract(unknown.sel(plane=1), in_planes(1, 1, 1)).coords


def test_planes_scanned_up_and_down_have_an_offset_for_every_sample():
    start = np.arange(6) * 0.2
    up = np.array([0.0, FRAME, 2 * FRAME])
    times = start[:, None] + np.where(np.arange(6)[:, None] % 2, up[::-1], up)
    times[4, 2] = np.nan  # never scanned
    traces = cs.extract(volume(times), in_planes(2, 1, 0))
    assert traces.time_offset.dims == ("neuron", "time")
    lines = np.array([2, 9, 31]) * LINE
    expected = lines[:, None] + (times - np.nanmin(times, axis=1)[:, None]).T[[2, 1, 0]]
    np.testing.assert_allclose(traces.time_offset, expected)
    # A straight line in true time comes back, but beside the sample that is not there.
    taken = traces.time.values + np.nan_to_num(expected)
    line = traces.copy(data=np.where(np.isnan(expected), np.nan, 2 * taken))
    found = correct_time_offset(line)
    before = traces.time.values < taken[:, :1]
    bad = before | (np.isnan(expected) | np.roll(np.isnan(expected), 1, axis=1))
    np.testing.assert_allclose(
        found, np.where(bad, np.nan, np.broadcast_to(2 * traces.time.values, bad.shape)), rtol=1e-6
    )
    assert 3 < int(found.notnull().sum()) < found.size


@pytest.mark.parametrize("planes", [1, 3])
def test_a_recording(planes, tmp_path):
    truth = write_recording(
        tmp_path / "mouse", frames=8, shape=(40, 24), planes=planes, neurons=4, frame_rate=20
    )
    session = cs.ImagingSession.open(tmp_path / "mouse")
    assert session.movie.attrs["scan_line_period"] == pytest.approx(0.05 / 40)
    traces = cs.extract(session.movie, truth.labels)
    for neuron in traces.neuron.values:
        *plane, y, _ = (truth.labels.values == neuron).nonzero()
        # Lines of 0.05 s / 40 and, in a volume, planes of 0.05 s.
        expected = y.mean() * 0.05 / 40 + (plane[0][0] * 0.05 if plane else 0)
        assert traces.time_offset.sel(neuron=neuron) == pytest.approx(expected, abs=1e-9)
    around = extract_neuropil(session.movie, truth.labels, min_pixels=30)
    xr.testing.assert_identical(around.time_offset, traces.time_offset)
    session.cs.extract(truth.labels).save(tmp_path / "s.zarr", groups=("traces",), progress=False)
    saved = cs.ImagingSession.open(tmp_path / "s.zarr").traces
    np.testing.assert_array_equal(saved.time_offset, traces.time_offset)
    found = correct_time_offset(saved)
    assert found.isnull().sum(dim="time").max() <= 1
    np.testing.assert_array_equal(found, correct_time_offset(traces))


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs ../shared/data/prairieview")
@pytest.mark.filterwarnings("ignore::calscipy.errors.CalscipyWarning")
def test_real_metadata():
    name = "TSeries-10232020-1129-1771"
    data = cs.ImagingSession.open(SAMPLES / "scanagator" / name / f"{name}.xml").movie
    image = np.zeros((512, 512), int)
    image[99:102, 7] = 1
    traces = cs.extract(data, image)
    assert traces.time_offset.item() == pytest.approx(100 * 0.00127681849118137, rel=1e-12)


@pytest.mark.parametrize("planes", [1, 3])
def test_bins_of_frames_are_sampled_as_late_as_their_frames(planes):
    scan = {"rasters_per_frame": 3, "frame_period": 3 * FRAME}
    data = cs.from_numpy(np.ones((40, LINES, 8), "u2"), frame_rate=1 / (3 * FRAME))
    places = rois()
    if planes > 1:
        start = data.time.values[:, None] * planes
        data = volume(start + np.arange(planes) * 3 * FRAME)
        places = in_planes(2, 1, 0)
    data = data.assign_attrs(SCANNED | scan)
    before = cs.extract(data, places).time_offset
    assert before.min() > FRAME
    binned = cs.bin(data, frames=10)
    np.testing.assert_allclose(cs.extract(binned, places).time_offset, before, rtol=1e-9)
    valid = np.arange(40) % 10 != 1
    if planes > 1:
        data["plane_time"] = data.plane_time.where(xr.DataArray(valid, dims="frames"))
    damaged = cs.bin(data.assign_coords(valid=("frames", valid)), frames=10)
    np.testing.assert_allclose(cs.extract(damaged, places).time_offset, before, rtol=1e-9)


# -- resampling ----------------------------------------------------------------------------


def traces(samples=40, seed=0, dtype="f4"):
    values = np.random.default_rng(seed).normal(100, 10, (4, samples)).astype(dtype)
    data = cs.from_numpy(values, frame_rate=10)
    return data.assign_coords(time_offset=("neuron", [0.0, 0.02, 0.05, 0.0999], {"units": "s"}))


def lazy(data, **chunks):
    sizes = tuple(chunks.get(dim, size) for dim, size in data.sizes.items())
    return data.copy(data=da.from_array(data.values, chunks=sizes))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 40), st.booleans())
def test_values_are_those_of_a_spline_of_first_order(seed, neurons, samples, chunked):
    data = traces(seed=seed)
    given_data = lazy(data, neuron=neurons, time=samples) if chunked else data
    found = correct_time_offset(given_data)
    assert found.dims == data.dims
    assert found.dtype == found.compute().dtype == np.float32
    for k in range(4):
        taken = data.time.values + data.time_offset.values[k]
        expected = np.interp(data.time.values, taken, data.values[k].astype("f8"))
        expected[data.time.values < taken[0]] = np.nan
        np.testing.assert_allclose(found[k], expected, rtol=1e-6)
    np.testing.assert_array_equal(found[0], data[0])  # no offset, no change


def test_a_straight_line_in_true_time_comes_back():
    data = traces(dtype="f8")
    data = data.copy(data=5 * (data.time + data.time_offset).transpose(*data.dims).values)
    found = correct_time_offset(data)
    assert found.dtype == np.float64
    expected = np.broadcast_to(5 * data.time.values, data.shape)[:, 1:]
    np.testing.assert_allclose(found[:, 1:], expected, rtol=1e-12)
    assert found[1:, 0].isnull().all()


def test_epochs_are_apart_and_nan_is_not_bridged():
    data = traces(12).assign_coords(epoch=("time", [1] * 5 + [2] * 7))
    values = data.values.copy()
    values[:, 8] = np.nan
    data = data.copy(data=values)
    found = correct_time_offset(data)
    assert np.flatnonzero(np.isnan(found[0])).tolist() == [8]
    for k in (1, 2, 3):
        assert np.flatnonzero(np.isnan(found[k])).tolist() == [0, 5, 8, 9]
    for part in (slice(0, 5), slice(5, 12)):
        alone = correct_time_offset(data.isel(time=part).drop_vars("epoch"))
        np.testing.assert_array_equal(found.isel(time=part), alone)


def test_any_order_more_dimensions_and_one_neuron():
    data = xr.concat(
        [traces(seed=s) for s in (1, 2)], dim="channel", coords="minimal", compat="override"
    )
    expected = correct_time_offset(data)
    for c in (0, 1):
        np.testing.assert_array_equal(expected[c], correct_time_offset(traces(seed=c + 1)))
    for order in (("time", "neuron", "channel"), ("neuron", "time", "channel")):
        for turned in (data.transpose(*order), lazy(data.transpose(*order), neuron=3, time=7)):
            found = correct_time_offset(turned)
            assert found.dims == order
            np.testing.assert_array_equal(found.transpose(*data.dims), expected)
    one = data.isel(channel=1, neuron=2)
    np.testing.assert_array_equal(correct_time_offset(one), expected[1, 2])


def test_nothing_is_computed_while_building_and_the_input_is_untouched():
    def refuse(*args, **kwargs):
        raise AssertionError("building the graph computed something")

    data = traces()
    before = data.copy(deep=True)
    data.values.setflags(write=False)
    with dask.config.set(scheduler=refuse):
        built = correct_time_offset(lazy(data, neuron=2, time=7))
        with pytest.raises(AssertionError):
            built.compute()
    assert built.chunks is not None
    assert built.data.name == correct_time_offset(lazy(data, neuron=2, time=7)).data.name
    xr.testing.assert_identical(data, before)
    found = correct_time_offset(data)
    np.testing.assert_array_equal(built, found)
    assert "time_offset" not in found.coords
    assert found.coords.keys() | {"time_offset"} == data.coords.keys()
    assert found.attrs["units"] == data.attrs["units"]
    assert found.attrs["long_name"] == "fluorescence, at common times"
    assert 'correct_time_offset {"method": "linear"}' in found.attrs["history"]
    assert found.name == data.name


def test_errors():
    data = traces()
    with pytest.raises(ArgumentError, match=r"needs the coordinate 'time_offset'.*assign_coords"):
        correct_time_offset(data.drop_vars("time_offset"))
    done = correct_time_offset(data)
    with pytest.raises(ArgumentError, match="corrected before"):
        correct_time_offset(done.assign_coords(time_offset=data.time_offset))
    with pytest.raises(ArgumentError, match=r"method must be one of \('linear',\), got 'cubic'"):
        correct_time_offset(data, method="cubic")
    with pytest.raises(DimensionError, match="correct_time_offset needs the dimensions"):
        correct_time_offset(movie())
    with pytest.raises(TimeAxisError, match="correct_time_offset needs a 'time'"):
        correct_time_offset(data.drop_vars("time"))
    with pytest.raises(TimeAxisError, match=r"a step of 0\.5 s stands"):
        correct_time_offset(data.isel(time=[0, 1, 2, 7, 8]))
    unknown = data.assign_coords(time_offset=("neuron", [0.0, np.nan, 0.0, 0.0]))
    with pytest.raises(ArgumentError, match=r"finite offsets.*numpy\.isfinite"):
        correct_time_offset(unknown)
    known = unknown.sel(neuron=np.isfinite(unknown.time_offset))
    assert correct_time_offset(known).sizes["neuron"] == 3
    wild = xr.DataArray(np.where(np.arange(40) % 2, 0.0, 0.2), dims="time")
    with pytest.raises(TimeAxisError, match="go back within an epoch"):
        correct_time_offset(data.assign_coords(time_offset=wild))
    with pytest.raises(ArgumentError, match="needs numbers"):
        correct_time_offset(data > 100)
    for wrong in (None, 1, np.array(["linear", "cubic"])):
        with pytest.raises(ArgumentError, match="method must be one of"):
            correct_time_offset(data, method=wrong)


def test_offsets_that_are_no_seconds():
    data = traces()
    in_ms = data.assign_coords(time_offset=1000 * data.time_offset)
    with pytest.raises(ArgumentError, match=r"in s, found one of 99\.9 s.*epoch of 4 s.* by 1000"):
        correct_time_offset(in_ms)
    with pytest.raises(ArgumentError, match=r"found one of 99\.9 s"):
        correct_time_offset(in_ms.assign_coords(time_offset=in_ms.time_offset + 0 * data.time))
    with pytest.raises(ArgumentError, match=r"found one of 5 s"):
        correct_time_offset(data.assign_coords(time_offset=("neuron", [0.0, -5.0, 0.0, 0.0])))
    epochs = data.assign_coords(epoch=("time", [1] * 10 + [2] * 29 + [3]))
    late = epochs.assign_coords(time_offset=("neuron", [0.0, 2.8, 0.0, 0.0]))
    assert int(correct_time_offset(late)[1].notnull().sum()) == 1
    with pytest.raises(ArgumentError, match=r"found one of 3 s.*epoch of 2\.9 s"):
        correct_time_offset(late.assign_coords(time_offset=("neuron", [0.0, 3.0, 0.0, 0.0])))
    assert correct_time_offset(data.isel(time=[0])).shape == (4, 1)
    for wrong in (list("abcd"), np.array([1, 2, 3, 4], "m8[ms]"), [True] * 4):
        with pytest.raises(ArgumentError, match=r"as numbers of seconds.*assign_coords"):
            correct_time_offset(data.assign_coords(time_offset=("neuron", wrong)))


@pytest.mark.parametrize(
    ("factors", "expected"),
    [((1.0, 1.001, 0.999), 1.0), ((2.0,), 2.0), ((1.0, 1.5, 1.0), None)],
    ids=["measured anew", "another in all frames", "changing"],
)
def test_periods_that_frames_give_themselves(factors, expected, tmp_path):
    write_recording(tmp_path / "mouse", frames=6, shape=(40, 24), neurons=0, frame_rate=20)
    (xml,) = (tmp_path / "mouse").glob("*.xml")
    state = iter(np.tile(factors, 6))

    def shard(match):
        factor = float(next(state))
        values = {"framePeriod": 0.05 * factor, "scanLinePeriod": 0.05 / 40 * factor}
        entries = (f'<PVStateValue key="{k}" value="{v!r}" />' for k, v in values.items())
        return f"<PVStateShard>{''.join(entries)}</PVStateShard>{match[1]}"

    text, count = re.subn(r"<PVStateShard />(\s*</Frame>)", shard, xml.read_text("utf-8"))
    assert count == 6
    xml.write_text(text, "utf-8")
    data = cs.ImagingSession.open(tmp_path / "mouse").movie
    traces = cs.extract(data, model.rois_long_form([1], [16], [3], [1.0]))
    if expected is None:
        assert not {"frame_period", "scan_line_period"} & set(data.attrs)
        assert "time_offset" not in traces.coords
    else:
        assert data.attrs["frame_period"] == pytest.approx(0.05 * expected, rel=1e-12)
        line = 0.05 / 40 * expected
        assert traces.time_offset.item() == pytest.approx(16 * line, rel=1e-12)
    assert data.attrs["sequence_type"] == "TSeries Timed Element"
    assert data.attrs["interlaced_scan"] is False
    assert data.attrs["lines_per_frame"] == 40
