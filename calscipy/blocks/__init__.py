"""Kernels on arrays of any kind: whole or in dask chunks, on the CPU or on a GPU.

The one home of halos, of filter fusion and of CuPy.
"""

from calscipy.blocks.device import gpu_available
from calscipy.blocks.filters import INVALID, FilterLayer, Step, filtered, total_halo
from calscipy.blocks.regions import roi_sums
from calscipy.blocks.time import along_time, whole_time

__all__ = [
    "INVALID",
    "FilterLayer",
    "Step",
    "along_time",
    "filtered",
    "gpu_available",
    "roi_sums",
    "total_halo",
    "whole_time",
]
