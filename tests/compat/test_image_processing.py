"""Filters as documented in 0.3.5, and where it was wrong (flaws F24 to F30)."""

import warnings

import numpy as np
import pytest
from scipy import ndimage

from calscipy.compat import CompatWarning
from calscipy.compat.image_processing import gaussian_filter, median_filter
from calscipy.errors import ArgumentError, DimensionError

from . import reference

pytestmark = pytest.mark.filterwarnings("ignore::calscipy.compat.CompatWarning")
FILTERS = [gaussian_filter, median_filter]


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 4000, (23, 12, 17)).astype("float32")


@pytest.mark.parametrize("sigma", [1.0, 0.6, np.array([2.0, 1.0, 0.5]), (0, 1, 1), np.float64(1.5)])
def test_the_gaussian_is_scipys(images, sigma):
    found = gaussian_filter(images, sigma)  # F24: without a GPU, F27: frames too
    np.testing.assert_allclose(found, reference.gaussian_filter(images, sigma), rtol=1e-5)
    assert found.dtype == "float32"


def test_the_gaussian_of_integers_is_not_cut_off(images):
    counts = images.astype("uint16")
    found = gaussian_filter(counts)  # F28
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, ndimage.gaussian_filter(counts.astype(float), 1.0), rtol=1e-5)
    before = counts.copy()
    assert gaussian_filter(counts, in_place=True) is counts
    assert np.array_equal(counts, np.rint(found).astype("uint16"))
    assert abs(float(counts.mean()) - float(before.mean())) < 1  # 0.3.5 was 1.5 too dark


def test_the_gaussian_of_doubles_stays_double(images):
    found = gaussian_filter(images.astype("float64"))
    np.testing.assert_allclose(found, ndimage.gaussian_filter(images.astype("float64"), 1.0))
    assert found.dtype == "float64"


@pytest.mark.parametrize("dtype", ["uint16", "float32", "int16"])
def test_the_median_is_scipys_bit_for_bit(images, dtype):
    given = images.astype(dtype)
    found = median_filter(given)
    assert found.dtype == dtype
    assert np.array_equal(found, reference.median_filter(given))


@pytest.mark.parametrize(
    "mask",
    [
        np.ones((1, 3, 3)),
        np.ones((3, 5, 5)),
        np.ones((2, 4, 3)),
        ndimage.generate_binary_structure(3, 1),
        np.eye(3)[None],
    ],
)
def test_masks_are_footprints(images, mask):
    assert np.array_equal(median_filter(images, mask), reference.median_filter(images, mask))


def test_a_mask_of_one_plane_is_spatial(images):
    for mask in (np.ones((3, 3)), np.eye(3)):
        expected = [ndimage.median_filter(frame, footprint=mask) for frame in images]
        assert np.array_equal(median_filter(images, mask), expected)


@pytest.mark.parametrize("function", FILTERS)
@pytest.mark.parametrize(("size", "overlap"), [(5, 0), (5, 2), (7, 6), (100, 3), (2, 1)])
def test_blocks_change_no_sample(images, function, size, overlap):
    found = function(images, block_size=size, block_buffer=overlap)  # F25, F26
    assert np.array_equal(found, function(images))


@pytest.mark.parametrize(
    ("function", "naive"),
    list(zip(FILTERS, (reference.gaussian_filter, reference.median_filter), strict=True)),
)
@pytest.mark.parametrize(("size", "overlap"), [(5, 0), (5, 2), (100, 0)])
def test_the_old_seams_can_be_asked_for(images, function, naive, size, overlap):
    found = function(images, block_size=size, block_buffer=overlap, seams=True)
    expected = reference.in_blocks(naive, images, size, overlap)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.array_equal(found, function(images)) == (size == 100)


@pytest.mark.parametrize("function", FILTERS)
@pytest.mark.parametrize("block_size", [None, 5])
def test_results_in_place_and_inputs_left_alone(images, function, block_size):
    before = images.copy()
    result = function(images, block_size=block_size)
    assert np.array_equal(images, before)
    assert not np.shares_memory(result, images)
    assert function(images, block_size=block_size, in_place=True) is images  # F29
    assert np.array_equal(images, result)


@pytest.mark.parametrize("function", FILTERS)
def test_blocks_that_cannot_be_are_explained(images, function):
    with pytest.raises(ArgumentError, match="block_size must be a whole number from 1"):
        function(images, block_size=0)
    with pytest.raises(
        ArgumentError, match=r"block_buffer must be .* from 0 to block_size - 1 = 4"
    ):
        function(images, block_size=5, block_buffer=5)
    with pytest.raises((DimensionError, ValueError)):
        function(images[0])


@pytest.mark.filterwarnings("error::calscipy.compat.CompatWarning")
def test_other_numbers_than_before_are_said_once(images):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gaussian_filter(images)
        median_filter(images.astype("uint16"))
        median_filter(images, block_size=5, seams=True)
    with pytest.warns(CompatWarning, match="does not cut off decimals"):
        gaussian_filter(images.astype("uint16"))
    gaussian_filter(images.astype("uint16"))
    with pytest.warns(CompatWarning, match="seams=True"):
        median_filter(images, block_size=5)
