"""Outlines are filled by the rule of the pixel's centre, whatever the window."""

import math

import matplotlib.path
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.kernels.outlines import oval_mask, pixel_window, polygon_mask, rectangle_mask

ROWS, COLUMNS = 14, 17
EVERYTHING = range(ROWS), range(COLUMNS)

whole = st.tuples(st.integers(-4, COLUMNS + 4), st.integers(-4, ROWS + 4))
# Odd thousandths keep corners and edges away from the centres of pixels most of the time.
broken = st.tuples(
    st.integers(-4000, 21000).map(lambda n: n / 1000 + 0.0001234),
    st.integers(-4000, 18000).map(lambda n: n / 1000 + 0.0004321),
)
windows = st.tuples(st.integers(0, ROWS), st.integers(0, ROWS), st.integers(0, COLUMNS)).map(
    lambda n: (range(min(n[:2]), max(n[:2])), range(n[2], COLUMNS))
)


def crossings_to_the_left(path, y, x):
    """Edges that a ray from a point to the left crosses, in exact arithmetic.

    Everything is doubled twice, so that centres and whole corners are integers. A point on an edge
    counts as left of it.
    """
    count = 0
    for (x0, y0), (x1, y1) in zip(path, path[1:] + path[:1], strict=True):
        if y0 > y1:
            x0, y0, x1, y1 = x1, y1, x0, y0
        if y0 <= y < y1:
            # x > x0 + (y - y0) (x1 - x0) / (y1 - y0)
            count += (x - x0) * (y1 - y0) > (y - y0) * (x1 - x0)
    return count


def slow_fill(paths):
    doubled = [[(2 * x, 2 * y) for x, y in path] for path in paths]
    mask = np.zeros((ROWS, COLUMNS), bool)
    for r in range(ROWS):
        for c in range(COLUMNS):
            crossed = sum(crossings_to_the_left(path, 2 * r + 1, 2 * c + 1) for path in doubled)
            mask[r, c] = crossed % 2
    return mask


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.lists(st.lists(whole, min_size=3, max_size=8), min_size=1, max_size=3), windows)
def test_whole_corners_are_filled_exactly(paths, window):
    expected = slow_fill(paths)
    given_paths = [np.array(path) for path in paths]
    np.testing.assert_array_equal(polygon_mask(given_paths, *EVERYTHING), expected)
    part = np.ix_(*map(list, window))
    np.testing.assert_array_equal(polygon_mask(given_paths, *window), expected[part])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(broken, min_size=3, max_size=9, unique=True))
def test_outlines_between_pixels_agree_with_matplotlib_where_they_are_simple(points):
    """Sorted by angle, points make a star that does not cross itself."""
    middle = np.mean(points, axis=0)
    points = np.array(sorted(points, key=lambda p: math.atan2(*(np.array(p) - middle)[::-1])))
    y, x = np.mgrid[:ROWS, :COLUMNS] + 0.5
    centres = np.column_stack([x.ravel(), y.ravel()])
    expected = matplotlib.path.Path(points, closed=False).contains_points(centres)
    found = polygon_mask([points], *EVERYTHING)
    ends = np.roll(points, 1, axis=0)
    near = np.zeros(len(centres), bool)  # of an edge, where rounding decides
    for a, b in zip(points, ends, strict=True):
        along = np.clip(((centres - a) @ (b - a)) / max((b - a) @ (b - a), 1e-12), 0, 1)
        near |= np.linalg.norm(centres - a - along[:, None] * (b - a), axis=1) < 1e-6
    np.testing.assert_array_equal(found.ravel()[~near], expected[~near])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(whole, min_size=1, max_size=6))
def test_polygons_that_share_edges_share_no_pixel_and_leave_none(inner):
    """A fan of triangles from a point covers the rectangle once."""
    corners = [(0, 0), (COLUMNS, 0), (COLUMNS, ROWS), (0, ROWS)]
    middle = (min(max(inner[0][0], 0), COLUMNS), min(max(inner[0][1], 0), ROWS))
    total = np.zeros((ROWS, COLUMNS), int)
    for a, b in zip(corners, corners[1:] + corners[:1], strict=True):
        total += polygon_mask([np.array([a, b, middle])], *EVERYTHING)
    np.testing.assert_array_equal(total, 1)


def test_holes_and_crossings_follow_the_even_odd_rule():
    square = np.array([[1, 1], [9, 1], [9, 9], [1, 9]])
    hole = np.array([[3, 3], [3, 6], [6, 6], [6, 3]])
    mask = polygon_mask([square, hole], *EVERYTHING)
    expected = np.zeros((ROWS, COLUMNS), bool)
    expected[1:9, 1:9] = True
    expected[3:6, 3:6] = False
    np.testing.assert_array_equal(mask, expected)
    bow = polygon_mask([np.array([[0, 0], [8, 8], [8, 0], [0, 8]])], *EVERYTHING)
    assert bow.sum() == 32
    assert not bow[4:, 4].any()
    assert not polygon_mask([square, square], *EVERYTHING).any()


def test_an_outline_of_many_points_is_filled_in_pieces(monkeypatch):
    angle = np.linspace(0, 2 * np.pi, 1001)[:-1]
    circle = np.column_stack([8.3 + 6 * np.cos(angle), 7.1 + 6 * np.sin(angle)])
    expected = polygon_mask([circle], *EVERYTHING)
    monkeypatch.setattr("calscipy.kernels.outlines._CROSSINGS", 100)
    np.testing.assert_array_equal(polygon_mask([circle], *EVERYTHING), expected)
    y, x = np.mgrid[:ROWS, :COLUMNS] + 0.5
    np.testing.assert_array_equal(expected, np.hypot(x - 8.3, y - 7.1) < 6)


def slow_inside(inside):
    return np.array([[inside(r + 0.5, c + 0.5) for c in range(COLUMNS)] for r in range(ROWS)])


boxes = st.tuples(*[st.integers(-8, 30).map(lambda n: n / 2)] * 2, *[st.integers(1, 40)] * 2).map(
    lambda n: (n[0], n[1], n[0] + n[2] / 2, n[1] + n[3] / 2)
)


def cut(window):
    return tuple(
        range(max(0, min(places.start, size)), max(0, min(places.stop, size)))
        for places, size in zip(window, (ROWS, COLUMNS), strict=True)
    )


def whole_image(mask, rows, columns):
    image = np.zeros((ROWS, COLUMNS), bool)
    image[rows.start : rows.stop, columns.start : columns.stop] = mask
    return image


@settings(max_examples=60, deadline=None, derandomize=True)
@given(boxes, st.sampled_from([0, 1, 3, 5, 100]))
def test_boxes_ovals_and_round_corners(box, arc):
    left, top, right, bottom = box
    a, b = (right - left) / 2, (bottom - top) / 2
    window = cut(pixel_window(box))
    rectangle = slow_inside(lambda y, x: left < x <= right and top <= y < bottom)
    if arc == 0:
        np.testing.assert_array_equal(whole_image(rectangle_mask(box, *window), *window), rectangle)
    oval = slow_inside(lambda y, x: ((x - left - a) / a) ** 2 + ((y - top - b) / b) ** 2 <= 1)
    # A centre on the very end of an oval lies on the border of its box.
    np.testing.assert_array_equal(whole_image(oval_mask(box, *window), *window), oval & rectangle)

    def rounded(y, x):
        ra, rb = min(arc / 2, a), min(arc / 2, b)
        nearest_x = min(max(x, left + ra), right - ra)
        nearest_y = min(max(y, top + rb), bottom - rb)
        return ((x - nearest_x) / ra) ** 2 + ((y - nearest_y) / rb) ** 2 <= 1 + 1e-12

    if arc:
        np.testing.assert_array_equal(
            whole_image(rectangle_mask(box, *window, arc=arc), *window),
            slow_inside(rounded) & rectangle,
        )


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ((0, 0, 2, 3), range(3), range(2)),
        ((0.5, 0.5, 1.5, 1.5), range(0, 1), range(1, 2)),  # left out, right in; top in, bottom out
        ((-3, -2, -1, 0), range(-2, 0), range(-3, -1)),
        ((0.6, 0.6, 0.9, 0.9), range(1, 1), range(1, 1)),
    ],
)
def test_the_window_of_a_box(box, rows, columns):
    assert pixel_window(box) == (rows, columns)
