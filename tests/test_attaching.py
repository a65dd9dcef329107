"""Results of suite2p in the recording they came from."""

import dask
import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.attaching import attach
from calscipy.errors import ArgumentError, CalscipyWarning, RecordingError, RoiError
from calscipy.io.suite2p import open_suite2p, to_suite2p
from calscipy.testing import write_recording

ROWS, COLUMNS, FRAMES = 20, 26, 30
RATE = 7.5


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def recorded(planes=1, channels=1, rows=ROWS, columns=COLUMNS, frames=FRAMES, lazy=True):
    """A session with what a microscope says of lines and planes."""
    dims = ["frames", "channel", "plane", "y", "x"]
    shape = [frames, channels, planes, rows, columns]
    rng = np.random.default_rng(2)
    values = rng.integers(100, 3000, shape).astype("u2")
    drop = [axis for axis, size in ((1, channels), (2, planes)) if size == 1]
    dims = [dim for axis, dim in enumerate(dims) if axis not in drop]
    movie = cs.from_numpy(
        values.squeeze(tuple(drop)), dims=tuple(dims), frame_rate=RATE, microns_per_pixel=1.5
    )
    times = movie.time.values + np.linspace(0, 0.01, frames)  # as clocks are
    movie = movie.assign_coords(
        time=("frames", times, movie.time.attrs), epoch=("frames", np.arange(frames) // 15)
    ).assign_attrs(
        source="TSeries-007",
        scan_mode="Galvo",
        scan_line_period=0.001,
        frame_period=1 / RATE / planes,
        lines_per_frame=rows,
        rasters_per_frame=1,
    )
    if planes > 1:
        movie = movie.assign_coords(plane=np.arange(planes))
        movie = movie.assign_coords(
            plane_time=(("frames", "plane"), times[:, None] + np.arange(planes) / RATE / planes)
        )
    movie = movie.chunk({"frames": 8}) if lazy else movie
    return cs.ImagingSession(xr.DataTree()).assign(movie=movie)


def blobs(count, rows=ROWS, columns=COLUMNS, seed=0):
    rng = np.random.default_rng(seed)
    stat = []
    for _ in range(count):
        y, x = np.mgrid[0:3, 0:4]
        y, x = (y + rng.integers(0, rows - 3)).ravel(), (x + rng.integers(0, columns - 4)).ravel()
        lam = rng.uniform(0.5, 2, y.size).astype("f4")
        stat.append({"ypix": y, "xpix": x, "lam": lam, "overlap": np.zeros(y.size, bool)})
    return stat


def run(folder, count=3):
    """What suite2p would do with the movie in a folder: ROIs, and their weighted means."""
    for number in range(len(list(folder.glob("plane*")))):
        place = folder / f"plane{number}"
        ops = np.load(place / "ops.npy", allow_pickle=True).item()
        shape = (-1, ops["Ly"], ops["Lx"])
        movie = np.fromfile(place / "data.bin", "<i2").reshape(shape)
        stat = blobs(count + number, *shape[1:], seed=number)
        means = [movie[:, r["ypix"], r["xpix"]] @ (r["lam"] / r["lam"].sum()) for r in stat]
        traces = np.stack(means).astype("f4")
        np.save(place / "stat.npy", np.array(stat, dtype=object), allow_pickle=True)
        arrays = {"F": traces, "Fneu": traces / 2, "spks": traces / 4}
        for name, array in arrays.items():
            np.save(place / f"{name}.npy", array)
        iscell = np.column_stack([np.arange(len(stat)) % 2, np.full(len(stat), 0.75)])
        np.save(place / "iscell.npy", iscell)
        shifts = np.arange(len(movie)) % 3
        found = {"yoff": shifts, "xoff": -shifts, "meanImg": movie.mean(0), "version": "1.1.0"}
        np.save(place / "reg_outputs.npy", found, allow_pickle=True)
    return folder


def foreign(folder):
    """The same without the labels that calscipy wrote, as if TIFF files had been converted."""
    (folder / "calscipy.json").unlink()
    return folder


@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize("labels", [True, False])
def test_results_have_the_labels_that_extraction_gives(tmp_path, planes, labels):
    session = recorded(planes)
    folder = run(to_suite2p(session.movie, tmp_path, progress=False))
    if not labels:
        foreign(folder)
    found = attach(session, folder if planes == 3 else tmp_path)
    assert found.movie.identical(session.movie)
    assert dask.is_dask_collection(found.traces.data)
    ours = session.movie.cs.extract(found.rois)
    theirs = found.traces
    np.testing.assert_allclose(theirs, ours, rtol=1e-5)
    assert set(ours.coords) <= set(theirs.coords)
    for name in ours.coords:
        xr.testing.assert_identical(
            theirs[name].drop_vars(set(theirs[name].coords) - set(ours[name].coords)), ours[name]
        )
    assert theirs.time_offset.size
    assert theirs.iscell.values.sum() == sum((3 + k) // 2 for k in range(planes))
    for name in ("neuropil", "spikes"):
        assert name in found.tree["traces"].data_vars
    np.testing.assert_array_equal(found.tree["traces/spikes"], theirs / 4)
    # Images and shifts too lie where and when the recording has them.
    images = found.tree["images"].to_dataset()
    for dim in ("y", "x"):
        xr.testing.assert_identical(images[dim], session.movie[dim])
    np.testing.assert_allclose(images.meanImg, session.movie.mean("frames"), rtol=1e-5)
    registration = found.tree["registration"].to_dataset()
    np.testing.assert_array_equal(registration.time, session.movie.time)
    if planes == 3:
        assert images.plane.values.tolist() == registration.plane.values.tolist() == [0, 1, 2]
    assert found.tree.attrs["suite2p"]["plane0"]["Ly"] == ROWS


def test_history_says_where_they_came_from(tmp_path):
    session = recorded()
    movie = session.movie.assign_attrs(history="2026-01-01T00:00:00Z calscipy 0.0 made {}")
    session = cs.ImagingSession(xr.DataTree()).assign(movie=movie)
    folder = run(to_suite2p(movie, tmp_path, progress=False))
    for labels in (True, False):
        found = attach(session, folder if labels else foreign(folder))
        for group in ("traces", "rois", "images", "registration"):
            for name, data in found.tree[group].data_vars.items():
                *before, last = data.attrs["history"].splitlines()
                assert (len(before) == 1) == labels, name
                assert '"path": "suite2p", "program": "suite2p 1.1.0"}' in last
                assert " attach {" in last
    assert "history" not in attach(session, folder).tree["images"].attrs


def test_sessions_chain_on(tmp_path):
    session = recorded(2)
    found = attach(session, run(to_suite2p(session.movie, tmp_path, progress=False)))
    done = found.cs.subtract_neuropil(coefficient=0.7).cs.dfof(method="percentile", percentile=8)
    assert done.dfof.sizes == {"neuron": 7, "time": FRAMES}
    part = done.sel(time=slice(1, 2), plane=1)
    assert part.traces.sizes["neuron"] == 4
    assert part.movie.sizes["frames"] == part.traces.sizes["time"]
    assert part.tree["registration"].sizes["frames"] == part.movie.sizes["frames"]
    saved = found.save(tmp_path / "a.zarr", progress=False)
    xr.testing.assert_equal(saved.traces.compute(), found.traces.compute())
    moved = found.movie.cs.apply_shifts(found.tree["registration"].to_dataset())
    assert moved.dims == found.movie.dims


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("planes", [1, 2])
def test_damaged_frames_are_nan(tmp_path, planes, lazy):
    session = recorded(planes, lazy=lazy)
    movie = session.movie
    valid = np.ones([FRAMES] if planes == 1 else [FRAMES, planes], bool)
    valid[4] = False
    if planes == 2:
        valid[9, 1] = False
    movie = movie.assign_coords(valid=(movie.dims[: valid.ndim], valid))
    session = cs.ImagingSession(xr.DataTree()).assign(movie=movie)
    folder = run(to_suite2p(movie, tmp_path, progress=False))
    found = attach(session, folder)
    raw = open_suite2p(folder, movie=False)["traces"].to_dataset()
    lost = np.zeros((3, FRAMES), bool) if planes == 1 else np.zeros((7, FRAMES), bool)
    lost[:, 4] = True
    lost[3:, 9] = planes == 2
    for name, data in found.tree["traces"].data_vars.items():
        assert data.dtype == np.float32
        np.testing.assert_array_equal(data.isnull(), lost)
        np.testing.assert_array_equal(data.values[~lost], raw[name].values[~lost])
        assert f'"masked": {lost.sum()}' in data.attrs["history"]
    np.testing.assert_allclose(found.traces, movie.cs.extract(found.rois), rtol=1e-5)


def test_validity_is_that_of_the_functional_channel(tmp_path):
    session = recorded(channels=2)
    movie = session.movie.assign_coords(channel=["red", "green"])
    valid = np.ones((FRAMES, 2), bool)
    valid[3, 0] = valid[8, 1] = False
    movie = movie.assign_coords(valid=(("frames", "channel"), valid))
    session = cs.ImagingSession(xr.DataTree()).assign(movie=movie)
    folder = to_suite2p(movie, tmp_path, functional_channel="green", progress=False)
    run(folder)
    for path in (folder, foreign(folder)):
        found = attach(session, path)
        assert found.traces.channel.item() == "green"
        assert np.flatnonzero(found.traces.isnull().any("neuron")).tolist() == [8]
        ours = movie.sel(channel="green").cs.extract(found.rois)
        np.testing.assert_allclose(found.traces, ours, rtol=1e-5)


def test_frames_and_planes_must_be_those_of_the_recording(tmp_path):
    session = recorded(2)
    folder = run(to_suite2p(session.movie, tmp_path, progress=False))
    short = session.sel(time=slice(0, 2))
    message = rf"worked on 30 frames .*movie of this session has {short.movie.sizes['frames']}\."
    for path in (folder, foreign(folder)):
        with pytest.raises(ArgumentError, match=message):
            attach(short, path)
        with pytest.raises(ArgumentError, match=r"worked on 2 planes .*this session has 1\."):
            attach(session.sel(plane=0), path)
    flat = recorded()
    with pytest.raises(ArgumentError, match=r"worked on 2 planes .*this session has 1\."):
        attach(flat, folder)
    # Volumes that were taken for frames: the error says what was forgotten.
    wrong = recorded(frames=60)
    taken = run(to_suite2p(wrong.movie, tmp_path / "b", progress=False))
    with pytest.raises(ArgumentError, match=r"60 frames .* has 30\. It took 2 planes .*nplanes"):
        attach(session, taken)


def test_a_plane_on_its_own_finds_its_place(tmp_path):
    session = recorded(3)
    one = session.sel(plane=2)
    folder = run(to_suite2p(one.movie, tmp_path, progress=False))
    for path in (folder, foreign(folder)):
        found = attach(one, path)
        assert found.traces.plane.item() == 2
        assert set(found.rois.plane.values.tolist()) == {2}
        np.testing.assert_allclose(found.traces, one.movie.cs.extract(found.rois), rtol=1e-5)


def test_the_folder_of_one_plane_is_attached_to_that_plane(tmp_path):
    session = recorded(3)
    folder = run(to_suite2p(session.movie, tmp_path, progress=False))
    for path in (folder, foreign(folder)):
        one = session.sel(plane=1)
        found = attach(one, path / "plane1")
        assert found.traces.sizes["neuron"] == 4
        np.testing.assert_allclose(found.traces, one.movie.cs.extract(found.rois), rtol=1e-5)
        whole = attach(session, path / "plane1")
        assert whole.traces.plane.values.tolist() == [1] * 4
        np.testing.assert_allclose(whole.traces, session.movie.cs.extract(whole.rois), rtol=1e-5)
        with pytest.raises(RoiError, match="lie in planes 2, the movie is plane 1 alone"):
            attach(one, path / "plane2")


def test_planes_have_the_names_of_the_recording(tmp_path):
    session = recorded(3)
    movie = session.movie.assign_coords(plane=[4, 7, 9])
    session = cs.ImagingSession(xr.DataTree()).assign(movie=movie)
    folder = run(to_suite2p(movie, tmp_path, progress=False))
    itself = cs.ImagingSession(open_suite2p(folder))
    again = itself.movie.chunk().cs.extract(itself.rois)
    np.testing.assert_allclose(again, itself.traces, rtol=1e-5)
    for path in (folder, foreign(folder)):
        found = attach(session, path)
        assert found.traces.plane.values.tolist() == [4] * 3 + [7] * 4 + [9] * 5
        assert found.tree["images"].plane.values.tolist() == [4, 7, 9]
        assert found.tree["registration"].plane.values.tolist() == [4, 7, 9]
        np.testing.assert_allclose(found.traces, movie.cs.extract(found.rois), rtol=1e-5)


def test_results_of_a_crop_find_their_place(tmp_path):
    whole = recorded()
    part = whole.sel(y=slice(6, 24), x=slice(9, 30))
    assert part.movie.y.values[0] == 6
    folder = run(to_suite2p(part.movie, tmp_path, progress=False))
    # In the recording that it was cut from, which only the labels tell ...
    found = attach(whole, folder)
    np.testing.assert_allclose(found.traces, whole.movie.cs.extract(found.rois), rtol=1e-5)
    assert found.rois.y.values.min() >= 4
    np.testing.assert_array_equal(found.tree["images"].y, part.movie.y)
    # ... and in the part itself.
    for path in (folder, foreign(folder)):
        again = attach(part, path)
        np.testing.assert_allclose(again.traces, part.movie.cs.extract(again.rois), rtol=1e-5)
        np.testing.assert_array_equal(again.rois.y, found.rois.y)
        np.testing.assert_array_equal(again.tree["images"].x, part.movie.x)
        np.testing.assert_allclose(again.traces.y, found.traces.y)
    with pytest.raises(RoiError, match=r"images of 13 x 15 pixels .*this session has 20 x 26"):
        attach(whole, folder)


def test_results_of_the_whole_fit_a_crop_that_holds_them(tmp_path):
    whole = recorded()
    folder = run(to_suite2p(whole.movie, tmp_path, progress=False))
    rois = attach(whole, folder).rois
    rows = slice(1.5 * rois.y.values.min(), 1.5 * rois.y.values.max())
    part = whole.sel(y=rows)
    for path in (folder, foreign(folder)):
        found = attach(part, path)
        np.testing.assert_array_equal(found.rois.y, rois.y)
        np.testing.assert_allclose(found.traces, part.movie.cs.extract(rois), rtol=1e-5)
        np.testing.assert_array_equal(found.tree["images"].y, whole.movie.y)
    with pytest.raises(RoiError, match="outside of the movie"):
        attach(whole.sel(y=slice(15, None)), folder)


def test_another_size_is_refused(tmp_path):
    folder = foreign(run(to_suite2p(recorded().movie, tmp_path, progress=False)))
    with pytest.raises(RoiError, match=r"images of 20 x 26 pixels .*this session has 24 x 26"):
        attach(recorded(rows=24), folder)
    with pytest.raises(RoiError, match=r"images of 20 x 26 pixels .*this session has 16 x 26"):
        attach(recorded(rows=16), folder)


def test_results_are_not_put_over_others_by_accident(tmp_path):
    session = recorded()
    folder = run(to_suite2p(session.movie, tmp_path, progress=False))
    found = attach(session, folder)
    with pytest.raises(ArgumentError, match=r"has \['images', 'registration', 'rois', 'traces'\]"):
        attach(found, folder)
    again = attach(found.cs.events(), folder, replace=True)
    np.testing.assert_array_equal(again.traces, found.traces)
    assert "events" not in again.tree.children


def test_warnings_name_another_recording_and_another_rate(tmp_path):
    session = recorded()
    folder = run(to_suite2p(session.movie, tmp_path, progress=False))
    movie = session.movie.assign_attrs(source="TSeries-008")
    other = cs.ImagingSession(xr.DataTree()).assign(movie=movie)
    with pytest.warns(CalscipyWarning, match="from the recording 'TSeries-007', .* 'TSeries-008'"):
        attach(other, folder)
    late = session.sel(time=slice(1.9, None))
    early = session.sel(time=slice(0, session.movie.time.values[late.movie.sizes["frames"] - 1]))
    part = run(to_suite2p(late.movie, tmp_path / "late", progress=False))
    with pytest.warns(CalscipyWarning, match=r"first frame was taken at 2\.\d+ s, .*movie at 0 s"):
        attach(early, part)
    for name in ("ops", "settings"):
        values = np.load(folder / "plane0" / f"{name}.npy", allow_pickle=True).item()
        np.save(folder / "plane0" / f"{name}.npy", {**values, "fs": 30.0}, allow_pickle=True)
    with pytest.warns(CalscipyWarning, match=r"worked with 30 frames/s, but the rate is 7\.\d+"):
        found = attach(session, foreign(folder))
    np.testing.assert_array_equal(found.traces.time, session.movie.time)


def test_what_cannot_be_attached_is_explained(tmp_path):
    session = recorded()
    with pytest.raises(RecordingError, match="no folder of suite2p"):
        attach(session, tmp_path)
    with pytest.raises(RecordingError, match=r"gone\.hdf5"):
        attach(session, tmp_path / "gone.hdf5")
    with pytest.raises(ArgumentError, match="program must be one of"):
        attach(session, tmp_path, program="minian")
    with pytest.raises(AttributeError, match="no 'movie'"):
        attach(cs.ImagingSession(xr.DataTree()), tmp_path)
    folder = run(to_suite2p(session.movie, tmp_path / "a", progress=False))
    stat = np.load(folder / "plane0" / "stat.npy", allow_pickle=True)
    stat[1]["iplane"] = 4
    for entry in stat:
        entry.setdefault("iplane", 0)
    np.save(folder / "plane0" / "stat.npy", stat, allow_pickle=True)
    with pytest.raises(RoiError, match="planes 0, 4, the movie is plane 0 alone"):
        attach(session, folder)


def test_traces_without_rois_are_attached_too(tmp_path):
    session = recorded(2)
    folder = run(to_suite2p(session.movie, tmp_path, progress=False))
    for k in range(2):
        (folder / f"plane{k}" / "stat.npy").unlink()
    found = attach(session, folder)
    assert "rois" not in found.tree.children
    assert found.traces.plane.values.tolist() == [0] * 3 + [1] * 4
    assert "y" not in found.traces.coords
    np.testing.assert_array_equal(found.traces.epoch, session.movie.epoch)


def test_a_prairieview_recording_goes_to_suite2p_and_back(tmp_path):
    write_recording(tmp_path / "TSeries-001", frames=24, shape=(16, 20), planes=2, neurons=2)
    session = cs.ImagingSession.open(tmp_path / "TSeries-001")
    # suite2p writes beside the recording; the recording still opens as what it is.
    folder = run(to_suite2p(session.movie, tmp_path / "TSeries-001", progress=False))
    again = cs.ImagingSession.open(tmp_path / "TSeries-001")
    found = attach(again, tmp_path / "TSeries-001")
    ours = again.movie.cs.extract(found.rois)
    np.testing.assert_allclose(found.traces, ours, rtol=1e-5)
    np.testing.assert_array_equal(found.traces.time_offset, ours.time_offset)
    assert folder.parent == tmp_path / "TSeries-001"


def write_caiman(path, shape, frames, rate, empty=False):
    """Components as CaImAn saves them: pixels count down the columns."""
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(5)
    masks = np.zeros((3, *shape))
    for mask in masks[: 2 if empty else 3]:
        y, x = rng.integers(0, shape[0] - 3), rng.integers(0, shape[1] - 3)
        mask[y : y + 3, x : x + 2] = rng.uniform(0.5, 1, (3, 2))
    flat = masks.transpose(0, 2, 1).reshape(3, -1)
    parts = [np.flatnonzero(one) for one in flat]
    traces = rng.random((3, frames))
    with h5py.File(path, "w") as file:
        file["dims"] = list(shape)
        file["params/data/fr"] = rate
        file["estimates/C"] = traces
        file["estimates/YrA"] = np.zeros_like(traces)
        file["estimates/F_dff"] = traces * 2
        file["estimates/idx_components"] = [0, 2]
        file["estimates/idx_components_bad"] = [1]
        file["estimates/Cn"] = masks.sum(0)
        file["estimates/A/data"] = np.concatenate(
            [one[at] for one, at in zip(flat, parts, strict=True)]
        )
        file["estimates/A/indices"] = np.concatenate(parts)
        file["estimates/A/indptr"] = np.cumsum([0, *(part.size for part in parts)])
        file["estimates/A/shape"] = [flat.shape[1], 3]
    return masks, traces


@pytest.mark.parametrize("empty", [False, True])
def test_results_of_caiman_are_attached_the_same_way(tmp_path, empty):
    session = recorded()
    valid = np.arange(FRAMES) != 6
    movie = session.movie.assign_coords(valid=("frames", valid))
    session = cs.ImagingSession(xr.DataTree()).assign(movie=movie)
    rate = session.frame_rate
    masks, traces = write_caiman(tmp_path / "r.hdf5", (ROWS, COLUMNS), FRAMES, rate, empty)
    found = attach(session, tmp_path / "r.hdf5")
    np.testing.assert_array_equal(found.traces.time, movie.time)
    np.testing.assert_array_equal(found.traces.epoch, movie.epoch)
    assert np.flatnonzero(found.dfof.isnull().any("neuron")).tolist() == [6]
    np.testing.assert_allclose(found.dfof[:, valid], 2 * traces[:, valid])
    assert found.traces.accepted.values.tolist() == [True, False, True]
    whole = np.zeros((3, ROWS, COLUMNS))
    rois = found.rois
    whole[rois.neuron, rois.y, rois.x] = rois
    np.testing.assert_allclose(whole, masks)
    ours = movie.cs.extract(rois)
    np.testing.assert_allclose(found.traces.y[: 2 if empty else 3], ours.y)
    assert found.traces.y.isnull().sum() == empty
    assert found.traces.time_offset.notnull().sum() == 3 - empty
    np.testing.assert_array_equal(found.tree["images"].y, movie.y)
    assert '"program": "CaImAn' in found.dfof.attrs["history"]
    assert "caiman" in found.tree.attrs
    write_caiman(tmp_path / "b.hdf5", (ROWS, COLUMNS), FRAMES - 1, rate)
    with pytest.raises(ArgumentError, match=r"caiman worked on 29 frames .* has 30\."):
        attach(session, tmp_path / "b.hdf5")
    write_caiman(tmp_path / "c.hdf5", (ROWS + 1, COLUMNS), FRAMES, rate)
    with pytest.raises(RoiError, match=r"images of 21 x 26 pixels .*this session has 20 x 26"):
        attach(session, tmp_path / "c.hdf5")
