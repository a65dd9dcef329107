"""Filters on a GPU: what is sent there and back, and what happens when it does not fit."""

import sys
import threading

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import calscipy as cs
from calscipy.blocks import filters
from calscipy.blocks.device import is_cupy
from calscipy.errors import ArgumentError, DeviceError, DeviceWarning

from .gpu_stand_in import OutOfMemoryError, install

SHAPE = (12, 8, 9)
MEDIAN = ("median_filter", {"size": 3})
GAUSSIAN = ("gaussian_filter", {"sigma": (1, 0.5, 1)})
MEAN = ("mean_filter", {"size": (2, 3, 3)})
CHAINS = [[MEDIAN], [GAUSSIAN], [MEAN], [MEDIAN, GAUSSIAN], [MEDIAN, GAUSSIAN, MEAN]]
every_chain = pytest.mark.parametrize("steps", CHAINS, ids=lambda s: "-".join(n[:-7] for n, _ in s))
every_dtype = pytest.mark.parametrize("dtype", ["uint16", "int32", "float32", "float64"])


@pytest.fixture
def device(monkeypatch):
    monkeypatch.setattr(filters, "_GPU_SLOTS", threading.BoundedSemaphore(2))
    return install(monkeypatch)


@pytest.fixture
def no_cupy(monkeypatch):
    for name in ("cupy", "cupyx"):
        monkeypatch.setitem(sys.modules, name, None)


def movie(dtype="uint16", shape=SHAPE):
    values = np.random.default_rng(0).integers(0, 60000, shape).astype(dtype)
    return cs.from_numpy(values, frame_rate=30)


def lazy(data, *chunks):
    return data.copy(data=da.from_array(data.values, chunks=chunks or (3, 8, 9)))


def chain(data, steps, **options):
    for name, arguments in steps:
        data = getattr(data.cs, name)(**arguments, **options)
    return data


def same(result, expected):
    assert isinstance(result.data, np.ndarray | da.Array)
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result.values, expected.values)


def agree(result, expected, steps):
    """Medians are the same; sums of CuPy and of our own loops differ in their last digits."""
    if all(name == "median_filter" for name, _ in steps):
        same(result, expected)
        return
    assert result.dtype == expected.dtype
    np.testing.assert_allclose(result.values, expected.values, rtol=1e-6 * len(steps))


def lie_about_free_memory(monkeypatch):
    """Let blocks be as large as they are, as if another program took the memory meanwhile."""
    monkeypatch.setattr(filters, "free_gpu_memory", lambda: 2**60)


# -- the stand-in is as strict as CuPy -----------------------------------------------------


def test_the_stand_in_refuses_what_cupy_refuses(device):
    import cupy
    import cupyx.scipy.ndimage

    host = np.arange(6.0)
    array = cupy.asarray(host)
    for mix in (
        lambda: np.asarray(array),
        lambda: array + host,
        lambda: np.add(host, array),
        lambda: np.concatenate([host, array]),
        lambda: array.__setitem__(slice(None), host),
        lambda: cupyx.scipy.ndimage.gaussian_filter(host, 1),
    ):
        with pytest.raises(TypeError):
            mix()
    assert not isinstance(array, np.ndarray)
    assert is_cupy(array)
    np.testing.assert_array_equal((array[2:] * 2).get(), host[2:] * 2)
    assert (device.uploads, device.downloads) == (1, 1)


def test_the_stand_in_frees_memory_with_the_last_reference(device):
    import cupy

    device.memory = 100
    array = cupy.empty(10)
    part = array[2:4]
    del array
    assert device.used == 80  # the part still needs the whole
    with pytest.raises(OutOfMemoryError):
        cupy.empty(10)
    del part
    assert device.used == 0
    assert device.failures == [80]


# -- results and transfers -----------------------------------------------------------------


@every_chain
@every_dtype
def test_the_numbers_of_the_cpu(device, steps, dtype):
    data = movie(dtype)
    expected = chain(data, steps)
    assert device.uploads == 0
    whole = chain(data, steps, device="gpu")
    agree(whole, expected, steps)
    assert (device.uploads, device.downloads) == (len(steps), len(steps))
    same(chain(lazy(data, 5, 4, 3), steps, device="gpu"), whole)
    assert device.used == 0


@every_chain
def test_one_transfer_in_and_one_out_for_each_block(device, steps):
    data = lazy(movie(), 3, 4, 9)
    result = chain(data, steps, device="gpu")
    assert (device.uploads, device.downloads) == (0, 0)
    agree(result, chain(movie(), steps), steps)
    assert (device.uploads, device.downloads) == (8, 8) == (data.data.npartitions,) * 2


WRAPPED = [
    ("median_filter", {"footprint": np.eye(3, dtype=bool), "mode": "wrap"}),
    ("mean_filter", {"size": 4, "mode": "wrap"}),
    ("gaussian_filter", {"sigma": (2, 0, 1), "mode": "wrap"}),
]


@pytest.mark.parametrize("step", WRAPPED, ids=lambda step: step[0])
@pytest.mark.parametrize("epochs", [1, 3])
def test_wrapping_and_footprints(device, step, epochs):
    import cupy

    host = movie().assign_coords(epoch=("frames", np.arange(12) * epochs // 12))
    expected = chain(host, [step])
    agree(chain(lazy(host), [step], device="gpu"), expected, [step])
    there = chain(host.copy(data=cupy.asarray(host.values)), [step])
    assert isinstance(there.data, cupy.ndarray)
    agree(there.copy(data=there.data.get()), expected, [step])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from([MEDIAN, GAUSSIAN, MEAN]), min_size=1, max_size=3),
    st.tuples(st.integers(1, 12), st.integers(1, 8), st.integers(1, 9)),
    st.sampled_from(["uint16", "int32", "float32", "float64"]),
    st.lists(st.booleans(), min_size=12, max_size=12),
)
def test_any_chunks_chains_and_damage(steps, chunks, dtype, valid):
    with pytest.MonkeyPatch.context() as patch:
        install(patch)
        data = movie(dtype).assign_coords(valid=("frames", np.array(valid)))
        whole = chain(data, steps, device="gpu")
        agree(whole, chain(data, steps), steps)
        same(chain(lazy(data, *chunks), steps, device="gpu"), whole)


def test_nan_in_a_median(device):
    data = movie("float32")
    data[3, 4, 5] = np.nan
    same(data.cs.median_filter(size=3, device="gpu"), data.cs.median_filter(size=3))


def test_epochs_and_damaged_frames(device):
    coords = {"epoch": ("frames", np.arange(12) // 5), "valid": ("frames", np.arange(12) % 7 != 2)}
    data = movie().assign_coords(coords)
    agree(chain(lazy(data), CHAINS[-1], device="gpu"), chain(data, CHAINS[-1]), CHAINS[-1])
    assert device.uploads == device.downloads > 0


def test_the_lazy_result_claims_and_makes_numpy_arrays(device):
    result = chain(lazy(movie()), [GAUSSIAN], device="gpu")
    assert isinstance(result.data._meta, np.ndarray)
    assert isinstance(result.compute().data, np.ndarray)


@pytest.mark.parametrize("slots", [2, 4])
def test_blocks_in_flight(device, slots, monkeypatch):
    monkeypatch.setattr(filters, "_GPU_SLOTS", threading.BoundedSemaphore(slots))
    device.delay = 0.02
    result = chain(lazy(movie(shape=(24, 8, 9)), 2, 8, 9), [GAUSSIAN], device="gpu")
    result.compute(scheduler="threads", num_workers=6)
    assert device.most_in_flight == slots  # with 4 slots there are more than 2


def test_at_most_two_blocks_are_in_flight_by_default():
    assert filters._GPU_SLOTS._initial_value == 2


def test_different_devices_are_not_fused(device):
    data = lazy(movie())
    once = data.cs.median_filter(size=3, device="gpu")
    twice = once.cs.gaussian_filter(sigma=1, device="cpu")
    assert len(twice.data.dask.layers[twice.data.name].steps) == 1
    same(twice, chain(movie(), [MEDIAN, ("gaussian_filter", {"sigma": 1})]))  # on the CPU
    assert device.uploads == data.data.npartitions


@pytest.mark.parametrize("options", [{}, {"device": "cpu"}, {"device": "gpu"}, {"device": "auto"}])
@every_chain
def test_arrays_on_the_gpu_stay_there(device, steps, options):
    import cupy

    host = movie()
    data = host.copy(data=cupy.asarray(host.values))
    result = chain(data, steps, **options)
    assert isinstance(result.data, cupy.ndarray)
    assert (device.uploads, device.downloads) == (1, 0)
    agree(result.copy(data=result.data.get()), chain(host, steps), steps)


def test_traces_of_an_array_on_the_gpu(device):
    import cupy

    host = movie()
    labels = np.arange(72).reshape(8, 9) // 30
    traces = host.copy(data=cupy.asarray(host.values)).cs.extract(labels)
    same(traces, host.cs.extract(labels))


# -- memory --------------------------------------------------------------------------------


@every_chain
@pytest.mark.parametrize("share", [0.8, 0.5])
@pytest.mark.parametrize("honest", [True, False], ids=["known", "taken meanwhile"])
def test_a_block_that_does_not_fit_is_cut_and_stays_exact(
    device, steps, share, honest, monkeypatch
):
    if not honest:
        lie_about_free_memory(monkeypatch)
    data = movie(shape=(40, 8, 9))
    result = chain(lazy(data, 20, 8, 9), steps, device="gpu")
    expected = result.compute(scheduler="sync")
    assert device.uploads == 2
    assert not device.failures
    device.memory, device.peak = share * device.peak, 0
    same(result.compute(scheduler="sync"), expected)
    assert device.uploads > 4  # in more than two pieces
    assert bool(device.failures) is not honest
    assert device.peak <= device.memory
    assert device.used == 0


def test_blocks_are_as_long_as_the_free_memory_allows(device):
    data = movie("float32", shape=(400, 8, 9))
    step = ("gaussian_filter", {"sigma": {"y": 1}})
    device.memory = 100 * 8 * 9 * 4 * 4 * 2  # two blocks of 100 frames, each four times over
    chain(data, [step], device="gpu")
    assert device.uploads == 4
    assert not device.failures


def test_the_failed_attempt_does_not_hold_memory(device, monkeypatch):
    lie_about_free_memory(monkeypatch)
    # Exactly one frame in float32 and its result fit: nothing else may be there.
    device.memory = 2 * 8 * 9 * 4
    data = movie("float32", (4, 8, 9))
    step = ("gaussian_filter", {"sigma": {"y": 1}})
    agree(chain(data, [step], device="gpu"), chain(data, [step]), [step])
    assert device.failures
    assert device.used == 0


@pytest.mark.parametrize("make", [movie, lambda: lazy(movie())], ids=["numpy", "dask"])
def test_one_frame_that_does_not_fit(device, make):
    device.memory = 100
    message = (
        r"shape \(\d+, 8, 9\) \(uint16\).*one frame at a time.*Out of memory.*smaller chunks of y"
    )
    with pytest.raises(DeviceError, match=message):
        make().cs.median_filter(size=3, device="gpu").compute()


def test_auto_falls_back_to_the_cpu_when_one_frame_does_not_fit(device):
    device.memory = 100
    data = movie(shape=(2, 8, 9))
    with pytest.warns(DeviceWarning, match=r"block of shape \(2, 8, 9\).*CPU") as caught:
        result = data.cs.median_filter(size=3, device="auto")
    assert len(caught) == 1
    same(result, data.cs.median_filter(size=3))


def test_other_errors_are_not_taken_for_lack_of_memory(device, monkeypatch):
    import cupyx.scipy.ndimage

    def broken(*args, **kwargs):
        raise RuntimeError("the kernel is broken")

    monkeypatch.setattr(cupyx.scipy.ndimage, "median_filter", broken)
    with pytest.raises(RuntimeError, match="the kernel is broken"):
        movie().cs.median_filter(size=3, device="gpu")


# -- choosing ------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["not installed", "no GPU"])
def test_without_a_gpu(reason, request, monkeypatch):
    if reason == "not installed":
        request.getfixturevalue("no_cupy")
    else:
        request.getfixturevalue("device")
        monkeypatch.setattr(sys.modules["cupy"], "is_available", lambda: False)
    assert not cs.gpu_available()
    for data in (movie(), lazy(movie())):
        with pytest.raises(DeviceError, match=r"device='gpu'.*cupy-cuda12x>=14.*device='auto'"):
            data.cs.gaussian_filter(sigma=1, device="gpu")
        with pytest.warns(DeviceWarning, match="no usable GPU was found") as caught:
            result = data.cs.gaussian_filter(sigma=1, device="auto")
        assert caught[0].filename == __file__
        same(result, movie().cs.gaussian_filter(sigma=1))


def test_auto_takes_the_gpu_that_is_there(device):
    data = movie()
    assert cs.gpu_available()
    taken = data.cs.gaussian_filter(sigma=1, device="auto")
    agree(taken, data.cs.gaussian_filter(sigma=1), [GAUSSIAN])
    assert (device.uploads, device.downloads) == (1, 1)


def test_the_option(device):
    data = movie()
    expected = data.cs.gaussian_filter(sigma=1)
    with cs.set_options(device="gpu"):
        built = lazy(data).cs.gaussian_filter(sigma=1)
        agree(data.cs.gaussian_filter(sigma=1), expected, [GAUSSIAN])
        assert device.uploads == 1
        same(data.cs.gaussian_filter(sigma=1, device="cpu"), expected)
        assert device.uploads == 1
    same(data.cs.gaussian_filter(sigma=1), expected)
    assert device.uploads == 1
    agree(built, expected, [GAUSSIAN])  # the choice was made when the graph was built
    assert device.uploads == 5


@pytest.mark.parametrize("wrong", ["cuda", "GPU", 0.5])
def test_unknown_devices(wrong):
    with pytest.raises(DeviceError, match=f"'cpu', 'gpu' or 'auto', got {wrong!r}"):
        movie().cs.median_filter(size=3, device=wrong)
    with pytest.raises(ArgumentError, match="option 'device' needs one of"):
        cs.set_options(device=wrong)


# -- a real GPU ----------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["reflect", "nearest", "mirror", "constant"])
@every_dtype
def test_the_median_on_a_real_gpu(dtype, mode):
    data = movie(dtype, (20, 33, 31))
    for size in (3, 2, (1, 5, 4)):
        expected = data.cs.median_filter(size=size, mode=mode)
        same(data.cs.median_filter(size=size, mode=mode, device="gpu"), expected)
        same(lazy(data, 7, 16, 31).cs.median_filter(size=size, mode=mode, device="gpu"), expected)


@pytest.mark.gpu
@pytest.mark.parametrize("steps", [[GAUSSIAN], [MEAN], [MEDIAN, GAUSSIAN, MEAN]])
@every_dtype
def test_smoothing_on_a_real_gpu(steps, dtype):
    data = movie(dtype, (20, 33, 31))
    expected = chain(data, steps)
    for placed in (data, lazy(data, 7, 16, 31)):
        result = chain(placed, steps, device="gpu")
        assert result.dtype == expected.dtype
        # CUDA adds in another order and contracts multiply-adds.
        np.testing.assert_allclose(result.values, expected.values, rtol=1e-5)


@pytest.mark.gpu
def test_chunks_do_not_matter_on_a_real_gpu():
    data = movie(shape=(20, 33, 31))
    whole = chain(data, CHAINS[-1], device="gpu")
    same(chain(lazy(data, 3, 10, 8), CHAINS[-1], device="gpu"), whole)


@pytest.mark.gpu
def test_arrays_on_a_real_gpu_stay_there():
    import cupy

    host = movie()
    result = chain(host.copy(data=cupy.asarray(host.values)), CHAINS[-1])
    assert isinstance(result.data, cupy.ndarray)
    np.testing.assert_allclose(result.data.get(), chain(host, CHAINS[-1]).values, rtol=1e-5)
