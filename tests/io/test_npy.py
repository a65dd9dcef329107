"""``.npy`` files of numbers: lazy, and believed only where the file bears them out."""

import os
import pickle
import struct
import subprocess
import sys

import dask
import numpy as np
import pytest
import xarray as xr
from xarray.core import indexing

from calscipy.errors import RecordingError
from calscipy.io.npy import lazy, numbers_in, raw_numbers


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def claim(path, shape, data=b"", descr="<f8", fortran=False):
    """A file whose header says what a hostile author likes."""
    with path.open("wb") as stream:
        header = {"descr": descr, "fortran_order": fortran, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        stream.write(data)
    return path


def with_header(path, text, data=b"", version=(1, 0), length=None):
    code = "<H" if version == (1, 0) else "<I"
    header = text.encode()
    count = struct.pack(code, len(header) if length is None else length)
    path.write_bytes(np.lib.format.magic(*version) + count + header + data)
    return path


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i2", ">u4", "?"])
def test_all_selections_are_those_of_numpy(tmp_path, order, dtype):
    rng = np.random.default_rng(3)
    values = rng.integers(0, 2 if dtype == "?" else 100, (5, 7, 4)).astype(dtype)
    np.save(tmp_path / "a.npy", np.asarray(values, order=order))
    array = numbers_in(tmp_path / "a.npy")
    assert array.dtype == values.dtype.newbyteorder("=")
    variable = xr.Variable(tuple("abc"), indexing.LazilyIndexedArray(array))
    reference = xr.Variable(tuple("abc"), values)
    for key in (
        (slice(None),) * 3,
        (2, slice(1, 6, 2), 3),
        ([4, 0, 4], slice(None), [2, 1]),
        (slice(3, 0, -1), [6, 1, 0], 1),
        (0, 0, 0),
        ([], slice(None), slice(None)),
    ):
        assert variable[key].equals(reference[key])
        assert variable[key].values.dtype == array.dtype


def test_lazy_arrays_hold_paths_alone_and_travel(tmp_path):
    values = np.arange(40, dtype="f4").reshape(8, 5)
    np.save(tmp_path / "a.npy", values)
    variable = lazy(numbers_in(tmp_path / "a.npy"), ("neuron", "time"))
    assert dask.is_dask_collection(variable.data)
    data = pickle.dumps(variable)
    assert b"a.npy" in data
    assert pickle.loads(data).equals(xr.Variable(("neuron", "time"), values))
    # The same file has the same name in graphs, a changed one another.
    assert (
        lazy(numbers_in(tmp_path / "a.npy"), ("a", "b")).data.name
        == lazy(numbers_in(tmp_path / "a.npy"), ("a", "b")).data.name
    )
    os.utime(tmp_path / "a.npy", ns=(1, 1))
    assert lazy(numbers_in(tmp_path / "a.npy"), ("a", "b")).data.name != variable.data.name


def test_rows_come_in_chunks(tmp_path):
    import calscipy as cs

    np.save(tmp_path / "a.npy", np.zeros((100, 1000)))
    with cs.set_options(chunk_bytes=80_000):
        variable = lazy(numbers_in(tmp_path / "a.npy"), ("neuron", "time"))
    assert variable.chunks == ((10,) * 10, (1000,))


def test_empty_arrays_are_read(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((0, 5), "f4"))
    variable = lazy(numbers_in(tmp_path / "a.npy"), ("neuron", "time"))
    assert variable.shape == (0, 5)
    assert variable.values.shape == (0, 5)


def test_booleans_are_true_or_false_whatever_their_bytes(tmp_path):
    path = claim(tmp_path / "a.npy", (3,), b"\x00\x02\xff", "|b1")
    values = numbers_in(path).read((slice(None),))
    assert values.view(np.uint8).tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("shape", "data", "message"),
    [
        ((10**13,), b"", "claims 80000000000000 bytes"),
        ((2**62, 2**62), b"", "claims"),
        ((2**40, 2**40, 0), b"12345678", "it has 8"),
        ((3,), b"1" * 16, r"claims 24 bytes of data of shape \(3,\), it has 16"),
        ((3,), b"1" * 32, "it has 32"),
        ((-1,), b"1" * 8, "shape that is none"),
        ((True,), b"1" * 8, "shape that is none"),
        ((1.0,), b"1" * 8, "shape is not valid"),
    ],
)
def test_headers_that_the_file_does_not_bear_out_are_refused(tmp_path, shape, data, message):
    with pytest.raises(RecordingError, match=rf"a\.npy: not a whole \.npy.*{message}"):
        numbers_in(claim(tmp_path / "a.npy", shape, data))


@pytest.mark.parametrize(
    "descr", ["|O", "<M8[s]", "<U4", "|V8", "<c8", [("a", "<f8")], "|S2000000000"]
)
def test_other_types_are_refused(tmp_path, descr):
    with pytest.raises(RecordingError, match="real numbers were expected"):
        numbers_in(claim(tmp_path / "a.npy", (1,), b"1" * 8, descr))


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (__import__('os').mkdir('RAN'),)}\n",
        "__import__('os').mkdir('RAN')\n",
        "(" * 5000 + "\n",
        "{'descr': " + "[" * 90 + "]" * 90 + ", 'fortran_order': False, 'shape': ()}\n",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1,), 'more': 1}\n",
        "{'descr': 'f8,f8', 'fortran_order': 1, 'shape': (1,)}\n",
        "\x00\n",
        "",
    ],
)
def test_headers_run_no_code(tmp_path, monkeypatch, header):
    monkeypatch.chdir(tmp_path)
    for version in ((1, 0), (2, 0), (3, 0)):
        with pytest.raises(RecordingError, match="not a whole"):
            numbers_in(with_header(tmp_path / "a.npy", header, b"1" * 8, version))
    assert not (tmp_path / "RAN").exists()


def test_headers_are_not_read_whatever_their_length(tmp_path):
    for length in (2**32 - 1, 100_000):
        path = with_header(tmp_path / "a.npy", "", version=(2, 0), length=length)
        os.truncate(path, 2**33)  # takes no room on the disk
        with pytest.raises(RecordingError, match=f"a header of {length} bytes"):
            numbers_in(path)
    with pytest.raises(RecordingError, match="unknown version"):
        numbers_in(with_header(tmp_path / "a.npy", "", version=(9, 9)))
    path.write_bytes(b"\x93NUMPY\x01")
    with pytest.raises(RecordingError, match="not a whole"):
        numbers_in(path)
    path.write_bytes(np.lib.format.magic(2, 0) + b"\x10")
    with pytest.raises(RecordingError, match="cut short"):
        numbers_in(path)
    with pytest.raises(RecordingError, match=r"gone\.npy"):
        numbers_in(tmp_path / "gone.npy")


CLAIMS = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))
from calscipy.errors import CalscipyError
from calscipy.io.npy import numbers_in
from calscipy.io.pickled import read_object_array
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    for read in (numbers_in, read_object_array):
        try:
            read(Path(path))
        except CalscipyError:
            print("refused")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_terabytes_in_headers_take_no_memory(tmp_path):
    huge = [
        claim(tmp_path / "a.npy", (10**12,), b"1" * 100),
        claim(tmp_path / "b.npy", (10**6, 10**6), b"1" * 100, fortran=True),
        with_header(tmp_path / "c.npy", "", version=(2, 0), length=2**32 - 1),
    ]
    os.truncate(huge[-1], 2**33)
    done = subprocess.run(
        [sys.executable, "-c", CLAIMS, *map(str, huge)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    *refused, grown = done.stdout.split()
    assert refused == ["refused"] * 6
    assert float(grown) < 50  # MB


def test_files_without_a_header_need_the_size_of_their_shape(tmp_path):
    values = np.arange(24, dtype="<i2").reshape(2, 3, 4)
    path = tmp_path / "data.bin"
    values.tofile(path)
    assert lazy(raw_numbers(path, (2, 3, 4), "<i2"), ("t", "y", "x")).values.tolist() == (
        values.tolist()
    )
    with pytest.raises(RecordingError, match=r"48 bytes, but 3 x 3 x 4 numbers of <i2 need 72"):
        raw_numbers(path, (3, 3, 4), "<i2")
    with pytest.raises(RecordingError, match=r"gone.bin: the file cannot be read"):
        raw_numbers(tmp_path / "gone.bin", (1,), "<i2")


def test_a_file_that_shrinks_after_opening_is_an_error(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((100, 100)))
    variable = lazy(numbers_in(tmp_path / "a.npy"), ("neuron", "time"))
    os.truncate(tmp_path / "a.npy", 1000)
    with pytest.raises(RecordingError, match="changed or moved since it was opened"):
        variable.compute()
    (tmp_path / "a.npy").unlink()
    with pytest.raises(RecordingError, match="changed or moved"):
        variable.compute()


def test_nothing_is_written_to(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 4)))
    before = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").chmod(0o444)
    values = lazy(numbers_in(tmp_path / "a.npy"), ("neuron", "time")).values
    values += 1  # a copy of ours
    assert (tmp_path / "a.npy").read_bytes() == before
