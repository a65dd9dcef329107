"""``calscipy convert | verify | clean``: what they write, say, refuse and leave."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import tifffile

import calscipy as cs
from calscipy.cli import main, progress
from calscipy.cli.formats import FORMATS
from calscipy.io.store.files import MANIFEST
from calscipy.io.store.verify import verify_store
from calscipy.testing import write_recording

SMALL = {"shape": (16, 24), "neurons": 1, "burst_rate": 0}


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys):
    """Run a command: its exit code, its output and what it complained about."""

    def run(*arguments):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:  # as argparse does
            code = end.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A recording of two channels, and a store of it with traces; not to be changed."""
    folder = tmp_path_factory.mktemp("recorded")
    write_recording(folder / "rec", frames=90, channels=("Ch1", "Ch2"), **SMALL)
    session = cs.ImagingSession.open(folder / "rec")
    labels = np.zeros((16, 24), int)
    labels[2:6, 3:9] = 1
    traces = session.movie.sel(channel="Ch2").cs.extract(labels)
    session = session.assign(traces=traces, rois=cs.rois_from_labels(labels))
    session.save(folder / "s.zarr", progress=False)
    return folder


@pytest.fixture
def rec(recorded):
    return recorded / "rec"


@pytest.fixture
def store(recorded):
    return recorded / "s.zarr"


def facts(output):
    return json.loads(output)


# -- convert -------------------------------------------------------------------------------------


def test_a_recording_to_a_store(run, rec):
    code, out, complaints = run("convert", rec, "out.zarr")
    assert (code, complaints) == (0, "")
    assert "out.zarr  zarr, " in out
    assert " MB/s)" in out
    movie = cs.ImagingSession.open("out.zarr").movie
    np.testing.assert_array_equal(movie, cs.ImagingSession.open(rec).movie)
    assert verify_store("out.zarr", progress=False).ok


def test_the_result_for_programs(run, rec, tmp_path):
    code, out, complaints = run("convert", rec, "out.zarr", "--json", "--channel", "Ch1")
    assert (code, complaints) == (0, "")
    found = facts(out)
    assert found.pop("seconds") > 0
    files = [file for file in (tmp_path / "out.zarr").rglob("*") if file.is_file()]
    assert found.pop("bytes") == sum(file.stat().st_size for file in files)
    assert found.pop("bytes_in_memory") >= 90 * 16 * 24 * 2
    assert found == {
        "input": str(rec),
        "output": str(tmp_path / "out.zarr"),
        "format": "zarr",
        "groups": ["movie"],
        "array": None,
        "warnings": [],
    }
    assert cs.ImagingSession.open("out.zarr").movie.channel.item() == "Ch1"


def test_channels_and_planes_are_selected(run):
    write_recording("volumes", frames=4, planes=3, z_step=15, channels=("Ch1", "Ch2"), **SMALL)
    original = cs.ImagingSession.open("volumes").movie
    assert run("convert", "volumes", "a.zarr", "--plane", 1, "--channel", "Ch2")[0] == 0
    assert cs.ImagingSession.open("a.zarr").movie.dims == ("frames", "y", "x")
    np.testing.assert_array_equal(
        cs.ImagingSession.open("a.zarr").movie, original.sel(channel="Ch2", plane=1)
    )
    assert run("convert", "volumes", "b.zarr", "--plane", 0, "--plane", 2)[0] == 0
    np.testing.assert_array_equal(
        cs.ImagingSession.open("b.zarr").movie, original.sel(plane=[0, 2])
    )
    code, _, complaints = run("convert", "volumes", "c.zarr", "--channel", "Ch9")
    assert code == 1
    assert "no channel 'Ch9' in it; there are Ch1, Ch2." in complaints
    code, _, complaints = run("convert", "volumes", "c.zarr", "--plane", 0, "--plane", 7)
    assert "no plane [0, 7] in it; there are 0, 1, 2." in complaints
    assert not os.path.exists("c.zarr")


@pytest.mark.parametrize(("chunks", "inner"), [("frames", (8, 16, 24)), ("hybrid", (45, 16, 24))])
def test_chunks(run, rec, chunks, inner):
    import zarr

    assert run("convert", rec, "out.zarr", "--chunks", chunks, "--channel", "Ch1")[0] == 0
    array = zarr.open_array("out.zarr/movie/movie", mode="r")
    assert array.chunks[1:] == inner[1:]
    assert array.chunks[0] <= inner[0] or chunks == "hybrid"


def test_options_of_what_is_read(run):
    pages = np.arange(12 * 4 * 6, dtype="u2").reshape(12, 4, 6)
    tifffile.imwrite("plain.tif", pages)
    code, _, complaints = run("convert", "plain.tif", "a.zarr")
    assert code == 1
    assert "--frame-rate 15.49" in complaints
    options = ("--frame-rate", 15, "--channels", "Red,Green", "--microns-per-pixel", 0.5, 2)
    assert run("convert", "plain.tif", "a.zarr", *options)[::2] == (0, "")
    movie = cs.ImagingSession.open("a.zarr").movie
    assert movie.channel.values.tolist() == ["Red", "Green"]
    np.testing.assert_array_equal(movie, pages.reshape(6, 2, 4, 6))
    assert float(movie.y[1] - movie.y[0]) == 0.5
    assert float(movie.time[1]) == pytest.approx(1 / 15)
    code, _, complaints = run("convert", "plain.tif", "b.zarr", "--cycles", "1,2")
    assert code == 1
    assert "cycles" in complaints


def test_a_store_to_tiff(run, store):
    code, out, _ = run("convert", store, "out.tif", "--channel", "Ch2")
    assert code == 0
    assert out.startswith("out.tif  tiff, ")
    with tifffile.TiffFile("out.tif") as file:
        assert file.is_ome
        values = file.asarray()
    np.testing.assert_array_equal(values, cs.ImagingSession.open(store).movie.sel(channel="Ch2"))


def test_tiff_files_of_a_largest_size(run, store):
    arguments = ("--format", "tiff", "--max-file-size", 3e-5, "--channel", "Ch2")
    code, _, _ = run("convert", store, "files", *arguments)
    assert code == 0
    sizes = [os.path.getsize(os.path.join("files", name)) for name in os.listdir("files")]
    assert len(sizes) > 1
    assert max(sizes) <= 30_000


def test_a_store_to_bytes_and_back(run, store):
    assert run("convert", store, "out.bin", "--channel", "Ch2")[::2] == (0, "")
    original = cs.ImagingSession.open(store).movie.sel(channel="Ch2")
    assert np.fromfile("out.bin", "<u2").tolist() == original.values.ravel().tolist()


def test_a_store_to_netcdf(run, store):
    pytest.importorskip("h5netcdf")
    import xarray

    code, _, complaints = run("convert", store, "out.nc", "--group", "traces")
    assert (code, complaints) == (0, "")
    with xarray.open_datatree("out.nc", engine="h5netcdf") as tree:
        assert list(tree.children) == ["traces"]
        np.testing.assert_array_equal(
            tree["traces/traces"], cs.ImagingSession.open(store).traces.values
        )


def test_a_store_to_nwb(run, store, tmp_path):
    pytest.importorskip("pynwb")
    code, _, complaints = run("convert", store, "out.nwb")
    assert code == 1
    first, *items, last = complaints.splitlines()
    assert first.startswith("calscipy: error: NWB demands")
    for needed in ("subject", "location", "indicator"):
        assert any(item.startswith(f"- {needed}") for item in items)
    assert "JSON file" in last
    assert "--metadata FILE" in last
    assert "to_nwb" not in complaints
    file = tmp_path / "facts.json"
    for content, reason in (("{", "not a JSON file"), ("[1]", "a JSON object"),
                            ('{"subjekt": 1}', "subjekt: not among the facts")):  # fmt: skip
        file.write_text(content)
        code, _, complaints = run("convert", store, "out.nwb", "--metadata", file)
        assert code == 1
        assert reason in complaints
    assert not os.path.exists("out.nwb")
    facts = {
        "session_description": "spontaneous activity", "timezone": "Europe/Zurich",
        "subject": {"subject_id": "m12", "species": "Mus musculus", "sex": "F", "age": "P90D"},
        "indicator": "GCaMP6f", "location": "V1", "excitation_nm": 920, "emission_nm": 520,
    }  # fmt: skip
    file.write_text(json.dumps(facts))
    code, out, complaints = run("convert", store, "out.nwb", "--metadata", file, "--channel", "Ch2")
    assert code == 0, complaints
    assert out.startswith("out.nwb  nwb, ")


def test_traces_to_csv(run, store, rec):
    assert run("convert", store, "out.csv")[::2] == (0, "")
    table = np.genfromtxt("out.csv", delimiter=",", names=True)
    traces = cs.ImagingSession.open(store).traces
    np.testing.assert_array_equal(table["time"], traces.time)
    assert len(table.dtype.names) == 2
    for arguments, reason in (
        ((rec, "a.csv"), "no traces or events or voltage or stimulus in it"),
        ((store, "a.csv", "--group", "events"), "no events in it"),
        ((store, "a.csv", "--group", "events", "--group", "traces"), "holds one group"),
    ):
        code, _, complaints = run("convert", *arguments)
        assert code == 1
        assert reason in complaints
    assert not os.path.exists("a.csv")


@pytest.fixture
def tables(store):
    """A store with several arrays in two groups."""
    session = cs.ImagingSession.open(store)
    noise = np.random.default_rng(0).normal(100, 5, session.traces.shape)
    session = session.assign(traces=session.traces.copy(data=noise))
    session = session.assign(dfof=lambda s: s.traces.cs.dfof(method="median"))
    session = session.assign(events=session.traces > 105)
    session.save("m.zarr", groups=("traces", "events"), progress=False)
    return session


def test_what_a_table_holds_is_said_and_may_be_chosen(run, tables):
    code, out, complaints = run("convert", "m.zarr", "out.csv")
    assert (code, complaints) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("out.csv  csv, ")
    assert lines[1] == "  dfof (1 neuron x 90 time); labels and units in out.json"
    assert lines[2] == ("  not written: traces/traces, events/events; choose one with --array NAME")
    expected = {"traces": tables.traces, "traces/traces": tables.traces, "dfof": tables.dfof,
                "events": tables.events}  # fmt: skip
    for at, (name, data) in enumerate(expected.items()):
        code, out, _ = run("convert", "m.zarr", f"{at}.csv", "--array", name, "--json")
        assert code == 0
        assert facts(out)["array"].endswith(name)
        column = np.genfromtxt(f"{at}.csv", delimiter=",", skip_header=1)[:, 1]
        np.testing.assert_allclose(column, data.values[0], rtol=1e-6)


def test_arrays_that_are_no_table(run, tables, rec):
    code, _, complaints = run("convert", "m.zarr", "out.csv", "--array", "spikes")
    assert code == 1
    assert "no array 'spikes' in it" in complaints
    assert "there are traces/dfof, traces/traces, events/events." in complaints
    for wrong in (("--array", "events", "--group", "traces"), ("--array", "traces/")):
        assert run("convert", "m.zarr", "out.csv", *wrong)[0] == 1
    assert run("convert", "m.zarr", "out.tif", "--array", "traces")[0] == 2
    assert not os.path.exists("out.csv")


def test_a_recording_for_suite2p(run, rec):
    arguments = ("--format", "suite2p", "--functional-channel", "Ch2")
    code, out, _ = run("convert", rec, "mouse", *arguments, "--json")
    assert code == 0
    assert facts(out)["output"].endswith(os.path.join("mouse", "suite2p"))
    values = np.fromfile("mouse/suite2p/plane0/data.bin", "<i2").reshape(90, 16, 24)
    np.testing.assert_array_equal(values, cs.ImagingSession.open(rec).movie.sel(channel="Ch2"))


def test_a_store_to_a_zip_and_back(run, store):
    assert run("convert", store, "s.zip")[::2] == (0, "")
    assert verify_store("s.zip", progress=False).ok
    assert run("convert", "s.zip", "again.zarr")[::2] == (0, "")
    ours, theirs = (cs.ImagingSession.open(path).tree for path in ("again.zarr", store))
    for group, node in theirs.children.items():
        assert ours[group].to_dataset().compute().identical(node.to_dataset().compute())


def test_a_part_of_a_recording_to_a_zip(run, rec):
    assert run("convert", rec, "part.zarr.zip", "--channel", "Ch1")[::2] == (0, "")
    assert cs.ImagingSession.open("part.zarr.zip").movie.channel.item() == "Ch1"
    assert os.listdir() == ["part.zarr.zip"]


def test_nothing_is_written_over(run, rec, store):
    for name in ("a.zarr", "a.zip", "a.tif", "a.bin", "a.nc"):
        with open(name, "w") as file:
            file.write("mine")
        code, _, complaints = run("convert", rec, name)
        assert code == 1
        assert "exists already" in complaints
        assert complaints.count("\n") == 1
        with open(name) as file:
            assert file.read() == "mine"


def test_a_store_is_replaced_when_told_to(run, rec):
    assert run("convert", rec, "out.zarr", "--channel", "Ch1")[0] == 0
    assert run("convert", rec, "out.zarr", "--channel", "Ch2")[0] == 1
    assert run("convert", rec, "out.zarr", "--channel", "Ch2", "--overwrite")[0] == 0
    assert cs.ImagingSession.open("out.zarr").movie.channel.item() == "Ch2"
    assert os.listdir() == ["out.zarr"]


def test_warnings_are_in_the_result(run):
    write_recording("damaged", frames=20, missing=[3, 4], **SMALL)
    code, out, complaints = run("convert", "damaged", "out.zarr", "--json")
    assert code == 0
    assert complaints.startswith("calscipy: warning: ")
    (said,) = facts(out)["warnings"]
    assert " ".join(said.split()) in complaints


@pytest.mark.parametrize(
    "arguments",
    [
        ("in", "out"),
        ("in", "out.mp4"),
        ("in",),
        ("in", "out.zarr", "--format", "mp4"),
        ("in", "out.zarr", "--chunks", "odd"),
        ("in", "out.zarr", "--frame-rate", "0"),
        ("in", "out.zarr", "--channels", "0"),
        ("in", "out.zarr", "--planes", "two"),
        ("in", "out.zarr", "--planes", "-1"),
        ("in", "out.zarr", "--cycles", "1,x"),
        ("in", "out.zarr", "--plane", "first"),
        ("in", "out.zarr", "--microns-per-pixel", "1"),
        ("in", "out.zarr", "--max-file-size", "2"),
        ("in", "out.tif", "--max-file-size", "nan"),
        ("in", "out.tif", "--resume"),
        ("in", "out.tif", "--overwrite"),
        ("in", "out.bin", "--chunks", "time"),
        ("in", "out.zip", "--overwrite"),
        ("in", "out.tif", "--halve"),
    ],
)
def test_wrong_usage_exits_with_2_before_anything_is_opened(run, arguments):
    code, out, complaints = run("convert", *arguments)
    assert (code, out) == (2, "")
    assert complaints.startswith("usage: calscipy convert")


@pytest.mark.parametrize("name", ["out.zarr", "out.zip", "out.tif", "out.bin", "out.nc", "out.csv"])
def test_what_cannot_be_opened_is_said_in_one_line(run, name):
    code, out, complaints = run("convert", "nowhere", name)
    assert (code, out) == (1, "")
    assert complaints.startswith("calscipy: error: nowhere: ")
    assert complaints.count("\n") == 1
    assert os.listdir() == []


def test_there_is_no_folder_to_write_into(run, rec):
    for name in ("out.zarr", "out.zip", "out.tif"):
        code, _, complaints = run("convert", rec, f"no/folder/{name}")
        assert code == 1
        assert "there is no such folder to write into" in complaints


def test_every_format_has_its_own_name_and_endings():
    endings = [suffix for known in FORMATS for suffix in known.suffixes]
    assert len(endings) == len(set(endings))
    assert len({known.name for known in FORMATS}) == len(FORMATS)


# -- interrupted ---------------------------------------------------------------------------------

SLOW = """
    import signal, sys, time
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
    from calscipy.io.store import journal
    write = journal.Journal.write
    def slow(self, key, *parts):
        write(self, key, *parts)
        if "movie/movie/c/" in key:
            print(key, flush=True)
            time.sleep(0.5)
    journal.Journal.write = slow
    import dask
    dask.config.set(num_workers=1)
    from calscipy.cli import main
    sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(os.name == "nt", reason="no such signals on Windows")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_interrupted_conversion_is_kept_and_goes_on(run, rec, number, code):
    command = [sys.executable, "-c", textwrap.dedent(SLOW), "convert", str(rec), "out.zarr"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        first = process.stdout.readline()
        process.send_signal(number)
        _, complaints = process.communicate(timeout=60)
    assert first.startswith("movie/movie/c/"), complaints
    assert process.returncode == code
    assert complaints.count("\n") == 1
    assert complaints.startswith("calscipy: error: interrupted. ")
    assert "--resume goes on with it" in complaints
    (stage,) = os.listdir()
    assert stage.startswith(".out.zarr.")

    again, _, complaints = run("convert", rec, "out.zarr")
    assert again == 1
    assert "--resume" in complaints
    _, out, _ = run("clean", ".")
    assert f"abandoned  {stage}" in out
    assert run("convert", rec, "out.zarr", "--resume")[::2] == (0, "")
    assert os.listdir() == ["out.zarr"]
    assert verify_store("out.zarr", progress=False).ok
    np.testing.assert_array_equal(
        cs.ImagingSession.open("out.zarr").movie, cs.ImagingSession.open(rec).movie
    )


def test_sigterm_is_put_back(run):
    before = signal.getsignal(signal.SIGTERM)
    run("verify", "nowhere")
    assert signal.getsignal(signal.SIGTERM) is before


# -- progress ------------------------------------------------------------------------------------


def test_lines_come_now_and_then(capsys, monkeypatch):
    clock = iter([0.0, 1.0, 11.0, 12.0, 30.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    lines = progress.Lines("m.zarr")
    for done in (10**9, 3 * 10**9, 4 * 10**9, 7 * 10**9):
        lines(done, 10**10)
    assert capsys.readouterr().err.splitlines() == [
        "m.zarr: 30 %, 3.00 of 10.00 GB, 182 MB/s, 38 s left",
        "m.zarr: 70 %, 7.00 of 10.00 GB, 200 MB/s, 15 s left",
    ]


def test_lines_on_the_tasks_of_a_writer(run, rec, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    code, _, complaints = run("convert", rec, "out.tif", "--channel", "Ch1")
    assert code == 0
    *_, last = [line for line in complaints.splitlines() if line.startswith("out.tif: ")]
    assert last.startswith("out.tif: 100 %, 0.00 of 0.00 GB")
    code, _, complaints = run("convert", rec, "out.zarr", "--channel", "Ch1")
    *_, last = complaints.splitlines()
    assert last.startswith("out.zarr: 100 %")


# -- verify --------------------------------------------------------------------------------------


def test_verify_of_a_whole_store(run, store):
    code, out, complaints = run("verify", store)
    assert (code, complaints) == (0, "")
    assert "every file is as it was written" in out
    found = facts(run("verify", store, "--json")[1])
    assert (found["ok"], found["bad"], found["checksums"]) == (True, [], True)
    assert found["bytes"] > 0


def test_verify_of_a_damaged_store(run, rec):
    run("convert", rec, "out.zarr")
    shard = "out.zarr/movie/movie/c/0/1/0/0"
    with open(shard, "r+b") as file:
        file.seek(100)
        byte = file.read(1)
        file.seek(100)
        file.write(bytes([byte[0] ^ 1]))
    os.remove("out.zarr/movie/time/c/0")
    code, out, complaints = run("verify", "out.zarr")
    assert (code, complaints) == (1, "")
    assert out.splitlines()[:2] == [
        "movie/movie/c/0/1/0/0: changed after it was written",
        "movie/time/c/0: missing",
    ]
    code, out, _ = run("verify", "out.zarr", "--json")
    assert code == 1
    assert [(bad["path"], bad["flaw"]) for bad in facts(out)["bad"]] == [
        ("movie/movie/c/0/1/0/0", "checksum"),
        ("movie/time/c/0", "missing"),
    ]


def test_verify_of_what_is_no_store(run, rec):
    for path in (rec, "nowhere"):
        code, out, complaints = run("verify", path)
        assert (code, out) == (1, "")
        assert complaints.startswith("calscipy: error: ")
        assert complaints.count("\n") == 1


def test_verify_says_that_it_is_something_else(run, rec):
    tifffile.imwrite("conv.tif", np.zeros((5, 8, 8), "u2"))
    code, out, complaints = run("verify", "conv.tif")
    assert (code, out) == (1, "")
    assert "conv.tif: this file is no store of calscipy" in complaints
    assert "no checksums" in complaints
    assert "there is no store" in run("verify", "nowhere")[2]
    assert "there is no zarr.json in it" in run("verify", rec)[2]


# -- clean ---------------------------------------------------------------------------------------


@pytest.fixture
def stage(tmp_path):
    from calscipy.io.store.journal import Journal

    stage = tmp_path / ".out.zarr.0123456789ab.partial"
    stage.mkdir()
    Journal(stage).begin({"job": "0123456789ab"})
    return stage


def test_clean_lists_and_removes(run, stage):
    code, out, complaints = run("clean", ".")
    assert (code, complaints) == (0, "")
    assert out.startswith(f"abandoned  {stage.name}  0.0 MB, 0.0 hours old: an unfinished save")
    assert "Nothing was removed; --remove" in out
    assert stage.is_dir()
    assert run("clean", ".", "--remove", "--older-than", "1")[1].startswith("left  ")
    assert stage.is_dir()
    assert run("clean", ".", "--remove")[1].startswith("removed  ")
    assert not stage.exists()
    assert "nothing is left of interrupted saves" in run("clean", ".")[1]


def test_clean_for_programs(run, stage):
    found = facts(run("clean", ".", "--json")[1])
    (item,) = found["would_remove"]
    assert item["path"] == str(stage)
    assert (item["target"], item["state"]) == ("out.zarr", "abandoned")
    assert found["left"] == []
    assert facts(run("clean", ".", "--json", "--remove")[1])["removed"][0]["path"] == str(stage)
    assert facts(run("clean", ".", "--json")[1])["would_remove"] == []


def test_clean_leaves_what_is_not_known_to_be_ours(run, tmp_path):
    (tmp_path / ".movie.0123abcd.partial.tif").write_bytes(b"x")
    code, out, _ = run("clean", ".", "--remove")
    assert code == 0
    assert out.startswith("left  .movie.0123abcd.partial.tif")
    assert run("clean", ".", "--remove", "--force")[1].startswith("removed  ")
    assert os.listdir() == []


def test_clean_of_no_folder(run):
    assert run("clean", "nowhere")[0] == 1
    assert run("clean", ".", "--older-than", "-1")[0] == 2


def test_stores_and_manifests_are_never_cleaned(run, rec):
    run("convert", rec, "out.zarr")
    run("clean", ".", "--remove", "--force")
    assert os.path.exists(os.path.join("out.zarr", MANIFEST))
