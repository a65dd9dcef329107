"""The command line: what it prints, what it writes, how it ends."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tifffile
from matplotlib.image import imread

import calscipy as cs
from calscipy import demo, errors
from calscipy.cli import main
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


def python(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


# -- demo ----------------------------------------------------------------------------------------


@pytest.fixture
def small_demo(monkeypatch):
    """Let the command write a smaller recording."""
    whole = demo.run_demo
    results = []

    def small(folder, **options):
        smaller = {"frames": 600, "shape": (48, 48), "neurons": 3, "seed": 1}
        results.append(whole(folder, **options, **smaller))
        return results[-1]

    monkeypatch.setattr(demo, "run_demo", small)
    return results


def test_demo_from_end_to_end(run, small_demo):
    code, out, complaints = run("demo", "--folder", "shown")
    assert (code, complaints) == (0, "")
    (result,) = small_demo
    for path in (result.recording, result.store, result.figure):
        assert path.exists()
        assert str(path) in out
    steps = ["write", "open", "describe", "compute and save", "draw"]
    assert list(result.seconds) == steps
    assert [line.split("s  ")[1].split(":")[0] for line in out.splitlines()[1:6]] == steps
    assert out.splitlines()[0] == demo.COMPILING
    assert result.true >= 3
    assert result.precision >= 0.7
    assert result.recall >= 0.9
    assert f"precision {result.precision:.2f}, recall {result.recall:.2f}" in out

    picture = imread(result.figure)[..., :3]
    height, width = picture.shape[:2]
    assert 500 <= height <= 1500
    assert 1000 <= width <= 2500
    assert result.figure.stat().st_size < 400_000
    colourful = picture.max(axis=-1) - picture.min(axis=-1) > 0.2
    assert colourful[:, : width // 3].sum() > 500  # outlines of the ROIs
    assert colourful[:, width // 2 :].sum() > 5000  # traces

    # The whole session is in the store, the movie as it was recorded.
    session = cs.ImagingSession.open(result.store)
    assert set(session.tree.children) == {"movie", "traces", "events", "rois"}
    recorded = cs.ImagingSession.open(result.recording)
    np.testing.assert_array_equal(session.movie, recorded.movie)
    assert session.movie.sizes == {"frames": 600, "channel": 2, "y": 48, "x": 48}


def test_store_of_the_demo_opens_without_calscipy(run, small_demo):
    run("demo", "--folder", "shown")
    found = python(
        """
        import json, sys
        import xarray
        tree = xarray.open_datatree(sys.argv[1], engine="zarr")
        events = tree["events/events"].load()
        dfof = tree["traces/dfof"].load()
        assert not any(name.split(".")[0] == "calscipy" for name in sys.modules)
        print(json.dumps([sorted(tree.children), int(events.sum()), list(dfof.dims),
                          dict(tree["movie/movie"].sizes)]))
        """,
        str(small_demo[0].store),
    )
    groups, detected, dims, sizes = json.loads(found)
    assert groups == ["events", "movie", "rois", "traces"]
    assert detected == small_demo[0].detected
    assert dims == ["neuron", "time"]
    assert sizes == {"frames": 600, "channel": 2, "y": 48, "x": 48}


def test_demo_says_before_it_is_silent_that_loops_are_compiled(tmp_path, monkeypatch):
    said = []

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "write_recording", stop)
    with pytest.raises(KeyboardInterrupt):
        demo.run_demo(tmp_path / "shown", report=said.append)
    (line,) = said
    assert "first run" in line
    assert "compiles" in line
    assert "later" in line


def test_demo_refuses_a_folder_that_exists(run, tmp_path):
    (tmp_path / "calscipy-demo").mkdir()
    code, out, complaints = run("demo")
    assert (code, out) == (1, "")
    assert complaints == (
        "calscipy: error: calscipy-demo exists already. The demonstration needs a new folder: "
        "choose another name (calscipy demo --folder NAME), or move the old one away first.\n"
    )
    assert list((tmp_path / "calscipy-demo").iterdir()) == []


def test_demo_needs_enough_frames(tmp_path):
    with pytest.raises(errors.ArgumentError, match="at least 300 frames"):
        demo.run_demo(tmp_path / "short", frames=10)
    assert not (tmp_path / "short").exists()


def onsets(*times):
    found = np.zeros((1, 100), bool)
    found[0, np.round(np.array(times) * 10).astype(int)] = True
    return cs.from_numpy(found, frame_rate=10)


@pytest.mark.parametrize(
    ("found", "true", "count"),
    [
        ((), (1.0,), 0),
        ((1.0, 5.0), (1.0, 5.0), 2),
        ((1.1, 5.3), (1.0, 5.0), 1),  # within 0.2 s or not
        ((1.0, 1.1), (1.0,), 1),  # one onset stands for one burst
        ((1.1,), (1.0, 1.2), 1),
    ],
)
def test_matches_counts_pairs(found, true, count):
    assert demo.matches(onsets(*found), onsets(*true)) == count


# -- info ----------------------------------------------------------------------------------------


def test_info_of_a_recording(run):
    write_recording("TSeries-001", frames=20, channels=("Ch1", "Ch2"), **SMALL)
    code, out, complaints = run("info", "TSeries-001")
    assert (code, complaints) == (0, "")
    assert out.startswith("TSeries-001\n")
    facts = dict(line.strip().split("  ", 1) for line in out.splitlines()[1:])
    facts = {name: value.strip() for name, value in facts.items()}
    assert facts["movie"].startswith("frames 20, channel 2, y 16, x 24; uint16, 30.7 kB")
    assert facts["recorded"] == "30 frames/s for 0.6667 s"
    assert facts["channels"] == "Ch1, Ch2"
    assert facts["pixel size"] == "1 x 1 um (y x x)"
    assert facts["complete"] == "yes"


def test_info_for_programs(run):
    write_recording("TSeries-001", frames=20, microns_per_pixel=(2, 1), **SMALL)
    code, out, complaints = run("info", "--json", "TSeries-001")
    assert (code, complaints) == (0, "")
    facts = json.loads(out)
    assert facts["path"].endswith("TSeries-001")
    assert facts["source"] == "TSeries-001"
    assert facts["calscipy_version"] == cs.__version__
    assert facts["prairieview_version"] == "5.6.64.400"
    assert facts["date"].startswith("2023-03-02T")
    assert facts["frame_rate_hz"] == pytest.approx(30)
    assert facts["duration_s"] == pytest.approx(20 / 30)
    movie = facts["movie"]
    assert movie.pop("z_um") == [pytest.approx(-75.92, abs=0.01)]
    assert movie == {
        "dims": ["frames", "y", "x"],
        "sizes": {"frames": 20, "y": 16, "x": 24},
        "dtype": "uint16",
        "bytes": 20 * 16 * 24 * 2,
        "units": "count",
        "channels": ["Ch2"],
        "planes": 1,
        "pixel_size_um": {"y": 2.0, "x": 1.0},
        "images": 20,
        "images_missing": 0,
    }
    assert facts["groups"]["movie"]["movie"]["shape"] == [20, 16, 24]


def test_info_of_volumes(run):
    write_recording("volumes", frames=4, planes=3, z_step=15, **SMALL)
    facts = json.loads(run("info", "--json", "volumes")[1])
    assert facts["movie"]["planes"] == 3
    assert np.diff(facts["movie"]["z_um"]) == pytest.approx([15, 15])
    assert facts["frame_rate_hz"] == pytest.approx(7.5)
    assert facts["movie"]["images"] == 12


def test_info_of_a_damaged_recording_complains_in_one_line(run):
    write_recording("damaged", frames=20, missing=[3, 4], **SMALL)
    code, out, complaints = run("info", "--json", "damaged")
    assert code == 0
    assert json.loads(out)["movie"]["images_missing"] == 2
    assert complaints.count("\n") == 1
    assert complaints.startswith("calscipy: warning: ")
    assert "2" in complaints


def test_info_of_stores(run):
    write_recording("TSeries-001", frames=20, **SMALL)
    session = cs.ImagingSession.open("TSeries-001")
    traces = session.movie.cs.extract(np.eye(16, 24, dtype=int))
    session = session.assign(traces=traces)
    session.save("whole.zarr", progress=False)
    session.save("traces.zarr", groups=("traces",), progress=False)

    facts = json.loads(run("info", "whole.zarr", "--json")[1])
    assert facts["movie"]["sizes"] == {"frames": 20, "y": 16, "x": 24}
    assert set(facts["groups"]) == {"movie", "traces"}

    code, out, _ = run("info", "traces.zarr")
    assert code == 0
    assert "traces (neuron 1, time 20" in out
    facts = json.loads(run("info", "traces.zarr", "--json")[1])
    assert facts["movie"] is None
    assert facts["frame_rate_hz"] == pytest.approx(30)
    assert facts["groups"]["traces"]["traces"] == {
        "dims": ["neuron", "time"],
        "shape": [1, 20],
        "dtype": "float32",
    }


def test_info_opens_no_image_and_imports_nothing_heavy():
    write_recording("TSeries-001", frames=20, channels=("Ch1", "Ch2"), **SMALL)
    found = python(
        """
        import sys
        opened = []
        def watch(event, arguments):
            if event == "open" and str(arguments[0]).lower().endswith((".tif", ".tiff")):
                opened.append(arguments[0])
        sys.addaudithook(watch)
        from calscipy.cli import main
        codes = main(["info", "TSeries-001"]), main(["info", "TSeries-001", "--json"])
        heavy = {"matplotlib", "sklearn", "numba"} & set(sys.modules)
        print(codes, opened, sorted(heavy))
        """
    )
    assert found.splitlines()[-1] == "(0, 0) [] []"


# -- preview -------------------------------------------------------------------------------------


def test_preview_says_where_it_wrote(run, tmp_path):
    write_recording("TSeries-001", frames=20, **SMALL)
    code, out, complaints = run("preview", "TSeries-001")
    assert (code, complaints) == (0, "")
    assert out == "preview written to TSeries-001-preview.png\n"
    assert (tmp_path / "TSeries-001-preview.png").read_bytes().startswith(b"\x89PNG")
    code, out, _ = run("preview", "TSeries-001", "--output", "other.png")
    assert (code, out) == (0, "preview written to other.png\n")


def test_preview_of_a_damaged_recording_complains_in_one_line(run):
    write_recording("damaged", frames=20, missing=[3], **SMALL)
    code, out, complaints = run("preview", "damaged")
    assert (code, out) == (0, "preview written to damaged-preview.png\n")
    assert complaints.count("\n") == 1
    assert complaints.startswith("calscipy: warning: ")


def test_a_tiff_of_two_channels(run):
    """Without their number its pages would be frames of one."""
    pages = np.zeros((12, 8, 10), "u2")
    pages[1::2] = 1000
    tifffile.imwrite("two.tif", pages)
    options = ("--frame-rate", 15.49, "--channels", "Red,Green", "--microns-per-pixel", 1, 2)
    code, out, complaints = run("info", "two.tif", "--json", *options)
    assert (code, complaints) == (0, "")
    movie = json.loads(out)["movie"]
    assert movie["sizes"] == {"frames": 6, "channel": 2, "y": 8, "x": 10}
    assert movie["channels"] == ["Red", "Green"]
    assert movie["pixel_size_um"] == {"y": 1.0, "x": 2.0}
    assert run("preview", "two.tif", *options)[0] == 0
    assert run("preview", "two.tif", "--frame-rate", 15.49, "--output", "mixed.png")[0] == 0
    two, mixed = (imread(name) for name in ("two-preview.png", "mixed.png"))
    assert two.shape != mixed.shape or (two != mixed).any()


def test_a_missing_rate_is_asked_for_in_the_words_of_the_command_line(run):
    tifffile.imwrite("plain.tif", np.zeros((5, 8, 8), "u2"))
    for command in ("info", "preview"):
        code, _, complaints = run(command, "plain.tif")
        assert code == 1
        assert "--frame-rate 15.49" in complaints
        assert "open(" not in complaints


def test_options_of_binary_files_are_named_as_here(run):
    np.zeros((3, 8, 8), "u2").tofile("bare.bin")
    code, _, complaints = run("info", "bare.bin", "--frame-rate", 30)
    assert code == 1
    assert "Give three of --frames, --height, --width and --dtype;" in complaints
    sizes = ("--frames", 3, "--height", 8, "--dtype", "uint16")
    code, out, _ = run("info", "bare.bin", "--frame-rate", 30, *sizes)
    assert code == 0
    assert "frames 3, y 8, x 8" in out


def test_arrays_of_numpy_are_for_python(run):
    np.save("a.npy", np.zeros((2, 3)))
    _, _, complaints = run("info", "a.npy")
    assert "calscipy.from_numpy(numpy.load('a.npy'), frame_rate=...), in Hz." in complaints


def test_preview_never_writes_over_anything(run, tmp_path):
    write_recording("TSeries-001", frames=20, **SMALL)
    (tmp_path / "mine.png").write_text("mine")
    code, out, complaints = run("preview", "TSeries-001", "--output", "mine.png")
    assert (code, out) == (1, "")
    assert complaints.startswith("calscipy: error: mine.png exists already.")
    assert (tmp_path / "mine.png").read_text() == "mine"


# -- errors and exit codes -----------------------------------------------------------------------


@pytest.mark.parametrize("command", [["info"], ["info", "--json"], ["preview"]])
def test_what_cannot_be_opened_is_said_in_one_line(run, command):
    code, out, complaints = run(*command, "nowhere")
    assert (code, out) == (1, "")
    assert complaints.count("\n") == 1
    assert complaints.startswith("calscipy: error: nowhere: ")
    assert "Traceback" not in complaints


def test_a_frame_rate_that_does_not_fit_is_said_in_one_line(run):
    write_recording("TSeries-001", frames=20, **SMALL)
    code, _, complaints = run("info", "TSeries-001", "--frame-rate", "30")
    assert code == 1
    assert "frame_rate" in complaints
    assert "for PrairieView folders" in complaints
    assert "The XML states times" in complaints


def test_other_failures_of_the_system_have_no_traceback(run, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", "TSeries-001")

    monkeypatch.setattr(cs.ImagingSession, "open", refuse)
    code, _, complaints = run("info", "TSeries-001")
    assert code == 1
    assert complaints == "calscipy: error: [Errno 13] Permission denied: 'TSeries-001'\n"


def test_interruption_has_no_traceback(run, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cs.ImagingSession, "open", interrupt)
    assert run("info", "TSeries-001")[::2] == (130, "calscipy: error: interrupted\n")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["info"],
        ["preview", "x", "--frame-rate", "fast"],
        ["preview", "x", "--frame-rate", "-1"],
        ["preview", "x", "--frame-rate", "nan"],
    ],
)
def test_wrong_usage_exits_with_2(run, arguments):
    code, out, complaints = run(*arguments)
    assert (code, out) == (2, "")
    assert complaints.startswith("usage: calscipy")


def test_version(run):
    assert run("--version") == (0, f"calscipy {cs.__version__}\n", "")


def test_help_names_the_commands(run):
    code, out, _ = run("--help")
    assert code == 0
    assert all(command in out for command in ("info", "preview", "demo"))


def test_the_command_leaves_warnings_and_options_as_they_were(run):
    import warnings

    before = warnings.showwarning, list(warnings.filters), cs.get_option("progress")
    run("info", "nowhere")
    assert (warnings.showwarning, list(warnings.filters), cs.get_option("progress")) == before
