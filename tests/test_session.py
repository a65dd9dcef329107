"""Sessions: opening, assigning, selecting, chaining, showing."""

import inspect

import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.errors import ArgumentError, DamagedRecordingWarning, RecordingError
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
    with pytest.raises(KeyError, match="selects nothing"):
        session.sel(time=slice(500, 600))


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


def test_what_does_not_fit_a_session_is_absent(session):
    assert "project" not in dir(session.cs)
    with pytest.raises(AttributeError, match=r"use session\.movie\.cs\.project"):
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
