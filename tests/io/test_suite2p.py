"""ROIs of suite2p, and files that would run code."""

import os
import pickle

import numpy as np
import pytest

import calscipy as cs
from calscipy.errors import RoiError


def roi(y, x, lam, **more):
    return {"ypix": np.array(y), "xpix": np.array(x), "lam": np.array(lam, "f4"), **more}


def write(path, entries):
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
