"""Where kernels run: the one home of CuPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.ndimage

from calscipy.errors import DeviceError, DeviceWarning, warn
from calscipy.options import Device, get_option

# The packages of pyproject.toml's extras with their bounds, which a test compares.
INSTALL_CUPY = (
    'On a machine with a GPU install it with: pip install "cupy-cuda12x>=14" (for a driver of CUDA '
    '12) or "cupy-cuda13x>=14" (CUDA 13).'
)


def is_cupy(array: Any) -> bool:
    """Tell whether an array lives on a GPU, without importing CuPy."""
    return type(array).__module__.partition(".")[0] == "cupy"


def on_host(array: Any) -> np.ndarray:
    """Return an array as one of NumPy, copied from the GPU if it is there."""
    return np.asarray(array.get() if is_cupy(array) else array)


def namespace(array: Any) -> Any:
    """Return NumPy or CuPy."""
    if not is_cupy(array):
        return np
    import cupy

    return cupy


def ndimage_of(array: Any) -> Any:
    """Return the image filters that take this array: SciPy's or CuPy's."""
    if not is_cupy(array):
        return scipy.ndimage
    import cupyx.scipy.ndimage

    return cupyx.scipy.ndimage


def gpu_available() -> bool:
    """Tell whether CuPy is installed and sees a GPU."""
    try:
        import cupy

        return bool(cupy.is_available())
    except ImportError:
        return False


def free_gpu_memory() -> int:
    """Return the bytes that can still be allocated on the GPU."""
    import cupy

    free, _ = cupy.cuda.Device().mem_info
    return int(free + cupy.get_default_memory_pool().free_bytes())


def resolve_device(device: Device | None) -> str:
    """Return where to run: the argument or the option, checked against what is there."""
    wanted = device or get_option("device")
    if wanted not in ("cpu", "gpu", "auto"):
        raise DeviceError(f"device must be 'cpu', 'gpu' or 'auto', got {wanted!r}")
    if wanted == "cpu" or gpu_available():
        return str(wanted)
    if wanted == "auto":
        warn("no usable GPU was found; running on the CPU.", DeviceWarning)
        return "cpu"
    raise DeviceError(
        "device='gpu' was asked for, but CuPy with a CUDA GPU was not found. "
        f"{INSTALL_CUPY} Or use device='auto' or 'cpu'."
    )
