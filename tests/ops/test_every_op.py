"""What every operation promises: words, history, coordinates, laziness, an untouched input."""

import copy
import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy import model
from calscipy.ops.baseline import BASELINE_ARGUMENTS
from calscipy.testing import write_recording

FRAMES = 40


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def movie():
    """Two epochs of two channels and two planes, with damaged frames and nested attributes."""
    rng = np.random.default_rng(0)
    data = cs.from_numpy(
        rng.integers(900, 1100, (FRAMES, 2, 2, 4, 4)).astype("uint16"),
        frame_rate=10,
        microns_per_pixel=0.5,
    )
    valid = rng.random((FRAMES, 2)) > 0.1
    return data.assign_coords(
        epoch=("frames", np.repeat([1, 2], FRAMES // 2)),
        cycle=("frames", np.repeat([3, 4], FRAMES // 2), {"long_name": "cycle"}),
        valid=(("frames", "plane"), valid),
        z=("plane", [0.0, 20.0], {"units": "um"}),
        mouse="m12",
    ).assign_attrs(units="mV", history="earlier", state={"nested": {"gain": [1, 2]}})


def traces():
    rng = np.random.default_rng(1)
    values = (1000 + rng.normal(0, 10, (3, FRAMES))).astype("float32")
    data = cs.from_numpy(values, frame_rate=10)
    return data.assign_coords(
        epoch=("time", np.repeat([1, 2], FRAMES // 2)),
        y=("neuron", [1.0, 2.0, 3.0], {"units": "um"}),
        mouse="m12",
    ).assign_attrs(units="mV", history="earlier", state={"nested": {"gain": [1, 2]}})


def ratios():
    return traces().assign_attrs(units="1")


def rates():
    return traces().assign_attrs(units="Hz")


def raster():
    found = np.zeros((3, FRAMES), bool)
    found[0, [3, 20]] = found[2, 39] = True
    return traces().copy(data=found)


def trials():
    return cs.to_trials(traces(), length=0.5).assign_attrs(history="earlier")


def labels():
    stack = np.zeros((2, 4, 4), int)
    stack[0, 1:3, 0:3], stack[1, 2:, 1:], stack[0, 3:, 2:] = 1, 2, 3
    return stack


def late_traces():
    return traces().assign_coords(time_offset=("neuron", [0.0, 0.03, 0.06], {"units": "s"}))


def shifts():
    """Shifts of every frame and plane, whole and fractional."""
    rng = np.random.default_rng(2)
    moves = {name: (("frames", "plane"), rng.normal(0, 1, (FRAMES, 2))) for name in SHIFTS}
    return xr.Dataset(moves, {"time": movie().time})


SHIFTS = ("y_shift", "x_shift")
TRIGGERS = np.array([0.5, 1.2])
EXTRACTS = (cs.extract, cs.extract_neuropil)
REDUCTIONS = (cs.project, cs.noise, cs.mean_rates, cs.estimate_tau, cs.count, cs.rate)
OF_TRIALS = ("trial", "start", "start_offset", "sample_time")
CUTS = (
    cs.align,
    cs.to_trials,
    cs.join_trials,
    cs.waveforms,
    cs.event_triggered_average,
)  # other dims


@dataclass
class Case:
    op: Callable[..., xr.DataArray]
    make: Callable[[], xr.DataArray]
    arguments: Mapping[str, Any]
    units: str | None  # None: those of the input
    long_name: str
    used: Mapping[str, Any] = field(default_factory=dict)  # what the method fills in
    dtype: str = "float32"
    name: str | None = None

    def __str__(self):
        chosen = self.arguments.get("method") or self.arguments.get("reduce", "")
        return "-".join(filter(None, [self.op.__name__, chosen, self.make.__name__]))

    def __call__(self, data):
        return self.op(data, **self.arguments)


BASELINES = BASELINE_ARGUMENTS
ON_PIXELS = ("low_pass", "mean", "median", "percentile", "rolling_percentile")  # the others: traces
EVENTS = {
    "matched": {"rise": 0.05, "decay": 0.5, "false_positives": 0.1},
    "derivative": {"timeout": 0.5, "smooth": True, "force_nonnegative": True},
}
REDUCES = {"mean": "f8", "max": "u2", "min": "u2", "std": "f8", "sum": "i8", "median": "f8"}

CASES = [
    Case(
        cs.gaussian_filter,
        movie,
        {"sigma": {"y": 1, "x": 0.5}},
        None,
        "fluorescence, Gaussian filtered",
    ),
    Case(
        cs.gaussian_filter,
        movie,
        {"sigma": (1, 2, 1), "mode": "nearest"},
        None,
        "fluorescence, Gaussian filtered",
    ),
    Case(
        cs.median_filter,
        movie,
        {},
        None,
        "fluorescence, median filtered",
        {"size": 3},
        dtype="uint16",
    ),
    Case(
        cs.mean_filter,
        movie,
        {"size": 2, "mode": "mirror", "device": "cpu"},
        None,
        "fluorescence, mean filtered",
    ),
    *(
        Case(
            cs.project,
            movie,
            {"reduce": r},
            None,
            f"{r} over frames of fluorescence",
            dtype=d,
            name=r,
        )
        for r, d in REDUCES.items()
    ),
    Case(cs.extract, movie, {"rois": labels()}, None, "fluorescence of ROIs", name="traces"),
    Case(
        cs.extract_neuropil,
        movie,
        {"rois": labels(), "inner": 0, "min_pixels": 1},
        None,
        "neuropil fluorescence around ROIs",
        name="neuropil",
    ),
    Case(
        cs.median_filter,
        movie,
        {"footprint": np.eye(3, dtype=bool), "mode": "wrap"},
        None,
        "fluorescence, median filtered",
        dtype="uint16",
    ),
    *(
        Case(
            cs.bin,
            movie,
            {"frames": 5, "y": 2, "reduce": r},
            None,
            f"fluorescence, {r} of bins",
            dtype="int64" if r == "sum" else "uint16" if r in ("max", "min") else "float32",
        )
        for r in REDUCES
    ),
    *(
        Case(cs.subtract_background, movie, arguments, None, "fluorescence, background subtracted")
        for arguments in ({"level": 900.5}, {"percentile": 20})
    ),
    Case(cs.correct_scan_phase, movie, {"shift": 0.4}, None, "fluorescence, scan phase corrected"),
    Case(cs.apply_shifts, movie, {"shifts": shifts()}, None, "fluorescence, motion corrected"),
    Case(cs.correct_time_offset, late_traces, {}, None, "fluorescence, at common times"),
    *(
        Case(op, make, {"method": method}, units, name, used, name=op.__name__)
        for op, units, name in ((cs.baseline, None, "baseline F₀"), (cs.dfof, "1", "ΔF/F₀"))
        for make in (movie, traces)
        for method, used in BASELINES.items()
        if make is traces or method in ON_PIXELS
    ),
    Case(
        cs.dfof,
        traces,
        {"method": "percentile", "percentile": 20, "offset": 3.5, "reference": traces() + 1},
        "1",
        "ΔF/F₀",
        name="dfof",
    ),
    *(
        Case(cs.detrend, make, arguments, None, "fluorescence, detrended", used)
        for make, arguments, used in (
            (movie, {}, {"order": 4, "robust": False, "keep_level": True}),
            (traces, {"order": 1, "keep_level": False}, {"robust": False}),
            (traces, {"order": 1, "robust": True}, {"keep_level": True}),
            (
                traces,
                {"method": "exponential"},
                {"terms": 2, "mode": "subtract", "keep_level": True},
            ),
            (traces, {"method": "exponential", "mode": "divide", "terms": 1}, {}),
        )
    ),
    Case(cs.perona_malik, traces, {}, None, "fluorescence, diffused"),
    Case(cs.perona_malik, movie, {"kappa": 20.0, "absolute": True}, None, "fluorescence, diffused"),
    Case(cs.gaussian_smooth, traces, {"sigma": 0.2}, None, "fluorescence, smoothed"),
    Case(cs.savgol, traces, {"window": 0.5, "order": 2}, None, "fluorescence, smoothed"),
    *(
        Case(op, traces, arguments, None, long_name, used, name=name)
        for op, long_name, name in (
            (cs.deconvolve, "deconvolved activity, in mV per frame", "spikes"),
            (cs.denoise, "fluorescence, denoised", "denoised"),
        )
        for arguments, used in (
            ({"tau": 0.5}, {}),
            ({"tau": 0.5, "method": "l1", "baseline": 1000.0}, {"penalty": 0.0}),
            ({"tau": 0.5, "method": "l0", "noise": 9.0}, {}),
        )
    ),
    Case(
        cs.subtract_neuropil,
        traces,
        {"neuropil": traces() - 5},
        None,
        "fluorescence, neuropil subtracted",
    ),
    Case(cs.noise, ratios, {}, "percent Hz^-0.5", "standardised noise", name="noise"),
    *(
        Case(cs.noise, traces, {"method": method}, None, f"noise from {what}", name="noise")
        for method, what in (("differences", "differences"), ("spectrum", "the spectrum"))
    ),
    Case(cs.estimate_tau, traces, {}, "s", "decay time of transients", name="tau"),
    Case(cs.firing_rates, ratios, {}, "Hz", "firing rate", name="rates"),
    Case(cs.mean_rates, rates, {}, "Hz", "mean firing rate", name="mean_rates"),
    Case(cs.normalize, traces, {}, "1", "fluorescence, over the neuron's maximum"),
    Case(cs.count, raster, {}, "1", "number of events", dtype="int64", name="count"),
    Case(cs.rate, raster, {}, "Hz", "event rate", dtype="float64", name="rate"),
    Case(cs.scale, traces, {}, "1", "fluorescence, scaled", {"scaler": "standard"}),
    Case(cs.scale, traces, {"scaler": "robust"}, "1", "fluorescence, scaled"),
    Case(
        cs.waveforms,
        traces,
        {"events": raster(), "pre": 0.3, "post": 0.5},
        None,
        "fluorescence, around events",
        name="waveforms",
    ),
    *(
        Case(
            cs.event_triggered_average,
            make,
            {"triggers": triggers, "window": (0.2, 0.3), "reduce": reduce},
            None,
            f"fluorescence, {reduce} around triggers",
            dtype=dtype,
        )
        for make, triggers, reduce, dtype in (
            (movie, TRIGGERS, "mean", "float32"),
            (movie, TRIGGERS, "sum", "int64"),
            (traces, TRIGGERS, "mean", "float32"),
            (traces, raster(), "sum", "float64"),
        )
    ),
    *(
        Case(
            cs.bin,
            traces,
            {"samples": 5, "reduce": r},
            None,
            f"fluorescence, {r} of bins",
            dtype="float64" if r == "sum" else "float32",
        )
        for r in REDUCES
    ),
    Case(cs.bin, traces, {"duration": 0.5}, None, "fluorescence, mean of bins", {"reduce": "mean"}),
    Case(
        cs.bin,
        raster,
        {"samples": 10},
        None,
        "fluorescence, sum of bins",
        {"reduce": "sum"},
        "int64",
    ),
    Case(cs.to_trials, traces, {"length": 0.5}, None, "fluorescence", {"partial": "error"}),
    Case(
        cs.to_trials,
        traces,
        {"starts": np.array([0.5, 3.0]), "window": (0.2, 0.3)},
        None,
        "fluorescence",
        {"partial": "keep"},
    ),
    Case(cs.join_trials, trials, {}, None, "fluorescence"),
    Case(cs.align, traces, {"to": TRIGGERS}, None, "fluorescence"),
    Case(
        cs.events,
        traces,
        {},
        "1",
        "event onsets",
        {"rise": 0.05, "decay": 0.5, "false_positives": 0.1},
        "bool",
        "events",
    ),
    *(
        Case(cs.events, traces, {"method": method}, "1", "event onsets", used, "bool", "events")
        for method, used in EVENTS.items()
    ),
]
every_case = pytest.mark.parametrize("case", CASES, ids=str)
keep_attrs = pytest.mark.parametrize("keep", [True, False, "default"])


def lazy(data, **chunks):
    """Put the values into dask chunks and leave the coordinates in memory."""
    sizes = tuple(chunks.get(dim, size) for dim, size in data.sizes.items())
    return data.copy(data=da.from_array(data.values, chunks=sizes))


def in_chunks(data):
    return lazy(data, frames=25, channel=1, plane=1, neuron=2, time=16)


def lines(data):
    """The history without its time stamps."""
    return [re.sub(r"^\S+Z ", "", line) for line in data.attrs["history"].split("\n")]


def same(left, right):
    """Identical but for the time stamps of the history."""
    xr.testing.assert_identical(*(d.drop_attrs(deep=False) for d in (left, right)))
    assert lines(left) == lines(right)
    rest = [{k: v for k, v in d.attrs.items() if k != "history"} for d in (left, right)]
    assert rest[0] == rest[1]


def test_every_public_op_is_here():
    of_rois = {name for name in cs.ops.__all__ if "roi" in name}  # they take ROIs alone
    several = {  # not one lazy array each
        "average",
        "convert_tau",
        "estimate_scan_phase",
        "estimate_shifts",
        "event_table",
        "events_from_frames",
        "intervals",
        "join_components",
        "onset_values",
        "onsets",
        "quality",
        "stimulus_mask",
        "stimulus_onsets",
        "summary",
        "to_frames",
    }
    there = set(cs.ops.__all__) - of_rois - several
    assert there == {case.op.__name__ for case in CASES}


@every_case
def test_words(case):
    data = case.make()
    result = case(data)
    assert result.attrs["units"] == (case.units or "mV")
    assert result.attrs["long_name"] == case.long_name
    assert result.attrs["state"] == data.attrs["state"]
    assert result.dtype == case.dtype
    assert result.name == (case.name or data.name)
    known = {"units", "long_name", "history", "state", "cell_methods", model.LEVEL_ATTR}
    known |= {"time_offset"} if case.op is cs.correct_time_offset else set()
    assert set(result.attrs) <= known


@every_case
def test_history(case):
    result = case(case.make())
    before, line = result.attrs["history"].split("\n")
    assert before == "earlier"
    stamp, package, version, name, text = line.split(" ", 4)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", stamp)
    assert (package, version, name) == ("calscipy", cs.__version__, case.op.__name__)
    parameters = list(inspect.signature(case.op).parameters.values())[1:]
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    expected = {**defaults, **case.used, **case.arguments}
    expected = {key: value for key, value in expected.items() if value is not None}
    written = json.loads(text)
    assert written.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, np.ndarray | xr.DataArray):
            assert written[key]["shape"] == list(value.shape)
            assert re.fullmatch("[0-9a-f]{16}", written[key]["sha256"])
        else:
            assert written[key] == (list(value) if isinstance(value, tuple) else value)


@every_case
@pytest.mark.parametrize("place", [lambda data: data, in_chunks], ids=["numpy", "dask"])
def test_the_input_is_untouched(case, place):
    data = place(case.make())
    arguments = {key: copy.deepcopy(value) for key, value in case.arguments.items()}
    before = data.copy(deep=True).load() if data.chunks is None else case.make()
    if data.chunks is None:
        data.values.setflags(write=False)
    keys = data.__dask_keys__() if data.chunks else None
    case(data).compute()
    same(data, before)
    for name, coord in data.coords.items():
        assert coord.attrs == before[name].attrs
    assert data.encoding == before.encoding
    assert (data.__dask_keys__() if data.chunks else None) == keys
    for key, value in arguments.items():
        if isinstance(value, xr.DataArray):
            xr.testing.assert_identical(case.arguments[key], value)
        else:
            np.testing.assert_equal(case.arguments[key], value)


@every_case
def test_coordinates_are_kept(case):
    data = case.make()
    result = case(data)
    kept = dict(data.coords)
    if case.op in REDUCTIONS:
        along = {"frames", "time"}
        kept = {name: coord for name, coord in kept.items() if not along & set(coord.dims)}
        assert result.coords.keys() == kept.keys()
    elif case.op is cs.event_triggered_average:
        along = {"frames", "time"}
        kept = {name: coord for name, coord in kept.items() if not along & set(coord.dims)}
        assert result.coords.keys() == kept.keys() | {"lag", "count"}
    elif case.op is cs.align:
        kept = {name: coord for name, coord in kept.items() if "time" not in coord.dims}
        assert {"time", "sample", "sample_offset"} <= result.coords.keys() - kept.keys()
    elif case.op is cs.waveforms:
        kept = {"mouse": kept["mouse"]}
        assert result.coords.keys() == {"lag", "frame", *data.coords}
    elif case.op is cs.to_trials:
        assert result.coords.keys() == kept.keys() | set(OF_TRIALS)
        kept = {name: kept[name] for name in ("neuron", "y", "mouse")}
    elif case.op is cs.join_trials:
        assert result.coords.keys() == kept.keys() - set(OF_TRIALS)
        kept = {name: kept[name] for name in ("neuron", "y", "mouse")}
    elif case.op is cs.bin:
        assert result.dims == data.dims
        assert result.coords.keys() == kept.keys()
        changed = {"time", "epoch", "cycle", "valid"}  # see tests/ops/test_bin.py
        if "y" in data.dims:
            changed.add("y")
        kept = {name: coord for name, coord in kept.items() if name not in changed}
    elif case.op in EXTRACTS:
        kept = {name: kept[name] for name in ("channel",)}
        for name in ("time", "epoch", "cycle"):
            np.testing.assert_array_equal(result[name], data[name])
    else:
        assert result.dims == data.dims
        added = {cs.apply_shifts: set(SHIFTS), cs.correct_scan_phase: {"scan_phase"}}
        kept.pop("time_offset", None)
        assert result.coords.keys() == kept.keys() | added.get(case.op, set())
    for name, coord in kept.items():
        xr.testing.assert_identical(result[name].variable, coord.variable)
    for name in result.indexes:
        assert name in data.indexes or name in ("neuron", "time", "lag", "trial")


@every_case
@keep_attrs
def test_the_option_keep_attrs_changes_nothing(case, keep):
    data = case.make()
    expected = case(data)
    with xr.set_options(keep_attrs=keep):
        same(case(data), expected)
        chunked = case(in_chunks(data))
    same(expected.copy(data=expected.data).assign_attrs(chunked.attrs), expected)
    np.testing.assert_allclose(chunked, expected, rtol=1e-12)


@every_case
def test_numpy_and_dask_agree(case):
    data = case.make()
    result = case(in_chunks(data))
    assert result.chunks is not None
    assert result.dtype == case.dtype
    computed = result.compute()
    assert computed.dtype == case.dtype  # what the graph promised is what it makes
    expected = case(data)
    if str(case).startswith("project-std"):  # partial sums
        xr.testing.assert_allclose(computed, expected, rtol=1e-12)
        expected = computed.copy(data=computed.values).assign_attrs(expected.attrs)
    same(computed, expected)


@every_case
def test_the_order_of_dimensions_does_not_matter(case):
    data = case.make()
    expected = case(data)
    turned = case(data.transpose())
    if case.op not in (*EXTRACTS, *REDUCTIONS, *CUTS):
        assert turned.dims == data.dims[::-1]
    np.testing.assert_array_equal(turned.transpose(*expected.dims), expected)


@every_case
def test_the_same_task_has_the_same_name(case):
    data = in_chunks(case.make())
    assert case(data).data.name == case(data).data.name
    other = ~data if data.dtype == bool else data + 1
    assert case(data).data.name != case(other).data.name


# -- laziness ------------------------------------------------------------------------------


def refuse(*args, **kwargs):
    raise AssertionError("building the graph computed something")


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings") / "mouse"
    write_recording(
        folder, frames=60, shape=(4, 4), neurons=0, planes=2, channels=("Ch1", "Ch2"), cycles=1
    )
    with cs.set_options(chunk_bytes=4 * 4 * 2 * 8, memory_limit=4 * 4 * 2 * 8 * 8):
        return cs.ImagingSession.open(folder).movie


@every_case
def test_building_computes_nothing(case):
    data = in_chunks(case.make())
    with dask.config.set(scheduler=refuse):
        result = case(data)
        repr(result)
        with pytest.raises(AssertionError, match="computed something"):
            result.compute()


@pytest.mark.parametrize("case", [c for c in CASES if c.make is movie], ids=str)
def test_building_on_a_recording_computes_nothing(case, recording):
    if case.op is cs.apply_shifts:
        moves = case.arguments["shifts"].isel(frames=np.arange(60) % FRAMES)
        case = replace(case, arguments={"shifts": moves.assign_coords(time=recording.time)})
    with dask.config.set(scheduler=refuse):
        result = case(recording)
    assert result.data.npartitions > 1 or case.op is not cs.gaussian_filter


def test_a_whole_analysis_computes_nothing(recording):
    with dask.config.set(scheduler=refuse):
        clean = recording.cs.median_filter(size=3).cs.gaussian_filter(sigma=1)
        found = clean.cs.extract(labels()).isel(channel=1)
        dff = found.cs.detrend().cs.dfof(method="rolling_percentile", window=2, reference=found)
        onsets = dff.cs.events(method="matched")
        lazies = [clean.cs.project(reduce="median"), clean.cs.dfof(method="median"), onsets]
    assert all(result.chunks is not None for result in lazies)
