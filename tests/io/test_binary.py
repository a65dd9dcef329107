"""Binary files: CalSciPy's own, files without their JSON, and round trips with all labels."""

import json
import os
import pickle
import tracemalloc

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask.base import tokenize

from calscipy import ImagingSession, from_numpy, model
from calscipy.errors import (
    ArgumentError,
    CalscipyWarning,
    DimensionError,
    RecordingError,
    StoreError,
    TargetExistsError,
)
from calscipy.io.binary import open_binary
from calscipy.io.binary_writer import to_binary

SHAPE = (5, 6, 7)


@pytest.fixture(autouse=True)
def _one_thread():
    with dask.config.set(scheduler="sync"):
        yield


def values(shape=SHAPE, dtype="uint16", seed=0):
    return np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)


def movie(path, **options):
    return open_binary(path, **options)[model.MOVIE][model.MOVIE]


def write_original(folder, data, name="binary_video"):
    """Write the two files that CalSciPy 0.3.5 writes, byte for byte."""
    folder.mkdir(exist_ok=True)
    data.tofile(folder / f"{name}.bin")
    frames, y, x = data.shape
    numbers = {"frames": frames, "y": y, "x": x, "dtype": str(data.dtype)}
    (folder / f"{name}.json").write_text(json.dumps(numbers))
    return folder / f"{name}.bin"


def bare(path, data):
    data.tofile(path)
    return path


# The original's files


@pytest.mark.parametrize("dtype", ["uint16", "uint8", "int32", ">i4", "float32", "float64", "bool"])
def test_the_originals_files(tmp_path, dtype):
    data = (values() % 2).astype(dtype) if dtype == "bool" else values(dtype=dtype)
    path = write_original(tmp_path / "m", data)
    found = movie(path, frame_rate=10)
    assert found.dims == ("frames", "y", "x")
    assert found.dtype == np.dtype(dtype).newbyteorder("=")
    assert found.dtype.isnative
    np.testing.assert_array_equal(found.values, data)
    np.testing.assert_allclose(found.time.values, np.arange(5) / 10, rtol=1e-15)
    assert found.attrs == {"units": "count", "long_name": "fluorescence", "source": path.name}
    assert found.encoding["preferred_chunks"] == {"frames": 5, "y": 6, "x": 7}


def test_a_folder_of_the_original(tmp_path):
    data = values()
    write_original(tmp_path / "m", data)
    found = movie(tmp_path / "m", frame_rate=10, microns_per_pixel=(0.5, 2))
    np.testing.assert_array_equal(found.values, data)
    assert (float(found.y[2]), float(found.x[2])) == (1, 4)
    session = ImagingSession.open(tmp_path / "m", frame_rate=10)
    np.testing.assert_array_equal(session.movie.values, data)
    assert session.frame_rate == pytest.approx(10)


def test_the_session_opens_bin_files_by_their_name(tmp_path):
    data = values()
    path = bare(tmp_path / "x.bin", data)
    session = ImagingSession.open(path, frame_rate=5, frames=5, y=6, x=7, dtype="uint16")
    assert session.movie.chunks is not None
    np.testing.assert_array_equal(session.movie.values, data)
    with pytest.raises(ArgumentError, match="takes the options"):
        ImagingSession.open(path, frame_rate=5, height=6)


def test_every_way_of_indexing(tmp_path):
    data = values((4, 3, 8, 9))
    found = movie(write_bin(tmp_path, data), frame_rate=1, channels=3)
    for key in (
        np.s_[:], np.s_[2], np.s_[-1, 1, 3, -2], np.s_[1:3, ::2, ::-1, 4], np.s_[3:3],
        np.s_[[3, 0]], np.s_[:, 1, [5, 2], :], np.s_[..., [1, 1]],
    ):  # fmt: skip
        np.testing.assert_array_equal(found[key].values, data[key])
    chosen = found.isel(frames=[2, 1], y=[0, 5], x=[8, 0, 3])
    np.testing.assert_array_equal(chosen.values, data[np.ix_([2, 1], range(3), [0, 5], [8, 0, 3])])
    part = found[1].values
    part[...] = 0  # a copy, not the file
    np.testing.assert_array_equal(found.values, data)


def write_bin(folder, data, name="x.bin"):
    """Write a bare file with a JSON file that counts all images."""
    images = int(np.prod(data.shape[:-2]))
    return write_original(folder, data.reshape(images, *data.shape[-2:]), name.removesuffix(".bin"))


def test_channels_and_planes_that_were_given(tmp_path):
    data = values((4, 2, 3, 6, 7))
    path = write_bin(tmp_path, data)
    found = movie(path, frame_rate=2, channels=["a", "b"], planes=3)
    assert found.dims == ("frames", "channel", "plane", "y", "x")
    np.testing.assert_array_equal(found.values, data)
    assert found.channel.values.tolist() == ["a", "b"]
    assert found.plane.values.tolist() == [0, 1, 2]
    with pytest.raises(ArgumentError, match="24 images are not a multiple of channels=5 x"):
        movie(path, frame_rate=2, channels=5)


# Sizes


@pytest.mark.parametrize("missing", ["frames", "y", "x"])
def test_three_numbers_are_enough(tmp_path, missing):
    path = bare(tmp_path / "x.bin", values())
    numbers = {"frames": 5, "y": 6, "x": 7, "dtype": np.uint16}
    del numbers[missing]
    np.testing.assert_array_equal(movie(path, frame_rate=1, **numbers).values, values())


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_the_type_from_the_size_of_the_file(tmp_path, dtype):
    path = bare(tmp_path / "x.bin", values(dtype=dtype))
    with pytest.warns(CalscipyWarning, match=f"are taken as {dtype}. Give dtype= to be sure"):
        found = movie(path, frame_rate=1, frames=5, y=6, x=7)
    np.testing.assert_array_equal(found.values, values(dtype=dtype))


def test_too_few_numbers(tmp_path):
    path = bare(tmp_path / "x.bin", values())
    with pytest.raises(ArgumentError, match=r"frames, dtype are not known, as x\.json is missing"):
        movie(path, frame_rate=1, y=6, x=7)
    with pytest.raises(ArgumentError, match=r"does not say how fast .*frame_rate="):
        movie(path, frames=5, y=6, x=7, dtype="uint16")


def test_a_single_image_needs_no_rate(tmp_path):
    path = bare(tmp_path / "x.bin", values((1, 6, 7)))
    assert movie(path, y=6, x=7, dtype="u2").time.values.tolist() == [0]


def test_the_size_must_fit_exactly(tmp_path):
    path = write_original(tmp_path / "m", values())
    for size in (419, 421, 0, 10**6):
        os.truncate(path, size)
        with pytest.raises(RecordingError, match=f"need 420 bytes, the file has {size}"):
            movie(path, frame_rate=1)
    os.truncate(path, 421)
    with pytest.raises(RecordingError, match=r"whole number of frames, each of 84 bytes.*has 421"):
        movie(bare_copy(path, tmp_path), frame_rate=1, y=6, x=7, dtype="uint16")
    with pytest.raises(RecordingError, match=r"expected 210 values of 1, 2, 4 or 8 bytes.*421"):
        movie(bare_copy(path, tmp_path), frame_rate=1, frames=5, y=6, x=7)


def bare_copy(path, folder):
    copy = folder / "copy.bin"
    copy.write_bytes(path.read_bytes())
    return copy


def test_given_numbers_win_with_a_warning(tmp_path):
    path = write_original(tmp_path / "m", values())
    with pytest.warns(CalscipyWarning, match="states frames=5, x=7, but frames=7, x=5 was given"):
        found = movie(path, frame_rate=1, frames=7, x=5)
    np.testing.assert_array_equal(found.values, values().reshape(7, 6, 5))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ("[1, 2]", "list indices"),
        ('{"frames": 5, "y": 6, "x": 7}', "dtype"),
        ('{"frames": "5", "y": 6, "x": 7, "dtype": "uint16"}', "it has the sizes"),
        ('{"frames": -5, "y": 6, "x": 7, "dtype": "uint16"}', "it has the sizes"),
        ('{"frames": 1e400, "y": 6, "x": 7, "dtype": "uint16"}', "it has the sizes"),
        ('{"frames": 5, "y": 6, "x": 7, "dtype": "O"}', "it has the dtype 'O'"),
        ('{"frames": 5, "y": 6, "x": 7, "dtype": "uint16, uint16"}', "it has the dtype"),
        ("[" * 100_000, "found none of them whole"),
        (" " * 100_000, "more than 65536 bytes"),
    ],
    ids=["empty", "list", "no type", "text", "negative", "infinite", "object", "record", "deep",
         "long"],
)  # fmt: skip
def test_damaged_sizes(tmp_path, text, reason):
    path = write_original(tmp_path / "m", values())
    path.with_suffix(".json").write_text(text)
    with pytest.raises(RecordingError, match=f"{reason}.*give three of frames="):
        movie(path, frame_rate=1)
    with pytest.warns(CalscipyWarning, match="The given numbers are used"):
        found = movie(path, frame_rate=1, frames=5, y=6, dtype="uint16")
    np.testing.assert_array_equal(found.values, values())


def test_a_claim_of_terabytes_takes_no_memory(tmp_path):
    path = write_original(tmp_path / "m", values())
    numbers = {"frames": 10**12, "y": 512, "x": 512, "dtype": "uint16"}
    path.with_suffix(".json").write_text(json.dumps(numbers))
    tracemalloc.start()
    with pytest.raises(RecordingError, match="need 524288000000000000 bytes, the file has 420"):
        movie(path, frame_rate=1)
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


@pytest.mark.parametrize(
    "options",
    [
        {"frames": 0}, {"y": 1.5}, {"x": True}, {"frames": "5"}, {"dtype": "O"}, {"dtype": "nope"},
        {"dtype": "complex64"}, {"dtype": "M8[s]"}, {"frame_rate": 0}, {"planes": 0},
        {"channels": []}, {"microns_per_pixel": -1},
    ],
    ids=str,
)  # fmt: skip
def test_arguments_out_of_range(tmp_path, options):
    path = write_original(tmp_path / "m", values())
    with pytest.raises(ArgumentError, match=next(iter(options))):
        movie(path, **({"frame_rate": 1} | options))


def test_no_such_file(tmp_path):
    for path in (tmp_path / "x.bin", tmp_path):
        with pytest.raises(RecordingError, match="there is no such file"):
            open_binary(path, frame_rate=1)


# Lazy


def test_chunks_pickle_small_and_hold_no_map(tmp_path):
    data = values((64, 32, 32))
    found = movie(write_original(tmp_path / "m", data), frame_rate=1)
    array = found.variable._data
    while not hasattr(array, "stored"):
        array = array.array
    assert len(pickle.dumps(array)) < 1000
    chunked = found.chunk({"frames": 8})
    dumped = pickle.dumps(chunked)
    assert len(dumped) < 20_000
    np.testing.assert_array_equal(pickle.loads(dumped).values, data)
    np.testing.assert_array_equal(found.chunk({"y": 4})[:, 5:9].values, data[:, 5:9])


def test_the_file_is_never_changed(tmp_path):
    path = write_original(tmp_path / "m", values())
    path.chmod(0o444)
    before = path.read_bytes()
    found = movie(path, frame_rate=1)
    result = found.values
    result += 1
    assert path.read_bytes() == before


def test_a_file_that_shrinks_later_is_an_error(tmp_path):
    path = write_original(tmp_path / "m", values())
    found = movie(path, frame_rate=1)
    os.truncate(path, 400)  # reading such a map would end the process
    with pytest.raises(RecordingError, match="it has 400 bytes now, 420 when it was opened"):
        found.values  # noqa: B018
    path.unlink()
    with pytest.raises(RecordingError, match="cannot be read any more"):
        found.values  # noqa: B018


def test_the_token_follows_the_file(tmp_path):
    path = write_original(tmp_path / "m", values())

    def token(**options):
        return tokenize(movie(path, frame_rate=1, **options).chunk().data)

    first = token()
    assert token() == first
    assert token(channels=5) != first
    os.utime(path, ns=(1, 1))
    assert token() != first


# Written by calscipy


def labelled(*, channels=2, planes=3, dtype="uint16"):
    shape = (5, *([channels] if channels > 1 else []), *([planes] if planes > 1 else []), 6, 7)
    dims = ("frames", *(["channel"] if channels > 1 else []), *(["plane"] if planes > 1 else []),
            "y", "x")  # fmt: skip
    array = values(shape, dtype)
    data = from_numpy(array, frame_rate=7.5, dims=dims, microns_per_pixel=(0.5, 0.25))
    extra = {
        "time": ("frames", np.array([0, 0.1, 0.25, 3, 3.1]), data.time.attrs),
        "epoch": ("frames", [1, 1, 1, 2, 2]),
        "temperature": ("frames", [30.5, np.nan, np.inf, 31, 32.0], {"units": "degC"}),
        "stage": 12.5,
        "date": np.datetime64("2026-01-02T03:04:05", "ns"),
    }
    if channels > 1:
        extra["channel"] = ["grün", "rot"]
    if planes > 1:
        extra["z"] = ("plane", np.arange(planes) * 5.0, {"units": "um"})
        extra["plane_time"] = (("frames", "plane"), np.arange(5.0 * planes).reshape(5, planes))
    valid = np.ones(shape[:-2], bool)
    valid[2] = False
    extra["valid"] = (dims[:-2], valid)
    history = "2026-01-01T00:00:00Z calscipy 0.1.0 dfof {}"
    attrs = {"history": history, "gain": [1, 2.5], "nested": {"a": None, "b": True}, "n": 3}
    return data.assign_coords(extra).assign_attrs(attrs)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize("lazy", [False, True])
def test_a_written_movie_comes_back_with_all_labels(tmp_path, channels, planes, lazy):
    data = labelled(channels=channels, planes=planes)
    source = data.chunk({"frames": 2, "y": 4}) if lazy else data
    path = to_binary(source, tmp_path / "mouse.01.bin", progress=False)
    assert path == tmp_path / "mouse.01.bin"
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["mouse.01.bin", "mouse.01.json", "mouse.01.labels.json"]
    found = movie(path)
    assert found.identical(data)
    assert found.attrs["history"] == data.attrs["history"]


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint32", "int64", "float16", "float32", "float64", ">u2"]
)
def test_every_type(tmp_path, dtype):
    data = labelled(dtype=dtype)
    found = movie(to_binary(data, tmp_path / "x.bin", progress=False))
    assert found.dtype == np.dtype(dtype).newbyteorder("=")
    xr.testing.assert_identical(found, data.astype(np.dtype(dtype).newbyteorder("=")))
    raw = np.fromfile(tmp_path / "x.bin", np.dtype(dtype).newbyteorder("<"))
    np.testing.assert_array_equal(raw, data.values.ravel())


@pytest.mark.parametrize("channels", [1, 2])
def test_the_original_can_read_it(tmp_path, channels):
    """Its JSON has four numbers and no more, which the original insists on."""
    data = labelled(channels=channels, planes=3)
    path = to_binary(data, tmp_path / "x.bin", progress=False)
    stated = json.loads((tmp_path / "x.json").read_text())
    assert stated == {"frames": 15 * channels, "y": 6, "x": 7, "dtype": "uint16"}
    shape = (stated["frames"], stated["y"], stated["x"])
    plain = np.fromfile(path, stated["dtype"]).reshape(shape)
    np.testing.assert_array_equal(plain, data.values.reshape(shape))


def test_other_orders_of_dimensions(tmp_path):
    data = labelled()
    path = to_binary(data.transpose("y", "plane", "frames", "x", "channel"), tmp_path / "x.bin",
                     progress=False)  # fmt: skip
    assert movie(path).identical(data)


def test_lost_files_beside_it(tmp_path):
    data = labelled(channels=1, planes=1)
    path = to_binary(data, tmp_path / "x.bin", progress=False)
    (tmp_path / "x.json").unlink()
    assert movie(path).identical(data)  # the labels know the sizes, too
    (tmp_path / "x.labels.json").unlink()
    found = movie(path, frame_rate=2, y=6, x=7, dtype="uint16")
    np.testing.assert_array_equal(found.values, data.values)


def test_labels_of_another_movie_are_left_out_with_a_warning(tmp_path):
    to_binary(labelled(), tmp_path / "x.bin", progress=False)
    path = write_original(tmp_path, values(), "x")
    with pytest.warns(CalscipyWarning, match=r"x\.labels\.json describes a movie of .*left out"):
        found = movie(path, frame_rate=3)
    np.testing.assert_array_equal(found.values, values())
    assert "gain" not in found.attrs


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"calscipy_labels": 99}', "[" * 10**5])
def test_damaged_labels(tmp_path, text):
    path = to_binary(labelled(), tmp_path / "x.bin", progress=False)
    (tmp_path / "x.labels.json").write_text(text)
    with pytest.raises(RecordingError, match=r"x\.labels\.json"):
        movie(path)


def test_what_is_given_replaces_what_was_written(tmp_path):
    data = labelled()
    path = to_binary(data, tmp_path / "x.bin", progress=False)
    with pytest.warns(CalscipyWarning, match=r"labels in x\.labels\.json state .*frame_rate=4 was"):
        found = movie(path, frame_rate=4)
    assert found.time.values.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert "plane_time" not in found.coords
    assert found.attrs["gain"] == [1, 2.5]
    renamed = movie(path, channels=["a", "b"])
    assert renamed.channel.values.tolist() == ["a", "b"]
    assert float(movie(path, microns_per_pixel=3).x[1]) == 3
    with pytest.warns(CalscipyWarning, match="with {'plane': 6}. Its labels are left out"):
        assert movie(path, planes=6, frame_rate=1).sizes == {"frames": 5, "plane": 6, "y": 6,
                                                             "x": 7}  # fmt: skip
    even = labelled(channels=1, planes=1).assign_coords(
        time=("frames", np.arange(5) / 7.5, data.time.attrs)
    )
    path = to_binary(even, tmp_path / "even.bin", progress=False)
    assert movie(path, frame_rate=7.5).identical(even)


def test_every_block_is_computed_once(tmp_path):
    counted = []

    def block(block_info=None):
        counted.append(block_info[None]["array-location"])
        starts = [begin for begin, _ in block_info[None]["array-location"]]
        return np.full(block_info[None]["chunk-shape"], sum(starts), "uint16")

    array = da.map_blocks(block, chunks=((4, 4, 2), (8, 8), (16,)), dtype="uint16",
                          meta=np.zeros((0, 0, 0), "uint16"))  # fmt: skip
    data = from_numpy(array, frame_rate=1)
    counted.clear()
    path = to_binary(data, tmp_path / "x.bin", progress=False)
    assert len(counted) == 6
    assert len({str(place) for place in counted}) == 6
    np.testing.assert_array_equal(movie(path).values, array.compute())


def test_memory_is_bounded_by_the_blocks(tmp_path):
    frames = da.random.default_rng(0).integers(0, 99, (640, 128, 128), dtype="uint16",
                                               chunks=(16, 128, 128))  # fmt: skip
    data = from_numpy(frames, frame_rate=1)  # 21 MB in blocks of 0.5
    tracemalloc.start()
    path = to_binary(data, tmp_path / "x.bin", progress=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 10**6
    np.testing.assert_array_equal(movie(path)[-3:].values, data[-3:].values)


def test_copies_of_opened_files(tmp_path):
    first = to_binary(labelled(), tmp_path / "a.bin", progress=False)
    session = ImagingSession.open(first)
    second = to_binary(session.movie, tmp_path / "b.bin", progress=False)
    assert second.read_bytes() == first.read_bytes()
    assert movie(second).identical(movie(first))


@pytest.mark.parametrize("suffix", [".bin", ".json", ".labels.json"])
def test_nothing_is_written_over(tmp_path, suffix):
    taken = tmp_path / f"x{suffix}"
    taken.write_text("precious")
    with pytest.raises(TargetExistsError, match=f"x{suffix} exists already"):
        to_binary(labelled(), tmp_path / "x.bin", progress=False)
    assert [file.name for file in tmp_path.iterdir()] == [taken.name]
    assert taken.read_text() == "precious"


def test_a_failure_leaves_nothing_behind(tmp_path):
    def broken(block):
        raise OSError(28, "No space left on device")

    array = da.zeros((4, 8, 8), dtype="uint16", chunks=(1, 8, 8)).map_blocks(broken, dtype="uint16")
    with pytest.raises(StoreError, match="the disk is full"):
        to_binary(from_numpy(array, frame_rate=1), tmp_path / "x.bin", progress=False)
    with pytest.raises(StoreError, match="there is no such folder"):
        to_binary(labelled(), tmp_path / "no" / "x.bin", progress=False)
    strange = labelled().assign_attrs(strange=object())
    with pytest.raises(StoreError, match="strange"):
        to_binary(strange, tmp_path / "x.bin", progress=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("data", "name", "error", "message"),
    [
        (lambda: labelled()[0], "x.bin", DimensionError, "to_binary writes movies"),
        (lambda: labelled()[:0], "x.bin", DimensionError, "found none"),
        (lambda: labelled().expand_dims("trial"), "x.bin", DimensionError, "to_binary writes"),
        (lambda: labelled().astype("complex64"), "x.bin", ArgumentError, "found complex64"),
        (labelled, "x.dat", ArgumentError, r"ends in \.bin"),
        (labelled, "x", ArgumentError, r"ends in \.bin"),
    ],
    ids=["image", "empty", "more", "complex", "dat", "no suffix"],
)
def test_what_cannot_be_written(tmp_path, data, name, error, message):
    with pytest.raises(error, match=message):
        to_binary(data(), tmp_path / name, progress=False)
    assert not list(tmp_path.iterdir())
