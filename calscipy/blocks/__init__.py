"""Kernels on arrays of any kind: whole or in dask chunks, on the CPU or on a GPU.

The one home of halos, of filter fusion and of CuPy.
"""

from calscipy.blocks.device import gpu_available
from calscipy.blocks.filters import INVALID, FilterLayer, Halo, Step, filtered, total_halo
from calscipy.blocks.regions import Regions, roi_means
from calscipy.blocks.time import along_time, whole_time
from calscipy.blocks.time_reductions import reduce_time

__all__ = [
    "INVALID",
    "FilterLayer",
    "Halo",
    "Regions",
    "Step",
    "along_time",
    "filtered",
    "gpu_available",
    "reduce_time",
    "roi_means",
    "total_halo",
    "whole_time",
]
