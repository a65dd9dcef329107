"""A stand-in for CuPy on machines without a GPU: NumPy underneath, as strict as CuPy on top.

Its arrays never mix with NumPy's or turn into them by themselves, they occupy a memory of chosen
size until the last reference to them is gone, and every transfer is counted.
"""

import sys
import threading
import time
import types
import weakref

import numpy as np
import scipy.ndimage
from numpy.lib.mixins import NDArrayOperatorsMixin


class OutOfMemoryError(MemoryError):
    """What CuPy raises when an allocation does not fit."""


class Device:
    """The imagined GPU: its memory and what was sent to and fro."""

    def __init__(self):
        self.lock = threading.Lock()
        self.memory = float("inf")  # bytes
        self.delay = 0.0  # s that every kernel takes
        self.used = self.peak = 0
        self.uploads = self.downloads = 0
        self.in_flight = self.most_in_flight = 0
        self.failures = []  # bytes of the allocations that failed

    def allocate(self, buffer):
        size = buffer.nbytes
        with self.lock:
            if self.used + size > self.memory:
                self.failures.append(size)
                raise OutOfMemoryError(f"Out of memory allocating {size:,} bytes")
            self.used += size
            self.peak = max(self.peak, self.used)
        weakref.finalize(buffer, self._free, size)

    def _free(self, size):
        with self.lock:
            self.used -= size

    def moved(self, *, up):
        with self.lock:
            self.uploads += up
            self.downloads += not up
            self.in_flight += 1 if up else -1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)


def _unwrap(value):
    if isinstance(value, _GpuArray):
        return value._host
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, list | tuple):
        return type(value)(_unwrap(item) for item in value)
    if isinstance(value, dict):
        return {key: _unwrap(item) for key, item in value.items()}
    return value


class _GpuArray(NDArrayOperatorsMixin):
    """What `cupy.ndarray` is here; `make_cupy` derives one for each device."""

    device: Device
    __array_priority__ = 100

    def __init__(self, host, base=None):
        self._host = np.asarray(host)
        self._base = base
        if base is None:
            self._host = np.array(host)
            self.device.allocate(self._host)

    dtype = property(lambda self: self._host.dtype)
    shape = property(lambda self: self._host.shape)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    nbytes = property(lambda self: self._host.nbytes)

    def get(self):
        self.device.moved(up=False)
        return self._host.copy()

    def astype(self, dtype, copy=True):
        return self if not copy and self.dtype == dtype else type(self)(self._host.astype(dtype))

    def transpose(self, *axes):
        return type(self)(self._host.transpose(*axes), base=self)

    def any(self):
        return type(self)(self._host.any())

    def __bool__(self):
        return bool(self._host)

    def __len__(self):
        return len(self._host)

    def __getitem__(self, key):
        part = self._host[key]
        shared = np.ndim(part) and np.may_share_memory(part, self._host)
        return type(self)(part, base=self if shared else None)

    def __setitem__(self, key, value):
        self._host[key] = _unwrap(value)

    def __array__(self, *args, **kwargs):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to "
            "construct a NumPy array explicitly."
        )

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return type(self)(getattr(ufunc, method)(*_unwrap(inputs), **_unwrap(kwargs)))

    def __array_function__(self, function, types, args, kwargs):
        if not all(issubclass(kind, _GpuArray) for kind in types):
            return NotImplemented
        return type(self)(function(*_unwrap(args), **_unwrap(kwargs)))


def make_cupy(device):
    """Make the modules of the stand-in by name, to be put into `sys.modules`."""
    array = type("ndarray", (_GpuArray,), {"__module__": "cupy", "device": device})

    def asarray(value):
        if isinstance(value, array):
            return value
        made = array(value)
        device.moved(up=True)
        return made

    def asnumpy(value):
        return value.get() if isinstance(value, array) else np.asarray(value)

    def on_gpu(function):
        def run(data, *args, **kwargs):
            for given in (data, *args):  # footprints alone may come from the host
                if isinstance(given, np.ndarray) or (given is data and not isinstance(data, array)):
                    raise TypeError(f"cupyx filters take cupy arrays, got {type(given)}")
            result = array(np.empty_like(data._host))  # fails before it computes
            time.sleep(device.delay)
            result._host[...] = function(data._host, *_unwrap(args), **kwargs)
            return result

        return run

    names = ("cupy", "cupy.cuda", "cupy.cuda.memory", "cupyx", "cupyx.scipy", "cupyx.scipy.ndimage")
    modules = {name: types.ModuleType(name) for name in names}
    for name in names:
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, modules[name])
    cupy = modules["cupy"]
    cupy.__version__ = "14.0.0"
    cupy.ndarray, cupy.asarray, cupy.asnumpy = array, asarray, asnumpy
    cupy.empty = lambda shape, dtype=float: array(np.empty(shape, dtype))
    cupy.is_available = lambda: True
    modules["cupy.cuda"].Device = lambda: types.SimpleNamespace(
        mem_info=(min(device.memory, 2**60) - device.used, min(device.memory, 2**60))
    )
    cupy.get_default_memory_pool = lambda: types.SimpleNamespace(free_bytes=lambda: 0)
    modules["cupy.cuda.memory"].OutOfMemoryError = OutOfMemoryError
    cupy.concatenate = lambda parts, axis=0: array(np.concatenate(_unwrap(parts), axis))
    cupy.stack = lambda parts, axis=0: array(np.stack(_unwrap(parts), axis))
    for name in ("gaussian_filter", "median_filter", "maximum_filter", "correlate1d"):
        function = on_gpu(getattr(scipy.ndimage, name))
        setattr(modules["cupyx.scipy.ndimage"], name, function)
    return modules


def install(monkeypatch):
    """Put the stand-in in the place of CuPy for one test and return its device."""
    device = Device()
    for name, module in make_cupy(device).items():
        monkeypatch.setitem(sys.modules, name, module)
    return device
