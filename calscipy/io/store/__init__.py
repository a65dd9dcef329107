"""Sessions in zarr 3 stores that survive."""

from calscipy.io.store.attrs import ready_attrs
from calscipy.io.store.layout import StoreChunks
from calscipy.io.store.opening import is_store, open_store
from calscipy.io.store.progress import Progress
from calscipy.io.store.saving import Target, save_tree, to_zarr

__all__ = [
    "Progress",
    "StoreChunks",
    "Target",
    "is_store",
    "open_store",
    "ready_attrs",
    "save_tree",
    "to_zarr",
]
