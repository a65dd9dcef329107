"""ROIs of suite2p, and files that would run code."""

import datetime
import os
import pathlib
import pickle

import dask
import numpy as np
import pytest

import calscipy as cs
from calscipy.errors import RoiError


def roi(y, x, lam, **more):
    return {"ypix": np.array(y), "xpix": np.array(x), "lam": np.array(lam, "f4"), **more}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def write(path, entries):
    path.parent.mkdir(parents=True, exist_ok=True)
    stat = np.empty(len(entries), dtype=object)
    stat[:] = entries
    np.save(path, stat, allow_pickle=True)
    return path


def test_traces_of_suite2p_rois_are_weighted_means(tmp_path):
    rng = np.random.default_rng(0)
    movie = cs.from_numpy(rng.integers(0, 4000, (20, 16, 16)).astype("u2"), frame_rate=30)
    path = write(
        tmp_path / "stat.npy",
        [
            roi([1, 2, 2], [3, 3, 4], [1, 2, 0.5]),
            roi([2, 9], [3, 9], [1, 3], overlap=[True, False]),
        ],
    )
    for source in (path, tmp_path):
        rois = cs.rois_from_suite2p(source)
        traces = movie.cs.extract(rois)
        values = movie.values.astype(float)
        first = (values[:, 1, 3] + 2 * values[:, 2, 3] + 0.5 * values[:, 2, 4]) / 3.5
        second = (values[:, 2, 3] + 3 * values[:, 9, 9]) / 4
        np.testing.assert_allclose(traces.values, [first, second], rtol=1e-6)
    alone = movie.cs.extract(cs.rois_from_suite2p(path, overlap=False))
    np.testing.assert_allclose(alone.values[1], values[:, 9, 9])


def test_planes_come_from_the_file_or_the_caller(tmp_path):
    path = write(
        tmp_path / "stat.npy", [roi([1], [1], [1], iplane=2), roi([2], [2], [1], iplane=0)]
    )
    assert cs.rois_from_suite2p(path).plane.values.tolist() == [2, 0]
    assert cs.rois_from_suite2p(path, plane=1).plane.values.tolist() == [1, 1]


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("where", ["alone", "in a dictionary", "in an array"])
def test_a_hostile_file_does_not_run_code(tmp_path, where):
    evil = Hostile(tmp_path / "ran")
    entries = {
        "alone": [evil],
        "in a dictionary": [roi([1], [1], [1], extra=evil)],
        "in an array": [roi([1], [1], [1], extra=np.array([evil], dtype=object))],
    }[where]
    path = write(tmp_path / "stat.npy", entries)
    with pytest.raises(RoiError, match=r"stat\.npy.*asks for .*mkdir.*not array data"):
        cs.rois_from_suite2p(path)
    assert not (tmp_path / "ran").exists()


def test_damaged_and_foreign_files_are_explained(tmp_path):
    with pytest.raises(RoiError, match="no such file"):
        cs.rois_from_suite2p(tmp_path)
    path = tmp_path / "stat.npy"
    path.write_bytes(b"nonsense")
    with pytest.raises(RoiError, match="not a suite2p file"):
        cs.rois_from_suite2p(path)
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(RoiError, match="not a suite2p file"):
        cs.rois_from_suite2p(path)
    np.save(path, np.zeros(3))
    with pytest.raises(RoiError, match="not a suite2p ROI"):
        cs.rois_from_suite2p(path)
    write(path, [roi([1, 2], [1], [1])])
    with pytest.raises(RoiError, match="2 ypix, 1 xpix"):
        cs.rois_from_suite2p(path)
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(
            stream, {"descr": "<f8", "fortran_order": False, "shape": (10**13,)}
        )
    with pytest.raises(RoiError, match="claims"):
        cs.rois_from_suite2p(path)


def test_dotted_names_do_not_lead_out_of_the_allowed_modules(tmp_path):
    """Protocol 4 resolves dotted names attribute by attribute, to builtins for instance."""

    def text(value):
        return b"\x8c" + bytes([len(value)]) + value.encode()

    name = "_add_dtype_helper.__builtins__.get"
    find = text("numpy.dtypes") + text(name) + b"\x93" + text("exec") + b"\x85R"
    call = text(f"open({str(tmp_path / 'ran')!r}, 'w')") + b"\x85R"
    path = tmp_path / "stat.npy"
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(
            stream, {"descr": "|O", "fortran_order": False, "shape": (1,)}
        )
        stream.write(b"\x80\x04" + find + call + b".")
    with pytest.raises(RoiError, match="not array data"):
        cs.rois_from_suite2p(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([roi([1.5], [1], [1])], "whole numbers"),
        ([roi([1, 2], [1, 2], [1, 1], overlap=[True])], "2 ypix and 1 overlap"),
        ([roi([1], [1], [1], iplane=0), roi([1], [1], [1])], "some have none"),
    ],
)
def test_rois_that_contradict_themselves_are_refused(tmp_path, entries, message):
    with pytest.raises(RoiError, match=message):
        cs.rois_from_suite2p(write(tmp_path / "stat.npy", entries), overlap=False)


# -- planes, sizes, selections -------------------------------------------------------------


def write_ops(folder, rows=16, columns=20, **more):
    np.save(folder / "ops.npy", {"Ly": rows, "Lx": columns, **more}, allow_pickle=True)


def planes(folder, count=12):
    """A folder of planes as suite2p leaves it; plane 1 is flyback and has no ROIs."""
    for k in range(count):
        (folder / f"plane{k}").mkdir(parents=True)
        if k != 1:
            write(folder / f"plane{k}" / "stat.npy", [roi([k], [0], [1]), roi([k], [1], [2])])
        write_ops(folder / f"plane{k}", save_path=str(folder))
    moved = [roi([k], [20 * k], [1], iplane=k) for k in range(count)]
    write(folder / "combined" / "stat.npy", moved)
    write_ops(folder / "combined", 200, 200)


def test_all_planes_at_once(tmp_path):
    planes(tmp_path / "suite2p")
    rois = cs.rois_from_suite2p(tmp_path / "suite2p")
    order = [0, *range(2, 12)]  # by number, not by name
    assert rois.plane.values.tolist() == np.repeat(order, 2).tolist()
    assert rois.y.values.tolist() == rois.plane.values.tolist()
    assert rois.neuron.values.tolist() == list(range(22))
    assert rois.attrs["image_shape"] == [16, 20]
    above = cs.rois_from_suite2p(tmp_path)
    assert above.identical(rois)
    one = cs.rois_from_suite2p(tmp_path / "suite2p" / "plane7")
    assert one.plane.values.tolist() == [7, 7]
    assert one.neuron.values.tolist() == [0, 1]
    with pytest.raises(RoiError, match="plane=3 cannot be the plane of 11 folders"):
        cs.rois_from_suite2p(tmp_path, plane=3)


def test_planes_come_from_the_folder_where_nothing_else_says(tmp_path, monkeypatch):
    path = write(tmp_path / "plane3" / "stat.npy", [roi([1], [1], [1])])
    assert cs.rois_from_suite2p(path).plane.values.tolist() == [3]
    assert cs.rois_from_suite2p(path, plane=0).plane.values.tolist() == [0]
    monkeypatch.chdir(path.parent)
    assert cs.rois_from_suite2p("stat.npy").plane.values.tolist() == [3]
    write(path, [roi([1], [1], [1], iplane=5)])
    assert cs.rois_from_suite2p(path).plane.values.tolist() == [5]
    other = write(tmp_path / "plane3b" / "stat.npy", [roi([1], [1], [1])])
    assert "plane" not in cs.rois_from_suite2p(other).coords


def test_pixels_of_planes_side_by_side_are_refused(tmp_path):
    planes(tmp_path, 3)
    for path in (tmp_path / "combined", tmp_path / "combined" / "stat.npy"):
        with pytest.raises(RoiError, match=r"all planes side by side.*the planes: "):
            cs.rois_from_suite2p(path)


def test_the_size_comes_from_the_settings_or_the_caller(tmp_path):
    path = write(tmp_path / "stat.npy", [roi([1], [1], [1]), roi([15], [19], [1])])
    assert "image_shape" not in cs.rois_from_suite2p(path).attrs
    write_ops(tmp_path, save_path=tmp_path, other=pathlib.PureWindowsPath("C:/x"))
    assert cs.rois_from_suite2p(path).attrs["image_shape"] == [16, 20]
    write_ops(tmp_path, 16, 19)
    with pytest.raises(RoiError, match="neuron 1 has pixels outside of the image of 16 x 19"):
        cs.rois_from_suite2p(path)
    assert cs.rois_from_suite2p(path, image_shape=(32, 32)).attrs["image_shape"] == [32, 32]


def test_settings_that_cannot_be_trusted_are_left_alone_on_request(tmp_path):
    path = write(tmp_path / "stat.npy", [roi([1], [1], [1])])
    write_ops(tmp_path, evil=Hostile(tmp_path / "ran"))
    with pytest.raises(RoiError, match=r"ops\.npy.*asks for .*mkdir.*not array data"):
        cs.rois_from_suite2p(path)
    write_ops(tmp_path, date=datetime.datetime(2026, 1, 1))
    with pytest.raises(RoiError, match=r"ops\.npy.*asks for datetime"):
        cs.rois_from_suite2p(path)
    for wrong in ({"Ly": 4}, {"Ly": 4, "Lx": "5"}, {"Ly": 4, "Lx": 0}, [1, 2]):
        np.save(tmp_path / "ops.npy", wrong, allow_pickle=True)
        with pytest.raises(RoiError, match=r"ops\.npy: no size .*image_shape=\(rows"):
            cs.rois_from_suite2p(path)
    assert cs.rois_from_suite2p(path, image_shape=(4, 4)).sizes["pixel"] == 1
    assert not (tmp_path / "ran").exists()


def test_planes_of_different_sizes_are_refused(tmp_path):
    planes(tmp_path, 3)
    write_ops(tmp_path / "plane2", 64, 64)
    with pytest.raises(RoiError, match=r"different sizes \[\(16, 20\), \(64, 64\)\]"):
        cs.rois_from_suite2p(tmp_path)


def test_nothing_is_left_out_in_silence(tmp_path):
    path = write(
        tmp_path / "stat.npy",
        [
            roi([1], [1], [1], overlap=[False]),
            roi([1], [2], [1], overlap=[True]),
            roi([4, 1], [4, 2], [1, 9], overlap=[False, True]),
        ],
    )
    assert cs.rois_from_suite2p(path).sizes["pixel"] == 4
    with pytest.raises(
        RoiError, match=r"1 of 3 ROIs have no pixel without overlap \(1\).*neurons="
    ):
        cs.rois_from_suite2p(path, overlap=False)
    some = cs.rois_from_suite2p(path, overlap=False, neurons=[2, 0])
    assert some.neuron.values.tolist() == [2, 0]
    assert some.y.values.tolist() == [4, 1]
    cells = np.flatnonzero(np.array([[0, 0.1], [1, 0.9], [1, 0.8]])[:, 0])
    assert cs.rois_from_suite2p(path, neurons=cells).neuron.values.tolist() == [1, 2, 2]
    for wrong in ([3], [-1], [0, 0], [], [0.0], [True, False, True], 1):
        with pytest.raises(RoiError, match="neurons= must name some of 3 ROIs"):
            cs.rois_from_suite2p(path, neurons=wrong)
    write(path, [roi([], [], []), roi([1], [1], [1])])
    with pytest.raises(RoiError, match="whole numbers"):
        cs.rois_from_suite2p(path)
    write(path, [roi(np.array([], int), np.array([], int), []), roi([1], [1], [1])])
    with pytest.raises(RoiError, match=r"1 of 2 ROIs have no pixel \(0\)"):
        cs.rois_from_suite2p(path)
    assert cs.rois_from_suite2p(path, neurons=[1]).sizes["pixel"] == 1


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (roi([-1], [1], [1]), "neuron 1 has negative pixels"),
        (roi([1, 1], [1, 1], [1, 1]), "neuron 1 has the same pixel twice"),
        (roi([1], [1], [-1]), "neuron 1 has negative weights"),
        (roi([1], [1], [0]), "neuron 1 has no pixel of positive weight"),
    ],
)
def test_pixels_that_make_no_sense_are_refused(tmp_path, entry, message):
    path = write(tmp_path / "stat.npy", [roi([1], [1], [1]), entry])
    with pytest.raises(RoiError, match=message):
        cs.rois_from_suite2p(path)
