"""``~`` is the home folder wherever a path is given."""

import os

import numpy as np
import pytest

import calscipy as cs
from calscipy.cli import main
from calscipy.errors import RecordingError
from calscipy.testing import write_recording


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield tmp_path / "home"
    assert os.listdir() == []


def visible(folder):
    """Its names without those that other libraries keep in a home folder."""
    return {name for name in os.listdir(folder) if not name.startswith(".")}


@pytest.fixture
def movie():
    return cs.from_numpy(np.ones((4, 6, 8), "uint16"), frame_rate=30)


def test_recordings_are_opened_there(home):
    write_recording("~/TSeries-001", frames=4, shape=(8, 8), neurons=1)
    assert cs.ImagingSession.open("~/TSeries-001").movie.sizes["frames"] == 4
    cs.preview("~/TSeries-001", "~/seen.png")
    assert visible(home) == {"TSeries-001", "seen.png"}
    with pytest.raises(RecordingError, match=r"home.nowhere: there is no such"):
        cs.ImagingSession.open("~/nowhere")


def test_stores_are_saved_there(home, movie):
    movie.cs.to_zarr("~/a.zarr", progress=False)
    session = cs.ImagingSession.open("~/a.zarr")
    assert session.save("~/b.zarr", progress=False).movie.sizes["frames"] == 4
    cs.to_zip("~/a.zarr", "~/a.zip", progress=False)
    assert cs.verify("~/a.zip", progress=False).ok
    assert visible(home) == {"a.zarr", "a.zip", "b.zarr"}


def test_files_are_written_there(home, movie):
    traces = cs.from_numpy(np.ones((2, 9)), frame_rate=30)
    cs.to_csv(traces, "~/t.csv", progress=False)
    cs.to_tiff(movie, "~/a.tif", progress=False)
    cs.to_binary(movie, "~/a.bin", progress=False)
    cs.to_suite2p(movie, "~/mouse", progress=False)
    pytest.importorskip("h5netcdf")
    cs.to_netcdf(cs.ImagingSession.open("~/a.tif"), "~/a.nc", progress=False)
    assert {"t.csv", "t.json", "a.tif", "a.bin", "mouse", "a.nc"} <= visible(home)


def test_the_command_line_knows_it_too(home, movie, capsys):
    movie.cs.to_zarr("~/a.zarr", progress=False)
    assert main(["convert", "~/a.zarr", "~/b.tif"]) == 0  # as in shells that leave it
    assert main(["verify", "~/a.zarr"]) == 0
    assert main(["info", "~/b.tif"]) == 0
    assert main(["preview", "~/a.zarr", "--output", "~/b.png"]) == 0
    assert main(["clean", "~"]) == 0
    assert visible(home) == {"a.zarr", "b.png", "b.tif"}
