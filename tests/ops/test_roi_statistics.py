"""Statistics of footprints against slow loops and closed forms."""

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

import calscipy as cs
from calscipy import model
from calscipy.errors import ArgumentError, RoiError
from calscipy.ops.roi_builders import rois_from_masks, rois_from_pixels
from calscipy.ops.roi_statistics import roi_hulls, roi_statistics

UM = (0.8, 1.25)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def scattered(seed, neurons=5):
    """Weighted pixels with overlaps; the names are no positions and not in order."""
    rng = np.random.default_rng(seed)
    pixels = {}
    for name in (17, 3, 10, 24, 31)[:neurons]:
        flat = rng.choice(12 * 15, rng.integers(1, 20), replace=False)
        pixels[name] = (flat // 15, flat % 15, rng.random(flat.size) + 0.01)
    return pixels


def corners_of(y, x):
    return np.array(
        [
            (a + p, b + q)
            for a, b in zip(y, x, strict=True)
            for p in (-0.5, 0.5)
            for q in (-0.5, 0.5)
        ]
    )


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.sampled_from([None, UM, 0.5]))
def test_every_column_is_what_a_loop_finds(seed, size):
    pixels = scattered(seed)
    found = roi_statistics(rois_from_pixels(pixels), microns_per_pixel=size)
    tall, wide = np.broadcast_to(1 if size is None else size, 2)
    assert found.neuron.values.tolist() == sorted(pixels)
    for name, (y, x, weight) in pixels.items():
        one = found.sel(neuron=name)
        places = np.array([y * tall, x * wide])
        assert one.pixel_count == y.size
        np.testing.assert_allclose(one.area, y.size * tall * wide, rtol=1e-12)
        np.testing.assert_allclose(np.pi * one.radius**2, one.area, rtol=1e-12)
        np.testing.assert_allclose(
            [one.y, one.x], np.average(places, axis=1, weights=weight), atol=1e-9
        )
        spread = np.cov(places, aweights=weight, bias=True) if y.size > 1 else np.zeros((2, 2))
        spread = spread + np.diag([tall**2, wide**2]) / 12
        minor, major = 4 * np.sqrt(np.linalg.eigvalsh(spread))
        np.testing.assert_allclose([one.minor_axis, one.major_axis], [minor, major], rtol=1e-7)
        np.testing.assert_allclose(one.aspect_ratio, major / minor, rtol=1e-7)
        hull = ConvexHull(corners_of(y, x) * (tall, wide)).volume
        np.testing.assert_allclose(one.hull_area, hull, rtol=1e-9)
        np.testing.assert_allclose(one.solidity, one.area / hull, rtol=1e-9)
    assert (found.solidity <= 1 + 1e-12).all()
    assert (found.aspect_ratio >= 1).all()


def test_a_disc_and_a_rectangle():
    y, x = np.mgrid[:101, :101]
    disc = (y - 50) ** 2 + (x - 50) ** 2 <= 40**2
    box = (abs(y - 50) <= 10) & (abs(x - 50) <= 30)
    found = roi_statistics(rois_from_masks(np.array([disc, box])), microns_per_pixel=0.5)
    np.testing.assert_allclose(found.radius[0], 20, rtol=2e-3)
    np.testing.assert_allclose([found.major_axis[0], found.minor_axis[0]], 40, rtol=2e-3)
    np.testing.assert_allclose(found.major_axis[1], 4 * 30.5 / np.sqrt(12), rtol=1e-12)
    np.testing.assert_allclose(found.aspect_ratio, [1, 61 / 21], rtol=1e-9)
    np.testing.assert_allclose(found.solidity[1], 1, rtol=1e-12)
    np.testing.assert_allclose([found.y, found.x], 25, rtol=1e-12)


def test_words_and_units():
    rois = cs.rois_from_labels(np.eye(3, dtype=int)).assign_attrs(history="earlier")
    plain, scaled = roi_statistics(rois), roi_statistics(rois, microns_per_pixel=2)
    lengths = {"radius", "major_axis", "minor_axis", "y", "x"}
    for name in set(plain.variables) - {"neuron"}:
        assert plain[name].attrs["units"] == "1"
        area = "um^2" if name.endswith("area") else "1"
        assert scaled[name].attrs["units"] == ("um" if name in lengths else area)
        assert plain[name].attrs["long_name"]
    before, line = scaled.attrs["history"].split("\n")
    assert before == "earlier"
    assert line.endswith(' roi_statistics {"microns_per_pixel": 2}')
    assert rois.attrs["history"] == "earlier"


def test_neurons_line_up_with_their_traces():
    movie = cs.from_numpy(
        np.random.default_rng(0).poisson(50, (4, 12, 15)).astype("u2"), frame_rate=5
    )
    rois = rois_from_pixels(scattered(1), image_shape=(12, 15))
    traces, found = movie.cs.extract(rois), roi_statistics(rois)
    np.testing.assert_array_equal(traces.neuron, found.neuron)
    np.testing.assert_allclose(traces.y, found.y, atol=1e-9)
    np.testing.assert_allclose(traces.x, found.x, atol=1e-9)


def test_planes_and_names_come_along():
    rois = model.rois_long_form(
        np.array([4, 4, 2]),
        np.array([0, 1, 1]),
        np.array([0, 0, 1]),
        np.ones(3),
        plane=np.array([1, 1, 0]),
        roi_name=np.array(["b", "b", "a"]),
    )
    for found, dim in ((roi_statistics(rois), "neuron"), (roi_hulls(rois), "vertex")):
        assert found.plane.dims == found.roi_name.dims == (dim,)
        by_neuron = {
            n: (int(p), str(r))
            for n, p, r in zip(
                found.neuron.values, found.plane.values, found.roi_name.values, strict=True
            )
        }
        assert by_neuron == {2: (0, "a"), 4: (1, "b")}


def test_a_plane_and_a_name_of_all_rois_come_along():
    rois = cs.rois_from_labels(np.eye(2, dtype=int)).assign_coords(plane=3, roi_name="a")
    for found in (roi_statistics(rois), roi_hulls(rois)):
        assert set(found.plane.values) == {3}
        assert set(found.roi_name.values) == {"a"}


def test_a_label_image_will_do():
    labels = np.array([[1, 1, 0], [0, 2, 2]])
    xr.testing.assert_equal(roi_statistics(labels), roi_statistics(cs.rois_from_labels(labels)))


def test_pixels_of_no_weight_do_not_count():
    rois = rois_from_pixels({1: [(0, 0, 1.0), (0, 5, 0.0)], 2: [(3, 3, 0.0), (3, 4, 2.0)]})
    found = roi_statistics(rois)
    assert found.pixel_count.values.tolist() == [1, 1]
    assert found.hull_area.values.tolist() == [1, 1]
    assert found.x.values.tolist() == [0, 4]
    assert roi_hulls(rois).x.max() == 4.5


@pytest.mark.parametrize("size", [None, UM])
def test_hulls_in_long_form(size):
    pixels = scattered(5)
    hulls = roi_hulls(rois_from_pixels(pixels), microns_per_pixel=size)
    assert hulls.y.dims == hulls.x.dims == ("vertex",)
    assert hulls.y.attrs["units"] == ("1" if size is None else "um")
    tall, wide = (1, 1) if size is None else size
    for name, (y, x, _) in pixels.items():
        mine = hulls.isel(vertex=np.flatnonzero(hulls.neuron == name))
        points = corners_of(y, x) * (tall, wide)
        expected = points[ConvexHull(points).vertices]
        found = np.column_stack([mine.y, mine.x])
        # The same corners in the same order, from some start and in some direction.
        sets = [{tuple(np.round(p, 9)) for p in array} for array in (found, expected)]
        assert sets[0] == sets[1]
        edges = np.diff(found, axis=0, append=found[:1])
        after = np.roll(edges, -1, axis=0)
        turns = edges[:, 0] * after[:, 1] - edges[:, 1] * after[:, 0]
        assert (turns > 0).all() or (turns < 0).all()


@pytest.mark.parametrize("verb", [roi_statistics, roi_hulls])
def test_what_has_no_statistics(verb):
    split = rois_from_masks(np.ones((2, 2, 1, 1)) * [[[[1]], [[1]]], [[[0]], [[1]]]])
    with pytest.raises(RoiError, match="neurons 0 have pixels in several planes"):
        verb(split)
    with pytest.raises(ArgumentError, match="microns_per_pixel > 0 in um"):
        verb(np.eye(2, dtype=int), microns_per_pixel=0)
    with pytest.raises(ArgumentError, match="one or"):
        verb(np.eye(2, dtype=int), microns_per_pixel=(1, 2, 3))
    with pytest.raises(RoiError, match="got list"):
        verb([[1, 2]])
    twice = model.rois_long_form(*np.zeros((3, 2), int), np.ones(2))
    with pytest.raises(RoiError, match="the same pixel twice"):
        verb(twice)
    nothing = model.rois_long_form(*np.zeros((3, 1), int), np.zeros(1))
    with pytest.raises(RoiError, match="no pixel of positive weight"):
        verb(nothing)
    with pytest.raises(RoiError, match=f"{verb.__name__} found no neuron"):
        verb(nothing[:0])
