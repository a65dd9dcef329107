"""Ellipses and polygons against rules pixel by pixel, and against sums over triangles."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import center_of_mass

from calscipy.kernels.ellipses import (
    Ellipse,
    ellipse_outline,
    ellipse_pixels,
    ellipse_reach,
    polygon_centroid,
)

SHAPE = (14, 17)
QUICK = settings(max_examples=60, deadline=None, derandomize=True)
ellipses = st.builds(
    Ellipse,
    y=st.floats(-5, 20),
    x=st.floats(-5, 20),
    height=st.floats(0.5, 20),
    width=st.floats(0.5, 20),
    angle=st.floats(-7, 7),
)


def level(ellipse, y, x):
    """Squared distance from the middle in half axes: 1 on the ellipse."""
    turned = complex(x - ellipse.x, y - ellipse.y) * np.exp(-1j * ellipse.angle)
    return (turned.real / (ellipse.width / 2)) ** 2 + (turned.imag / (ellipse.height / 2)) ** 2


@QUICK
@given(ellipses)
def test_pixels_are_those_whose_centres_lie_inside(ellipse):
    levels = np.array([[level(ellipse, y, x) for x in range(SHAPE[1])] for y in range(SHAPE[0])])
    mask = np.zeros(SHAPE, bool)
    mask[ellipse_pixels(ellipse, SHAPE)] = True
    if (levels <= 1).any():
        sure = np.abs(levels - 1) > 1e-6
        np.testing.assert_array_equal(mask[sure], levels[sure] <= 1)
    else:
        assert mask.sum() <= 1


@QUICK
@given(ellipses)
def test_the_outline_lies_on_the_ellipse_and_reaches_as_far_as_said(ellipse):
    outline = ellipse_outline(ellipse, 720)
    levels = [level(ellipse, y, x) for y, x in outline]
    np.testing.assert_allclose(levels, 1, atol=1e-6)
    reach = np.abs(outline - (ellipse.y, ellipse.x)).max(axis=0)
    np.testing.assert_allclose(reach, ellipse_reach(ellipse), rtol=1e-4)


def test_an_ellipse_between_pixels_has_the_nearest_one():
    assert [a.tolist() for a in ellipse_pixels(Ellipse(3.4, 2.6, 0.1, 0.1), SHAPE)] == [[3], [3]]
    assert [a.tolist() for a in ellipse_pixels(Ellipse(3, 2, 0, 0), SHAPE)] == [[3], [2]]
    assert [a.size for a in ellipse_pixels(Ellipse(-3, 2, 1, 1), SHAPE)] == [0, 0]
    assert [a.size for a in ellipse_pixels(Ellipse(1e300, 2, 1, 1), SHAPE)] == [0, 0]


def test_an_ellipse_without_height_is_a_line():
    y, x = ellipse_pixels(Ellipse(4, 6, height=0, width=6), SHAPE)
    assert (set(y.tolist()), x.tolist()) == ({4}, [3, 4, 5, 6, 7, 8, 9])


def test_the_middle_of_the_pixels_is_that_of_the_ellipse():
    mask = np.zeros((60, 60), bool)
    mask[ellipse_pixels(Ellipse(30.2, 28.7, 30, 12, 0.6), mask.shape)] = True
    np.testing.assert_allclose(center_of_mass(mask), (30.2, 28.7), atol=0.2)


def by_triangles(corners):
    """Middle of a polygon, from the triangles of its first corner."""
    first, total, moment = corners[0], 0.0, np.zeros(2)
    for left, right in itertools.pairwise(corners[1:]):
        (a, b), (c, d) = left - first, right - first
        area = (a * d - b * c) / 2
        total += area
        moment += area * (first + left + right) / 3
    return moment / total


@pytest.mark.parametrize("far", [0.0, 1e5])
def test_both_directions_around_a_polygon_give_the_same_middle(far):
    """The original took the absolute area: of clockwise polygons the middle came out negated."""
    corners = np.array([[0, 0], [0, 6], [2, 6], [2, 2], [5, 1.0]]) + far
    wanted = by_triangles(corners - far) + far
    np.testing.assert_allclose(polygon_centroid(corners), wanted, rtol=1e-9)
    np.testing.assert_allclose(polygon_centroid(corners[::-1]), wanted, rtol=1e-9)


def test_polygons_without_area_have_the_mean_of_their_corners():
    assert polygon_centroid(np.array([[1, 1], [3, 3], [5, 5]])).tolist() == [3, 3]
    assert polygon_centroid(np.array([[1, 2]])).tolist() == [1, 2]
    assert not any(map(math.isnan, polygon_centroid(np.array([[1.5, 2], [1.5, 2], [1.5, 2]]))))
