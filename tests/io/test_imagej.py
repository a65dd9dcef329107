"""ROIs of ImageJ against a slow rasterisation, and files that are damaged or hostile."""

import io
import struct
import tracemalloc
import warnings
import zipfile

import dask
import numpy as np
import pytest
import roifile
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE, ImagejRoi

import calscipy as cs
from calscipy.errors import ArgumentError, RoiError
from calscipy.io import imagej
from calscipy.io.imagej import rois_from_imagej

SHAPE = (20, 24)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def polygon(points, kind=ROI_TYPE.POLYGON, name="", **changes):
    roi = ImagejRoi.frompoints(points, name=name or None)
    roi.name, roi.roitype = name, kind
    return with_fields(roi, **changes)


def box(kind, left, top, right, bottom, **changes):
    roi = ImagejRoi()
    roi.roitype = kind
    roi.left, roi.top, roi.right, roi.bottom = left, top, right, bottom
    return with_fields(roi, **changes)


def broken_box(kind, x, y, width, height):
    """A rectangle or oval between pixels."""
    whole = [round(v) for v in (x, y, x + width, y + height)]
    roi = box(kind, *whole, options=ROI_OPTIONS.SUB_PIXEL_RESOLUTION)
    return with_fields(roi, xd=x, yd=y, widthd=width, heightd=height)


def composite(numbers, **changes):
    path = np.array(numbers, "f4")
    return box(
        ROI_TYPE.RECT, 0, 0, 9, 9, shape_roi_size=path.size, multi_coordinates=path, **changes
    )


def with_fields(roi, **changes):
    for name, value in changes.items():
        setattr(roi, name, value)
    return roi


def write(path, *rois):
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for k, roi in enumerate(rois):
                archive.writestr(f"{roi.name or f'{k:04}'}.roi", roi.tobytes())
    else:
        path.write_bytes(rois[0].tobytes())
    return path


def read(path, **options):
    return rois_from_imagej(path, **{"image_shape": SHAPE, **options})


def image_of(tmp_path, roi, **options):
    rois = read(write(tmp_path / "one.roi", roi), **options)
    image = np.zeros(options.get("image_shape", SHAPE), bool)
    image[rois.y.values, rois.x.values] = True
    assert image.sum() == rois.sizes["pixel"]
    return image


def slow_polygon(paths):
    """Count the edges to the left of every centre, one by one."""
    image = np.zeros(SHAPE, bool)
    for r, c in np.ndindex(*SHAPE):
        y, x = r + 0.5, c + 0.5
        for path in paths:
            for (x0, y0), (x1, y1) in zip(path, [*path[1:], path[0]], strict=True):
                if (y0 <= y) != (y1 <= y) and x0 + (y - y0) / (y1 - y0) * (x1 - x0) + 1e-9 < x:
                    image[r, c] ^= True
    return image


def slow(inside):
    return np.array([[inside(r + 0.5, c + 0.5) for c in range(SHAPE[1])] for r in range(SHAPE[0])])


# -- shapes --------------------------------------------------------------------------------

corners = st.lists(st.tuples(st.integers(0, 24), st.integers(0, 20)), min_size=3, max_size=9)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    corners,
    st.sampled_from([ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED]),
    st.sampled_from([0, 0.31]),
)
def test_polygons_of_every_kind(tmp_path_factory, points, kind, shift):
    path = tmp_path_factory.mktemp("polygon") / "one.roi"
    points = [(max(x - shift, 0), max(y - shift, 0)) for x, y in points]
    write(path, polygon(np.array(points), kind))
    expected = slow_polygon([points])
    if not expected.any():
        with pytest.raises(RoiError, match="no centre of a pixel in its outline"):
            read(path)
        return
    rois = read(path)
    image = np.zeros(SHAPE, bool)
    image[rois.y.values, rois.x.values] = True
    np.testing.assert_array_equal(image, expected)


def test_rectangles_and_ovals(tmp_path):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    found = image_of(tmp_path, box(ROI_TYPE.RECT, 3, 4, 9, 6))
    np.testing.assert_array_equal(found, (x >= 3) & (x < 9) & (y >= 4) & (y < 6))
    found = image_of(tmp_path, box(ROI_TYPE.OVAL, 3, 4, 14, 12))
    expected = slow(lambda y, x: ((x - 8.5) / 5.5) ** 2 + ((y - 8) / 4) ** 2 <= 1)
    np.testing.assert_array_equal(found, expected)
    found = image_of(tmp_path, broken_box(ROI_TYPE.OVAL, 3.3, 4.2, 9.75, 12.1))
    expected = slow(lambda y, x: ((x - 8.175) / 4.875) ** 2 + ((y - 10.25) / 6.05) ** 2 <= 1)
    np.testing.assert_array_equal(found, expected)
    found = image_of(tmp_path, broken_box(ROI_TYPE.RECT, 3.6, 4.2, 5, 2))
    np.testing.assert_array_equal(found, slow(lambda y, x: 3.6 < x <= 8.6 and 4.2 <= y < 6.2))
    found = image_of(tmp_path, box(ROI_TYPE.RECT, 2, 2, 12, 10, rounded_rect_arc_size=6))
    assert not found[2, 2]
    assert found[2, 5:9].all()
    assert (
        found.sum()
        == slow(
            lambda y, x: (
                2 < x < 12
                and 2 < y < 10
                and max(abs(x - 7) - 2, 0) ** 2 + max(abs(y - 6) - 1, 0) ** 2 <= 9
            )
        ).sum()
    )


def test_composites_keep_their_holes_and_parts(tmp_path):
    square = [(2, 2), (12, 2), (12, 12), (2, 12)]
    hole = [(4, 4), (4, 8), (8, 8), (8, 4)]
    apart = [(14, 1), (18, 1), (16, 7)]
    numbers = []
    for path in (square, hole, apart):
        numbers += [0, *path[0], *(n for point in path[1:] for n in (1, *point)), 4]
    found = image_of(tmp_path, composite(numbers))
    np.testing.assert_array_equal(found, slow_polygon([square, hole, apart]))
    assert not found[5, 5]
    # Not closed, as the last path may be, and closed twice without a move between.
    np.testing.assert_array_equal(image_of(tmp_path, composite(numbers[:-1])), found)
    triangles = [0, 2, 2, 1, 8, 2, 1, 8, 8, 4, 1, 2, 8, 1, 4, 8, 4]
    np.testing.assert_array_equal(
        image_of(tmp_path, composite(triangles)),
        slow_polygon([[(2, 2), (8, 2), (8, 8)], [(2, 2), (2, 8), (4, 8)]]),
    )


def test_curves_of_composites(tmp_path):
    """A disc of four cubic curves, and the area under a parabola."""
    r, k, cx, cy = 7.0, 7 * 0.5522847498, 11.0, 10.0
    disc = [0, cx + r, cy]
    for a, b in (((1, 0), (0, 1)), ((0, 1), (-1, 0)), ((-1, 0), (0, -1)), ((0, -1), (1, 0))):
        a, b = np.array(a), np.array(b)
        points = np.add([r * a + k * b, r * b + k * a, r * b], [cx, cy])
        disc += [3, *points.ravel()]
    found = image_of(tmp_path, composite([*disc, 4]))
    np.testing.assert_array_equal(found, slow(lambda y, x: np.hypot(x - cx, y - cy) <= r))
    hill = [0, 1, 15, 2, 11, -9, 21, 15, 4]
    found = image_of(tmp_path, composite(hill))
    expected = slow(lambda y, x: 15 - 24 * ((x - 1) / 20) * (1 - (x - 1) / 20) * 2 < y < 15)
    np.testing.assert_array_equal(found, expected)


def test_ellipses_and_turned_rectangles_are_their_polygons(tmp_path):
    angle = np.linspace(0, 2 * np.pi, 61)[:-1]
    points = np.column_stack([10 + 7 * np.cos(angle), 9 + 4 * np.sin(angle + 0.4)]).astype("f4")
    for subtype in (ROI_SUBTYPE.ELLIPSE, ROI_SUBTYPE.ROTATED_RECT):
        roi = polygon(points, ROI_TYPE.FREEHAND, subtype=subtype, x1=3.0, y1=9.0, x2=17.0, y2=9.0)
        found = image_of(tmp_path, roi)
        np.testing.assert_array_equal(found, slow_polygon([[*map(tuple, points.tolist())]]))


# -- files ---------------------------------------------------------------------------------


def test_a_zip_file_of_rois(tmp_path):
    path = tmp_path / "RoiSet.zip"
    roifile.roiwrite(
        path,
        [
            box(ROI_TYPE.RECT, 0, 0, 2, 1, name="left µ"),
            box(ROI_TYPE.OVAL, 0, 0, 1, 1, name="dot"),
            polygon([[4, 4], [6, 4], [6, 5], [4, 5]], name="dot 2"),
        ],
    )
    rois = read(path)
    assert rois.neuron.values.tolist() == [0, 0, 1, 2, 2]
    assert rois.x.values.tolist() == [0, 1, 0, 4, 5]
    assert rois.y.values.tolist() == [0, 0, 0, 4, 4]
    assert rois.roi_name.values.tolist() == ["left µ", "left µ", "dot", "dot 2", "dot 2"]
    assert rois.attrs["image_shape"] == list(SHAPE)
    assert rois.dtype == np.float32
    assert (rois == 1).all()
    assert "plane" not in rois.coords


def test_names_come_from_the_file_where_the_roi_has_none(tmp_path):
    rect = box(ROI_TYPE.RECT, 0, 0, 1, 1)
    assert read(write(tmp_path / "soma.roi", rect)).roi_name.item() == "soma"
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("folder/0012.roi", rect.tobytes())
        archive.writestr("0012.roi", box(ROI_TYPE.RECT, 5, 5, 6, 6).tobytes())
    rois = read(path)
    assert rois.roi_name.values.tolist() == ["0012", "0012"]
    assert rois.x.values.tolist() == [0, 5]


def test_traces_of_imagej_rois_and_a_store(tmp_path):
    movie = cs.from_numpy(
        np.random.default_rng(0).poisson(50, (4, *SHAPE)).astype("u2"), frame_rate=5
    )
    path = write(
        tmp_path / "set.zip",
        box(ROI_TYPE.RECT, 3, 4, 9, 6, name="a"),
        box(ROI_TYPE.RECT, 5, 5, 7, 9, name="b"),
    )
    traces = movie.cs.extract(read(path, image_shape=movie.shape[-2:]))
    expected = [movie.values[:, 4:6, 3:9].mean((1, 2)), movie.values[:, 5:9, 5:7].mean((1, 2))]
    np.testing.assert_allclose(traces, expected, rtol=1e-6)
    session = cs.ImagingSession(xr.DataTree()).assign(rois=read(path))
    session.save(tmp_path / "m.zarr")
    xr.testing.assert_identical(cs.ImagingSession.open(tmp_path / "m.zarr").rois.load(), read(path))


def test_what_file_systems_add_is_no_roi(tmp_path):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.mkdir("folder")
        archive.writestr("__MACOSX/folder/._a.roi", b"x")
        archive.writestr("folder/.DS_Store", b"x")
        archive.writestr("folder/a.roi", box(ROI_TYPE.RECT, 0, 0, 1, 1).tobytes())
    assert read(path).sizes["pixel"] == 1
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("notes.txt", b"x")
    with pytest.raises(RoiError, match=r"member 'notes.txt' is no \.roi file"):
        read(path)


# -- planes --------------------------------------------------------------------------------


def test_planes(tmp_path):
    rects = [box(ROI_TYPE.RECT, k, 0, k + 1, 1, name=f"r{k}") for k in range(3)]
    path = tmp_path / "set.zip"
    in_hyperstack = [with_fields(r, z_position=k + 1, t_position=9) for k, r in enumerate(rects)]
    assert read(write(path, *in_hyperstack)).plane.values.tolist() == [0, 1, 2]
    assert read(path, plane=4).plane.values.tolist() == [4, 4, 4]
    with pytest.raises(RoiError, match=r"3 of 3 ROIs have no slice \(r0, r1, r2\)"):
        read(path, plane="slice")
    rects[1].z_position = 0
    with pytest.raises(RoiError, match=r"1 of 3 ROIs have no z position \(r1\).*plane="):
        read(write(path, *rects))
    in_stack = [with_fields(r, z_position=0, position=3 - k) for k, r in enumerate(rects)]
    assert "plane" not in read(write(path, *in_stack)).coords  # its slices may be frames
    assert read(path, plane="slice").plane.values.tolist() == [2, 1, 0]
    assert read(path, plane=np.uint8(4)).plane.values.tolist() == [4, 4, 4]
    for wrong in ("t", True, 0.5, None, 1.7, np.array([1, 2]), np.array(["z"]), 2**70, -1):
        with pytest.raises(RoiError, match="plane must be 'z', 'slice' or a whole number from 0"):
            read(path, plane=wrong)


# -- errors --------------------------------------------------------------------------------


def test_outlines_that_leave_the_image(tmp_path):
    roi = box(ROI_TYPE.RECT, -3, 15, 4, 22, name="edge")
    with pytest.raises(
        RoiError, match=r"'edge'.* x=-3, y=15 to x=4, y=22, out of.* 20 x 24 pixels"
    ):
        image_of(tmp_path, roi)
    found = image_of(tmp_path, roi, outside="clip")
    assert found.sum() == found[15:, :4].sum() == 20
    up = polygon([[10, -4], [20, 6], [10, 6]])
    np.testing.assert_array_equal(
        image_of(tmp_path, up, outside="clip"), slow_polygon([[(10, -4), (20, 6), (10, 6)]])
    )
    far = box(ROI_TYPE.RECT, 40, 40, 44, 44, name="far")
    for outside in ("error", "clip"):
        with pytest.raises(RoiError, match="'far'"):
            image_of(tmp_path, far, outside=outside)
    whole = box(ROI_TYPE.RECT, 0, 0, 24, 20)
    assert image_of(tmp_path, whole).all()
    with pytest.raises(RoiError, match="out of the image of 24 x 20"):  # swapped
        image_of(tmp_path, whole, image_shape=(24, 20))
    with pytest.raises(ArgumentError, match="outside must be one of"):
        image_of(tmp_path, whole, outside="drop")
    with pytest.raises(RoiError, match="two whole numbers above 0"):
        image_of(tmp_path, whole, image_shape=(24, 0))


def test_huge_outlines_cost_no_more_than_the_image(tmp_path):
    points = np.array([[-1e30, -1e30], [1e30, -1e30], [1e30, 1e30], [-1e30, 1e30]], "f4")
    roi = polygon([[0, 0], [9, 0], [9, 9], [0, 9]], options=ROI_OPTIONS.SUB_PIXEL_RESOLUTION)
    roi.subpixel_coordinates = points
    assert image_of(tmp_path, roi, outside="clip").all()
    roi.subpixel_coordinates = points * np.float32("nan")
    with pytest.raises(RoiError, match="not finite"):
        image_of(tmp_path, roi, outside="clip")


POINTS = [[1, 1], [5, 1], [5, 5]]


@pytest.mark.parametrize(
    ("roi", "message"),
    [
        (polygon(POINTS, ROI_TYPE.POINT, "cell"), r"\(ROI 'cell'\) is of the ImageJ type POINT"),
        (polygon(POINTS, ROI_TYPE.POLYLINE), "type POLYLINE, which has no area"),
        (polygon(POINTS, ROI_TYPE.FREELINE), "type FREELINE"),
        (polygon(POINTS, ROI_TYPE.ANGLE), "type ANGLE"),
        (box(ROI_TYPE.LINE, 0, 0, 5, 5, x2=5.0), "type LINE"),
        (box(ROI_TYPE.NOROI, 0, 0, 5, 5), "type NOROI"),
        (box(ROI_TYPE.RECT, 0, 0, 5, 5, subtype=ROI_SUBTYPE.TEXT, text="x"), "type TEXT"),
        (
            box(ROI_TYPE.LINE, 0, 0, 5, 5, subtype=ROI_SUBTYPE.ARROW, x2=5.0),
            "type ARROW",
        ),
        (polygon(POINTS, options=ROI_OPTIONS.SPLINE_FIT), "is a spline"),
        (polygon(POINTS[:2]), "an outline of 2 points"),
        (polygon([[1, 1], [5, 1], [3, 1]]), "no centre of a pixel in its outline"),
        (box(ROI_TYPE.RECT, 5, 5, 5, 9), "no centre of a pixel"),
        (box(ROI_TYPE.OVAL, 9, 9, 5, 5), "no centre of a pixel"),
        (polygon(POINTS, shape_roi_size=7), "type POLYGON"),
        (composite([1, 2, 2, 1, 3, 3, 4]), "damaged at the command 1, number 0 of 7"),
        (composite([0, 2, 2, 1, 3]), "damaged at the command 1, number 3 of 5"),
        (composite([0, 2, 2, 7, 3, 3]), "damaged at the command 7"),
        (composite([0, 2, 2, 0.5, 3, 3]), "damaged at the command 0.5"),
        (composite([0, 2, 2, np.nan, 3, 3]), "damaged at the command nan"),
        (composite([0, 2, 2, 1, 3, 3, 4]), "has no area"),
    ],
)
def test_rois_without_an_area_are_named(tmp_path, roi, message):
    for name in ("one.roi", "set.zip"):
        with pytest.raises(RoiError, match=f"{name}.*{message}"):
            read(write(tmp_path / name, roi))


def test_damaged_rois_are_named(tmp_path):
    good = polygon(POINTS).tobytes()
    path = tmp_path / "set.zip"
    many = bytearray(good)
    many[16:18] = struct.pack(">H", 60000)
    for data in (good[:40], b"Iout", b"nonsense" * 20, good[:70], bytes(many), b""):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.roi", good)
            archive.writestr("b.roi", data)
        with pytest.raises(RoiError, match=r"set\.zip, member 'b\.roi': damaged"):
            read(path)
    path = tmp_path / "one.roi"
    path.write_bytes(good[:70])
    with pytest.raises(RoiError, match=r"one\.roi: damaged"):
        read(path)


def test_random_bytes_never_raise_anything_else(tmp_path):
    """Bytes of good ROIs are changed at random."""
    rng = np.random.default_rng(0)
    good = [
        polygon(POINTS, name="abc"),
        polygon(np.array(POINTS) + 0.5, name="abc"),
        composite([0, 2, 2, 1, 9, 2, 3, 9, 9, 4, 4, 2, 9, 4]),
        broken_box(ROI_TYPE.OVAL, 3.3, 4.2, 9.75, 12.1),
    ]
    path = tmp_path / "one.roi"
    refused = 0
    for k in range(400):
        data = bytearray(good[k % 4].tobytes())
        for at in rng.integers(4, len(data), rng.integers(1, 4)):
            data[at] = rng.integers(0, 256)
        path.write_bytes(data)
        try:
            rois = read(path, outside="clip")
            assert rois.sizes["pixel"] <= SHAPE[0] * SHAPE[1]
        except RoiError:
            refused += 1
    assert 40 < refused < 400


def test_damaged_zip_files_are_named(tmp_path):
    path = write(tmp_path / "set.zip", polygon(POINTS, name="a"), polygon(POINTS, name="b"))
    good = path.read_bytes()
    at = good.index(polygon(POINTS, name="b").tobytes())
    path.write_bytes(good[: at + 20] + b"\x55\xaa" + good[at + 22 :])
    with pytest.raises(RoiError, match=r"member 'b\.roi' is damaged \(Bad CRC"):
        read(path)
    path.write_bytes(good[:-30])
    with pytest.raises(RoiError, match=r"set\.zip: a damaged zip file"):
        read(path)
    encrypted = bytearray(good)
    encrypted[encrypted.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(encrypted)
    with pytest.raises(RoiError, match=r"member 'a\.roi' is damaged \(.*encrypted"):
        read(path)
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    path.write_bytes(empty.getvalue())
    with pytest.raises(RoiError, match="no ROI in it"):
        read(path)
    path.write_bytes(b"GIF89a")
    with pytest.raises(RoiError, match="neither an ImageJ ROI nor a zip"):
        read(path)
    with pytest.raises(RoiError, match="no such file"):
        read(tmp_path)


def test_files_larger_than_any_of_imagej_are_refused(tmp_path, monkeypatch):
    bomb = tmp_path / "set.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.roi", bytes(imagej.MAX_MEMBER_BYTES + 1))
    assert bomb.stat().st_size < 10**5
    with pytest.raises(RoiError, match=r"member 'a\.roi': 16777217 bytes, no ROI is that large"):
        read(bomb)
    write(bomb, *[polygon(POINTS, name=str(k)) for k in range(3)])
    for limit, message in (
        ("MAX_MEMBERS", "3 members of"),
        ("MAX_BYTES", "3 members of"),
        ("MAX_RESULT_BYTES", "more than 2 bytes of pixels"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(imagej, limit, 2)
            with pytest.raises(RoiError, match=message):
                read(bomb)
    with pytest.raises(RoiError, match=r"one\.roi: a name of 256 characters"):
        read(write(tmp_path / "one.roi", polygon(POINTS, name="n" * 256)))
    with monkeypatch.context() as patch:
        patch.setattr(imagej, "MAX_MEMBER_BYTES", 20)
        with pytest.raises(RoiError, match="no ROI is that large"):
            read(write(tmp_path / "one.roi", polygon(POINTS)))


def test_long_names_of_many_pixels_are_refused_before_they_are_repeated(tmp_path):
    path = tmp_path / "set.zip"
    wide = box(ROI_TYPE.RECT, 0, 0, 512, 512, name="n" * 250).tobytes()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for k in range(20):
            archive.writestr(f"{k}.roi", wide)
    tracemalloc.start()
    try:
        with pytest.raises(RoiError, match="repeats a name of up to 250 characters"):
            read(path, image_shape=(512, 512))
        assert tracemalloc.get_traced_memory()[1] < 2**28
    finally:
        tracemalloc.stop()
    write(path, *[polygon(POINTS, name="n" * n) for n in (250, 1)])
    assert read(path).roi_name.values[-1] == "n"


def test_composites_of_very_many_points_are_refused_early(tmp_path):
    many = 100_000
    numbers = np.concatenate([[0, 1, 1], np.tile([3, 1, 50, 50, 50, 50, 1], many), [4]])
    with pytest.raises(RoiError, match="more than 1048576 points"):
        image_of(tmp_path, composite(numbers), image_shape=(128, 128))
    few = np.concatenate([[0, 0, 0], np.tile([1, 4, 0, 1, 4, 4], 5000), [1, 0, 4, 4]])
    assert image_of(tmp_path, composite(few)).sum() == 16


@pytest.mark.parametrize("name", ["../../evil.roi", "/evil.roi", "C:\\evil.roi", "a/../../b.roi"])
def test_names_of_members_lead_nowhere(tmp_path, name):
    inner = tmp_path / "inner"
    inner.mkdir()
    path = inner / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, box(ROI_TYPE.RECT, 0, 0, 1, 1).tobytes())
    before = sorted(tmp_path.rglob("*"))
    assert read(path).sizes["pixel"] == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_members_of_one_name_are_all_read(tmp_path):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k in range(2):
            archive.writestr("a.roi", box(ROI_TYPE.RECT, k, 0, k + 1, 1).tobytes())
    assert read(path).x.values.tolist() == [0, 1]
