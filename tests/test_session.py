"""Sessions: opening, assigning, selecting, chaining, showing."""

import inspect
import pickle

import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.errors import (
    ArgumentError,
    CalscipyWarning,
    DamagedRecordingWarning,
    RecordingError,
)
from calscipy.session_methods import ON_MOVIES, VERBS
from calscipy.testing import write_recording


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "TSeries-<b>"
    truth = write_recording(
        folder, frames=90, shape=(32, 32), channels=("Ch1", "Ch2"), neurons=3, name="m"
    )
    return folder, truth


@pytest.fixture
def session(recording):
    return cs.ImagingSession.open(recording[0])


@pytest.fixture
def volume(tmp_path):
    truth = write_recording(
        tmp_path / "v", frames=12, shape=(32, 32), planes=3, neurons=6, frame_rate=60, decay=2.0
    )
    return cs.ImagingSession.open(tmp_path / "v"), truth


def test_assign_puts_variables_where_they_belong(session, recording):
    traces = session.movie.isel(channel=1).cs.extract(recording[1].labels)
    assigned = session.assign(
        traces=traces,
        dfof=lambda s: s.traces.cs.dfof(method="mean"),
        events=lambda s: s.dfof.cs.events(method="matched"),
        rois=cs.rois_from_labels(recording[1].labels),
    )
    assert set(assigned.tree.children) == {"movie", "traces", "events", "rois"}
    assert set(assigned.tree["traces"].data_vars) == {"traces", "dfof"}
    assert assigned.events.dtype == bool
    assert assigned.rois.dims == ("pixel",)
    assert set(session.tree.children) == {"movie"}
    xr.testing.assert_identical(assigned.traces.compute(), traces.compute())


def test_assign_refuses_what_does_not_fit(session):
    with pytest.raises(ArgumentError, match="fits no group"):
        session.assign(image=session.movie.isel(channel=0).cs.project())
    with pytest.raises(ArgumentError, match="must be a DataArray, got ndarray"):
        session.assign(traces=np.zeros((2, 3)))
    traces = cs.from_numpy(np.ones((2, 30)), frame_rate=30)
    with pytest.raises(ArgumentError, match="does not share the coordinates"):
        session.assign(traces=traces).assign(dfof=traces.isel(time=slice(10)))
    with pytest.raises(AttributeError, match="no 'traces'; it has movie"):
        session.traces  # noqa: B018


def test_new_traces_start_the_group_anew(session):
    long = cs.from_numpy(np.ones((2, 30)), frame_rate=30)
    short = cs.from_numpy(np.ones((2, 10)), frame_rate=30)
    chained = session.assign(traces=long, dfof=long).assign(traces=short)
    assert set(chained.tree["traces"].data_vars) == {"traces"}
    assert chained.traces.sizes["time"] == 10


def test_sel_crops_every_group(session, recording):
    chained = session.cs.extract(recording[1].labels).cs.dfof(method="mean")
    part = chained.sel(time=slice(0.99, 2.01), channel="Ch2", neuron=[1, 3])
    assert part.movie.sizes == {"frames": 31, "y": 32, "x": 32}
    assert part.movie.time.values[[0, -1]] == pytest.approx([1.0, 2.0])
    assert part.traces.sizes == {"neuron": 2, "time": 31}
    assert set(part.rois.neuron.values) == {1, 3}
    np.testing.assert_array_equal(
        part.traces.values, chained.traces.sel(neuron=[1, 3], channel="Ch2").values[:, 30:61]
    )
    crop = session.sel(y=slice(4, 9), x=slice(10, 20)).movie
    assert crop.sizes["y"] == 6
    assert crop.sizes["x"] == 11
    with pytest.raises(ArgumentError, match="has the coordinate 'trial'"):
        session.sel(trial=1)
    with pytest.raises(ArgumentError, match="selects nothing"):
        session.sel(time=slice(500, 600))


@pytest.fixture
def cells(session, recording):
    """A session with neurons 1, 2, 3, of which two are cells, ROIs, events and neuropil masks."""
    found = session.sel(channel="Ch2").cs.extract(recording[1].labels).cs.dfof(method="mean")
    found = found.cs.events()
    flags = found.traces.assign_coords(iscell=("neuron", [True, False, True]))
    found = found.assign(
        traces=flags, events=found.events, dfof=found.dfof.assign_coords(flags.coords)
    )
    rois = found.tree["rois"].to_dataset()
    rois["neuropil_neuron"] = ("neuropil_pixel", [1, 1, 2, 2, 2, 3])
    tree = found.tree.copy()
    tree["rois"] = xr.DataTree(rois)
    return cs.ImagingSession(tree)


@pytest.mark.parametrize(
    "wanted",
    [
        lambda s: {"neuron": s.traces.iscell},
        lambda s: {"neuron": s.traces.iscell.values},
        lambda s: {"neuron": [True, False, True]},
        lambda s: {"neuron": s.traces.neuron[s.traces.iscell]},
        lambda s: {"neuron": [1, 3]},
        lambda s: {"iscell": True},
    ],
    ids=["labelled mask", "mask", "list", "labelled labels", "labels", "by its coordinate"],
)
def test_sel_keeps_the_same_neurons_in_every_group(cells, wanted):
    part = cells.sel(**wanted(cells))
    for name in ("traces", "dfof", "events"):
        assert getattr(part, name).neuron.values.tolist() == [1, 3]
    assert np.unique(part.rois.neuron).tolist() == [1, 3]
    assert part.rois.size == np.isin(cells.rois.neuron, [1, 3]).sum()
    assert part.tree["rois"].neuropil_neuron.values.tolist() == [1, 1, 3]


def test_every_variable_is_an_attribute(cells):
    session = cells.assign(neuropil=cells.traces * 0.5)
    np.testing.assert_array_equal(session.neuropil, cells.traces * 0.5)
    assert {"neuropil", "dfof", "movie"} <= set(dir(session))
    assert not hasattr(session, "spikes")
    with pytest.raises(AttributeError, match="no 'spikes'; it has movie"):
        session.spikes  # noqa: B018
    assert pickle.loads(pickle.dumps(session)).neuropil.equals(session.neuropil)
    tree = session.tree.copy()
    tree["images"] = xr.DataTree(xr.Dataset({"neuropil": ("y", [1.0])}))
    with pytest.raises(AttributeError, match=r"several groups of this session, .*session\.tree"):
        cs.ImagingSession(tree).neuropil  # noqa: B018


def test_what_is_missing_is_named_with_how_it_is_made(session):
    with pytest.raises(
        AttributeError, match=r"no 'traces'; .* first: session\.cs\.extract\(rois\)"
    ):
        session.cs.dfof()
    with pytest.raises(AttributeError, match=r"first: session\.cs\.dfof\(\)"):
        session.dfof  # noqa: B018


def test_traces_of_the_same_frames_at_another_rate_are_noticed(session):
    frames = session.movie.sizes["frames"]
    traces = cs.from_numpy(np.ones((2, frames)), frame_rate=15.49)
    with pytest.warns(CalscipyWarning, match=r"one sample for each frame .* to 5\.7.* s and"):
        session.assign(traces=traces)
    session.assign(traces=traces.assign_coords(time=session.movie.time.values))
    session.assign(traces=cs.from_numpy(np.ones((2, frames - 1)), frame_rate=15.49))


def test_a_mask_that_fits_no_group_is_refused(cells):
    with pytest.raises(ArgumentError, match=r"one boolean for each label of one of .*'traces': 3"):
        cells.sel(neuron=[True, False])


def test_sel_of_a_plane_takes_its_neurons(volume):
    session, truth = volume
    chained = session.cs.extract(truth.labels)
    part = chained.sel(plane=1)
    assert part.movie.dims == ("frames", "y", "x")
    planes = np.array(
        [np.flatnonzero((truth.labels == k + 1).any(("y", "x")))[0] for k in range(6)]
    )
    assert part.traces.neuron.values.tolist() == (np.flatnonzero(planes == 1) + 1).tolist()
    again = part.cs.extract(part.rois).traces
    np.testing.assert_array_equal(again.values, part.traces.values)


def test_verbs_go_where_the_table_says(session, recording):
    chained = (
        session.sel(channel="Ch2")
        .cs.gaussian_filter(sigma=1)
        .cs.extract(recording[1].labels)
        .cs.baseline(method="mean")
        .cs.detrend(order=1)
        .cs.dfof(method="mean")
        .cs.events(method="matched")
    )
    assert chained.movie.dtype == np.float32
    assert set(chained.tree["traces"].data_vars) == {"traces", "baseline", "detrended", "dfof"}
    raw = session.movie.isel(channel=1).cs.gaussian_filter(sigma=1).cs.extract(recording[1].labels)
    np.testing.assert_array_equal(chained.traces.values, raw.values)
    expected = raw.cs.detrend(order=1).cs.dfof(method="mean")
    np.testing.assert_array_equal(chained.dfof.values, expected.values)
    np.testing.assert_array_equal(
        chained.events.values, expected.cs.events(method="matched").values
    )


def test_verbs_on_movies_and_traces(session, recording):
    one = session.sel(channel="Ch2")
    pixelwise = one.cs.dfof(method="mean", on="movie", floor=0)
    assert "dfof" in pixelwise.tree["movie"].data_vars
    with pytest.raises(AttributeError, match="no 'traces'"):
        one.cs.dfof(method="mean")
    with pytest.raises(ArgumentError, match="on must be 'traces' or 'movie'"):
        one.cs.dfof(method="mean", on="images")


def test_neuropil_stands_beside_the_traces(session, recording):
    rois = recording[1].labels
    one = session.sel(channel="Ch2").cs.subtract_background(10.0)
    done = one.cs.extract(rois, overlap="exclude").cs.extract_neuropil(rois, min_pixels=20)
    assert set(done.tree["traces"].data_vars) == {"traces", "neuropil"}
    assert done.tree["traces"].attrs["latest"] == "traces"
    expected = one.movie.cs.extract_neuropil(rois, min_pixels=20)
    np.testing.assert_array_equal(done.tree["traces"]["neuropil"].values, expected.values)
    assert done.rois.sizes["pixel"] == (rois > 0).sum()


def shifts_of(movie):
    ones = xr.DataArray(np.ones(movie.sizes["frames"]), dims="frames")
    return xr.Dataset({"y_shift": ones, "x_shift": -2 * ones})


def test_a_corrected_movie_takes_the_place_of_the_other_and_survives_a_store(session, tmp_path):
    one = session.sel(channel="Ch2")
    moved = one.cs.correct_scan_phase(shift=0.5).cs.apply_shifts(shifts_of(one.movie))
    assert {"y_shift", "x_shift", "scan_phase"} <= set(moved.movie.coords)
    moved.save(tmp_path / "moved.zarr")
    back = cs.ImagingSession.open(tmp_path / "moved.zarr")
    xr.testing.assert_identical(back.movie.load(), moved.movie.load())


def test_what_was_corrected_cannot_stand_beside_what_was_not(session, recording):
    one = session.sel(channel="Ch2").cs.dfof(method="mean", on="movie", floor=0)
    with pytest.raises(ArgumentError, match=r"only one of them has the coordinate 'y_shift'"):
        one.cs.apply_shifts(shifts_of(one.movie))
    traced = session.sel(channel="Ch2").cs.extract(recording[1].labels)
    assert "time_offset" in traced.traces.coords
    with pytest.raises(ArgumentError, match=r"'time_offset'.*session.assign\(traces=\.\.\.\)"):
        traced.assign(aligned=lambda s: s.traces.cs.correct_time_offset())
    whole = traced.assign(traces=lambda s: s.traces.cs.correct_time_offset())
    assert "time_offset" not in whole.cs.dfof(method="mean").dfof.coords


def test_what_does_not_fit_a_session_is_absent(session):
    assert "project" not in dir(session.cs)
    with pytest.raises(AttributeError, match=r"session\.movie\.cs\.project"):
        session.cs.project()
    with pytest.raises(AttributeError, match="it offers gaussian_filter"):
        session.cs.nonsense  # noqa: B018


@pytest.mark.parametrize("name", VERBS)
def test_session_verbs_carry_signature_and_docstring(session, name):
    ours = inspect.signature(getattr(type(session.cs), name)).parameters
    theirs = list(inspect.signature(VERBS[name].operation).parameters)[1:]
    extra = ["on"] if name in ON_MOVIES else []
    assert list(ours) == ["self", *theirs, *extra]
    assert getattr(session.cs, name).__doc__ == VERBS[name].operation.__doc__


def test_repr_says_what_a_person_asks_first(session):
    text = repr(session)
    for wanted in ("frames 90", "30 frames/s for 3 s", "Ch1, Ch2", "lazy (dask)", "um", "yes"):
        assert wanted in text
    page = session._repr_html_()
    assert "TSeries-&lt;b&gt;" in page
    assert "TSeries-<b>" not in page
    assert repr(cs.ImagingSession(xr.DataTree())) == "<ImagingSession> empty"


def test_repr_tells_of_damage(tmp_path):
    write_recording(tmp_path / "r", frames=5, missing=(2,))
    with pytest.warns(DamagedRecordingWarning):
        session = cs.ImagingSession.open(tmp_path / "r")
    assert "no: 1 of 5 images" in repr(session)


def test_frame_rate_of_frames_and_volumes(session, volume):
    assert session.frame_rate == pytest.approx(30)
    assert volume[0].frame_rate == pytest.approx(60 / 4)


def test_metadata_is_typed(session):
    metadata = session.metadata
    assert metadata.version == "5.6.64.400"
    assert metadata["linesPerFrame"] == 32
    assert metadata.microns_per_pixel["x"] == 1.0
    assert isinstance(metadata.laser_power, dict)
    assert metadata.raw("linesPerFrame") == "32"
    assert "framePeriod" in metadata
    with pytest.raises(KeyError, match="no state key 'nonsense'"):
        metadata["nonsense"]


def test_chunks_of_open(recording):
    folder = recording[0]
    by_time = cs.ImagingSession.open(folder, chunks="time").movie
    assert by_time.chunks[0] == (90,)
    assert cs.ImagingSession.open(folder, chunks=None).movie.chunks is None
    explicit = cs.ImagingSession.open(folder, chunks={"frames": 40}).movie
    assert explicit.chunks[0] == (40, 40, 10)
    whole = cs.ImagingSession.open(folder).movie
    np.testing.assert_array_equal(whole.values, by_time.values)
    with pytest.raises(ArgumentError, match="chunks must be"):
        cs.ImagingSession.open(folder, chunks="neurons")
    assert cs.ImagingSession.open(folder).movie.chunks[:2] == ((64, 26), (1, 1))
    with cs.set_options(memory_limit=8 * 10 * 32 * 32 * 2):
        assert cs.ImagingSession.open(folder).movie.chunks[0] == (10,) * 9


def test_row_bands_that_do_not_fit_are_refused(recording):
    with (
        cs.set_options(memory_limit=10_000),
        pytest.raises(cs.errors.ChunkError, match=r"to_zarr.*memory_limit"),
    ):
        cs.ImagingSession.open(recording[0], chunks="time")


def test_open_explains_what_it_cannot_open(tmp_path, recording):
    with pytest.raises(RecordingError, match="no such folder or file"):
        cs.ImagingSession.open(tmp_path / "nowhere")
    (tmp_path / "notes.docx").write_text("x")
    with pytest.raises(RecordingError, match="does not know this file"):
        cs.ImagingSession.open(tmp_path / "notes.docx")
    with pytest.raises(ArgumentError, match=r"takes the options .*cycles.* got \['frame_rate'\]"):
        cs.ImagingSession.open(recording[0], frame_rate=30)


def test_a_session_is_frozen(session):
    with pytest.raises(AttributeError):
        session.tree = xr.DataTree()


def test_a_new_extraction_ends_what_the_old_one_made(session, recording):
    labels = recording[1].labels.values
    moved = np.roll(labels, 3, axis=(0, 1))
    old = session.sel(channel="Ch2").cs.extract(labels).cs.dfof(method="mean")
    old = old.cs.events(method="matched")
    new = old.cs.extract(moved)
    assert set(new.tree["traces"].data_vars) == {"traces"}
    assert "events" not in new.tree.children
    direct = session.movie.sel(channel="Ch2").cs.extract(moved)
    xr.testing.assert_equal(new.traces.compute(), direct.compute())
    xr.testing.assert_equal(new.rois, cs.rois_from_labels(moved))
    assert old.events.dtype == bool


def test_an_assigned_movie_brings_its_own_coordinates(session):
    movie = session.movie
    slower = session.assign(movie=movie.assign_coords(time=movie.time * 2))
    assert slower.frame_rate == pytest.approx(15)
    later = session.assign(movie=movie[:20]).assign(movie=movie[20:40]).movie
    assert float(later.time[0]) == pytest.approx(20 / 30)


def test_variables_beside_traces_must_share_their_coordinates(session, recording):
    traces = session.movie.isel(channel=1).cs.extract(recording[1].labels)
    other = traces.cs.dfof(method="mean").assign_coords(x=traces.x + 1)
    with pytest.raises(ArgumentError, match=r"does not share the coordinates \['x'\]"):
        session.assign(traces=traces).assign(dfof=other)
    both = session.assign(dfof=traces.cs.dfof(method="mean"), traces=traces)
    assert set(both.tree["traces"].data_vars) == {"traces", "dfof"}


def test_assign_refuses_the_name_of_another_group(session, recording):
    traces = session.movie.isel(channel=1).cs.extract(recording[1].labels)
    with pytest.raises(ArgumentError, match="'movie' is the name of a group"):
        session.assign(movie=traces)
    with pytest.raises(ArgumentError, match="'traces' is the name of a group"):
        session.assign(traces=session.movie)


@pytest.mark.parametrize("size", [0.5, 1.0, 2.0])
def test_sel_in_space_keeps_whole_rois_of_the_neurons_left(tmp_path, size):
    truth = write_recording(
        tmp_path / "r", frames=5, shape=(32, 32), neurons=5, burst_rate=0, microns_per_pixel=size
    )
    whole = cs.ImagingSession.open(tmp_path / "r").cs.extract(truth.labels)
    inside = np.unique(truth.labels[:16])[1:]
    inside = [k for k in inside if not (truth.labels[16:] == k).any()]
    assert 0 < len(inside) < 5
    part = whole.sel(y=slice(0, 15.5 * size), x=slice(0, 40 * size))
    assert part.movie.sizes["y"] == 16
    kept = part.sel(neuron=inside)
    again = kept.cs.extract(kept.rois).traces
    np.testing.assert_array_equal(again.values, whole.traces.sel(neuron=inside).values)
    rois_alone = cs.ImagingSession.open(tmp_path / "r").assign(rois=whole.rois)
    left = rois_alone.sel(y=slice(0, 15.5 * size)).rois
    assert sorted(set(left.neuron.values)) == sorted(inside)


def test_filters_of_a_movies_dfof_leave_the_movie_alone(session):
    one = session.sel(channel="Ch2").cs.dfof(method="mean", on="movie", floor=0)
    filtered = one.cs.gaussian_filter(sigma={"y": 1})
    assert filtered.movie.attrs["units"] == "count"
    assert filtered.tree["movie/dfof"].attrs["history"].count("gaussian_filter") == 1


def test_dfof_of_dfof_is_refused(session, recording):
    once = session.sel(channel="Ch2").cs.extract(recording[1].labels).cs.dfof(method="mean")
    with pytest.raises(ArgumentError, match="ΔF/F already"):
        once.cs.dfof(method="mean")


def test_a_baseline_is_not_taken_for_the_traces(session, recording):
    """Also in a tree that was made elsewhere and does not say which variable is the latest."""
    raw = session.sel(channel="Ch2").movie.cs.extract(recording[1].labels)
    tree = xr.DataTree.from_dict({"traces": xr.Dataset({"traces": raw})})
    done = cs.ImagingSession(tree).cs.baseline(method="mean").cs.dfof(method="mean")
    np.testing.assert_array_equal(done.dfof.values, raw.cs.dfof(method="mean").values)


def test_neuropil_and_baselines_are_not_what_the_next_verb_works_on():
    traces = cs.from_numpy(np.full((2, 90), 100.0), frame_rate=30)
    start = cs.ImagingSession(xr.DataTree())
    given = start.assign(neuropil=traces * 0.5, traces=traces, baseline=traces * 0.9)
    assert given.tree["traces"].attrs["latest"] == "traces"
    done = given.cs.subtract_neuropil(coefficient=0.7)
    expected = traces.cs.subtract_neuropil(traces * 0.5, coefficient=0.7)
    np.testing.assert_array_equal(done.tree["traces"]["without_neuropil"].values, expected.values)
    assert given.assign(spikes=traces).tree["traces"].attrs["latest"] == "spikes"


def test_a_cycle_that_one_group_lacks_and_stimuli_of_a_time():
    traces = cs.from_numpy(np.ones((2, 6)), frame_rate=1)
    traces = traces.assign_coords(cycle=("time", [1, 1, 2, 2, 3, 3]))
    voltage = xr.Dataset(
        {"voltage": (("signal", "time"), np.ones((1, 4)))},
        {"time": np.arange(4.0), "cycle": ("time", [1, 1, 2, 2]), "signal": ["trigger"]},
    )
    stimulus = xr.Dataset({"onset": ("stimulus", [0.5, 2.5, np.nan])})
    groups = {"traces": traces.to_dataset(name="traces"), "voltage": voltage, "stimulus": stimulus}
    session = cs.ImagingSession(xr.DataTree.from_dict(groups))
    third = session.sel(cycle=3)
    assert third.traces.sizes["time"] == 2
    assert third.voltage.sizes["time"] == 0
    with pytest.raises(ArgumentError, match="cycle=9 selects nothing"):
        session.sel(cycle=9)
    assert session.sel(time=slice(2, 4)).stimulus.onset.values.tolist() == [2.5]


def test_voltage_is_aligned_with_the_movie_and_onsets_start_trials():
    movie = cs.from_numpy(np.zeros((30, 2, 2), "uint16"), frame_rate=10)
    times = np.arange(3000) / 1000
    voltage = xr.DataArray(
        (times > 1.2505).astype(float)[None],
        {"time": ("time", times, {"units": "s"}), "signal": ["trigger"]},
        ("signal", "time"),
        attrs={"units": "V", "long_name": "voltage"},
    )
    session = cs.ImagingSession(xr.DataTree()).assign(movie=movie, voltage=voltage)
    assert session.align().sizes == {"signal": 1, "time": 30}
    (start,) = session.voltage.cs.onsets(threshold=0.5).values
    assert start == pytest.approx(1.251)
    traces = cs.from_numpy(np.arange(30.0)[None], frame_rate=10)
    assert traces.cs.to_trials(starts=[start], window=(0, 0.1)).values.tolist() == [[[13.0, 14.0]]]
    with pytest.raises(AttributeError, match="no 'stimulus'"):
        _ = session.stimulus
