"""``.cs`` only connects: what it offers where, with which words, and what it leaves behind."""

import gc
import inspect
import pickle
import pickletools
import subprocess
import sys
import textwrap
import weakref
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy import accessors, ops

MOVIE_ONLY = {
    "apply_shifts",
    "correct_scan_phase",
    "estimate_scan_phase",
    "estimate_shifts",
    "extract",
    "extract_neuropil",
    "gaussian_filter",
    "mean_filter",
    "median_filter",
    "project",
    "subtract_background",
    "summary",
}
TRACES_ONLY = {
    "correct_time_offset",
    "deconvolve",
    "denoise",
    "estimate_tau",
    "event_table",
    "events",
    "firing_rates",
    "mean_rates",
    "noise",
    "normalize",
    "quality",
    "subtract_neuropil",
    "waveforms",
}
TEMPORAL = {
    "baseline",
    "detrend",
    "dfof",
    "event_triggered_average",
    "gaussian_smooth",
    "perona_malik",
    "savgol",
}
EVENTS_ONLY = {"count", "intervals", "onset_values", "rate", "to_frames"}
OWNERS = {
    "movies": MOVIE_ONLY | TEMPORAL | {"bin"},
    "traces": TRACES_ONLY | TEMPORAL | {"align", "bin", "scale", "to_trials"},
    "images": set(),
    "events": EVENTS_ONLY | {"bin", "to_trials"},
    "voltage": {"align", "bin", "onsets"},
    "trials": {"average", "bin", "join_trials"},
    "waveforms": {"scale"},
}
CLASSES = [
    accessors.Methods,
    accessors.StorableMethods,
    accessors.TemporalMethods,
    *accessors.KINDS.values(),
]
SINGULAR = {
    "movies": "a movie",
    "traces": "an array of traces",
    "events": "an array of events",
    "voltage": "a voltage recording",
    "trials": "an array of trials",
    "waveforms": "an array of waveforms",
}
NOT_METHODS = {  # their first argument is no recording
    "convert_tau",
    "events_from_frames",
    "join_components",
    "labels_from_rois",
    "masks_from_rois",
    "neuropil_rois",
    "roi_hulls",
    "roi_statistics",
    "rois_from_labels",
    "rois_from_masks",
    "rois_from_pixels",
    "stimulus_mask",
    "stimulus_onsets",
}


def movie(**options):
    return cs.from_numpy(np.ones((4, 3, 5), "uint16"), frame_rate=10, **options)


def traces(dtype="float32"):
    return cs.from_numpy(np.ones((2, 9), dtype), frame_rate=10)


EXAMPLES = {
    "movies": movie(),
    "images": movie()[0],
    "traces": traces(),
    "events": traces(bool),
    "voltage": xr.DataArray(np.zeros((2, 3)), dims=("signal", "time")),
    "trials": xr.DataArray(np.zeros((2, 2, 3)), dims=("trial", "neuron", "time")),
    "waveforms": xr.DataArray(np.zeros((2, 3)), dims=("event", "lag")),
}
ODD = {
    "scalar": xr.DataArray(1.0),
    "empty": xr.DataArray(np.zeros((0, 3)), dims=("a", "b")),
    "unknown": xr.DataArray(np.zeros((2, 3)), dims=("lat", "lon")),
    "objects": xr.DataArray(np.array([None, "a"], object), dims="neuron"),
    "dates": xr.DataArray(np.zeros(3, "M8[ns]"), dims="time"),
    "strange names": xr.DataArray(np.zeros((2, 3)), dims=(0, ("a", 1))),
    "rois": cs.rois_from_labels(np.eye(3, dtype=int)),
    "dask": xr.DataArray(da.zeros((4, 5), chunks=2), dims=("y", "x")),
}


def methods():
    """Everything that is bound, as (class, name, method)."""
    return [
        pytest.param(owner, name, method, id=f"{owner.__name__}.{name}")
        for owner in CLASSES
        for name, method in vars(owner).items()
        if not name.startswith("_")
    ]


def test_every_public_op_is_bound():
    bound = {parameter.values[1] for parameter in methods()}
    assert set(ops.__all__) - NOT_METHODS <= bound
    for name in set(ops.__all__) - NOT_METHODS:
        for owner in (p.values[0] for p in methods() if p.values[1] == name):
            assert vars(owner)[name].__wrapped__ is getattr(ops, name)
            assert not any(name in vars(base) for base in owner.__mro__[1:])  # once in each kind


@pytest.mark.parametrize("kind", OWNERS)
def test_what_fits_is_offered(kind):
    offered = set(dir(EXAMPLES[kind].cs))
    assert offered & set(ops.__all__) == OWNERS[kind]
    assert ("to_zarr" in offered) == (kind in ("movies", "traces", "events", "voltage"))
    assert all(callable(getattr(EXAMPLES[kind].cs, name)) for name in offered)
    assert repr(EXAMPLES[kind].cs).startswith("<calscipy methods of a")


@pytest.mark.parametrize(("owner", "name", "method"), methods())
def test_words_come_from_the_function(owner, name, method):
    function = method.__wrapped__
    given = list(inspect.signature(function).parameters.values())
    bound = list(inspect.signature(method).parameters.values())
    assert bound[0].name == "self"
    assert bound[1:] == given[1:]
    assert method.__doc__ == function.__doc__
    assert method.__doc__.strip()
    assert method.__name__ == function.__name__
    assert name in (function.__name__, function.__name__.partition("_")[0])  # plot: plot_traces
    seen = inspect.signature(getattr(owner(EXAMPLES["movies"]), name))
    assert list(seen.parameters.values()) == given[1:]


@pytest.mark.parametrize("name", sorted(set(ops.__all__) - NOT_METHODS))
@pytest.mark.parametrize("data", [*EXAMPLES.values(), *ODD.values()], ids=[*EXAMPLES, *ODD])
def test_a_verb_of_the_wrong_kind_names_its_owner(data, name):
    if name in dir(data.cs):
        assert hasattr(data.cs, name)
        return
    assert not hasattr(data.cs, name)
    owners = " and ".join(SINGULAR[kind] for kind, verbs in OWNERS.items() if name in verbs)
    with pytest.raises(AttributeError) as caught:
        getattr(data.cs, name)
    message = str(caught.value)
    assert f".cs.{name} works on {owners}; " in message
    assert str(tuple(data.dims)) in message


def test_every_kind_that_can_be_drawn_is():
    drawn = {kind for kind, data in EXAMPLES.items() if "plot" in dir(data.cs)}
    assert drawn == set(EXAMPLES)
    assert "view" in dir(EXAMPLES["movies"].cs)


def test_a_word_that_nobody_knows():
    with pytest.raises(AttributeError, match=r"no 'smooth'; it offers apply_shifts, .*view here"):
        _ = movie().cs.smooth
    with pytest.raises(AttributeError, match="__array__"):
        _ = movie().cs.__array__


@pytest.mark.parametrize("data", [*EXAMPLES.values(), *ODD.values()], ids=[*EXAMPLES, *ODD])
def test_looking_never_raises(data):
    assert hasattr(data, "cs")
    assert "cs" in dir(data)
    assert isinstance(data.cs, accessors.Methods)
    for name in ("nonsense", "_private", "__deepcopy__", "shape"):
        assert not hasattr(data.cs, name)
    repr(data.cs)
    inspect.getmembers(data.cs)


def test_the_accessor_holds_no_state():
    data = movie()
    assert data.cs is not data.cs
    with pytest.raises(AttributeError):
        data.cs.note = 1
    assert xr.DataArray.cs is accessors.Methods
    assert not getattr(data, "_cache", {})  # where xarray keeps its accessors


def test_another_library_that_took_the_name():
    code = """
        import xarray as xr
        @xr.register_dataarray_accessor("cs")
        class Theirs:
            def __init__(self, data): pass
        try:
            import calscipy
        except ImportError as error:
            print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    root = Path(cs.__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=120)
    assert "another library has already registered" in done.stdout, done.stderr


def test_registering_again_is_harmless():
    accessors.register()
    assert "project" in dir(movie().cs)


# -- what is left behind -------------------------------------------------------------------

MEBIBYTES_50 = (50, 512, 1024)


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive_after(use):
    """Touch a movie of 50 MB, drop every reference and count what of it is still there."""
    use(cs.from_numpy(np.zeros((50, 4, 4), "uint16"), frame_rate=30))  # loops are compiled now
    gc.collect()
    values = np.zeros(MEBIBYTES_50, "uint16")
    data = cs.from_numpy(values, frame_rate=30)
    refs = [weakref.ref(thing) for thing in (values, data, *use(data))]
    del values, data
    return sum(ref() is not None for ref in refs)


def look(data):
    dir(data.cs)
    repr(data.cs)
    hasattr(data.cs, "events")
    return ()


def eager_chain(data):
    blurred = data.cs.gaussian_filter(sigma={"y": 0.3}).cs.mean_filter(size={"x": 2})
    image = blurred.cs.project()
    return blurred, blurred.data, image


def lazy_chain(data):
    chunked = data.copy(data=da.from_array(data.values, chunks=(25, 512, 1024)))
    blurred = chunked.cs.gaussian_filter(sigma={"y": 0.3}).cs.mean_filter(size={"x": 2})
    image = blurred.cs.project().compute(scheduler="sync")
    return chunked, blurred, image


@pytest.mark.parametrize("use", [look, eager_chain, lazy_chain])
def test_memory_is_free_after_del_without_the_collector(use, no_collector):
    assert alive_after(use) == 0


def test_the_measure_of_memory_finds_a_cycle(no_collector):
    assert alive_after(lambda data: data.attrs.update(me=data) or ()) > 0
    gc.collect()


def names_in(stream):
    """Modules and names that a pickle imports."""
    strings = []
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name == "GLOBAL":
            yield argument
        elif opcode.name == "STACK_GLOBAL":
            yield " ".join(strings[-2:])
        elif isinstance(argument, str):
            strings.append(argument)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_of_a_touched_array_names_no_class_of_ours(protocol):
    touched = movie()
    look(touched)
    touched.cs.median_filter(size=3)
    stream = pickle.dumps(touched, protocol)
    assert b"calscipy" not in stream
    made = pickle.dumps(touched.cs.median_filter(size=3), protocol)
    assert b"calscipy" in made  # in the history, but not as a module:
    assert not [name for name in names_in(made) if "calscipy" in name]
    assert any("xarray" in name for name in names_in(made))
    ours = pickle.dumps(cs.ImagingSession(xr.DataTree()), protocol)
    assert any("calscipy" in name for name in names_in(ours))  # the check can find one


def test_a_lazy_chain_travels_by_pickle():
    data = movie()
    lazy = data.copy(data=da.from_array(data.values, chunks=2))
    result = lazy.cs.median_filter(size=3).cs.gaussian_filter(sigma=1)
    back = pickle.loads(pickle.dumps(result))
    xr.testing.assert_identical(back, result)
    xr.testing.assert_equal(back.cs.mean_filter(size=2), result.cs.mean_filter(size=2))
