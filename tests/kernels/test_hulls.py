"""Convex hulls against SciPy's, and where SciPy has none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull, QhullError

from calscipy.kernels.hulls import hull_points

POINTS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=25)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(POINTS)
def test_corners_are_those_of_scipy(points):
    points = np.array(points)
    found = hull_points(points)
    try:
        expected = points[ConvexHull(points).vertices]
    except (QhullError, ValueError):  # on one line
        apart = points - points[np.lexsort(points.T[::-1])[0]]
        far = points[np.argmax((apart**2).sum(axis=1))]
        expected = np.unique([points[np.lexsort(points.T[::-1])[0]], far], axis=0)
    assert set(map(tuple, found.tolist())) == set(map(tuple, expected.tolist()))
    assert len(found) == len(set(map(tuple, found.tolist())))


@settings(deadline=None, derandomize=True, max_examples=60)
@given(POINTS)
def test_corners_come_in_order_around_the_hull(points):
    found = hull_points(np.array(points)).astype(float)
    if len(found) > 2:
        step = np.roll(found, -1, axis=0) - found
        turn = step[:, 0] * np.roll(step, -1, axis=0)[:, 1]
        turn -= step[:, 1] * np.roll(step, -1, axis=0)[:, 0]
        assert (turn > 0).all() or (turn < 0).all()


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_points_that_are_no_pixels(scale):
    points = np.random.default_rng(0).normal(size=(40, 2)) * scale + 3 * scale
    expected = points[ConvexHull(points).vertices]
    found = hull_points(points)
    assert set(map(tuple, found.tolist())) == set(map(tuple, expected.tolist()))
