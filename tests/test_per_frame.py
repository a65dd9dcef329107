"""Whole frames for kernels that work frame by frame."""

import dask.array as da
import numpy as np
import pytest

import calscipy as cs
from calscipy.blocks.per_frame import per_frame, whole_frames
from calscipy.errors import ChunkError


def add(frames, numbers, *, factor):
    return frames * factor + numbers[:, 0, None, None]


@pytest.mark.parametrize("chunks", [(4, 6, 5), (3, 2, 5), (10, 6, 2), (1, 1, 1)])
def test_every_frame_has_its_numbers(chunks):
    data = np.random.default_rng(0).random((10, 6, 5))
    numbers = np.arange(20.0).reshape(10, 2)
    options = {"dtype": np.dtype("f8"), "arguments": {"factor": 2.0}}
    lazy = per_frame(da.from_array(data, chunks=chunks), add, numbers, **options)
    expected = data * 2 + numbers[:, 0, None, None]
    np.testing.assert_array_equal(lazy, expected)
    np.testing.assert_array_equal(per_frame(data, add, numbers, **options), expected)


def test_bands_over_all_frames_are_put_together_only_within_the_limit():
    bands = da.zeros((40, 8, 6), chunks=(40, 2, 6), dtype="u2")
    with cs.set_options(memory_limit=bands.nbytes):
        assert whole_frames(bands, "apply_shifts").numblocks[1:] == (1, 1)
    message = (
        r"apply_shifts needs whole frames.*40 frames: 3840 bytes.*memory_limit=3839.*open\(path\)"
    )
    with (
        cs.set_options(memory_limit=bands.nbytes - 1),
        pytest.raises(ChunkError, match=message),
    ):
        whole_frames(bands, "apply_shifts")


def test_tiles_of_few_frames_are_put_together_whatever_the_size_of_the_movie():
    tiles = da.zeros((40, 8, 6), chunks=(4, 2, 3), dtype="u2")
    with cs.set_options(memory_limit=4 * 8 * 6 * 2):
        assert whole_frames(tiles, "apply_shifts").numblocks[1:] == (1, 1)
