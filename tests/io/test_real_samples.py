"""The real recordings: each one opens, with values read by eye from its files."""

import gzip
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile

from calscipy.errors import RecordingError
from calscipy.io.prairieview import (
    Metadata,
    find_master,
    open_tree,
    read_environment,
    read_lsd,
    read_reference,
)
from calscipy.photostimulation import (
    read_galvo_points,
    read_mark_points,
    write_galvo_points,
    write_mark_points,
)

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "prairieview"
RIG = SAMPLES / "scanagator"
pytestmark = [
    pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs ../shared/data/prairieview"),
    pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning:tifffile"),
]

LINE_SCANS = {
    "LineScan-03292014-1525-552": {
        "version": "4.3.2.13",
        "date": "2014-03-29T18:55:03",
        "sizes": {"cycle": 1, "channel": 2, "line": 211, "pixel": 113},
        # 4.727076 ms stand in the .lsd files, twice the scanlinePeriod of the XML.
        "interval": 4.727076e-3,
        "ratio": 2,
        "length": 155.065,
        "first": (138, 76),
        "micron": 1.37225502292833,
        "channels": ["Ch1", "Ch2"],
        "laser": ("Pockels", 15.0),
        "pmt": [650.0, 825.0],
        "valid": 2,
        "said": ["from line to line"],
    },
    "LineScan-03142018-1454-2042": {
        "version": "5.3.64.400",
        "date": "2018-03-14T15:57:43",
        "sizes": {"cycle": 1, "channel": 2, "line": 1000, "pixel": 70},
        "interval": 0.0119239007960034,
        "ratio": 3,
        "length": 20.5882352941176,
        "first": (150, 75),
        "micron": 0.294117647058823,
        "channels": ["Ch1", "Ch2"],
        "laser": ("Pockels", 1.0),
        "pmt": [615.0, 825.0],
        "valid": 2,
        "said": [],
    },
    "LineScan-02052019-1234-2683": {
        "version": "5.4.64.500",
        "date": "2019-02-05T14:50:09",
        "sizes": {"cycle": 1, "channel": 2, "line": 1000, "pixel": 70},
        "interval": 0.0136941563473174,
        "ratio": 3,
        "length": 20.628887363736,
        "first": (101, 108),
        "micron": 0.294698390910515,
        "channels": ["Ch1", "Ch2"],
        "laser": (["Mira", "Insight X3", "1040nm"], [150.0, 0.0, 0.0]),
        "pmt": [620.0, 825.0],
        "valid": 0,
        "said": ["2 of 2 images are missing"],
    },
    "LineScan-02132019-1317-2775": {
        "version": "5.4.64.500",
        "date": "2019-02-13T14:26:26",
        "sizes": {"cycle": 10, "line": 501, "pixel": 40},
        "interval": 0.00199524729749655,
        "ratio": 1,
        "length": 23.5758712728412,
        "first": (120, 135),
        "micron": 0.58939678182103,
        "channels": "Ch2",
        "laser": (["Mira", "Insight X3", "1040nm"], [0.0, 150.0, 0.0]),
        "pmt": [0.0, 650.0],
        "valid": 5,
        "said": ["5 of 10 images are missing"],
    },
    "LineScan-11182022-1250-763": {
        "version": "5.6.64.400",
        "date": "2022-11-18T16:20:16",
        "sizes": {"cycle": 3, "channel": 2, "line": 500, "pixel": 60},
        "interval": 0.008228,
        "ratio": 4,
        "length": 8.84095172731544,
        "first": (96, 78),
        "micron": 0.147349195455257,
        "channels": ["Ch1", "Ch2"],
        "laser": (["Mira", "Insight X3", "1040nm"], [400.0, 0.0, 0.0]),
        "pmt": [650.0, 825.0],
        "valid": 6,
        "said": [],
    },
    "LineScan-03052024-1208-1065": {
        "version": "5.6.64.400",
        "date": "2024-03-05T14:18:23",
        "sizes": {"cycle": 1, "channel": 2, "line": 1000, "pixel": 1054},
        "interval": 0.0078154,
        "ratio": 1,
        "length": 310.612104019682,
        "first": (128, 25.6000003814697),
        "micron": 0.294698390910515,
        "channels": ["Ch1", "Ch2"],
        "laser": (["Mira", "Insight X3", "1040nm"], [0.0, 200.0, 0.0]),
        "pmt": [650.0, 825.0],
        "valid": 0,
        "said": ["2 of 2 images are missing"],
    },
}


def opened(xml):
    """Tree of a recording and the texts of its warnings."""
    with warnings.catch_warnings(record=True) as got:
        warnings.simplefilter("always")
        tree = open_tree(xml)
    return tree, [str(item.message) for item in got]


@pytest.mark.parametrize("name", LINE_SCANS)
def test_line_scans(name):
    wanted = LINE_SCANS[name]
    tree, said = opened(RIG / name / f"{name}.xml")
    assert len(said) == len(wanted["said"])
    for part, text in zip(wanted["said"], said, strict=True):
        assert part in text
    dataset = tree["linescan"].to_dataset()
    data = dataset.linescan
    assert dict(data.sizes) == wanted["sizes"]
    assert data.attrs["prairieview_version"] == wanted["version"]
    assert data.attrs["date"] == wanted["date"]
    assert data.channel.values.tolist() == wanted["channels"]
    np.testing.assert_allclose(data.line_interval, wanted["interval"], rtol=1e-12)
    nominal = data.attrs["frame_period"] / data.sizes["line"]
    assert data.line_interval[0] / nominal == pytest.approx(wanted["ratio"], rel=0.001)
    np.testing.assert_allclose(np.diff(data.time), wanted["interval"], rtol=1e-9)
    assert data.attrs["line_length_um"] == wanted["length"]
    row, column = wanted["first"]
    np.testing.assert_allclose(data.line_y[0], row * wanted["micron"], rtol=1e-6)
    np.testing.assert_allclose(data.line_x[0], column * wanted["micron"], rtol=1e-6)
    # PrairieView's length is that of as many steps as there are pixels.
    step = wanted["length"] / data.sizes["pixel"]
    np.testing.assert_allclose(np.diff(data.distance), step, rtol=1e-9)
    assert step == pytest.approx(wanted["micron"], rel=1e-4)
    assert (data.attrs["laser_power_names"], data.attrs["laser_power"]) == wanted["laser"]
    assert data.attrs["pmt_gain"] == wanted["pmt"]
    assert data.attrs["scan_mode"] == "Galvo"
    assert int(data.valid.sum()) == wanted["valid"]


@pytest.mark.parametrize("name", [n for n, facts in LINE_SCANS.items() if facts["valid"]])
def test_images_of_line_scans_are_bit_exact(name):
    tree, _ = opened(RIG / name / f"{name}.xml")
    data = tree["linescan"].linescan
    if "channel" not in data.dims:
        data = data.expand_dims("channel", axis=1)
    valid = data.valid.values.reshape(data.shape[:2])
    assert int(valid.sum()) == LINE_SCANS[name]["valid"]
    for cycle, channel in np.argwhere(valid):
        label = str(data.channel.values[channel])
        (path,) = (RIG / name).glob(f"{name}_Cycle{cycle + 1:05d}_*{label}_000001*.tif")
        with tifffile.TiffFile(path, is_ome=False) as file:
            page = file.pages[0].asarray()
        np.testing.assert_array_equal(data[cycle, channel], page)
        assert page.any()


def test_cycles_of_a_line_scan_keep_their_time():
    name = "LineScan-11182022-1250-763"
    tree, _ = opened(RIG / name / f"{name}.xml")
    dataset = tree["linescan"].to_dataset()
    starts = np.array([4.34499999999935, 14.3459999999995, 24.3389999999999])
    np.testing.assert_allclose(dataset.time[:, 0], starts - starts[0], atol=1e-9)
    assert dataset.linescan.attrs["planned_cycles"] == 3
    assert dataset.source_valid.values.tolist() == [[True, True]] + [[False, False]] * 2
    for channel in (1, 2):
        with tifffile.TiffFile(RIG / name / f"{name}-Cycle00001_Ch{channel}Source.tif") as file:
            page = file.pages[0].asarray()
        np.testing.assert_array_equal(dataset.source[0, channel - 1], page)
    stimulus = tree["stimulus"].to_dataset()
    np.testing.assert_allclose(stimulus.onset, starts - starts[0] + 1.0, atol=1e-9)
    assert stimulus.duration.values.tolist() == [0.1] * 3
    assert stimulus.power.values.tolist() == [400.0] * 3


def test_the_state_of_version_4():
    name = "LineScan-03292014-1525-552"
    tree, _ = opened(RIG / name / f"{name}.xml")
    metadata = Metadata(tree.attrs["prairieview"])
    assert metadata.version == "4.3.2.13"
    assert metadata["scanLinePeriod"] == 0.00236217935327122
    assert metadata["positionCurrent"]["ZAxis"] == {"0": 82.31875}
    assert metadata["twophotonLaserPower"] == {"0": 2926.17}
    assert metadata.raw("activeMode") == "Galvo"
    assert metadata.objective == "10X Plan N"
    assert metadata.environment["file"] == f"{name}Config.cfg"
    assert metadata.environment["frame_rate"] == 1.64628208892853
    lasers = metadata.elements[0]["children"][0]["children"][0]
    assert lasers == {"tag": "Laser", "attributes": {"name": "Pockels", "index": "0"}}
    assert tree.attrs["prairieview"]["files"] == {"1": {"preAmpID": "0"}, "2": {"preAmpID": "1"}}


SETTINGS = {  # version, frame rate, lines to skip, type of the last T-series element, repetitions
    "LineScan-03292014-1525-552": ("", 1.64628208892853, None, "SequenceTimed", "1"),
    "LineScan-03142018-1454-2042": ("", 0.978625740257498, None, "Sequence", "60"),
    "LineScan-02052019-1234-2683": ("5.4.64.500", 0.851965124043253, None, "Sequence", "3600"),
    "LineScan-11182022-1250-763": ("5.6.64.400", 1.89051140980351, 3, "ZSeries", "50"),
    "LineScan-03052024-1208-1065": ("5.6.64.400", 1.84848008724826, 0, "ZSeries", "50"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings(name):
    version, rate, skipped, kind, repetitions = SETTINGS[name]
    (path,) = [*(RIG / name).glob("*.env"), *(RIG / name).glob("*.cfg")]
    found = read_environment(path)
    assert found.damage is None
    facts = found.facts()
    assert (facts["version"], found.frame_rate, found.lines_to_skip) == (version, rate, skipped)
    assert found.active_channels == [1, 2]
    (element,) = facts["t_series"]["children"]
    assert element["tag"] == f"PVTSeriesElement{kind}"
    assert element["attributes"]["repetitions"] == repetitions
    assert len(found.state) > 100
    if not version:  # these separate recent acquisitions by &#x1;
        key = "recentAcquisitions" if "recentAcquisitions" in found.state else "recentAcquistions"
        assert "\x01" in found.state[key].value


def test_lsd_files():
    folder = RIG / "LineScan-03292014-1525-552"
    for path in sorted(folder.glob("*.lsd")):
        sections = read_lsd(path)
        assert sections["Main"]["Objective Lens"] == "10X Plan N"
        assert sections["Line Info"]["Line1 Inter-Line Time"] == "4.727076"
        assert sections["Profile Info"] == {}


@pytest.mark.filterwarnings("ignore::calscipy.errors.CalscipyWarning")
def test_lines_that_the_xml_does_not_count():
    """211 lines of 4.727 ms make a second; the XML gives half of that, once per line scanned."""
    tree = open_tree(find_master(RIG / "LineScan-03292014-1525-552"))
    data = tree["linescan"].linescan
    assert float(data.line_interval[0]) == pytest.approx(0.004727076)
    period = data.attrs["line_period_of_xml"]
    assert period == 0.00236217935327122
    assert period / (0.498419843540227 / 211) == pytest.approx(1)


# The point lists and the series that were set, whether or not they were played: points, marks,
# first indices from 0, and X of the first point.
SET_POINTS = {
    "LineScan-03142018-1454-2042": (1, 1, (0,), None),
    "LineScan-02052019-1234-2683": (0, 1, (0, 1, 2, 3, 4, 5, 6, 7), None),
    "LineScan-11182022-1250-763": (1, 1, (0,), None),
    "LineScan-03052024-1208-1065": (1, 1, (0,), 0.0546912479001737),
}


@pytest.mark.filterwarnings("ignore::calscipy.errors.CalscipyWarning")
@pytest.mark.parametrize("name", SET_POINTS)
def test_mark_points_in_the_settings(name, tmp_path):
    (path,) = (RIG / name).glob("*.env")
    points, series = read_galvo_points(path), read_mark_points(path)
    count, marks, indices, x = SET_POINTS[name]
    assert (len(points.galvo_points), len(series.marks)) == (count, marks)
    assert series.marks[0].points[0].indices == indices
    assert x is None or points.galvo_points[0].x == x
    write_galvo_points(points, tmp_path / "points.gpl")
    write_mark_points(series, tmp_path / "series.xml")
    assert read_galvo_points(tmp_path / "points.gpl") == points
    assert read_mark_points(tmp_path / "series.xml") == series


REFERENCES = {
    "scanagator/LineScan-11182022-1250-763": [(256, 256), (512, 512, 4)],
    "calscipy/reg1_x300_y009n_z1425t1530_p110t131_APr_VSleft-007": [(256, 256), (512, 512, 4)],
}


@pytest.mark.parametrize("name", REFERENCES)
def test_reference_images(name):
    paths = sorted((SAMPLES / name / "References").glob("*.tif"))
    images = [read_reference(path) for path in paths]
    assert [image.shape for image in images] == REFERENCES[name]
    assert [image.dims for image in images] == [("y", "x"), ("y", "x", "colour")]
    assert images[0].dtype == np.uint16
    assert all(image.values.any() for image in images)


def test_plane_series(tmp_path):
    name = "TSeries-10232020-1129-1771"
    tree, said = opened(RIG / name / f"{name}.xml")
    (text,) = said
    assert "1378 of 1378 images are missing" in text
    movie = tree["movie"].movie
    assert dict(movie.sizes) == {"frames": 1378, "y": 512, "x": 512}
    assert movie.attrs["prairieview_version"] == "5.4.64.700"
    assert movie.attrs["date"] == "2020-10-23T13:57:35"
    assert str(movie.channel.values) == "Ch2"
    assert movie.attrs["laser_power"] == [0.0, 100.0, 0.0]
    assert movie.attrs["pmt_gain"] == [0.0, 590.0]
    assert float(movie.z) == -1265.65
    assert float(movie.time[-1]) == pytest.approx(900.187679926654, abs=1e-9)


def test_aborted_volumes(tmp_path):
    name = "TSeries-03022023-1227-2098"
    xml = tmp_path / f"{name}.xml"
    xml.write_bytes(gzip.decompress((RIG / name / f"{name}.xml.gz").read_bytes()))
    tree, said = opened(xml)
    (text,) = said
    assert "3216 of 3216 images" in text
    assert "32 not acquired" in text
    movie = tree["movie"].movie
    assert dict(movie.sizes) == {"frames": 24, "channel": 2, "plane": 67, "y": 256, "x": 256}
    assert movie.attrs["prairieview_version"] == "5.6.64.400"
    assert movie.z.dims == ("plane",)  # the same in every volume
    assert float(movie.z[66]) == -85.075
    assert movie.attrs["laser_power_names"] == ["Mira", "Insight X3", "1040nm"]
    assert float(movie.laser_power_1.min()) == 79.4871794871795
    assert movie.attrs["pmt_gain"] == [650.0, 825.0]
    # The stage stood still, so that the volumes are one stretch.
    assert set(movie.epoch.values) == {1}
    assert not {"stage_x", "stage_y"} & set(movie.coords)


@pytest.mark.parametrize("name", ["EM0121_PRE-001", "markpoints"])
def test_folders_without_a_master_are_explained(name):
    with pytest.raises(RecordingError, match=r"no PrairieView master XML .*Copy the XML"):
        find_master(SAMPLES / "calscipy" / name)


def test_every_master_of_the_samples_is_checked_here():
    masters = {
        path.name.split(".")[0] for path in RIG.glob("*/*.xml*") if "MarkPoints" not in path.name
    }
    assert masters == set(LINE_SCANS) | {"TSeries-10232020-1129-1771", "TSeries-03022023-1227-2098"}
