"""Regions to stimulate, and colours, of 0.3.5, and where it was wrong (flaws F47, F50)."""

import numpy as np
import pytest

from calscipy.compat.color_scheme import COLORS
from calscipy.compat.optogenetics import (
    ROI,
    Group,
    Mask,
    Photostimulation,
    calculate_bounding_radius,
    calculate_centroid,
    calculate_mask,
    calculate_vertices,
)
from calscipy.errors import RoiError

from . import reference

L_SHAPE = [[0, 0], [0, 4], [2, 4], [2, 1], [6, 1], [6, 0]]


@pytest.mark.parametrize(
    "vertices", [L_SHAPE, L_SHAPE[::-1], (np.array(L_SHAPE) + 1000.5).tolist()]
)
def test_centroids_either_way_around(vertices):
    found = calculate_centroid(vertices)  # F47: clockwise polygons had negative centroids
    assert all(isinstance(n, float) for n in found)
    np.testing.assert_allclose(found, reference.calculate_centroid(vertices))


def test_centroids_without_an_area():
    assert calculate_centroid([[1, 1], [3, 3]]) == (2.0, 2.0)
    assert calculate_centroid([[1, 2]]) == (1.0, 2.0)


@pytest.mark.parametrize("theta", [0, 30, 90, 200])
@pytest.mark.parametrize("radii", [(3, 5), (4, 4), (2.5, 6.1)])
def test_masks_are_turned_ellipses(radii, theta):
    center = np.array([12.0, 14.5])
    found = calculate_mask(center, radii, (25, 30), theta)  # F47: the angle was passed over
    assert np.array_equal(found, reference.calculate_mask(center, radii, (25, 30), theta))
    assert center.tolist() == [12.0, 14.5]  # F47: it was changed


def test_masks_of_one_radius_and_of_none():
    assert np.array_equal(calculate_mask((5, 5), 2, (9, 9)), calculate_mask((5, 5), (2, 2), (9, 9)))
    assert calculate_mask((5.2, 4.9), 0, (9, 9)).tolist() == [[5, 5]]


def test_vertices_are_those_of_the_hull():
    pixels = calculate_mask((10, 10), (6, 4), (21, 21), 20)
    found = calculate_vertices(pixels)
    expected = reference.calculate_vertices(pixels)
    assert set(map(tuple, found.tolist())) == set(map(tuple, expected.tolist()))
    np.testing.assert_allclose(calculate_centroid(found), calculate_centroid(expected))


@pytest.mark.parametrize(
    ("pixels", "corners"),
    [
        ([[3, 4]], [[3, 4]]),
        ([[3, 4], [3, 4]], [[3, 4]]),
        ([[3, 4], [3, 6], [3, 5]], [[3, 4], [3, 6]]),
        ([[2, 2], [0, 0], [1, 1]], [[0, 0], [2, 2]]),
        ([[0, 2], [2, 0], [1, 1]], [[0, 2], [2, 0]]),
    ],
)
def test_hulls_without_an_area(pixels, corners):
    assert calculate_vertices(pixels).tolist() == corners  # F47: a crash


def test_bounding_circles_hold_every_corner():
    vertices = np.array(L_SHAPE)
    centroid = calculate_centroid(vertices)
    radius = calculate_bounding_radius(centroid, vertices)
    apart = [np.hypot(*(corner - np.array(centroid))) for corner in vertices]
    assert radius == pytest.approx(max(apart))


def test_regions_know_their_shape():
    roi = ROI(calculate_mask((6, 7), 3, (15, 16)), (15, 16), "a")
    assert roi.mask.shape == (15, 16)
    assert roi.mask.sum() == len(roi.pixels)
    np.testing.assert_allclose(roi.centroid, (6, 7))
    assert roi.bounding_radius == pytest.approx(3)
    same = Mask((6, 7), 3, (15, 16), name="a")
    assert isinstance(same, ROI)
    assert np.array_equal(same.mask, roi.mask)
    for pixels in ([], [1, 2], [[1, 2, 3]]):
        with pytest.raises(RoiError, match=r"shape \(pixels, 2\)"):
            ROI(pixels)


def test_regions_become_targets():
    rois = [Mask((10, 12), 4, (32, 32)), Mask((20, 8), (2, 6), (32, 32), 90)]
    experiment = Photostimulation(rois, groups=[Group((0, 1))])
    first, second = experiment.targets
    assert (first.label, second.label) == (0, 1)  # F47: always 15 targets
    assert (first.y, first.x) == pytest.approx((10, 12))
    assert first.width == pytest.approx(8, rel=0.1)
    assert second.width > 2 * second.height
    assert abs(second.theta % 180 - 90) < 1  # the long axis points down
    assert experiment.groups[0].targets == (0, 1)


def test_regions_of_suite2p(tmp_path):
    stat = [
        {"ypix": np.array([1, 1, 2]), "xpix": np.array([3, 4, 3]), "lam": np.ones(3)},
        {"ypix": np.array([7]), "xpix": np.array([8]), "lam": np.ones(1)},
    ]
    np.save(tmp_path / "stat.npy", np.array(stat, dtype=object), allow_pickle=True)
    image = np.zeros((12, 13))
    found = Photostimulation.import_suite2p(tmp_path, image)
    assert found.reference_image is image  # F47: it was taken for something else
    assert [roi.name for roi in found.rois] == [0, 1]
    assert found.rois[0].pixels.tolist() == [[1, 3], [1, 4], [2, 3]]
    assert [target.label for target in found.targets] == [0, 1]
    assert "Photostimulation" in str(found)


def test_colours_begin_again_after_the_last_one():
    assert len({COLORS(n) for n in range(7)}) == 7
    assert COLORS(13) == COLORS(6)  # F50: IndexError
    assert COLORS.BLUE == COLORS.blue == COLORS(0)
    assert COLORS(3).startswith("#")
    with pytest.raises(AttributeError, match="BLUE, ORANGE"):
        COLORS.MAUVE  # noqa: B018
