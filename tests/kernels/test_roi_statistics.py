"""Moments and hulls against closed forms and slow loops."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.kernels.roi_statistics import convex_hull, ellipse_axes, moments, polygon_area

pixel_sets = st.sets(
    st.tuples(st.integers(-3, 12), st.integers(-3, 12)), min_size=1, max_size=25
).map(lambda pixels: np.array(sorted(pixels)).T)


def one(y, x, weight=None):
    weight = np.ones(len(y)) if weight is None else weight
    found = moments(np.zeros(len(y), int), np.asarray(y), np.asarray(x), np.asarray(weight), 1)
    return [float(value.item()) for value in found]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(pixel_sets, st.integers(0, 9999))
def test_moments_are_those_of_fine_squares(pixels, seed):
    """Each pixel is cut into 40 stripes, which misses 1/12 by 1/12/1600."""
    y, x = pixels
    weight = np.random.default_rng(seed).random(y.size) + 0.1
    stripes = (x[:, None] + (np.arange(40) + 0.5) / 40 - 0.5).ravel()
    weights = np.repeat(weight, 40)
    middle = np.average(pixels, axis=1, weights=weight)
    found = one(y, x, weight)
    np.testing.assert_allclose(found[:2], middle, atol=1e-12)
    np.testing.assert_allclose(
        found[3], np.average((stripes - middle[1]) ** 2, weights=weights), atol=1e-4
    )
    covariance = np.cov(pixels, aweights=weight, bias=True) if y.size > 1 else np.zeros((2, 2))
    np.testing.assert_allclose(
        [[found[2], found[4]], [found[4], found[3]]], covariance + np.eye(2) / 12, atol=1e-9
    )


def test_moments_are_kept_apart_and_far_from_the_corner():
    rng = np.random.default_rng(0)
    row = rng.integers(0, 3, 60)
    y, x, weight = rng.integers(0, 9, 60), rng.integers(0, 9, 60), rng.random(60)
    found = np.array(moments(row, y, x, weight, 3))
    for k in range(3):
        np.testing.assert_allclose(found[:, k], one(y[row == k], x[row == k], weight[row == k]))
    far = np.array(moments(row, y + 10**6, x + 10**6, weight, 3))
    np.testing.assert_allclose(far[2:], found[2:], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("tall", "wide"), [(1, 1), (3, 8), (20, 1)])
def test_axes_of_rectangles_have_a_closed_form(tall, wide):
    y, x = np.mgrid[:tall, :wide].reshape(2, -1)
    axes = ellipse_axes(*one(y, x)[2:])
    expected = 4 * np.sort([tall, wide])[::-1] / np.sqrt(12)
    np.testing.assert_allclose(axes, expected, rtol=1e-12)


def test_axes_of_a_turned_ellipse():
    y, x = np.mgrid[-60:61, -60:61]
    turn = np.radians(25)
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    inside = (u / 50) ** 2 + (v / 20) ** 2 <= 1
    axes = ellipse_axes(*one(y[inside], x[inside])[2:])
    np.testing.assert_allclose(axes, [100, 40], rtol=2e-3)


def turns_left(a, b, c):
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def slow_hull_area(y, x):
    """Gift wrapping over all corners of all pixels."""
    points = sorted(
        {
            (float(a + dy), float(b + dx))
            for a, b in zip(y, x, strict=True)
            for dy, dx in itertools.product((-0.5, 0.5), repeat=2)
        }
    )
    hull = [points[0]]
    while True:
        best = next(p for p in points if p != hull[-1])
        for p in points:
            turn = turns_left(hull[-1], best, p)
            far = np.hypot(*np.subtract(p, hull[-1])) > np.hypot(*np.subtract(best, hull[-1]))
            if p != hull[-1] and (turn < 0 or (turn == 0 and far)):
                best = p
        if best == hull[0]:
            break
        hull.append(best)
    pairs = zip(hull, hull[1:] + hull[:1], strict=True)
    return abs(sum(a[0] * b[1] - a[1] * b[0] for a, b in pairs)) / 2, set(hull)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(pixel_sets)
def test_hulls_are_those_of_gift_wrapping(pixels):
    area, corners = slow_hull_area(*pixels)
    hull = convex_hull(*pixels)
    assert polygon_area(hull) == pytest.approx(area, rel=1e-12)
    assert {tuple(corner) for corner in hull.tolist()} == corners


@pytest.mark.parametrize(
    ("y", "x", "area"),
    [
        ([5], [7], 1),
        ([5] * 4, [1, 2, 3, 9], 9),  # a line along x, with a gap
        ([1, 2, 3], [4, 4, 4], 3),
        ([0, 1, 2], [0, 1, 2], 5),  # a diagonal
    ],
)
def test_hulls_of_points_and_lines_have_an_area(y, x, area):
    assert polygon_area(convex_hull(np.array(y), np.array(x))) == pytest.approx(area, rel=1e-12)
