"""Arrays of any kind become labelled movies and traces without a copy."""

import dask.array as da
import numpy as np
import pytest

from calscipy import ImagingSession, from_numpy
from calscipy.errors import ArgumentError, CalscipyWarning, RecordingError


def test_lazy_arrays_stay_as_they_are():
    computed = []

    def block(values):
        computed.append(values.shape)
        return values

    lazy = da.ones((6, 4, 5), chunks=(2, 4, 5)).map_blocks(block, meta=np.zeros((0, 0, 0)))
    movie = from_numpy(lazy, frame_rate=2)
    assert movie.data is lazy
    assert not computed


def test_maps_stay_maps(tmp_path):
    mapped = np.memmap(tmp_path / "x", "uint16", "w+", shape=(3, 4, 5))
    movie = from_numpy(mapped, frame_rate=2)
    assert isinstance(movie.variable.data, np.memmap)
    assert np.shares_memory(movie.values, mapped)


@pytest.mark.parametrize("rate", [True, 0, -1, float("nan"), float("inf"), "30", None])
def test_rates_that_are_none(rate):
    with pytest.raises(ArgumentError, match="frame_rate > 0"):
        from_numpy(np.zeros((3, 4, 5)), frame_rate=rate)


@pytest.mark.parametrize("size", [0, -1, float("inf"), float("nan"), "1", (1, 2, 3), (1, -1)])
def test_sizes_of_pixels_that_are_none(size):
    with pytest.raises(ArgumentError, match="microns_per_pixel must be"):
        from_numpy(np.zeros((3, 4, 5)), frame_rate=1, microns_per_pixel=size)


def test_numbers_of_numpy():
    movie = from_numpy(np.zeros((3, 4, 5)), frame_rate=np.float32(4), microns_per_pixel=np.int64(2))
    assert movie.time.values.tolist() == [0, 0.25, 0.5]
    assert (float(movie.y[1]), float(movie.x[1])) == (2, 2)


@pytest.mark.parametrize("dtype", [float, bool])
def test_traces_that_seem_to_be_transposed(dtype):
    said = r"3000 x 50 was taken for 3000 neurons with 50 samples.* 50 neurons, give array\.T"
    with pytest.warns(CalscipyWarning, match=said) as caught:
        data = from_numpy(np.zeros((3000, 50), dtype), frame_rate=30)
    assert caught[0].filename == __file__
    assert data.dims == ("neuron", "time")


@pytest.mark.parametrize("shape", [(501, 51), (500, 2), (50, 3000), (501,) * 2, (3000, 5, 5)])
def test_usual_traces_and_movies_are_taken_without_a_word(shape):
    assert from_numpy(np.zeros(shape, bool), frame_rate=30).shape == shape  # warnings are errors


def test_named_dimensions_are_taken_without_a_word():
    from_numpy(np.zeros((3000, 50)), frame_rate=30, dims=("neuron", "time"))


@pytest.mark.parametrize(
    ("name", "load"),
    [
        ("traces.npy", r"traces\.npy'\), frame_rate"),
        ("traces.NPZ", r"traces\.NPZ'\)\['NAME'\], f"),
        ("folder/b.npy", r"folder.*b\.npy'\), frame_rate"),
    ],
)
def test_opening_arrays_of_numpy_says_how_they_are_labelled(tmp_path, name, load):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"")
    place = file.parent if "/" in name else file
    said = r"does not know this .*calscipy\.from_numpy\(numpy\.load\('.*" + load
    with pytest.raises(RecordingError, match=said) as caught:
        ImagingSession.open(place)
    assert "Copy the XML" not in str(caught.value)


def test_opening_anything_else_says_how_arrays_are_labelled(tmp_path):
    (tmp_path / "notes.docx").write_text("x")
    with pytest.raises(RecordingError, match=r"from_numpy\(array, frame_rate=\.\.\.\)"):
        ImagingSession.open(tmp_path / "notes.docx")


def test_a_folder_with_an_xml_is_a_recording_whatever_lies_beside(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    (tmp_path / "mouse.XML").write_text("<a/>")
    with pytest.raises(RecordingError, match="no PrairieView master XML"):
        ImagingSession.open(tmp_path)
