"""netCDF files give back the whole session, open in plain xarray, and are never trusted."""

import json
import pickle
import threading
import warnings

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask.base import tokenize

import calscipy as cs
from calscipy.errors import (
    ArgumentError,
    RecordingError,
    StoreError,
    TargetExistsError,
)
from calscipy.io import hdf5, netcdf_form, optional
from calscipy.io.netcdf import is_netcdf, open_netcdf, to_netcdf
from calscipy.options import set_options
from calscipy.testing import VARIANTS, write_recording, write_variant

h5py = pytest.importorskip("h5py")
pytest.importorskip("h5netcdf")


@pytest.fixture(autouse=True)
def _quiet():
    with set_options(progress=False):
        yield


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "r"
    truth = write_recording(
        folder, frames=60, shape=(20, 24), channels=("Red", "Green"), neurons=3, burst_rate=0.3,
        cycles=2, microns_per_pixel=(0.5, 0.7),
    )  # fmt: skip
    return (
        cs.ImagingSession.open(folder)
        .cs.gaussian_filter(sigma={"y": 1, "x": 1})
        .cs.extract(truth.labels)
        .cs.dfof(method="mean")
        .cs.events(method="derivative")
    )


@pytest.fixture(scope="module")
def written(session, tmp_path_factory):
    with set_options(progress=False):
        return to_netcdf(session, tmp_path_factory.mktemp("nc") / "été 12.nc")


def same(found, wanted):
    """Compare trees down to the types and to the order."""
    found, wanted = found.compute(), wanted.compute()
    xr.testing.assert_identical(found, wanted)
    assert list(found.children) == list(wanted.children)
    for name, node in wanted.children.items():
        assert list(found[name].variables) == list(node.variables)
        for one, variable in node.variables.items():
            assert found[name].variables[one].dtype.kind == variable.dtype.kind, one
            if variable.dtype.kind not in "UO":
                wanted_type = variable.dtype.newbyteorder("=")
                assert found[name].variables[one].dtype == wanted_type, one


def test_the_whole_session_comes_back(session, written):
    tree = open_netcdf(written)
    same(tree, session.tree)
    assert tree.attrs == json.loads(json.dumps(session.tree.attrs))
    assert cs.ImagingSession(tree).metadata.objective == session.metadata.objective
    assert list(written.parent.iterdir()) == [written]


@pytest.mark.parametrize("name", [n for n in VARIANTS if n != "no image"])
def test_every_kind_of_recording_comes_back(tmp_path, name):
    variant = write_variant(tmp_path / "r", name)
    if variant.error is not None:
        pytest.skip("cannot be opened")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is damaged in it is another test
        tree = cs.ImagingSession.open(variant.path).tree
    same(open_netcdf(to_netcdf(tree, tmp_path / "a.h5")), tree)


def odd_session():
    """Everything that netCDF has no form for, or takes for its own."""
    data = xr.DataArray(
        np.arange(12, dtype="f2").reshape(3, 4),
        {
            "time": ("time", np.arange(4) / 7, {"units": "s"}),
            "when": ("time", np.array(["2020-01-01", "NaT", "1969", "2262-01-01"], "M8[ns]")),
            "second": ("time", np.arange(4).astype("M8[s]")),
            "delay": ("time", np.array([1, 2, "NaT", 3], "m8[ms]")),
            "name": ("neuron", ["", "b, c", "\u00e9\n\u4e2d"]),
            "valid": ("time", np.array([True, False, True, True])),
            "scalar": ((), "Ch2", {"long_name": "channel"}),
            "with space": ("neuron", np.arange(3, dtype="u1")),
        },
        ("neuron", "time"),
        attrs={
            "none": None, "flag": True, "nested": {"a": [1, {"b": None}], "$": "x"}, "list": [1, 2],
            "coordinates": "mine", "dtype": "bool", "_FillValue": 3, "units": "\u00b5m\nx",
            "nul": "a\0b", "half": "\ud800", "nan": float("nan"), "inf": -np.inf, "int": 2**62,
            "big": 2**70, "np": np.float32(0.1), "empty": "", "one": [1.0], "array": np.arange(3),
            "calendar": "none", "CLASS": "x", "scale_factor": 2.0, "missing_value": 0,
        },
        name="traces",
    )  # fmt: skip
    events = (data > 4).rename("events")
    events.attrs = {"units": "1"}
    none = xr.Dataset({"onset": ("stimulus", np.zeros(0)), "who": ("stimulus", np.zeros(0, "U3"))})
    empty = xr.Dataset(attrs={"only": "attributes"})
    return xr.DataTree.from_dict(
        {
            "/": xr.Dataset(
                attrs={
                    "calscipy_schema_version": cs.model.SCHEMA_VERSION,
                    "history": "x" * 100_000,
                    "prairieview": {"a": {"1": None}},
                }
            ),
            "traces": xr.Dataset({"traces": data, "b": data.astype(">i4")}, attrs={"latest": "b"}),
            "events": events.to_dataset(),
            "stimulus": none,
            "empty": empty,
        }
    )


@pytest.mark.parametrize("lazy", [False, True])
def test_what_netcdf_has_no_form_for_comes_back(tmp_path, lazy):
    tree = odd_session()
    path = to_netcdf(tree.chunk() if lazy else tree, tmp_path / "a.nc")
    found = open_netcdf(path)
    same(found, tree)
    attrs = found["traces/traces"].attrs
    for name, value in tree["traces/traces"].attrs.items():
        if name not in ("nan", "np", "array"):
            assert attrs[name] == value
            assert type(attrs[name]) is type(value)
    assert np.isnan(attrs["nan"])
    assert found["events/events"].dtype == bool


def test_plain_xarray_reads_it(session, written):
    with xr.open_datatree(written, engine="h5netcdf") as tree:
        assert set(tree.children) == set(session.tree.children)
        movie, wanted = tree["movie/movie"].load(), session.movie.compute()
        np.testing.assert_array_equal(movie, wanted)
        for name in ("time", "valid", "y", "channel"):
            np.testing.assert_array_equal(movie[name], wanted[name])
        assert movie.attrs["units"] == wanted.attrs["units"]
        assert movie.attrs["history"] == wanted.attrs["history"]
        assert movie["valid"].dtype == bool
        assert set(movie.coords) == set(wanted.coords)


def test_the_other_netcdf_library_reads_it(session, written):
    pytest.importorskip("netCDF4")
    with xr.open_datatree(written, engine="netcdf4") as tree:
        np.testing.assert_array_equal(tree["traces/dfof"], session.dfof)


def test_dates_are_dates_in_plain_xarray(tmp_path):
    tree = odd_session()
    with xr.open_datatree(to_netcdf(tree, tmp_path / "a.nc"), engine="h5netcdf") as found:
        for name in ("second", "when"):
            wanted = tree["traces"][name].values
            known = ~np.isnat(wanted)
            np.testing.assert_array_equal(found["traces"][name].values[known], wanted[known])


def test_it_opens_lazily_in_the_blocks_that_were_written(session, written):
    tree = open_netcdf(written)
    assert tree["movie/movie"].chunks == session.movie.chunks
    assert tree["traces/traces"].chunks is not None
    assert tree["movie/movie"].time.chunks is None
    rows = open_netcdf(written, chunks="time")["movie/movie"]
    assert rows.chunksizes["frames"] == (60,)
    assert open_netcdf(written, chunks=None)["movie/movie"].chunks is None
    tiles = open_netcdf(written, chunks={"frames": 7, "y": 5})["movie/movie"]
    assert tiles.chunksizes["y"] == (5, 5, 5, 5)
    np.testing.assert_array_equal(tiles, session.movie)


def test_tasks_hold_paths_and_names_alone(written, monkeypatch, tmp_path):
    movie = open_netcdf(written)["movie/movie"]
    again = pickle.loads(pickle.dumps(movie))
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(again[3], movie[3])
    assert len(pickle.dumps(movie)) < 2e5
    assert tokenize(movie.data) == tokenize(open_netcdf(written)["movie/movie"].data)


@pytest.mark.parametrize(
    "key",
    [
        (slice(None, None, -2), 0, slice(3, 9)),
        ([5, 1, 1, 3], slice(None), [0, 2]),
        (-1, [True, False] * 10, slice(None)),
        (slice(5, 5), slice(None), 2),
    ],
)
def test_every_selection(session, written, key):
    lazy = open_netcdf(written, chunks=None)["movie/movie"].isel(channel=1)
    whole = session.movie.isel(channel=1).compute()
    key = dict(zip(("frames", "y", "x"), key, strict=True))
    np.testing.assert_array_equal(lazy.isel(key), whole.isel(key))


def test_one_graph_computes_every_block_once_with_few_in_memory(tmp_path):
    calls, lock = [], threading.Lock()

    def read(block, block_info=None):
        with lock:
            calls.append(block_info[0]["chunk-location"])
        return block

    values = np.random.default_rng(0).random((40, 8, 9))
    source = da.from_array(values, chunks=(10, 8, 9)).map_blocks(read, dtype="f8")
    movie = cs.from_numpy(source, frame_rate=30)
    traces = movie.mean("x").swap_dims(frames="time").rename(y="neuron").transpose()
    tree = cs.ImagingSession(xr.DataTree()).assign(movie=movie, traces=traces)
    found = open_netcdf(to_netcdf(tree, tmp_path / "a.nc"))
    assert sorted(calls) == [(at, 0, 0) for at in range(4)]
    np.testing.assert_array_equal(found["movie/movie"], values)
    np.testing.assert_allclose(found["traces/traces"], values.mean(-1).T)


def test_groups_can_be_chosen(session, tmp_path):
    path = to_netcdf(session, tmp_path / "a.nc", groups="events")
    assert list(open_netcdf(path).children) == ["events"]
    with pytest.raises(ArgumentError, match="no group video"):
        to_netcdf(session, tmp_path / "b.nc", groups=["video"])
    with pytest.raises(ArgumentError, match="no group at all"):
        to_netcdf(xr.DataTree(), tmp_path / "b.nc")
    deep = xr.DataTree.from_dict({"/a/b": xr.Dataset({"c": 1})})
    with pytest.raises(ArgumentError, match=r"one level deep.*found a"):
        to_netcdf(deep, tmp_path / "b.nc")
    with pytest.raises(ArgumentError, match="found c"):
        to_netcdf(xr.DataTree.from_dict({"/": xr.Dataset({"c": 1}), "/a": xr.Dataset()}), "b.nc")
    with pytest.raises(ArgumentError, match="got DataArray"):
        to_netcdf(session.movie, tmp_path / "b.nc")


def test_what_cannot_be_written_is_named_and_nothing_is_left(tmp_path):
    good = xr.DataArray(np.zeros(3), dims="time", name="a")
    bad = {
        "complex128": good * 1j,
        "is a object": good.assign_attrs(lens=object()),
        "several levels": xr.DataArray(
            np.zeros(4), {"a": ("x", [0, 0, 1, 1]), "b": ("x", [0, 1, 0, 1])}, "x", name="c"
        ).set_index(x=("a", "b")),
        "not text": good.assign_coords(o=("time", np.array([1, None, "a"], dtype=object))),
        "'a/b'": good.rename(time="a/b"),
        r"name '\.'": good.rename("."),
    }
    for message, data in bad.items():
        with pytest.raises(StoreError, match=message):
            to_netcdf(xr.DataTree.from_dict({"g": data.to_dataset()}), tmp_path / "a.nc")
    with pytest.raises(ArgumentError, match=r"ends in \.nc"):
        to_netcdf(xr.DataTree(), tmp_path / "a.zarr")
    assert list(tmp_path.iterdir()) == []


def test_existing_files_stay(session, tmp_path):
    (tmp_path / "a.nc").write_text("mine")
    with pytest.raises(TargetExistsError):
        to_netcdf(session, tmp_path / "a.nc")
    assert (tmp_path / "a.nc").read_text() == "mine"


@pytest.mark.parametrize("error", [OSError(28, "No space left"), RecordingError("frame 3")])
def test_a_failure_on_the_way_leaves_nothing(tmp_path, error):
    def fail(block):
        raise error

    lazy = da.zeros((8, 2, 2), chunks=(2, 2, 2)).map_blocks(fail, meta=np.zeros((0, 0, 0)))
    session = cs.ImagingSession(xr.DataTree()).assign(movie=cs.from_numpy(lazy, frame_rate=1))
    with pytest.raises((StoreError, RecordingError), match=r"disk is full|frame 3"):
        to_netcdf(session, tmp_path / "a.nc")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named(session, tmp_path, monkeypatch):
    monkeypatch.setattr(optional.importlib, "import_module", _missing)
    with pytest.raises(optional.MissingPackageError, match=r'pip install "h5py>=[\d.]+" "h5netcdf'):
        to_netcdf(session, tmp_path / "a.nc")


def _missing(name):
    raise ImportError(f"No module named {name!r}")


# -- files that are not to be trusted -------------------------------------------------------


def test_other_files_are_refused(tmp_path):
    with h5py.File(tmp_path / "foreign.nc", "w") as file:
        file["a"] = np.zeros(3)
    (tmp_path / "text.nc").write_text("no")
    messages = {"foreign.nc": "not a session of calscipy", "text.nc": "not an HDF5 file"}
    for name, message in (messages | {"missing.nc": "no such file"}).items():
        with pytest.raises(RecordingError, match=rf"{name}.*{message}"):
            open_netcdf(tmp_path / name)
    for name, message in messages.items():
        with pytest.raises(RecordingError, match=rf"{name}.*{message}"):
            cs.ImagingSession.open(tmp_path / name)


def test_files_are_known_by_their_content(written, tmp_path, session):
    assert is_netcdf(written)
    for name in ("a.h5", "a.hdf5", "a.dat"):
        path = tmp_path / name
        path.write_bytes(written.read_bytes())
        assert is_netcdf(path)
        same(cs.ImagingSession.open(path).tree, session.tree)
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["a"] = np.zeros(3)
    (tmp_path / "text.h5").write_text("no")
    for name in ("foreign.h5", "text.h5", "missing.nc"):
        assert not is_netcdf(tmp_path / name)
    assert not is_netcdf(tmp_path)


def test_a_newer_schema_is_refused(tmp_path, written):
    path = copied(written, tmp_path)
    with h5py.File(path, "r+") as file:
        file.attrs["calscipy_schema_version"] = 99
    with pytest.raises(RecordingError, match=r"schema 99 by calscipy .*Update"):
        open_netcdf(path)


def copied(path, folder):
    copy = folder / "copy.nc"
    copy.write_bytes(path.read_bytes())
    return copy


def secret(folder):
    path = folder / "secret"
    path.write_bytes(b"secret" * 100)
    return path


HOSTILE = {
    "external link": (
        lambda f, s: f["traces"].__setitem__("odd", h5py.ExternalLink(str(s), "/a")),
        "is a link",
    ),
    "external link in a new group": (
        lambda f, s: f.create_group("g").__setitem__("x", h5py.ExternalLink(str(s), "/a")),
        "is a link",
    ),
    "external storage": (
        lambda f, s: f["traces"].create_dataset("odd", (10,), "u1", external=[(str(s), 0, 10)]),
        "in another file",
    ),
    "virtual": (
        lambda f, s: f["traces"].create_virtual_dataset("odd", _layout(s)),
        "in another file",
    ),
    "never written": (
        lambda f, s: _replace(f["movie"], "movie", shape=(2**40, 2, 20, 24), chunks=(1, 2, 20, 24)),
        "chunks are in the file",
    ),
    "a huge coordinate": (
        lambda f, s: _replace(f["movie"], "time", shape=(2**40,), chunks=(2**20,)),
        "chunks are in the file",
    ),
    "a huge chunk": (
        lambda f, s: _replace(
            f["movie"], "movie", shape=(2**24, 2, 20, 24), chunks=(2**22, 2, 20, 24)
        ),
        "has chunks of",
    ),
    "json": (lambda f, s: f["traces/traces"].attrs.__setitem__("calscipy_json", "{"), "damaged"),
    "json of a number": (lambda f, s: f["traces"].attrs.__setitem__("calscipy_json", 3), "damaged"),
    "json that is a list": (
        lambda f, s: f["traces"].attrs.__setitem__("calscipy_json", "[]"),
        "damaged",
    ),
    "deep json": (
        lambda f, s: f.attrs.__setitem__("calscipy_json", "[" * 100_000),
        "damaged",
    ),
    "a type that is none": (
        lambda f, s: f["movie/movie"].attrs.__setitem__("calscipy_json", '{"dtype": "O"}'),
        "type 'O'",
    ),
    "objects": (
        lambda f, s: _attached(f["traces"], h5py.ref_dtype),
        "of the type object",
    ),
    "records": (lambda f, s: _attached(f["traces"], "f4,i4"), "of the type"),
    "no dimensions": (
        lambda f, s: f["traces"].create_dataset("odd", data=np.zeros((3, 60))),
        "does not name its dimensions",
    ),
    "groups in groups": (lambda f, s: f["traces"].create_group("odd"), "is a group, not an array"),
    "a circle": (lambda f, s: f["traces"].__setitem__("odd", f["/"]), "is a group, not an array"),
}


def _attached(group, dtype):
    made = group.create_dataset("odd", group["neuron"].shape, dtype)
    made.dims[0].attach_scale(group["neuron"])


def _layout(secret):
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource(str(secret), "a", (3,))
    return layout


def _replace(group, name, **options):
    attrs, dims = dict(group[name].attrs), [dim.values() for dim in group[name].dims]
    dtype = group[name].dtype
    names = [of[0].name for of in dims if of]
    del group[name]
    made = group.create_dataset(name, dtype=dtype, **options)
    for at, scale in enumerate(names):
        made.dims[at].attach_scale(group.file[scale])
    if "calscipy_json" in attrs:
        made.attrs["calscipy_json"] = attrs["calscipy_json"]


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused(tmp_path, written, kind):
    path = copied(written, tmp_path)
    change, message = HOSTILE[kind]
    with h5py.File(path, "r+") as file:
        change(file, secret(tmp_path))
    with pytest.raises(RecordingError, match=message):
        open_netcdf(path)


def test_long_json_is_refused_before_it_is_parsed(tmp_path, written, monkeypatch):
    monkeypatch.setattr(netcdf_form, "MAX_JSON", 10)
    with pytest.raises(RecordingError, match="up to 10 characters"):
        open_netcdf(written)


def test_packed_labels_that_would_fill_the_memory_are_refused(tmp_path, written, monkeypatch):
    monkeypatch.setattr(hdf5, "MAX_LOADED", 100)
    with pytest.raises(RecordingError, match="more than the 100"):
        open_netcdf(written)


def test_many_long_texts_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:  # one text, which the file could hold once
        file["texts"] = np.array(["a" * 1000] * 50, dtype=object).reshape(5, 10)
    monkeypatch.setattr(hdf5, "MAX_LOADED", 4 * 1000 * 50)
    with h5py.File(path, "r") as file:
        assert hdf5.load(file["texts"], path).shape == (5, 10)
        monkeypatch.setattr(hdf5, "MAX_LOADED", 4 * 1000 * 50 - 1)
        with pytest.raises(RecordingError, match="too long"):
            hdf5.load(file["texts"], path)


def test_long_attributes_are_refused(tmp_path, written):
    path = copied(written, tmp_path)
    with h5py.File(path, "r+", libver="latest") as file:
        file["traces"].attrs["many"] = np.zeros(2**16 + 1, "u1")
    with pytest.raises(RecordingError, match=r"attribute 'many' of '/traces' has the shape"):
        open_netcdf(path)


def test_blocks_too_small_to_be_true_are_not_used(tmp_path, written, monkeypatch):
    monkeypatch.setattr(netcdf_form, "_MOST_BLOCKS", 1)
    movie = open_netcdf(written)["movie/movie"]
    assert movie.data.npartitions == 1


def test_too_many_objects_are_refused(written, monkeypatch):
    monkeypatch.setattr(hdf5, "MAX_OBJECTS", 5)
    with pytest.raises(RecordingError, match="over 5 objects"):
        open_netcdf(written)


def test_soft_links_within_the_file_do_no_harm(tmp_path, written, session):
    path = copied(written, tmp_path)
    with h5py.File(path, "r+") as file:
        file["events/again"] = h5py.SoftLink("/events/events")
    found = open_netcdf(path)["events"]
    np.testing.assert_array_equal(found["again"], session.events)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_cut_files_are_refused(tmp_path, written, share):
    path = tmp_path / "cut.nc"
    data = written.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(RecordingError, match=r"cut\.nc"):
        open_netcdf(path)


def test_flipped_bits_give_our_errors_or_other_values(tmp_path, written):
    data = bytearray(written.read_bytes())
    random = np.random.default_rng(5)
    path = tmp_path / "flipped.nc"
    refused = 0
    for at in random.integers(0, 20_000, 40):
        changed = bytearray(data)
        changed[at] ^= 1 << int(random.integers(8))
        path.write_bytes(changed)
        try:
            open_netcdf(path)
        except RecordingError:
            refused += 1
    assert refused


def test_a_file_that_changes_after_opening_is_noticed(tmp_path, written):
    path = copied(written, tmp_path)
    movie = open_netcdf(path, chunks=None)["movie/movie"]
    with h5py.File(path, "r+") as file:
        _replace(file["movie"], "movie", shape=(3, 2, 20, 24))
    with pytest.raises(RecordingError, match="has changed"):
        movie.load()


def test_threads_read_at_once(written, session):
    with dask.config.set(scheduler="threads", num_workers=4):
        found = open_netcdf(written, chunks={"frames": 3})["movie/movie"].compute()
    np.testing.assert_array_equal(found, session.movie)
