"""Filters of one stack of frames ``(frames, y, x)``.

``ndimage`` is ``scipy.ndimage`` or, for arrays on a GPU, ``cupyx.scipy.ndimage``. Every output
sample depends on the samples within its halo alone, so blocks with a halo give the same bits as
the whole stack. ``frames`` says which frames of the result are wanted (all by default), and ``out``
where to put them.

On the CPU, Gaussian and mean run in our own loops (``separable``), and so do the small medians
(``median``); everything else is SciPy's. Gaussian and mean take frames that lie in up to three
arrays (``Joined``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from calscipy.kernels import median as networks
from calscipy.kernels.joined import Joined
from calscipy.kernels.separable import Window, separable

TRUNCATE = 4.0

Array = Any
Frames = tuple[int, int]


def gaussian(
    block: Array,
    *,
    sigma: tuple[float, ...],
    mode: str,
    ndimage: Any,
    frames: Frames | None = None,
    out: Array | None = None,
) -> Array:
    """Gaussian with standard deviations ``sigma`` in samples, in float32.

    Integers become float32 first: a Gaussian in uint16 truncates after every axis. float64 stays,
    and integers of over 16 bits become float64.
    """
    if not isinstance(block, np.ndarray | Joined):
        result = ndimage.gaussian_filter(_floating(block), sigma, mode=mode, truncate=TRUNCATE)
        return _wanted(result, frames, out)
    dtype = _float_dtype(block)
    windows = tuple(Window(_gaussian_weights(s).astype(dtype)) for s in sigma)
    return separable(block, windows, norm=1.0, mode=mode, frames=frames, out=out)  # type: ignore[arg-type]


def gaussian_halo(sigma: tuple[float, ...]) -> tuple[tuple[int, int], ...]:
    """Return the samples that the Gaussian needs before and after each one, by axis."""
    return tuple((reach, reach) for reach in map(_gaussian_reach, sigma))


def _gaussian_reach(sigma: float) -> int:
    return int(TRUNCATE * sigma + 0.5)


def _gaussian_weights(sigma: float) -> np.ndarray:
    """Weights from the centre outwards, whose sum over both sides is one."""
    reach = _gaussian_reach(sigma)
    if reach == 0:
        return np.ones(1)
    half = np.exp(-0.5 * (np.arange(reach + 1) / sigma) ** 2)
    return half / (half[0] + 2 * half[1:].sum())


def median(
    block: Array,
    *,
    size: tuple[int, ...] | None = None,
    footprint: np.ndarray | None = None,
    mode: str,
    ndimage: Any,
    frames: Frames | None = None,
    out: Array | None = None,
) -> Array:
    """Median over a box of ``size`` samples or over a footprint, in the same dtype.

    A window that holds a NaN gives NaN: it has no place in an order.
    """
    dtype = block.dtype
    if dtype.kind == "f" and dtype.itemsize == 2:  # which ndimage does not know
        block = block.astype("f4")
    if dtype.kind == "f" and bool((missing := block != block).any()):
        arguments = {"size": size} if footprint is None else {"footprint": footprint}
        filled = np.where(missing, block.dtype.type(0), block)
        result = median(filled, **arguments, mode=mode, ndimage=ndimage).astype(dtype, copy=False)
        reached = ndimage.maximum_filter(missing.astype("u1"), mode=mode, **arguments)
        return _wanted(np.where(reached > 0, dtype.type(np.nan), result), frames, out)
    if isinstance(block, np.ndarray) and size in networks.SIZES:
        result = networks.small_median(
            block,
            size=size,
            mode=mode,
            frames=frames,
            out=out if out is not None and out.dtype == block.dtype else None,
        )
        return result if result is out else _wanted(result.astype(dtype, copy=False), None, out)
    if footprint is None:
        result = ndimage.median_filter(block, size=size, mode=mode)
    else:
        result = ndimage.median_filter(block, footprint=footprint, mode=mode)
    return _wanted(result.astype(dtype, copy=False), frames, out)


def mean(
    block: Array,
    *,
    size: tuple[int, ...],
    mode: str,
    ndimage: Any,
    frames: Frames | None = None,
    out: Array | None = None,
) -> Array:
    """Mean over a box of ``size`` samples, in float32; float64 for float64 and wide integers.

    Summed anew for every sample: a running sum would carry a NaN or the rounding of an outlier
    through the rest of the line.
    """
    if isinstance(block, np.ndarray | Joined):
        windows = tuple(_box_window(length, _float_dtype(block)) for length in size)
        norm = float(np.prod(size))
        return separable(block, windows, norm=norm, mode=mode, frames=frames, out=out)  # type: ignore[arg-type]
    result = _floating(block)
    for axis, length in enumerate(size):
        if length > 1:
            # Where the block is: filters on a GPU refuse weights that are not.
            weights = np.full_like(result, 1.0 / length, dtype=np.float64, shape=(length,))
            result = ndimage.correlate1d(result, weights, axis=axis, mode=mode)
    return _wanted(result, frames, out)


def _box_window(length: int, dtype: np.dtype) -> Window:
    """Ones; a window of even length reaches back once more than ahead."""
    return Window(np.ones((length - 1) // 2 + 1, dtype), back=1 - length % 2)


def box_halo(size: tuple[int, ...], mode: str) -> tuple[tuple[int, int], ...]:
    """Return the samples that a box needs before and after each one, by axis.

    A box of even size reaches further back than ahead; at a mirrored edge, what lies further
    back is as far ahead.
    """
    back = [length // 2 for length in size]
    if mode == "mirror":
        return tuple((reach, reach) for reach in back)
    return tuple((b, length - b - 1) for b, length in zip(back, size, strict=True))


def _wanted(result: Array, frames: Frames | None, out: Array | None) -> Array:
    """Cut out the frames that are wanted and put them where they are wanted."""
    result = result if frames is None else result[slice(*frames)]
    if out is None:
        return result
    out[...] = result
    return out


def _float_dtype(block: Array) -> np.dtype:
    wide = block.dtype.itemsize > (4 if block.dtype.kind == "f" else 2)
    return np.dtype("f8" if wide else "f4")


def _floating(block: Array) -> Array:
    return block.astype(_float_dtype(block), copy=False)


TAKE_JOINED = (gaussian, mean)  # kernels that need not have their frames in one array
