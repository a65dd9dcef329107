"""OME-TIFF: sizes, names, times and pages from the metadata, in one file and in sets of them."""

import re
import warnings

import numpy as np
import pytest
import tifffile

from calscipy import from_numpy, model
from calscipy.errors import (
    ArgumentError,
    CalscipyWarning,
    DamagedRecordingWarning,
    RecordingError,
)
from calscipy.io.tiff import open_tiff
from calscipy.io.tiff_writer import to_tiff

SHAPE = (6, 10)
SIZES = {"X": 10, "Y": 6}


def images(count, seed=0):
    return np.random.default_rng(seed).integers(0, 2**16, (count, *SHAPE), "uint16")


def movie(path, **options):
    return open_tiff(path, **options)[model.MOVIE][model.MOVIE]


def attributes(said):
    return "".join(f' {key}="{value}"' for key, value in said.items())


def xml(sizes, inside="", order="XYCZT", root="", extra="", **said):
    """Metadata of one movie; ``sizes`` are those of C, Z and T."""
    pixels = {f"Size{dim}": n for dim, n in (SIZES | sizes).items()} | said
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/'
        f'OME/2016-06"{root}>{extra}<Image ID="Image:0"><Pixels ID="Pixels:0" Type="uint16" '
        f'DimensionOrder="{order}"{attributes(pixels)}>{inside}</Pixels></Image></OME>'
    )


def planes(deltas, unit="s", **more):
    """Planes with their times, from ``{(c, z, t): time}``."""
    return "".join(
        f'<Plane TheC="{c}" TheZ="{z}" TheT="{t}" DeltaT="{time}" DeltaTUnit="{unit}"'
        f"{attributes(more)}/>"
        for (c, z, t), time in deltas.items()
    )


def tiff_data(file=None, uuid="urn:uuid:x", **said):
    if file is None:
        return f"<TiffData{attributes(said)}/>"
    inner = f'<UUID FileName="{file}">{uuid}</UUID>'
    return f"<TiffData{attributes(said)}>{inner}</TiffData>"


def write(path, pages, text):
    tifffile.imwrite(
        path, pages, photometric="minisblack", description=text.encode(), metadata=None
    )
    return path


# One file


def test_everything_that_tifffile_writes(tmp_path):
    data = images(24).reshape(4, 3, 2, *SHAPE)
    metadata = {
        "axes": "TZCYX",
        "Channel": {"Name": ["GCaMP", "tdTomato"]},
        "PhysicalSizeX": 0.5,
        "PhysicalSizeY": 0.25,
        "PhysicalSizeZ": 4,
        "TimeIncrement": 125,
        "TimeIncrementUnit": "ms",
    }
    tifffile.imwrite(tmp_path / "a.ome.tif", data, photometric="minisblack", metadata=metadata)
    found = movie(tmp_path / "a.ome.tif")
    assert found.dims == ("frames", "channel", "plane", "y", "x")
    np.testing.assert_array_equal(found.values, data.swapaxes(1, 2))
    assert found.channel.values.tolist() == ["GCaMP", "tdTomato"]
    assert found.time.values.tolist() == [0, 0.125, 0.25, 0.375]
    assert found.attrs["frame_rate_source"] == "OME metadata"
    assert (float(found.y[1]), float(found.x[1])) == (0.25, 0.5)
    assert found.z.values.tolist() == [0, 4, 8]
    assert found.z.attrs["units"] == "um"
    assert found.valid.values.all()
    np.testing.assert_array_equal(found[1:3, 1, ::2, 2].values, data[1:3, ::2, 1, 2])


@pytest.mark.parametrize("order", ["ZCT", "ZTC", "CTZ", "CZT", "TCZ", "TZC"])
def test_every_order_of_dimensions(tmp_path, order):
    sizes = {"C": 2, "Z": 3, "T": 4}
    pages = images(24)
    path = write(tmp_path / "a.tif", pages, xml(sizes, order=f"XY{order}", TimeIncrement=1))
    found = movie(path)
    folded = pages.reshape(*[sizes[dim] for dim in reversed(order)], *SHAPE)
    axes = [order[::-1].index(dim) for dim in "TCZ"]
    np.testing.assert_array_equal(found.values, folded.transpose(*axes, 3, 4))


@pytest.mark.parametrize(
    ("unit", "microns"), [("mm", 1e3), ("nm", 1e-3), ("µm", 1), ("\u03bcm", 1), ("m", 1e6)]
)
def test_units_of_length(tmp_path, unit, microns):
    said = {f"PhysicalSize{dim}": 2 for dim in "XY"}
    said |= {f"PhysicalSize{dim}Unit": unit for dim in "XY"}
    text = xml({"C": 1, "Z": 1, "T": 2}, TimeIncrement=1, **said)
    found = movie(write(tmp_path / "a.tif", images(2), text))
    assert float(found.x[1]) == pytest.approx(2 * microns, rel=1e-12)


def test_an_unknown_unit_is_no_size(tmp_path):
    said = {"PhysicalSizeX": 2, "PhysicalSizeY": 2, "PhysicalSizeXUnit": "pixel"}
    text = xml({"C": 1, "Z": 1, "T": 2}, TimeIncrement=1, **said)
    assert movie(write(tmp_path / "a.tif", images(2), text)).x.attrs["units"] == "1"


def test_unequal_times_become_the_time_axis(tmp_path):
    times = [3.0, 3.1, 3.2, 4.7, 4.8]
    text = xml(
        {"C": 1, "Z": 1, "T": 5}, planes({(0, 0, t): 1e3 * s for t, s in enumerate(times)}, "ms")
    )
    found = movie(write(tmp_path / "a.tif", images(5), text))
    np.testing.assert_allclose(found.time.values, np.array(times) - 3, rtol=0, atol=1e-12)
    assert "plane_time" not in found.coords


def test_planes_have_times_of_their_own(tmp_path):
    deltas = {
        (c, z, t): t + 0.25 * z + 0.01 * c for c in range(2) for z in range(3) for t in range(2)
    }
    text = xml({"C": 2, "Z": 3, "T": 2}, planes(deltas), PhysicalSizeZ=5)
    found = movie(write(tmp_path / "a.tif", images(12), text))
    assert found.time.values.tolist() == [0, 1]
    assert found.plane_time.dims == ("frames", "plane")
    assert found.plane_time.values.tolist() == [[0, 0.25, 0.5], [1, 1.25, 1.5]]


def test_positions_of_planes_come_before_their_distance(tmp_path):
    heights = "".join(
        f'<Plane TheC="0" TheZ="{z}" TheT="{t}" PositionZ="{h}" PositionZUnit="mm"/>'
        for t in range(2)
        for z, h in enumerate([0.01, 0.013, 0.02])
    )
    text = xml({"C": 1, "Z": 3, "T": 2}, heights, TimeIncrement=1, PhysicalSizeZ=5)
    found = movie(write(tmp_path / "a.tif", images(6), text))
    np.testing.assert_allclose(found.z.values, [10, 13, 20], rtol=1e-12)
    moving = heights.replace('TheT="1" PositionZ="0.01"', 'TheT="1" PositionZ="0.5"')
    text = xml({"C": 1, "Z": 3, "T": 2}, moving, TimeIncrement=1, PhysicalSizeZ=5)
    assert movie(write(tmp_path / "b.tif", images(6), text)).z.values.tolist() == [0, 5, 10]


def test_slices_without_distance_are_frames_when_there_is_one_frame(tmp_path):
    text = xml({"C": 1, "Z": 5, "T": 1}, TimeIncrement=0.5)
    found = movie(write(tmp_path / "a.tif", images(5), text))
    assert found.dims == ("frames", "y", "x")
    stack = xml({"C": 1, "Z": 5, "T": 1}, PhysicalSizeZ=2)
    found = movie(write(tmp_path / "b.tif", images(5), stack))  # one frame needs no rate
    assert found.dims == ("frames", "plane", "y", "x")
    assert found.shape[:2] == (1, 5)


def test_channels_without_names_are_frames_when_there_is_one_frame(tmp_path):
    text = xml({"C": 5, "Z": 1, "T": 1})
    assert movie(write(tmp_path / "a.tif", images(5), text), frame_rate=1).sizes["frames"] == 5
    named = xml({"C": 2, "Z": 1, "T": 1}, '<Channel Name="a"/><Channel Name="b"/>')
    found = movie(write(tmp_path / "b.tif", images(2), named))
    assert found.sizes["frames"] == 1
    assert found.channel.values.tolist() == ["a", "b"]


def test_channels_of_one_name_are_numbered(tmp_path):
    text = xml({"C": 2, "Z": 1, "T": 2}, '<Channel Name="a"/>' * 2, TimeIncrement=1)
    found = movie(write(tmp_path / "a.tif", images(4), text))
    assert found.channel.values.tolist() == ["Ch1", "Ch2"]


# What is said against what is given and what is there


def test_no_rate_is_an_error_that_names_the_option(tmp_path):
    path = write(tmp_path / "a.tif", images(3), xml({"C": 1, "Z": 1, "T": 3}))
    with pytest.raises(ArgumentError, match=r"no frame rate\. Give it in Hz .*frame_rate="):
        movie(path)
    same = planes({(0, 0, t): 0 for t in range(3)})  # says nothing
    path = write(tmp_path / "b.tif", images(3), xml({"C": 1, "Z": 1, "T": 3}, same))
    with pytest.raises(ArgumentError, match="frame_rate="):
        movie(path)


def test_given_numbers_win_with_a_warning(tmp_path):
    said = {"PhysicalSizeX": 2, "PhysicalSizeY": 2, "TimeIncrement": 0.1}
    path = write(tmp_path / "a.tif", images(12), xml({"C": 2, "Z": 3, "T": 2}, **said))
    with pytest.warns(CalscipyWarning, match="state 10 frames in a second, but frame_rate=30"):
        found = movie(path, frame_rate=30)
    np.testing.assert_allclose(found.time.values, [0, 1 / 30])
    assert "frame_rate_source" not in found.attrs
    with pytest.warns(CalscipyWarning, match=r"pixels of 2 x 2 um .*microns_per_pixel=2 x 3"):
        assert float(movie(path, microns_per_pixel=(2, 3)).x[1]) == 3
    with pytest.warns(CalscipyWarning, match="state channels=2 and planes=3, but planes=4 was"):
        found = movie(path, planes=4, frame_rate=1)
    assert found.shape[:2] == (3, 4)
    with (
        pytest.warns(CalscipyWarning, match="planes=4"),
        pytest.raises(ArgumentError, match="frame_rate="),  # 10 Hz is that of other frames
    ):
        movie(path, planes=4)


def test_given_numbers_that_agree_are_no_reason_to_warn(tmp_path):
    said = {"PhysicalSizeX": 2, "PhysicalSizeY": 2, "TimeIncrement": 0.03333}
    path = write(tmp_path / "a.tif", images(12), xml({"C": 2, "Z": 3, "T": 2}, **said))
    found = movie(path, frame_rate=30, channels=["a", "b"], planes=3, microns_per_pixel=2)
    assert found.channel.values.tolist() == ["a", "b"]
    assert found.time.values.tolist() == [0, 1 / 30]


def test_a_given_rate_replaces_unequal_times_with_a_warning(tmp_path):
    deltas = planes({(0, 0, 0): 0, (0, 0, 1): 0.1, (0, 0, 2): 0.2, (0, 0, 3): 0.9})
    path = write(tmp_path / "a.tif", images(4), xml({"C": 1, "Z": 1, "T": 4}, deltas))
    with pytest.warns(CalscipyWarning, match=r"with steps from 0\.1 to 0\.7 s, but frame_rate=10"):
        found = movie(path, frame_rate=10)
    np.testing.assert_allclose(found.time.values, [0, 0.1, 0.2, 0.3])


def test_a_step_that_contradicts_the_times(tmp_path):
    deltas = planes({(0, 0, t): t for t in range(3)})
    text = xml({"C": 1, "Z": 1, "T": 3}, deltas, TimeIncrement=0.1)
    path = write(tmp_path / "a.tif", images(3), text)
    with pytest.warns(
        CalscipyWarning, match="state 10 frames in a second and times with a median step of 1 s"
    ):
        assert movie(path).time.values.tolist() == [0, 1, 2]


def test_times_of_some_frames_alone_are_not_used(tmp_path):
    deltas = planes({(0, 0, 0): 0, (0, 0, 2): 0.2})
    text = xml({"C": 1, "Z": 1, "T": 3}, deltas, TimeIncrement=0.1)
    path = write(tmp_path / "a.tif", images(3), text)
    with pytest.warns(CalscipyWarning, match="do not give the time of 1 of 3 frames"):
        assert movie(path).time.values.tolist() == [0, 0.1, 0.2]


def test_times_that_go_back_are_not_used(tmp_path):
    deltas = planes({(0, 0, t): s for t, s in enumerate([0, 1, 0, 1])})
    text = xml({"C": 1, "Z": 1, "T": 4}, deltas, TimeIncrement=1)
    with pytest.warns(CalscipyWarning, match="start again at frame 2"):
        found = movie(write(tmp_path / "a.tif", images(4), text))
    assert found.time.values.tolist() == [0, 1, 2, 3]
    assert found.epoch.values.tolist() == [1, 1, 2, 2]


def test_a_recording_that_stopped_early(tmp_path):
    text = xml({"C": 2, "Z": 1, "T": 100}, TimeIncrement=1)
    path = write(tmp_path / "a.tif", images(7), text)
    with pytest.warns(DamagedRecordingWarning) as seen:
        found = movie(path)
    messages = sorted(str(one.message) for one in seen)
    assert "1 of 8 images that the OME metadata state are not in the files" in messages[0]
    assert "state 100 frames, the files hold 4" in messages[1]
    assert found.valid.values.tolist() == [[True, True]] * 3 + [[True, False]]
    np.testing.assert_array_equal(found.values[:3].reshape(6, *SHAPE), images(7)[:6])
    assert not found.values[3, 1].any()


@pytest.mark.parametrize(
    ("sizes", "inside", "message"),
    [
        ({"C": 1, "Z": 1, "T": 3}, "", "place 3 of 4 pages in a movie of 1 channels x 1 planes x"),
        ({"C": 1, "Z": 1, "T": 4}, tiff_data(IFD=0, FirstT=4), "C, Z, T = .0, 0, 4. of a movie"),
        (
            {"C": 1, "Z": 1, "T": 4},
            tiff_data(IFD=0, PlaneCount=2) * 2,
            "name some pages or images more than once",
        ),
        (
            {"C": 1, "Z": 1, "T": 4},
            tiff_data(IFD=0, PlaneCount=4) * 2,
            "name some pages more than once",
        ),
        ({"C": 3000, "Z": 300, "T": 1}, '<Channel Name="a"/>', "there are 4 pages"),
        ({"C": 1, "Z": 1, "T": "4.5"}, "", "state SizeT='4.5'"),
        ({"C": 1, "Z": 1, "T": 0}, "", "state SizeT='0'"),
        ({"C": 1, "Z": 1, "T": 10**30}, "", "state SizeT="),
        ({"C": 1, "Z": 1, "T": 4}, tiff_data(IFD=-1), "state IFD='-1'"),
        (
            {"C": 2**30, "Z": 2**30, "T": 2**30},
            tiff_data(IFD=0, FirstT=2**29),
            "state a movie of 1073741824 channels",
        ),
        ({"C": 1, "Z": 1, "T": 4}, tiff_data(IFD=9), "describe none of its pages|place 0 of 4"),
    ],
    ids=[
        "too few",
        "outside",
        "twice",
        "all twice",
        "huge",
        "fraction",
        "none",
        "digits",
        "negative",
        "product",
        "beyond",
    ],
)
def test_metadata_that_contradict_the_pages(tmp_path, sizes, inside, message):
    path = write(tmp_path / "a.tif", images(4), xml(sizes, inside))
    with pytest.raises(RecordingError, match=message) as caught:
        movie(path, frame_rate=1)
    assert "channels= and planes=" in str(caught.value)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        found = movie(path, frame_rate=1, channels=1, planes=1)
    np.testing.assert_array_equal(found.values, images(4))
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('<!DOCTYPE a [<!ENTITY b "c">]>', "declare a document type"),
        ("", "state the order 'XYT'"),
    ],
)
def test_metadata_that_are_not_read(tmp_path, text, message):
    order = "XYCZT" if text else "XYT"
    whole = xml({"C": 1, "Z": 1, "T": 2}, order=order).replace("?>", f"?>{text}", 1)
    with pytest.raises(RecordingError, match=message):
        movie(write(tmp_path / "a.tif", images(2), whole), frame_rate=1)


@pytest.mark.parametrize("text", ["<OME", "<OME><Image></Wrong>", "<OME><Pixels SizeT='2'>"])
def test_damaged_metadata_are_not_used(tmp_path, text):
    path = write(tmp_path / "a.tif", images(2), text)
    with pytest.warns(CalscipyWarning, match="its OME metadata are damaged and are not used"):
        found = movie(path, frame_rate=1)
    np.testing.assert_array_equal(found.values, images(2))
    assert found.x.attrs["units"] == "1"


def test_metadata_without_images_say_nothing(tmp_path):
    found = movie(write(tmp_path / "a.tif", images(2), "<OME/>"), frame_rate=1)
    assert found.shape == (2, *SHAPE)


def test_several_images_are_refused(tmp_path):
    text = xml({"C": 1, "Z": 1, "T": 2}, tiff_data(IFD=0, PlaneCount=2))
    image = re.search("<Image.*</Image>", text)[0]
    text = text.replace(image, image + image.replace('IFD="0"', 'IFD="2"'))
    path = write(tmp_path / "a.tif", images(4), text)
    with pytest.raises(RecordingError, match=r"describe 2 images .*Save them one by one"):
        movie(path, frame_rate=1)


# Sets of files


def write_set(folder, order="XYZCT", names=None, **said):
    """A set of two channels, each in files of two frames, as many programs split them."""
    folder.mkdir()
    pages = images(12).reshape(6, 2, *SHAPE)  # (frames, channel)
    names = names or {(c, t): f"set_t{t}_c{c}.ome.tif" for c in range(2) for t in (0, 2, 4)}
    blocks = "".join(
        tiff_data(name, f"urn:uuid:{name}", IFD=i, FirstC=c, FirstT=t + i)
        for (c, t), name in names.items()
        for i in range(2)
    )
    channels = '<Channel Name="red"/><Channel Name="green"/>'
    for (c, t), name in names.items():
        root = f' UUID="urn:uuid:{name}"'
        text = xml({"C": 2, "Z": 1, "T": 6}, channels + blocks, order, root, **said)
        write(folder / name.rsplit("/")[-1], pages[t : t + 2, c], text)
    return pages


def test_a_set_of_files(tmp_path):
    data = write_set(tmp_path / "s", TimeIncrement=0.5)
    found = movie(tmp_path / "s")
    assert found.channel.values.tolist() == ["red", "green"]
    np.testing.assert_array_equal(found.values, data)
    np.testing.assert_array_equal(found[3:, 1, 2].values, data[3:, 1, 2])
    assert float(found.time[-1]) == 2.5


def test_a_set_of_files_with_one_page_each(tmp_path):
    pages = images(6)
    names = [f"p{at}.ome.tif" for at in range(6)]
    places = {name: (at % 2, at // 2) for at, name in enumerate(reversed(names))}
    blocks = "".join(
        tiff_data(name, f"urn:{name}", IFD=0, FirstC=c, FirstT=t) for name, (c, t) in places.items()
    )
    text = xml({"C": 2, "Z": 1, "T": 3}, blocks, TimeIncrement=1)
    for name, page in zip(names, pages, strict=True):
        write(tmp_path / name, page, text)
    expected = pages[::-1].reshape(3, 2, *SHAPE)
    np.testing.assert_array_equal(movie(tmp_path).values, expected)


def test_one_file_of_a_set_says_so(tmp_path):
    data = write_set(tmp_path / "s", TimeIncrement=0.5)
    with pytest.warns(CalscipyWarning, match=r"set_t2_c1\.ome\.tif is one of 6 files"):
        found = movie(tmp_path / "s" / "set_t2_c1.ome.tif")
    np.testing.assert_array_equal(found.values, data[2:4, 1])
    assert str(found.channel.values) == "green"


def test_a_missing_file_of_a_set_is_masked(tmp_path):
    data = write_set(tmp_path / "s", TimeIncrement=0.5)
    (tmp_path / "s" / "set_t2_c1.ome.tif").unlink()
    with pytest.warns(DamagedRecordingWarning, match="2 of 12 images that the OME metadata state"):
        found = movie(tmp_path / "s")
    assert (~found.valid.values).nonzero()[0].tolist() == [2, 3]
    expected = data.copy()
    expected[2:4, 1] = 0
    np.testing.assert_array_equal(found.values, expected)


def test_renamed_files_of_a_set(tmp_path):
    write_set(tmp_path / "s", TimeIncrement=0.5)
    (tmp_path / "s" / "set_t2_c1.ome.tif").rename(tmp_path / "s" / "other.ome.tif")
    (tmp_path / "s" / "set_t0_c0.ome.tif").rename(tmp_path / "s" / "a.ome.tif")
    message = r"holds files that the OME metadata of a\.ome\.tif do not name \(other.ome.tif\)"
    with pytest.raises(RecordingError, match=message):
        movie(tmp_path / "s")
    with pytest.warns(CalscipyWarning, match="do not name"):
        assert movie(tmp_path / "s", planes=1, frame_rate=1).sizes["frames"] == 12


@pytest.mark.parametrize("name", ["../out.ome.tif", "/etc/x.tif", "a\\\\b.tif", "C:x.tif"])
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path, name):
    text = xml(
        {"C": 1, "Z": 1, "T": 2},
        tiff_data("a.ome.tif", IFD=0) + tiff_data(name, "urn:y", IFD=0, FirstT=1),
    )
    write(tmp_path / "out.ome.tif", images(1), text)
    (tmp_path / "s").mkdir()
    for file in ("a.ome.tif", "b.ome.tif"):
        write(tmp_path / "s" / file, images(1), text)
    with pytest.raises(RecordingError, match="bare names in the folder alone"):
        movie(tmp_path / "s", frame_rate=1)


def test_metadata_in_another_file_of_the_folder(tmp_path):
    data = write_set(tmp_path / "s", TimeIncrement=0.5)
    binary = '<OME xmlns="x" UUID="urn:uuid:first"><BinaryOnly MetadataFile="{}" UUID="u"/></OME>'
    first = tmp_path / "s" / "set_t0_c0.ome.tif"
    write(first, data[:2, 0], binary.format("set_t4_c1.ome.tif"))
    np.testing.assert_array_equal(movie(tmp_path / "s").values, data)
    with tifffile.TiffFile(tmp_path / "s" / "set_t4_c1.ome.tif") as text:
        described = re.sub('(<OME[^>]*) UUID="[^"]*"', r"\1", text.pages[0].description)
    (tmp_path / "s" / "set.companion.ome").write_text(described, "utf-8")
    write(first, data[:2, 0], binary.format("set.companion.ome"))
    np.testing.assert_array_equal(movie(tmp_path / "s").values, data)
    write(first, data[:2, 0], binary.format("../set.companion.ome"))
    with pytest.raises(RecordingError, match="outside of the folder"):
        movie(tmp_path / "s")


def test_files_that_describe_themselves_are_joined_in_time(tmp_path):
    data = images(18).reshape(9, 2, *SHAPE)
    for at, part in enumerate((data[:4], data[4:8], data[8:])):
        deltas = planes({(c, 0, t): 4 * at + t for c in range(2) for t in range(len(part))})
        text = xml({"C": 2, "Z": 1, "T": len(part)}, deltas)
        write(tmp_path / f"part{at}.tif", part.reshape(-1, *SHAPE), text)
    found = movie(tmp_path)
    np.testing.assert_array_equal(found.values, data)
    assert found.time.values.tolist() == list(range(9))
    assert "epoch" not in found.coords
    text = xml({"C": 1, "Z": 1, "T": 2}, planes({(0, 0, 0): 8, (0, 0, 1): 9}))
    write(tmp_path / "part2.tif", images(2), text)
    with pytest.raises(RecordingError, match="2 channels and 1 planes in one file, 1 and 1 in"):
        movie(tmp_path)


def test_times_of_each_file_for_itself_are_no_clock(tmp_path):
    for at in range(2):
        deltas = planes({(0, 0, t): t for t in range(3)})
        text = xml({"C": 1, "Z": 1, "T": 3}, deltas, TimeIncrement=1)
        write(tmp_path / f"part{at}.tif", images(3, seed=at), text)
    with pytest.warns(CalscipyWarning, match="start again at frame 3"):
        found = movie(tmp_path)
    assert found.epoch.values.tolist() == [1, 1, 1, 2, 2, 2]


# Files that calscipy wrote


def labelled(frames=4):
    array = images(6 * frames).reshape(frames, 2, 3, *SHAPE)
    data = from_numpy(array, frame_rate=7.5, microns_per_pixel=(0.5, 0.25))
    data = data.assign_coords(channel=["a", "b"], z=("plane", [0.0, 1, 5], {"units": "um"}))
    valid = np.ones((frames, 2, 3), bool)
    valid[2, 1, 0] = False
    data = data.assign_coords(valid=(("frames", "channel", "plane"), valid))
    data = data.assign_coords(temperature=("frames", np.where(np.arange(frames) == 1, np.nan, 31)))
    return data.assign_attrs(history="2026-01-01T00:00:00Z calscipy 0.1.0 dfof {}", gain=[1, 2.5])


def test_a_written_movie_comes_back_with_all_labels(tmp_path):
    data = labelled(60)
    whole = to_tiff(data, tmp_path / "m.ome.tif", progress=False)
    assert movie(whole).identical(data)
    most = int(0.7 * whole.stat().st_size)
    parts = to_tiff(data, tmp_path / "m", max_file_bytes=most, progress=False)
    assert len(list(parts.iterdir())) > 1
    assert movie(parts).identical(data)


@pytest.mark.parametrize("dtype", ["bool", "float16", "float32", "int8", "uint32"])
def test_types_come_back(tmp_path, dtype):
    data = from_numpy((images(3) % 2).astype(dtype), frame_rate=5)
    found = movie(to_tiff(data, tmp_path / "m.ome.tif", progress=False))
    assert found.dtype == dtype
    assert found.identical(data.rename("movie"))


def test_an_image_is_one_frame(tmp_path):
    data = labelled().isel(frames=1, channel=0, plane=2)
    found = movie(to_tiff(data, tmp_path / "m.ome.tif", progress=False))
    assert found.dims == ("frames", "y", "x")
    np.testing.assert_array_equal(found[0].values, data.values)
    assert found.time.values.tolist() == [pytest.approx(1 / 7.5)]
    assert found.attrs == data.attrs


def test_a_movie_without_times(tmp_path):
    path = to_tiff(labelled().drop_vars("time"), tmp_path / "m.ome.tif", progress=False)
    assert "time" not in movie(path).coords
    assert movie(path, frame_rate=4).time.values.tolist() == [0, 0.25, 0.5, 0.75]


def test_what_is_given_replaces_what_was_written(tmp_path):
    path = to_tiff(labelled(), tmp_path / "m.ome.tif", progress=False)
    with pytest.warns(CalscipyWarning, match=r"state 7\.5 frames in a second.*frame_rate=10"):
        found = movie(path, frame_rate=10)
    np.testing.assert_allclose(found.time.values, np.arange(4) / 10)
    assert found.attrs["gain"] == [1, 2.5]
    assert movie(path, frame_rate=7.5).identical(labelled())
    assert movie(path, channels=["x", "y"]).channel.values.tolist() == ["x", "y"]
    with pytest.warns(CalscipyWarning, match="microns_per_pixel=2 x 2"):
        assert float(movie(path, microns_per_pixel=2).y[1]) == 2
    with pytest.warns(CalscipyWarning) as seen:
        found = movie(path, planes=6, frame_rate=1)
    assert {"planes=6 was given", "They are left out"} == {
        part
        for part in ("planes=6 was given", "They are left out")
        if any(part in str(one.message) for one in seen)
    }
    assert "gain" not in found.attrs
