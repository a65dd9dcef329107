"""Movies written as TIFF hold every value and label, in one pass, or nothing is left."""

import errno
import pickle
import threading
from xml.etree import ElementTree

import dask
import dask.array as da
import numpy as np
import pytest
import tifffile
import xarray as xr

import calscipy as cs
from calscipy.errors import (
    ArgumentError,
    DimensionError,
    RecordingError,
    StoreError,
    TargetExistsError,
)
from calscipy.io import ome_xml, output, raw_blocks
from calscipy.io.ome_xml import LABELS_NAMESPACE, restore
from calscipy.io.raw_blocks import RawBlocks, fitted
from calscipy.io.tiff_writer import to_tiff
from calscipy.options import set_options

OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"
SIZES = {"frames": 6, "channel": 2, "plane": 3, "y": 8, "x": 10}


def movie(*dims, dtype="uint16", frames=6):
    """A movie of different values, with every label that a recording has."""
    sizes = SIZES | {"frames": frames}
    shape = [sizes[dim] for dim in dims]
    values = np.random.default_rng(0).integers(0, 250, shape).astype(dtype)
    data = cs.from_numpy(values, frame_rate=7.3, dims=dims, microns_per_pixel=(0.7, 1 / 3))
    leading = dims[:-2]
    valid = np.ones([sizes[dim] for dim in leading], bool)
    valid[1] = False
    coords = {
        "valid": (leading, valid),
        "cycle": ("frames", np.repeat([1, 2], frames // 2)),
        "epoch": ("frames", np.repeat([0, 1], frames // 2)),
    }
    if "plane" in dims:
        coords["z"] = ("plane", np.array([0.0, 12.5, 25.0]), {"units": "um"})
        late = data.time.values[:, None] + np.arange(3) / 30
        coords["plane_time"] = (("frames", "plane"), late, {"units": "s"})
    if "channel" in dims:
        coords["channel"] = ("channel", ["R\u00f6d & <more>", "Ch2"])
    else:
        coords["channel"] = "Ch2"
    attrs = {"history": "2026 calscipy 0 step {}\nnext", "laser": {"power": [1, None]}}
    return data.assign_coords(coords).assign_attrs(attrs)


ALL_DIMS = [
    ("frames", "y", "x"),
    ("frames", "channel", "y", "x"),
    ("frames", "plane", "y", "x"),
    ("frames", "channel", "plane", "y", "x"),
]


def stored(path):
    """Values and description as another program reads them."""
    with tifffile.TiffFile(path) as tiff:
        return tiff.asarray(), tiff.series[0].axes, tiff.pages[0].description


def restored(path):
    """The array as calscipy's labels and tifffile's pages give it."""
    with tifffile.TiffFile(path, is_ome=False) as tiff:
        pages = np.stack([page.asarray() for page in tiff.pages])
        labels = restore(tiff.pages[0].description, path)
    assert labels is not None
    order = ("frames", "plane", "channel", "y", "x")
    dims = [dim for dim in order if dim in labels.dims]
    shape = [labels.sizes[dim] for dim in dims]
    return labels.label(xr.Variable(dims, pages.reshape(shape)))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("chunks", [None, {}, {"frames": 4, "y": 3}, "rows"])
@pytest.mark.parametrize("dims", ALL_DIMS, ids="-".join)
def test_values_and_labels_come_back(tmp_path, dims, chunks):
    data = movie(*dims)
    if chunks is not None:
        single = dict.fromkeys({"channel", "plane"} & set(dims), 1)
        chunks = {"frames": -1, "y": 3, **single} if chunks == "rows" else chunks
        data = data.copy(data=data.chunk(chunks).data)
    path = to_tiff(data, tmp_path / "a.ome.tif", progress=False)
    xr.testing.assert_identical(restored(path), data.compute())
    values, axes, _ = stored(path)
    letters = dict(zip(("frames", "plane", "channel", "y", "x"), "TZCYX", strict=True))
    shown = [dim for dim in letters if dim in dims]
    assert axes == "".join(letters[dim] for dim in shown)
    np.testing.assert_array_equal(values, data.transpose(*shown).values)
    assert names(tmp_path) == ["a.ome.tif"]


@pytest.mark.parametrize("dtype", ["uint16", "float32", "bool"])
@pytest.mark.parametrize("dims", ALL_DIMS, ids="-".join)
def test_calscipy_opens_what_was_written(tmp_path, dims, dtype):
    data = movie(*dims, dtype=dtype, frames=60)
    whole = to_tiff(data, tmp_path / "a.tif", progress=False)
    parts = to_tiff(data, tmp_path / "set", max_file_bytes=150_000, progress=False)
    for path in (whole, parts):
        found = cs.ImagingSession.open(path).movie
        assert found.chunks is not None
        xr.testing.assert_identical(found.compute(), data)
        assert found.dtype == data.dtype


@pytest.mark.parametrize("dims", ALL_DIMS, ids="-".join)
def test_ome_metadata_tell_what_is_known(tmp_path, dims):
    data = movie(*dims)
    path = to_tiff(data, tmp_path / "a.tif", progress=False)
    image = ElementTree.fromstring(stored(path)[2]).find(f"{OME}Image")
    pixels = image.find(f"{OME}Pixels")
    sizes = {letter: pixels.get(f"Size{letter}") for letter in "XYZCT"}
    wanted = dict(zip("TCZYX", (data.sizes.get(dim, 1) for dim in SIZES), strict=True))
    assert sizes == {letter: str(n) for letter, n in wanted.items()}
    assert pixels.get("Type") == "uint16"
    assert pixels.get("DimensionOrder") == "XYCZT"
    assert float(pixels.get("PhysicalSizeX")) == 1 / 3
    assert pixels.get("PhysicalSizeYUnit") == "\u00b5m"
    assert float(pixels.get("TimeIncrement")) == pytest.approx(1 / 7.3, rel=1e-12)
    channels = [channel.get("Name") for channel in pixels.iter(f"{OME}Channel")]
    assert channels == np.atleast_1d(data.channel).tolist()
    for plane in pixels.iter(f"{OME}Plane"):
        at = {"frames": int(plane.get("TheT")), "plane": int(plane.get("TheZ"))}
        of = data.plane_time if "plane" in dims else data.time
        known = {dim: n for dim, n in at.items() if dim in of.dims}
        assert float(plane.get("DeltaT")) == float(of.isel(known))
    assert len(list(pixels.iter(f"{OME}Plane"))) == data.size // 80
    spacing = pixels.get("PhysicalSizeZ")
    assert (spacing == "12.5") if "plane" in dims else (spacing is None)


def test_what_is_not_known_is_left_out(tmp_path):
    data = movie("frames", "y", "x").drop_vars(["time", "y", "x", "channel"])
    path = to_tiff(data, tmp_path / "a.tif", progress=False)
    text = stored(path)[2]
    for word in ("PhysicalSize", "TimeIncrement", "DeltaT", "Name=&quot;Ch"):
        assert word not in text
    xr.testing.assert_identical(restored(path), data)


def test_uneven_planes_have_positions_and_no_distance(tmp_path):
    data = movie("frames", "plane", "y", "x")
    data = data.assign_coords(z=("plane", [0.0, 1.0, 3.0], {"units": "um"}))
    text = stored(to_tiff(data, tmp_path / "a.tif", progress=False))[2]
    assert "PhysicalSizeZ" not in text
    assert 'PositionZ="3.0"' in text


def test_times_in_other_units_are_refused(tmp_path):
    data = movie("frames", "y", "x")
    data.time.attrs["units"] = "ms"
    with pytest.raises(cs.errors.TimeAxisError, match="to_tiff needs times in seconds"):
        to_tiff(data, tmp_path / "a.tif", progress=False)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "dims", [("y", "x"), ("channel", "y", "x"), ("plane", "y", "x"), ("channel", "plane", "y", "x")]
)
def test_images(tmp_path, dims):
    whole = movie("frames", "channel", "plane", "y", "x", dtype="float32")
    single = {dim: 0 for dim in ("channel", "plane") if dim not in dims}
    data = whole.isel(frames=2, **single)
    path = to_tiff(data, tmp_path / "a.tif", progress=False)
    xr.testing.assert_identical(restored(path), data)
    shown = [dim for dim in ("plane", "channel", "y", "x") if dim in dims]
    np.testing.assert_array_equal(stored(path)[0], data.transpose(*shown).values)


@pytest.mark.parametrize(
    "dtype",
    ["u1", "u2", "u4", "i1", "i2", "i4", "f4", "f8", "f2", "bool", ">u2", ">f4"],
)
def test_types(tmp_path, dtype):
    data = movie("frames", "y", "x", dtype=dtype)
    path = to_tiff(data, tmp_path / "a.tif", progress=False)
    back = restored(path)
    xr.testing.assert_equal(back, data)
    assert back.dtype == np.dtype(dtype).newbyteorder("=")
    kind = {"f2": "f4", "bool": "u1"}.get(dtype, dtype)
    assert stored(path)[0].dtype == np.dtype(kind).newbyteorder("=")


def test_nan_and_infinity_stay(tmp_path):
    data = movie("frames", "y", "x", dtype="float32")
    data[0, 0, :3] = [np.nan, np.inf, -np.inf]
    xr.testing.assert_identical(restored(to_tiff(data, tmp_path / "a.tif", progress=False)), data)


@pytest.mark.parametrize("dtype", ["int64", "uint64", "complex64"])
def test_types_without_a_place_are_refused(tmp_path, dtype):
    with pytest.raises(ArgumentError, match=f"{dtype} is none of these"):
        to_tiff(movie("frames", "y", "x", dtype=dtype), tmp_path / "a.tif")
    assert names(tmp_path) == []


def test_another_type_on_request(tmp_path):
    data = movie("frames", "y", "x", dtype="float64") + 0.4
    path = to_tiff(data, tmp_path / "a.tif", dtype="uint8", progress=False)
    back = restored(path)
    np.testing.assert_array_equal(back, np.rint(data.values))
    assert back.dtype == np.uint8
    assert back.attrs["history"].splitlines()[-1].endswith('to_tiff {"dtype": "uint8"}')
    assert "to_tiff" not in data.attrs["history"]


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize(
    ("dtype", "value"), [("u1", np.nan), ("u1", 255.6), ("u1", -1), ("i2", 1e9), ("f4", 1e60)]
)
def test_values_that_do_not_fit_are_refused(tmp_path, lazy, dtype, value):
    data = movie("frames", "y", "x", dtype="float64")
    data[3, 2, 1] = value
    with pytest.raises(ArgumentError, match="do not fit"):
        to_tiff(data.chunk() if lazy else data, tmp_path / "a.tif", dtype=dtype, progress=False)
    assert names(tmp_path) == []


def test_every_block_is_computed_once_and_few_at_a_time(tmp_path):
    calls, waiting, most = [], set(), []
    lock = threading.Lock()

    def block(template, block_info=None):
        if template.size:
            with lock:
                calls.append(block_info[0]["chunk-location"])
                waiting.add(threading.get_ident())
                most.append(len(waiting))
        return template

    data = movie("frames", "channel", "y", "x", frames=20)
    lazy = da.from_array(data.values, chunks=(2, 1, 8, 10)).map_blocks(block, dtype="u2")
    with dask.config.set(scheduler="threads", num_workers=2):
        path = to_tiff(data.copy(data=lazy), tmp_path / "set", max_file_bytes=25_000)
    assert len(calls) == len(set(calls)) == 20
    assert len(names(path)) > 1


def test_arrays_on_disk_are_read_in_pieces(tmp_path, monkeypatch):
    source = movie("frames", "y", "x", frames=40)
    tifffile.imwrite(tmp_path / "in.tif", source.values, photometric="minisblack")
    data = cs.ImagingSession.open(tmp_path / "in.tif", frame_rate=5, chunks=None).movie
    sizes = []
    real = raw_blocks.on_host
    monkeypatch.setattr(raw_blocks, "on_host", lambda b: (sizes.append(b.nbytes), real(b))[1])
    with set_options(chunk_bytes=8 * 160):
        path = to_tiff(data, tmp_path / "out.tif", progress=False)
    assert sizes == [8 * 160] * 5
    np.testing.assert_array_equal(stored(path)[0], source.values)


def test_the_pixels_lie_in_one_run(tmp_path):
    data = movie("frames", "channel", "y", "x")
    path = to_tiff(data, tmp_path / "a.tif", progress=False)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_bigtiff
        at = [page.dataoffsets for page in tiff.pages]
        assert at == [(at[0][0] + 160 * page,) for page in range(12)]
        assert tiff.pages[0].get_resolution("CENTIMETER") == pytest.approx((3e4, 1e4 / 0.7))
    assert data.values.transpose(0, 1, 2, 3).tobytes() in path.read_bytes()


def test_two_writes_are_the_same_bytes(tmp_path):
    data = movie("frames", "y", "x", frames=20)
    for name in "ab":
        (tmp_path / name).mkdir()
        to_tiff(data, tmp_path / name / "m.tif", progress=False)
        to_tiff(data, tmp_path / name / "set", max_file_bytes=30_000, progress=False)
    for file in sorted((tmp_path / "a").rglob("*.tif")):
        other = tmp_path / "b" / file.relative_to(tmp_path / "a")
        assert file.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    ("dims", "limit"), [(ALL_DIMS[0], 25_000), (ALL_DIMS[3], 150_000)], ids=["page", "many pages"]
)
def test_sets_of_files(tmp_path, dims, limit):
    data = movie(*dims, frames=60)
    data = data.copy(data=data.chunk({"frames": 7}).data)
    folder = to_tiff(data, tmp_path / "day 1", max_file_bytes=limit, progress=False)
    files = sorted(folder.iterdir())
    assert len(files) > 2
    width = len(str(len(files)))
    assert [f.name for f in files] == [
        f"day 1_{at:0{width}d}.ome.tif" for at in range(1, len(files) + 1)
    ]
    assert max(file.stat().st_size for file in files) <= limit
    shown = [dim for dim in ("frames", "plane", "channel", "y", "x") if dim in dims]
    for file in files:  # another program may open any of them
        np.testing.assert_array_equal(stored(file)[0], data.transpose(*shown).values)
    pages = [page for file in files for page in _pages(file)]
    assert len(pages) == data.size // 80
    labels = restore(_description(files[0]), files[0])
    values = np.array(pages).reshape([data.sizes[dim] for dim in shown])
    xr.testing.assert_identical(labels.label(xr.Variable(shown, values)), data.compute())
    assert restore(_description(files[1])) is None


def _pages(file):
    with tifffile.TiffFile(file, is_ome=False) as tiff:
        return [page.asarray() for page in tiff.pages]


def _description(file):
    with tifffile.TiffFile(file, is_ome=False) as tiff:
        return tiff.pages[0].description


def test_dimensions_in_any_order(tmp_path):
    data = movie("frames", "channel", "y", "x").transpose("x", "channel", "frames", "y")
    for lazy in (data, data.chunk({"x": 3, "frames": 2})):
        path = to_tiff(lazy, tmp_path / f"{lazy.chunks is None}.tif", progress=False)
        xr.testing.assert_identical(restored(path), data)


def test_long_labels_stand_in_pieces_that_xml_parsers_take(tmp_path, monkeypatch):
    monkeypatch.setattr(ome_xml, "_PIECE", 100)
    data = movie("frames", "y", "x")
    path = to_tiff(data, tmp_path / "a.tif", progress=False)
    texts = [e.text for e in ElementTree.fromstring(stored(path)[2]).iter(f"{OME}Value")]
    assert max(map(len, texts)) == 100
    xr.testing.assert_identical(restored(path), data)


def test_times_of_very_many_pages_are_in_the_labels_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(ome_xml, "MOST_PLANES", 5)
    data = movie("frames", "y", "x")
    path = to_tiff(data, tmp_path / "a.tif", progress=False)
    assert "DeltaT" not in stored(path)[2]
    xr.testing.assert_identical(restored(path), data)


def test_a_frame_larger_than_a_file_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match=r"need \d+ bytes, more than max_file_bytes=2000"):
        to_tiff(movie("frames", "y", "x"), tmp_path / "set", max_file_bytes=2000)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "options"), [("movie", {}), ("movie.zarr", {}), ("m.tif", {"max_file_bytes": 10**6})]
)
def test_names_that_mislead_are_refused(tmp_path, name, options):
    with pytest.raises(ArgumentError, match="to_tiff needs"):
        to_tiff(movie("frames", "y", "x"), tmp_path / name, **options)


def test_other_arrays_are_refused(tmp_path):
    for data in (cs.from_numpy(np.zeros((2, 3)), frame_rate=1), movie("frames", "y", "x")[:0]):
        with pytest.raises(DimensionError, match="to_tiff"):
            to_tiff(data, tmp_path / "a.tif")
    with pytest.raises(ArgumentError, match="image takes no max_file_bytes"):
        to_tiff(movie("frames", "y", "x")[0], tmp_path / "a", max_file_bytes=10**6)


def test_attributes_that_cannot_be_carried_are_named(tmp_path):
    data = movie("frames", "y", "x").assign_attrs(lens=object())
    with pytest.raises(StoreError, match=r"traces\.lens|movie\.lens"):
        to_tiff(data, tmp_path / "a.tif")
    assert names(tmp_path) == []


def test_existing_targets_stay(tmp_path):
    (tmp_path / "a.tif").write_text("mine")
    with pytest.raises(TargetExistsError):
        to_tiff(movie("frames", "y", "x"), tmp_path / "a.tif")
    assert (tmp_path / "a.tif").read_text() == "mine"


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("at", [0, 2])
def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch, several, at):
    calls = []
    real = RawBlocks.__setitem__

    def full(self, index, block):
        calls.append(index)
        if len(calls) == at + 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, index, block)

    monkeypatch.setattr(RawBlocks, "__setitem__", full)
    data = movie("frames", "y", "x", frames=60).chunk({"frames": 10})
    options = {"max_file_bytes": 30_000} if several else {}
    with pytest.raises(StoreError, match="the disk is full"):
        to_tiff(data, tmp_path / ("set" if several else "a.tif"), progress=False, **options)
    assert names(tmp_path) == []


def test_free_space_is_asked_for_first(tmp_path, monkeypatch):
    usage = output.shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(output.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(StoreError, match="100 bytes of free space, 960 are needed"):
        to_tiff(movie("frames", "y", "x"), tmp_path / "a.tif")


def test_a_missing_folder_is_named(tmp_path):
    for name, options in (("a.tif", {}), ("a", {"max_file_bytes": 10**6})):
        with pytest.raises(StoreError, match="no such folder"):
            to_tiff(movie("frames", "y", "x"), tmp_path / "no" / name, **options)


def test_errors_of_the_movie_pass(tmp_path):
    def fail(block):
        if block.size:
            raise RecordingError("frame 3 is damaged")
        return block

    data = movie("frames", "y", "x")
    lazy = data.copy(data=da.from_array(data.values).map_blocks(fail, dtype="u2", meta=data.values))
    with pytest.raises(RecordingError, match="frame 3"):
        to_tiff(lazy, tmp_path / "a.tif", progress=False)
    assert names(tmp_path) == []


def test_progress_is_shown(tmp_path, capsys):
    to_tiff(movie("frames", "y", "x").chunk(), tmp_path / "a.tif", progress=True)
    assert "writing a.tif" in capsys.readouterr().err


def test_damaged_labels_are_an_error():
    text = f'<CommentAnnotation Namespace="{LABELS_NAMESPACE}"><Value>{{"calscipy</Value>'
    with pytest.raises(RecordingError, match=r"m\.tif.*damaged"):
        restore(text, "m.tif")
    assert restore("<OME><Value>{}</Value></OME>") is None
    assert restore(text.replace("</Value>", "")) is None


def test_blocks_pickle_and_can_be_written_twice(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(10 + 4 * 5 * 6 * 2))
    target = pickle.loads(pickle.dumps(RawBlocks(path, 10, (4, 5, 6), np.dtype("<u2"))))
    values = np.random.default_rng(0).integers(0, 2**16, (4, 5, 6)).astype("u2")
    blocks = da.from_array(values, chunks=((1, 3), (2, 2, 1), (4, 2)))
    for _ in range(2):
        da.store(blocks, target, lock=False)
    found = np.fromfile(path, "<u2", offset=10).reshape(4, 5, 6)
    np.testing.assert_array_equal(found, values)
    assert path.read_bytes()[:10] == bytes(10)
    assert path.stat().st_size == 250


@pytest.mark.parametrize("value", [0.5, 1.5, 254.5, 255.4])
def test_halves_round_as_numpy_does(value):
    assert fitted(np.array([value]), np.dtype("u1")) == np.rint(value)


def test_type_changes_that_hold_every_value_need_no_look():
    assert fitted(np.array([3], "u1"), np.dtype("i2")).dtype == "i2"
    assert fitted(np.array([], "f8"), np.dtype("u1")).dtype == "u1"
    assert fitted(np.array([2**40]), np.dtype("f4")) == 2**40
    with pytest.raises(ArgumentError, match="from -1 to -1"):
        fitted(np.array([-1]), np.dtype("u4"))
