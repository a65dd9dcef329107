"""Results of CaImAn: components, traces, evaluation, background; and files that are none."""

import os
import pickle
import tracemalloc

import dask
import numpy as np
import pytest
import scipy.sparse

from calscipy import ImagingSession
from calscipy.errors import (
    ArgumentError,
    CalscipyError,
    CalscipyWarning,
    RecordingError,
    RoiError,
)
from calscipy.io import optional
from calscipy.io.caiman import is_caiman, open_caiman

h5py = pytest.importorskip("h5py")

DIMS, NEURONS, FRAMES = (6, 9), 4, 50


@pytest.fixture(autouse=True)
def _one_thread():
    with dask.config.set(scheduler="sync"):
        yield


def components(dims=DIMS, seed=0):
    """Weights (pixels, components), a few pixels each, as CaImAn's ``A``."""
    generator = np.random.default_rng(seed)
    dense = np.zeros((np.prod(dims), NEURONS))
    for column in range(NEURONS):
        chosen = generator.choice(len(dense), 5, replace=False)
        dense[chosen, column] = generator.random(5) + 0.1
    return scipy.sparse.csc_matrix(dense)


def put(group, name, value):
    """Write a value as CaImAn's ``save`` does: None as text, sparse matrices as groups."""
    if value is None:
        group[name] = b"NoneType"
    elif isinstance(value, dict):
        inner = group.create_group(name)
        for key, item in value.items():
            put(inner, key, item)
    elif scipy.sparse.issparse(value):
        parts = {key: getattr(value, key) for key in ("data", "indices", "indptr")}
        put(group, name, parts | {"shape": np.array(value.shape)})
    else:
        group[name] = value


def contents(dims=DIMS, **changes):
    generator = np.random.default_rng(1)

    def traces():
        return generator.random((NEURONS, FRAMES)).astype("float32")

    pixels = int(np.prod(dims))
    estimates = {
        "A": components(dims),
        "C": traces(),
        "YrA": traces(),
        "S": traces(),
        "F_dff": traces(),
        "b": generator.random((pixels, 2)),
        "f": generator.random((2, FRAMES)),
        "idx_components": np.array([0, 3]),
        "idx_components_bad": np.array([1, 2]),
        "SNR_comp": generator.random(NEURONS),
        "r_values": generator.random(NEURONS),
        "cnn_preds": None,
        "bl": generator.random(NEURONS),
        "g": generator.random((NEURONS, 2)),
        "Cn": generator.random(dims),
        "sn": generator.random(pixels),
        "W": None,
        "nr": NEURONS,
        "dims": np.array(dims),
    }
    settings = {
        "data": {"fr": 12.5, "decay_time": 0.4, "fnames": [b"movie.tif"], "caiman_version": "1.11",
                 "dims": np.array(dims)},
        "init": {"K": 4, "gSig": np.array([4, 4]), "method_init": "greedy_roi", "SC_kernel": None},
    }  # fmt: skip
    return {"dims": np.array(dims), "estimates": estimates | changes, "params": settings,
            "mmap_file": b"/data/movie.mmap"}  # fmt: skip


def write(path, what=None, **changes):
    with h5py.File(path, "w") as file:
        for name, value in (what or contents(**changes)).items():
            put(file, name, value)
    return path


def test_traces(tmp_path):
    what = contents()
    tree = open_caiman(write(tmp_path / "r.hdf5", what))
    estimates = what["estimates"]
    traces = tree["traces"].to_dataset()
    assert traces.traces.dims == ("neuron", "time")
    np.testing.assert_array_equal(traces.traces, estimates["C"] + estimates["YrA"])
    for ours, theirs in (("denoised", "C"), ("residual", "YrA"), ("spikes", "S"),
                         ("dfof", "F_dff")):  # fmt: skip
        np.testing.assert_array_equal(traces[ours], estimates[theirs])
        assert traces[ours].dtype == np.float32
        assert traces[ours].attrs["program"] == "CaImAn 1.11"
        assert traces[ours].attrs["units"] == "1"
    np.testing.assert_allclose(traces.time, np.arange(FRAMES) / 12.5)
    assert traces.accepted.values.tolist() == [True, False, False, True]
    assert "evaluated" not in traces.coords
    for name in ("SNR_comp", "r_values", "bl"):
        np.testing.assert_array_equal(traces[name], estimates[name])
        assert traces[name].dims == ("neuron",)
    np.testing.assert_array_equal(traces.g, estimates["g"])
    assert "cnn_preds" not in traces.coords
    assert tree.attrs["source"] == "r.hdf5"
    settings = tree.attrs["caiman"]
    assert settings["data"]["decay_time"] == 0.4
    assert settings["data"]["fnames"] == ["movie.tif"]
    assert settings["init"] == {
        "K": 4, "gSig": [4, 4], "method_init": "greedy_roi", "SC_kernel": None,
    }  # fmt: skip
    assert settings["mmap_file"] == "/data/movie.mmap"
    assert settings["estimates"] == {"nr": NEURONS}


def test_pixels_are_counted_down_the_columns(tmp_path):
    matrix = components()
    tree = open_caiman(write(tmp_path / "r.hdf5"))
    rois = tree["rois/rois"]
    found = np.zeros((*DIMS, NEURONS))
    found[rois.y, rois.x, rois.neuron] = rois.values
    np.testing.assert_array_equal(found, matrix.toarray().reshape(*DIMS, NEURONS, order="F"))
    assert rois.attrs["image_shape"] == list(DIMS)
    assert rois.y.attrs == {"units": "1", "long_name": "row"}
    images = found / found.sum(axis=(0, 1))
    rows, columns = np.indices(DIMS)
    np.testing.assert_allclose(tree["traces/y"], (images * rows[..., None]).sum(axis=(0, 1)))
    np.testing.assert_allclose(tree["traces/x"], (images * columns[..., None]).sum(axis=(0, 1)))


def test_one_known_pixel(tmp_path):
    """Pixel 7 of images of 6 rows is the second of the second column."""
    one = scipy.sparse.csc_matrix(([2.5], [7], [0, 1, 1, 1, 1]), shape=(54, NEURONS))
    tree = open_caiman(write(tmp_path / "r.hdf5", A=one))
    rois = tree["rois/rois"]
    assert (rois.y.values.tolist(), rois.x.values.tolist()) == ([1], [1])
    assert rois.values.tolist() == [2.5]
    assert np.isnan(tree["traces/y"].values).tolist() == [False, True, True, True]


def test_volumes(tmp_path):
    dims = (4, 5, 3)
    tree = open_caiman(write(tmp_path / "r.hdf5", contents(dims)))
    rois = tree["rois/rois"]
    found = np.zeros((*dims, NEURONS))
    found[rois.y, rois.x, rois.plane, rois.neuron] = rois.values
    expected = components(dims).toarray().reshape(*dims, NEURONS, order="F")
    np.testing.assert_array_equal(found, expected)
    assert rois.attrs["image_shape"] == [4, 5]
    assert tree["images/sn"].dims == ("plane", "y", "x")
    sn = contents(dims)["estimates"]["sn"].reshape(dims, order="F")
    np.testing.assert_array_equal(tree["images/sn"], np.moveaxis(sn, 2, 0))
    centre = np.einsum("yxpn,p->n", expected, range(3)) / expected.sum(axis=(0, 1, 2))
    assert tree["traces/plane"].values.tolist() == np.rint(centre).tolist()


def test_background_and_images(tmp_path):
    what = contents()
    estimates = what["estimates"]
    tree = open_caiman(write(tmp_path / "r.hdf5", what))
    spatial = tree["background/spatial"]
    assert spatial.dims == ("background", "y", "x")
    for at in range(2):
        np.testing.assert_array_equal(spatial[at], estimates["b"][:, at].reshape(DIMS, order="F"))
    np.testing.assert_array_equal(tree["background/temporal"], estimates["f"])
    np.testing.assert_array_equal(tree["images/Cn"], estimates["Cn"])
    np.testing.assert_array_equal(tree["images/sn"], estimates["sn"].reshape(DIMS, order="F"))
    # All of it together is the movie: A C + b f in Fortran order.
    movie = estimates["A"] @ estimates["C"] + estimates["b"] @ estimates["f"]
    shapes = np.zeros((*DIMS, NEURONS))
    rois = tree["rois/rois"]
    shapes[rois.y, rois.x, rois.neuron] = rois.values
    ours = np.einsum("yxn,nt->tyx", shapes, tree["traces/denoised"].values)
    ours += np.einsum("byx,bt->tyx", spatial.values, tree["background/temporal"].values)
    np.testing.assert_allclose(ours, movie.T.reshape(FRAMES, *DIMS[::-1]).swapaxes(1, 2))


def test_sparse_background(tmp_path):
    dense = contents()["estimates"]["b"] * (np.arange(54) % 3 == 0)[:, None]
    tree = open_caiman(write(tmp_path / "r.hdf5", b=scipy.sparse.csc_matrix(dense)))
    expected = np.stack([one.reshape(DIMS, order="F") for one in dense.T])
    np.testing.assert_array_equal(tree["background/spatial"], expected)


def test_without_residuals(tmp_path):
    what = contents(YrA=None, S=None, F_dff=None)
    tree = open_caiman(write(tmp_path / "r.hdf5", what))
    assert set(tree["traces"].data_vars) == {"traces", "denoised"}
    np.testing.assert_array_equal(tree["traces/traces"], what["estimates"]["C"])
    other = contents(YrA=None)
    other["estimates"]["R"] = what["estimates"]["C"] * 2  # its other name
    tree = open_caiman(write(tmp_path / "s.hdf5", other))
    np.testing.assert_allclose(tree["traces/traces"], 3 * what["estimates"]["C"], rtol=1e-6)


def test_what_has_no_place_is_named_once(tmp_path):
    matrix = scipy.sparse.csr_matrix(np.eye(54))
    changes = {"W": matrix, "F_dff": np.zeros((2, FRAMES)), "coordinates": {"0": {"x": [1, 2]}}}
    with pytest.warns(CalscipyWarning, match="3 results of CaImAn have no place") as seen:
        tree = open_caiman(write(tmp_path / "r.hdf5", **changes))
    assert len(seen) == 1
    named = str(seen[0].message)
    assert "estimates/F_dff, estimates/W, estimates/coordinates." in named
    assert "dfof" not in tree["traces"].data_vars


def test_components_that_were_not_evaluated(tmp_path):
    tree = open_caiman(write(tmp_path / "r.hdf5", idx_components_bad=np.array([1])))
    assert tree["traces/accepted"].values.tolist() == [True, False, False, True]
    assert tree["traces/evaluated"].values.tolist() == [True, True, False, True]
    tree = open_caiman(write(tmp_path / "s.hdf5", idx_components=None, idx_components_bad=None))
    assert "accepted" not in tree["traces"].coords
    nothing = {"idx_components": np.array([]), "idx_components_bad": np.arange(4)}
    tree = open_caiman(write(tmp_path / "t.hdf5", **nothing))
    assert not tree["traces/accepted"].values.any()


# The rate


def test_the_rate_that_caiman_writes_for_want_of_another_is_told(tmp_path):
    what = contents()
    what["params"]["data"]["fr"] = 30
    path = write(tmp_path / "r.hdf5", what)
    with pytest.warns(CalscipyWarning, match="also writes when nobody has said a rate"):
        assert float(open_caiman(path)["traces/time"][3]) == pytest.approx(0.1)
    assert float(open_caiman(path, frame_rate=30)["traces/time"][3]) == pytest.approx(0.1)
    with pytest.warns(CalscipyWarning, match="state 30 frames in a second, but frame_rate=10"):
        assert float(open_caiman(path, frame_rate=10)["traces/time"][3]) == pytest.approx(0.3)


@pytest.mark.parametrize("fr", [None, 0, -1, float("nan"), "fast"])
def test_no_rate_is_an_error(tmp_path, fr):
    what = contents()
    what["params"]["data"]["fr"] = fr
    path = write(tmp_path / "r.hdf5", what)
    with pytest.raises(ArgumentError, match=r"settings of CaImAn do not say how fast.*frame_rate="):
        open_caiman(path)
    assert open_caiman(path, frame_rate=5)["traces"].sizes["time"] == FRAMES
    with pytest.raises(ArgumentError, match="frame_rate must be"):
        open_caiman(path, frame_rate=0)


# In a session


def test_in_a_session(tmp_path):
    path = write(tmp_path / "r.hdf5")
    session = ImagingSession.open(path)
    assert session.traces.chunks is not None
    assert session.frame_rate == pytest.approx(12.5)
    accepted = session.traces.isel(neuron=session.traces.accepted.values)
    assert accepted.neuron.values.tolist() == [0, 3]
    events = session.cs.events(method="derivative").events  # of ΔF/F₀, CaImAn's own
    assert events.dims == ("neuron", "time")
    with pytest.raises(Exception, match="level"):
        session.traces.cs.dfof(method="mean")  # the background has been taken away
    store = session.save(tmp_path / "s.zarr", progress=False)
    np.testing.assert_array_equal(store.traces, session.traces)
    assert store.traces.accepted.values.tolist() == [True, False, False, True]
    np.testing.assert_array_equal(store.tree["background/spatial"],
                                  session.tree["background/spatial"])  # fmt: skip


def test_lazy_and_picklable(tmp_path):
    what = contents()
    path = write(tmp_path / "r.hdf5", what)
    tree = open_caiman(path)
    dumped = pickle.dumps(tree["traces/traces"])
    assert len(dumped) < 20_000
    expected = what["estimates"]["C"] + what["estimates"]["YrA"]
    np.testing.assert_array_equal(pickle.loads(dumped).values, expected)
    np.testing.assert_array_equal(tree["traces/spikes"][2, 5:9], what["estimates"]["S"][2, 5:9])
    path.rename(tmp_path / "moved.hdf5")
    with pytest.raises(RecordingError, match="cannot be read"):
        tree["traces/traces"].values  # noqa: B018


def test_nothing_is_read_that_is_not_needed(tmp_path):
    generator = np.random.default_rng(0)
    large = {name: generator.random((NEURONS, 200_000)) for name in ("C", "YrA", "S", "F_dff")}
    path = write(tmp_path / "r.hdf5", contents(**large, f=None))
    tracemalloc.start()
    tree = open_caiman(path)
    assert tracemalloc.get_traced_memory()[1] < 6 * 10**6  # 26 MB of traces, 1.6 of times
    tracemalloc.stop()
    assert tree["traces"].sizes == {"neuron": NEURONS, "time": 200_000, "g_order": 2}


# Files that are not what they say


def test_other_files(tmp_path):
    assert is_caiman(write(tmp_path / "r.hdf5"))
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["movie"] = [1, 2]
    assert not is_caiman(tmp_path / "other.hdf5")
    with pytest.raises(RecordingError, match="a group 'estimates', found movie"):
        open_caiman(tmp_path / "other.hdf5")
    (tmp_path / "text.hdf5").write_text("no HDF5")
    assert not is_caiman(tmp_path / "text.hdf5")
    with pytest.raises(RecordingError, match=r"text\.hdf5"):
        open_caiman(tmp_path / "text.hdf5")
    with pytest.raises(RecordingError, match="no such file"):
        open_caiman(tmp_path / "none.hdf5")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"C": None}, RecordingError, "expected traces 'estimates/C' of shape"),
        ({"C": np.zeros(5)}, RecordingError, r"found an array of \(5,\)"),
        ({"C": np.zeros((3, FRAMES))}, RecordingError, "idx_components|outside"),
        ({"idx_components": np.array([0, 9])}, RecordingError, "outside of 0 to 3"),
        ({"idx_components": np.array([-1])}, RecordingError, "outside of 0 to 3"),
        ({"idx_components": np.array([0.5])}, RecordingError, "outside of 0 to 3"),
        ({"idx_components": np.array([0, 1, 3])}, RecordingError, r"accepted and rejected .*\(1\)"),
        ({"A": components((3, 3))}, RoiError, "has 9 pixels of 4 components, 54 .6 x 9. of 4 were"),
        ({"A": -components()}, RoiError, "negative or not finite"),
        ({"A": components() * np.nan}, RoiError, "negative or not finite"),
        ({"A": components()[:, :3]}, RoiError, "54 pixels of 3 components"),
        ({"A": np.zeros((54, 4))}, RecordingError, "a group with a sparse matrix"),
    ],
    ids=["no C", "flat C", "fewer", "beyond", "minus", "fraction", "both", "small", "negative",
         "nan", "large", "dense"],
)  # fmt: skip
def test_results_that_contradict_each_other(tmp_path, changes, error, message):
    path = write(tmp_path / "r.hdf5", **changes)
    with pytest.raises(error, match=message) as caught:
        open_caiman(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"indptr": [0, 5, 3, 9, 20]}, {"indptr": [1, 5, 10, 15, 20]},
        {"indptr": [0, 5, 10, 15, 99]}, {"indptr": [0.0, 5, 10, 15, 20]},
        {"indices": [-1] * 20}, {"indices": [54] * 20},
        {"data": [1.0]}, {"shape": [54, 7]}, {"shape": [54]}, {"indptr": []},
    ],
    ids=str,
)  # fmt: skip
def test_damaged_components(tmp_path, change):
    path = write(tmp_path / "r.hdf5")
    with h5py.File(path, "r+") as file:
        for name, value in change.items():
            del file[f"estimates/A/{name}"]
            file[f"estimates/A/{name}"] = value
    with pytest.raises(RecordingError, match="estimates/A"):
        open_caiman(path)


def test_without_sizes_of_the_images(tmp_path):
    what = contents()
    del what["dims"], what["estimates"]["dims"], what["params"]["data"]["dims"]
    with pytest.raises(RoiError, match=r"the size of the images \('dims'\) is missing"):
        open_caiman(write(tmp_path / "r.hdf5", what))


def external_link(file, folder):
    with h5py.File(folder / "secret.hdf5", "w") as other:
        other["C"] = np.ones((NEURONS, FRAMES))
    del file["estimates/C"]
    file["estimates/C"] = h5py.ExternalLink(str(folder / "secret.hdf5"), "/C")


def soft_link(file, folder):
    del file["estimates/C"]
    file["estimates/C"] = h5py.SoftLink("/estimates/S")


def soft_circle(file, folder):
    file["estimates/zzz"] = h5py.SoftLink("/estimates/zzz")


def external_storage(file, folder):
    (folder / "raw").write_bytes(np.ones((NEURONS, FRAMES)).tobytes())
    del file["estimates/C"]
    file["estimates"].create_dataset(
        "C", (NEURONS, FRAMES), "f8", external=[(str(folder / "raw"), 0, 8 * NEURONS * FRAMES)]
    )


def virtual(file, folder):
    with h5py.File(folder / "secret.hdf5", "w") as other:
        other["C"] = np.ones((NEURONS, FRAMES))
    layout = h5py.VirtualLayout((NEURONS, FRAMES), "f8")
    layout[:] = h5py.VirtualSource(str(folder / "secret.hdf5"), "C", (NEURONS, FRAMES))
    del file["estimates/C"]
    file["estimates"].create_virtual_dataset("C", layout)


def huge(file, folder):
    del file["estimates/C"]
    file["estimates"].create_dataset("C", (4, 2**40), "f8", chunks=(1, 2**10))


def huge_components(file, folder):
    del file["estimates/A/data"]
    file["estimates/A"].create_dataset("data", (2**40,), "f8", chunks=(2**10,))


def huge_chunk(file, folder):
    del file["estimates/C"]
    file["estimates"].create_dataset("C", (4, 2**28), "f8", chunks=(4, 2**27), compression="gzip")


HOSTILE = (external_link, soft_link, soft_circle, external_storage, virtual, huge, huge_components,
           huge_chunk)  # fmt: skip


@pytest.mark.parametrize("change", HOSTILE, ids=lambda change: change.__name__)
def test_hostile_files(tmp_path, change):
    path = write(tmp_path / "r.hdf5")
    with h5py.File(path, "r+") as file:
        change(file, tmp_path)
    tracemalloc.start()
    with pytest.raises(RecordingError, match=r"r\.hdf5: .*estimates"):
        open_caiman(path)
    with pytest.raises(RecordingError, match=r"r\.hdf5: .*estimates"):
        ImagingSession.open(path)
    assert tracemalloc.get_traced_memory()[1] < 4 * 10**6
    tracemalloc.stop()


def test_many_and_long_settings_are_bounded(tmp_path):
    what = contents()
    what["params"]["init"]["mask"] = np.zeros(10_000)
    what["params"]["init"]["note"] = "x" * 100_000
    with pytest.warns(CalscipyWarning, match="params/init/mask, params/init/note"):
        tree = open_caiman(write(tmp_path / "r.hdf5", what))
    assert "mask" not in tree.attrs["caiman"]["init"]


def test_damaged_bytes_fail_with_our_errors_alone(tmp_path):
    generator = np.random.default_rng(3)
    whole = write(tmp_path / "whole.hdf5").read_bytes()
    path, outcomes = tmp_path / "r.hdf5", set()
    for _ in range(40):
        body = bytearray(whole)
        for at in generator.integers(0, len(body), 20):
            body[at] = generator.integers(0, 256)
        path.write_bytes(body)
        if generator.random() < 0.3:
            os.truncate(path, generator.integers(0, len(body)))
        try:
            open_caiman(path, frame_rate=12.5)["traces/traces"].values  # noqa: B018
            outcomes.add("opened")
        except CalscipyWarning:
            outcomes.add("opened in part")
        except CalscipyError:
            outcomes.add("refused")
    assert "refused" in outcomes


def test_without_h5py(tmp_path, monkeypatch):
    path = write(tmp_path / "r.hdf5")

    def missing(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(optional.importlib, "import_module", missing)
    with pytest.raises(ImportError, match='pip install "h5py>='):
        open_caiman(path)
