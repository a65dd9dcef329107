"""Traces are the means of the right pixels, whatever the chunks, crops, planes and channels."""

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import calscipy as cs
from calscipy import model
from calscipy.errors import ArgumentError, DimensionError, RoiError, TimeAxisError
from calscipy.testing import write_recording

FRAMES, Y, X = 7, 12, 15
UM = (0.8, 1.25)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def movie(dims=("frames", "y", "x"), seed=0, dtype="uint16"):
    sizes = {"frames": FRAMES, "channel": 2, "plane": 3, "y": Y, "x": X}
    values = np.random.default_rng(seed).integers(0, 60000, [sizes[dim] for dim in dims])
    return cs.from_numpy(values.astype(dtype), frame_rate=5, dims=dims, microns_per_pixel=UM)


def labels(planes=None, count=5, seed=1):
    """Scattered pixels; the neurons are 3, 10, 17 ... so that they are no positions."""
    shape = (Y, X) if planes is None else (planes, Y, X)
    found = np.random.default_rng(seed).integers(0, count + 1, shape)
    return np.where(found > 0, found * 7 - 4, 0)


def one_plane_each(count=6):
    """Labels (plane, y, x) where every neuron lies in one plane."""
    stack = np.zeros((3, Y, X), int)
    for plane in range(3):
        stack[plane] = np.where(
            labels(seed=plane) > 3, plane + 1 + 3 * (labels(seed=plane) > 17), 0
        )
    assert set(np.unique(stack)) == set(range(count + 1))
    return stack


def long_form(neuron, y, x, weight=None, **attrs):
    weight = np.ones(len(neuron)) if weight is None else weight
    return model.rois_long_form(*map(np.asarray, (neuron, y, x, weight)), **attrs)


def lazy(data, *chunks):
    return data.copy(data=da.from_array(data.values, chunks=chunks or 4))


def reference(data, image):
    """Mean of each neuron's pixels in float64, (neuron, ..., frames) in float32."""
    values = data.values.astype(float)
    return np.stack(
        [
            np.moveaxis(np.mean(values[..., image == k], axis=-1), 0, -1)
            for k in np.unique(image[image > 0])
        ]
    ).astype(np.float32)


# -- values --------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    st.integers(0, 10**6),
    st.tuples(st.integers(1, FRAMES), st.integers(4, Y), st.integers(4, X)),
    st.sampled_from(["uint8", "uint16", "int32"]),
)
def test_exact_whatever_the_chunks(seed, chunks, dtype):
    data, image = movie(seed=seed, dtype=dtype), labels(seed=seed)
    expected = reference(data, image)
    for given_data in (data, lazy(data, *chunks)):
        traces = cs.extract(given_data, image)
        assert traces.dims == ("neuron", "time")
        assert traces.dtype == traces.compute().dtype == np.float32
        np.testing.assert_array_equal(traces.compute(), expected)


@pytest.mark.parametrize("chunks", [None, (3, 12, 15), (7, 5, 4)])
def test_weights_and_overlap(chunks):
    data = movie()
    rng = np.random.default_rng(0)
    neuron = np.repeat([5, 2, 9], 40)  # not in order
    pixels = np.concatenate([rng.choice(Y * X, 40, replace=False) for _ in range(3)])
    y, x = pixels // X, pixels % X
    weight = rng.random(120) + 0.1
    traces = cs.extract(
        data if chunks is None else lazy(data, *chunks), long_form(neuron, y, x, weight)
    )
    assert traces.neuron.values.tolist() == [2, 5, 9]
    for k in (2, 5, 9):
        mine = neuron == k
        expected = np.average(data.values[:, y[mine], x[mine]], axis=1, weights=weight[mine])
        np.testing.assert_allclose(traces.sel(neuron=k), expected, rtol=1e-6)


def test_a_shared_pixel_counts_for_both():
    data = movie()
    traces = cs.extract(data, long_form([1, 1, 2, 2], [0, 3, 3, 4], [0, 3, 3, 4]))
    pixel = data.values.astype(float)
    np.testing.assert_array_equal(traces[0], (pixel[:, 0, 0] + pixel[:, 3, 3]) / 2)
    np.testing.assert_array_equal(traces[1], (pixel[:, 3, 3] + pixel[:, 4, 4]) / 2)


@pytest.mark.parametrize(
    "order", [("frames", "channel", "plane", "y", "x"), ("channel", "plane", "frames", "x", "y")]
)
@pytest.mark.parametrize("chunks", [None, (1, 1, 1, 12, 15), (5, 2, 2, 7, 8)])
def test_volume_of_two_channels(order, chunks):
    stack = one_plane_each()
    data = movie(("frames", "channel", "plane", "y", "x"))
    chunked = data if chunks is None else lazy(data, *chunks)
    traces = cs.extract(chunked.transpose(*order), stack)
    assert traces.dims == ("neuron", "channel", "time")
    assert traces.neuron.values.tolist() == [1, 2, 3, 4, 5, 6]
    assert traces.plane.values.tolist() == [0, 1, 2, 0, 1, 2]
    assert traces.channel.values.tolist() == ["Ch1", "Ch2"]
    for k in range(1, 7):
        plane = data.isel(plane=(k - 1) % 3).transpose("frames", "channel", "y", "x")
        (expected,) = reference(plane, stack[(k - 1) % 3] == k)
        np.testing.assert_array_equal(traces.sel(neuron=k), expected)


def test_recording_of_planes_and_channels(tmp_path):
    truth = write_recording(
        tmp_path / "mouse", frames=9, shape=(32, 32), planes=3, channels=("Ch1", "Ch2"), neurons=7
    )
    data = cs.ImagingSession.open(tmp_path / "mouse").movie
    traces = cs.extract(data, truth.labels)
    for neuron in traces.neuron.values:
        plane, y, x = (truth.labels.values == neuron).nonzero()
        for channel in ("Ch1", "Ch2"):
            pixels = [truth.frame(f, channel, plane[0])[y, x] for f in range(9)]
            expected = np.mean(pixels, axis=1, dtype=float).astype("float32")
            np.testing.assert_array_equal(traces.sel(neuron=neuron, channel=channel), expected)
    assert traces.neuron.size == 7


def test_chunks_without_neurons_are_not_read():
    def refuse(block):
        raise AssertionError("this chunk holds no neuron")

    data = movie()
    left = da.from_array(data.values[..., :5], chunks=(3, 12, 5))
    right = da.from_array(data.values[..., 5:], chunks=(3, 12, 5)).map_blocks(
        refuse, dtype="u2", meta=left._meta
    )
    image = np.where(np.arange(X) < 5, labels(), 0)
    traces = cs.extract(data.copy(data=da.concatenate([left, right], axis=2)), image)
    np.testing.assert_array_equal(traces, reference(data, image))


@pytest.mark.parametrize("chunks", [None, (3, 5, 6)])
@pytest.mark.parametrize("mask_dims", [("frames",), ("frames", "plane"), ("channel", "frames")])
def test_damaged_frames_are_nan(mask_dims, chunks):
    dims = ("frames", "channel", "plane", "y", "x")
    data = movie(dims)
    sizes = [data.sizes[dim] for dim in mask_dims]
    valid = xr.DataArray(np.random.default_rng(0).random(sizes) > 0.4, dims=mask_dims)
    data = data.assign_coords(valid=valid)
    stack = one_plane_each()
    whole = cs.extract(data.drop_vars("valid"), stack)
    chunked = data if chunks is None else lazy(data, chunks[0], 1, 1, *chunks[1:])
    traces = cs.extract(chunked, stack)
    seen = valid.isel(plane=whole.plane) if "plane" in mask_dims else valid
    seen = seen.rename(frames="time").drop_vars("plane", errors="ignore")
    expected = whole.where(seen.broadcast_like(whole).transpose(*whole.dims))
    assert 0 < int(expected.isnull().sum()) < expected.size
    np.testing.assert_array_equal(traces, expected)


# -- places --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(slice(4, 12), slice(3, 15)), (slice(0, 9), slice(2, 13))])
@pytest.mark.parametrize("microns", [UM, None, (0.3333333, 512 / 513)])
def test_a_cropped_movie_still_takes_the_right_pixels(shape, microns):
    data = cs.from_numpy(movie().values, frame_rate=5, microns_per_pixel=microns)
    image = np.zeros((Y, X), int)
    image[5:8, 6:9] = 3
    image[4, 12] = 1
    whole = cs.extract(data, image)
    crop = data.isel(y=shape[0], x=shape[1])
    for given_data in (crop, lazy(crop, 2, 3, 4)):
        xr.testing.assert_allclose(cs.extract(given_data, image), whole, rtol=1e-6)
        np.testing.assert_array_equal(cs.extract(given_data, image), whole)


def test_labels_drawn_on_a_crop_lie_where_it_lies():
    data = movie()
    crop = data.isel(y=slice(4, None), x=slice(3, None))
    image = cs.project(crop).copy(data=labels()[4:, 3:])
    expected = reference(crop, image.values)
    np.testing.assert_array_equal(cs.extract(crop, image), expected)
    np.testing.assert_array_equal(cs.extract(data, image), expected)
    rois = cs.rois_from_labels(image)
    assert (rois.y.min().item(), rois.x.min().item()) == (4, 3)


def test_labels_know_their_dimensions_and_planes():
    stack = one_plane_each()
    data = movie(("frames", "plane", "y", "x"))
    labelled = xr.DataArray(stack, {"plane": [0, 1, 2]}, ("plane", "y", "x"))
    expected = cs.extract(data, stack)
    xr.testing.assert_equal(cs.extract(data, labelled.transpose("x", "plane", "y")), expected)
    some = cs.extract(data.isel(plane=[0, 2]), labelled.isel(plane=[2, 0]))
    xr.testing.assert_equal(some, expected.sel(neuron=[1, 3, 4, 6]))
    flipped = cs.extract(data.isel(plane=[2, 1, 0]), labelled)
    np.testing.assert_array_equal(flipped, expected)
    assert flipped.plane.values.tolist() == expected.plane.values.tolist()


def test_one_plane_of_a_volume():
    data = movie(("frames", "plane", "y", "x")).assign_coords(z=("plane", [0.0, 20.0, 40.0]))
    rois = cs.rois_from_labels(one_plane_each())
    here = cs.extract(data.sel(plane=1), rois[rois.plane == 1])
    np.testing.assert_array_equal(here, cs.extract(data, rois).sel(neuron=[2, 5]))
    assert (here.plane.item(), here.z.item()) == (1, 20.0)
    with pytest.raises(RoiError, match=r"planes 0, 1, 2.* plane 1 alone.*rois\[rois.plane == 1\]"):
        cs.extract(data.sel(plane=1), rois)


def of_plane(plane, image):
    return xr.DataArray(image, {"plane": plane}, ("y", "x"))


@pytest.mark.parametrize(
    "make",
    [
        of_plane,
        lambda plane, image: cs.rois_from_labels(of_plane(plane, image)),
        lambda plane, image: cs.rois_from_labels(image).assign_coords(plane=plane),
        lambda plane, image: cs.rois_from_masks(
            of_plane(plane, image).expand_dims(neuron=[3]) == 3
        ),
        lambda plane, image: cs.rois_from_masks(
            xr.DataArray(image[None] == 3, {"plane": ("neuron", [plane])}, ("neuron", "y", "x"))
        ),
    ],
    ids=["labels", "ROIs", "long form", "masks", "masks of planes"],
)
def test_rois_of_one_plane_stay_in_it(make):
    data = movie(("frames", "plane", "y", "x"))
    image = np.where(labels() == 3, 3, 0)
    if make is not of_plane:
        data = data.isel(plane=[2, 1, 0])  # places are no names
    expected = reference(data.sel(plane=1), image)
    for given_data in (data, lazy(data), data.sel(plane=1)):
        traces = cs.extract(given_data, make(1, image))
        np.testing.assert_array_equal(traces, expected)
        assert np.unique(traces.plane) == 1
        exclusive = cs.extract(given_data, make(1, image), overlap="exclude")
        np.testing.assert_array_equal(exclusive, expected)
    with pytest.raises(RoiError, match="ROIs lie in planes 1, the movie is plane 0 alone"):
        cs.extract(data.sel(plane=0), make(1, image))
    with pytest.raises(RoiError, match="ROIs lie in planes 1, the movie is plane 0 alone"):
        cs.extract(movie(), make(1, image))
    with pytest.raises(RoiError, match="ROIs lie in planes 7, the movie has the planes"):
        cs.extract(data, make(7, image))


def test_labels_drawn_on_the_image_of_a_plane_know_it():
    data = movie(("frames", "plane", "y", "x"))
    image = cs.project(data.sel(plane=2)).copy(data=labels())
    np.testing.assert_array_equal(
        cs.extract(data, image), reference(data.sel(plane=2), image.values)
    )


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_pixels_may_have_any_type_that_holds_them(dtype):
    data = movie()
    rois = at(y=np.array([8, 9], dtype), x=np.array([3, 4], dtype))
    for given_data in (data, data.isel(y=slice(7, 11))):
        for overlap in ("share", "exclude"):
            found = cs.extract(given_data, rois, overlap=overlap)
            np.testing.assert_array_equal(found, data.values[:, [9, 8], [4, 3]].T)
    with pytest.raises(RoiError, match=r"outside of the movie.*neurons 4\)"):
        cs.extract(data.isel(y=slice(9, None)), rois)


def test_the_names_of_rois_come_along():
    rois = long_form([8, 8, 3], [4, 4, 2], [1, 3, 14], roi_name=np.array(["b µ", "b µ", "a"]))
    for overlap in ("share", "exclude"):
        traces = cs.extract(movie(), rois, overlap=overlap)
        assert traces.roi_name.dims == ("neuron",)
        assert dict(zip(traces.neuron.values, traces.roi_name.values, strict=True)) == {
            3: "a",
            8: "b µ",
        }
    one = cs.extract(movie(), rois[:2].drop_vars("roi_name").assign_coords(roi_name="c"))
    assert one.roi_name.values.tolist() == ["c"]


def test_labels_of_the_recording_fit_a_crop_of_its_corner():
    data = movie().assign_attrs(lines_per_frame=Y)
    image = np.where(np.indices((Y, X)).max(0) < 6, labels(), 0)
    expected = reference(data, image)
    corner = data.isel(y=slice(0, 7), x=slice(0, 8))
    np.testing.assert_array_equal(cs.extract(corner, image), expected)


def test_coordinates():
    data = movie(("frames", "channel", "y", "x")).isel(channel=1)
    data = data.isel(y=slice(2, None)).assign_coords(
        epoch=("frames", [1, 1, 1, 1, 2, 2, 2]),
        cycle=("frames", [4] * 4 + [5] * 3, {"long_name": "c"}),
    )
    neuron, y, x = [8, 8, 8, 3], [4, 4, 6, 2], [1, 3, 2, 14]
    traces = cs.extract(data, long_form(neuron, y, x, [1.0, 1.0, 2.0, 5.0]))
    assert set(traces.coords) == {"neuron", "time", "y", "x", "epoch", "cycle", "channel"}
    assert traces.name == "traces"
    assert traces.neuron.values.tolist() == [3, 8]
    assert traces.channel.item() == "Ch2"
    np.testing.assert_allclose(traces.y, np.array([2, (4 + 4 + 6 + 6) / 4]) * UM[0])
    np.testing.assert_allclose(traces.x, np.array([14, (1 + 3 + 2 + 2) / 4]) * UM[1])
    assert traces.y.attrs["units"] == traces.x.attrs["units"] == "um"
    np.testing.assert_array_equal(traces.time, data.time)
    assert traces.indexes["time"].size == FRAMES
    assert traces.time.attrs["units"] == "s"
    for name in ("epoch", "cycle"):
        assert traces[name].dims == ("time",)
        np.testing.assert_array_equal(traces[name], data[name])
        assert traces[name].attrs == data[name].attrs


def test_centres_count_pixels_where_there_is_no_scale():
    data = movie().drop_vars(["y", "x"])
    traces = cs.extract(data, long_form([1, 1], [2, 4], [0, 1]))
    assert (traces.y.item(), traces.x.item()) == (3, 0.5)
    assert traces.y.attrs["units"] == "1"


@pytest.mark.parametrize("neurons", [["b", "a"], [2.5, -1.0]])
def test_neurons_may_have_any_labels(neurons):
    traces = cs.extract(movie(), long_form(neurons, [1, 2], [3, 4]))
    assert traces.neuron.values.tolist() == sorted(neurons)
    np.testing.assert_array_equal(traces.sel(neuron=neurons[1]), movie()[:, 2, 4])


@pytest.mark.parametrize(
    "make",
    [
        np.asarray,
        xr.DataArray,
        cs.rois_from_labels,
        lambda i: xr.DataArray(i, dims=("y", "x")),
        lambda i: i.astype("uint8"),
    ],
    ids=["ndarray", "DataArray", "long form", "y and x", "uint8"],
)
def test_every_kind_of_rois(make):
    data, image = movie(), labels()
    traces = cs.extract(data, make(image))
    np.testing.assert_array_equal(traces, reference(data, image))
    assert traces.neuron.values.tolist() == [3, 10, 17, 24, 31]


# -- errors --------------------------------------------------------------------------------


def outside(**changes):
    return long_form([1, 4, 4], **{"y": [0, 0, 0], "x": [0, 0, 0], **changes})


def at(weight=(1.0, 1.0), **places):
    """Pixels as they come, also in fractions, of the neurons 4 and 2."""
    places = {"neuron": [4, 2], "y": [0, 0], "x": [0, 0], **places}
    return xr.DataArray(
        np.array(weight), {dim: ("pixel", values) for dim, values in places.items()}, ("pixel",)
    )


@pytest.mark.parametrize(
    ("data", "rois", "message"),
    [
        (
            movie(),
            outside(y=[0, 12, 0]),
            r"1 ROIs have pixels outside.*12 x 15.*neurons 4\).*leave",
        ),
        (movie(), outside(x=[-1, 0, 15]), r"2 ROIs have pixels outside.*neurons 1, 4"),
        (movie().isel(y=slice(3, 9)), outside(), r"2 ROIs .*outside of the movie of 6 x 15"),
        (movie(), labels()[:, :-1], r"made on an image of \(12, 14\).*reaches to 15 along 'x'"),
        (
            movie().isel(y=slice(6, 12)),
            labels()[:8],
            r"image of \(8, 15\).*reaches to 12 along 'y'",
        ),
        (movie().coarsen(y=2).mean(), labels(), "'y' are not those recorded .*before binning"),
        (movie().isel(x=slice(None, None, -1)), labels(), "'x' are not those recorded"),
        (movie(), labels()[..., None, None], "needs whole numbers of shape"),
        (movie(), labels() / 2, r"got float64 of shape \(12, 15\).*astype\(int\)"),
        (movie(), labels() > 3, "got bool"),
        (movie(), labels() * 0, "found no neuron"),
        (movie(), labels() - 5, "negative"),
        (movie(), [[1, 2]], "label image, got list"),
        (movie(), outside().drop_vars(["y", "neuron"]), r"\['neuron', 'y'\] are missing"),
        (movie(), long_form([1], [0], [0], [0.0]), "neuron 1 has no pixel of positive weight"),
        (movie(("frames", "plane", "y", "x")), labels(), "3 planes, but the ROIs do not say"),
        (
            movie(("frames", "plane", "y", "x")),
            labels(3),
            "5 neurons have pixels in several planes",
        ),
        (
            movie(("frames", "plane", "y", "x")).isel(plane=[0, 2]),
            one_plane_each(),
            "3 planes, counted from 0, do not fit a movie of the planes 0, 2",
        ),
        (movie(), at(y=[0.9, 1.0]), "extract: neuron 4 has pixels that are not whole numbers"),
        (movie(), at(x=[1.0, np.nan]), "neuron 2 has pixels that are not whole numbers"),
        (movie(), at(neuron=[2, 2]), "neuron 2 has the same pixel twice"),
        (movie(), at([-1.0, 2.0], neuron=[2, 2], y=[0, 1]), "neuron 2 has negative weights"),
        (movie().isel(y=slice(3, 9)), at(y=[3.5, 4.0]), "neuron 4 .* not whole numbers"),
        (
            movie().assign_attrs(lines_per_frame=Y),
            np.pad(labels(), ((0, Y), (0, X))),
            r"made on an image of \(24, 30\) pixels, the recording has 12 lines",
        ),
    ],
)
def test_rois_that_do_not_fit(data, rois, message):
    with pytest.raises(RoiError, match=message):
        cs.extract(data, rois)


def test_binned_labels_are_refused():
    binned = movie().coarsen(y=2).mean()
    with pytest.raises(RoiError, match=r"rois_from_labels: the pixels along 'y'.*binned"):
        cs.rois_from_labels(cs.project(binned).copy(data=labels()[::2]))


def test_other_errors():
    with pytest.raises(TimeAxisError, match="extract needs a 'time' coordinate"):
        cs.extract(movie().drop_vars("time"), labels())
    with pytest.raises(DimensionError, match="extract needs the dimensions"):
        cs.extract(cs.from_numpy(np.ones((2, 3)), frame_rate=1), labels())


def test_a_crop_without_pixel_size_is_refused_instead_of_misplaced():
    movie = cs.from_numpy(
        np.random.default_rng(0).poisson(50, (4, 20, 20)).astype("u2"),
        frame_rate=5,
        microns_per_pixel=2,
    )
    labels = np.zeros((20, 20), int)
    labels[12:14, 12:15] = 1
    rois = cs.rois_from_labels(labels)
    crop = movie.isel(y=slice(10, 18), x=slice(11, 18))
    np.testing.assert_array_equal(crop.cs.extract(rois), movie.cs.extract(rois))
    for lost in (crop.assign_coords(y=crop.y.values), crop.drop_attrs()):
        with pytest.raises(RoiError, match="how large a recorded pixel is"):
            lost.cs.extract(rois)
    plain = movie.assign_coords(y=np.arange(20), x=np.arange(20))
    np.testing.assert_array_equal(plain.cs.extract(rois), movie.cs.extract(rois))


def test_labels_of_a_crop_fit_the_whole_movie():
    movie = cs.from_numpy(
        np.random.default_rng(0).poisson(50, (4, 20, 20)).astype("u2"), frame_rate=5
    )
    image = movie.isel(y=slice(4, 12), x=slice(5, 15)).cs.project()
    labels = image.copy(data=np.zeros(image.shape, int))
    labels[2:4, 3:5] = 1
    found = movie.cs.extract(cs.rois_from_labels(labels)).values
    np.testing.assert_allclose(found[0], movie.values[:, 6:8, 8:10].mean((1, 2)), rtol=1e-6)


def test_unlabelled_planes_are_refused_for_a_selection_of_planes():
    data = np.random.default_rng(0).poisson(50, (4, 3, 8, 8)).astype("u2")
    movie = cs.from_numpy(data, frame_rate=5, dims=("frames", "plane", "y", "x"))
    labels = np.zeros((2, 8, 8), int)
    labels[1, 2:4, 2:4] = 1
    part = movie.isel(plane=slice(1, 3))
    for unnamed in (labels, xr.DataArray(labels), xr.DataArray(labels, dims=("plane", "y", "x"))):
        with pytest.raises(RoiError, match="2 planes, counted from 0, do not fit"):
            part.cs.extract(unnamed)
        assert movie.isel(plane=slice(0, 2)).cs.extract(unnamed).plane.values.tolist() == [1]
    turned = xr.DataArray(labels, dims=("plane", "y", "x")).transpose("y", "x", "plane")
    with pytest.raises(RoiError, match="2 planes, counted from 0, do not fit"):
        part.cs.extract(turned)
    named = xr.DataArray(labels, dims=("plane", "y", "x"), coords={"plane": [1, 2]})
    np.testing.assert_allclose(
        part.cs.extract(named).values[0], data[:, 2, 2:4, 2:4].mean((1, 2)), rtol=1e-6
    )
    with pytest.raises(RoiError, match=r"\(plane, y, x\), got"):
        cs.rois_from_labels(named.rename(plane="channel"))


# -- shared pixels, weights, damage --------------------------------------------------------


@pytest.mark.parametrize("chunks", [None, (3, 5, 6)])
def test_shared_pixels_can_be_left_out(chunks):
    data = movie() if chunks is None else lazy(movie(), *chunks)
    # Pixel (3, 3) belongs to 1 and 2.
    weight = [1.0, 1.0, 1.0, 2.0, 1.0]
    rois = long_form([1, 1, 2, 2, 2], [0, 3, 3, 4, 9], [0, 3, 3, 4, 9], weight)
    pixel = movie().values.astype(float)
    own = cs.extract(data, rois, overlap="exclude")
    np.testing.assert_array_equal(own[0], pixel[:, 0, 0])
    expected = ((2 * pixel[:, 4, 4] + pixel[:, 9, 9]) / 3).astype("f4")
    np.testing.assert_array_equal(own[1], expected)
    shared = cs.extract(data, rois)
    for name in ("y", "x", "neuron", "time"):
        xr.testing.assert_identical(own[name], shared[name])


def test_the_same_pixel_of_two_planes_is_not_shared():
    data = movie(("frames", "plane", "y", "x"))
    rois = long_form([1, 2, 1], [4, 4, 5], [6, 6, 5]).assign_coords(plane=("pixel", [0, 2, 0]))
    expected = cs.extract(data, rois)
    np.testing.assert_array_equal(cs.extract(data, rois, overlap="exclude"), expected)
    rois = rois.assign_coords(plane=("pixel", [2, 2, 2]))
    with pytest.raises(RoiError, match=r"1 neurons are left without pixels.*neurons 2\).*'share'"):
        cs.extract(data, rois, overlap="exclude")


def test_exclude_is_share_where_nothing_overlaps():
    data = movie()
    xr.testing.assert_equal(
        cs.extract(data, labels(), overlap="exclude"), cs.extract(data, labels())
    )


def test_a_neuron_that_keeps_only_pixels_without_weight_is_named():
    rois = long_form([1, 1, 7, 7], [2, 3, 2, 5], [2, 3, 2, 5], [1.0, 1.0, 1.0, 0.0])
    with pytest.raises(RoiError, match=r"neurons 7\)"):
        cs.extract(movie(), rois, overlap="exclude")
    with pytest.raises(RoiError, match=r"neuron 7 has no pixel of positive weight"):
        cs.extract(movie(), long_form([1, 7], [2, 5], [2, 5], [1.0, 0.0]))
    for weights in ([np.inf, np.nan], [1.7e308, np.nan]):
        rois = long_form([1, 1, 7], [2, 3, 5], [2, 3, 5], [weights[0], *weights])
        with pytest.raises(RoiError, match=r"neurons 1, 7 have weights that are not finite"):
            cs.extract(movie(), rois)


@pytest.mark.parametrize("chunks", [None, (3, 5, 6)])
def test_nan_pixels_reach_their_neuron_in_their_frame_only(chunks):
    data = movie(dtype="float32")
    rois = long_form([1, 1, 2, 2, 3], [0, 3, 3, 4, 4], [0, 3, 3, 4, 4], [1.0, 2.0, 1.0, 1.0, 1.0])
    expected = cs.extract(data, rois).values
    values = data.values.copy()
    values[2, 0, 0] = values[4, 3, 3] = values[:, 11, 11] = np.nan
    expected[0, [2, 4]] = expected[1, 4] = np.nan
    damaged = data.copy(data=values)
    damaged = damaged if chunks is None else lazy(damaged, *chunks)
    np.testing.assert_array_equal(cs.extract(damaged, rois), expected)
    # A pixel of weight 0 is no part of the neuron.
    more = long_form([1, 1, 1], [0, 3, 11], [0, 3, 11], [1.0, 2.0, 0.0])
    np.testing.assert_array_equal(cs.extract(damaged, more)[0], expected[0])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float16", ">u2", "float64", "bool"])
def test_every_type_of_movie(dtype):
    values = np.random.default_rng(0).integers(0, 100, (FRAMES, Y, X)).astype(dtype)
    data = cs.from_numpy(values, frame_rate=5)
    for given_data in (data, lazy(data, 3, 5, 6)):
        np.testing.assert_array_equal(cs.extract(given_data, labels()), reference(data, labels()))


def test_bad_arguments():
    with pytest.raises(ArgumentError, match=r"overlap must be one of \('share', 'exclude'\)"):
        cs.extract(movie(), labels(), overlap="both")
    with pytest.raises(ArgumentError, match="extract needs numbers, got an array of complex"):
        cs.extract(movie(dtype="complex64"), labels())
    with pytest.raises(RoiError, match="the ROIs hold no pixel"):
        cs.extract(movie(), cs.rois_from_labels(labels())[:0])


def test_weights_planes_channels_and_overlaps_of_a_lazy_volume_at_once():
    """A loop over dense masks, in float64."""
    dims = ("frames", "channel", "plane", "y", "x")
    data = movie(dims)
    rng = np.random.default_rng(5)
    masks = np.where(rng.random((6, Y, X)) < 0.2, rng.random((6, Y, X)), 0)
    plane = np.array([2, 0, 1, 2, 0, 1])
    neuron, y, x = np.nonzero(masks)
    rois = long_form(neuron, y, x, masks[neuron, y, x])
    rois = rois.assign_coords(plane=("pixel", plane[neuron]))
    found = cs.extract(lazy(data, 3, 1, 2, 5, 8), rois)
    for k in range(6):
        frames = data.values[:, :, plane[k]].astype(float)
        expected = (frames * masks[k]).sum(axis=(-2, -1)).T / masks[k].sum()
        np.testing.assert_allclose(found.sel(neuron=k), expected, rtol=1e-6)
