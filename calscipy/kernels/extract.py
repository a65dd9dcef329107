"""Weighted sums of pixels over regions of interest."""

from __future__ import annotations

import math

import numpy as np
from scipy import sparse


def roi_weights(
    neuron: np.ndarray, pixel: np.ndarray, weight: np.ndarray, shape: tuple[int, int]
) -> sparse.csr_array:
    """Return weights as a sparse matrix ``(neurons, pixels)`` from their long form."""
    return sparse.csr_array((weight.astype(np.float64), (neuron, pixel)), shape=shape)


def roi_sums(block: np.ndarray, weights: sparse.csr_array) -> np.ndarray:
    """Weighted sums of the pixels of each region.

    Parameters
    ----------
    block : ndarray, shape (frames, ..., y, x)
        Frames.
    weights : csr_array, shape (neurons, y * x)
        Weight of each pixel for each neuron.

    Returns
    -------
    ndarray of float64, shape (neurons, ..., frames)
        Sums; only the pixels that some region uses are read. Integer movies and integer weights
        are summed exactly.
    """
    frames, *batch, rows, columns = block.shape
    used = np.unique(weights.indices)
    # Sizes are spelled out because -1 fails where there are no frames or no pixels.
    pixels = block.reshape(frames, *batch, rows * columns)[..., used].astype(np.float64)
    # Time last and everything else flat, for one sparse product.
    flat = np.moveaxis(pixels, -1, 0).reshape(len(used), frames * math.prod(batch))
    sums = weights[:, used] @ flat
    return np.moveaxis(sums.reshape(weights.shape[0], frames, *batch), 1, -1)
