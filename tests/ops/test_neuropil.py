"""Rings avoid every ROI, lie around their neuron, and are read together with the traces."""

import threading

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import calscipy as cs
from calscipy import model
from calscipy.errors import ArgumentError, RoiError, TimeAxisError
from calscipy.ops.neuropil import extract_neuropil, neuropil_rois

FRAMES, Y, X = 7, 30, 36


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def movie(dims=("frames", "y", "x"), seed=0):
    sizes = {"frames": FRAMES, "channel": 2, "plane": 2, "y": Y, "x": X}
    values = np.random.default_rng(seed).integers(0, 60000, [sizes[dim] for dim in dims])
    return cs.from_numpy(
        values.astype("u2"), frame_rate=5, dims=dims, microns_per_pixel=(0.8, 1.25)
    )


def labels(seed=1, count=4):
    """Squares that may touch or hide each other; the neurons are 5, 10, 15 ..."""
    rng = np.random.default_rng(seed)
    image = np.zeros((Y, X), int)
    for k in range(1, count + 1):
        y, x = rng.integers(0, Y - 4), rng.integers(0, X - 4)
        image[y : y + 4, x : x + 4] = 5 * k
    return image


def lazy(data, *chunks):
    return data.copy(data=da.from_array(data.values, chunks=chunks or 4))


def masks_of(rois, shape=(Y, X)):
    """Dense masks by neuron."""
    found = {}
    for k in np.unique(rois.neuron):
        mine = rois[rois.neuron == k]
        found[k] = np.zeros(shape, bool)
        found[k][mine.y, mine.x] = True
    return found


def distance(mask):
    """Distance of every pixel to the nearest one of the mask, one by one."""
    rows, columns = np.indices(mask.shape)
    return np.sqrt(np.min([(rows - a) ** 2 + (columns - b) ** 2 for a, b in np.argwhere(mask)], 0))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.sampled_from([0, 1, 2, 2.5]), st.integers(1, 400))
def test_rings_follow_the_stated_rule(seed, inner, min_pixels):
    image = labels(seed)
    rings = neuropil_rois(image, inner=inner, min_pixels=min_pixels)
    assert rings.attrs["image_shape"] == [Y, X]
    assert (rings == 1).all()
    free = distance(image > 0) > inner
    found = masks_of(rings)
    assert set(found) == set(np.unique(image[image > 0]))
    for k, ring in found.items():
        assert ring.sum() == (rings.neuron == k).sum() >= min_pixels
        near = distance(image == k)
        width = np.ceil(near[ring].max())
        np.testing.assert_array_equal(ring, free & (near <= width))
        if width > 1:  # one pixel less would not do
            assert (free & (near <= width - 1)).sum() < min_pixels


def test_planes_have_rings_of_their_own():
    stack = np.stack([labels(1), np.where(labels(2) > 0, labels(2) + 1, 0)])
    rings = neuropil_rois(stack, min_pixels=50)
    for plane in (0, 1):
        alone = neuropil_rois(stack[plane], min_pixels=50)
        xr.testing.assert_equal(
            rings[rings.plane == plane].drop_vars("plane"),
            alone.drop_vars("plane", errors="ignore"),
        )


def test_the_shape_of_the_image():
    rois = cs.rois_from_labels(labels())
    expected = neuropil_rois(rois)
    del rois.attrs["image_shape"]
    with pytest.raises(ArgumentError, match=r"image_shape=\(height, width\)"):
        neuropil_rois(rois)
    xr.testing.assert_identical(neuropil_rois(rois, image_shape=(Y, X)), expected)
    with pytest.raises(ArgumentError, match="height and width, got"):
        neuropil_rois(rois, image_shape=(Y, X, 1))
    with pytest.raises(RoiError, match=r"outside of the image of 10 x 10"):
        neuropil_rois(rois, image_shape=(10, 10))


@pytest.mark.parametrize("chunks", [None, (3, Y, X), (7, 5, X), (2, 10, 11)])
@pytest.mark.parametrize("dims", [("frames", "y", "x"), ("frames", "channel", "y", "x")])
def test_values_are_means_over_the_rings(dims, chunks):
    data = movie(dims)
    image = labels()
    rings = masks_of(neuropil_rois(image, min_pixels=60))
    if chunks is not None:
        chunks = (chunks[0], *[1] * (len(dims) - 3), *chunks[1:])
    found = extract_neuropil(data if chunks is None else lazy(data, *chunks), image, min_pixels=60)
    assert found.name == "neuropil"
    assert found.dtype == np.float32
    for k, ring in rings.items():
        expected = data.values[..., ring].mean(axis=-1).astype("f4").T
        np.testing.assert_array_equal(found.sel(neuron=k), expected)


def test_the_labels_are_those_of_the_traces():
    data = movie(("frames", "plane", "y", "x")).assign_coords(
        epoch=("frames", [1] * 3 + [2] * 4),
        z=("plane", [0.0, 20.0]),
        plane_time=(("frames", "plane"), np.arange(14).reshape(7, 2) / 10),
        valid=(("frames", "plane"), np.arange(14).reshape(7, 2) % 5 > 0),
    )
    data = data.assign_attrs(
        scan_mode="Galvo",
        scan_line_period=1e-3,
        frame_period=0.05,
        rasters_per_frame=1,
        lines_per_frame=Y,
        units="mV",
    )
    stack = np.stack([labels(1), np.where(labels(2) > 0, labels(2) + 1, 0)])
    traces = cs.extract(data, stack)
    around = extract_neuropil(data, stack, min_pixels=40)
    assert "time_offset" in around.coords
    assert around.coords.keys() == traces.coords.keys()
    for name, coord in traces.coords.items():
        xr.testing.assert_identical(around[name].variable, coord.variable)
    np.testing.assert_array_equal(around.isnull(), traces.isnull())
    assert traces.isnull().any()
    xr.align(traces, around, join="exact")
    assert around.attrs["units"] == "mV"
    assert "extract_neuropil" in around.attrs["history"]


def test_names_of_rois_come_along():
    rois = cs.rois_from_labels(labels())
    rois = rois.assign_coords(roi_name=("pixel", rois.neuron.values.astype(str)))
    around = extract_neuropil(movie(), rois, min_pixels=40)
    assert around.roi_name.dims == ("neuron",)
    np.testing.assert_array_equal(around.roi_name, around.neuron.values.astype(str))


def test_rois_of_one_plane_have_rings_in_it():
    data = movie(("frames", "plane", "y", "x"))
    rois = cs.rois_from_labels(labels()).assign_coords(plane=1)
    expected = extract_neuropil(movie().copy(data=data.values[:, 1]), labels(), min_pixels=40)
    for given_data in (data, data.sel(plane=1)):
        found = extract_neuropil(given_data, rois, min_pixels=40)
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(RoiError, match="extract_neuropil: the ROIs lie in planes 1"):
        extract_neuropil(data.sel(plane=0), rois, min_pixels=40)
    rings = neuropil_rois(rois, min_pixels=40)
    assert set(rings.plane.values) == {1}
    xr.testing.assert_equal(rings.drop_vars("plane"), neuropil_rois(labels(), min_pixels=40))


def test_pixels_that_make_no_sense_have_no_ring():
    rois = model.rois_long_form([4, 4], [2, 2], [3, 3], [1.0, 1.0], image_shape=(Y, X))
    with pytest.raises(RoiError, match="neuropil_rois: neuron 4 has the same pixel twice"):
        neuropil_rois(rois)
    with pytest.raises(RoiError, match="extract_neuropil: neuron 4 has the same pixel twice"):
        extract_neuropil(movie(), rois)
    with pytest.raises(RoiError, match="neuropil_rois found no neuron"):
        neuropil_rois(rois[:0])


def test_a_crop_has_rings_within_itself():
    data = movie()
    image = np.zeros((Y, X), int)
    image[14:17, 12:16] = 3
    part = {"y": slice(10, 24), "x": slice(9, 30)}
    expected = extract_neuropil(data, image, min_pixels=60)
    crop = data.isel(part)
    found = extract_neuropil(crop, image, min_pixels=60)
    np.testing.assert_array_equal(found.y, expected.y)
    ring = neuropil_rois(image[10:24, 9:30], min_pixels=60)
    pixels = crop.values[:, ring.y, ring.x]
    np.testing.assert_array_equal(found[0], pixels.mean(axis=1).astype("f4"))


def test_too_few_free_pixels_are_an_error_that_names_the_neurons():
    image = np.full((Y, X), 4)
    image[:, :3] = 9
    message = (
        r"30 x 36 pixels has too few .*inner=2 .*\(0, wanted min_pixels=350\).* 2 neurons \(4, 9"
    )
    with pytest.raises(RoiError, match=message):
        extract_neuropil(movie(), image)
    free = (distance(labels() > 0) > 2).sum()
    assert neuropil_rois(labels(), min_pixels=int(free)).size == free * 4
    with pytest.raises(RoiError, match=r"4 neurons \(5, 10, 15 and 1 more\).*smaller min_pixels"):
        neuropil_rois(labels(), min_pixels=int(free) + 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inner": -1}, "inner >= 0 in pixels, got -1"),
        ({"inner": np.nan}, "inner >= 0"),
        ({"inner": "2"}, "inner >= 0"),
        ({"min_pixels": 0}, "whole number > 0, got 0"),
        ({"min_pixels": 2.5}, "whole number > 0"),
        ({"min_pixels": True}, "whole number > 0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ArgumentError, match=f"neuropil_rois needs .*{message}"):
        neuropil_rois(labels(), **arguments)
    with pytest.raises(ArgumentError, match=f"extract_neuropil needs .*{message}"):
        extract_neuropil(movie(), labels(), **arguments)


def test_rois_that_do_not_fit_are_refused_by_its_name():
    with pytest.raises(RoiError, match=r"extract_neuropil: .* outside of the movie"):
        extract_neuropil(movie(), model.rois_long_form([1], [0], [X], [1.0]))
    with pytest.raises(TimeAxisError, match="extract_neuropil needs a 'time'"):
        extract_neuropil(movie().drop_vars("time"), labels())


# -- one pass ------------------------------------------------------------------------------


def counting(data, chunks):
    """The movie in chunks that count how often each of them is computed."""
    counts = {}
    lock = threading.Lock()

    def count(block, block_info=None):
        if block_info:
            with lock:
                place = tuple(block_info[0]["chunk-location"])
                counts[place] = counts.get(place, 0) + 1
        return block

    source = da.from_array(data.values, chunks=chunks)
    counted = source.map_blocks(count, dtype=data.dtype, meta=np.empty((0,) * 3, data.dtype))
    return data.copy(data=counted), counts


@pytest.mark.parametrize("chunks", [(3, Y, X), (7, 10, X), (2, 15, 12)])
@pytest.mark.parametrize("how", ["compute", "session", "tree", "dataset"])
def test_traces_and_neuropil_are_made_in_one_pass(how, chunks, tmp_path):
    data, counts = counting(movie(), chunks)
    traces = cs.extract(data, labels())
    around = extract_neuropil(data, labels(), min_pixels=300)
    assert not counts
    if how == "compute":
        found, _ = dask.compute(around, traces)
    elif how == "session":
        session = cs.ImagingSession(xr.DataTree()).assign(traces=traces, neuropil=around)
        session.save(tmp_path / "s.zarr", groups=("traces",), progress=False)
        found = cs.ImagingSession.open(tmp_path / "s.zarr").tree["traces"]["neuropil"]
    else:
        both = traces.to_dataset().assign(neuropil=around).drop_attrs()
        if how == "tree":
            xr.DataTree.from_dict({"/traces": both}).to_zarr(
                tmp_path / "t.zarr", consolidated=False
            )
            found = xr.open_datatree(tmp_path / "t.zarr", engine="zarr", consolidated=False)[
                "traces"
            ]["neuropil"]
        else:
            found = both.compute()["neuropil"]
    places = set(np.ndindex(*data.data.numblocks))
    assert set(counts) == places  # rings of 300 pixels reach every block
    assert set(counts.values()) == {1}
    expected = extract_neuropil(movie(), labels(), min_pixels=300)
    np.testing.assert_array_equal(found, expected)


def test_after_a_filter_too():
    data, counts = counting(movie(), (3, Y, X))
    clean = data.cs.median_filter(size=(1, 3, 3))
    found = dask.compute(
        cs.extract(clean, labels()), extract_neuropil(clean, labels(), min_pixels=300)
    )
    assert set(counts.values()) == {1}
    whole = movie().cs.median_filter(size=(1, 3, 3))
    np.testing.assert_array_equal(found[0], cs.extract(whole, labels()))
    np.testing.assert_array_equal(found[1], extract_neuropil(whole, labels(), min_pixels=300))


def test_pixels_without_weight_are_free_in_both():
    rois = cs.rois_from_pixels(
        {1: ([8, 8], [8, 12], [1.0, 0.0]), 2: ([15], [3], [1.0])}, image_shape=(Y, X)
    )
    rings = neuropil_rois(rois, min_pixels=60)
    data = movie()
    expected = cs.extract(data, rings)
    found = extract_neuropil(data, rois, min_pixels=60)
    np.testing.assert_array_equal(found.values, expected.values)
    assert ((rings.y == 8) & (rings.x == 12)).any()


def test_a_neuron_in_two_planes_has_no_ring():
    stack = np.zeros((2, Y, X), int)
    stack[0, 2, 2] = stack[1, 3, 3] = 1
    rois = cs.rois_from_labels(stack)
    with pytest.raises(RoiError, match="neuropil_rois: 1 neurons have pixels in several planes"):
        neuropil_rois(rois, min_pixels=5)


def test_pixels_that_were_moved_out_of_the_picture_void_no_ring():
    data = movie().astype("f4")
    shifts = xr.Dataset(
        {name: ("frames", np.r_[0, 3.5, np.zeros(FRAMES - 2)]) for name in ("y_shift", "x_shift")}
    )
    moved = cs.apply_shifts(data, shifts)
    assert np.isnan(moved.values[1]).any()
    neuropil = extract_neuropil(moved, labels(), min_pixels=400)
    rings = masks_of(neuropil_rois(labels(), min_pixels=400))
    assert any(np.isnan(moved.values[1][ring]).any() for ring in rings.values())
    for number, ring in enumerate(rings.values()):
        np.testing.assert_allclose(
            neuropil.values[number], [np.nanmean(frame[ring]) for frame in moved.values], rtol=1e-6
        )


def test_a_ring_without_any_pixel_is_nan():
    data = movie().astype("f4")
    data[2] = np.nan
    neuropil = extract_neuropil(data, labels())
    assert np.isnan(neuropil.values).all(axis=0).tolist() == [n == 2 for n in range(FRAMES)]
    assert not np.isnan(neuropil.values[:, 3:]).any()
