"""NWB files of other programs open as NWB says they are to be understood."""

import datetime as dt
import pickle
import warnings

import numpy as np
import pytest

import calscipy as cs
from calscipy.errors import CalscipyWarning, RecordingError
from calscipy.io.nwb import masks, open_nwb

pynwb = pytest.importorskip("pynwb")
h5py = pytest.importorskip("h5py")
from pynwb import H5DataIO  # noqa: E402
from pynwb.ophys import (  # noqa: E402
    DfOverF,
    Fluorescence,
    ImageSegmentation,
    OnePhotonSeries,
    OpticalChannel,
    RoiResponseSeries,
    TwoPhotonSeries,
)

RANDOM = np.random.default_rng(3)
TIMES = np.cumsum(RANDOM.uniform(0.1, 0.2, 12)) + 5


class Builder:
    """A file of NWB as other programs write them."""

    def __init__(self):
        self.file = pynwb.NWBFile(
            "somebody's recording", "x-1", dt.datetime(2020, 1, 1, tzinfo=dt.UTC), lab="a lab",
            subject=pynwb.file.Subject(subject_id="s1", age="P10D"),
        )  # fmt: skip
        self.device = self.file.create_device(name="2P")
        self.module = self.file.create_processing_module("ophys", "things")
        self.segmentations = ImageSegmentation()
        self.fluorescence, self.dfof = Fluorescence(), DfOverF()

    def used(self, part):
        """Containers of NWB must not be empty: they are added when something goes into them."""
        if part.parent is None:
            self.module.add(part)
        return part

    def plane(self, name="plane", channel="Green", **options):
        optical = OpticalChannel(name=channel, description="d", emission_lambda=510.0)
        options = {"grid_spacing": [5e-7, 1e-6], "grid_spacing_unit": "meters"} | options
        return self.file.create_imaging_plane(
            name=name, optical_channel=optical, description="d", device=self.device,
            excitation_lambda=920.0, indicator="GCaMP", location="CA1", **options,
        )  # fmt: skip

    def movie(self, data, plane, name="TwoPhotonSeries", kind=TwoPhotonSeries, **options):
        options = {"timestamps": TIMES, "unit": "n.a."} | options
        self.file.add_acquisition(kind(name=name, data=data, imaging_plane=plane, **options))

    def table(
        self, plane, name="PlaneSegmentation", pixels=None, images=None, voxels=None, ids=None
    ):
        table = self.used(self.segmentations).create_plane_segmentation(
            name=name, description="d", imaging_plane=plane
        )
        for kind, values in (("pixel", pixels), ("image", images), ("voxel", voxels)):
            for at, mask in enumerate(values if values is not None else ()):
                options = {} if ids is None else {"id": ids[at]}
                table.add_roi(**{f"{kind}_mask": mask}, **options)
        return table

    def responses(self, table, data, rows=None, name="RoiResponseSeries", into=None, **options):
        count = len(table.id)
        region = table.create_roi_table_region(
            region=list(range(count)) if rows is None else rows, description="d"
        )
        options = {"timestamps": TIMES, "unit": "lumens"} | options
        series = RoiResponseSeries(name=name, data=data, rois=region, **options)
        self.used(into or self.fluorescence).add_roi_response_series(series)

    def write(self, path):
        with pynwb.NWBHDF5IO(path, "w") as io:
            io.write(self.file)
        return path


@pytest.fixture
def builder():
    return Builder()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "other.nwb"


def values(*shape, dtype="u2"):
    return RANDOM.integers(0, 4000, shape).astype(dtype)


PIXELS = [[(1, 2, 1.0), (2, 2, 0.5)], [(4, 0, 1.0)], [(0, 5, 0.25), (0, 4, 1.0), (3, 3, 2.0)]]


def test_movie_with_timestamps(builder, path):
    data = values(12, 5, 6)
    builder.movie(data, builder.plane())
    tree = open_nwb(builder.write(path))
    movie = tree["movie/movie"]
    assert movie.dims == ("frames", "y", "x")
    np.testing.assert_array_equal(movie, data.transpose(0, 2, 1))
    np.testing.assert_array_equal(movie.time, TIMES)
    assert cs.model.kind(movie) == "movie"
    assert movie.x.values.tolist() == [0, 0.5, 1, 1.5, 2]
    assert movie.y.attrs["pixel_size"] == 1.0
    assert movie.channel.item() == "Green"
    assert movie.attrs["indicator"] == "GCaMP"
    assert movie.attrs["laser_wavelength_nm"] == 920.0
    assert "units" not in movie.attrs
    assert movie.dtype == np.uint16
    assert movie.chunks is not None
    assert tree.attrs["nwb"]["lab"] == "a lab"
    assert tree.attrs["nwb"]["subject_id"] == "s1"
    assert tree.attrs["nwb"]["session_start_time"].startswith("2020-01-01")
    session = cs.ImagingSession(tree)
    assert session.frame_rate == pytest.approx(1 / np.median(np.diff(TIMES)))
    assert session.cs.mean_filter(size={"y": 3, "x": 3}).movie.shape == (12, 6, 5)


def test_movie_with_a_rate(builder, path):
    builder.movie(values(12, 5, 6), builder.plane(), timestamps=None, starting_time=2.5, rate=8.0)
    movie = open_nwb(builder.write(path))["movie/movie"]
    np.testing.assert_array_equal(movie.time, 2.5 + np.arange(12) / 8)


def test_one_photon_and_packed_data(builder, path):
    data = values(12, 5, 6)
    packed = H5DataIO(data, compression="gzip", chunks=(4, 5, 2))
    builder.movie(packed, builder.plane(), kind=OnePhotonSeries)
    movie = open_nwb(builder.write(path), chunks={"frames": 5})["movie/movie"]
    np.testing.assert_array_equal(movie, data.transpose(0, 2, 1))
    assert len(pickle.dumps(movie)) < 20_000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(movie))[4], data[4].T)


def test_conversion_is_applied(builder, path):
    data = values(12, 5, 6, dtype="i2")
    builder.movie(data, builder.plane(), conversion=0.5, offset=3.0, unit="volts")
    movie = open_nwb(builder.write(path))["movie/movie"]
    np.testing.assert_allclose(movie, data.transpose(0, 2, 1) * 0.5 + 3)
    assert movie.dtype == np.float32
    assert movie.attrs["units"] == "volts"


def test_volumes(builder, path):
    data = values(12, 5, 6, 3)
    plane = builder.plane(grid_spacing=[1.0, 1.0, 20.0], grid_spacing_unit="micrometers")
    builder.movie(data, plane)
    builder.responses(
        builder.table(plane, voxels=[[(1, 2, 0, 1.0)], [(3, 4, 2, 0.5), (3, 4, 1, 1.0)]]),
        values(12, 2),
    )
    tree = open_nwb(builder.write(path))
    np.testing.assert_array_equal(tree["movie/movie"], data.transpose(0, 3, 2, 1))
    assert tree["movie/movie"].dims == ("frames", "plane", "y", "x")
    assert tree["movie/movie"].z.values.tolist() == [0, 20, 40]
    rois = tree["rois/rois"]
    assert rois.plane.values.tolist() == [0, 2, 1]
    assert rois.attrs["image_shape"] == [6, 5]
    assert rois.values.tolist() == [1.0, 0.5, 1.0]


def test_channels_are_series_of_several_planes(builder, path):
    data = {name: values(12, 5, 6) for name in ("Red", "Green")}
    for name, own in data.items():
        builder.movie(own, builder.plane(f"plane {name}", name), f"series {name}")
    movie = open_nwb(builder.write(path))["movie/movie"]
    assert movie.dims == ("frames", "channel", "y", "x")
    assert set(movie.channel.values) == {"Red", "Green"}
    for name, own in data.items():
        np.testing.assert_array_equal(movie.sel(channel=name), own.transpose(0, 2, 1))


@pytest.mark.parametrize("same", ["plane", "shape", "clock"])
def test_other_series_are_to_be_chosen_from(builder, path, same):
    first, second = values(12, 5, 6), values(12, 5, 6)
    plane = builder.plane()
    other = plane if same == "plane" else builder.plane("b")
    options = {}
    if same == "shape":
        second = values(12, 5, 7)
    if same == "clock":
        options = {"timestamps": TIMES + 1}
    builder.movie(first, plane, "raw")
    builder.movie(second, other, "corrected", **options)
    builder.write(path)
    with pytest.raises(RecordingError, match=r"raw.*corrected.*movie=|corrected.*raw.*movie="):
        open_nwb(path)
    np.testing.assert_array_equal(
        open_nwb(path, movie="corrected")["movie/movie"], second.transpose(0, 2, 1)
    )
    assert open_nwb(path, movie="/acquisition/raw")["movie/movie"].shape == (12, 6, 5)
    with pytest.raises(RecordingError, match="movie='none' names 0 series"):
        open_nwb(path, movie="none")


def test_images_in_other_files_are_said(builder, path):
    plane = builder.plane()
    builder.movie(
        None, plane, external_file=["a.tif"], format="external", starting_frame=[0],
        timestamps=None, rate=30.0, num_samples=12, starting_time=0.0, dimension=[5, 6],
    )  # fmt: skip
    builder.responses(builder.table(plane, pixels=PIXELS), values(12, 3))
    builder.write(path)
    with pytest.warns(CalscipyWarning, match="TwoPhotonSeries are in other files"):
        tree = open_nwb(path)
    assert set(tree.children) == {"traces", "rois"}


def test_responses_and_pixel_masks(builder, path):
    plane = builder.plane()
    table = builder.table(plane, pixels=PIXELS, ids=[4, 2, 9])
    data = {name: values(12, 3, dtype="f8") for name in ("a", "Neuropil", "Deconvolved", "dff")}
    builder.responses(table, data["Neuropil"], name="Neuropil", unit="a.u.")
    builder.responses(table, data["a"])
    builder.responses(table, data["Deconvolved"], name="Deconvolved")
    builder.responses(table, data["dff"], name="RoiResponseSeries", into=builder.dfof, unit="1")
    builder.movie(values(12, 5, 6), plane)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = open_nwb(builder.write(path))
    traces = tree["traces"].to_dataset()
    found = {"traces": "a", "neuropil": "Neuropil", "spikes": "Deconvolved", "dfof": "dff"}
    assert set(traces.data_vars) == set(found)
    assert traces.attrs["latest"] == "traces"
    for name, own in found.items():
        assert traces[name].dims == ("neuron", "time")
        np.testing.assert_array_equal(traces[name], data[own].T)
    assert traces.neuron.values.tolist() == [4, 2, 9]
    np.testing.assert_array_equal(traces.time, TIMES)
    assert traces.traces.attrs["units"] == "lumens"
    assert "units" not in traces.neuropil.attrs
    rois = tree["rois/rois"]
    flat = [(*pixel, label) for label, own in zip([4, 2, 9], PIXELS, strict=True) for pixel in own]
    assert (
        list(zip(rois.x.values, rois.y.values, rois.values, rois.neuron.values, strict=True))
        == flat
    )
    session = cs.ImagingSession(tree)
    assert session.movie.cs.extract(session.rois).sizes["neuron"] == 3
    assert session.cs.dfof(method="mean").dfof.shape == (3, 12)


def test_responses_of_some_rois_in_another_order(builder, path):
    table = builder.table(builder.plane(), pixels=PIXELS, ids=[4, 2, 9])
    data = values(12, 2)
    builder.responses(table, data, rows=[2, 0])
    tree = open_nwb(builder.write(path))
    assert tree["traces/traces"].neuron.values.tolist() == [9, 4]
    np.testing.assert_array_equal(tree["traces/traces"], data.T)
    assert set(tree["rois/rois"].neuron.values) == {4, 2, 9}


def test_responses_of_other_neurons_or_times_are_said(builder, path):
    table = builder.table(builder.plane(), pixels=PIXELS)
    builder.responses(table, values(12, 3))
    builder.responses(table, values(12, 2), rows=[0, 1], name="some")
    builder.responses(table, values(5, 3), name="short", timestamps=np.arange(5.0))
    builder.write(path)
    with pytest.warns(CalscipyWarning, match=r"(some.*short|short.*some).*left out"):
        tree = open_nwb(path)
    assert set(tree["traces"].data_vars) == {"traces"}


def test_one_roi_and_one_dimension(builder, path):
    table = builder.table(builder.plane(), pixels=PIXELS[:1])
    data = values(12)
    builder.responses(table, data)
    traces = open_nwb(builder.write(path))["traces/traces"]
    assert traces.shape == (1, 12)
    np.testing.assert_array_equal(traces[0], data)


def test_responses_the_wrong_way_round_are_turned_and_said(builder, path):
    table = builder.table(builder.plane(), pixels=PIXELS)
    data = values(12, 3)
    builder.responses(table, data)
    builder.write(path)
    with h5py.File(path, "r+") as file:
        series = file["processing/ophys/Fluorescence/RoiResponseSeries"]
        attrs = dict(series["data"].attrs)
        del series["data"]
        series["data"] = data.T
        series["data"].attrs.update(attrs)
    with pytest.warns(CalscipyWarning, match=r"stands as \(roi, time\)"):
        traces = open_nwb(path)["traces/traces"]
    np.testing.assert_array_equal(traces, data.T)
    np.testing.assert_array_equal(traces.time, TIMES)


@pytest.mark.parametrize("slab", [1, 10**9])
def test_image_masks(builder, path, monkeypatch, slab):
    monkeypatch.setattr(masks, "_SLAB_BYTES", slab)
    images = np.zeros((3, 5, 6))
    for at, pixels in enumerate(PIXELS):
        for x, y, weight in pixels:
            images[at, x, y] = weight
    builder.table(builder.plane(), images=images)
    rois = open_nwb(builder.write(path))["rois/rois"]
    found = {
        (int(n), int(x), int(y)): float(w)
        for n, x, y, w in zip(rois.neuron, rois.x, rois.y, rois, strict=True)
    }
    assert found == {(at, x, y): w for at, own in enumerate(PIXELS) for x, y, w in own}
    assert rois.attrs["image_shape"] == [6, 5]


def test_several_segmentations_are_read_as_one(builder, path):
    data = {}
    for name in ("plane 0", "plane 1"):
        plane = builder.plane(name)
        table = builder.table(plane, f"table {name}", pixels=PIXELS[: 2 + (name == "plane 1")])
        data[name] = values(12, len(table.id))
        builder.responses(table, data[name], name=f"F {name}")
    builder.write(path)
    traces = open_nwb(path)["traces"].to_dataset()
    assert traces.neuron.values.tolist() == [0, 1, 2, 3, 4]
    assert traces.segmentation.values.tolist() == ["table plane 0"] * 2 + ["table plane 1"] * 3
    assert traces.roi_id.values.tolist() == [0, 1, 0, 1, 2]
    np.testing.assert_array_equal(traces.traces, np.concatenate([d.T for d in data.values()]))
    assert np.unique(open_nwb(path)["rois/rois"].neuron).tolist() == [0, 1, 2, 3, 4]
    one = open_nwb(path, segmentation="table plane 1")
    np.testing.assert_array_equal(one["traces/traces"], data["plane 1"].T)
    assert np.unique(one["rois/rois"].neuron).tolist() == [0, 1, 2]
    with pytest.raises(RecordingError, match="segmentation='x' names 0 tables"):
        open_nwb(path, segmentation="x")


def test_numbers_that_do_not_clash_stay(builder, path):
    for at, ids in enumerate(([3, 1], [10, 20])):
        table = builder.table(builder.plane(f"p{at}"), f"t{at}", pixels=PIXELS[:2], ids=ids)
        builder.responses(table, values(12, 2), name=f"F{at}")
    traces = open_nwb(builder.write(path))["traces"]
    assert traces.neuron.values.tolist() == [3, 1, 10, 20]
    assert "segmentation" not in traces.coords


def test_segmentations_that_are_not_alike_are_to_be_chosen_from(builder, path):
    for at, times in enumerate((TIMES, TIMES + 1)):
        table = builder.table(builder.plane(f"p{at}"), f"t{at}", pixels=PIXELS)
        builder.responses(table, values(12, 3), name=f"F{at}", timestamps=times)
    builder.write(path)
    with pytest.raises(RecordingError, match=r"t0.*t1.*segmentation="):
        open_nwb(path)
    np.testing.assert_array_equal(open_nwb(path, segmentation="t1")["traces"].time, TIMES + 1)


def test_segmentations_without_responses_are_said(builder, path):
    plane = builder.plane()
    builder.responses(builder.table(plane, "good", pixels=PIXELS), values(12, 3))
    builder.table(plane, "candidates", pixels=PIXELS)
    builder.write(path)
    with pytest.warns(CalscipyWarning, match="candidates, which are left out"):
        tree = open_nwb(path)
    assert tree["traces"].sizes["neuron"] == 3
    assert np.unique(open_nwb(path, segmentation="candidates")["rois/rois"].neuron).size == 3


def test_files_without_any_of_these_are_refused(builder, path):
    builder.file.add_acquisition(pynwb.TimeSeries(name="t", data=[1.0], unit="V", timestamps=[0.0]))
    with pytest.raises(RecordingError, match="without a movie"):
        open_nwb(builder.write(path))


def _delete(name):
    return lambda file: file.__delitem__(name)


def _replace(name, new):
    def change(file):
        attrs = dict(file[name].attrs)
        del file[name]
        file[name] = new
        file[name].attrs.update(attrs)

    return change


TABLE = "processing/ophys/ImageSegmentation/PlaneSegmentation"
SERIES = "processing/ophys/Fluorescence/RoiResponseSeries"
DAMAGED = {
    "no clock": (
        _delete("acquisition/TwoPhotonSeries/timestamps"),
        "neither timestamps nor a rate",
    ),
    "short clock": (_replace("acquisition/TwoPhotonSeries/timestamps", TIMES[:5]), "5 timestamps"),
    "texts for a movie": (
        _replace("acquisition/TwoPhotonSeries/data", np.full((12, 5, 6), "a", dtype="S1")),
        "not numbers",
    ),
    "ROIs that are not there": (_replace(f"{SERIES}/rois", np.array([0, 1, 99])), "not there"),
    "negative ROIs": (_replace(f"{SERIES}/rois", np.array([0, 1, -1])), "not there"),
    "another shape": (_replace(f"{SERIES}/data", np.zeros((12, 4))), r"\(time, 3 ROIs\)"),
    "ends beyond the pixels": (
        _replace(f"{TABLE}/pixel_mask_index", np.array([2, 3, 2**40])),
        "does not fit its 3 ROIs",
    ),
    "ends that go back": (_replace(f"{TABLE}/pixel_mask_index", np.array([2, 1, 6])), "not fit"),
    "too few ends": (_replace(f"{TABLE}/pixel_mask_index", np.array([2])), "not fit"),
    "pixels without weights": (_replace(f"{TABLE}/pixel_mask", np.zeros((6, 3))), "not fit"),
    "words for numbers": (_replace(f"{TABLE}/id", np.array([0.5, 1, 2])), "have no numbers"),
    "no table": (_delete(f"{TABLE}/id"), "cannot be read|can be read"),
    "an external link": (
        lambda file: file["acquisition"].__setitem__("x", h5py.ExternalLink("b.nwb", "/a")),
        "in another file",
    ),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    builder = Builder()
    plane = builder.plane()
    builder.movie(values(12, 5, 6), plane)
    builder.responses(builder.table(plane, pixels=PIXELS), values(12, 3))
    return builder.write(tmp_path_factory.mktemp("nwb") / "whole.nwb")


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_files_are_refused(whole, path, kind):
    change, message = DAMAGED[kind]
    path.write_bytes(whole.read_bytes())
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(RecordingError, match=message):
        open_nwb(path)


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_cut_files_are_refused(whole, path, share):
    data = whole.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(RecordingError, match=r"other\.nwb"):
        open_nwb(path)
