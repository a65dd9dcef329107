"""Four images from one pass: the same as from several, whatever the chunks."""

import pickle
import threading
import weakref

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import calscipy as cs
from calscipy.blocks import summary as blocks
from calscipy.errors import ArgumentError, DimensionError
from calscipy.ops.summary import summary

NAMES = ["mean", "max", "std", "local_correlation"]
VOLUME = {"frames": 13, "channel": 2, "plane": 3, "y": 6, "x": 5}
DTYPES = ["bool", "uint8", "uint16", "int16", "int32", "float32", "float64"]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def volume(dtype="uint16", mask_dims=None, junk=0):
    rng = np.random.default_rng(0)
    top = 2 if dtype == "bool" else 255 if dtype == "uint8" else 30000
    values = rng.integers(0, top, tuple(VOLUME.values())).astype(dtype)
    if np.dtype(dtype).kind == "f":
        values /= 7
    data = cs.from_numpy(values, frame_rate=10, microns_per_pixel=0.5)
    if mask_dims is None:
        return data
    valid = rng.random([VOLUME[dim] for dim in mask_dims]) > 0.4
    valid[0] = True
    valid = xr.DataArray(valid, dims=mask_dims)
    return data.where(valid, junk).astype(dtype).assign_coords(valid=valid)


def lazy(data, chunks):
    return data.copy(data=da.from_array(data.values, chunks=chunks))


def reference(data):
    """Summarise the valid frames of every channel and plane, each measure by a pass of its own."""
    found = {name: np.full(data.shape[1:], np.nan) for name in NAMES}
    valid = data.valid if "valid" in data.coords else xr.ones_like(data.frames, bool)
    valid = valid.broadcast_like(data.isel(y=0, x=0)).transpose("frames", "channel", "plane")
    for at in np.ndindex(*data.shape[1:3]):
        kept = data.values[(slice(None), *at)][valid.values[(slice(None), *at)]].astype(float)
        found["mean"][at] = kept.mean(axis=0)
        found["max"][at] = kept.max(axis=0)
        found["std"][at] = kept.std(axis=0)
        height, width = kept.shape[1:]
        each = np.nan_to_num(np.atleast_2d(np.corrcoef(kept.reshape(len(kept), -1).T)))
        y, x = np.divmod(np.arange(height * width), width)
        far = np.maximum(abs(y - y[:, None]), abs(x - x[:, None]))
        with np.errstate(invalid="ignore"):
            mean = (each * (far == 1)).sum(axis=1) / (far == 1).sum(axis=1)
        found["local_correlation"][at] = mean.reshape(height, width)
    return found


def same(images, expected, rtol=1e-9):
    for name in NAMES:
        np.testing.assert_allclose(
            images[name].values.astype(float), expected[name], rtol=rtol, atol=1e-12
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "mask_dims", [None, ("frames",), ("frames", "channel"), ("frames", "channel", "plane")]
)
@pytest.mark.filterwarnings("ignore:invalid value encountered in divide:RuntimeWarning:numpy")
def test_the_images_are_those_of_separate_passes(dtype, mask_dims):
    data = volume(dtype, mask_dims)
    expected = reference(data)
    for movie in (data, lazy(data, (5, 2, 2, 6, 5)), lazy(data, (4, 1, 2, 2, 3))):
        images = summary(movie)
        assert list(images) == NAMES
        for name, image in images.items():
            assert image.dims == ("channel", "plane", "y", "x")
            assert (image.chunks is None) == (movie.chunks is None)
            assert image.dtype == image.compute().dtype
            assert image.dtype == (dtype if name == "max" else "float64")
        same(images.compute(), expected)


@pytest.mark.parametrize("reduce", ["mean", "max", "std"])
def test_the_images_are_those_of_project(reduce):
    data = volume(mask_dims=("frames", "plane"))
    image, projected = summary(data)[reduce], cs.project(data, reduce=reduce)
    xr.testing.assert_allclose(image, projected, rtol=1e-12)
    left, right = ({**made.attrs, "history": None} for made in (image, projected))
    assert left == right


@st.composite
def chunked(draw):
    def chunks(size):
        cuts = draw(st.sets(st.integers(1, size - 1)) if size > 1 else st.just(set()))
        return tuple(int(n) for n in np.diff([0, *sorted(cuts), size]))

    shape = [draw(st.integers(1, 9)), draw(st.integers(1, 2)), *(draw(st.integers(1, 7)),) * 2]
    shape[-1] = draw(st.integers(1, 7))
    values = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 60000, shape)
    values = values.astype(draw(st.sampled_from(["uint16", "float32"])))
    valid = np.array(draw(st.lists(st.booleans(), min_size=shape[0], max_size=shape[0])))
    valid[draw(st.integers(0, shape[0] - 1))] = True
    data = xr.DataArray(values, dims=("frames", "channel", "y", "x"))
    data = data.assign_coords(valid=("frames", valid))
    limit = draw(st.sampled_from([1, 500, 2**25]))
    return data, lazy(data, tuple(chunks(size) for size in shape)), limit


@settings(max_examples=100, deadline=None, derandomize=True)
@given(chunked())
def test_the_chunks_do_not_matter(example):
    data, chunks, limit = example
    with cs.set_options(chunk_bytes=limit):
        images = summary(chunks).compute()
    expected = summary(data)
    if data.dtype == "uint16":
        xr.testing.assert_equal(images, expected)
    else:
        xr.testing.assert_allclose(images, expected, rtol=1e-9)


@pytest.mark.parametrize("dtype", ["uint16", "float64"])
def test_pieces_and_threads_do_not_matter(monkeypatch, dtype):
    data = volume(dtype, ("frames", "plane"))
    expected = summary(data)
    monkeypatch.setattr(blocks, "SMALL_BYTES", 0)
    monkeypatch.setattr(blocks, "CPU_COUNT", 4)
    for size in (1, 700, 2**25):
        monkeypatch.setattr(blocks, "PIECE_BYTES", size)
        for movie in (data, data.transpose("plane", "x", "frames", "y", "channel")):
            images = summary(movie).transpose("channel", "plane", "y", "x")
            xr.testing.assert_equal(images, expected)
        images = summary(lazy(data, (5, 1, 2, 3, 5))).compute()
        xr.testing.assert_allclose(images, expected, rtol=1e-12)


def test_what_damaged_frames_hold_does_not_matter():
    masks = ("frames", "plane")
    made = [summary(lazy(volume("float32", masks, junk), 4)) for junk in (0, np.nan)]
    xr.testing.assert_equal(*(images.drop_attrs() for images in made))
    assert np.isfinite(made[0].to_array()).all()


def test_pixels_with_nan_are_nan_and_left_out():
    data = volume("float32")
    data[3, 0, 1, :, 0] = np.nan
    inside = summary(data.isel(channel=0, plane=1, x=slice(1, None)))
    for movie in (data, lazy(data, (4, 1, 1, 3, 2))):
        images = summary(movie).isel(channel=0, plane=1).compute()
        assert np.isnan(images.isel(x=0).to_array()).all()
        xr.testing.assert_allclose(images.isel(x=slice(1, None)), inside, rtol=1e-9)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_empty_blocks(dtype):
    data = volume(dtype, ("frames", "plane"))
    sizes = ((0, 4, 0, 9), (2,), (0, 1, 2), (0, 3, 0, 3, 0), (2, 0, 3))
    xr.testing.assert_allclose(summary(lazy(data, sizes)).compute(), summary(data), rtol=1e-12)


# -- one pass ------------------------------------------------------------------------------


class Counter:
    """Counts how often each block is loaded."""

    def __init__(self, values):
        self.values, self.shape, self.dtype, self.ndim = (
            values,
            values.shape,
            values.dtype,
            values.ndim,
        )
        self.loads, self.lock = {}, threading.Lock()

    def __getitem__(self, key):
        with self.lock:
            at = tuple(part.start for part in key)
            self.loads[at] = self.loads.get(at, 0) + 1
        return self.values[key]


def counted(chunks):
    data = volume()
    source = Counter(data.values)
    array = da.from_array(source, chunks=chunks, name=False, meta=data.values[:0])
    return data.copy(data=array), source


@pytest.mark.parametrize("chunks", [(2, 2, 3, 6, 5), (3, 1, 2, 6, 5), (2, 2, 3, 3, 2)])
@pytest.mark.parametrize("limit", [1, 2**25])
def test_every_block_is_read_once(tmp_path, chunks, limit):
    def to_zarr(images):
        images.drop_vars("channel").to_zarr(tmp_path / "images.zarr", consolidated=False)

    uses = [
        lambda images: dask.compute(*images.values()),
        lambda images: images.compute(),
        lambda images: images["local_correlation"].compute(),
        lambda images: images["max"].compute(),
        to_zarr,
    ]
    for use in uses:
        data, source = counted(chunks)
        with cs.set_options(chunk_bytes=limit):
            images = summary(data)
        assert not source.loads
        use(images)
        assert set(source.loads.values()) == {1}
        assert len(source.loads) == data.data.npartitions


@pytest.mark.parametrize("frames", [64, 1024])
def test_tasks_for_each_block(frames):
    data = xr.DataArray(da.zeros((frames, 2, 8, 8), chunks=(1, 2, 8, 8)), dims=list("fcyx"))
    data = data.rename(f="frames", c="channel")
    for limit, share in ((1, 2), (2**14, 0.2)):
        with cs.set_options(chunk_bytes=limit):
            images = summary(data)
        layers = images["mean"].data.dask.layers
        added = sum(len(layer) for name, layer in layers.items() if "calscipy" in name)
        assert added <= share * frames + 4


class Counted:
    """An array in memory that knows how many of the blocks read from it are still there."""

    dtype, ndim = np.dtype("uint16"), 3

    def __init__(self, *shape):
        self.shape = shape
        self.there = self.most = 0

    def __getitem__(self, index):
        sizes = [item.stop - item.start for item in index]
        block = np.ones(sizes, self.dtype)
        self.there += 1
        self.most = max(self.most, self.there)
        weakref.finalize(block, self.gone)
        return block

    def gone(self):
        self.there -= 1


@pytest.mark.parametrize("chunks", [32, 256])
def test_blocks_held_for_their_neighbours_are_as_many_whatever_the_length(chunks):
    source = Counted(4 * chunks, 8, 8)
    data = da.from_array(source, chunks=(4, 8, 8), asarray=False, meta=np.empty((0,) * 3, "uint16"))
    movie = xr.DataArray(data, dims=("frames", "y", "x"))
    with cs.set_options(chunk_bytes=1):  # else a task takes many of these small blocks
        summary(movie.cs.median_filter(size=3)).compute()
    assert source.there == 0
    assert 3 <= source.most <= 5


def test_building_computes_nothing():
    def refuse(*args, **kwargs):
        raise AssertionError("building the graph computed something")

    data = lazy(volume(mask_dims=("frames", "plane")), 4)
    with dask.config.set(scheduler=refuse):
        images = summary(data)
        repr(images)
        with pytest.raises(AssertionError, match="computed something"):
            images.compute()
    assert summary(data)["std"].data.name == images["std"].data.name
    assert summary(data + 1)["std"].data.name != images["std"].data.name


def test_the_graph_pickles():
    images = summary(lazy(volume(mask_dims=("frames", "plane")), (4, 1, 2, 3, 5)))
    xr.testing.assert_identical(pickle.loads(pickle.dumps(images)).compute(), images.compute())


def test_a_filtered_movie():
    data = lazy(volume(), (4, 1, 2, 3, 5))
    images = summary(cs.median_filter(data, size=3))
    expected = summary(cs.median_filter(volume(), size=3))
    xr.testing.assert_equal(images.drop_attrs(), expected.drop_attrs())


# -- labels --------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [True, False, "default"])
def test_words(keep):
    data = volume().assign_attrs(units="mV", long_name="signal", history="earlier", laser=3)
    with xr.set_options(keep_attrs=keep):
        images = summary(data)
    long_names = [f"{name} over frames of signal" for name in NAMES[:3]]
    long_names.append("local correlation of signal")
    units = ["mV", "mV", "mV", "1"]
    before, line = images.attrs["history"].split("\n")
    assert before == "earlier"
    assert line.split(" ", 1)[1] == f"calscipy {cs.__version__} summary {{}}"
    for name, unit, long_name in zip(NAMES, units, long_names, strict=True):
        attrs = images[name].attrs
        assert (attrs["units"], attrs["long_name"], attrs["laser"]) == (unit, long_name, 3)
        assert attrs["history"] == images.attrs["history"]
        methods = None if name == "local_correlation" else f"frames: {name}"
        assert attrs.get("cell_methods") == methods
    binned = summary(cs.bin(data, y=2))
    for name in NAMES[:3]:
        assert binned[name].attrs["cell_methods"] == f"y: mean frames: {name}"
    assert images.attrs["laser"] == 3
    assert not {"units", "long_name"} & set(images.attrs)


def test_coordinates_and_order_of_the_images():
    data = volume(mask_dims=("frames", "plane")).assign_coords(
        plane_time=(("frames", "plane"), np.ones((13, 3))),
        z=("plane", [0.0, 20.0, 40.0], {"units": "um"}),
        cycle=("frames", np.ones(13, int)),
        depth=7.0,
    )
    turned = data.transpose("x", "plane", "frames", "y", "channel")
    images = summary(turned)
    assert set(images.coords) == {"channel", "plane", "y", "x", "z", "depth"}
    for name in images.coords:
        xr.testing.assert_identical(images[name].variable, data[name].variable)
    for image in images.values():
        assert image.dims == ("x", "plane", "y", "channel")
    xr.testing.assert_equal(images.transpose("channel", "plane", "y", "x"), summary(data))


@pytest.mark.parametrize("chunks", [None, 4])
def test_the_input_is_untouched(chunks):
    data = volume(mask_dims=("frames", "plane"))
    before = data.copy(deep=True)
    data.values.setflags(write=False)
    movie = data if chunks is None else lazy(data, chunks)
    first = summary(movie).compute()
    xr.testing.assert_identical(movie.compute(), before)
    xr.testing.assert_equal(summary(movie).compute(), first)


# -- what does not work --------------------------------------------------------------------


@pytest.mark.parametrize("chunks", [None, 4])
def test_a_plane_without_any_valid_frame(chunks):
    data = volume(mask_dims=("frames", "plane"))
    valid = data.valid.copy()
    valid[:, 2] = False
    data = data.assign_coords(valid=valid)
    data = data if chunks is None else lazy(data, chunks)
    with pytest.raises(ArgumentError, match=r"valid frame.*movie\.isel\(plane=slice\(0, 5\)\)"):
        summary(data)
    assert summary(data.isel(plane=slice(0, 2))).sizes["plane"] == 2


@pytest.mark.parametrize("empty", [{"frames": 0}, {"y": 0}, {"x": 0}])
def test_nothing_to_summarise(empty):
    data = volume().isel({dim: slice(0, 0) for dim in empty})
    for movie in (data, lazy(data, -1)):
        with pytest.raises(ArgumentError, match="at least one frame and pixel"):
            summary(movie)


def test_errors():
    data = volume()
    with pytest.raises(ArgumentError, match="floats of up to 64 bits, got an array of complex"):
        summary(data.astype(complex))
    with pytest.raises(DimensionError, match="summary needs the dimensions"):
        summary(data.isel(y=0))
    with pytest.raises(TypeError, match=r"needs an xarray\.DataArray"):
        summary(data.values)
