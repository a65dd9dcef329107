"""NWB files are valid, hold what the session holds, and nothing that nobody said."""

import datetime as dt
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
    RecordingError,
    StoreError,
    TargetExistsError,
)
from calscipy.io.nwb import is_nwb, open_nwb, to_nwb, writing
from calscipy.options import set_options
from calscipy.testing import write_recording, write_variant

pynwb = pytest.importorskip("pynwb")
h5py = pytest.importorskip("h5py")

FACTS = {
    "session_description": "synthetic cells",
    "timezone": "Europe/Zurich",
    "subject": {"subject_id": "m1", "species": "Mus musculus", "sex": "F", "age": "P90D"},
    "indicator": {"Red": "jRGECO1a", "Green": "GCaMP6s"},
    "location": "V1",
    "excitation_nm": {"Red": 1040, "Green": 920},
    "emission_nm": {"Red": 600, "Green": 510},
    "identifier": "a-1",
}
ONE = FACTS | {"indicator": "GCaMP6s", "excitation_nm": 920, "emission_nm": 510}
START = {"session_start_time": "2026-03-02T16:25:40+01:00", "timezone": None}


@pytest.fixture(autouse=True)
def _quiet():
    with set_options(progress=False), dask.config.set(scheduler="sync"):
        yield


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "r"
    truth = write_recording(
        folder, frames=60, shape=(20, 24), channels=("Red", "Green"), neurons=3, burst_rate=0.3,
        cycles=2, microns_per_pixel=(0.5, 0.7),
    )  # fmt: skip
    return (
        cs.ImagingSession.open(folder)
        .cs.gaussian_filter(sigma={"y": 1, "x": 1})
        .cs.extract(truth.labels)
        .cs.dfof(method="mean")
        .cs.events(method="derivative")
    )


@pytest.fixture(scope="module")
def written(session, tmp_path_factory):
    with set_options(progress=False), warnings.catch_warnings():
        warnings.simplefilter("error")
        return to_nwb(session, tmp_path_factory.mktemp("nwb") / "m 1.nwb", **FACTS)


@pytest.fixture
def file(written):
    with pynwb.NWBHDF5IO(written, "r") as io:
        yield io.read()


def small(**options):
    movie = cs.from_numpy(
        np.arange(480, dtype="u2").reshape(6, 8, 10), frame_rate=7.3, microns_per_pixel=(0.7, 0.5)
    )
    return cs.ImagingSession(xr.DataTree()).assign(movie=movie, **options)


def same(found, wanted):
    found, wanted = found.compute(), wanted.compute()
    xr.testing.assert_identical(found, wanted)
    assert list(found.children) == list(wanted.children)
    for name, node in wanted.children.items():
        for one, variable in node.variables.items():
            assert found[name].variables[one].dtype.kind == variable.dtype.kind, one


# -- what is missing ------------------------------------------------------------------------


def test_everything_missing_is_listed_at_once(session, tmp_path):
    lonely = session.tree.copy()
    del lonely["rois"]
    with pytest.raises(ArgumentError) as caught:
        to_nwb(lonely, tmp_path / "a.nwb")
    text = str(caught.value)
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    assert [line[2:].split(":")[0].split("=")[0] for line in lines] == [
        "session_description", "timezone", "subject", "location", "indicator", "excitation_nm",
        "emission_nm", "rois",
    ]  # fmt: skip
    assert "the recording says 2023-03-02T16:25:40" in text
    assert "'Red': ..., 'Green': ..." in text
    assert "neurons 1, 2 and 3" in text.replace("1, 2, 3", "1, 2 and 3")
    assert list(tmp_path.iterdir()) == []


def test_each_missing_fact_is_named(tmp_path):
    for name in ("session_description", "subject", "location", "indicator", "excitation_nm"):
        facts = ONE | START | {name: None}
        with pytest.raises(ArgumentError, match=f"\n- {name}: "):
            to_nwb(small(), tmp_path / "a.nwb", **facts)
    with pytest.raises(ArgumentError, match="- session_start_time: when it started"):
        to_nwb(small(), tmp_path / "a.nwb", **ONE)
    two = small().assign(movie=small().movie.expand_dims(channel=["Red", "Green"], axis=1))
    with pytest.raises(ArgumentError, match=r"emission_nm=\{'Red': ...\}"):
        to_nwb(two, tmp_path / "a.nwb", **(FACTS | START | {"emission_nm": {"Green": 510}}))
    assert list(tmp_path.iterdir()) == []


def test_one_value_does_not_do_for_two_channels(session, tmp_path):
    with pytest.raises(ArgumentError, match=r"- indicator=\{'Red': ..., 'Green': ...\}"):
        to_nwb(session, tmp_path / "a.nwb", **(FACTS | {"indicator": "GCaMP6s"}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"subject": {"subject_id": "m", "mood": "good"}}, "subject takes subject_id"),
        ({"excitation_nm": 0.92}, "wavelength in nm, got 0.92"),
        ({"excitation_nm": True}, "wavelength in nm"),
        ({"emission_nm": "510"}, "wavelength in nm"),
        ({"indicator": 6}, "indicator as a name"),
        ({"indicator": {"Blue": "x"}}, r"names \['Blue'\]; the channels are \[''\]"),
        ({"timezone": "Mars/Olympus", "session_start_time": "2026-01-01"}, "Mars/Olympus"),
        ({"timezone": "Europe/Zurich"}, "has a time zone already"),
        ({"session_start_time": "yesterday"}, "datetime or ISO text, got 'yesterday'"),
        ({"session_start_time": 3}, "as a datetime, got 3"),
        ({"subject": {"subject_id": "m", "date_of_birth": "soon"}}, "date_of_birth as a datetime"),
        ({"session_description": 3}, "session_description as text"),
        ({"groups": ["video"]}, "no group video"),
    ],
)
def test_wrong_facts_are_refused(tmp_path, changes, message):
    with pytest.raises(ArgumentError, match=message):
        to_nwb(small(), tmp_path / "a.nwb", **(ONE | START | changes))
    assert list(tmp_path.iterdir()) == []


def test_what_the_recording_tells_is_taken(tmp_path):
    movie = small().movie.assign_attrs(date="2024-05-06T07:08:09", laser_wavelength_nm=930.0)
    facts = ONE | {"excitation_nm": None, "timezone": dt.UTC}
    path = to_nwb(cs.ImagingSession(xr.DataTree()).assign(movie=movie), tmp_path / "a.nwb", **facts)
    with pynwb.NWBHDF5IO(path, "r") as io:
        read = io.read()
        assert read.session_start_time == dt.datetime(2024, 5, 6, 7, 8, 9, tzinfo=dt.UTC)
        assert read.imaging_planes["imaging_plane"].excitation_lambda == 930.0


def test_names_that_nwb_has_no_form_for(tmp_path):
    names = ["A/B", "A:B"]
    movie = small().movie.expand_dims(channel=2, axis=1).assign_coords(channel=np.array(names))
    facts = FACTS | START | {
        "indicator": dict(zip(names, "gh", strict=True)),
        "excitation_nm": 920,
        "emission_nm": dict.fromkeys(names, 510),
        "subject": {"subject_id": "m1", "date_of_birth": "2026-01-01", "weight": 21},
    }  # fmt: skip
    session = cs.ImagingSession(xr.DataTree()).assign(movie=movie)
    path = to_nwb(session, tmp_path / "a.nwb", **facts)
    same(open_nwb(path), session.tree)
    with pynwb.NWBHDF5IO(path, "r") as io:
        read = io.read()
        found = {name: of.imaging_plane.indicator for name, of in read.acquisition.items()}
        assert found == {"movie_A_B": "g", "movie_A_B_1": "h"}
        assert read.subject.date_of_birth.isoformat() == "2026-01-01T00:00:00+01:00"


def test_without_images_no_facts_of_images_are_asked_for(tmp_path):
    voltage = xr.DataArray(
        np.arange(6.0).reshape(2, 3),
        {"signal": ["LFP", "a/b:c"], "units": ("signal", ["V", "mV"]), "time": [0, 0.1, 0.25]},
        ("signal", "time"),
        name="voltage",
    )
    session = cs.ImagingSession(xr.DataTree()).assign(voltage=voltage)
    facts = {name: FACTS[name] for name in ("session_description", "subject")} | START
    path = to_nwb(session, tmp_path / "a.nwb", **facts)
    same(open_nwb(path), session.tree)
    with pynwb.NWBHDF5IO(path, "r") as io:
        read = io.read()
        second = read.acquisition["voltage_a_b_c"]
        assert second.unit == "mV"
        np.testing.assert_array_equal(second.data, [3, 4, 5])
        np.testing.assert_array_equal(second.timestamps, [0, 0.1, 0.25])
        assert not read.imaging_planes


# -- what is written ------------------------------------------------------------------------


def test_the_validator_has_nothing_to_say(written):
    assert pynwb.validate(path=written) == []


def test_the_movie_is_a_series_for_each_channel(session, file):
    for name in ("Red", "Green"):
        series = file.acquisition[f"movie_{name}"]
        assert type(series).__name__ == "TwoPhotonSeries"
        wanted = session.movie.sel(channel=name).transpose("frames", "x", "y")
        np.testing.assert_array_equal(series.data[:], wanted)
        np.testing.assert_array_equal(series.timestamps[:], session.movie.time)
        assert series.unit == "count"
        assert series.dimension[:].tolist() == [24, 20]
        assert "gaussian_filter" in series.comments
        plane = series.imaging_plane
        assert plane.indicator == FACTS["indicator"][name]
        assert plane.excitation_lambda == FACTS["excitation_nm"][name]
        assert plane.optical_channel[0].emission_lambda == FACTS["emission_nm"][name]
        assert plane.location == "V1"
        assert plane.grid_spacing[:].tolist() == [0.7, 0.5]
        assert plane.grid_spacing_unit == "micrometers"
        assert plane.imaging_rate == pytest.approx(session.frame_rate)
        assert "-75.925 um" in plane.description


def test_facts_of_the_session(file):
    assert file.session_description == "synthetic cells"
    assert file.identifier == "a-1"
    assert file.session_start_time.isoformat() == "2023-03-02T16:25:40+01:00"
    assert file.subject.subject_id == "m1"
    assert file.subject.age == "P90D"
    assert "Nikon 16X LWD" in file.devices["microscope"].description


def test_responses_refer_to_their_rois(session, file):
    ophys = file.processing["ophys"]
    for container, name, data in (
        ("Fluorescence", "traces", session.traces),
        ("DfOverF", "dfof", session.dfof),
        (None, "events", session.events),
    ):
        for channel in ("Red", "Green"):
            series = (ophys if container is None else ophys[container])[f"{name}_{channel}"]
            np.testing.assert_array_equal(series.data[:], data.sel(channel=channel).T)
            np.testing.assert_array_equal(series.timestamps[:], data.time)
            assert series.rois.to_dataframe().index.tolist() == data.neuron.values.tolist()
            assert series.unit == data.attrs["units"]


def test_roi_masks_are_the_pixels_of_the_images(session, file):
    table = file.processing["ophys"]["ImageSegmentation"]["PlaneSegmentation"]
    rois = session.rois
    for at, neuron in enumerate(table.id[:]):
        own = rois[rois.neuron == neuron]
        found = sorted((int(x), int(y), float(w)) for x, y, w in table["pixel_mask"][at])
        wanted = zip(own.x.values.tolist(), own.y.values.tolist(), own.values.tolist(), strict=True)
        assert found == sorted(wanted)


def test_masks_of_a_cut_movie_count_from_its_first_pixel(session, tmp_path):
    cut = session.sel(x=slice(0.7 * 2, None))  # the second neuron lies at the left edge
    assert cut.traces.neuron.values.tolist() == [1, 3]
    path = to_nwb(cut, tmp_path / "a.nwb", **FACTS)
    with pynwb.NWBHDF5IO(path, "r") as io:
        table = io.read().processing["ophys"]["ImageSegmentation"]["PlaneSegmentation"]
        first = sorted(int(pixel[0]) for pixel in table["pixel_mask"][0])
    own = cut.rois[cut.rois.neuron == 1]
    assert first == sorted((own.x.values - 2).tolist())
    same(open_nwb(path), cut.tree)


def test_masks_that_do_not_fit_the_movie_are_said(session, tmp_path):
    movie = session.movie.isel(x=slice(2, None), channel=0)
    rois = session.rois.drop_attrs()
    tree = cs.ImagingSession(xr.DataTree()).assign(movie=movie, rois=rois)
    facts = FACTS | dict(indicator="G", excitation_nm=920, emission_nm=510)
    with pytest.warns(CalscipyWarning, match="ROIs count recorded pixels along 'x'"):
        path = to_nwb(tree, tmp_path / "a.nwb", **facts)
    with pynwb.NWBHDF5IO(path, "r") as io:
        table = io.read().processing["ophys"]["ImageSegmentation"]["PlaneSegmentation"]
        assert min(int(pixel[0]) for pixel in table["pixel_mask"][1]) == 0


def test_epochs_and_damaged_frames_are_intervals(tmp_path):
    valid = np.ones(6, bool)
    valid[[1, 2, 5]] = False
    movie = small().movie.assign_coords(
        valid=("frames", valid), epoch=("frames", [1, 1, 1, 2, 2, 2])
    )
    session = cs.ImagingSession(xr.DataTree()).assign(movie=movie)
    path = to_nwb(session, tmp_path / "a.nwb", **(ONE | START))
    times = movie.time.values
    with pynwb.NWBHDF5IO(path, "r") as io:
        read = io.read()
        bad = read.invalid_times.to_dataframe()
        assert bad.start_time.tolist() == [times[1], times[5]]
        np.testing.assert_allclose(bad.stop_time, [times[3], times[5] + 1 / 7.3], rtol=1e-12)
        epochs = read.epochs.to_dataframe()
        assert epochs.start_time.tolist() == [times[0], times[3]]
        np.testing.assert_allclose(epochs.stop_time, [times[3], times[5] + 1 / 7.3], rtol=1e-12)
        assert epochs.tags.tolist() == [["epoch 1"], ["epoch 2"]]


def test_volumes(tmp_path):
    values = np.random.default_rng(0).integers(0, 4000, (6, 3, 8, 10)).astype("u2")
    movie = cs.from_numpy(
        da.from_array(values, chunks=(4, 1, 8, 10)), frame_rate=5,
        dims=("frames", "plane", "y", "x"), microns_per_pixel=1.0,
    ).assign_coords(z=("plane", [0.0, 20.0, 40.0], {"units": "um"}), plane=[2, 4, 6])  # fmt: skip
    rois = cs.model.rois_long_form(
        np.array([7, 7, 9]), np.array([1, 2, 3]), np.array([4, 5, 6]), np.array([1, 0.5, 1]),
        plane=np.array([4, 4, 6]),
    )  # fmt: skip
    traces = xr.DataArray(
        np.ones((2, 6)), {"neuron": [9, 7], "time": movie.time.values}, ("neuron", "time"),
        name="traces", attrs={"units": "count"},
    )  # fmt: skip
    session = cs.ImagingSession(xr.DataTree()).assign(movie=movie, traces=traces, rois=rois)
    path = to_nwb(session, tmp_path / "a.nwb", **(ONE | START))
    same(open_nwb(path), session.tree)
    with pynwb.NWBHDF5IO(path, "r") as io:
        read = io.read()
        np.testing.assert_array_equal(
            read.acquisition["movie"].data[:], values.transpose(0, 3, 2, 1)
        )
        table = read.processing["ophys"]["ImageSegmentation"]["PlaneSegmentation"]
        assert [tuple(map(float, v)) for v in table["voxel_mask"][0]] == [
            (4, 1, 1, 1),
            (5, 2, 1, 0.5),
        ]
        series = read.processing["ophys"]["Fluorescence"]["traces"]
        assert series.rois.to_dataframe().index.tolist() == [9, 7]


def test_neurons_with_names(tmp_path):
    rois = cs.model.rois_long_form(
        np.array(["b", "a", "b"]), np.arange(3), np.arange(3), np.ones(3, "f4"),
        roi_name=np.array(["B", "A", "B"]),
    )  # fmt: skip
    traces = xr.DataArray(
        np.ones((2, 6)), {"neuron": ["a", "b"], "time": small().movie.time.values},
        ("neuron", "time"), name="traces",
    )  # fmt: skip
    session = small(traces=traces, rois=rois)
    path = to_nwb(session, tmp_path / "a.nwb", **(ONE | START))
    same(open_nwb(path), session.tree)
    with pynwb.NWBHDF5IO(path, "r") as io:
        table = io.read().processing["ophys"]["ImageSegmentation"]["PlaneSegmentation"]
        assert list(table["neuron"][:]) == ["a", "b"]
        assert list(table["roi_name"][:]) == ["A", "B"]


def test_stimuli_are_intervals(tmp_path):
    variant = write_variant(tmp_path / "r", "mark points alone")
    session = cs.ImagingSession.open(variant.path)
    facts = {name: FACTS[name] for name in ("session_description", "subject")} | START
    path = to_nwb(session, tmp_path / "a.nwb", **facts)
    same(open_nwb(path), session.tree)
    with pynwb.NWBHDF5IO(path, "r") as io:
        table = io.read().intervals["stimulus"].to_dataframe()
        stimulus = session.stimulus
        np.testing.assert_array_equal(table["start_time"], stimulus.onset)
        np.testing.assert_array_equal(table["stop_time"], stimulus.onset + stimulus.duration)
        np.testing.assert_array_equal(table["target_name"], stimulus.target_name)
        np.testing.assert_array_equal(table["is_spiral"], stimulus.is_spiral)


@pytest.mark.parametrize("dtype", ["i8", "f2", "bool", ">u2"])
def test_types(tmp_path, dtype):
    movie = small().movie.astype(dtype)
    session = cs.ImagingSession(xr.DataTree()).assign(movie=movie)
    found = open_nwb(to_nwb(session, tmp_path / "a.nwb", **(ONE | START)))
    same(found, session.tree)
    assert found["movie/movie"].dtype == np.dtype(dtype).newbyteorder("=")


def test_what_has_no_place_is_said(tmp_path, monkeypatch):
    variant = write_variant(tmp_path / "r", "line scan")
    session = cs.ImagingSession.open(variant.path)
    monkeypatch.setattr("calscipy.io.nwb.content.SMALL_BYTES", 100)
    facts = {name: FACTS[name] for name in ("session_description", "subject")} | START
    with pytest.warns(CalscipyWarning, match="no place for linescan/linescan and linescan/source|"
                      "no place for linescan/linescan, linescan/source"):  # fmt: skip
        path = to_nwb(session, tmp_path / "a.nwb", **facts)
    assert "linescan" not in open_nwb(path)["linescan"].data_vars


def test_one_graph_computes_every_block_once(tmp_path):
    calls = []

    def read(block, block_info=None):
        calls.append(block_info[0]["chunk-location"])
        return block

    values = np.random.default_rng(0).random((40, 8, 9))
    source = da.from_array(values, chunks=(10, 8, 9)).map_blocks(read, dtype="f8")
    movie = cs.from_numpy(source, frame_rate=30)
    rois = cs.model.rois_long_form(np.arange(8), np.arange(8), np.arange(8), np.ones(8))
    traces = movie.mean("x").swap_dims(frames="time").rename(y="neuron").transpose()
    traces = traces.assign_coords(neuron=np.arange(8))
    session = cs.ImagingSession(xr.DataTree()).assign(movie=movie, traces=traces, rois=rois)
    found = open_nwb(to_nwb(session, tmp_path / "a.nwb", **(ONE | START)))
    assert sorted(calls) == [(at, 0, 0) for at in range(4)]
    np.testing.assert_array_equal(found["movie/movie"], values)
    np.testing.assert_allclose(found["traces/traces"], values.mean(-1).T)


def test_existing_files_stay(tmp_path):
    (tmp_path / "a.nwb").write_text("mine")
    with pytest.raises(TargetExistsError):
        to_nwb(small(), tmp_path / "a.nwb", **(ONE | START))
    with pytest.raises(ArgumentError, match=r"ends in \.nwb"):
        to_nwb(small(), tmp_path / "a.h5", **(ONE | START))
    assert (tmp_path / "a.nwb").read_text() == "mine"


def test_a_failure_on_the_way_leaves_nothing(tmp_path):
    def fail(block):
        raise RecordingError("frame 3")

    lazy = da.zeros((8, 2, 2), chunks=(2, 2, 2)).map_blocks(fail, meta=np.zeros((0, 0, 0)))
    session = cs.ImagingSession(xr.DataTree()).assign(movie=cs.from_numpy(lazy, frame_rate=1))
    with pytest.raises(RecordingError, match="frame 3"):
        to_nwb(session, tmp_path / "a.nwb", **(ONE | START))
    assert list(tmp_path.iterdir()) == []


def test_what_the_validator_refuses_gets_no_name(tmp_path, monkeypatch):
    monkeypatch.setattr(pynwb, "validate", lambda **options: ["a fault", "another"])
    with pytest.raises(StoreError, match="refuses the file: a fault, another"):
        to_nwb(small(), tmp_path / "a.nwb", **(ONE | START))
    assert list(tmp_path.iterdir()) == []
    assert writing.SUFFIX == ".nwb"


# -- what is read ---------------------------------------------------------------------------


def test_the_whole_session_comes_back(session, written):
    tree = open_nwb(written)
    same(tree, session.tree)
    assert tree.attrs == json.loads(json.dumps(session.tree.attrs))
    assert tree["movie/movie"].chunks is not None
    assert tree["traces/dfof"].chunks is not None
    assert open_nwb(written, chunks=None)["movie/movie"].chunks is None
    rows = open_nwb(written, chunks="time")["movie/movie"]
    assert rows.chunksizes["frames"] == (60,)
    np.testing.assert_array_equal(rows, session.movie)


KINDS = (
    "aborted volumes", "volumes of two channels", "missing files", "brightness over time",
    "mixed elements", "line scan", "single image",
)  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_recording_comes_back(tmp_path, name):
    variant = write_variant(tmp_path / "r", name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is damaged in it is another test
        tree = cs.ImagingSession.open(variant.path).tree
    names = np.atleast_1d(tree["movie"].channel).tolist() if "movie" in tree.children else [""]
    facts = FACTS | START
    if "movie" in tree.children:
        for key, value in (("indicator", "G"), ("excitation_nm", 920), ("emission_nm", 510)):
            facts[key] = dict.fromkeys(map(str, names), value)
    same(open_nwb(to_nwb(tree, tmp_path / "a.nwb", **facts)), tree)


def test_tasks_hold_paths_and_names_alone(written, monkeypatch, tmp_path):
    movie = open_nwb(written)["movie/movie"]
    again = pickle.loads(pickle.dumps(movie))
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(again[3], movie[3])
    assert len(pickle.dumps(movie)) < 2e5


@pytest.mark.parametrize(
    "key",
    [
        (slice(None, None, -2), 1, 0, slice(3, 9)),
        ([5, 1, 1, 3], slice(None), slice(None), [0, 2]),
        (-1, [True, False], 3, 4),
        (slice(5, 5), [1, 0], 2, [4, 3]),
        ([], slice(None), 2, slice(None)),
        (2, [], 2, slice(None)),
        (2, 1, [], slice(1, None, 3)),
    ],
)
def test_every_selection(session, written, key):
    lazy = open_nwb(written, chunks=None)["movie/movie"]
    key = dict(zip(("frames", "channel", "y", "x"), key, strict=True))
    np.testing.assert_array_equal(lazy.isel(key), session.movie.compute().isel(key))


def test_files_are_known_by_their_content(written, tmp_path, session):
    assert is_nwb(written)
    copy = tmp_path / "a.h5"
    copy.write_bytes(written.read_bytes())
    assert is_nwb(copy)
    same(cs.ImagingSession.open(copy).tree, session.tree)
    with h5py.File(tmp_path / "b.h5", "w") as other:
        other["a"] = [1]
    assert not is_nwb(tmp_path / "b.h5")
    assert not is_nwb(tmp_path)
    (tmp_path / "b.h5").rename(tmp_path / "b.nwb")
    with pytest.raises(RecordingError, match="HDF5, but not NWB"):
        cs.ImagingSession.open(tmp_path / "b.nwb")


def damaged(path, folder, change):
    copy = folder / "copy.nwb"
    copy.write_bytes(path.read_bytes())
    with h5py.File(copy, "r+") as opened:
        change(opened)
    return copy


def _scratch(change):
    def apply(opened):
        text = opened["scratch/calscipy"][()].decode()
        attrs = dict(opened["scratch/calscipy"].attrs)
        del opened["scratch/calscipy"]
        opened["scratch/calscipy"] = change(text)
        for name, value in attrs.items():
            opened["scratch/calscipy"].attrs[name] = value

    return apply


def _other(**changes):
    return _scratch(lambda text: json.dumps(json.loads(text) | changes))


HOSTILE = {
    "no json": (_scratch(lambda text: "{"), "damaged"),
    "no object": (_scratch(lambda text: "[]"), "damaged"),
    "newer": (_other(calscipy_nwb=2), "newer calscipy"),
    "deep": (_scratch(lambda text: "[" * 100_000), "damaged"),
    "no groups": (_other(groups=[]), "damaged"),
    "another series": (
        _scratch(lambda text: text.replace("acquisition/movie_Red", "acquisition/movie_Blue")),
        "damaged",
    ),
    "an object of another kind": (
        _scratch(lambda text: text.replace("acquisition/movie_Red", "general/subject")),
        "damaged",
    ),
    "another shape": (
        _scratch(lambda text: text.replace('"shape":[60,2', '"shape":[61,2')),
        "damaged",
    ),
    "an external link": (
        lambda f: f["acquisition"].__setitem__("x", h5py.ExternalLink("/etc/passwd", "/")),
        "in another file",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused(tmp_path, written, kind):
    change, message = HOSTILE[kind]
    path = damaged(written, tmp_path, change)
    with pytest.raises(RecordingError, match=message):
        open_nwb(path)
