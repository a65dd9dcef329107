"""ROIs from masks and lists of pixels, drawn back into images, and kept by stores."""

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import calscipy as cs
from calscipy import model
from calscipy.errors import ArgumentError, RoiError
from calscipy.ops.roi_builders import rois_from_masks, rois_from_pixels
from calscipy.ops.roi_images import labels_from_rois, masks_from_rois

Y, X = 5, 7


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def weights(neurons=4, planes=None, seed=0):
    shape = (neurons, Y, X) if planes is None else (neurons, planes, Y, X)
    rng = np.random.default_rng(seed)
    return np.where(rng.random(shape) < 0.4, rng.random(shape), 0)


def values_of(rois, neuron):
    mine = rois.isel(pixel=np.flatnonzero(rois.neuron == neuron))
    places = [mine[dim].values.tolist() for dim in ("y", "x")]
    return dict(zip(zip(*places, strict=True), mine.values.tolist(), strict=True))


# -- masks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8", "bool", "int64"])
def test_masks_keep_every_weight_and_overlap(dtype):
    masks = (weights() * 9).astype(dtype)
    rois = rois_from_masks(masks)
    assert rois.dims == ("pixel",)
    expected = {"float64": "f8", "int64": "f8"}.get(dtype, "f4")
    assert rois.dtype == expected
    assert rois.attrs == {"units": "1", "long_name": "ROI weight", "image_shape": [Y, X]}
    for k, mask in enumerate(masks):
        found = {(y, x): mask[y, x] for y, x in np.argwhere(mask).tolist()}
        assert values_of(rois, k) == found


def test_masks_know_their_dimensions_and_names():
    masks = xr.DataArray(weights(), {"neuron": ["d", "a", "c", "b"]}, ("neuron", "y", "x"))
    rois = rois_from_masks(masks.transpose("x", "neuron", "y"))
    xr.testing.assert_identical(rois, rois_from_masks(masks))
    assert list(dict.fromkeys(rois.neuron.values.tolist())) == ["d", "a", "c", "b"]
    unnamed = rois_from_masks(masks.drop_vars("neuron"))
    assert set(unnamed.neuron.values) == set(range(4))
    lazy = masks.copy(data=da.from_array(masks.values, chunks=2))
    xr.testing.assert_identical(rois_from_masks(lazy), rois)


def test_masks_of_planes():
    masks = xr.DataArray(
        weights(planes=2), {"plane": [3, 1]}, ("neuron", "plane", "y", "x")
    ).transpose("plane", "x", "y", "neuron")
    rois = rois_from_masks(masks)
    assert set(rois.plane.values) == {3, 1}
    for k in range(4):
        for plane in (3, 1):
            here = rois[(rois.plane == plane).values]
            mask = masks.sel(plane=plane).isel(neuron=k).transpose("y", "x").values
            assert values_of(here, k) == {(y, x): mask[y, x] for y, x in np.argwhere(mask).tolist()}


def test_masks_drawn_on_a_crop_lie_where_it_lies():
    movie = cs.from_numpy(np.ones((2, Y, X), "u2"), frame_rate=5, microns_per_pixel=0.5)
    image = movie.isel(y=slice(2, None), x=slice(3, None))[0].drop_vars("time")
    masks = image.expand_dims(neuron=2).copy(data=weights(2)[:, 2:, 3:])
    rois = rois_from_masks(masks)
    whole = rois_from_masks(weights(2) * (np.arange(Y)[:, None] >= 2) * (np.arange(X) >= 3))
    xr.testing.assert_equal(rois, whole)
    assert model.IMAGE_SHAPE_ATTR not in rois.attrs


def named(**coords):
    return xr.DataArray(weights(), coords, ("neuron", "y", "x"))


def with_value(value):
    masks = weights()
    masks[2, 0, 0] = value
    return masks


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (weights() * [[[1]], [[0]], [[1]], [[0]]], r"every neuron, found these are empty: 1, 3"),
        (named(neuron=list("abcd")) * np.array([1, 0, 1, 1])[:, None, None], "are empty: b"),
        (np.zeros((0, 3, 3)), "every neuron, found none"),
        (weights()[0], r"got float64 of shape \(5, 7\).*rois_from_labels"),
        (weights().astype(str), "got <U"),
        (weights().astype(complex), "got complex128"),
        (with_value(-0.5), "neuron 2 has negative weights"),
        (with_value(np.nan), "neuron 2 has weights that are not finite"),
        (with_value(np.inf), "neuron 2 has weights that are not finite"),
        (named().rename(neuron="roi"), r"got \('roi', 'y', 'x'\).*masks.rename"),
        (named(neuron=[1, 2, 1, 3]), "name of its own.*range"),
    ],
)
def test_masks_that_are_no_rois(masks, message):
    with pytest.raises(RoiError, match=message):
        rois_from_masks(masks)


def test_lazy_labels_are_computed_and_the_first_line_says_so():
    labels = xr.DataArray(np.eye(3, dtype=int), dims=("y", "x"))
    xr.testing.assert_identical(cs.rois_from_labels(labels.chunk()), cs.rois_from_labels(labels))
    for make in (cs.rois_from_labels, rois_from_masks):
        assert "computed" in make.__doc__.splitlines()[0]


# -- pixels --------------------------------------------------------------------------------


def test_pixels_in_every_form():
    expected = rois_from_pixels({0: ([1, 2], [3, 4], [1.0, 0.5]), 1: ([1], [3])})
    assert expected.values.tolist() == [1.0, 0.5, 1.0]
    assert expected.dtype == np.float64
    assert expected.y.dtype == expected.x.dtype == np.int64
    for pixels in (
        [(np.array([1, 2]), np.array([3, 4]), np.array([1, 0.5])), (np.array([1.0]), [3])],
        [np.array([[1, 3, 1.0], [2, 4, 0.5]]), np.array([[1, 3]])],
        [[(1, 3, 1), (2, 4, 0.5)], [[1, 3]]],
        [[(1, 3, 1), (2, 4, 0.5)], (1, 3)],
    ):
        xr.testing.assert_identical(rois_from_pixels(pixels), expected)
    lists = rois_from_pixels([[(1, 2), (3, 4)], [(5, 6), (0, 0)]])
    assert (lists.dtype, lists.y.values.tolist()) == (np.float32, [1, 3, 5, 0])


def test_names_planes_and_shape():
    rois = rois_from_pixels(
        {"b": [(0, 1)], "a": [(0, 1), (2, 2)]}, image_shape=(3, 3), plane=[2, 0]
    )
    assert rois.neuron.values.tolist() == ["b", "a", "a"]
    assert rois.plane.values.tolist() == [2, 0, 0]
    assert rois.attrs["image_shape"] == [3, 3]
    assert rois_from_pixels([[(0, 1)], [(0, 0)]], plane=4).plane.values.tolist() == [4, 4]
    assert "plane" not in rois_from_pixels([[(0, 1)]]).coords


@pytest.mark.parametrize(
    ("pixels", "options", "message"),
    [
        ({}, {}, "at least one neuron"),
        ({"a": [(0, 0)], "b": [], "c": ([], [])}, {}, "b, c of 3 neurons have no pixel"),
        ({"a": [(0, 0), (0, 0)]}, {}, "neuron a has the same pixel twice"),
        ({7: [(0, -1)]}, {}, "neuron 7 has negative pixels"),
        ({7: [(0, 3)]}, {"image_shape": (4, 3)}, "neuron 7 has pixels outside .* 4 x 3"),
        ({7: [(0, 0.5)]}, {}, "neuron 7 has pixels that are not whole numbers"),
        ({7: [(0, np.nan)]}, {}, "neuron 7 has pixels that are not whole numbers"),
        ({7: [(0, 0, -1)]}, {}, "neuron 7 has negative weights"),
        ({7: [(0, 0, np.inf)]}, {}, "neuron 7 has weights that are not finite"),
        ({7: [(0, 0, 0)]}, {}, "neuron 7 has no pixel of positive weight"),
        ({7: ([0, 1], [0])}, {}, "neuron 7 needs a tuple .* one length"),
        ({7: [(0, 1), (0,)]}, {}, "neuron 7 needs a tuple"),
        ({7: np.zeros((2, 4))}, {}, "neuron 7 needs a tuple"),
        ({7: ([0], [0], [1], [1])}, {}, "neuron 7 needs a tuple"),
        ({7: "ab"}, {}, "neuron 7 needs a tuple"),
        ({7: [("a", "b")]}, {}, "neuron 7 needs a tuple"),
        ({7: [(0, 0)], "a": [(0, 0)]}, {}, "all of one kind, got 7, 'a'"),
        ({(1, 2): [(0, 0)]}, {}, r"all of one kind, got \(1, 2\)"),
        ({None: [(0, 0)]}, {}, "all of one kind, got None"),
        ({7: [(0, 0)]}, {"plane": [1, 2]}, "one for each of the 1 neurons"),
        ({7: [(0, 0)]}, {"plane": 0.5}, "one whole number"),
        ({7: [(0, 0)]}, {"image_shape": 5}, r"image_shape=\(rows, columns\)"),
    ],
)
def test_pixels_that_are_no_rois(pixels, options, message):
    with pytest.raises(RoiError, match=message):
        rois_from_pixels(pixels, **options)


# -- images --------------------------------------------------------------------------------

label_images = hnp.arrays(
    st.sampled_from(["int64", "uint8", "int32"]),
    hnp.array_shapes(min_dims=2, max_dims=3, max_side=6),
    elements=st.integers(0, 5),
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(label_images)
def test_labels_to_rois_and_back(labels):
    labels.flat[0] = 3
    planes = range(len(labels)) if labels.ndim == 3 else None
    rois = cs.rois_from_labels(labels)
    back = labels_from_rois(rois, planes=planes)
    assert back.dtype == labels.dtype
    assert back.dims == ("plane", "y", "x")[-labels.ndim :]
    np.testing.assert_array_equal(back, labels)
    xr.testing.assert_identical(cs.rois_from_labels(back), rois)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    hnp.arrays(
        st.sampled_from(["float32", "float64"]),
        hnp.array_shapes(min_dims=3, max_dims=4, max_side=4),
        elements=st.sampled_from([0, 0, 0.25, 1, 3]),
    ),
    st.randoms(use_true_random=False),
)
def test_masks_to_rois_and_back(masks, random):
    masks.reshape(len(masks), -1)[:, 0] = 0.5
    names = random.sample(range(20), len(masks))
    dims = ("neuron", *("plane", "y", "x")[3 - masks.ndim + 1 :])
    given_masks = xr.DataArray(masks, {"neuron": names}, dims)
    rois = rois_from_masks(given_masks)
    planes = range(masks.shape[1]) if masks.ndim == 4 else None
    back = masks_from_rois(rois, planes=planes)
    assert back.neuron.values.tolist() == sorted(names)
    back = back.sel(neuron=names)
    assert back.dtype == masks.dtype
    assert back.dims == dims
    np.testing.assert_array_equal(back, masks)
    xr.testing.assert_identical(rois_from_masks(back), rois)


def test_drawn_images_carry_words_and_history():
    rois = cs.rois_from_labels(np.eye(3, dtype=int))
    for draw, name in ((labels_from_rois, "labels"), (masks_from_rois, "masks")):
        image = draw(rois)
        assert image.name == name
        assert image.attrs["units"] == "1"
        assert f" {draw.__name__} " in image.attrs["history"]
        assert model.kind(image) == "image"


def test_the_first_neuron_keeps_a_shared_pixel_on_request():
    rois = rois_from_pixels({9: [(0, 0), (0, 1)], 4: [(0, 1), (1, 1)], 2: [(1, 0), (0, 0)]})
    with pytest.raises(RoiError, match=r"neurons 9, 4, 2 share pixels.*overlap='first'"):
        labels_from_rois(rois, image_shape=(2, 3))
    labels = labels_from_rois(rois, image_shape=(2, 3), overlap="first")
    assert labels.values.tolist() == [[9, 9, 0], [2, 4, 0]]
    hidden = rois_from_pixels({9: [(0, 0), (0, 1)], 4: [(0, 1)]})
    with pytest.raises(RoiError, match="leaves no pixel of the neurons 4"):
        labels_from_rois(hidden, image_shape=(2, 3), overlap="first")


def test_weights_of_zero_are_background():
    rois = rois_from_pixels({1: [(0, 0, 1.0), (0, 1, 0.0)], 2: [(0, 1, 0.5)]}, image_shape=(1, 3))
    assert labels_from_rois(rois).values.tolist() == [[1, 2, 0]]


def test_planes_are_those_asked_for():
    rois = rois_from_pixels({1: [(0, 0)], 2: [(0, 1)]}, image_shape=(1, 2), plane=[4, 2])
    labels = labels_from_rois(rois)
    assert labels.plane.values.tolist() == [2, 4]
    assert labels.values.tolist() == [[[0, 2]], [[1, 0]]]
    turned = labels_from_rois(rois, planes=[4, 3, 2])
    assert turned.values.tolist() == [[[1, 0]], [[0, 0]], [[0, 2]]]
    xr.testing.assert_equal(masks_from_rois(rois).sum("neuron") > 0, labels > 0)
    with pytest.raises(RoiError, match=r"planes 2, which are not among planes=\[4\]"):
        labels_from_rois(rois, planes=[4])
    flat = rois_from_pixels([[(0, 0)]], image_shape=(1, 2))
    with pytest.raises(RoiError, match="have no planes of their own"):
        masks_from_rois(flat, planes=[0])


@pytest.mark.parametrize("draw", [labels_from_rois, masks_from_rois])
def test_one_plane_of_all_rois_stays_a_coordinate(draw):
    rois = cs.rois_from_labels(np.array([[0, 1], [2, 2]]))
    image = draw(rois.assign_coords(plane=1))
    assert (image.plane.dims, image.plane.item()) == ((), 1)
    xr.testing.assert_equal(image.drop_vars("plane"), draw(rois))
    make = cs.rois_from_labels if draw is labels_from_rois else rois_from_masks
    assert make(image).plane.values.tolist() == [1, 1, 1]
    assert draw(make(image)).sizes["plane"] == 1


def test_masks_are_sorted_as_traces_and_named():
    rois = rois_from_pixels({9: [(0, 0)], 4: [(0, 1), (1, 1)]}, image_shape=(2, 3))
    masks = masks_from_rois(rois.assign_coords(roi_name=("pixel", ["b", "a µ", "a µ"])))
    movie = cs.from_numpy(np.ones((2, 2, 3)), frame_rate=5)
    np.testing.assert_array_equal(masks.neuron, cs.extract(movie, rois).neuron)
    assert masks.roi_name.dims == ("neuron",)
    assert masks.roi_name.values.tolist() == ["a µ", "b"]
    assert masks.sum(("y", "x")).values.tolist() == [2, 1]
    assert rois_from_masks(masks).roi_name.values.tolist() == ["a µ", "a µ", "b"]


@pytest.mark.parametrize("draw", [labels_from_rois, masks_from_rois])
def test_rois_without_a_pixel_are_refused(draw):
    with pytest.raises(RoiError, match=f"{draw.__name__} found no neuron"):
        draw(cs.rois_from_labels(np.eye(3, dtype=int))[:0])


@pytest.mark.parametrize(
    ("rois", "options", "error", "message"),
    [
        ({0: [(0, 0)]}, {"image_shape": (2, 2)}, RoiError, r"numbered from 1 on.*found 0\."),
        ({"a": [(0, 0)]}, {"image_shape": (2, 2)}, RoiError, "numbered from 1 on.*found a"),
        ({1: [(0, 0)]}, {}, RoiError, "do not say how large the image is"),
        ({1: [(5, 0)]}, {"image_shape": (2, 2)}, RoiError, "neuron 1 has pixels outside"),
        ({1: [(0, 0)]}, {"image_shape": (2, 0)}, RoiError, "two whole numbers above 0"),
        ({1: [(0, 0)]}, {"overlap": "last"}, ArgumentError, "overlap must be one of"),
    ],
)
def test_rois_that_cannot_be_drawn(rois, options, error, message):
    with pytest.raises(error, match=message):
        labels_from_rois(rois_from_pixels(rois), **options)


def test_the_remedy_for_neurons_without_a_number_works():
    rois = rois_from_pixels({"b": [(0, 0)], "a": [(0, 1)]}, image_shape=(1, 2))
    numbered = rois.assign_coords(
        neuron=("pixel", np.unique(rois.neuron, return_inverse=True)[1] + 1)
    )
    assert labels_from_rois(numbered).values.tolist() == [[2, 1]]


# -- stores --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rois",
    [
        cs.rois_from_labels(np.array([[0, 3], [9, 3]])),
        rois_from_masks(xr.DataArray(weights(), {"neuron": list("dacb")}, ("neuron", "y", "x"))),
        rois_from_masks(weights(planes=2)),
        rois_from_pixels({5: [(0, 1, 0.25)], 2: [(0, 1, 1e-3), (4, 4, 2)]}, plane=[3, 0]),
        model.rois_long_form(
            *np.array([[0, 0], [1, 2], [3, 4], [1, 1]]), roi_name=np.array(["soma µ", "soma µ"])
        ),
    ],
    ids=["labels", "masks", "masks of planes", "pixels", "named"],
)
def test_a_store_keeps_everything(tmp_path, rois):
    session = cs.ImagingSession(xr.DataTree()).assign(rois=rois)
    session.save(tmp_path / "m.zarr")
    stored = cs.ImagingSession.open(tmp_path / "m.zarr").rois.load()
    xr.testing.assert_identical(stored, rois)
    assert stored.dtype == rois.dtype
    for name, coord in rois.coords.items():
        assert stored[name].dtype == coord.dtype
