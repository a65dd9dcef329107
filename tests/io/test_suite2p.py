"""ROIs of suite2p, and files that would run code."""

import datetime as dt
import decimal
import os
import pathlib
import pickle
import struct
import subprocess
import sys
from collections import OrderedDict

import dask
import numpy as np
import pytest

import calscipy as cs
from calscipy.errors import RoiError
from calscipy.io.pickled import read_object_array


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


def write_pickle(path, data):
    """An object array whose pickle is what a hostile author likes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(
            stream, {"descr": "|O", "fortran_order": False, "shape": ()}
        )
        stream.write(data)
    return path


class Reduced:
    def __init__(self, *parts):
        self.parts = parts

    def __reduce__(self):
        return self.parts


RECONSTRUCT, _, STATE = np.zeros(1).__reduce__()
SCALAR = np.float32(1).__reduce__()[0]
# Its flags deny the object in it, which then is freed wherever the bytes say.
RECORD = Reduced(
    np.dtype, ("V8", False, True), (3, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1, 0)
)
POINTER = struct.pack("<Q", 0x4141414141414141)


def array_of(dtype, data, shape=(1,), fortran=False, kind=np.ndarray):
    return Reduced(RECONSTRUCT, (kind, (0,), b"b"), (1, shape, dtype, fortran, data))


READ_ALL = """
import sys, calscipy
for path in sys.argv[1:]:
    try:
        calscipy.rois_from_suite2p(path)
    except calscipy.errors.RoiError as error:
        print(error)
"""


def test_an_object_that_hides_in_a_dtype_does_not_crash(tmp_path):
    good = roi([1, 2], [3, 3], [1, 0.5])
    settings = write(tmp_path / "a" / "stat.npy", [good])
    write_pickle(tmp_path / "a" / "ops.npy", pickle.dumps(array_of(RECORD, POINTER), 2))
    plane = write(tmp_path / "b" / "stat.npy", [{**good, "iplane": array_of(RECORD, POINTER)}])
    evil = Reduced(SCALAR, (RECORD, POINTER))
    scalar = write(tmp_path / "c" / "stat.npy", [{**good, "iplane": evil}])
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, settings, plane, scalar],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("not a suite2p file that can be trusted (it holds an array of") == 3


@pytest.mark.parametrize(
    "value",
    [
        array_of(np.dtype("f8"), b"1234567"),
        array_of(np.dtype("f8"), POINTER, shape=(2,)),
        array_of(np.dtype("f8"), POINTER, shape=(-1,)),
        array_of(np.dtype("f8"), b"", shape=(2**62, 4, 0, 2**62)),
        array_of(np.dtype("f8"), POINTER, shape=[1]),
        array_of("f8", POINTER),
        array_of(np.dtype("O"), POINTER),
        array_of(np.dtype("O"), [1, 2], shape=(3,)),
        array_of(np.dtype("O"), [[[1], [2]]]),
        array_of(np.dtype("U1"), b"\xff\xff\xff\xff"),
        Reduced(RECONSTRUCT, (np.ndarray, (0,), b"b")),
        np.array("2020-01-01", "M8[D]").item,
        [[1, 2], [3]],
        {"a": 1},
        None,
        "text",
    ],
)
def test_arrays_that_are_none_are_refused(tmp_path, value):
    for key in ("ypix", "lam", "overlap"):
        entry = {**roi([1], [1], [1]), key: value}
        with pytest.raises(RoiError, match=r"stat\.npy"):
            cs.rois_from_suite2p(write(tmp_path / "stat.npy", [entry]), overlap=False)


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(2, [("a", "O")]),
        np.zeros(2, "M8[s]"),
        np.zeros(2, "V3"),
        Reduced(np.dtype, (("f8", (2,)),)),
        np.zeros(2, [("a", "f8")]).view(np.recarray),
        Reduced(SCALAR, (np.dtype("f8"), b"1234")),
        Reduced(SCALAR, (np.dtype("O"), b"12345678")),
        Reduced(pathlib.PurePosixPath, ("a",), (None, {"name": 1})),
        {((),): 1},
        {1, 2},
    ],
)
def test_only_plain_arrays_and_words_are_restored(tmp_path, value):
    path = write(tmp_path / "stat.npy", [{**roi([1], [1], [1]), "more": value}])
    with pytest.raises(RoiError, match="not a suite2p file that can be trusted"):
        cs.rois_from_suite2p(path)


def test_small_files_do_not_take_all_memory_or_time(tmp_path):
    bomb = 1
    for _ in range(12):
        bomb = [bomb] * 10
    path = tmp_path / "stat.npy"
    for data in (
        pickle.dumps(bomb, 2),
        b"\x80\x02Nr\xff\xff\xff\x7f.",  # a memo of 2**31 entries
        b"\x80\x04}" + b"N" + b"\x85" * 200_000 + b"Ns.",  # a key whose hash overflows the stack
        b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".",
        pickle.dumps(pathlib.PurePosixPath, 2)[:-1] + b"N}X\x04\x00\x00\x00nameNs\x86b.",
    ):
        with pytest.raises(RoiError, match="not a suite2p file that can be trusted"):
            cs.rois_from_suite2p(write_pickle(path, data))
    assert isinstance(pathlib.PurePosixPath.name, property)
    for key in ("ypix", "lam", "overlap"):
        write(path, [{**roi([1], [1], [1]), key: bomb}])
        with pytest.raises(RoiError, match=f"ROI 0 has {key} that are no array of numbers"):
            cs.rois_from_suite2p(path, overlap=False)
    pixels = np.arange(3000)
    shared = roi(pixels, pixels, pixels)
    write(path, [shared.copy() for _ in range(500)])
    with pytest.raises(RoiError, match="more pixels than bytes"):
        cs.rois_from_suite2p(path)


def text(value):
    """The pickle of a text, which the next steps may use again and again."""
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def name(module, attribute):
    return b"c" + module.encode() + b"\n" + attribute.encode() + b"\n"


MILLION = text("x" * 10**6) + b"q\x00"  # kept as number 0
AGAIN = b"h\x00"
BOMBS = {
    "objects of one byte": b"\x80\x02(" + b"}" * 40_000,
    "lists of one byte": b"\x80\x02(" + b"]" * 40_000,
    "marks": b"\x80\x02" + b"(" * 40_000,
    "memo": b"\x80\x04N" + b"\x94" * 40_000,
    "nothings": b"\x80\x04(" + b"N" * 400_000,
    "many in a frame": b"\x80\x04\x95" + struct.pack("<Q", 40_000) + b"}" * 40_000,
    "a frame of exabytes": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.",
    "bytes of exabytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"N.",
    "bytes of gigabytes": b"\x80\x04\x8e" + struct.pack("<Q", 3 * 2**30) + b"N.",
    "text of gigabytes": b"\x80\x04\x8d" + struct.pack("<Q", 3 * 2**30) + b"N.",
    "text of 4 gigabytes": b"\x80\x02X" + struct.pack("<I", 2**32 - 1) + b"N.",
    "a number of gigabytes": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"N.",
    "a name without end": b"\x80\x02c" + b"a" * 10**7,
    "a text encoded a thousand times": b"\x80\x02("
    + MILLION
    + (name("_codecs", "encode") + AGAIN + text("latin1") + b"\x86R") * 10_000,
    "a path of a thousand texts": b"\x80\x02"
    + MILLION
    + name("pathlib", "PurePosixPath")
    + b"("
    + AGAIN * 100_000
    + b"tR",
    "a scalar a thousand times": b"\x80\x02("
    + b"X\x08\x00\x00\x00S1000000q\x01"
    + b"\x8e"
    + struct.pack("<Q", 10**6)
    + b"y" * 10**6
    + b"q\x02"
    + name("numpy", "dtype")
    + b"h\x01\x85Rq\x03"
    + (name("numpy._core.multiarray", "scalar") + b"h\x03h\x02\x86R") * 10_000,
    "keys of one hash": b"\x80\x02}("
    + b"".join(
        b"\x8a\x0a" + (k * (2**61 - 1)).to_bytes(10, "little", signed=True) + b"N"
        for k in range(1, 5_000)
    )
    + b"u.",
    "a call of what is no function": b"\x80\x02N)R.",
    "a tuple in a tuple": b"\x80\x02N" + b"\x85" * 40_000 + b".",
    "an extension code": b"\x80\x02\x82\x01.",
    "an instance": b"(iposix\nsystem\n.",
    "an object": b"\x80\x02(cposix\nsystem\no.",
    "a new object": b"\x80\x02cposix\nsystem\n)\x81.",
    "a persistent id": b"\x80\x02NQ.",
    "a builtin": b"\x80\x02cbuiltins\ngetattr\n.",
    "an attribute of an attribute": b"\x80\x04"
    + text("numpy")
    + text("ndarray.__base__")
    + b"\x93.",
    "a buffer": b"\x80\x05\x97.",
    "a state for a function": b"\x80\x02" + name("_codecs", "encode") + b"}b.",
    "a date of another length": b"\x80\x04" + name("datetime", "datetime") + b"C\x0512345\x85R.",
    "a date of no bytes": b"\x80\x02" + name("datetime", "date") + b"K\x01\x85R.",
    "a duration of text": b"\x80\x02" + name("datetime", "timedelta") + b"NNN\x87R.",
    "a zone of text": b"\x80\x02" + name("datetime", "timezone") + text("a") + b"\x85R.",
    "ended in the middle": b"\x80\x02}q",
    "nothing": b"",
}

BOUNDED = """
import resource, sys, time
from pathlib import Path
import calscipy
from calscipy.errors import RoiError
from calscipy.io import pickled
assert pickled.MAX_PARTS * 100 <= 2**31
assert pickled.MAX_STEPS * 8 <= 2**30
pickled.MAX_PARTS //= 1000  # as if the files were a thousand times larger
pickled.MAX_STEPS //= 1000
for path in map(Path, sys.argv[1:]):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.monotonic()
    try:
        calscipy.rois_from_suite2p(path)
    except RoiError as error:
        assert len(str(error)) < 2000
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(path.stem, "|", round(grown), "|", round(time.monotonic() - start, 1))
"""


def test_bombs_are_refused_with_bounded_memory(tmp_path):
    """Small files that would take gigabytes, or hours."""
    files = [write_pickle(tmp_path / f"{what}.npy", data) for what, data in BOMBS.items()]
    done = subprocess.run(
        [sys.executable, "-c", BOUNDED, *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split(" | ") for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == list(BOMBS)
    assert max(float(line[1]) for line in lines) < 50, done.stdout  # MB
    assert max(float(line[2]) for line in lines) < 20, done.stdout  # s


def test_dates_in_settings_become_text(tmp_path):
    path = write(tmp_path / "stat.npy", [roi([1], [1], [1])])
    zone = dt.timezone(dt.timedelta(hours=-5, minutes=-30))
    moments = (
        dt.datetime(2026, 11, 22, 20, 57, 27, 6403, tzinfo=zone),
        dt.datetime(1999, 1, 2, fold=1),
        dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        dt.date(2026, 2, 3),
    )
    for protocol in (2, 4):
        ops = {"Ly": 16, "Lx": 20, **{f"at{k}": moment for k, moment in enumerate(moments)}}
        write_pickle(tmp_path / "ops.npy", pickle.dumps(np.array(ops, dtype=object), protocol))
        assert cs.rois_from_suite2p(path).attrs["image_shape"] == [16, 20]
        found = read_object_array(tmp_path / "ops.npy").item()
        assert [found[f"at{k}"] for k in range(4)] == [moment.isoformat() for moment in moments]


def test_links_that_lead_out_are_refused(tmp_path):
    secret = write(tmp_path / "elsewhere" / "stat.npy", [roi([1], [1], [1])])
    plane = tmp_path / "suite2p" / "plane0"
    plane.mkdir(parents=True)
    (plane / "stat.npy").symlink_to(secret)
    for path in (tmp_path / "suite2p", plane):
        with pytest.raises(RoiError, match=r"leads out of .*elsewhere"):
            cs.rois_from_suite2p(path)
    # What the user names is what the user wants, and so are links inside of the folder.
    assert cs.rois_from_suite2p(plane / "stat.npy").sizes["pixel"] == 1
    (plane / "stat.npy").unlink()
    write(plane / "other.npy", [roi([1], [1], [1])])
    (plane / "stat.npy").symlink_to("other.npy")
    assert cs.rois_from_suite2p(plane).sizes["pixel"] == 1
    (tmp_path / "link").symlink_to(tmp_path / "suite2p")
    assert cs.rois_from_suite2p(tmp_path / "link").sizes["pixel"] == 1


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_arrays_of_every_kind_and_both_numpys(tmp_path, module):
    y = np.arange(6).reshape(2, 3) + 1
    entry = OrderedDict(
        ypix=np.asfortranarray(y),
        xpix=np.arange(6, dtype=">u2"),
        lam=np.arange(1, 13, dtype=np.float16)[::2],
        overlap=np.array([True, False] * 3),
        iplane=np.int32(3),
        text=np.array(["a", "bc"]),
        raw=np.array([b"a"]),
        more=np.array([{"a": np.complex64(1)}, [None, 1.5, b"x"]], dtype=object),
        word=np.str_(""),
        path=pathlib.PurePosixPath("/a/b"),
    )
    stat = np.empty(2, dtype=object)
    stat[:] = [entry, entry]
    data = pickle.dumps(stat, 2).replace(RECONSTRUCT.__module__.encode(), module.encode())
    assert module.encode() in data
    rois = cs.rois_from_suite2p(write_pickle(tmp_path / "stat.npy", data))
    assert rois.y.values.tolist() == [*y.ravel(), *y.ravel()]
    assert rois.x.values.tolist() == [*range(6), *range(6)]
    assert rois.values.tolist() == [*range(1, 13, 2), *range(1, 13, 2)]
    assert rois.plane.values.tolist() == [3] * 12
    alone = cs.rois_from_suite2p(tmp_path / "stat.npy", overlap=False)
    assert alone.x.values.tolist() == [1, 3, 5] * 2
    square = np.empty((2, 1), dtype=object, order="F")
    square[:, 0] = [entry, entry]
    np.save(tmp_path / "stat.npy", square, allow_pickle=True)
    with pytest.raises(RoiError, match="entry 0 is not a suite2p ROI"):
        cs.rois_from_suite2p(tmp_path / "stat.npy")


@pytest.mark.parametrize("wrong", [1.7, "a", np.array([1, 2]), np.array(1), True, 2**70, -1])
def test_planes_are_whole_numbers_from_0_on(tmp_path, wrong):
    path = write(tmp_path / "stat.npy", [roi([1], [1], [1])])
    with pytest.raises(RoiError, match="plane must be a whole number from 0 on"):
        cs.rois_from_suite2p(path, plane=wrong)
    write(path, [roi([1], [1], [1], iplane=0), roi([1], [1], [1], iplane=wrong)])
    with pytest.raises(RoiError, match=r"iplane that is no whole number from 0 on \(1\)"):
        cs.rois_from_suite2p(path)
    assert cs.rois_from_suite2p(path, plane=np.int16(2)).plane.values.tolist() == [2, 2]


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
    write_ops(tmp_path, price=decimal.Decimal("1.5"))
    with pytest.raises(RoiError, match=r"ops\.npy.*asks for decimal\.Decimal"):
        cs.rois_from_suite2p(path)
    for wrong in ({"Ly": 4}, {"Ly": 4, "Lx": "5"}, {"Ly": 4, "Lx": 0}):
        np.save(tmp_path / "ops.npy", wrong, allow_pickle=True)
        with pytest.raises(RoiError, match=r"ops\.npy: no size .*image_shape=\(rows"):
            cs.rois_from_suite2p(path)
    np.save(tmp_path / "ops.npy", [1, 2])
    with pytest.raises(RoiError, match=r"ops\.npy: one dictionary of settings was expected"):
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
