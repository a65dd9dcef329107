"""Every name of CalSciPy 0.3.5 is there, as documented, thin, and in the table of the docs."""

import ast
import dataclasses
import importlib
import inspect
import io
import os
import subprocess
import sys
import tokenize
import warnings
from pathlib import Path
from xml.etree import ElementTree

import dask
import numpy as np
import pytest

import calscipy as cs
from calscipy import compat
from calscipy.testing import write_recording
from calscipy.testing._edits import add_mark_points
from calscipy.testing._voltage import link_side_file, write_voltage, write_voltage_output

from .documented import EMPTY, TEXT, modules, names
from .table import EQUAL, PAGE, ROWS, RUNS, page

PACKAGE = Path(compat.__file__).parent
SOURCES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
MOST_LINES = 900
NEEDS_DOCUMENTS = pytest.mark.skipif(not TEXT.is_file(), reason="needs ../shared")
# Keywords that give old numbers, and what the objects of photostimulation have beyond 0.3.5.
FURTHER = {
    "event_processing.bin_data": {"last_bin", "axis"},
    "event_processing.normalize_firing_rates": {"axis"},
    "image_processing.gaussian_filter": {"seams"},
    "image_processing.median_filter": {"seams"},
    "trace_processing.detrend_polynomial": {"keep_level"},
    "bruker.xml_objects.GalvoPoint": {"extra", "source"},
    "bruker.xml_objects.GalvoPointElement": {"extra", "source", "use_3d", "targets"},
    "bruker.xml_objects.GalvoPointList": {"extra", "source", "groups"},
    "bruker.xml_objects.MarkPointElement": {
        "extra",
        "source",
        "custom_laser_percent",
        "voltage_output_experiment_name",
    },
    "bruker.xml_objects.MarkPointSeriesElements": {
        "extra",
        "source",
        "category",
        "name",
        "use_3d",
        "all_points_at_once",
        "saved",
    },
    "bruker.xml_objects.Point": {"extra", "source", "z"},
}
ALIASES = "bruker.xml_objects."


def documented():
    return TEXT.read_text(encoding="utf-8") if TEXT.is_file() else ""


def find(name):
    """Return the object of a name such as ``bruker.data.align_data``."""
    parts = name.split(".")
    for at in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(f"calscipy.compat.{'.'.join(parts[:at])}")
        except ModuleNotFoundError:
            continue
        for part in parts[at:]:
            found = getattr(found, part)
        return found
    raise AssertionError(f"there is no {name}")


# -- the documentation -----------------------------------------------------------------------


@NEEDS_DOCUMENTS
def test_the_table_has_every_documented_name_and_those_that_scripts_use():
    rows = [row.name for row in ROWS]
    assert len(set(rows)) == len(rows)
    assert set(names(documented())) <= set(rows)
    further = sorted(set(rows) - set(names(documented())))
    assert [name for name in further if name.startswith("bruker.data.")] == [
        "bruker.data.align_data",
        "bruker.data.determine_imaging_content",
        "bruker.data.extract_frame_times",
        "bruker.data.generate_bruker_naming_convention",
        "bruker.data.load_bruker_tifs",
        "bruker.data.load_mark_points",
        "bruker.data.load_voltage_output",
        "bruker.data.load_voltage_recording",
        "bruker.data.repackage_bruker_tifs",
    ]
    assert len(names(documented())) == 60


@NEEDS_DOCUMENTS
@pytest.mark.parametrize("name", sorted(modules(documented())) or ["-"])
def test_every_documented_module_is_there(name):
    module = importlib.import_module(f"calscipy.compat.{name}")
    assert module.__doc__


@NEEDS_DOCUMENTS
@pytest.mark.parametrize("name", sorted(names(documented())) or ["-"])
def test_every_documented_name_has_its_signature(name):
    wanted = names(documented())[name]
    found = find(name)
    assert inspect.isclass(found) == (wanted.kind in ("class", "exception"))
    assert (wanted.kind == "exception") <= (inspect.isclass(found) and issubclass(found, Exception))
    if wanted.parameters is None:
        found()  # no arguments are documented
        return
    parameters = dict(inspect.signature(found).parameters)
    parameters.pop("self", None)
    known = {one.name: parameters.pop(one.name) for one in wanted.parameters}
    assert set(parameters) == FURTHER.get(name, set())
    for one in parameters.values():
        assert one.kind is inspect.Parameter.KEYWORD_ONLY
        assert one.default is not inspect.Parameter.empty
    keyword_only = all(one.keyword_only for one in wanted.parameters)
    if not keyword_only:
        assert list(inspect.signature(found).parameters)[: len(known)] in (
            list(known),
            ["self", *known][: len(known)],
        )
    for one in wanted.parameters:
        check_parameter(one, known[one.name])


def check_parameter(wanted, found):
    if wanted.variadic:
        kind = inspect.Parameter.VAR_POSITIONAL
        assert found.kind is (inspect.Parameter.VAR_KEYWORD if wanted.name == "kwargs" else kind)
        return
    keyword = found.kind is inspect.Parameter.KEYWORD_ONLY
    assert keyword == wanted.keyword_only
    if wanted.default is EMPTY:
        assert found.default is inspect.Parameter.empty
    elif isinstance(wanted.default, list):  # the printed text has one plane of the box
        assert found.default.shape == (3, 3, 3)
        assert all(plane.tolist() == wanted.default for plane in found.default)
        assert not found.default.flags.writeable
    elif isinstance(wanted.default, str) and not isinstance(found.default, str):
        assert found.default.__name__ == wanted.default  # a class
    else:
        assert found.default in (wanted.default, (wanted.default,))  # one index and a list of one
        assert (wanted.default is None) == (found.default is None)


def test_the_parser_reads_what_the_documentation_prints():
    text = r"""
CalSciPy.a.b module

CalSciPy.a.b.**first\_one**(*path: str | None = None, \*, size: Tuple[int, int]*) → None

**class** CalSciPy.a.b.**Thing**(\*args)

**turn**(*by: float = 1.5*) → int

`CalSciPy.a.b.second(kind: np.dtype = <class 'numpy.uint16'>, *args, **kwargs)`
"""
    assert modules(text) == {"a.b"}
    found = names(text)
    assert set(found) == {"a.b.first_one", "a.b.Thing", "a.b.Thing.turn", "a.b.second"}
    path, size = found["a.b.first_one"].parameters
    assert (path.name, path.default, path.keyword_only) == ("path", None, False)
    assert (size.name, size.default, size.keyword_only) == ("size", EMPTY, True)
    assert found["a.b.Thing.turn"].parameters[0].default == 1.5
    kind, args, kwargs = found["a.b.second"].parameters
    assert (kind.default, args.variadic, kwargs.variadic) == ("uint16", True, True)


# -- the table -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A recording with a voltage recording and output and with mark points."""
    folder = tmp_path_factory.mktemp("recordings") / "mouse1"
    truth = write_recording(folder, frames=12, shape=(16, 20), neurons=1)
    analog = write_voltage(truth.folder, {"LFP": np.arange(2000) % 7}, rate=1000, start=0.0)
    link_side_file(truth.xml, "VoltageRecording", analog.link)
    add_mark_points(truth.xml, 1)
    output = truth.folder / "output.xml"
    write_voltage_output(output, {"LED": [("FixedVoltage", {"Potential": 5, "HoldTime": 1})]})
    return truth.folder


@pytest.fixture(scope="module")
def scene(recording):
    """What the expressions of the table name."""
    rng = np.random.default_rng(3)
    array = rng.gamma(9.0, 20.0, (3, 300))
    traces = cs.from_numpy(array, frame_rate=30)
    frames = [[3, 40, 200], [], [7, 290]]
    probabilities = cs.from_numpy(rng.random((3, 300)), frame_rate=30, units="1")
    images = rng.integers(0, 4000, (20, 12, 14), dtype="u2")
    rois = cs.rois_from_pixels({3: ([3, 4, 5], [5, 5, 5])}, image_shape=(9, 9))
    square = cs.rois_from_pixels([([0, 0, 1, 1, 2, 2, 2, 1, 0], [0, 1, 0, 1, 0, 1, 2, 2, 2])])
    mark_points = next(recording.glob("*_MarkPoints.xml"))
    found = {
        "array": array,
        "dfof": cs.dfof(traces).values,
        "traces": traces,
        "event_frames": frames,
        "events": cs.events_from_frames(frames, like=traces),
        "probabilities": probabilities,
        "rates": cs.firing_rates(probabilities),
        "images": images,
        "movie": cs.from_numpy(images, frame_rate=30),
        "trials": cs.to_trials(traces, length=1.0),
        "factors": [[rng.random((2, 30)), rng.random((2, 20))] for _ in range(3)],
        "rois": rois,
        "square": square,
        "folder": recording,
        "session": cs.ImagingSession.open(recording),
        "name": next(recording.glob("*.ome.tif")).name,
        "mark_points": mark_points,
        "voltage_output": recording / "output.xml",
        "series": cs.photostimulation.read_mark_points(mark_points),
        "point": cs.photostimulation.Point(x=0.5, y=0.25, spiral_width=0.1, spiral_height=0.1),
        "error": ValueError("x is wrong"),
        "number": 1,
        "suffix": "tif",
        "cs": cs,
        "np": np,
        "os": os,
        "Path": Path,
        "ElementTree": ElementTree,
        "dataclasses": dataclasses,
    }
    return found | {row.name.rpartition(".")[2]: find(row.name) for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_both_calls_of_every_row_run_and_agree(row, scene, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    if row.name.startswith("interactive_visuals."):
        pytest.importorskip("bokeh")
        importlib.import_module("calscipy.plotting.interactive")
    given = {**scene, "out": tmp_path / "out"}
    if row.name.startswith("io_tools."):
        given["out"].mkdir()
        for suffix, save in (
            (".bin", compat.io_tools.save_binary),
            (".tif", compat.io_tools.save_images),
        ):
            save(tmp_path / f"mouse{suffix}", scene["images"])
    with dask.config.set(scheduler="sync"), warnings.catch_warnings():
        warnings.simplefilter("ignore", cs.errors.CalscipyWarning)
        old, new = eval(row.old, given), eval(row.new, given)
    if row.agree == EQUAL:
        np.testing.assert_allclose(flat(old), np.ravel(new), rtol=1e-6)
        assert np.size(new) > 0
    elif row.agree != RUNS:
        assert eval(row.agree, {**given, "old": old, "new": new})


def flat(values):
    """Put the arrays of a tuple, one for each neuron, behind each other."""
    if isinstance(values, tuple):
        return np.concatenate([np.ravel(some) for some in values])
    return np.ravel(values)


@pytest.mark.parametrize(
    "row", [row for row in ROWS if not row.name.startswith(ALIASES)], ids=lambda row: row.name
)
def test_the_docstring_of_every_name_shows_the_new_way(row):
    found = find(row.name)
    text = " ".join((type(found).__doc__ if "COLORS" in row.name else found.__doc__).split())
    assert text
    owner = find(row.name.rpartition(".")[0])
    if not inspect.isclass(owner):  # methods are explained by their class
        assert f"Now: ``{row.new}``" in text


def test_the_page_is_made_of_the_table():
    written = PAGE.read_text(encoding="utf-8")
    assert written == page(), "the page is stale: python tests/compat/table.py"
    for row in ROWS:
        assert f"`{row.name.split('.', 1)[1]}`" in written


# -- the layer -------------------------------------------------------------------------------


def code_lines(source):
    """Count lines with code, without docstrings, comments and empty ones."""
    tree = ast.parse(source)
    lines = set()
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    skipped |= {tokenize.ENCODING, tokenize.ENDMARKER}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in skipped:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(lines)


def test_the_layer_is_thin():
    counted = {name: code_lines(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}
    assert sum(counted.values()) < MOST_LINES, counted


def test_lines_are_counted_without_docstrings_and_comments():
    assert code_lines('"""Text\n\nof a module."""\n\n# why\nx = [\n    1,\n]\n') == 3
    assert code_lines('def f():\n    """Text."""\n    return 1\n') == 2


LOOPS = (ast.For, ast.AsyncFor, ast.ListComp, ast.GeneratorExp, ast.SetComp, ast.DictComp)
FORBIDDEN = ("scipy", "numba", "dask", "numpy.linalg", "numpy.fft")


def loops(source):
    """Return the lines of loops that compute: arithmetic, counting, or writing into an array."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.While):
            found.append(node.lineno)
        elif isinstance(node, LOOPS):
            inside = node.body if hasattr(node, "body") else [getattr(node, "elt", node)]
            parts = [part for one in inside for part in ast.walk(one)]
            computes = (ast.BinOp, ast.AugAssign)
            stores = (isinstance(p, ast.Subscript) and isinstance(p.ctx, ast.Store) for p in parts)
            if any(isinstance(part, computes) for part in parts) or any(stores):
                found.append(node.lineno)
    return found


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_there_is_no_numeric_loop_in_the_layer(name):
    assert loops(SOURCES[name].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "for x in y:\n    x += 1",
        "for i in y:\n    z[i] = x",
        "while True:\n    pass",
        "z = [x * 2 for x in y]",
        "z = {a: 1 + b for a, b in y}",
    ],
)
def test_a_numeric_loop_would_be_found(source):
    assert loops(source) == [1]


def test_a_loop_over_names_is_none():
    assert loops("z = [str(x) for x in y]\nfor x in y:\n    write(x)") == []


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_the_layer_has_no_numeric_machinery_of_its_own(name):
    tree = ast.parse(SOURCES[name].read_text(encoding="utf-8"))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
            imported |= {f"{node.module}.{alias.name}" for alias in node.names}
    wrong = {one for one in imported if one.startswith(FORBIDDEN)}
    assert wrong == set()


def test_nothing_below_imports_the_layer():
    for path in (PACKAGE.parent).rglob("*.py"):
        if PACKAGE not in path.parents:
            assert "calscipy.compat" not in path.read_text(encoding="utf-8"), path


def test_importing_it_is_light_and_needs_nothing_around_it(tmp_path):
    """As on Windows, where fcntl and its like are missing, without extras, and anywhere (F41)."""
    code = """
        import sys
        for name in "fcntl resource pwd grp termios win32com pythoncom cupy bokeh panel".split():
            sys.modules[name] = None  # importing them now raises
        import calscipy
        before = set(sys.modules)
        import calscipy.compat
        late = "sklearn matplotlib hvplot holoviews pynwb numba scipy.signal joblib cv2".split()
        print(*sorted((set(sys.modules) - before) & set(late)))
    """
    environment = os.environ | {"PYTHONPATH": os.fspath(PACKAGE.parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", inspect.cleandoc(code)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""
    assert list(tmp_path.iterdir()) == []
