"""What a movie view reads, without a browser."""

import sys

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

import calscipy as cs
from calscipy.errors import ArgumentError
from calscipy.plotting.interactive import frames as reading
from calscipy.plotting.interactive.embedding import embed, ordinal
from calscipy.plotting.interactive.frames import FrameReader, coarser
from calscipy.plotting.interactive.scene import Scene
from calscipy.testing import write_recording


@pytest.fixture(autouse=True)
def _one_thread():
    with dask.config.set(scheduler="sync"):
        yield


class Counted:
    """A movie whose blocks are made when they are asked for, and counted."""

    def __init__(self, frames=40, block=8, shape=(6, 9), tiles=None):
        self.values = np.random.default_rng(0).integers(0, 999, (frames, *shape), "uint16")
        self.made = []

        def make(block_info=None):
            place = tuple(slice(a, b) for a, b in block_info[None]["array-location"])
            self.made.append(place[0].start)
            return self.values[place]

        lengths = (block,) * (frames // block)
        chunks = (lengths, *(tiles or ((size,) for size in shape)))
        array = da.map_blocks(
            make, chunks=chunks, dtype="uint16", meta=np.empty((0, 0, 0), "uint16")
        )
        self.movie = cs.from_numpy(array, frame_rate=10)


def test_a_frame_takes_its_block_alone():
    counted = Counted()
    reader = FrameReader(counted.movie)
    assert counted.made == []
    np.testing.assert_array_equal(reader.frame(19), counted.values[19])
    assert counted.made == [16]


def test_frames_that_are_quick_are_read_one_by_one(monkeypatch):
    monkeypatch.setattr(reading, "SLOW", 60.0)
    counted = Counted()
    reader = FrameReader(counted.movie)
    for frame in (16, 17, 18):
        np.testing.assert_array_equal(reader.frame(frame), counted.values[frame])
    assert reader._block is None


def test_the_block_of_slow_frames_is_kept(monkeypatch):
    monkeypatch.setattr(reading, "SLOW", 0.0)
    counted = Counted()
    reader = FrameReader(counted.movie)
    for frame in (16, 17, 20, 23, 16):
        np.testing.assert_array_equal(reader.frame(frame), counted.values[frame])
    assert counted.made == [16, 16]
    np.testing.assert_array_equal(reader.frame(24), counted.values[24])
    assert counted.made == [16, 16, 24]


def test_blocks_too_large_to_keep_are_not_kept(monkeypatch):
    monkeypatch.setattr(reading, "SLOW", 0.0)
    monkeypatch.setattr(reading, "CACHE_BYTES", 8 * 6 * 9 * 2 - 1)
    counted = Counted()
    reader = FrameReader(counted.movie)
    for _ in range(3):
        reader.frame(3)
    assert reader._block is None


def test_the_first_look_takes_one_block():
    counted = Counted()
    image, limits = FrameReader(counted.movie).look(10, 0, 0)
    np.testing.assert_array_equal(image, counted.values[10])
    assert counted.made == [8]
    seen = counted.values[[10, 12, 15]]
    assert limits.low == np.percentile(seen, 1)
    assert limits.high == np.percentile(seen, 99.7)
    assert limits.floor == seen.min()
    assert limits.ceiling >= seen.max()


def test_frames_that_share_a_block_compute_it_once():
    counted = Counted(shape=(7, 9))
    reader = FrameReader(counted.movie)
    found = reader.several([1, 3, 17, 18], 0, 0, factor=2)
    assert sorted(counted.made) == [0, 16]
    for image, frame in zip(found, (1, 3, 17, 18), strict=True):
        np.testing.assert_array_equal(image, coarser(counted.values[frame], 2))


def test_frames_in_files_are_read_alone(tmp_path):
    truth = write_recording(tmp_path / "r", frames=40, shape=(16, 16), neurons=1)
    movie = cs.ImagingSession.open(tmp_path / "r").movie
    opened = []

    def watch(event, arguments):
        if event == "open" and str(arguments[0]).endswith(".tif"):
            opened.append(arguments[0])

    sys.addaudithook(watch)
    reader = FrameReader(movie)
    del opened[:]
    np.testing.assert_array_equal(reader.frame(7), truth.frame(7))
    assert len(set(opened)) == 1
    del opened[:]
    found = reader.several([3, 9, 11], 0, 0, factor=4)
    np.testing.assert_array_equal(found[1], coarser(truth.frame(9), 4))
    assert len(set(opened)) == 3


def test_the_time_course_of_a_pixel_takes_few_blocks(monkeypatch):
    monkeypatch.setattr(reading, "LOOK_BYTES", 3 * 8 * 6 * 9 * 2)
    counted = Counted()
    found = FrameReader(counted.movie).course(19, 0, 0, 0, 4)
    assert found.frames == slice(8, 32)
    assert sorted(counted.made) == [8, 16, 24]
    assert (found.rows, found.columns) == (slice(0, 2), slice(3, 6))
    np.testing.assert_allclose(found.values, counted.values[8:32, :2, 3:6].mean((1, 2)))


def test_tiles_beside_the_pixel_are_not_read(monkeypatch):
    monkeypatch.setattr(reading, "LOOK_BYTES", 2 * 8 * 3 * 3 * 2)
    counted = Counted(tiles=((3, 3), (3, 3, 3)))
    found = FrameReader(counted.movie).course(0, 0, 0, 1, 1)
    assert found.frames == slice(0, 16)
    assert sorted(counted.made) == [0, 8]


def test_one_block_is_read_however_large(monkeypatch):
    monkeypatch.setattr(reading, "LOOK_BYTES", 1)
    counted = Counted()
    assert FrameReader(counted.movie).course(39, 0, 0, 3, 3).frames == slice(32, 40)
    assert counted.made == [32]


class _File(BackendArray):
    """An array in a file, of which the elements that are read are counted."""

    def __init__(self, values):
        self.values, self.shape, self.dtype, self.read = values, values.shape, values.dtype, 0

    def __getitem__(self, key):
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._take
        )

    def _take(self, key):
        found = self.values[key]
        self.read += found.size
        return found


def test_movies_that_are_lazy_without_dask_are_not_loaded(monkeypatch):
    values = np.random.default_rng(0).integers(0, 99, (5, 50, 4, 6), "uint16")
    stored = _File(values)
    variable = xr.Variable(("channel", "frames", "y", "x"), indexing.LazilyIndexedArray(stored))
    movie = xr.DataArray(variable)
    reader = FrameReader(movie)
    assert stored.read == 0
    np.testing.assert_array_equal(reader.frame(7, channel=3), values[3, 7])
    assert stored.read == 24
    reader.look(0, 1, 0)
    assert stored.read == 24 * 4
    monkeypatch.setattr(reading, "LOOK_BYTES", 10 * 24 * 2)
    stored.read = 0
    found = reader.course(25, 2, 0, 1, 1)
    assert found.frames == slice(20, 30)
    np.testing.assert_allclose(found.values, values[2, 20:30, :3, :3].mean((1, 2)))
    assert stored.read == 90


def test_channels_planes_and_damaged_frames():
    values = np.random.default_rng(0).integers(0, 99, (6, 2, 3, 4, 5), "uint16")
    movie = cs.from_numpy(values, frame_rate=2)
    valid = np.ones((6, 3), bool)
    valid[2, 1] = False
    movie = movie.assign_coords(valid=(("frames", "plane"), valid))
    reader = FrameReader(movie)
    assert (reader.frames, reader.channels, reader.planes, reader.shape) == (6, 2, 3, (4, 5))
    np.testing.assert_array_equal(reader.frame(4, 1, 2), values[4, 1, 2])
    assert not reader.valid(2, 0, 1)
    assert reader.valid(2, 0, 0)
    found = reader.course(0, 1, 1, 2, 2, reach=0)
    np.testing.assert_array_equal(np.isnan(found.values), ~valid[:, 1])
    scene = Scene(movie, None, None, [])
    image, _ = scene.look(2, 0, 1, 1)
    assert np.isnan(image).all()
    assert scene.title(2, 1, 1) == "frame 2 · 1.000 s · Ch2 · plane 1 · missing or damaged"


def test_coarser_images_are_means():
    image = np.random.default_rng(0).normal(size=(7, 9))
    found = coarser(image, 4)
    for y in range(2):
        for x in range(3):
            part = image[4 * y : 4 * y + 4, 4 * x : 4 * x + 4]
            assert found[y, x] == pytest.approx(part.mean(), abs=1e-6)


def test_axes_are_in_um_where_pixels_are_even():
    movie = cs.from_numpy(np.zeros((2, 4, 6)), frame_rate=1, microns_per_pixel=(2.0, 0.5))
    y, x = Scene(movie, None, None, []).axes
    assert (y.start, y.step, y.label) == (-1.0, 2.0, "y position [µm]")
    assert (x.start, x.step, x.label) == (-0.25, 0.5, "x position [µm]")
    crop = Scene(movie.isel(y=slice(1, None), x=slice(None, None, 2)), None, None, [])
    assert [axis[:2] for axis in crop.axes] == [(1.0, 2.0), (-0.5, 1.0)]
    assert crop.pixel_at(3.2, 2.6) == (1, 2)
    assert crop.pixel_at(-99, 99) == (0, 2)
    uneven = Scene(movie.isel(y=[0, 1, 3]), None, None, [])
    assert uneven.axes[0] == (-0.5, 1.0, "row")


# -- frames of a page ---------------------------------------------------------------------------


def test_frames_of_a_page_are_exact_within_their_levels():
    values = np.random.default_rng(0).normal(100, 20, (30, 2, 8, 10)).astype("float32")
    values[4, 1, 3, 3] = np.nan
    held = embed(FrameReader(cs.from_numpy(values, frame_rate=1)), None, 10**6)
    assert held.codes.shape == (2, 1, 30, 8, 10)
    assert held.numbers.tolist() == list(range(30))
    for channel in range(2):
        low, high = held.ends[channel]
        assert low <= np.nanpercentile(values[:, channel], 0.05)
        for frame in range(30):
            wanted = values[frame, channel].clip(low, high)
            found = held.image(channel, 0, frame)
            np.testing.assert_allclose(found, wanted, atol=0.501 * (high - low) / 254)
    assert held.note.startswith("This page holds 255 levels of brightness from ")


def test_what_a_page_leaves_out_is_said():
    counted = Counted(frames=400, block=40, shape=(80, 300))
    reader = FrameReader(counted.movie)
    held = embed(reader, None, 500_000)
    count, height, width = held.codes.shape[2:]
    assert held.factor == -(-300 // width)
    assert held.codes.nbytes <= 500_000
    step = held.numbers[1]
    assert held.numbers.tolist() == list(range(0, 400, step))
    assert (
        f"{count} of 400 frames, every {ordinal(int(step))} frame, means of {held.factor} ×"
        in held.note
    )
    assert height == -(-80 // held.factor)
    image = coarser(counted.values[step], held.factor)
    low, high = held.ends[0]
    np.testing.assert_allclose(held.image(0, 0, 1), image.clip(low, high), atol=(high - low) / 254)


def test_frames_of_a_page_that_are_asked_for():
    reader = FrameReader(Counted().movie)
    assert embed(reader, 4, 10**6).numbers.tolist() == [0, 10, 20, 30]
    assert embed(reader, slice(5, 20, 5), 10**6).numbers.tolist() == [5, 10, 15]
    assert embed(reader, [7, 3], 10**6).numbers.tolist() == [3, 7]
    held = embed(reader, slice(5, 20, 5), 10**6)
    assert "3 of 40 frames, every 5th frame, from 5 to 15" in held.note
    for wrong, message in (
        (0, "frames of 1 or more"),
        ([40], "there is no frame 40"),
        (slice(50, 60), "selects none of 40"),
        ("all", "as a number, a slice"),
        ([True], "as a number, a slice"),
    ):
        with pytest.raises(ArgumentError, match=message):
            embed(reader, wrong, 10**6)


def test_more_frames_than_fit_are_refused_with_the_number_that_does():
    reader = FrameReader(Counted(shape=(64, 64)).movie)
    with pytest.raises(ArgumentError, match="Give frames=4,"):
        embed(reader, 30, 4 * 64 * 64)
    assert len(embed(reader, 4, 4 * 64 * 64).numbers) == 4
