"""Stores: what goes in comes out. `test_store_resume.py` and others interrupt the saving."""

import errno
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr

import calscipy as cs
from calscipy.errors import ArgumentError, StoreError, TargetExistsError
from calscipy.testing import write_recording


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "r"
    truth = write_recording(
        folder, frames=150, shape=(40, 36), channels=("Red", "Green"), neurons=3, burst_rate=0.3,
        cycles=2, microns_per_pixel=(0.5, 0.7),
    )  # fmt: skip
    return (
        cs.ImagingSession.open(folder)
        .cs.gaussian_filter(sigma={"y": 1, "x": 1})
        .cs.extract(truth.labels)
        .cs.dfof(method="mean")
    )


@pytest.fixture
def saved(session, tmp_path):
    return session.save(tmp_path / "s.zarr", progress=False)


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir())


def test_round_trip_is_identical_and_lazy(session, saved):
    assert set(saved.tree.children) == set(session.tree.children)
    for group, node in session.tree.children.items():
        ours, theirs = saved.tree[group].to_dataset(), node.to_dataset()
        xr.testing.assert_identical(ours.compute(), theirs.compute())
        for name, coordinate in theirs.coords.items():
            assert ours[name].dtype == coordinate.dtype
        for name, variable in theirs.data_vars.items():
            assert (ours[name].chunks is None) == (variable.chunks is None)
    assert saved.tree.attrs == json.loads(json.dumps(session.tree.attrs))
    assert saved.metadata.objective == session.metadata.objective


def test_a_reopened_session_goes_on_and_saves_again(saved, tmp_path):
    events = saved.cs.events(method="derivative")
    again = events.save(tmp_path / "again.zarr", progress=False)
    xr.testing.assert_identical(again.dfof.compute(), saved.dfof.compute())
    assert again.events.dtype == bool


def test_no_warning_reaches_the_user_and_the_progress_bar_shows(session, tmp_path, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        session.save(tmp_path / "s.zarr", progress=True)
        cs.ImagingSession.open(tmp_path / "s.zarr")
        xr.open_datatree(tmp_path / "s.zarr", engine="zarr").close()
    assert "saving s.zarr" in capsys.readouterr().err


def test_opens_in_a_process_that_never_imports_calscipy(saved, tmp_path):
    code = (
        "import sys, warnings; warnings.simplefilter('error'); import xarray as xr\n"
        f"tree = xr.open_datatree({str(tmp_path / 's.zarr')!r}, engine='zarr')\n"
        "movie = tree['movie/movie']\n"
        "print(movie.dims, movie.shape, list(tree['movie'].channel.values), tree.attrs['source'])\n"
        "assert float(tree['traces/traces'].mean()) > 0\n"
        "assert not [m for m in sys.modules if m.startswith('calscipy')]\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "('frames', 'channel', 'y', 'x') (150, 2, 40, 36) ['Red', 'Green']" in done.stdout


def test_valid_ome_zarr(saved, tmp_path):
    models = pytest.importorskip("ome_zarr_models.v05.image")
    for path in (tmp_path / "s.zarr", tmp_path / "s.zarr" / "movie"):
        image = models.Image.from_zarr(zarr.open_group(path, mode="r"))
        scale = image.ome_attributes.multiscales[0]
        assert [axis.type for axis in scale.axes] == ["time", "channel", "space", "space"]
        steps = scale.datasets[0].coordinateTransformations[0].scale
        assert steps == pytest.approx([1 / 30, 1, 0.5, 0.7])


def test_chunks_codecs_and_shards(session, tmp_path):
    movie = cs.from_numpy(np.zeros((300, 200, 130), "u2"), frame_rate=30).chunk(frames=128)
    movie.cs.to_zarr(tmp_path / "m.zarr", progress=False)
    array = zarr.open_array(tmp_path / "m.zarr" / "movie" / "movie", mode="r")
    assert array.shards == (128, 256, 256)
    assert array.chunks == (64, 64, 128)
    names = [type(codec).__name__ for codec in array.compressors]
    assert names == ["BloscCodec", "Crc32cCodec"]
    assert sum(path.is_file() for path in (tmp_path / "m.zarr/movie/movie/c").rglob("*")) == 3


@pytest.mark.parametrize("chunks", [(1, 40, 36), (7, 13, 36), (97, 40, 5), (150, 40, 36)])
def test_any_chunks_are_saved(chunks, tmp_path):
    data = np.random.default_rng(0).integers(0, 4096, (150, 40, 36)).astype("u2")
    movie = cs.from_numpy(da.from_array(data, chunks=chunks), frame_rate=30)
    movie.cs.to_zarr(tmp_path / "m.zarr", progress=False)
    np.testing.assert_array_equal(cs.ImagingSession.open(tmp_path / "m.zarr").movie, data)


def test_groups_are_selected_and_unknown_ones_refused(session, tmp_path):
    part = session.save(tmp_path / "t.zarr", groups=("traces",), progress=False)
    assert list(part.tree.children) == ["traces"]
    with pytest.raises(AttributeError, match="no 'movie'; it has traces"):
        part.movie  # noqa: B018
    with pytest.raises(ArgumentError, match="no group nonsense"):
        session.save(tmp_path / "u.zarr", groups=("nonsense",))
    assert leftovers(tmp_path) == ["t.zarr"]


@pytest.mark.parametrize("kind", ["store", "folder", "file", "link"])
def test_an_existing_target_is_refused_and_left_alone(session, tmp_path, kind):
    target = tmp_path / "s.zarr"
    if kind == "store":
        session.save(target, progress=False)
    elif kind == "folder":
        target.mkdir()
        (target / "thesis.txt").write_text("three years")
    elif kind == "file":
        target.write_text("three years")
    else:
        target.symlink_to(tmp_path / "nowhere")
    before = leftovers(tmp_path)
    with pytest.raises(TargetExistsError, match=r"s\.zarr exists already.*choose another name"):
        session.save(target)
    assert leftovers(tmp_path) == before
    if kind == "folder":
        assert (target / "thesis.txt").read_text() == "three years"


def test_saving_onto_the_store_that_is_open_is_refused(saved, tmp_path):
    with pytest.raises(TargetExistsError):
        saved.save(tmp_path / "s.zarr")
    assert saved.movie.sizes["frames"] == 150


def test_a_read_only_disk_leaves_nothing(session, tmp_path, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StoreError, match=r"Read-only file system.*can be written to"):
        session.save(tmp_path / "s.zarr", progress=False)
    assert leftovers(tmp_path) == []


def test_an_error_in_the_graph_leaves_nothing_and_keeps_its_type(tmp_path):
    def fail(block):
        raise ZeroDivisionError("in a block")

    data = da.zeros((4, 8, 8), chunks=(2, 8, 8)).map_blocks(fail, meta=np.zeros((0, 0, 0)))
    movie = cs.from_numpy(data, frame_rate=30)
    with pytest.raises(ZeroDivisionError, match="in a block"):
        movie.cs.to_zarr(tmp_path / "m.zarr", progress=False)
    assert leftovers(tmp_path) == []


def test_a_missing_parent_is_explained(session, tmp_path):
    with pytest.raises(StoreError, match=r"no such folder to write into"):
        session.save(tmp_path / "nowhere" / "s.zarr")


def set_attrs(path, **attrs):
    file = path / "zarr.json"
    content = json.loads(file.read_text())
    content["attributes"] |= attrs
    content.pop("consolidated_metadata", None)
    file.write_text(json.dumps(content))


def test_incomplete_newer_foreign_and_damaged_stores_are_refused(saved, tmp_path):
    path = tmp_path / "s.zarr"
    set_attrs(path, calscipy_complete=False)
    with pytest.raises(StoreError, match="not complete"):
        cs.ImagingSession.open(path)
    set_attrs(path, calscipy_schema_version=99, calscipy_version="9.9")
    with pytest.raises(StoreError, match=r"schema 99 by calscipy 9\.9.*Update calscipy"):
        cs.ImagingSession.open(path)
    (path / "zarr.json").write_text("{")
    with pytest.raises(StoreError, match="not a readable zarr 3 group"):
        cs.ImagingSession.open(path)
    zarr.create_group(tmp_path / "foreign.zarr", zarr_format=3)
    with pytest.raises(StoreError, match="not a calscipy store"):
        cs.ImagingSession.open(tmp_path / "foreign.zarr")


def test_attributes_that_cannot_be_stored_are_named(tmp_path):
    movie = cs.from_numpy(np.zeros((2, 4, 4), "u2"), frame_rate=30)
    movie.attrs["date"] = np.datetime64("2026-01-01")
    movie.attrs["mouse"] = object()
    with pytest.raises(StoreError, match=r"date|mouse"):
        movie.cs.to_zarr(tmp_path / "m.zarr")
    assert leftovers(tmp_path) == []
    movie = movie.drop_attrs().assign_attrs(
        a=np.float32(1.5), b=(1, 2), c=float("nan"), d=np.arange(2)
    )
    movie.cs.to_zarr(tmp_path / "m.zarr", progress=False)
    attrs = cs.ImagingSession.open(tmp_path / "m.zarr").movie.attrs
    assert (attrs["a"], attrs["b"], attrs["c"], attrs["d"]) == (1.5, [1, 2], None, [0, 1])


def test_zeros_are_written_as_chunks(tmp_path):
    movie = cs.from_numpy(np.zeros((4, 8, 8), "u2"), frame_rate=30)
    movie.cs.to_zarr(tmp_path / "m.zarr", progress=False)
    array = zarr.open_array(tmp_path / "m.zarr" / "movie" / "movie", mode="r")
    assert array.nchunks_initialized == array.nchunks


def test_works_without_posix_calls(session, tmp_path, monkeypatch):
    monkeypatch.delattr(os, "O_DIRECTORY", raising=False)
    for name in ("pread", "preadv"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    saved = session.save(tmp_path / "s.zarr", progress=False)
    xr.testing.assert_identical(saved.traces.compute(), session.traces.compute())


def test_chunks_of_a_stored_movie(saved, tmp_path):
    path = tmp_path / "s.zarr"
    for chunks, expected in (({"frames": 50}, (50, 50, 50)), ("time", (150,))):
        movie = cs.ImagingSession.open(path, chunks=chunks).movie
        assert movie.chunks[0] == expected
        np.testing.assert_array_equal(movie.values, saved.movie.values)
    assert cs.ImagingSession.open(path, chunks=None).movie.chunks is None
    with pytest.raises(ArgumentError, match="chunks must be"):
        cs.ImagingSession.open(path, chunks="nonsense")


def test_zarr_2_arrays_in_a_store_are_refused(saved, tmp_path):
    path = tmp_path / "s.zarr"
    old = zarr.create_array(tmp_path / "old", shape=(2,), dtype="i4", zarr_format=2)
    content = json.loads((path / "zarr.json").read_text())
    content["consolidated_metadata"]["metadata"]["extra"] = old.metadata.to_dict()
    (path / "zarr.json").write_text(json.dumps(content, default=str))
    with pytest.raises(StoreError, match="extra are zarr 2 arrays"):
        cs.ImagingSession.open(path)


def test_to_zarr_refuses_what_no_session_holds(tmp_path):
    image = cs.from_numpy(np.zeros((2, 4, 4), "u2"), frame_rate=30).cs.project()
    with pytest.raises(AttributeError, match="to_zarr works on a movie"):
        image.cs.to_zarr(tmp_path / "i.zarr")
    with pytest.raises(ArgumentError, match="saves movies, traces and events"):
        cs.to_zarr(image, tmp_path / "i.zarr")
    assert leftovers(tmp_path) == []


def test_volumes_of_two_channels_are_valid_ome_zarr(tmp_path):
    models = pytest.importorskip("ome_zarr_models.v05.image")
    movie = cs.from_numpy(
        np.zeros((3, 2, 4, 8, 6), "u2"), frame_rate=5, microns_per_pixel=(0.5, 0.7)
    )
    z = ("plane", [0.0, 5.0, 10.0, 15.0], {"units": "um"})
    movie.assign_coords(z=z).cs.to_zarr(tmp_path / "v.zarr", progress=False)
    for path in (tmp_path / "v.zarr", tmp_path / "v.zarr" / "movie"):
        image = models.Image.from_zarr(zarr.open_group(path, mode="r"))
        (dataset,) = image.ome_attributes.multiscales[0].datasets
        assert dataset.coordinateTransformations[0].scale == pytest.approx([0.2, 1, 5, 0.5, 0.7])
