"""Whole folders of suite2p: traces, images, settings and movies, in and out."""

import datetime as dt
import json
import os
import pickle
import subprocess
import tracemalloc
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.errors import (
    ArgumentError,
    CalscipyWarning,
    DimensionError,
    RecordingError,
    RoiError,
    StoreError,
    TargetExistsError,
)
from calscipy.io.suite2p import (
    is_suite2p,
    open_suite2p,
    open_suite2p_movie,
    rois_from_suite2p,
    to_suite2p,
)

ROWS, COLUMNS, FRAMES = 24, 30, 40
RATE = 7.5
# An interpreter that has suite2p; its own reader and its whole run are compared with ours.
THEIRS = os.environ.get("CALSCIPY_SUITE2P_PYTHON")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def plane_of_rois(rng, count):
    """What suite2p writes of each ROI, and its mask."""
    stat = []
    for k in range(count):
        y, x = np.mgrid[0:4, 0:3]
        y, x = (y + rng.integers(1, ROWS - 5)).ravel(), (x + rng.integers(1, COLUMNS - 4)).ravel()
        lam = rng.uniform(0.5, 2, y.size).astype("f4")
        stat.append(
            {
                "ypix": y,
                "xpix": x,
                "lam": lam,
                "med": [int(np.median(y)), int(np.median(x))],
                "npix": y.size,
                "npix_soma": np.int64(5),
                "radius": np.float64(2 + k),
                "skew": np.float32(0.5 * k),
                "aspect_ratio": 1.0,
                "overlap": np.zeros(y.size, bool),
                "soma_crop": rng.random(y.size) < 0.5,
                "neuropil_mask": np.arange(7 + k) * 3,
            }
        )
    return stat


def save(file, value):
    np.save(file, value, allow_pickle=True)


def write_folder(
    root, planes=2, *, layout="ops", channels=1, frames=FRAMES, version="1.1.0", **more
):
    """A folder as suite2p leaves it: before version 1.0 (``ops``) or since (``db``)."""
    rng = np.random.default_rng(4)
    truth = {}
    for plane in range(planes):
        place = Path(root) / f"plane{plane}"
        place.mkdir(parents=True)
        count = 3 + plane
        stat = plane_of_rois(rng, count)
        movie = rng.integers(0, 3000, (frames, ROWS, COLUMNS)).astype("<i2")
        movie.tofile(place / "data.bin")
        traces = np.stack(
            [movie[:, r["ypix"], r["xpix"]] @ (r["lam"] / r["lam"].sum()) for r in stat]
        ).astype("f4")
        arrays = {"F": traces, "Fneu": traces / 2, "spks": np.abs(np.diff(traces, prepend=0))}
        if channels == 2:
            other = rng.integers(0, 3000, movie.shape).astype("<i2")
            other.tofile(place / "data_chan2.bin")
            arrays |= {"F_chan2": traces / 3, "Fneu_chan2": traces / 4}
            save(place / "redcell.npy", rng.random((count, 2)).round().astype("f4"))
            truth[plane, "chan2"] = other
        for name, array in arrays.items():
            save(place / f"{name}.npy", array.astype("f4"))
        iscell = np.column_stack([np.arange(count) % 2, np.linspace(0.1, 0.9, count)])
        save(place / "iscell.npy", iscell)
        save(place / "stat.npy", np.array(stat, dtype=object))
        database = {
            "nplanes": planes,
            "nchannels": channels,
            "functional_chan": 1,
            "iplane": np.int64(plane),
            "Ly": ROWS,
            "Lx": COLUMNS,
            "nframes": frames,
            "data_path": [str(root)],
            "save_path": str(place),
            "ignore_flyback": None,
            "meanImg": np.zeros((ROWS, COLUMNS)),
        }
        settings = {"fs": RATE, "tau": 1.0, "version": version, "diameter": [12.0, 12.0]}
        settings["registration"] = {"nonrigid": False, "block_size": (128, 128)}
        registered = {
            "yoff": rng.integers(-3, 4, frames),
            "xoff": rng.integers(-3, 4, frames),
            "corrXY": rng.random(frames).astype("f4"),
            "badframes": np.arange(frames) == 5,
            "meanImg": movie.mean(0).astype("f4"),
            "refImg": movie[0],
            "yrange": [2, ROWS - 1],
            "xrange": [3, COLUMNS],
        }
        detected = {
            "max_proj": rng.random((ROWS - 3, COLUMNS - 3)).astype("f4"),
            "Vmax": np.ones(9),
        }
        detected["Vmap"] = np.array([np.ones((2, 2)), np.ones((1, 1))], dtype=object)
        if layout == "ops":
            now = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
            ops = {**database, **settings, "date_proc": now, **registered, **detected, **more}
            save(place / "ops.npy", ops)
        else:
            save(place / "db.npy", {**database, **more})
            save(place / "settings.npy", settings)
            save(place / "reg_outputs.npy", registered)
            save(place / "detect_outputs.npy", detected)
        truth[plane] = {"movie": movie, "stat": stat, "iscell": iscell, **arrays, **registered}
        truth[plane]["max_proj"] = detected["max_proj"]
    return truth


# -- in ------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["ops", "db"])
def test_everything_in_a_folder_is_read(tmp_path, layout):
    truth = write_folder(tmp_path / "suite2p", layout=layout, channels=2)
    for path in (tmp_path, tmp_path / "suite2p"):
        tree = open_suite2p(path)
    session = cs.ImagingSession(tree)
    traces = tree["traces"].to_dataset()
    assert sorted(traces.data_vars) == sorted(
        ["traces", "neuropil", "spikes", "traces_chan2", "neuropil_chan2"]
    )
    for name, file in {"traces": "F", "neuropil": "Fneu", "spikes": "spks"}.items():
        assert dask.is_dask_collection(traces[name].data)
        expected = np.concatenate([truth[k][file] for k in (0, 1)])
        np.testing.assert_array_equal(traces[name], expected)
        assert traces[name].dims == ("neuron", "time")
        assert traces[name].attrs["program"] == "suite2p 1.1.0"
    assert traces.neuron.values.tolist() == list(range(7))
    assert traces.plane.values.tolist() == [0, 0, 0, 1, 1, 1, 1]
    np.testing.assert_allclose(traces.time, np.arange(FRAMES) / RATE)
    assert traces.time.attrs["units"] == "s"
    cells = np.concatenate([truth[k]["iscell"] for k in (0, 1)])
    assert traces.iscell.dtype == bool
    assert traces.iscell.values.tolist() == (cells[:, 0] == 1).tolist()
    np.testing.assert_array_equal(traces.iscell_probability, cells[:, 1])
    assert traces.redcell.dtype == bool
    stat = truth[0]["stat"] + truth[1]["stat"]
    for name in ("npix", "npix_soma", "radius", "skew", "aspect_ratio"):
        np.testing.assert_allclose(traces[name], [entry[name] for entry in stat])
    assert traces.npix.dtype == np.int64
    assert traces.med_y.values.tolist() == [entry["med"][0] for entry in stat]
    centre = [np.average(entry["xpix"], weights=entry["lam"]) for entry in stat]
    np.testing.assert_allclose(traces.x, centre)
    # ROIs in long form give back the traces, and carry what is known of each pixel.
    assert session.movie.dtype == np.int16
    rois = session.rois
    assert rois.sizes["pixel"] == sum(entry["npix"] for entry in stat)
    assert rois.soma_crop.values.tolist() == np.concatenate([s["soma_crop"] for s in stat]).tolist()
    assert rois.attrs["image_shape"] == [ROWS, COLUMNS]
    assert rois.drop_vars(["soma_crop", "overlap"]).equals(rois_from_suite2p(tmp_path / "suite2p"))
    again = session.movie.sel(channel="Ch1").chunk().cs.extract(rois)
    np.testing.assert_allclose(again, traces.traces, rtol=1e-5)
    mask = tree["rois"].to_dataset()
    for at, entry in enumerate(stat):
        here = mask.neuropil_neuron.values == at
        flat = mask.neuropil_y.values[here] * COLUMNS + mask.neuropil_x.values[here]
        assert flat.tolist() == entry["neuropil_mask"].tolist()


@pytest.mark.parametrize("layout", ["ops", "db"])
def test_images_shifts_and_settings_are_read(tmp_path, layout):
    truth = write_folder(tmp_path / "suite2p", layout=layout)
    tree = open_suite2p(tmp_path / "suite2p")
    images = tree["images"].to_dataset()
    assert images.meanImg.dims == ("plane", "y", "x")
    np.testing.assert_array_equal(images.meanImg[1], truth[1]["meanImg"])
    np.testing.assert_array_equal(images.refImg[0], truth[0]["refImg"])
    # Cropped images lie where they were cut out, and nothing is made up around them.
    inner = images.max_proj[0, 2 : ROWS - 1, 3:]
    np.testing.assert_array_equal(inner, truth[0]["max_proj"])
    assert int(images.max_proj[0].notnull().sum()) == inner.size
    shifts = tree["registration"].to_dataset()
    assert shifts.y_shift.dims == ("frames", "plane")
    np.testing.assert_array_equal(shifts.y_shift[:, 1], truth[1]["yoff"])
    np.testing.assert_array_equal(shifts.x_shift[:, 0], truth[0]["xoff"])
    assert np.flatnonzero(shifts.badframes[:, 0]).tolist() == [5]
    state = tree.attrs["suite2p"]["plane1"]
    assert state["fs"] == RATE
    assert state["iplane"] == 1
    assert state["registration"] == {"nonrigid": False, "block_size": [128, 128]}
    assert state["diameter"] == [12.0, 12.0]
    assert "yoff" not in state
    if layout == "ops":
        assert state["date_proc"] == "2026-11-22T00:00:00+00:00"


def test_shifts_are_counted_as_calscipy_counts_them(tmp_path):
    """suite2p rolls a frame back by yoff and xoff; `apply_shifts` must do the same."""
    truth = write_folder(tmp_path / "suite2p", planes=1)
    tree = open_suite2p(tmp_path)
    assert tree["registration"].y_shift.dims == ("frames",)
    rng = np.random.default_rng(0)
    raw = cs.from_numpy(rng.random((FRAMES, ROWS, COLUMNS)), frame_rate=RATE)
    ours = raw.cs.apply_shifts(tree["registration"].to_dataset())
    for t in range(5):
        back = np.roll(raw[t], (-truth[0]["yoff"][t], -truth[0]["xoff"][t]), (0, 1))
        np.testing.assert_allclose(ours[t, 3:-3, 3:-3], back[3:-3, 3:-3], rtol=1e-6)


def test_a_single_plane_has_no_plane_dimension(tmp_path):
    truth = write_folder(tmp_path / "suite2p", planes=1)
    tree = open_suite2p(tmp_path / "suite2p" / "plane0")
    assert tree["movie/movie"].dims == ("frames", "y", "x")
    assert "plane" not in tree["movie"].coords
    assert tree["images/meanImg"].dims == ("y", "x")
    np.testing.assert_array_equal(tree["movie/movie"], truth[0]["movie"])
    alone = open_suite2p(tmp_path / "suite2p", movie=False)
    assert "movie" not in alone.children
    assert alone["traces"].to_dataset().equals(tree["traces"].to_dataset())


def test_one_plane_of_several_keeps_its_number(tmp_path):
    truth = write_folder(tmp_path / "suite2p")
    session = cs.ImagingSession(open_suite2p(tmp_path / "suite2p" / "plane1"))
    assert session.movie.plane.item() == 1
    assert session.traces.plane.values.tolist() == [1] * 4
    assert session.traces.neuron.values.tolist() == list(range(4))
    again = session.movie.chunk().cs.extract(session.rois)
    np.testing.assert_allclose(again, truth[1]["F"], rtol=1e-5)


def test_what_lies_in_files_stays_there_until_it_is_needed(tmp_path, monkeypatch):
    write_folder(tmp_path / "suite2p")
    tree = open_suite2p(tmp_path)
    clone = pickle.loads(pickle.dumps(tree))
    assert clone["traces"].to_dataset().identical(tree["traces"].to_dataset())
    for name in ("F", "Fneu", "spks"):
        (tmp_path / "suite2p" / "plane0" / f"{name}.npy").unlink()
    open_again = tree["traces"].to_dataset()
    assert open_again.isel(neuron=slice(3, None)).traces.notnull().all()
    with pytest.raises(RecordingError, match=r"F\.npy: the file was changed or moved"):
        open_again.traces.compute()


def test_frame_rates_are_those_of_the_files_or_the_caller(tmp_path):
    write_folder(tmp_path / "suite2p", planes=1)
    for rate in (RATE, RATE * 1.005):  # rounded, as people do
        tree = open_suite2p(tmp_path, frame_rate=rate)
        assert cs.ImagingSession(tree).frame_rate == pytest.approx(rate)
    with pytest.warns(CalscipyWarning, match=r"worked with 7\.5 frames/s, but the rate is 30"):
        tree = open_suite2p(tmp_path, frame_rate=30)
    assert cs.ImagingSession(tree).frame_rate == pytest.approx(30)
    np.testing.assert_allclose(tree["traces"].time, np.arange(FRAMES) / 30)
    for wrong in (0, -1, np.nan, "a", True):
        with pytest.raises(ArgumentError, match="frame_rate must be a positive number"):
            open_suite2p(tmp_path, frame_rate=wrong)
    write_folder(tmp_path / "b", planes=1, fs=None)
    with pytest.raises(ArgumentError, match=r"do not say how fast.*frame_rate="):
        open_suite2p(tmp_path / "b")
    assert open_suite2p(tmp_path / "b", frame_rate=5)["traces"].sizes["time"] == FRAMES


def test_planes_of_unequal_length_are_kept_whole(tmp_path):
    write_folder(tmp_path / "suite2p")
    short = tmp_path / "suite2p" / "plane1"
    for name in ("F", "Fneu", "spks"):
        save(short / f"{name}.npy", np.load(short / f"{name}.npy")[:, :-1])
    np.fromfile(short / "data.bin", "<i2")[: -ROWS * COLUMNS].tofile(short / "data.bin")
    ops = np.load(short / "ops.npy", allow_pickle=True).item()
    save(short / "ops.npy", {**ops, "nframes": FRAMES - 1, "yoff": ops["yoff"][:-1]})
    tree = open_suite2p(tmp_path)
    traces = tree["traces/traces"]
    assert traces.sizes["time"] == FRAMES
    assert int(traces.isnull().sum()) == 4
    assert traces[3:, -1].isnull().all()
    movie = tree["movie/movie"]
    assert movie.valid.values.sum() == 2 * FRAMES - 1
    assert not movie.valid[-1, 1]
    assert (movie[-1, 1] == 0).all()
    assert np.isnan(tree["registration/y_shift"][-1, 1])


def test_planes_without_rois_are_no_obstacle(tmp_path):
    truth = write_folder(tmp_path / "suite2p", planes=3)
    flyback = tmp_path / "suite2p" / "plane1"
    for name in ("F", "Fneu", "spks", "stat", "iscell"):
        (flyback / f"{name}.npy").unlink()
    tree = open_suite2p(tmp_path)
    assert tree["traces"].plane.values.tolist() == [0] * 3 + [2] * 5
    np.testing.assert_array_equal(tree["traces/traces"][3:], truth[2]["F"])
    assert tree["movie"].sizes["plane"] == 3
    (tmp_path / "suite2p" / "plane2" / "spks.npy").unlink()
    with pytest.raises(RecordingError, match=r"other planes have spks\.npy, but not .*plane2"):
        open_suite2p(tmp_path)


def test_folders_with_little_in_them_open(tmp_path):
    write_folder(tmp_path / "suite2p", planes=1)
    plane = tmp_path / "suite2p" / "plane0"
    for name in ("Fneu", "spks", "iscell"):
        (plane / f"{name}.npy").unlink()
    assert list(open_suite2p(tmp_path)["traces"].data_vars) == ["traces"]
    (plane / "ops.npy").unlink()
    (plane / "data.bin").unlink()
    tree = open_suite2p(tmp_path, frame_rate=RATE)
    assert list(tree.children) == ["rois", "traces"]
    (plane / "stat.npy").unlink()
    tree = open_suite2p(tmp_path, frame_rate=RATE)
    assert list(tree.children) == ["traces"]
    assert tree["traces"].plane.values.tolist() == [0] * 3


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("F", np.zeros((2, FRAMES), "f4"), "should all have one row"),
        ("spks", np.zeros((3, FRAMES + 1), "f4"), "should all have one row"),
        ("F", np.zeros(3, "f4"), "should all have one row"),
        ("iscell", np.zeros((5, 2)), r"iscell\.npy: one row for each of 3 ROIs"),
        ("iscell", np.zeros((3, 4)), r"iscell\.npy: one row for each of 3 ROIs"),
        ("F", np.array(["a"]), r"F\.npy: not a whole \.npy file of numbers"),
        ("F", np.array([None]), r"F\.npy: not a whole \.npy file of numbers"),
    ],
)
def test_files_that_do_not_fit_each_other_are_refused(tmp_path, name, array, message):
    write_folder(tmp_path / "suite2p", planes=1)
    save(tmp_path / "suite2p" / "plane0" / f"{name}.npy", array)
    with pytest.raises(RecordingError, match=message):
        open_suite2p(tmp_path)


def test_traces_of_another_run_than_the_rois_are_refused(tmp_path):
    write_folder(tmp_path / "suite2p", planes=1)
    plane = tmp_path / "suite2p" / "plane0"
    for name in ("F", "Fneu", "spks"):
        save(plane / f"{name}.npy", np.zeros((9, FRAMES), "f4"))
    with pytest.raises(RecordingError, match=r"stat\.npy has 3 ROIs and the traces 9 rows"):
        open_suite2p(tmp_path)


def test_values_that_fit_no_table_are_named_once(tmp_path):
    write_folder(tmp_path / "suite2p", planes=1)
    file = tmp_path / "suite2p" / "plane0" / "stat.npy"
    stat = np.load(file, allow_pickle=True)
    for at, entry in enumerate(stat):
        entry["imerge"] = list(range(at))
        entry["label"] = "abc"[at]
        entry["one"] = np.array([at * 0.5])
        entry["odd/name"] = 1
        entry["time"] = 3
        entry["nested"] = {"a": 1}
    del stat[1]["radius"]
    stat[0]["late"] = 3
    save(file, stat)
    with pytest.warns(CalscipyWarning, match="left out: 'odd/name', imerge, nested, time") as told:
        traces = open_suite2p(tmp_path)["traces"].to_dataset()
    assert len(told) == 1
    assert traces.label.values.tolist() == ["a", "b", "c"]
    assert traces.one.values.tolist() == [0, 0.5, 1]
    np.testing.assert_array_equal(traces.radius, [2, np.nan, 4])
    np.testing.assert_array_equal(traces.late, [3, np.nan, np.nan])
    assert traces.time.size == FRAMES


def test_shared_arrays_and_endless_names_do_not_fill_the_memory(tmp_path):
    write_folder(tmp_path / "suite2p", planes=1)
    file = tmp_path / "suite2p" / "plane0" / "stat.npy"
    entry = np.load(file, allow_pickle=True)[0]
    shared = np.zeros(10_000)
    many = [{**entry, "big": shared, "neuropil_mask": None} for _ in range(300)]
    for name in ("F", "Fneu", "spks", "iscell"):
        (file.parent / f"{name}.npy").unlink()
    save(file, np.array(many, dtype=object))
    with pytest.raises(RoiError, match="more values than bytes"):
        open_suite2p(tmp_path)
    save(file, np.array([{**entry, f"key{k}": k} for k in range(300)], dtype=object))
    with pytest.raises(RoiError, match="over 256 different names"):
        open_suite2p(tmp_path)
    nested = {}
    for _ in range(40):  # 2**40 entries, if each were visited
        nested = {"a": nested, "b": nested}
    ops = np.load(file.with_name("ops.npy"), allow_pickle=True).item()
    save(
        file.with_name("ops.npy"),
        {**ops, "deep": nested, "wide": dict.fromkeys(map(str, range(5000)), 1)},
    )
    save(file, np.array([entry], dtype=object))
    tree = open_suite2p(tmp_path)
    assert len(json.dumps(tree.attrs["suite2p"])) < 100_000
    itself = {}
    itself["me"] = itself
    save(file.with_name("ops.npy"), {**ops, "circle": itself})
    assert open_suite2p(tmp_path)["rois"].sizes["pixel"] == 12


def test_curation_of_all_planes_together_is_not_lost_in_silence(tmp_path):
    truth = write_folder(tmp_path / "suite2p")
    combined = tmp_path / "suite2p" / "combined"
    combined.mkdir()
    cells = np.concatenate([truth[k]["iscell"] for k in (0, 1)])
    save(combined / "iscell.npy", cells)
    open_suite2p(tmp_path)
    cells[2:4, 0] = 1 - cells[2:4, 0]
    save(combined / "iscell.npy", cells)
    with pytest.warns(CalscipyWarning, match=r"combined/iscell\.npy differs .* for 2 ROIs"):
        tree = open_suite2p(tmp_path)
    assert tree["traces"].iscell.values.tolist() == [False, True, False, False, True, False, True]


def test_links_out_of_the_folder_are_refused(tmp_path):
    write_folder(tmp_path / "suite2p", planes=1)
    (tmp_path / "secret").mkdir()
    plane = tmp_path / "suite2p" / "plane0"
    for name in ("F.npy", "data.bin", "ops.npy", "stat.npy", "iscell.npy"):
        (plane / name).rename(tmp_path / "secret" / name)
        (plane / name).symlink_to(tmp_path / "secret" / name)
        with pytest.raises(RecordingError, match=rf"{name} is a link that leads out of .*suite2p"):
            open_suite2p(tmp_path / "suite2p")
        (plane / name).unlink()
        (tmp_path / "secret" / name).rename(plane / name)
    (plane / "data.bin").rename(tmp_path / "fast.bin")
    (plane / "data.bin").symlink_to(tmp_path / "fast.bin")
    with pytest.raises(RecordingError, match="leads out"):
        open_suite2p_movie(tmp_path / "suite2p")
    assert open_suite2p_movie(plane / "data.bin").sizes["frames"] == FRAMES  # named by the user


def test_settings_that_run_code_are_refused(tmp_path):
    write_folder(tmp_path / "suite2p", planes=1, layout="db")
    plane = tmp_path / "suite2p" / "plane0"

    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    for name in ("settings.npy", "db.npy", "reg_outputs.npy", "detect_outputs.npy"):
        good = (plane / name).read_bytes()
        save(plane / name, {"fs": Hostile()})
        with pytest.raises(RecordingError, match=rf"{name}.*asks for posix\.mkdir"):
            open_suite2p(tmp_path)
        (plane / name).write_bytes(good)
    assert not (tmp_path / "ran").exists()


def test_folders_are_known_by_their_files(tmp_path):
    write_folder(tmp_path / "night" / "suite2p", planes=1)
    plane = tmp_path / "night" / "suite2p" / "plane0"
    known = [plane, plane.parent, plane.parent.parent, plane / "data.bin"]
    assert all(map(is_suite2p, known))
    assert list(open_suite2p(plane / "data.bin").children) == ["movie"]
    assert not is_suite2p(tmp_path)
    assert not is_suite2p(plane / "F.npy")
    # Beside a recording, the folder of the results is not the recording.
    (tmp_path / "night" / "TSeries.xml").write_text("<PVScan/>")
    assert not is_suite2p(tmp_path / "night")
    assert is_suite2p(plane.parent)
    (tmp_path / "planes" / "plane0").mkdir(parents=True)
    (tmp_path / "data.bin").write_bytes(b"12")
    assert not is_suite2p(tmp_path / "planes")
    assert not is_suite2p(tmp_path / "data.bin")
    for path, message in (
        (tmp_path / "planes", "no folder of suite2p"),
        (tmp_path / "gone", "no such folder"),
        (plane.parent / "combined", "no such folder"),
    ):
        with pytest.raises(RecordingError, match=message):
            open_suite2p(path, frame_rate=1)
    (plane.parent / "combined").mkdir()
    with pytest.raises(RecordingError, match="side by side"):
        open_suite2p(plane.parent / "combined")


def test_a_session_of_suite2p_is_saved_and_selected_from(tmp_path):
    write_folder(tmp_path / "suite2p", channels=2)
    session = cs.ImagingSession(open_suite2p(tmp_path))
    saved = session.save(tmp_path / "a.zarr", progress=False)
    for name, node in session.tree.children.items():
        assert saved.tree[name].to_dataset().equals(node.to_dataset())
    assert saved.tree.attrs["suite2p"] == session.tree.attrs["suite2p"]
    part = session.sel(plane=1).sel(time=slice(1, 2))
    assert part.traces.sizes == {"neuron": 4, "time": 8}
    assert part.tree["registration"].sizes == {"frames": 8}
    assert part.tree["images/meanImg"].dims == ("y", "x")
    dfof = session.cs.dfof(method="percentile", percentile=8)
    assert dfof.dfof.sizes == {"neuron": 7, "time": FRAMES}


# -- the movie -----------------------------------------------------------------------------


def test_the_movie_is_lazy_and_read_only(tmp_path):
    truth = write_folder(tmp_path / "suite2p", channels=2)
    before = (tmp_path / "suite2p" / "plane0" / "data.bin").read_bytes()
    movie = open_suite2p_movie(tmp_path / "suite2p")
    assert dask.is_dask_collection(movie.data)
    assert movie.dims == ("frames", "channel", "plane", "y", "x")
    assert movie.channel.values.tolist() == ["Ch1", "Ch2"]
    np.testing.assert_array_equal(movie[:, 0, 1], truth[1]["movie"])
    np.testing.assert_array_equal(movie[:, 1, 0], truth[0, "chan2"])
    part = movie.isel(frames=[9, 3], y=[5, 1, 2], x=slice(7, 2, -1))
    np.testing.assert_array_equal(part[:, 0, 0], truth[0]["movie"][[9, 3]][:, [5, 1, 2], 7:2:-1])
    bare = open_suite2p_movie(tmp_path / "suite2p", chunks=None)
    assert not dask.is_dask_collection(bare.variable._data)
    part = bare.isel(frames=slice(3, 30, 4), plane=1, y=3, x=[2, 0])
    np.testing.assert_array_equal(part[:, 0], truth[1]["movie"][3:30:4, 3, [2, 0]])
    values = bare.values
    values += 1
    assert (tmp_path / "suite2p" / "plane0" / "data.bin").read_bytes() == before
    banded = open_suite2p_movie(tmp_path / "suite2p", chunks="time")
    assert banded.chunksizes["frames"] == (FRAMES,)
    assert banded.equals(movie)
    assert "suite2p registration" in movie.attrs["history"]


def test_the_second_channel_may_be_the_functional_one(tmp_path):
    truth = write_folder(tmp_path / "suite2p", planes=1, channels=2, functional_chan=2)
    movie = open_suite2p_movie(tmp_path / "suite2p")
    np.testing.assert_array_equal(movie.sel(channel="Ch2"), truth[0]["movie"])
    np.testing.assert_array_equal(movie.sel(channel="Ch1"), truth[0, "chan2"])


def test_settings_that_were_run_over_do_not_swap_channels(tmp_path):
    """Before 1.0, the defaults that a user starts from replace what ops.npy says."""
    movie = recording(("frames", "channel", "y", "x"))
    folder = to_suite2p(movie, tmp_path, functional_channel="green", progress=False)
    for name in ("ops", "db"):
        values = np.load(folder / "plane0" / f"{name}.npy", allow_pickle=True).item()
        save(folder / "plane0" / f"{name}.npy", {**values, "functional_chan": 1})
    xr.testing.assert_identical(open_suite2p_movie(folder).compute(), movie)


def test_movies_of_another_size_than_the_settings_are_refused(tmp_path):
    write_folder(tmp_path / "suite2p", planes=1)
    file = tmp_path / "suite2p" / "plane0" / "data.bin"
    whole = FRAMES * ROWS * COLUMNS * 2
    os.truncate(file, whole - 100)
    message = rf"data\.bin: {whole - 100} bytes, but 40 x 24 x 30 numbers of <i2 need {whole}"
    for path in (file, file.parent, tmp_path):
        with pytest.raises(RecordingError, match=message):
            open_suite2p_movie(path)
    with pytest.raises(RecordingError, match=message):
        open_suite2p(tmp_path)
    assert "movie" not in open_suite2p(tmp_path, movie=False).children
    file.unlink()
    with pytest.raises(RecordingError, match=r"no data\.bin in every plane"):
        open_suite2p_movie(tmp_path)


def test_a_movie_alone_needs_its_size_and_rate(tmp_path):
    values = np.arange(3 * 4 * 5, dtype="<i2").reshape(3, 4, 5)
    file = tmp_path / "data.bin"
    values.tofile(file)
    with pytest.raises(ArgumentError, match=r"data\.bin: nothing beside it says .*image_shape="):
        open_suite2p_movie(file)
    with pytest.raises(ArgumentError, match="frame_rate="):
        open_suite2p_movie(file, image_shape=(4, 5))
    movie = open_suite2p_movie(file, image_shape=(4, 5), frame_rate=2)
    np.testing.assert_array_equal(movie, values)
    assert movie.time.values.tolist() == [0, 0.5, 1]
    with pytest.raises(RecordingError, match=r"120 bytes, but 1 x 7 x 5"):
        open_suite2p_movie(file, image_shape=(7, 5), frame_rate=2)
    with pytest.raises(RecordingError, match="more than"):
        open_suite2p_movie(file, image_shape=(2**20, 2**20), frame_rate=2)
    with pytest.raises(RoiError, match="image_shape"):
        open_suite2p_movie(file, image_shape=(4, 5.0), frame_rate=2)


def test_settings_that_claim_terabytes_take_no_memory(tmp_path):
    write_folder(tmp_path / "suite2p", planes=1, Ly=2**20, Lx=2**20)
    with pytest.raises(RecordingError, match="more than"):
        open_suite2p_movie(tmp_path)
    write_folder(tmp_path / "b", planes=1, nframes=2**40)
    with pytest.raises(RecordingError, match=r"data\.bin: \d+ bytes, but 1099511627776 x 24 x 30"):
        open_suite2p_movie(tmp_path / "b")


# -- out -----------------------------------------------------------------------------------


def recording(dims=("frames", "channel", "plane", "y", "x"), dtype="uint16", seed=0, chunks=None):
    sizes = {"frames": 30, "channel": 2, "plane": 3, "y": 11, "x": 13}
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 2**15, [sizes[dim] for dim in dims]).astype(dtype)
    movie = cs.from_numpy(values, dims=dims, frame_rate=7.5, microns_per_pixel=1.5)
    times = movie.time.values + rng.uniform(0, 1e-3, 30)
    movie = movie.assign_coords(
        time=("frames", times, movie.time.attrs),
        epoch=("frames", np.repeat([1, 2], 15)),
    ).assign_attrs(history="2026-01-01T00:00:00Z calscipy 0.0 made {}", objective="16x")
    if "channel" in dims:
        movie = movie.assign_coords(channel=["red", "green"])
    if "plane" in dims:
        planes = times[:, None] + np.arange(3) * 0.04
        movie = movie.assign_coords(plane=[4, 5, 6], plane_time=(("frames", "plane"), planes))
        valid = np.ones((30, 3), bool)
        valid[7, 1] = valid[20] = False
        movie = movie.assign_coords(valid=(("frames", "plane"), valid))
    return movie if chunks is None else movie.chunk(chunks)


@pytest.mark.parametrize(
    ("dims", "chunks"),
    [
        (("frames", "y", "x"), None),
        (("frames", "y", "x"), {"frames": 7, "y": 4}),
        (("frames", "channel", "y", "x"), {"frames": 8}),
        (("frames", "plane", "y", "x"), {"frames": 30, "y": 3, "x": 5, "plane": 2}),
        (("frames", "channel", "plane", "y", "x"), {"frames": 11}),
        (("y", "x", "plane", "frames", "channel"), {"frames": 4}),
    ],
)
@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint8", "int64"])
def test_movies_come_back_as_they_went(tmp_path, dims, chunks, dtype):
    movie = recording(dims, dtype, chunks=chunks)
    options = {"functional_channel": "green"} if "channel" in dims else {}
    folder = to_suite2p(movie, tmp_path / "new", progress=False, **options)
    assert folder == tmp_path / "new" / "suite2p"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["suite2p"]
    back = open_suite2p_movie(folder)
    xr.testing.assert_identical(back.compute(), movie.compute())
    plane = movie.isel(plane=1) if "plane" in dims else movie
    raw = plane.isel(channel=1) if "channel" in dims else plane
    files = np.fromfile(folder / f"plane{int('plane' in dims)}" / "data.bin", "<i2")
    order = ("frames", "y", "x")
    np.testing.assert_array_equal(files.reshape(30, 11, 13), raw.transpose(*order).astype("i2"))
    one = open_suite2p_movie(folder / f"plane{int('plane' in dims)}")
    xr.testing.assert_identical(one.compute(), plane.compute())


def test_what_suite2p_needs_is_beside_the_movie(tmp_path):
    movie = recording(chunks={"frames": 8})
    folder = to_suite2p(
        movie, tmp_path, functional_channel="green", settings={"tau": 0.7}, progress=False
    )
    assert sorted(path.name for path in folder.iterdir()) == [
        "bad_frames.npy", "calscipy.json", "plane0", "plane1", "plane2",
    ]  # fmt: skip
    assert np.load(folder / "bad_frames.npy").tolist() == [7, 20]
    for k in range(3):
        place = folder / f"plane{k}"
        ops, db, settings = (
            np.load(place / f"{name}.npy", allow_pickle=True).item()
            for name in ("ops", "db", "settings")
        )
        for known in (ops, db):
            assert (known["Ly"], known["Lx"], known["nframes"]) == (11, 13, 30)
            assert (known["nplanes"], known["nchannels"], known["iplane"]) == (3, 2, k)
            assert known["functional_chan"] == 2
            assert known["reg_file"] == str(place / "data.bin")
            assert known["reg_file_chan2"] == str(place / "data_chan2.bin")
            assert known["save_path0"] == str(tmp_path)
            mean = movie.isel(channel=1, plane=k).mean("frames")
            np.testing.assert_allclose(known["meanImg"], mean, rtol=1e-6)
            mean = movie.isel(channel=0, plane=k).mean("frames")
            np.testing.assert_allclose(known["meanImg_chan2"], mean, rtol=1e-6)
        assert settings == {"fs": pytest.approx(7.5, rel=1e-3), "tau": 0.7}
        assert ops["fs"] == settings["fs"]
        assert None not in [type(value) if value is None else 1 for value in ops.values()]
    assert is_suite2p(folder)


def test_nothing_is_computed_twice_or_early(tmp_path):
    calls = []

    def count(block):
        calls.append(block.shape)
        return block

    movie = recording(("frames", "y", "x"), chunks={"frames": 6})
    counted = movie.copy(
        data=movie.data.map_blocks(count, dtype=movie.dtype, meta=movie.data._meta)
    )
    to_suite2p(counted, tmp_path, progress=False)
    assert calls == [(6, 11, 13)] * 5


@pytest.mark.parametrize("chunks", [None, {"frames": 10}])
def test_values_beyond_int16_are_refused_and_halved_on_request(tmp_path, chunks):
    movie = recording(("frames", "y", "x"), chunks=chunks).compute()
    movie[14, 3, 4] = 40000
    movie[14, 3, 5] = 50001
    movie = movie.chunk(chunks) if chunks else movie
    frames = "10 to 19" if chunks else "0 to 29"
    count = f"2 of {1430 if chunks else 4290} values in the frames {frames}"
    with pytest.raises(ArgumentError, match=rf"{count}.*largest is 50001.*halve=True"):
        to_suite2p(movie, tmp_path / "a", progress=False)
    assert list(tmp_path.iterdir()) == []
    folder = to_suite2p(movie, tmp_path / "b", halve=True, progress=False)
    back = open_suite2p_movie(folder)
    assert back.dtype == np.int16
    np.testing.assert_array_equal(back, movie // 2)
    assert '{"halve": true}' in back.attrs["history"].splitlines()[-1]
    folder = to_suite2p(movie, tmp_path / "c", scale=0.5, progress=False)
    np.testing.assert_array_equal(open_suite2p_movie(folder), np.rint(movie * 0.5))
    negative = movie.astype("int32") - 40000
    with pytest.raises(ArgumentError, match=r"smallest is -399\d\d\."):
        to_suite2p(negative, tmp_path / "d", progress=False)


def test_fractions_are_rounded_on_request_alone(tmp_path):
    movie = recording(("frames", "y", "x")) * np.float32(0.25)
    with pytest.raises(ArgumentError, match=r"of float32\. Round it on purpose: scale=1"):
        to_suite2p(movie, tmp_path / "a", progress=False)
    folder = to_suite2p(movie, tmp_path / "b", scale=2, progress=False)
    np.testing.assert_array_equal(open_suite2p_movie(folder), np.rint(movie * 2))
    movie[3, 4, 5] = np.nan
    with pytest.raises(ArgumentError, match=r"1 values in the frames 0 to 29 are NaN.*fillna"):
        to_suite2p(movie, tmp_path / "c", scale=1, progress=False)
    for wrong in ({"halve": True, "scale": 1}, {"scale": 0}, {"scale": np.nan}, {"scale": "1"}):
        with pytest.raises(ArgumentError, match="scale"):
            to_suite2p(movie, tmp_path / "d", progress=False, **wrong)
    with pytest.raises(ArgumentError, match="real numbers"):
        to_suite2p(movie.astype(complex), tmp_path / "d", progress=False)


def test_channels_are_chosen_on_purpose(tmp_path):
    movie = recording(("frames", "channel", "y", "x"))
    with pytest.raises(ArgumentError, match=r"channels \['red', 'green'\].*functional_channel="):
        to_suite2p(movie, tmp_path, progress=False)
    with pytest.raises(ArgumentError, match=r"no channel 'blue'; there are \['red', 'green'\]"):
        to_suite2p(movie, tmp_path, functional_channel="blue", progress=False)
    three = xr.concat([movie, movie.isel(channel=[0])], "channel", join="outer")
    with pytest.raises(ArgumentError, match=r"up to 2 channels, the movie has 3"):
        to_suite2p(three, tmp_path, progress=False)
    with pytest.raises(DimensionError, match="to_suite2p needs the dimensions"):
        to_suite2p(movie.isel(y=0), tmp_path, progress=False)
    with pytest.raises(ArgumentError, match="writes movies"):
        to_suite2p(movie.isel(frames=slice(0)), tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []
    one = to_suite2p(movie.sel(channel="green"), tmp_path / "one", progress=False)
    assert open_suite2p_movie(one).channel.item() == "green"


def test_nothing_is_written_over_and_nothing_is_left_behind(tmp_path, monkeypatch):
    movie = recording(("frames", "y", "x"))
    (tmp_path / "suite2p").mkdir()
    (tmp_path / "suite2p" / "thesis.txt").write_text("mine")
    with pytest.raises(TargetExistsError, match="exists already"):
        to_suite2p(movie, tmp_path, progress=False)
    assert [path.name for path in tmp_path.rglob("*")] == ["suite2p", "thesis.txt"]
    with pytest.raises(StoreError, match="no such folder to write into"):
        to_suite2p(movie, tmp_path / "a" / "b", progress=False)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ArgumentError, match="is a file"):
        to_suite2p(movie, tmp_path / "file", progress=False)
    named = to_suite2p(movie, tmp_path / "other" / "suite2p", progress=False)
    assert named == tmp_path / "other" / "suite2p"

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="the disk is full"):
        to_suite2p(movie, tmp_path / "new", progress=False)
    assert not (tmp_path / "new").exists()


def test_a_registered_movie_is_not_taken_for_the_recorded_one(tmp_path):
    movie = recording(("frames", "y", "x"))
    folder = to_suite2p(movie, tmp_path, progress=False)
    file = folder / "plane0" / "data.bin"
    values = np.fromfile(file, "<i2")
    values[:5] = -3  # the rims of shifted frames
    values.tofile(file)
    with pytest.raises(ArgumentError, match=r"values from -3 .*do not fit into uint16"):
        open_suite2p_movie(folder).compute()
    save(folder / "plane0" / "reg_outputs.npy", {"yoff": np.zeros(30, int), "version": "1.1.0"})
    back = open_suite2p_movie(folder)
    assert back.dtype == np.int16
    assert back.values.ravel()[:5].tolist() == [-3] * 5
    assert back.coords.equals(movie.coords)
    assert 'suite2p registration {"version": "1.1.0"}' in back.attrs["history"]


def test_labels_of_another_movie_are_not_taken(tmp_path):
    movie = recording(("frames", "y", "x"))
    folder = to_suite2p(movie, tmp_path / "a", progress=False)
    other = to_suite2p(movie.isel(y=slice(5)), tmp_path / "b", progress=False)
    (other / "calscipy.json").write_bytes((folder / "calscipy.json").read_bytes())
    back = open_suite2p_movie(other)
    assert back.dtype == np.int16
    assert back.y.attrs["units"] == "1"
    known = json.loads((other / "calscipy.json").read_text())
    wrong = ("{", {"dims": ["a", "y", "x"]}, {"suite2p_functional_channel": 1}, {"dtype": "<c8"})
    for change in wrong:
        text = change if change == "{" else json.dumps(known | change)
        (other / "calscipy.json").write_text(text)
        with pytest.raises(RecordingError, match=r"calscipy\.json"):
            open_suite2p_movie(other)
        with pytest.raises(RecordingError, match=r"calscipy\.json"):
            open_suite2p(other)
    with pytest.warns(CalscipyWarning, match=r"worked with 7\.\d+ frames/s, but the rate is 30"):
        fast = open_suite2p_movie(folder, frame_rate=30)
    np.testing.assert_allclose(fast.time, np.arange(30) / 30)


def test_memory_stays_bounded_while_writing(tmp_path):
    import dask.array as da

    frames = da.random.default_rng(0).integers(0, 1000, (800, 256, 256), "u2", chunks=(20, -1, -1))
    movie = cs.from_numpy(frames, frame_rate=30)
    tracemalloc.start()
    to_suite2p(movie, tmp_path, progress=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < movie.nbytes / 4


# -- beside the program itself -------------------------------------------------------------


RUN = """
import sys
import numpy as np
import suite2p
folder, out = sys.argv[1:]
db = np.load(folder + "/suite2p/plane1/ops.npy", allow_pickle=True).item()
for name in ("data.bin", "data_chan2.bin"):
    path = folder + "/suite2p/plane1/" + name
    with suite2p.io.BinaryFile(db["Ly"], db["Lx"], path) as file:
        np.save(out + "/" + name, file[:] if hasattr(file, "__getitem__") else file.data)
if hasattr(suite2p, "default_settings"):
    settings = suite2p.default_settings()
    settings["torch_device"] = "cpu"
    settings["fs"] = db["fs"]
    settings["registration"]["nonrigid"] = False
    suite2p.run_s2p(db={"save_path0": folder}, settings=settings)
else:
    ops = suite2p.default_ops()
    ops |= {"fs": db["fs"], "nplanes": 2, "nchannels": 2, "nonrigid": False}
    suite2p.run_s2p(ops, {"save_path0": folder, "data_path": [folder + "/suite2p"]})
"""


def cells(frames=300, rows=96, columns=112):
    """Blinking cells that drift, in two planes and two channels."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:rows, :columns]
    movie = np.full((frames, 2, 2, rows, columns), 200.0, "f4")
    for plane in range(2):
        for _ in range(12):
            cy, cx = rng.uniform(12, rows - 12), rng.uniform(12, columns - 12)
            mask = np.exp(-((((y - cy) ** 2 + (x - cx) ** 2) / 18) ** 2))
            signal = np.zeros(frames)
            for start in rng.integers(0, frames, 10):
                signal[start:] += np.exp(-np.arange(frames - start) / 10)
            movie[:, 1, plane] += (50 + 800 * signal)[:, None, None] * mask
    for t in range(frames):
        movie[t] = np.roll(movie[t], rng.integers(-2, 3, 2), (-2, -1))
    movie += rng.normal(0, 15, movie.shape)
    found = cs.from_numpy(movie.clip(0).astype("u2"), frame_rate=7.5, microns_per_pixel=1.2)
    valid = np.ones((frames, 2), bool)
    valid[17, 1] = valid[40] = False
    return found.assign_coords(channel=["red", "green"], valid=(("frames", "plane"), valid))


@pytest.mark.skipif(
    THEIRS is None, reason="CALSCIPY_SUITE2P_PYTHON names no interpreter with suite2p"
)
def test_suite2p_itself_reads_runs_and_is_read(tmp_path):
    movie = cells()
    folder = to_suite2p(movie, tmp_path / "exp", functional_channel="green", progress=False)
    done = subprocess.run(
        [str(THEIRS), "-W", "ignore", "-c", RUN, str(tmp_path / "exp"), str(tmp_path)],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    for name, channel in (("data.bin", 1), ("data_chan2.bin", 0)):
        theirs = np.load(tmp_path / f"{name}.npy")
        np.testing.assert_array_equal(theirs, movie.isel(channel=channel, plane=1))
    session = cs.ImagingSession(open_suite2p(tmp_path / "exp"))
    traces = session.traces
    assert traces.sizes["neuron"] >= 10
    np.testing.assert_array_equal(traces.time, movie.time)
    theirs = np.concatenate([np.load(folder / f"plane{k}" / "F.npy") for k in (0, 1)])
    np.testing.assert_array_equal(traces, theirs)
    together = np.load(folder / "combined" / "F.npy")
    np.testing.assert_array_equal(traces, together)
    bad = session.tree["registration/badframes"].values
    assert np.flatnonzero(bad.any(1)).tolist() == [17, 40]
    # suite2p averages the pixels that it does not call shared, in the movie that it registered.
    registered = session.movie.sel(channel="green").drop_vars("valid").chunk()
    known = rois_from_suite2p(folder)
    own = known.isel(pixel=np.flatnonzero(~session.rois.overlap.values))
    again = registered.cs.extract(
        own.assign_coords(plane=session.rois.plane[~session.rois.overlap])
    )
    np.testing.assert_allclose(again, traces.sel(neuron=again.neuron), rtol=1e-4, atol=1e-2)
    # It moved frames back by what we call their shift.
    shifts = session.tree["registration"].to_dataset()[["y_shift", "x_shift"]]
    moved = movie.sel(channel="green").drop_vars("valid").cs.apply_shifts(shifts.drop_vars("time"))
    inner = {"y": slice(8, -8), "x": slice(8, -8)}
    np.testing.assert_array_equal(moved.isel(inner), registered.isel(inner))
